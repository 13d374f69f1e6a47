"""The linear filter and the networks on binned counts: what each can learn, and fairly so."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from poyo import ROOT, threads
from poyo.closure import code_of
from poyo.data.intervals import contains
from poyo.data.recording import RecordingError
from poyo.data.sources import readout_of
from poyo.evaluate import evaluated_samples, fitting, r2_score
from poyo.sampling import grid
from poyo.study import baselines, profile
from poyo.study.baseline_networks import NETWORKS, Baseline
from poyo.study.baselines import Behaviour, counted, fit, search, stitched, wiener
from poyo.study.profile import Configuration, Grid, LFADSConfiguration, RandomSearch

SMOKE = profile.load(ROOT / "profiles/smoke.yaml").baselines
FILTER = profile.Wiener(bin=0.05, reach=0.5, ridge=(1e-3, 1e-2, 1e-1, 1.0))
# enough for a minute of eight linear units
LEARNS = {
    "mlp": (60, Configuration(width=32, dropout=0.1, lr=2e-3)),
    "gru": (60, Configuration(width=16, dropout=0.1, lr=2e-2)),
    "ndt": (100, Configuration(width=16, dropout=0.0, lr=2e-2)),
    "ndt_supervised": (80, Configuration(width=16, dropout=0.1, lr=1e-2)),
    "eit": (60, Configuration(width=8, dropout=0.1, lr=2e-2)),
    "lfads": (60, LFADSConfiguration(width=16, dropout=0.3, lr=3e-2, kl=0.1)),
}


SUPERVISED = [method for method in NETWORKS if NETWORKS[method].supervised]


def brief(method: str, steps: int = 4, batch_size: int = 4, **more) -> profile.Baselines:
    """The smoke profile with other steps."""
    section = replace(getattr(SMOKE, method), steps=steps)
    return replace(SMOKE, batch_size=batch_size, **{method: section} | more)


def behaviour(recording) -> tuple[np.ndarray, np.ndarray]:
    """The times (T,) and values (T, D) of what is decoded."""
    series, _, name = readout_of(recording).target.partition(".")
    return recording.behavior[series]["timestamps"], recording.behavior[series][name]


def decoding(recording, times: np.ndarray, target: np.ndarray) -> object:
    """The recording with another behaviour to decode."""
    series, _, name = readout_of(recording).target.partition(".")
    return replace(recording, behavior={series: {"timestamps": times, name: target}})


def altered(recording, where: np.ndarray, target) -> object:
    """The recording with another target in samples `where` (T,) bool."""
    times, values = behaviour(recording)
    return decoding(recording, times, np.where(where[:, None], target, values))


def resampled(recording, rate: float) -> object:
    """The recording with behaviour at `rate` Hz."""
    times, values = behaviour(recording)
    slow = np.arange(times[0], times[-1], 1 / rate)
    return decoding(recording, slow, np.stack([np.interp(slow, times, v) for v in values.T], 1))


def inside(recording, split: str) -> np.ndarray:
    return contains(recording.splits[split], behaviour(recording)[0])


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


def test_targets_lie_between_samples_and_leave_out_gaps(easy, prepared):
    recording = easy(seconds=20.0)  # at 50 Hz
    times, target = behaviour(recording)
    session = prepared(recording)[0]
    at = np.array([[3.013, 4.0, 5.5, 8.5, 25.0]])
    value, weight = Behaviour(session, 0.02)(at)
    assert weight.tolist() == [[1, 1, 1, 1, 0]]
    expected = session.readout.normalize(
        np.stack([np.interp(at[0, :4], times, column) for column in target.T], 1)
    )
    np.testing.assert_allclose(value[0, :4], expected, rtol=1e-5)
    # half a second of NaN, a second without samples, and single NaN samples, which are bridged
    single = np.arange(len(times)) % 10 == 0
    holes = altered(recording, single | ((times > 5) & (times < 6)), np.nan)
    there = (times < 8) | (times > 9)
    holes = decoding(holes, *(values[there] for values in behaviour(holes)))
    with pytest.warns(UserWarning, match="NaN"):
        session = prepared(holes)[0]
    value, weight = Behaviour(session, 0.02)(at)
    assert weight.tolist() == [[1, 1, 0, 0, 0]] and torch.isfinite(value).all()


@pytest.mark.parametrize("rate", [10.0, 20.0, 1000.0])
def test_a_gap_is_judged_by_the_behaviours_own_rate(rate, easy, prepared):
    recording = resampled(easy(seconds=20.0), rate)
    times, target = behaviour(recording)
    at = np.linspace(1, 19, 500)[None]
    assert (Behaviour(prepared(recording)[0], 0.02)(at)[1] == 1).all()
    gap = 2.2 * max(1 / rate, 0.02)
    there = (times <= 8) | (times >= 8 + gap)
    session = prepared(decoding(recording, times[there], target[there]))[0]
    at = np.array([[7.9, 8 + gap / 2, 8.5]])
    assert Behaviour(session, 0.02)(at)[1].tolist() == [[1, 0, 1]]


def test_stitching_interpolates_and_averages(easy, prepared, windows):
    """A network that gives each window's mean count and the bin's number."""

    class Fake(Baseline):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.bin = 0.02

        def forward(self, counts):
            bins = torch.arange(counts.shape[1]).expand(len(counts), -1)
            return torch.stack([counts.mean((1, 2))[:, None].expand_as(bins), bins], -1)

    session = prepared(easy(seconds=30.0))[0]
    domain, rows = (
        fitting(session, "test", windows),
        evaluated_samples(session, "test", windows),
    )
    out = stitched(Fake(), session, "test", rows, windows, (0, 1))
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


# --- the Wiener filter ------------------------------------------------------------------------


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
    decoded, rows = wiener(session, FILTER, windows), evaluated_samples(session, "test", windows)
    np.testing.assert_array_equal(decoded.times, session.times[rows])
    np.testing.assert_array_equal(decoded.target, session.target[rows])


def test_the_wiener_filter_sees_no_held_out_behaviour(easy, prepared, windows):
    """Other behaviour in the test split changes the score, not the prediction."""
    recording = easy()
    other = altered(recording, inside(recording, "test"), 5.0 - 3 * behaviour(recording)[1])
    one, two = (wiener(prepared(r)[0], FILTER, windows) for r in (recording, other))
    np.testing.assert_array_equal(one.prediction, two.prediction)
    assert one.r2 != two.r2


def test_the_ridge_regression_is_the_weighted_one_with_the_best_penalty(
    simulated, prepared, windows
):
    """Solved anew by least squares of the rows, penalties as more rows."""
    session = prepared(simulated)[0]
    train, valid, _ = rows = baselines._samples(
        session, session.recording.splits["train"], windows, 0.05
    )
    rng = np.random.default_rng(0)
    features = [
        rng.normal(3, 2, (len(r), 5)) + 0.2 * session.target[r] @ rng.normal(size=(2, 5))
        for r in rows
    ]
    weight = session.weights(session.times[train]).astype(float)
    assert len(np.unique(weight)) > 1
    weight /= weight.sum()
    center, offset = weight @ features[0], weight @ session.target[train]
    spread = np.sqrt(weight @ (features[0] - center) ** 2)
    x = [(f - center) / spread for f in features]
    expected = {}
    for penalty in (1e-3, 0.3, 30.0):
        a = np.concatenate([x[0] * np.sqrt(weight)[:, None], np.sqrt(penalty) * np.eye(5)])
        b = (session.target[train] - offset) * np.sqrt(weight)[:, None]
        w = np.linalg.lstsq(a, np.concatenate([b, np.zeros((5, 2))]))[0]
        expected[penalty] = [x[1] @ w + offset, x[2] @ w + offset]
    scores = {p: r2_score(session.target[valid], e[0]) for p, e in expected.items()}
    best = max(scores, key=scores.get)
    decoded = baselines._linear([session] * 3, rows, features, tuple(expected))
    for one, other in zip(decoded, expected[best]):
        np.testing.assert_allclose(one.prediction, other, rtol=1e-6, atol=1e-8)
    for penalty in expected:
        only = baselines._linear([session] * 3, rows, features, (penalty,))[1]
        np.testing.assert_allclose(only.prediction, expected[penalty][1], rtol=1e-6, atol=1e-8)


# --- learning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", NETWORKS)
def test_a_network_learns_an_easy_session(method, easy, prepared, windows):
    steps, network = LEARNS[method]
    session = prepared(easy(seconds=60.0, units=12))[0]
    valid, test = fit(method, session, network, brief(method, steps, 16), windows, seed=0)
    assert valid.r2 > 0.6 and test.r2 > 0.6


@pytest.mark.parametrize("method", ["mlp", "eit"])  # a target for each bin, or for some
def test_behaviour_may_come_more_slowly_than_bins(method, easy, prepared, windows):
    steps, network = LEARNS[method]
    session = prepared(resampled(easy(seconds=60.0, units=12), 20.0))[0]
    _, test = fit(method, session, network, brief(method, steps, 16), windows, seed=0)
    assert test.r2 > 0.6


@pytest.mark.parametrize("method", ["ndt", "lfads"])
def test_rates_are_inferred_without_behaviour(method, easy, prepared, windows):
    """Counts in bins of 20 ms say little of a unit's rate; the population and the past do."""
    steps, network = LEARNS[method]
    (session,) = prepared(easy(seconds=60.0, units=12))
    blind = replace(session, target=np.zeros_like(session.target))
    model = baselines._trained(method, blind, network, brief(method, steps, 16), windows, 0)
    rows = evaluated_samples(session, "test", windows)
    whole = torch.nn.Sequential(model, model.to_rates) if method == "lfads" else model
    whole.pad, whole.bin = model.pad, model.bin
    rates = stitched(whole, session, "test", rows, windows)
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
    (_, one), (_, two), (_, other) = (
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
    _, decoded = fit(
        method, prepared(renamed)[0], network, brief(method, steps, 16), windows, seed=0
    )
    assert decoded.r2 > 0.6


def test_a_window_need_not_be_whole_steps_long(easy, prepared, windows):
    odd = replace(windows, length=0.66, latent_step=0.11)
    session = prepared(easy(seconds=30.0))[0]
    for method in NETWORKS:
        _, decoded = fit(method, session, LEARNS[method][1], brief(method), odd, seed=0)
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
    _, decoded = fit(method, session, LEARNS[method][1], brief(method), windows, seed=0)
    assert np.isfinite(decoded.prediction).all() and np.isfinite(decoded.r2)


@pytest.mark.parametrize("method", NETWORKS)
def test_a_target_may_have_any_number_of_columns(method, easy, prepared, windows):
    recording = easy(seconds=30.0)
    times, target = behaviour(recording)
    for some in (target[:, :1], np.concatenate([target, target.sum(1, keepdims=True)], 1)):
        session = prepared(decoding(recording, times, some))[0]
        decoded = (*fit(method, session, LEARNS[method][1], brief(method), windows, seed=0),)
        for one in (*decoded, wiener(session, FILTER, windows)):
            assert one.prediction.shape == one.target.shape
            assert one.target.shape[1] == some.shape[1] and np.isfinite(one.r2)


@pytest.mark.parametrize("method", NETWORKS)
def test_networks_keep_their_contract(method):
    """Other bins than 20 ms, and whole steps of EIT within them."""
    params = replace(SMOKE, bin=0.05, reach=0.2, eit_step=0.15)
    seen = torch.poisson(torch.full((6, 20, 7), 0.5))
    network = NETWORKS[method](seen, LEARNS[method][1], params, 3)
    assert network.bin == 0.05 and network.pad == (4 if method == "mlp" else 0)
    if method == "eit":
        assert network.bins == 3 and network.position.shape[0] == 7
    counts = torch.poisson(torch.full((5, 20 + 2 * network.pad, 7), 0.5))
    features = {"ndt": 7, "lfads": 24}.get(method, 3)
    assert network(counts).shape == (5, len(range(0, 20, network.every)), features)
    target = torch.zeros(5, len(range(0, 20, network.every)), 3)
    known = (target, torch.ones(target.shape[:2])) if network.supervised else (None, None)
    assert network.loss(counts, *known, torch.Generator(), 0.5).shape == ()
    assert network.eval()(counts).shape == (5, 20, features)


@pytest.mark.parametrize("method", ["wiener", *NETWORKS])
def test_what_has_nothing_to_learn_from_says_so(method, easy, prepared, windows):
    def run(session):
        if method == "wiener":
            return wiener(session, FILTER, windows)
        return fit(method, session, LEARNS[method][1], brief(method), windows, seed=0)

    recording = easy(seconds=30.0)
    session = prepared(recording)[0]
    with pytest.raises(RecordingError, match="easy"):
        run(replace(session, weight_values=0 * session.weight_values))
    if method in SUPERVISED:  # one sample is left, and nothing is known beside it
        train = inside(recording, "train")
        train[np.flatnonzero(train)[500]] = False
        target = np.where(train[:, None], np.nan, session.target)
        with pytest.raises(RecordingError, match=f"easy.*{method} has nothing to learn"):
            run(replace(session, target=target))


# --- the best on validation -------------------------------------------------------------------


def scripted(monkeypatch, scores: list[float]) -> list[dict]:
    """Lets validations give `scores`; returns the list of weights that they saw."""
    saw = []

    def score(network, *_):
        saw.append({name: value.clone() for name, value in network.state_dict().items()})
        return scores[len(saw) - 1]

    monkeypatch.setattr(baselines, "_valid_score", score)
    return saw


@pytest.mark.parametrize("method", ["gru", "lfads"])
@pytest.mark.parametrize(
    "scores, best", [([0.1, 0.9, -np.inf, 0.5], 1), ([0.1, 0.5, 0.6, 0.9], 3), ([-np.inf] * 4, 3)]
)
def test_a_network_keeps_its_best_weights(
    method, scores, best, easy, prepared, windows, monkeypatch
):
    saw = scripted(monkeypatch, scores)
    session, params = prepared(easy(seconds=30.0))[0], brief(method, 7, eval_every=2)
    network = baselines._trained(method, session, LEARNS[method][1], params, windows, 0)
    assert len(saw) == 4  # after 2, 4, 6 and 7 steps
    for name, value in network.state_dict().items():
        assert torch.equal(value, saw[best][name])
    assert not network.training
    assert any(not torch.equal(saw[best][name], saw[best - 1][name]) for name in saw[0])


@pytest.mark.parametrize("method", NETWORKS)
def test_validating_does_not_change_training(method, easy, prepared, windows, monkeypatch):
    session, weights = prepared(easy(seconds=30.0))[0], []
    score = baselines._valid_score
    for every in (1, 5):
        count = iter(range(9))
        monkeypatch.setattr(
            baselines, "_valid_score", lambda *args, n=count: (score(*args), next(n))[1]
        )
        params = brief(method, 5, eval_every=every)
        network = baselines._trained(method, session, LEARNS[method][1], params, windows, 0)
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("method", ["mlp", "ndt", "lfads"])
def test_validation_is_of_the_validation_trials(method, easy, prepared, windows):
    """R² where behaviour is learnt; where it is not, the loss of counts, blind to behaviour."""
    recording, network = easy(seconds=60.0), LEARNS[method][1]
    session = prepared(recording)[0]
    model = baselines._trained(method, session, network, brief(method, 5), windows, 0)
    one, two = (baselines._valid_score(model, session, windows, 0) for _ in range(2))
    assert one == two
    if method == "mlp":
        assert one == fit(method, session, network, brief(method, 5), windows, seed=0)[0].r2
    shown = {}
    for split in ("train", "valid", "test"):
        hidden = inside(recording, split)[:, None]
        other = replace(session, target=np.where(hidden, 0.3, session.target))
        shown[split] = baselines._valid_score(model, other, windows, 0) == one
    assert shown == {"train": True, "valid": method != "mlp", "test": True}


# --- choosing ---------------------------------------------------------------------------------


def tried(method: str) -> profile.Baselines:
    """Three configurations of which the first cannot learn."""
    if method == "lfads":
        draws = RandomSearch(
            steps=3, width=8, candidates=3, lr=(1e-4, 1e-1), dropout=(0.2, 0.5), kl=(0.1, 1.0)
        )
        return replace(SMOKE, batch_size=4, lfads=draws, **dict.fromkeys(GRIDS, THREE))
    grids = dict.fromkeys(GRIDS, THREE)
    return replace(SMOKE, batch_size=4, lfads=replace(SMOKE.lfads, candidates=3), **grids)


THREE = Grid(
    steps=3,
    tried=tuple(Configuration(width=8, dropout=0.2, lr=lr) for lr in (1e-6, 1e-2, 1e-3)),
)
GRIDS = [method for method in NETWORKS if method != "lfads"]


@pytest.mark.parametrize("method", ["mlp", "lfads"])  # a grid, and draws
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
    _, again = fit(method, session, one, tried(method), windows, seed=0)
    assert again.prediction.tobytes() == first.prediction.tobytes()


@pytest.mark.parametrize("method", ["mlp", "lfads"])  # with behaviour, and by a readout
def test_the_validation_trials_choose_and_the_test_trials_do_not(method, easy, prepared, windows):
    recording = easy(seconds=40.0)
    target = behaviour(recording)[1]
    other_test = altered(recording, inside(recording, "test"), 5.0 - 3 * target)
    best, decoded, rows = search(method, prepared(recording)[0], tried(method), windows, seed=0)
    same, other, others = search(method, prepared(other_test)[0], tried(method), windows, seed=0)
    assert same == best and others == rows
    np.testing.assert_array_equal(decoded.prediction, other.prediction)
    assert decoded.r2 != other.r2
    r2 = [row["valid_r2"] for row in rows]
    assert {k: v for k, v in rows[int(np.argmax(r2))].items() if k != "valid_r2"} == vars(best)
    # weights are not fitted to validation trials: only their scores change
    other_valid = altered(recording, inside(recording, "valid"), 5.0 - 3 * target)
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
    with pytest.raises(ValueError, match="as many"):
        replace(tried("mlp"), gru=replace(THREE, tried=THREE.tried[:2]))


def test_an_unknown_method_names_the_known(simulated, prepared, windows):
    session = prepared(simulated)[0]
    for of in (
        lambda: search("transformer", session, SMOKE, windows, seed=0),
        lambda: fit("transformer", session, THREE.tried[0], SMOKE, windows, seed=0),
    ):
        with pytest.raises(ValueError, match="'transformer'; known: mlp, gru, ndt"):
            of()


def test_baselines_share_nothing_with_poyos_network():
    """So that a change of the model re-runs none of them."""
    code = code_of("poyo.study.baselines").splitlines()
    assert "# poyo.study.baseline_networks" in code and "# poyo.evaluate" in code
    for module in ("model", "attention", "kernels", "train", "adapt", "decoder", "optim"):
        assert f"# poyo.{module}" not in code
