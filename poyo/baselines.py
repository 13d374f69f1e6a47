"""Other decoders, under the same windows, splits, evaluated samples and metric as POYO.

The yardsticks of the paper's Table 2: a linear filter, networks on binned spike counts, and two
models of the population's activity that a linear readout turns into velocity.
"""

import math
import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from . import threads
from .attention import seeded
from .baseline_networks import NETWORKS
from .config import Baselines, Draws, Grid, Network, Wiener, Windows
from .evaluate import Decoded, evaluated_samples, fitting, r2_score
from .intervals import contains
from .sampling import TrainingWindows, grid
from .tokens import Session

# --- the Wiener filter ----------------------------------------------------------------------


def binned(session: Session, times: np.ndarray, width: float, reach: float) -> np.ndarray:
    """Square-rooted spike counts around each time: (T,) -> (T, 2 * reach / width * U).

    Bins of `width` seconds tile [t - reach, t + reach).
    """
    recording = session.recording
    edges = np.arange(-round(reach / width), round(reach / width) + 1) * width  # (bins + 1,)
    unit = np.asarray(recording.spike_units)
    order = np.argsort(unit, kind="stable")  # by unit, in time within a unit
    by_unit = np.asarray(recording.spike_times)[order]
    ends = np.cumsum(np.bincount(unit, minlength=len(recording.unit_ids)))
    at = times[:, None] + edges  # (T, bins + 1)
    counts = [np.diff(np.searchsorted(unit, at), axis=1) for unit in np.split(by_unit, ends)[:-1]]
    return np.sqrt(np.concatenate(counts, axis=1)).astype(np.float32)


def wiener(session: Session, config: Wiener, windows: Windows) -> Decoded:
    """The Wiener filter: ridge regression from the counts around each sample to the velocity.

    Trained on every sample of the train split under POYO's loss weights; the ridge penalty is the
    one with the best R² on the validation trials. Returns the test split decoded.
    """
    train = _train_samples(session, session.recording.splits["train"], config.bin)
    rows = [train, *(evaluated_samples(session, split, windows) for split in ("valid", "test"))]
    features = [binned(session, session.times[r], config.bin, config.reach) for r in rows]
    return _linear(session, rows, features, config.ridge)[1]


def _train_samples(session: Session, domain: np.ndarray, width: float) -> np.ndarray:
    """Rows of the finite samples in `domain`, thinned out to half a bin apart, which is dense."""
    times = np.asarray(session.times)
    rows = np.flatnonzero(contains(domain, times))
    rows = rows[np.isfinite(session.target[rows]).all(1)]
    return rows[:: max(1, int(width / 2 / np.median(np.diff(times))))]


def _linear(
    session: Session, rows: list[np.ndarray], features: list[np.ndarray], penalties: tuple
) -> tuple[Decoded, Decoded]:
    """Ridge regression under POYO's loss weights: the validation and the test samples decoded.

    rows: of the train, valid and test samples; features: (R, F) of each. The penalty is the one
    with the best R² on the validation samples.
    """
    x, y = features[0], session.target[rows[0]].astype(np.float64)
    weight = session.weights(session.times[rows[0]]).astype(np.float64)
    weight /= weight.sum()
    mean, offset = weight @ x, weight @ y
    spread = np.sqrt(weight @ (x - mean) ** 2) + 1e-6
    x, x_valid, x_test = ((a - mean) / spread for a in features)
    weighted = x * weight[:, None]
    # one eigendecomposition serves every penalty
    values, vectors = np.linalg.eigh(weighted.T @ x)
    projected = vectors.T @ (weighted.T @ (y - offset))
    fits = [vectors @ (projected / (values + penalty)[:, None]) for penalty in penalties]
    y_valid = session.target[rows[1]].astype(np.float64)
    best = max(fits, key=lambda w: r2_score(y_valid, x_valid @ w + offset))
    return tuple(_at(session, r, a @ best + offset) for r, a in zip(rows[1:], (x_valid, x_test)))


