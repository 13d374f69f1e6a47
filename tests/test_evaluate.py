"""R² and stitching: what is decoded of a split, and what of it counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import threads
from poyo.data.intervals import contains, intervals
from poyo.evaluate import Decoded, decode, evaluated_samples, fitting, r2_score, scores
from poyo.model import POYO, SIZES
from poyo.sampling import grid


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


# --- windows beyond a trial -------------------------------------------------------------------


class Clock(Fake):
    """Predicts the time in the window."""

    def forward(self, *, output_timestamps, **_):
        return torch.stack([output_timestamps] * 2, -1)


def test_the_ends_of_a_trial_are_heard_from_both_sides(easy, prepared, windows):
    """Without an overhang, the first sample is the first of its only window."""
    session, domain = prepared(easy(seconds=30.0))[0], intervals([2.0, 11.3], [5.0, 12.3])
    beyond = replace(windows, eval_step=0.25, overhang=0.5)
    decoded = decode(Clock(), session, domain, beyond)
    np.testing.assert_array_equal(decoded.times, session.times[contains(domain, session.times)])
    middle = session.readout.restore(np.array([[0.25] * 2, [0.75] * 2]))
    assert (decoded.prediction >= middle[0] - 1e-6).all()
    assert (decoded.prediction <= middle[1] + 1e-6).all()


def test_a_trial_shorter_than_a_window_can_be_decoded_with_what_is_around_it(
    easy, prepared, windows
):
    session = prepared(easy(seconds=30.0))[0]
    short = replace(session.recording, splits={"test": intervals(4.0, 4.4)})
    session = replace(session, recording=short)
    assert len(fitting(session, "test", windows)) == 0
    beyond = replace(windows, overhang=0.5)
    decoded = decode(Clock(), session, fitting(session, "test", beyond), beyond)
    assert decoded.times[0] == pytest.approx(4.0) and len(decoded.times) == 20


# --- stitching --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [3, 64])
def test_predictions_of_overlapping_windows_are_averaged(
    easy, prepared, windows, chunk, monkeypatch
):
    monkeypatch.setattr(threads, "CHUNK", (chunk, chunk))
    session = prepared(easy(seconds=30.0, offset=4.0))[0]
    domain = intervals([2.0, 11.3], [5.21, 14.0])
    decoded = decode(Fake(), session, domain, windows)
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
    train = session.target[session.times < session.recording.splits["train"].max()]
    expected = np.array([np.mean(sums[i], axis=0) for i in rows]) * train.std(0) + train.mean(0)
    np.testing.assert_allclose(decoded.prediction, expected, atol=1e-5)


def test_every_sample_of_a_split_is_decoded(simulated, prepared, windows):
    session = prepared(simulated)[0]
    for split in ("train", "valid", "test"):
        domain = fitting(session, split, windows)
        decoded = decode(Fake(), session, domain, windows)
        expected = session.times[contains(domain, session.times)]
        np.testing.assert_array_equal(decoded.times, expected, err_msg=split)


def test_trials_shorter_than_a_window_are_left_out(simulated, prepared, windows):
    short = simulated.splits | {"test": intervals([3.0, 9.0], [3.5, 10.5])}
    session = prepared(replace(simulated, splits=short))[0]
    np.testing.assert_array_equal(fitting(session, "test", windows), [[9.0, 10.5]])


def test_what_counts_is_the_readouts_interval(simulated, prepared, windows):
    session = prepared(simulated)[0]
    decoded = decode(Fake(), session, fitting(session, "test", windows), windows)
    reach = simulated.intervals["movement_phases.reach_period"]
    inside = np.array([any(a <= t < b for a, b in reach) for t in decoded.times])
    np.testing.assert_array_equal(decoded.evaluated, inside)
    rows = evaluated_samples(session, "test", windows)
    np.testing.assert_array_equal(session.times[rows], decoded.times[inside])


def test_scores_are_per_session(simulated, easy, prepared, windows):
    sessions = prepared(simulated, easy())
    result = scores(Fake(), sessions, "test", windows)
    assert list(result) == [simulated.session_id, "easy"]
    domain = fitting(sessions[1], "test", windows)
    assert result["easy"] == decode(Fake(), sessions[1], domain, windows).r2


def test_decoding_leaves_the_models_mode_and_gradients(easy, prepared, windows):
    session = prepared(easy())[0]
    model = POYO(size=SIZES["smoke"], units=9, sessions=2).train()
    one, two = (decode(model, session, intervals(1, 4), windows) for _ in range(2))
    assert model.training
    np.testing.assert_array_equal(one.prediction, two.prediction)  # no dropout
