"""R², stitching, and the Wiener filter that shares them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import config, threads
from poyo.baselines import binned, wiener
from poyo.evaluate import Decoded, decode, evaluated_samples, fitting, r2_score, scores
from poyo.intervals import contains, intervals
from poyo.model import POYO
from poyo.sampling import grid
from poyo.tokens import latents

FILTER = config.Wiener(bin=0.05, reach=0.5, ridge=(1e-3, 1e-2, 1e-1, 1.0))


class Fake(torch.nn.Module):
    """Predicts what depends on the window: its first spike's time and the time asked for."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, *, input_timestamps, input_token_type, input_mask, output_timestamps, **_):
        spike = input_mask & (input_token_type == 0)
        first = torch.where(spike, input_timestamps, 9.0).min(1, keepdim=True).values
        return torch.stack([first + output_timestamps, first * output_timestamps], -1)


# --- R² ---------------------------------------------------------------------------------------


def test_r2_is_one_minus_residual_over_variance_averaged_over_columns():
    rng = np.random.default_rng(0)
    target, prediction = rng.standard_normal((2, 40, 2)) * [1.0, 7.0] + [3.0, -2.0]
    columns = []
    for y, p in zip(target.T.tolist(), prediction.T.tolist()):
        mean = sum(y) / len(y)
        residual = sum((a - b) ** 2 for a, b in zip(y, p))
        columns.append(1 - residual / sum((a - mean) ** 2 for a in y))
    assert r2_score(target, prediction) == pytest.approx(sum(columns) / 2)


def test_r2_of_the_truth_is_one_and_of_the_mean_zero():
    target = np.random.default_rng(0).standard_normal((40, 2))
    assert r2_score(target, target) == 1.0
    assert r2_score(target, np.tile(target.mean(0), (40, 1))) == pytest.approx(0.0)


@pytest.mark.parametrize("target", [np.empty((0, 2)), np.ones((1, 2)), np.ones((9, 2))])
def test_r2_is_nan_where_nothing_varies(target):
    assert np.isnan(r2_score(target, target))


def test_only_evaluated_samples_score():
    target = np.random.default_rng(0).standard_normal((40, 2))
    evaluated = np.arange(40) < 20
    prediction = np.where(evaluated[:, None], target, 99.0)
    decoded = Decoded(
        times=np.arange(40), target=target, prediction=prediction, evaluated=evaluated
    )
    assert decoded.r2 == 1.0


# --- stitching --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [3, 64])
def test_predictions_of_overlapping_windows_are_averaged(
    easy, prepared, windows, chunk, monkeypatch
):
    monkeypatch.setattr(threads, "CHUNK", (chunk, chunk))
    session = prepared(easy(seconds=30.0))[0]
    domain = intervals([2.0, 11.3], [5.21, 14.0])
    decoded = decode(Fake(), {}, session, domain, windows)
    spikes = session.recording.spike_times
    sums: dict[int, list] = {}
    for start in grid(domain, 1.0, 0.5):
        first = min(t for t in spikes if t >= start) - start
        for i, t in enumerate(session.times):
            if start <= t < start + 1.0:
                sums.setdefault(i, []).append((first + t - start, first * (t - start)))
    rows = sorted(sums)
    assert {1, 2, 3} & {len(many) for many in sums.values()} > {1}
    np.testing.assert_array_equal(decoded.times, session.times[rows])
    np.testing.assert_array_equal(decoded.target, session.target[rows])
    expected = np.array([np.mean(sums[i], axis=0) for i in rows]) * session.readout.scale
    np.testing.assert_allclose(decoded.prediction, expected, atol=1e-5)


def test_every_sample_of_a_split_is_decoded(simulated, prepared, windows):
    session = prepared(simulated)[0]
    for split in ("train", "valid", "test"):
        domain = fitting(session, split, windows)
        decoded = decode(Fake(), {}, session, domain, windows)
        expected = session.times[contains(domain, session.times)]
        np.testing.assert_array_equal(decoded.times, expected, err_msg=split)


def test_trials_shorter_than_a_window_are_left_out(simulated, prepared, windows):
    short = simulated.splits | {"test": intervals([3.0, 9.0], [3.5, 10.5])}
    session = prepared(replace(simulated, splits=short))[0]
    np.testing.assert_array_equal(fitting(session, "test", windows), [[9.0, 10.5]])


