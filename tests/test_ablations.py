"""What each ablation takes away, and that it takes nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import resume
from poyo.config import Recipe
from poyo.data.intervals import contains
from poyo.model import POYO, SIZES
from poyo.sampling import keep_units
from poyo.study import ablations
from poyo.study.ablations import (
    VARIANTS,
    Setup,
    Sinusoidal,
    StillValues,
    WithoutDelimiters,
    binned,
    build,
    jitter,
    run,
)
from poyo.tokens import SPIKE, Session, tokenize
from poyo.train import fit

STARTS = np.array([3.0, 20.5, 33.3, 50.1])


@pytest.fixture
def full(simulated, easy, windows) -> Setup:
    """The full model, tiny, two steps; two sessions, one of each brainset."""
    recipe = Recipe(
        optimizer="muon",
        steps=2,
        batch_size=8,
        lr=2e-3,
        embedding_lr=2e-3,
        warmup=0.1,
        hold=0.1,
        weight_decay=0.05,
        dropout=(0.2, 0.2, 0.1),
        unit_dropout=(4, 8, 12),
        eval_every=2,
    )
    recordings = [simulated, easy(seconds=30.0)]
    return Setup(
        recordings=recordings, size=SIZES["smoke"], windows=windows, recipe=recipe, seed=0
    )


def sessions_of(setup: Setup) -> list[Session]:
    decoder = build(setup)
    return [decoder.session(recording) for recording in setup.recordings]


def window(session, starts=STARTS) -> dict[str, torch.Tensor]:
    return tokenize([session], np.zeros(len(starts), dtype=int), starts, 1.0)


# --- spikes -----------------------------------------------------------------------------------


def changed(recording, moved) -> np.ndarray:
    """Checks what any move of spikes keeps. Returns the times by unit, before and after."""
    assert (np.diff(moved.spike_times) >= 0).all()
    assert contains(moved.domain, moved.spike_times).all()
    counts = [np.bincount(r.spike_units, minlength=len(r.unit_ids)) for r in (recording, moved)]
    np.testing.assert_array_equal(*counts)
    assert moved.splits == recording.splits and moved.behavior == recording.behavior
    by_unit = [r.spike_times[np.argsort(r.spike_units, kind="stable")] for r in (recording, moved)]
    return np.array(by_unit)


@pytest.mark.parametrize("sd", [0.001, 0.010, 0.100])
def test_jitter_moves_spikes_by_as_much_as_asked(easy, sd):
    one = easy(units=1, seconds=300.0)
    # far apart, so that noise does not change their order and each one's move is seen
    apart = replace(one, spike_times=np.arange(0.5, 300, 1.0), spike_units=np.zeros(300, int))
    before, after = changed(apart, jitter(apart, sd, seed=0))
    assert (after - before).std() == pytest.approx(sd, rel=0.15)
    assert abs((after - before).mean()) < 4 * sd / 300**0.5


def test_jitter_keeps_what_is_not_time_and_is_seeded(simulated):
    moved = jitter(simulated, 0.1, seed=3)
    changed(simulated, moved)
    assert np.array_equal(moved.spike_times, jitter(simulated, 0.1, seed=3).spike_times)
    assert not np.array_equal(moved.spike_times, jitter(simulated, 0.1, seed=4).spike_times)
    assert np.array_equal(jitter(simulated, 0.0, seed=3).spike_times, simulated.spike_times)


@pytest.mark.parametrize("width", [0.005, 0.020, 0.050])
def test_bins_put_spikes_on_a_grid_in_their_bin(simulated, width):
    moved = binned(simulated, width)
    before, after = changed(simulated, moved)  # no order within a unit changes
    steps = moved.spike_times / width
    np.testing.assert_allclose(steps - np.floor(steps), 0.5, atol=1e-6)
    assert np.abs(after - before).max() <= width / 2 + 1e-9
    assert np.array_equal(np.floor(before / width), np.floor(after / width))


# --- tokens -----------------------------------------------------------------------------------


def test_without_delimiters_a_window_loses_two_tokens_a_unit_and_nothing_else(full):
    model, session = build(full).model, sessions_of(full)[0]
    bare = sessions_of(replace(full, kind=WithoutDelimiters))[0]
    batch, less = window(session), window(bare)
    lost = batch["input_mask"].sum(1) - less["input_mask"].sum(1)
    assert (lost == 2 * len(bare.unit_rows)).all()
    hidden = batch["input_mask"] & (batch["input_token_type"] == SPIKE)
    torch.testing.assert_close(model.eval()(**less), model(**batch | {"input_mask": hidden}))


def silent(recording, begin: float, end: float):
    heard = (recording.spike_times < begin) | (recording.spike_times >= end)
    times, units = recording.spike_times[heard], recording.spike_units[heard]
    return replace(recording, spike_times=times, spike_units=units)


def test_a_silent_window_without_delimiters_reads_one_token_of_no_unit(full, easy):
    quiet = replace(full, recordings=[silent(easy(seconds=30.0), 2.0, 30.0)])
    bare = replace(quiet, kind=WithoutDelimiters)
    model, (session,) = build(bare).model, sessions_of(bare)
    batch = window(session, np.array([0.5, 5.0]))
    assert batch["input_mask"].sum(1).tolist()[1] == 1
    assert batch["input_unit_index"][1, 0] == 0
    alone = window(session, np.array([5.0]))
    torch.testing.assert_close(model.eval()(**alone)[0], model(**batch)[1])
    assert np.isfinite([*run("no delimiters", quiet).values()]).all()


# --- models -----------------------------------------------------------------------------------


@pytest.fixture(params=[POYO, StillValues, Sinusoidal])
def model(request, full) -> POYO:
    return build(replace(full, model=request.param)).model.eval()


def test_only_added_time_depends_on_when_a_window_began(model, full):
    # values that do not turn keep this: they carry no time, and scores know differences only
    batch = window(sessions_of(full)[0])
    out = model(**batch)
    model.latent_timestamps += 0.25
    later = {"input_timestamps": batch["input_timestamps"] + 0.25}
    all_later = later | {"output_timestamps": batch["output_timestamps"] + 0.25}
    asked, moved = ((model(**batch | t) - out).abs().max() for t in (later, all_later))
    if isinstance(model, Sinusoidal):
        assert moved > 0.1 * asked
    else:
        assert moved < 0.01 * asked  # not 0: angles of 0.1 ms are rounded


def test_values_that_do_not_turn_make_another_model_of_the_same_weights(full):
    one, two = build(full).model, build(replace(full, model=StillValues)).model
    batch = window(sessions_of(full)[0])
    for (key, value), (other, same) in zip(one.state_dict().items(), two.state_dict().items()):
        assert key == other and torch.equal(value, same)
    assert (one.eval()(**batch) - two.eval()(**batch)).abs().max() > 1e-3


def test_a_batch_is_only_a_way_to_compute(model, full):
    session = sessions_of(full)[0]
    together = model(**window(session))
    for i, start in enumerate(STARTS):
        alone = model(**window(session, np.array([start])))
        torch.testing.assert_close(alone[0], together[i, : alone.shape[1]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [StillValues, Sinusoidal])
def test_a_changed_model_learns(easy, full, training, kind):
    recordings = [easy(seconds=30.0)]
    decoder = build(replace(full, recordings=recordings, model=kind))
    longer = replace(training, steps=80, batch_size=8, lr=5e-3, embedding_lr=1e-2, eval_every=10)
    history = fit(decoder, recordings, longer, seed=0, label="learns")
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]


# --- the study --------------------------------------------------------------------------------


def test_every_variant_trains_and_scores(full):
    names = [recording.session_id for recording in full.recordings]
    for variant in VARIANTS:
        r2 = run(variant, full)
        assert list(r2) == names and np.isfinite([*r2.values()]).all(), variant


def test_no_variant_resumes_from_another(full):
    setups = [change(full) for change in VARIANTS.values()]
    paths = [
        resume.path_of(build(s).model, sessions_of(s), s.recipe, s.windows, s.seed) for s in setups
    ]
    assert len(set(paths)) == len(VARIANTS)


def test_what_the_variants_set(full):
    of = {name: change(full) for name, change in VARIANTS.items()}
    assert of["full"] == full
    assert of["half the latents"].size.latents_per_step == full.size.latents_per_step / 2
    assert of["twice the latents"].size.latents_per_step == full.size.latents_per_step * 2
    for name, length in (("0.5 s windows", 0.5), ("2 s windows", 2.0)):
        expected = replace(full.windows, length=length, eval_step=length / 2)
        assert of[name] == replace(full, windows=expected)


def test_one_session_row_is_shared(full):
    for variant, rows in (("full", [1, 2]), ("one session row", [1, 1])):
        assert [s.row for s in sessions_of(VARIANTS[variant](full))] == rows


def test_without_unit_dropout_all_units_are_heard(full):
    recipe = VARIANTS["no unit dropout"](full).recipe
    kept = keep_units(sessions_of(full), np.array([0, 1]), recipe.unit_dropout, (0,))
    assert all(mask.all() for mask in kept)


def test_an_unknown_variant_names_the_known(full):
    with pytest.raises(ValueError, match=r"no variant 'all'; known: full, no delimiters, .*50 ms"):
        run("all", full)


def test_few_takes_the_first_of_each_task_and_trials_for_the_longest_window(simulated):
    def named(name, task, brainset="sim-perich", test=((1.0, 2.5), (3.0, 5.0))):
        splits = simulated.splits | {"test": np.array(test)}
        return replace(simulated, session_id=name, task=task, brainset=brainset, splits=splits)

    recordings = [named(animal + task, task) for animal in "abc" for task in ("out", "random")]
    chosen = ablations.few([*recordings, named("i", "random", "sim-odoherty")], 2)
    assert [r.session_id for r in chosen] == ["aout", "bout", "arandom", "brandom"]
    assert all(r.splits["test"].tolist() == [[3.0, 5.0]] for r in chosen)
