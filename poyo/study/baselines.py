"""The yardsticks of Table 2, under the same windows, splits, samples and metric as POYO.

A linear filter, networks on binned counts, and two models of activity with a linear readout."""

import math
import threading

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from .. import threads
from ..config import Windows
from ..data.intervals import contains
from ..data.recording import RecordingError
from ..dropout import seeded
from ..evaluate import Decoded, covering, evaluated_samples, fitting, r2_score
from ..sampling import TrainingWindows
from ..tokens import Session
from .baseline_networks import NETWORKS, Baseline
from .profile import Baselines, Configuration, Grid, LFADSConfiguration, RandomSearch, Wiener

CHUNK = 32, 1000  # windows that are decoded, and that are counted, at once
_building = threading.Lock()  # torch draws first weights from one generator for all threads
Both = tuple[Decoded, ...]  # the validation and the test samples


def counted(session: Session, starts: np.ndarray, bins: int, width: float) -> Tensor:
    """Spike counts of windows from `starts` (B,) on, in bins of `width` s: (B, bins, U)."""
    if len(starts) > CHUNK[1]:
        parts = np.array_split(starts, -(-len(starts) // CHUNK[1]))
        return torch.cat([counted(session, part, bins, width) for part in parts])
    recording, units = session.recording, len(session.unit_rows)
    lo, hi = recording.spike_times.searchsorted([starts, starts + bins * width])
    window = np.repeat(np.arange(len(starts)), hi - lo)
    spike = np.arange(len(window)) + np.repeat(lo - np.cumsum(hi - lo) + (hi - lo), hi - lo)
    # rounding may put a spike at the very end into the bin after it
    place = (recording.spike_times[spike] - starts[window]) / width
    place = window * bins + place.astype(int).clip(0, bins - 1)
    place = place * units + recording.spike_units[spike]
    flat = np.bincount(place, minlength=len(starts) * bins * units)
    return torch.from_numpy(flat.reshape(len(starts), bins, units).astype(np.float32))


def wiener(session, config: Wiener, windows: Windows, later: Session | None = None) -> Decoded:
    """The Wiener filter: ridge regression from the counts around each sample t, the test decoded.
    Features are square roots of counts in bins that tile [t - reach, t + reach). later: another
    Session of the same units, in the same order, whose test split is decoded instead, by the
    unchanged filter. Raises RecordingError where no sample of the train split of `session`, a
    Session, counts in the loss."""
    domain, reach = session.recording.splits["train"], round(config.reach / config.bin)
    session.check_learnable(domain)
    of, rows = [session, session, later or session], _samples(session, domain, windows, config.bin)
    if later:
        rows[2] = evaluated_samples(later, "test", windows)
    starts = (s.times[r] - reach * config.bin for s, r in zip(of, rows))
    counts = (counted(s, at, 2 * reach, config.bin) for s, at in zip(of, starts))
    features = [c.sqrt().flatten(1).double().numpy() for c in counts]
    return _linear(of, rows, features, config.ridge)[1]


def _samples(session: Session, domain: np.ndarray, windows: Windows, width: float) -> list:
    """Rows of the train, valid and test samples of a linear decoder on bins of `width` s.
    Of train all finite ones in `domain`, half a bin apart; else those that POYO is scored on."""
    times = np.asarray(session.times)
    rows = np.flatnonzero(contains(domain, times))
    rows = rows[np.isfinite(session.target[rows]).all(1)]
    rows = rows[:: max(1, int(width / 2 / np.median(np.diff(times))))]
    return [rows, *(evaluated_samples(session, split, windows) for split in ("valid", "test"))]


def _linear(of: list[Session], rows: list, features: list, penalties: tuple) -> Both:
    """Ridge regression, its mean squared error under POYO's loss weights, features standardised.
    of: the session of the train, the valid and the test samples; rows: of `_samples`; features:
    (R, F) of each. The penalty has the best R² on validation."""
    target = [session.target[r].astype(np.float64) for session, r in zip(of, rows)]
    weight = of[0].weights(of[0].times[rows[0]]).astype(np.float64)
    weight /= weight.sum()
    scaler = StandardScaler().fit(features[0], sample_weight=weight)
    train, *held_out = (scaler.transform(x) for x in features)
    # each column of a target may have its own penalty: fitted at once, all share one Gram matrix
    n = len(penalties)
    model = Ridge(alpha=np.repeat(penalties, target[0].shape[1]), solver="cholesky", copy_X=False)
    model.fit(train, np.tile(target[0], n), sample_weight=weight)
    valid, test = (np.split(model.predict(x), n, axis=1) for x in held_out)
    best = int(np.argmax([r2_score(target[1], prediction) for prediction in valid]))
    return _at(of[1], rows[1], valid[best]), _at(of[2], rows[2], test[best])


def _at(session: Session, rows: np.ndarray, prediction: np.ndarray) -> Decoded:
    known = {"times": np.asarray(session.times[rows]), "evaluated": np.ones(len(rows), dtype=bool)}
    return Decoded(target=session.target[rows].astype(np.float64), prediction=prediction, **known)


def search(method, session: Session, params: Baselines, windows: Windows, *, seed: int) -> tuple:
    """Fit every configuration of a method, on the threads, and take the best on validation.
    Returns it, the test split `Decoded`, and a dict per configuration with its valid R²."""
    tried = configurations(method, params, seed)
    fitted = threads.run(lambda c: fit(method, session, c, params, windows, seed=seed), tried)
    valid, test = zip(*fitted)
    best = int(np.argmax(np.nan_to_num([decoded.r2 for decoded in valid], nan=-np.inf)))
    rows = [vars(config) | {"valid_r2": decoded.r2} for config, decoded in zip(tried, valid)]
    return tried[best], test[best], rows


def _section(method: str, params: Baselines) -> Grid | RandomSearch:
    if method not in NETWORKS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(NETWORKS)}")
    return getattr(params, method)


def configurations(method: str, params: Baselines, seed: int) -> tuple[Configuration, ...]:
    """What a search tries: the grid of params, for LFADS random draws from its ranges."""
    section = _section(method, params)
    if isinstance(section, Grid):
        return section.tried
    rng = np.random.default_rng((seed, 6))  # "Auto": a search over what its result hangs on
    drawn = []
    for _ in range(section.candidates):
        dropout = round(rng.uniform(*section.dropout), 3)
        lr, kl = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (section.lr, section.kl))
        rates = {"dropout": dropout, "lr": round(lr, 6), "kl": round(kl, 4)}
        drawn.append(LFADSConfiguration(width=section.width, **rates))
    return tuple(drawn)


