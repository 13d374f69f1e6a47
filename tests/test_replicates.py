"""What a replicate of the evidence is made of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from poyo import ROOT
from poyo.data.intervals import contains
from poyo.data.recording import CO
from poyo.data.simulate import simulate
from poyo.study import lab, profile, replicates

UNITS = {"animal": "sim-t", "day": 1, "task": CO, "units": (6, 9)}


@pytest.fixture(scope="module")
def brief():
    return simulate(minutes=1.0, **UNITS)


def test_shifted_spikes_are_as_many_and_say_something_else(brief):
    moved = replicates.shifted(brief, 0)
    counts = [np.bincount(one.spike_units) for one in (brief, moved)]
    assert np.array_equal(*counts) and (np.diff(moved.spike_times) >= 0).all()
    assert (moved.spike_times >= 0).all() and moved.spike_times[-1] < brief.duration
    # a unit's intervals are what they were, but for the one that was cut
    gaps = [np.diff(one.spike_times[one.spike_units == 0]).round(6) for one in (brief, moved)]
    assert np.isin(*gaps).sum() >= len(gaps[0]) - 1
    width = 0.1
    binned = [np.histogram(one.spike_times, np.arange(0, 60, width))[0] for one in (brief, moved)]
    assert abs(np.corrcoef(*binned)[0, 1]) < 0.3


def test_more_trials_are_behind_the_recording_to_learn_from_or_to_be_scored_on(brief):
    more = simulate(minutes=2.0, take=1, **UNITS)
    for split, other in (("train", "test"), ("test", "train")):
        long = replicates.longer(brief, more, split)
        assert long.duration == pytest.approx(180.0)
        assert len(long.spike_times) == len(brief.spike_times) + len(more.spike_times)
        assert (np.diff(long.behavior["cursor"]["timestamps"]) > 0).all()
        for same in ("valid", other):
            assert np.array_equal(long.splits[same], brief.splits[same])
        trials = more.intervals["trials"] + 60.0
        assert contains(long.splits[split], trials.mean(1)).all()
        assert len(long.intervals["trials"]) > len(brief.intervals["trials"])


def test_a_replicate_trains_in_one_round_of_the_steps_that_are_asked_for():
    recipes = profile.load().your_lab
    once = lab.in_one_round(recipes, {"unit_identification": 7, "from_scratch": 10**6})
    assert once.unit_identification == replace(recipes.unit_identification, steps=7)
    assert (once.from_scratch.steps, once.from_scratch.budget) == (10**6, 10**6)
    assert once.finetune == recipes.finetune


def test_a_session_with_more_trials_keeps_those_it_is_scored_on():
    setup = replace(profile.load().evidence, units=(6, 9), held_out_minutes=1.0, days=1)
    plan = replicates.plan(5, setup)
    assert [one["day"] for one in plan["new day"]] == [2] and plan["new animal"][0]["seed"] == 5
    for what in (plan["new day"][0], plan["new animal"][0]):
        one, scored, long = simulate(**what), *(replicates.more(what, k, 2.0) for k in (1, 3))
        assert scored.duration == pytest.approx(one.duration + 120)
        assert long.duration == pytest.approx(3 * one.duration + 120)
        assert np.array_equal(scored.splits["train"], one.splits["train"])
        # most of the two minutes are trials, beside the session's own test trials
        assert np.diff(scored.splits["test"]).sum() > 60
        n = len(scored.spike_times)
        assert np.array_equal(long.spike_times[:n], scored.spike_times)
        for split in ("valid", "test"):
            assert np.array_equal(long.splits[split], scored.splits[split])


def test_labelled_trials_are_none_of_those_that_are_scored():
    brief = {"units": (6, 9), "held_out_minutes": 1.0, "test_minutes": 1.0, "days": 1}
    setup = replace(profile.load().evidence, **brief)
    one = replicates.more(replicates.plan(5, setup)["new day"][0], 1, setup.test_minutes)
    for n in ("all", 5):
        short = lab.labelled(one, n, 1.0, 0)
        for split in ("train", "valid"):
            assert not contains(short.splits["test"], short.splits[split].mean(1)).any()
            assert short.splits[split].max() <= 60.0


def test_committed_scores_come_out_again_on_this_processor():
    """README: where last digits differ, all but training from scratch agrees to 0.02 of R²."""
    params = profile.load()
    setup = params.evidence
    species = setup.claims[0]
    session = replicates.plan(species, setup)["new animal"][0]
    one = replicates.more(session, 1, setup.test_minutes)
    how = replicates.how(setup, params.your_lab, params.windows, params.wiener, params.baselines)
    networks = {"mlp": params.baselines.mlp.tried[0]}
    rows = lab.yardsticks((one, "all", species), how, networks)
    there = pd.read_csv(ROOT / f"figures/data/replicates/{species}.csv")
    there = there[(there.session == one.session_id) & (there.trials == "all")]
    committed = there.set_index("method").r2
    found = {row["method"]: row["r2"] for row in rows}
    assert found == pytest.approx(committed[[*found]].to_dict(), abs=0.02)
    assert found["wiener"] == pytest.approx(committed["wiener"], abs=0.001)
