"""The networks on binned counts: what each can learn, and that the comparison is fair."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import ROOT, baselines, config, threads
from poyo.baselines import NETWORKS, counted, fit, search, stitched
from poyo.config import Draws, Grid, Network
from poyo.evaluate import evaluated_samples, fitting
from poyo.intervals import contains
from poyo.sampling import grid

SMOKE = config.load(ROOT / "profiles/smoke.yaml").baselines
# enough for a minute of eight linear units
LEARNS = {
    "mlp": (60, Network(width=32, dropout=0.1, lr=2e-3)),
    "gru": (60, Network(width=16, dropout=0.1, lr=2e-2)),
    "ndt": (100, Network(width=16, dropout=0.0, lr=2e-2)),
    "ndt_supervised": (80, Network(width=16, dropout=0.1, lr=1e-2)),
    "eit": (60, Network(width=8, dropout=0.1, lr=2e-2)),
    "lfads": (60, Network(width=16, dropout=0.3, lr=3e-2, kl=0.1)),
}


def brief(method: str, steps: int = 4, batch_size: int = 4) -> config.Baselines:
    """The smoke profile with other steps."""
    section = replace(getattr(SMOKE, method), steps=steps)
    return replace(SMOKE, batch_size=batch_size, **{method: section})


def altered(recording, where: np.ndarray, vel) -> object:
    """The recording with other velocities in samples `where` (T,) bool."""
    series = recording.behavior["cursor"]
    vel = np.where(where[:, None], vel, series["vel"])
    return replace(recording, behavior={"cursor": series | {"vel": vel}})


def inside(recording, split: str) -> np.ndarray:
    return contains(recording.splits[split], recording.behavior["cursor"]["timestamps"])


# --- counts and targets -----------------------------------------------------------------------


def test_every_spike_is_counted_once(simulated, prepared):
    session = prepared(simulated)[0]
    spikes, units = simulated.spike_times, simulated.spike_units
    starts = np.array([-0.3, 3.003, 3.5, 17.77])
    counts = counted(session, starts, 50, 0.02).numpy()
    assert counts.shape == (4, 50, len(simulated.unit_ids))
    for start, window in zip(starts, counts):
        for unit in range(len(simulated.unit_ids)):
            own = spikes[units == unit]
            expected, _ = np.histogram(own, start + np.arange(51) * 0.02)
            np.testing.assert_array_equal(window[:, unit], expected)
    tiles = counted(session, np.arange(0.0, 60.0), 50, 0.02)
    assert tiles.sum() == len(spikes)


def test_targets_lie_between_samples_and_leave_out_nan_and_gaps(easy, prepared):
    recording = easy(seconds=20.0)  # at 50 Hz
    times = recording.behavior["cursor"]["timestamps"]
    session = prepared(recording)[0]
    holes = altered(recording, (times > 5) & (times < 6), np.nan)
    gap = (times < 8) | (times > 9)
    holes = replace(
        holes, behavior={"cursor": {k: v[gap] for k, v in holes.behavior["cursor"].items()}}
    )
    at = np.array([[3.013, 4.0, 5.5, 8.5, 25.0]])
    target, weight = baselines._targets(session, at, 0.02)
    assert weight.tolist() == [[1, 1, 1, 1, 0]]
    for i in range(2):
        expected = np.interp(at[0, :4], times, session.target[:, i]) / session.readout.scale
        np.testing.assert_allclose(target[0, :4, i], expected, rtol=1e-5)
    with pytest.warns(UserWarning, match="NaN"):
        session = prepared(holes)[0]
    target, weight = baselines._targets(session, at, 0.02)
    assert weight.tolist() == [[1, 1, 0, 0, 0]] and torch.isfinite(target).all()


def test_stitching_interpolates_and_averages(easy, prepared, windows):
    """A network that gives each window's mean count and the bin's number."""

    class Fake(torch.nn.Module):
        def forward(self, counts):
            bins = torch.arange(counts.shape[1]).expand(len(counts), -1)
            return torch.stack([counts.mean((1, 2))[:, None].expand_as(bins), bins], -1)

    session = prepared(easy(seconds=30.0))[0]
    domain, rows = (
        fitting(session, "test", windows),
        evaluated_samples(session, "test", windows),
    )
    out = stitched(Fake(), session, domain, rows, SMOKE, windows, (0, 1))
    sums = {row: [] for row in rows}
    middle = (np.arange(50) + 0.5) * 0.02
    for start in grid(domain, 1.0, 0.5):
        level = counted(session, np.array([start]), 50, 0.02).mean().item()
        for row in rows:
            t = session.times[row] - start
            if -1e-9 <= t < 1:
                ramps = (np.interp(t, middle, np.minimum(np.arange(50) + k, 49)) for k in (0, 1))
                first, second = ramps
                sums[row].append((level, first, level, second))
    expected = np.array([np.mean(sums[row], axis=0) for row in rows])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


# --- learning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", NETWORKS)
def test_a_network_learns_an_easy_session(method, easy, prepared, windows):
    steps, network = LEARNS[method]
    session = prepared(easy(seconds=60.0, units=12))[0]
    decoded = fit(method, session, network, brief(method, steps, 16), windows, seed=0)
    assert decoded.r2 > 0.6


@pytest.mark.parametrize("method", ["ndt", "lfads"])
def test_rates_are_inferred_without_behaviour(method, easy, prepared, windows):
    """Counts in bins of 20 ms say little of a unit's rate; the population and the past do."""
    steps, network = LEARNS[method]
    (session,) = prepared(easy(seconds=60.0, units=12))
    blind = replace(session, target=np.zeros_like(session.target))
    model = baselines._trained(method, blind, network, brief(method, steps, 16), windows, 0)
    rows = evaluated_samples(session, "test", windows)
    whole = torch.nn.Sequential(model, model.to_rates) if method == "lfads" else model
    domain = fitting(session, "test", windows)
    rates = stitched(whole, session, domain, rows, SMOKE, windows)
    angle = np.arange(12) * 2 * np.pi / 12
    truth = session.target[rows] @ np.stack([np.cos(angle), np.sin(angle)])
    counts = counted(session, session.times[rows] - 0.01, 1, 0.02)[:, 0].numpy()
    correlation = [
        np.mean([np.corrcoef(truth[:, i], x[:, i])[0, 1] for i in range(12)])
        for x in (rates, counts)
    ]
    assert correlation[0] > 0.75 > 0.6 > correlation[1]