def fit(method, session: Session, config, params: Baselines, windows: Windows, *, seed) -> Both:
    """Train one configuration: valid and test decoded. RecordingError if nothing can be learnt."""
    network = _trained(method, session, config, params, windows, seed)
    if network.supervised:
        return tuple(_decoded(network, session, split, windows) for split in ("valid", "test"))
    rows = _samples(session, fitting(session, "train", windows), windows, params.bin)
    lags, splits = [round(lag / params.bin) for lag in params.lags], ("train", "valid", "test")
    features = [stitched(network, session, s, r, windows, lags) for s, r in zip(splits, rows)]
    return _linear([session] * 3, rows, features, params.ridge)


def _trained(method, session, config, params: Baselines, windows: Windows, seed: int) -> Baseline:
    """A network trained on random windows of the train split, as it was best on validation.
    Supervised ones learn from POYO's loss, taken at the middle of each bin."""
    steps, domain = _section(method, params).steps, session.recording.splits["train"]
    session.check_learnable(domain)
    stream = TrainingWindows([domain], windows.length, seed)
    bins, starts = round(windows.length / params.bin), stream.epoch(0)[1]
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        seen = counted(session, starts, bins, params.bin)
        network = NETWORKS[method](seen, config, params, session.target.shape[1])
    behaviour, middle = Behaviour(session, params.bin), (np.arange(bins) + 0.5) * params.bin
    if network.supervised and not behaviour(starts[:, None] + middle)[1].any():
        raise RecordingError(
            f"session {session.id!r}: {method} has nothing to learn from: in no bin of "
            f"{params.bin} s of its train windows is there behaviour that counts in the loss"
        )
    weights, decay = [*network.parameters()], params.weight_decay
    adamw = torch.optim.AdamW(weights, lr=config.lr, weight_decay=decay, fused=True)
    generator, top, best = torch.Generator().manual_seed(seed), -math.inf, {}
    for step in range(steps):
        _, starts = stream.batch(step, params.batch_size)
        counts, asked = windowed(network, session, starts, windows), middle[:: network.every]
        target, weight = behaviour(starts[:, None] + asked) if network.supervised else (None, None)
        with seeded((seed, 7, step), counts.device):
            loss = network.loss(counts, target, weight, generator, step / steps)
        adamw.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        rise = min(1.0, (step + 1) / (params.warmup * steps))
        adamw.param_groups[0]["lr"] = config.lr * rise * (1 + math.cos(math.pi * step / steps)) / 2
        adamw.step()
        if (step + 1) % params.eval_every == 0 or step + 1 == steps:
            score = _valid_score(network.eval(), session, windows, seed)
            if score >= top:
                top, best = score, {k: v.clone() for k, v in network.state_dict().items()}
            network.train()
    network.load_state_dict(best)
    return network.eval()


