"""Sets of time: float arrays of shape (n, 2), rows of [start, end), sorted, in seconds."""

import numpy as np


def intervals(start, end=None) -> np.ndarray:
    """(n, 2) sorted intervals from one [start, end), from arrays of both, or from (n, 2) rows.

    >>> intervals([3.0, 1.0], [4.0, 2.0]).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    pairs = start if end is None else np.stack([np.atleast_1d(start), np.atleast_1d(end)], -1)
    pairs = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def union(*many: np.ndarray) -> np.ndarray:
    """Merge overlapping and touching intervals: any number of (n, 2) -> (m, 2).

    >>> union(intervals(0, 2), intervals(1, 3), intervals(5, 6)).tolist()
    [[0.0, 3.0], [5.0, 6.0]]
    """
    pairs = intervals(np.concatenate([np.empty((0, 2)), *many]))
    pairs = pairs[pairs[:, 1] > pairs[:, 0]]
    if len(pairs) == 0:
        return pairs
    reach = np.maximum.accumulate(pairs[:, 1])
    first = np.r_[True, pairs[1:, 0] > reach[:-1]]
    return np.stack([pairs[first, 0], reach[np.r_[first[1:], True]]], -1)


def subtract(pairs: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """What is left of the intervals `pairs` after cutting out `holes`.

    >>> subtract(intervals(0, 10), intervals([2, 8], [3, 12])).tolist()
    [[0.0, 2.0], [3.0, 8.0]]
    """
    pairs, holes = union(pairs), union(holes)
    edges = np.unique(np.concatenate([pairs.ravel(), holes.ravel()]))
    pieces = np.stack([edges[:-1], edges[1:]], -1)
    middle = pieces.mean(1)
    return union(pieces[contains(pairs, middle) & ~contains(holes, middle)])


def dilate(pairs: np.ndarray, seconds: float) -> np.ndarray:
    """Intervals grown by `seconds` on both sides (and merged where they meet)."""
    return union(pairs + np.array([-seconds, seconds]))


def contains(pairs: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) bool: which times lie in start <= t < end of any of the intervals.

    >>> contains(intervals(1, 2), np.array([0.5, 1.0, 2.0])).tolist()
    [False, True, False]
    """
    pairs = union(pairs)
    row = np.searchsorted(pairs[:, 0], times, side="right") - 1
    return (row >= 0) & (times < np.append(pairs[:, 1], -np.inf)[row])


def step_of(times: np.ndarray) -> float:
    """The usual step of a clock (T,), s; its mean, as single floats differ from step to step."""
    steps = np.diff(times)
    usual = steps[steps <= 1.5 * np.median(steps)] if len(steps) else steps
    return float(usual.mean()) if len(usual) else 0.0


def covered(times: np.ndarray, width: float, step: float) -> np.ndarray:
    """(n, 2) where samples of `width` follow each other by `step`, all in s: a window across a
    longer one would take what was not recorded for silence."""
    cut = np.flatnonzero(np.diff(times) > 1.5 * step)
    return intervals(times[np.r_[0, cut + 1]], times[np.r_[cut, len(times) - 1]] + width)