def test_what_counts_is_the_readouts_interval(simulated, prepared, windows):
    session = prepared(simulated)[0]
    decoded = decode(Fake(), {}, session, fitting(session, "test", windows), windows)
    reach = simulated.intervals["movement_phases.reach_period"]
    inside = np.array([any(a <= t < b for a, b in reach) for t in decoded.times])
    np.testing.assert_array_equal(decoded.evaluated, inside)
    rows = evaluated_samples(session, "test", windows)
    np.testing.assert_array_equal(session.times[rows], decoded.times[inside])


def test_scores_are_per_session(simulated, easy, prepared, windows):
    sessions = prepared(simulated, easy())
    result = scores(Fake(), {}, sessions, "test", windows)
    assert list(result) == [simulated.session_id, "easy"]
    domain = fitting(sessions[1], "test", windows)
    assert result["easy"] == decode(Fake(), {}, sessions[1], domain, windows).r2


def test_decoding_leaves_the_models_mode_and_gradients(easy, prepared, windows):
    session = prepared(easy())[0]
    model = POYO(size="smoke", units=9, sessions=2).train()
    one, two = (
        decode(model, latents("smoke", windows), session, intervals(1, 4), windows)
        for _ in range(2)
    )
    assert model.training
    np.testing.assert_array_equal(one.prediction, two.prediction)  # no dropout


# --- the Wiener filter ------------------------------------------------------------------------


def test_binned_counts_are_histograms_around_each_time(easy, prepared):
    session = prepared(easy(seconds=20.0))[0]
    recording = session.recording
    times = np.array([0.1, 3.003, 7.77, 19.9])
    x = binned(session, times, width=0.1, reach=0.3).reshape(4, len(recording.unit_ids), 6)
    edges = np.arange(-3, 4) * 0.1
    for i, t in enumerate(times):
        for unit in range(len(recording.unit_ids)):
            own = recording.spike_times[recording.spike_units == unit]
            expected, _ = np.histogram(own, bins=t + edges)
            np.testing.assert_allclose(x[i, unit], np.sqrt(expected), rtol=1e-6)


def test_binned_counts_of_a_silent_unit_are_zero(easy, prepared):
    recording = easy(seconds=20.0, units=4)
    keep = recording.spike_units != 2
    silent = replace(
        recording,
        spike_times=recording.spike_times[keep],
        spike_units=recording.spike_units[keep],
    )
    x = binned(prepared(silent)[0], np.array([5.0]), 0.1, 0.5).reshape(4, 10)
    assert (x[2] == 0).all()
    assert (x[[0, 1, 3]].sum(1) > 0).all()


def test_the_wiener_filter_solves_a_linear_session(easy, prepared, windows):
    decoded = wiener(prepared(easy(seconds=120.0, units=12))[0], FILTER, windows)
    assert decoded.r2 > 0.9


def test_the_wiener_filter_finds_nothing_in_shuffled_spikes(easy, prepared, windows):
    recording = easy(seconds=120.0, units=12)
    rng = np.random.default_rng(0)
    at = np.sort(rng.uniform(0, 120, len(recording.spike_times)))
    shuffled = replace(recording, spike_times=at)
    r2 = wiener(prepared(shuffled)[0], FILTER, windows).r2
    assert -0.3 < r2 < 0.1


def test_the_wiener_filter_is_scored_on_poyos_samples(simulated, prepared, windows):
    session = prepared(simulated)[0]
    decoded = wiener(session, FILTER, windows)
    other = decode(Fake(), {}, session, fitting(session, "test", windows), windows)
    np.testing.assert_array_equal(decoded.times, other.times[other.evaluated])
    np.testing.assert_array_equal(decoded.target, other.target[other.evaluated])


def test_the_wiener_filter_sees_no_held_out_behaviour(easy, prepared, windows):
    """Other behaviour in the test split changes the score, not the prediction."""
    recording = easy()
    series = recording.behavior["cursor"]
    inside = contains(recording.splits["test"], series["timestamps"])
    other = series | {"vel": np.where(inside[:, None], 5.0 - series["vel"], series["vel"])}
    one, two = (
        wiener(prepared(r)[0], FILTER, windows)
        for r in (recording, replace(recording, behavior={"cursor": other}))
    )
    np.testing.assert_array_equal(one.prediction, two.prediction)
    assert one.r2 != two.r2