@torch.no_grad()
def _valid_score(network: Baseline, session: Session, windows: Windows, seed: int) -> float:
    """How good a network is on the validation trials: R², or minus its own loss."""
    if network.supervised:
        score = _decoded(network, session, "valid", windows).r2
        return -math.inf if math.isnan(score) else score
    starts = covering(fitting(session, "valid", windows), windows)
    generator = torch.Generator().manual_seed(seed)  # the same is hidden in each validation
    counts = windowed(network, session, starts, windows)
    loss = network.loss(counts, None, None, generator, 1.0).item()
    return -math.inf if math.isnan(loss) else -loss


class Behaviour:
    """The normalised target between its samples, and loss weights; NaN samples are left out.
    Weights are 0 between samples farther apart than two bins of `width` s, and than usual here."""

    def __init__(self, session: Session, width: float):
        finite = np.isfinite(session.target).all(1)
        self.times, self.weights, self.width = session.times[finite], session.weights, width
        target = session.readout.normalize(session.target[finite].astype(np.float64))
        self.columns = np.ascontiguousarray(target.T)
        self.gap = max(2 * width, 1.5 * np.median(np.diff(self.times))) + 1e-6  # for rounding

    def __call__(self, at: np.ndarray) -> tuple[Tensor, Tensor]:
        """At times (B, T): target (B, T, D), and weight (B, T)."""
        target = np.stack([np.interp(at, self.times, column) for column in self.columns], -1)
        after = np.searchsorted(self.times, at).clip(1, len(self.times) - 1)
        t0, t1 = self.times[after - 1], self.times[after]
        near = (at > t0 - self.width) & (at < t1 + self.width) & (t1 - t0 <= self.gap)
        return torch.from_numpy(target).float(), torch.from_numpy(self.weights(at) * near).float()


def windowed(network: Baseline, session: Session, starts: np.ndarray, windows: Windows) -> Tensor:
    """Counts of windows from `starts` (B,) on, as a network reads them: (B, pad + T + pad, U)."""
    pad, bins = network.pad, round(windows.length / network.bin)
    return counted(session, starts - pad * network.bin, bins + 2 * pad, network.bin)


def _decoded(network: Baseline, session: Session, split: str, windows: Windows) -> Decoded:
    rows = evaluated_samples(session, split, windows)
    outputs = stitched(network, session, split, rows, windows)
    return _at(session, rows, session.readout.restore(outputs))


@torch.no_grad()
def stitched(network: Baseline, session, split: str, rows, windows, lags=(0,)) -> np.ndarray:
    """What a network gives at the samples `rows` (R,) of a split: (R, F), F features per lag.
    The windows are those of `evaluate.decode`, outputs at bins' middles are interpolated to the
    samples, windows averaged. lags: in bins, they end at the window's."""
    bins, times = round(windows.length / network.bin), np.asarray(session.times[rows])
    starts = covering(fitting(session, split, windows), windows)
    shifted = [(np.arange(bins) + lag).clip(0, bins - 1) for lag in lags]
    total, count = np.zeros((len(rows), 0)), np.zeros((len(rows), 1))
    for part in np.array_split(starts, -(-len(starts) // CHUNK[0])):
        outputs = network(windowed(network, session, part, windows)).double().numpy()
        outputs = np.concatenate([outputs[:, at] for at in shifted], axis=2)
        for start, y in zip(part, outputs):
            # the last window may end a rounding error before its interval does
            lo, hi = times.searchsorted((start, start + windows.length + 1e-9))
            place = ((times[lo:hi] - start) / network.bin - 0.5).clip(0, bins - 1)
            left = place.astype(int).clip(0, bins - 2)
            share = (place - left)[:, None]
            total = total if total.size else np.zeros((len(rows), y.shape[1]))
            total[lo:hi] += y[left] * (1 - share) + y[left + 1] * share
            count[lo:hi] += 1
    return total / count