@pytest.mark.parametrize("method", NETWORKS)
def test_the_samples_are_poyos_and_the_seed_decides(method, simulated, prepared, windows):
    session = prepared(simulated)[0]
    one, two, other = (
        fit(method, session, LEARNS[method][1], brief(method), windows, seed=seed)
        for seed in (3, 3, 4)
    )
    rows = evaluated_samples(session, "test", windows)
    np.testing.assert_array_equal(one.times, session.times[rows])
    np.testing.assert_array_equal(one.target, session.target[rows])
    assert one.evaluated.all() and one.prediction.shape == (len(rows), 2)
    assert one.prediction.tobytes() == two.prediction.tobytes()
    assert one.prediction.tobytes() != other.prediction.tobytes()


@pytest.mark.parametrize("method", ["mlp", "eit"])
def test_the_order_of_units_is_only_a_name(method, easy, prepared, windows):
    recording = easy(seconds=60.0, units=12)
    order = np.random.default_rng(0).permutation(12)
    renamed = replace(recording, spike_units=order[recording.spike_units])
    steps, network = LEARNS[method]
    decoded = fit(method, prepared(renamed)[0], network, brief(method, steps, 16), windows, seed=0)
    assert decoded.r2 > 0.6


def test_a_window_need_not_be_whole_steps_long(easy, prepared, windows):
    odd = replace(windows, length=0.66)
    session = prepared(easy(seconds=30.0))[0]
    for method in NETWORKS:
        decoded = fit(method, session, LEARNS[method][1], brief(method), odd, seed=0)
        assert np.isfinite(decoded.prediction).all()