def _at(session: Session, rows: np.ndarray, prediction: np.ndarray) -> Decoded:
    return Decoded(
        times=np.asarray(session.times[rows]),
        target=session.target[rows].astype(np.float64),
        prediction=prediction,
        evaluated=np.ones(len(rows), dtype=bool),
    )


# --- training and decoding ------------------------------------------------------------------


def counted(session: Session, starts: np.ndarray, bins: int, width: float) -> Tensor:
    """Spike counts of windows from `starts` (B,) on, in bins of `width` s: (B, bins, U)."""
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


def search(
    method: str, session: Session, params: Baselines, windows: Windows, *, seed: int
) -> tuple[Network, Decoded, list[dict]]:
    """Fit every configuration of a method's grid, on the threads; the best on valid is taken.

    Returns it, the test split it decodes, and a row per configuration with its valid R².
    """
    tried = configurations(method, params, seed)

    def of(config: Network) -> tuple[Decoded, Decoded]:
        return _fit(method, session, config, params, windows, seed)

    valid, test = zip(*threads.run(of, tried))
    scores = [decoded.r2 for decoded in valid]
    best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    rows = [vars(config) | {"valid_r2": r2} for config, r2 in zip(tried, scores)]
    return tried[best], test[best], rows


def fit(
    method: str,
    session: Session,
    config: Network,
    params: Baselines,
    windows: Windows,
    *,
    seed: int,
) -> Decoded:
    """Train one configuration of a method on the train split; returns the test split decoded."""
    return _fit(method, session, config, params, windows, seed)[1]


def _section(method: str, params: Baselines) -> Grid | Draws:
    if method not in NETWORKS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(NETWORKS)}")
    return getattr(params, method)


def configurations(method: str, params: Baselines, seed: int) -> tuple[Network, ...]:
    """What a search tries: the grid of params, for LFADS random draws from its ranges."""
    section = _section(method, params)
    if method != "lfads":
        return section.tried
    rng = np.random.default_rng((seed, 6))  # "Auto": a search over what its result hangs on
    return tuple(
        Network(
            width=section.width,
            dropout=round(rng.uniform(*section.dropout), 3),
            lr=round(float(np.exp(rng.uniform(*np.log(section.lr)))), 6),
            kl=round(float(np.exp(rng.uniform(*np.log(section.kl)))), 4),
        )
        for _ in range(section.candidates)
    )


def _fit(
    method: str, session: Session, config: Network, params: Baselines, windows: Windows, seed: int
) -> tuple[Decoded, Decoded]:
    """The validation and the test samples decoded after training."""
    network = _trained(method, session, config, params, windows, seed)
    domains = [fitting(session, split, windows) for split in ("train", "valid", "test")]
    rows = [evaluated_samples(session, split, windows) for split in ("valid", "test")]
    if not hasattr(network, "loss"):
        return tuple(
            _at(
                session,
                r,
                stitched(network, session, d, r, params, windows) * session.readout.scale,
            )
            for d, r in zip(domains[1:], rows)
        )
    rows = [_train_samples(session, domains[0], params.bin), *rows]
    lags = [round(lag / params.bin) for lag in params.lags]
    features = [
        stitched(network, session, d, r, params, windows, lags) for d, r in zip(domains, rows)
    ]
    return _linear(session, rows, features, params.ridge)


_building = threading.Lock()  # torch draws first weights from one generator for all threads


