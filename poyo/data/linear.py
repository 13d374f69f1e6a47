"""Does a linear filter find the target in the spikes, and on the clock that the times say?
One fit of a fraction of a second, to look at data (`health`, `folder`). Not for: a number that
results are held against; that is the Wiener filter of `poyo.study.baselines`."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .intervals import contains, intervals
from .recording import Recording, split_in_time

BIN, REACH = 0.05, 10.0  # s; and by how much the clocks are shifted against each other at most
LAGS = -3, -1, 1, 3, 5  # bins into the past: counts of 100 ms, 0.2 s ahead to 0.3 s back
ROWS, UNITS = 16_000, 128  # so many bins, and of the units the busiest, are enough


class Fit(NamedTuple):
    """How well ridge regression on spike counts predicts the target; NaN where it cannot be."""

    r2: float  # valid split, mean over the dims
    per_dim: np.ndarray  # (D,)
    shift: float  # s by which the target's times are late, judging from where it is found best
    shifted_r2: float  # valid R² there
    seconds: float  # scored; below 20, one of another valid split could be much better or worse


def counts_of(recording: Recording, edges: np.ndarray) -> np.ndarray:
    """(G - 1, U) float32: the spikes of every unit between evenly spaced edges (G,)."""
    n, steps = len(recording.unit_ids), len(edges) - 1
    first, last = np.searchsorted(recording.spike_times, edges[[0, -1]])
    times, units = (a[first:last] for a in (recording.spike_times, recording.spike_units))
    row = np.minimum(((times - edges[0]) / (edges[1] - edges[0])).astype(np.int64), steps - 1)
    return np.bincount(row * n + units, minlength=steps * n).reshape(steps, n).astype(np.float32)


def linear_fit(recording: Recording) -> Fit:
    """A ridge regression of the target on counts at LAGS, from train to valid split.
    The target is looked for up to REACH s before and after where it says it is: all shifts share
    one Gram matrix, whose rows are those of the spikes."""
    times, values = recording.series(recording.target)
    nothing = Fit(np.nan, np.full(values.shape[1], np.nan), 0.0, np.nan, 0.0)
    start, end = recording.domain.min(), recording.domain.max()
    steps = int((end - start) / BIN)
    if len(times) < 2 or not 0 < steps < 1e6:  # 14 hours: these are no seconds
        return nothing
    counts = counts_of(recording, start + BIN * np.arange(steps + 1))
    counts = counts[:, np.sort(np.argsort(counts.sum(0), kind="stable")[-UNITS:])]
    counts[1:] += counts[:-1].copy()  # of 100 ms, every 50
    counts, centres = np.sqrt(counts), start + BIN * (np.arange(steps) + 0.5)
    near_by = max(2 * BIN, 2 * np.median(np.diff(times)))

    def target(rows: np.ndarray, shifts: np.ndarray) -> np.ndarray:  # (n, shifts, D)
        at = centres[rows, None] + shifts
        near = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
        near -= at - times[near - 1] < times[near] - at
        there = np.abs(times[near] - at) <= near_by
        return np.where(there[..., None], values[near], np.nan).astype(np.float64)

    splits, parts = recording.splits or split_in_time(recording.domain), []
    for name in ("train", "valid"):
        rows = np.flatnonzero(contains(splits.get(name, intervals([])), centres))
        fits = (rows > max(LAGS)) & (rows < steps + min(LAGS))
        rows = rows[fits & np.isfinite(target(rows, np.zeros(1))).all((1, 2))]
        every = max(1, -(-len(rows) // ROWS))
        parts.append((rows[::every], np.hstack([counts[rows[::every] - lag] for lag in LAGS])))
    (train, x), (valid, z) = parts
    seconds = len(valid) * every * BIN
    if len(train) < 100 or len(valid) < 20:
        return nothing
    mean, std = x.mean(0), x.std(0) + 1e-3
    x, z = (x - mean) / std, (z - mean) / std
    gram = cho_factor((x.T @ x).astype(np.float64) + 0.03 * len(x) * np.eye(x.shape[1]))

    def scores(shifts: np.ndarray) -> np.ndarray:  # (shifts, D)
        y, truth = target(train, shifts), target(valid, shifts)
        n, m = (np.isfinite(a).sum(0) for a in (y, truth))  # few, where shifted over the ends
        middle, centre = np.nansum(y, 0) / np.maximum(n, 1), np.nansum(truth, 0) / np.maximum(m, 1)
        y = np.nan_to_num(y - middle).astype(np.float32).reshape(len(y), -1)
        weights = cho_solve(gram, (x.T @ y).astype(np.float64)).astype(np.float32)
        error = np.nansum((truth - middle - (z @ weights).reshape(truth.shape)) ** 2, 0)
        total = np.nansum((truth - centre) ** 2, 0)
        r2 = np.where(total > 0, 1 - error / np.where(total > 0, total, 1.0), 0.0)
        return np.where((n > len(y) / 2) & (m > len(truth) / 2), r2, -np.inf)

    coarse = np.linspace(-REACH, REACH, int(8 * REACH) + 1)
    far = 0.005 * np.abs(coarse)  # behaviour that repeats itself: the nearest is meant
    fine = coarse[np.argmax(scores(coarse).mean(1) - far)] + BIN * np.arange(-4, 5)
    found, here = scores(fine).mean(1), scores(np.zeros(1))[0]
    best = int(np.argmax(found))
    return Fit(float(here.mean()), here, float(fine[best]), float(found[best]), seconds)