@pytest.mark.parametrize("method", NETWORKS)
def test_nan_samples_and_silent_units_do_no_harm(method, easy, prepared, windows):
    recording = easy(seconds=30.0)
    keep = recording.spike_units != 2
    recording = replace(
        recording,
        spike_times=recording.spike_times[keep],
        spike_units=recording.spike_units[keep],
    )
    holes = np.arange(len(inside(recording, "train"))) % 40 < 10
    with pytest.warns(UserWarning, match="NaN"):
        session = prepared(altered(recording, holes, np.nan))[0]
    decoded = fit(method, session, LEARNS[method][1], brief(method), windows, seed=0)
    assert np.isfinite(decoded.prediction).all() and np.isfinite(decoded.r2)


# --- choosing ---------------------------------------------------------------------------------


def tried(method: str) -> config.Baselines:
    """Three configurations of which the first cannot learn."""
    if method == "lfads":
        draws = Draws(
            steps=3, width=8, candidates=3, lr=(1e-4, 1e-1), dropout=(0.2, 0.5), kl=(0.1, 1.0)
        )
        return replace(SMOKE, batch_size=4, lfads=draws, **dict.fromkeys(GRIDS, THREE))
    grids = dict.fromkeys(GRIDS, THREE)
    return replace(SMOKE, batch_size=4, lfads=replace(SMOKE.lfads, candidates=3), **grids)


THREE = Grid(
    steps=3,
    tried=tuple(Network(width=8, dropout=0.2, lr=lr) for lr in (1e-6, 1e-2, 1e-3)),
)
GRIDS = [method for method in NETWORKS if method != "lfads"]


@pytest.mark.parametrize("method", NETWORKS)
def test_the_number_of_threads_changes_nothing(method, simulated, prepared, windows):
    session = prepared(simulated)[0]
    results = []
    for n in (1, 3):
        threads.use(n)
        results.append(search(method, session, tried(method), windows, seed=0))
    threads.use(1)
    (one, first, rows), (two, second, others) = results
    assert one == two and rows == others and len(rows) == 3
    assert first.prediction.tobytes() == second.prediction.tobytes()
    again = fit(method, session, one, tried(method), windows, seed=0)
    assert again.prediction.tobytes() == first.prediction.tobytes()


@pytest.mark.parametrize("method", NETWORKS)
def test_the_validation_trials_choose_and_the_test_trials_do_not(method, easy, prepared, windows):
    recording = easy(seconds=40.0)
    vel = recording.behavior["cursor"]["vel"]
    other_test = altered(recording, inside(recording, "test"), 5.0 - 3 * vel)
    best, decoded, rows = search(method, prepared(recording)[0], tried(method), windows, seed=0)
    same, other, others = search(method, prepared(other_test)[0], tried(method), windows, seed=0)
    assert same == best and others == rows
    np.testing.assert_array_equal(decoded.prediction, other.prediction)
    assert decoded.r2 != other.r2
    r2 = [row["valid_r2"] for row in rows]
    assert {k: v for k, v in rows[int(np.argmax(r2))].items() if k != "valid_r2"} == vars(best)
    # weights are not fitted to validation trials: only their scores change
    other_valid = altered(recording, inside(recording, "valid"), 5.0 - 3 * vel)
    _, _, others = search(method, prepared(other_valid)[0], tried(method), windows, seed=0)
    assert [row["valid_r2"] for row in others] != r2


def test_lfads_draws_its_configurations_within_the_ranges():
    drawn = baselines.configurations("lfads", tried("lfads"), 0)
    assert drawn == baselines.configurations("lfads", tried("lfads"), 0)
    assert drawn != baselines.configurations("lfads", tried("lfads"), 1)
    assert len(set(drawn)) == 3
    for network in drawn:
        assert 1e-4 <= network.lr <= 1e-1 and 0.2 <= network.dropout <= 0.5
        assert 0.1 <= network.kl <= 1.0


def test_every_method_tries_as_many():
    with pytest.raises(config.ConfigError, match="as many"):
        replace(tried("mlp"), gru=replace(THREE, tried=THREE.tried[:2]))


def test_an_unknown_method_names_the_known(simulated, prepared, windows):
    session = prepared(simulated)[0]
    for of in (
        lambda: search("transformer", session, SMOKE, windows, seed=0),
        lambda: fit("transformer", session, THREE.tried[0], SMOKE, windows, seed=0),
    ):
        with pytest.raises(ValueError, match="'transformer'; known: mlp, gru, ndt"):
            of()
