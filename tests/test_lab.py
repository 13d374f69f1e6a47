"""A laboratory's questions: which trials count, whose rows are copied, and what may be said."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from poyo import ROOT, adapt
from poyo.config import Plateau
from poyo.data.intervals import contains
from poyo.data.recording import RecordingError
from poyo.study import lab, lab_results, profile

SMOKE = profile.load(ROOT / "profiles/smoke.yaml")
HOW = lab.How(SMOKE.size, SMOKE.windows, SMOKE.wiener, SMOKE.baselines, SMOKE.your_lab)
TRIALS = np.stack([np.arange(0, 100, 4.0), np.arange(0, 100, 4.0) + 2.5], -1)


@pytest.fixture
def days(easy):
    """Three days of one array and one of another animal."""
    names = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")]
    return [
        easy(name, seconds=100.0, seed=seed, trials=TRIALS, subject=subject)
        for seed, (name, subject) in enumerate(names)
    ]


# --- labelled trials -----------------------------------------------------------------------------


def test_n_labelled_trials_are_all_the_labels_there_are(days):
    short = lab.labelled(days[0], 5, 1.0, seed=0)
    train, valid = short.splits["train"], short.splits["valid"]
    assert (len(train), len(valid)) == (4, 1)
    known = np.concatenate([train, valid])
    assert contains(days[0].splits["train"], known[:, 0]).all()
    assert not contains(days[0].splits["valid"], known.mean(1)).any(), "no label beyond the n"
    assert not contains(train, valid.mean(1)).any()
    np.testing.assert_array_equal(short.splits["test"], days[0].splits["test"])


def test_all_trials_are_the_session_as_it_is_and_too_many_are_refused(days):
    assert lab.labelled(days[0], "all", 1.0, seed=0) is days[0]
    with pytest.raises(RecordingError, match=r"'a1' has .* train trials, not 90"):
        lab.labelled(days[0], 90, 1.0, seed=0)


def test_seeds_draw_other_trials(days):
    drawn = [lab.labelled(days[0], 5, 1.0, seed=seed).splits["train"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


# --- the same units ------------------------------------------------------------------------------


def test_units_recur_within_an_animal_only(days):
    assert lab.same_units(days[2], days[:2]) == ["a1", "a2"]
    assert lab.same_units(days[3], days[:3]) == []
    renamed = replace(days[1], unit_ids=np.array([f"x{i}" for i in range(7)] + ["7"]))
    assert lab.same_units(days[2], [days[0], renamed]) == ["a1"]


# --- recipes -------------------------------------------------------------------------------------


def test_a_share_of_the_steps(training):
    laptop = profile.load(ROOT / "params.yaml").your_lab
    half = lab.shortened(laptop, 0.5)
    assert half.pretrain.steps == laptop.pretrain.steps // 2
    assert half.pretrain.budget == laptop.pretrain.budget // 2
    assert half.finetune.steps == laptop.finetune.steps // 2
    assert half.pretrain.lr == laptop.pretrain.lr and half.trials == laptop.trials
    assert lab.shortened(laptop, 1.0) == laptop
    assert half.unit_identification == laptop.unit_identification, "it is short as it is"
    tiny = lab.shortened(laptop, 1e-6)
    assert tiny.finetune.steps == tiny.finetune.eval_every == 1


def test_a_step_costs_something(days):
    decoder = lab.untrained(days, HOW, 0)
    before = decoder.copy()
    assert 0 < lab.cost(decoder, days, HOW.recipes.pretrain) < 60
    for one, other in zip(decoder.model.parameters(), before.model.parameters()):
        assert one.equal(other), "it trains nothing"


def test_sessions_that_a_checkpoint_has_seen_are_named(days, tmp_path):
    path = tmp_path / "poyo.ckpt"
    lab.untrained(days[:2], HOW, 0).save_official(path)
    assert lab.seen(str(path), days[1:]) == ["a2"]
    assert lab.seen("", days) == []
    with pytest.raises(RecordingError, match="this decoder decodes a"):
        lab.untrained([days[2].__class__.from_arrays(
            days[2].spike_times, days[2].spike_units, *days[2].series(days[2].target),
            session_id="other", name="force",
        )], HOW, 0, str(path))  # fmt: skip


# --- one session, every method -------------------------------------------------------------------


def test_every_method_meets_a_session(days, tmp_path):
    pretrained, history = lab.pretrain(days[:2], HOW, seed=0)
    assert history[-1]["step"] <= HOW.recipes.pretrain.budget
    rows = lab.meet((days[2], "all", 0, pretrained, ["a2"], tmp_path), HOW)
    rows += lab.meet((days[2], 5, 0, pretrained, [], tmp_path), HOW)
    rows += lab.meet_fewer((days[2], 0, pretrained, "1 day"), HOW)
    rows += lab.yardsticks((days[2], 5, 0), HOW, lab.tuned(days[1], HOW, 0))
    rows += lab.unlabelled((days[2], days[:2], {0: pretrained}), HOW)
    rows += lab.own_days((days[0], {0: pretrained}), HOW, {})
    table = pd.DataFrame(rows)
    assert set(table.method) == {*lab.METHODS, "pretrained", "unit_identification of 1 day"}
    assert table.r2.notna().all() and (tmp_path / "a3-0.pt").exists()
    for trials, part in table[table.session == "a3"].groupby("trials", sort=False):
        assert not part.method.duplicated().any(), trials
    assert lab.meet((days[2], 90, 0, pretrained, [], tmp_path), HOW) == []


def test_finetuning_goes_on_from_the_units_of_the_same_name(days, monkeypatch):
    pretrained, _ = lab.pretrain(days[:2], HOW, seed=0)
    for training in ("identify_units", "to_plateau"):
        monkeypatch.setattr(adapt, training, lambda *_, **__: [])  # all stay as they begin
    for like in (["a2"], []):
        rows = lab.adapted((days[2], "all", 0, pretrained, like, None), HOW)
        r2 = {row["method"]: row["r2"] for row in rows}
        begun = "same_units_identification" if like else "unit_identification"
        assert r2["finetune"] == r2[begun]
        assert not like or r2[begun] != r2["unit_identification"]


def test_units_known_by_name_learn_by_a_recipe_of_their_own(days, monkeypatch):
    pretrained, _ = lab.pretrain(days[:2], HOW, seed=0)
    seen = []
    monkeypatch.setattr(adapt, "identify_units", lambda *args, **_: seen.append(args[2]))
    monkeypatch.setattr(adapt, "to_plateau", lambda *_, **__: [])
    own = replace(HOW.recipes.unit_identification, embedding_lr=0.123)
    recipes = replace(HOW.recipes, same_units_identification=own)
    job = days[2], "all", 0, pretrained, ["a1", "a2"], None
    lab.adapted(job, HOW._replace(recipes=recipes))
    assert seen == [recipes.unit_identification, own]


def test_an_unchanged_filter_knows_the_other_day(days):
    """Two days of one array with the same tuning: the filter of one decodes the other."""
    pretrained, _ = lab.pretrain(days[:2], HOW, seed=0)
    rows = lab.unlabelled((days[2], [days[1]], {0: pretrained}), HOW)
    (r2,) = [row["r2"] for row in rows if row["method"] == "unchanged_wiener"]
    assert r2 > 0.5


def test_without_a_label_the_units_have_the_mean_of_their_earlier_embeddings(days):
    pretrained, _ = lab.pretrain(days[:2], HOW, seed=0)
    rows = lab.unlabelled((days[2], days[:2], {0: pretrained}), HOW)
    r2 = {row["method"]: row["r2"] for row in rows}
    model, units = pretrained.model, pretrained.units
    of_mean = pretrained.adopt([days[2]], same_units_as=["a1", "a2"])
    means = model.unit_emb.weight[units.rows(days[0].unit_names)] * 0.5
    means += model.unit_emb.weight[units.rows(days[1].unit_names)] * 0.5
    found = of_mean.model.unit_emb.weight[of_mean.units.rows(days[2].unit_names)]
    assert found.allclose(means)
    assert r2["same_units"] == round(of_mean.score([days[2]])["a3"], 4)
    (last,) = lab.unlabelled((days[2], [days[1]], {0: pretrained}), HOW)[1:]
    assert r2["unchanged_wiener"] == last["r2"], "the filter is the last day's"


# --- what may be said ----------------------------------------------------------------------------


COUNTS = dict.fromkeys(["a4", "a5", "a6", "b1", "b2"], 80)  # labelled trials


def scores(**levels):
    """R² of three new days and two sessions of a new animal: method=(few, all)."""
    rows = []
    for i, session in enumerate(["a4", "a5", "a6", "b1", "b2"]):
        for method, by in levels.items():
            for trials, r2 in zip((5, 20, "all"), by):
                rows.append((session, session[0], method, trials, 0, r2 + 0.01 * i))
    return pd.DataFrame(rows, columns=["session", "animal", "method", "trials", "seed", "r2"])


def test_claims_are_paired_and_judged_together():
    rng = np.random.default_rng(0)
    rows = scores(
        unit_identification=(0.6, 0.7, 0.8), from_scratch=(0.2, 0.6, 0.8),
        finetune=(0.6, 0.7, 0.9), wiener=(0.1, 0.4, 0.7),
    )  # fmt: skip
    rows["r2"] += 0.003 * rng.standard_normal(len(rows))
    found = lab_results.claims(rows, ["a"], COUNTS, pd.DataFrame())
    few = found.loc["new day, 20 labelled trials or fewer: unit identification - from scratch"]
    assert few.estimate == pytest.approx(0.25, abs=0.01) and few.n == 3
    every = found.loc["new animal, all trials: finetuned - from scratch"]
    assert every.estimate == pytest.approx(0.1, abs=0.01) and every.n == 2
    assert not any(name.startswith("drift") for name in found.index), "no data, no claim"
    assert (found.p_holm >= found.p).all()
    # from scratch reaches 0.6 with 20 trials, where unit identification has it with 5
    saved = found.loc["doublings of labelled trials that unit identification saves"]
    assert saved.estimate == pytest.approx(2.0, abs=0.1)


def test_one_session_is_shown_and_is_no_part_of_the_family():
    rows = scores(unit_identification=(0.6, 0.7, 0.8), from_scratch=(0.2, 0.6, 0.8))
    both = lab_results.claims(rows[rows.animal == "a"], ["a"], COUNTS, pd.DataFrame())
    more = lab_results.claims(rows[rows.session != "b2"], ["a"], COUNTS, pd.DataFrame())
    few = "20 labelled trials or fewer: unit identification - from scratch"
    assert more.verdict[f"new animal, {few}"] == lab_results.ONE
    assert more.n[f"new animal, {few}"] == 1 and np.isnan(more.p_holm[f"new animal, {few}"])
    assert more.p_holm[f"new day, {few}"] == both.p_holm[f"new day, {few}"]


def pairs(loss):
    """Two new days beside three earlier ones: R² without a label, by the days between."""
    days = {"a4": (10, 25, 55), "a5": (40, 55, 85)}
    rows = [(s, "same_units", d, 0.9 - loss * d) for s, between in days.items() for d in between]
    return pd.DataFrame(rows, columns=["session", "method", "days", "r2"])


def test_what_is_lost_with_the_days_between():
    assert lab_results.fading(pairs(0.005), "same_units").to_numpy() == pytest.approx(0.15)
    rows = scores(unit_identification=(0.6, 0.7, 0.8), from_scratch=(0.2, 0.6, 0.8))
    found = lab_results.claims(rows, ["a"], COUNTS, pairs(0.005))
    (name,) = [name for name in found.index if "30 more days" in name]
    assert found.estimate[name] == pytest.approx(0.15)
    table = lab_results.by_days(pairs(0.01))["POYO, embeddings of the same units"]
    assert table["30 or fewer"] == "0.73, 1 session"
    assert table["31 to 60"].startswith("0.39 [") and table["31 to 60"].endswith(", 2 sessions")


def test_a_scratch_that_never_gets_there_counts_as_all_trials():
    rows = scores(unit_identification=(0.9, 0.9, 0.9), from_scratch=(0.2, 0.3, 0.4))
    rows["labels"] = rows.trials.where(rows.trials != "all", 80).astype(float)
    assert lab_results.saved(rows).to_numpy() == pytest.approx(4.0)
    rows = scores(unit_identification=(0.1, 0.9, 0.9), from_scratch=(0.2, 0.3, 0.4))
    rows["labels"] = rows.trials.where(rows.trials != "all", 80).astype(float)
    assert lab_results.saved(rows).to_numpy() == pytest.approx(0.0)


def test_the_advice_names_the_best_and_what_is_as_good():
    rows = scores(
        unit_identification=(0.6, 0.7, 0.8), wiener=(0.1, 0.4, 0.795), mlp=(0.3, 0.2, 0.1)
    )
    said = lab_results.advice(rows.assign(kind="new day"))
    assert "with 5 labelled trials: use POYO, unit identification (test R² 0.62" in said
    assert "Wiener filter is as good" in said.split("with all labelled trials")[1]
    fewest = scores(unit_identification=(0.6, 0.5, 0.8), wiener=(0.1, 0.4, 0.7))
    said = lab_results.advice(fewest.assign(kind="new day")).splitlines()
    assert (
        "(5 sessions), with 20 labelled trials: do as with 5 labelled trials (test R² 0.62)"
        in said[1]
    )
    assert "with all labelled trials: use POYO, unit identification (test R² 0.82" in said[2]
    gone = fewest[(fewest.session != "a6") | (fewest.trials != 20)]  # it has fewer trials
    said = lab_results.advice(gone.assign(kind="new day")).splitlines()
    assert "(4 sessions), with 20 labelled trials: use" in said[1], "its mean is over others"
    fewer = rows[(rows.method != "unit_identification") | (rows.session != rows.session.iloc[0])]
    said = lab_results.advice(fewer.assign(kind="new day"))
    assert "unit identification" not in said, "its mean would be over other sessions"


def test_training_goes_on_until_validation_no_longer_rises(easy, learning, monkeypatch):
    from poyo.decoder import Decoder

    gains, trained = iter([0.5, 0.7, 0.702, 0.9]), []

    def fit(decoder, recordings, recipe, *, seed, label):
        trained.append(recipe.steps)
        return [{"step": recipe.steps, "loss": 1.0, "valid_r2": next(gains)}]

    monkeypatch.setattr(adapt, "fit", fit)
    decoder = Decoder.new([easy("one")], size="smoke", seed=0)
    rates = {field.name: getattr(learning, field.name) for field in fields(learning)}
    recipe = Plateau(**rates | {"steps": 10, "eval_every": 5, "budget": 1000})
    history = adapt.to_plateau(decoder, [], recipe)
    assert trained == [10, 20, 40], "the third round gained too little"
    assert [row["step"] for row in history] == [10, 30, 70]
    gains, trained = iter([0.5, 0.7, 0.9]), []
    adapt.to_plateau(decoder, [], replace(recipe, budget=45))
    assert trained == [10, 20, 15], "no more than the budget"
    gains, trained = iter([float("nan")]), []
    adapt.to_plateau(decoder, [], recipe)
    assert trained == [10], "where validation says nothing, more steps are spent on nothing"
