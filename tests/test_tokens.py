"""What a window becomes: one token per spike, two per unit, weights, masks, padding."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poyo.config import Windows
from poyo.data.intervals import intervals
from poyo.data.recording import Recording, RecordingError, release
from poyo.data.sources import RANDOM_TARGET, readout_of
from poyo.evaluate import decode
from poyo.model import POYO, SIZES
from poyo.tokens import END, MARK, SPIKE, START, find, prepare, tokenize
from poyo.vocabulary import Vocabulary, VocabularyError, units_and_sessions

WINDOWS = Windows(length=1.0, latent_step=0.125, eval_step=0.5, queries=1000)
TIMES = np.arange(0, 20, 0.25)
VELOCITY = np.stack([np.sin(TIMES), np.cos(3 * TIMES)], -1)


def recording(spikes=(1.0, 1.5, 2.0), rows=(2, 0, 2), velocity=VELOCITY) -> Recording:
    """Four units, of which "d" is silent."""
    made = Recording.from_arrays(
        np.array([*spikes, 19.0]), np.r_[rows, 3], TIMES, target=velocity, session_id="s"
    )
    return replace(made, unit_ids=np.array(list("abcd")), spike_units=np.r_[rows, 1].astype(int))


@pytest.fixture
def session(prepared):
    return prepared(recording())[0]


def window(session, start, length=1.0, keep=None) -> dict[str, torch.Tensor]:
    return tokenize([session], np.array([0]), np.array([start]), length, keep)


def tokens(batch, row=0) -> list[tuple[int, int, float]]:
    """Sorted (unit row, type, time) of the real tokens."""
    mask = batch["input_mask"][row]
    keys = ("input_unit_index", "input_token_type", "input_timestamps")
    return sorted(zip(*(batch[key][row][mask].tolist() for key in keys)))


def model_of(session) -> POYO:
    torch.manual_seed(0)
    return POYO(size=SIZES["smoke"], units=1 + len(session.unit_rows), sessions=2).eval()


# --- tokens -----------------------------------------------------------------------------------


def test_every_spike_is_a_token_and_every_unit_has_a_start_and_an_end(session):
    ends = [(row, kind, t) for row in (1, 2, 3, 4) for kind, t in ((START, 0.0), (END, 1.5))]
    spikes = [(3, SPIKE, 0.25), (1, SPIKE, 0.75), (3, SPIKE, 1.25)]
    assert tokens(window(session, 0.75, length=1.5)) == sorted(ends + spikes)


def test_a_window_holds_its_start_but_not_its_end(session):
    batch = window(session, 1.0)
    assert [t for _, kind, t in tokens(batch) if kind == SPIKE] == [0.5, 0.0]  # unit a, then c
    np.testing.assert_array_equal(batch["output_timestamps"][0], [0, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(batch["index"][0], [4, 5, 6, 7])


def test_dropped_units_leave_with_all_their_tokens(session):
    kept = [np.array([True, True, False, True])]
    rows = {row for row, _, _ in tokens(window(session, 0.75, length=1.5, keep=kept))}
    assert rows == {1, 2, 4}


def test_a_window_without_a_spike_decodes(session):
    batch = window(session, 5.0)
    assert {kind for _, kind, _ in tokens(batch)} == {START, END}
    out = model_of(session)(**batch)
    assert out.shape == (1, 4, 2)
    assert torch.isfinite(out).all()


def test_a_recording_without_a_spike_decodes(prepared):
    silent = replace(recording(), spike_times=np.empty(0), spike_units=np.empty(0, dtype=int))
    session = prepared(silent)[0]
    out = model_of(session)(**window(session, 5.0))
    assert torch.isfinite(out).all()


def test_rows_are_those_of_the_vocabulary():
    units = Vocabulary(["x", "s/d", "s/c", "s/b", "s/a"])
    session = prepare(recording(), readout_of(recording()), units, Vocabulary(["other", "s"]))
    batch = window(session, 1.0)
    assert {row for row, _, _ in tokens(batch)} == {2, 3, 4, 5}
    assert [row for row, kind, _ in tokens(batch) if kind == SPIKE] == [3, 5]  # c and a
    assert batch["session_index"].tolist() == [2]


def test_sessions_of_a_batch_keep_apart(prepared):
    one, two = recording(), replace(recording(), session_id="t")
    sessions = prepared(one, two)
    batch = tokenize(sessions, np.array([1, 0]), np.array([1.0, 5.0]), 1.0)
    assert batch["session_index"].tolist() == [2, 1]
    assert {row for row, _, _ in tokens(batch, 0)} == {5, 6, 7, 8}
    assert {row for row, _, _ in tokens(batch, 1)} == {1, 2, 3, 4}


# --- padding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spikes", range(0, 10))
def test_tokens_are_padded_to_a_multiple_of_eight(prepared, spikes):
    at = 1 + np.arange(spikes) / 16
    session = prepared(recording(at, np.zeros(spikes, dtype=int)))[0]
    batch = window(session, 1.0)
    assert batch["input_mask"].sum() == 8 + spikes
    assert batch["input_mask"].shape[1] == 8 * int(np.ceil((8 + spikes) / 8))
    assert (batch["input_unit_index"][~batch["input_mask"]] == 0).all()


def test_windows_of_a_batch_are_padded_to_the_longest(session):
    batch = tokenize([session], np.array([0, 0, 0]), np.array([1.0, 5.0, 19.5]), 1.0)
    assert batch["input_mask"].sum(1).tolist() == [10, 8, 8]
    assert batch["output_mask"].sum(1).tolist() == [4, 4, 2]  # the recording ends at 20 s
    assert (batch["weight"][2, 2:] == 0).all()
    first = window(session, 1.0)
    for key in ("output_timestamps", "target", "weight", "index"):
        torch.testing.assert_close(batch[key][0, :4], first[key][0])


# --- thinning ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "most, rows",
    [
        (None, range(8, 16)),
        (8, range(8, 16)),
        (1000, range(8, 16)),
        (7, range(8, 16, 2)),
        (4, range(8, 16, 2)),
        (3, range(8, 16, 3)),
        (1, [8]),
    ],
)
def test_a_window_of_more_samples_is_thinned_evenly(session, most, rows):
    whole = tokenize([session], np.array([0]), np.array([2.0]), 2.0)
    thin = tokenize([session], np.array([0]), np.array([2.0]), 2.0, queries=most)
    assert thin["index"][0].tolist() == list(rows)
    for key in ("output_timestamps", "output_mask", "target", "weight", "index"):
        torch.testing.assert_close(thin[key], whole[key][:, np.array(rows) - 8])
    for key in ("input_unit_index", "input_timestamps", "input_token_type", "input_mask"):
        torch.testing.assert_close(thin[key], whole[key])  # spikes are never left out


def test_windows_of_a_batch_are_thinned_each_for_itself(prepared):
    times = np.arange(0, 20, 0.05)
    fast = Recording.from_arrays(
        np.array([1.0]), np.array([0]), times, np.stack([times, times], -1), session_id="fast"
    )
    sessions = prepared(recording(), fast)
    batch = tokenize(sessions, np.array([0, 1, 1]), np.array([1.0, 1.0, 19.7]), 1.0, queries=6)
    assert batch["output_mask"].sum(1).tolist() == [4, 5, 6]
    times = batch["output_timestamps"]
    np.testing.assert_allclose(times[0, :4], [0, 0.25, 0.5, 0.75], atol=1e-6)
    np.testing.assert_allclose(times[1, :5], [0, 0.2, 0.4, 0.6, 0.8], atol=1e-6)
    for row, s in enumerate((0, 1, 1)):
        mask = batch["output_mask"][row]
        at = sessions[s].times[batch["index"][row][mask]] - [1.0, 1.0, 19.7][row]
        np.testing.assert_allclose(times[row][mask], at, atol=1e-6)


def test_evaluation_decodes_every_sample(session):
    few = replace(WINDOWS, queries=1)
    one, two = (decode(model_of(session), session, intervals(1, 4), w) for w in (WINDOWS, few))
    np.testing.assert_array_equal(one.times, TIMES[4:16])
    np.testing.assert_array_equal(one.prediction, two.prediction)
    np.testing.assert_array_equal(one.times, two.times)


# --- targets and weights ----------------------------------------------------------------------


@pytest.mark.parametrize("columns", [[0], [0, 1], [0, 1, 0]])
def test_own_targets_are_standardised_column_by_column(prepared, columns):
    target = (VELOCITY * [3.0, 0.2] + [50.0, -1.0])[:, columns]
    session = prepared(recording(velocity=target))[0]
    train = target[TIMES < session.recording.splits["train"].max()]
    expected = (target[8:12] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(window(session, 2.0)["target"][0], expected, atol=1e-5)


def test_public_targets_are_over_the_readouts_scale(simulated, prepared):
    session = prepared(simulated)[0]
    expected = simulated.behavior["cursor"]["vel"][300:400] / 20.0
    np.testing.assert_allclose(window(session, 3.0)["target"][0], expected, atol=1e-6)


def test_weights_multiply_over_the_intervals_a_sample_is_in(simulated, prepared):
    rng = np.random.default_rng(0)
    spans = {}
    for name in prepared(simulated)[0].readout.weights:
        begin = rng.integers(0, 50, 8) / 1.0  # overlapping each other and among themselves
        spans[name] = intervals(begin, begin + rng.integers(1, 9, 8))
    session = prepared(replace(simulated, intervals=simulated.intervals | spans))[0]
    times = np.r_[np.arange(0, 60, 0.5), rng.uniform(0, 60, 300)]
    expected = np.ones(len(times))
    for name, weight in session.readout.weights.items():
        inside = [any(a <= t < b for a, b in spans[name]) for t in times]
        expected[np.array(inside)] *= weight
    assert len(set(expected.round(6))) > 5
    np.testing.assert_allclose(session.weights(times), expected, rtol=1e-6)


def test_intervals_a_session_lacks_do_not_weigh(simulated, prepared):
    spans = {"movement_phases.reach_period": simulated.intervals["movement_phases.reach_period"]}
    session = prepared(replace(simulated, intervals=spans))[0]
    assert set(session.weights(np.arange(0, 60, 0.01)).tolist()) == {1.0, 5.0}


def test_own_recordings_weigh_the_same_everywhere_and_count_everywhere(session):
    assert (session.weights(TIMES) == 1).all()
    assert session.evaluated(TIMES).all()


def test_only_the_evaluated_interval_counts(simulated, prepared):
    session = prepared(simulated)[0]
    times = np.arange(0, 60, 0.01)
    reach = simulated.intervals["movement_phases.reach_period"]
    expected = np.array([any(a <= t < b for a, b in reach) for t in times])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(session.evaluated(times), expected)


# --- NaN in the behaviour ---------------------------------------------------------------------


@pytest.fixture
def gappy(prepared):
    velocity = VELOCITY.copy()
    velocity[5, 0] = velocity[6] = np.nan  # 1.25 s in one column, 1.5 s in both
    with pytest.warns(UserWarning, match=r"'s': 2 of 80 samples of behavior\.velocity are NaN"):
        return prepared(recording(velocity=velocity))[0]


def test_nan_samples_are_masked_and_weigh_nothing(gappy):
    batch = window(gappy, 1.0)
    assert batch["output_mask"][0].tolist() == [True, False, False, True]
    assert batch["weight"][0].tolist() == [1, 0, 0, 1]
    assert torch.isfinite(batch["target"]).all()


def test_nan_samples_are_not_decoded(gappy):
    decoded = decode(model_of(gappy), gappy, intervals(1, 2), WINDOWS)
    assert decoded.times.tolist() == [1.0, 1.75]
    assert np.isfinite(decoded.r2)


def test_whole_behaviour_does_not_warn(prepared):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared(recording())


# --- what cannot be prepared ------------------------------------------------------------------


def test_unknown_names_are_named():
    one, (units, sessions) = recording(), units_and_sessions([recording()])
    with pytest.raises(VocabularyError, match="'s/c' is not in the vocabulary"):
        prepare(one, readout_of(one), Vocabulary(["s/a", "s/b", "s/d"]), sessions)
    with pytest.raises(VocabularyError, match="'s' is not in the vocabulary"):
        prepare(one, readout_of(one), units, Vocabulary(["other"]))


def test_a_missing_target_is_named():
    series = {"behavior": {"timestamps": TIMES, "position": VELOCITY}}
    with pytest.raises(RecordingError, match=r"'s' has no 'behavior\.velocity'.*\.position"):
        replace(recording(), behavior=series)


def test_a_missing_evaluation_interval_is_named(simulated, prepared):
    assert RANDOM_TARGET.evaluate == "movement_phases.random_period"
    task = replace(simulated, task="random_target_reaching", intervals={})
    with pytest.raises(ValueError, match=r"no interval 'movement_phases\.random_period'"):
        prepared(task)


def test_an_unknown_brainset_is_named(prepared):
    with pytest.raises(RecordingError, match=r"'elsewhere_2031'.*READOUTS"):
        prepared(replace(recording(), brainset="elsewhere_2031", target=""))


def test_a_hand_that_never_moves_is_refused(prepared):
    with pytest.raises(RecordingError, match="does not vary"):
        prepared(recording(velocity=np.zeros_like(VELOCITY)))


# --- what can be learned ----------------------------------------------------------------------


def test_a_split_with_one_sample_that_counts_can_be_learned(simulated, prepared):
    target = simulated.behavior["cursor"]["vel"].copy()
    target[:] = np.nan
    target[500] = 1.0  # at 5 s
    series = {"cursor": simulated.behavior["cursor"] | {"vel": target}}
    spans = {"movement_phases.reach_period": intervals(0, 60)}
    with pytest.warns(UserWarning, match="are NaN"):
        session = prepared(replace(simulated, behavior=series, intervals=spans))[0]
    session.check_learnable(intervals([1.0, 4.0], [2.0, 6.0]))
    with pytest.raises(RecordingError, match=r"no sample .* counts in the loss"):
        session.check_learnable(intervals([1.0, 6.0], [2.0, 9.0]))


def test_a_split_that_weighs_nothing_cannot_be_learned(simulated, prepared):
    spans = simulated.intervals | {"cursor_outlier_segments": intervals(10, 20)}
    session = prepared(replace(simulated, intervals=spans))[0]
    session.check_learnable(intervals(9, 19))
    with pytest.raises(RecordingError, match=r"cursor\.vel and at .*cursor_outlier_segments"):
        session.check_learnable(intervals(11, 19))


@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 2000])
def test_a_search_by_marks_finds_what_a_search_finds(n):
    rng = np.random.default_rng(n)
    times = np.sort(rng.integers(0, 500, n) / 10)  # with ties
    edges = [-1.0, 60.0, *rng.uniform(-1, 60, 200), *times[:300]]
    found = find(times, times[::MARK].copy(), *edges)
    assert found == times.searchsorted(edges).tolist()


STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.exists(), reason="this system does not say what is mapped")
def test_pages_that_were_read_are_let_go_and_batches_stay_the_same(easy, tmp_path, monkeypatch):
    def mapped() -> float:  # MiB
        status = dict(row.split(":") for row in STATUS.read_text().splitlines())
        return int(status["RssFile"].split()[0]) / 1024

    easy(seconds=2000.0, units=20).save(tmp_path / "long.h5")
    long = Recording.load(tmp_path / "long.h5")
    session = prepare(long, readout_of(long), *units_and_sessions([long]))
    size = (long.spike_times.nbytes + long.spike_units.nbytes) / 2**20
    release()
    before = mapped()
    assert long.spike_times.sum() + long.spike_units.sum() > 0 and size > 10
    assert mapped() - before > 0.9 * size
    release()
    assert mapped() - before < 0.1 * size

    batches = []
    for windows in (1, np.inf):
        monkeypatch.setattr("poyo.tokens.MAPPED", windows)
        batches.append(tokenize([session], np.zeros(3, int), np.array([0.0, 5.0, 1900.0]), 1.0))
    assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])