def _trained(
    method: str, session: Session, config: Network, params: Baselines, windows: Windows, seed: int
) -> nn.Module:
    """A network trained on random windows of the train split.

    Supervised ones learn from POYO's loss, taken at the middle of each bin.
    """
    steps = _section(method, params).steps
    domain, bins = session.recording.splits["train"], round(windows.length / params.bin)
    stream = TrainingWindows([domain], windows.length, seed)
    seen = counted(session, stream.epoch(0)[1], bins, params.bin)
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        more = (round(params.reach / params.bin),) if method == "mlp" else ()
        network = NETWORKS[method](seen, config, *more)
    pad = getattr(network, "pad", 0)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=params.weight_decay, fused=True
    )
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        _, starts = stream.batch(step, params.batch_size)
        counts = counted(session, starts - pad * params.bin, bins + 2 * pad, params.bin)
        with seeded((seed, 7, step), counts.device):
            if hasattr(network, "loss"):
                loss = network.loss(counts, generator, step / steps)
            else:
                middle = (np.arange(bins) + 0.5) * params.bin
                every = getattr(network, "every", 1)
                target, weight = _targets(session, starts[:, None] + middle[::every], params.bin)
                error = (network(counts) - target).square().mean(-1) * weight
                loss = error.sum() / weight.sum().clamp_min(1e-8)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        rise = min(1.0, (step + 1) / (params.warmup * steps))
        optimizer.param_groups[0]["lr"] = (
            config.lr * rise * (1 + math.cos(math.pi * step / steps)) / 2
        )
        optimizer.step()
    return network.eval()


def _targets(session: Session, times: np.ndarray, width: float) -> tuple[Tensor, Tensor]:
    """Velocity over its scale at `times` (B, T), between samples, and loss weights: (B, T, 2) and
    (B, T). Where a sample next to it is NaN or farther than a bin, both are 0."""
    after = np.searchsorted(session.times, times).clip(1, len(session.times) - 1)
    t0, t1 = session.times[after - 1], session.times[after]
    part = ((times - t0) / (t1 - t0)).clip(0, 1)[..., None]
    value = session.target[after - 1] * (1 - part) + session.target[after] * part
    value = value / session.readout.scale
    near = (times > t0 - width) & (times < t1 + width) & (t1 - t0 <= 2 * width)
    usable = near & np.isfinite(value).all(-1)
    weight = session.weights(times) * usable
    value = np.where(usable[..., None], value, 0.0)
    return torch.from_numpy(value.astype(np.float32)), torch.from_numpy(weight.astype(np.float32))


@torch.no_grad()
def stitched(
    network: nn.Module,
    session: Session,
    domain: np.ndarray,
    rows: np.ndarray,
    params: Baselines,
    windows: Windows,
    lags: Sequence[int] = (0,),
) -> np.ndarray:
    """What a network gives at the samples `rows` (R,) in `domain`: (R, F), F features per lag.

    The windows are those of `evaluate.decode`. In each, the outputs at the bins' middles are
    interpolated to the samples; what several windows say of a sample is averaged. lags: in bins,
    they end at the window's.
    """
    bins, pad = round(windows.length / params.bin), getattr(network, "pad", 0)
    times = np.asarray(session.times[rows])
    starts = grid(domain, windows.length, windows.eval_step)
    shifted = [(np.arange(bins) + lag).clip(0, bins - 1) for lag in lags]
    total, count = None, np.zeros((len(rows), 1))
    for part in np.array_split(starts, -(-len(starts) // params.batch_size)):
        counts = counted(session, part - pad * params.bin, bins + 2 * pad, params.bin)
        outputs = network(counts).double().numpy()
        outputs = np.concatenate([outputs[:, at] for at in shifted], axis=2)
        for start, y in zip(part, outputs):
            # the last window may end a rounding error before its interval does
            lo, hi = times.searchsorted((start, start + windows.length + 1e-9))
            place = ((times[lo:hi] - start) / params.bin - 0.5).clip(0, bins - 1)
            left = place.astype(int).clip(0, bins - 2)
            share = (place - left)[:, None]
            total = np.zeros((len(rows), y.shape[1])) if total is None else total
            total[lo:hi] += y[left] * (1 - share) + y[left + 1] * share
            count[lo:hi] += 1
    return total / count
