"""Which windows are seen: random ones in training, a regular grid in evaluation; unit dropout.
What is drawn is a function of (seed, step) alone, so a resumed run sees the same windows."""

import numpy as np

from .tokens import Session


class WindowError(ValueError):
    """No window fits in the intervals given."""


class TrainingWindows:
    """Random windows over the train intervals of every session, epoch after epoch.
    domains: per session (n, 2). Each epoch an interval of L seconds gives floor(L / length)
    windows, one after the other from a random offset (the one that the offset pushes out is drawn
    anew); shorter intervals give none. Raises WindowError if there is no window at all."""

    def __init__(self, domains: list[np.ndarray], length: float, seed: int):
        spans = np.concatenate([np.empty((0, 2)), *domains])
        count = ((spans[:, 1] - spans[:, 0] + 1e-9) / length).astype(int)
        session = np.repeat(np.arange(len(domains)), [len(domain) for domain in domains])
        if count.sum() == 0:
            short = f"no train interval of {len(domains)} session(s) is as long as a window"
            cure = "give longer recordings or set a shorter windows.length"
            raise WindowError(f"{short} ({length} s); {cure}")
        self.begin, self.end = (np.repeat(edge, count) for edge in spans.T)  # (W,)
        self.which = np.repeat(session, count)
        self.interval = np.repeat(np.arange(len(spans)), count)
        self.nth = np.arange(count.sum()) - (np.cumsum(count) - count)[self.interval]
        self.length, self.seed = length, seed
        self._drawn: dict[int, tuple] = {}

    def __len__(self) -> int:
        """Windows in an epoch."""
        return len(self.which)

    def epoch(self, e: int) -> tuple[np.ndarray, np.ndarray]:
        """The shuffled windows of epoch e: which (W,) session, starts (W,) seconds."""
        if e not in self._drawn:
            rng = np.random.default_rng((self.seed, 1, e))
            offset = rng.uniform(0, self.length, self.interval.max() + 1)[self.interval]
            starts = self.begin + offset + self.length * self.nth
            last = np.maximum(self.begin, self.end - self.length)
            starts = np.where(starts <= last, starts, rng.uniform(self.begin, last))
            order = rng.permutation(len(self))
            self._drawn = {e: (self.which[order], starts[order])}
        return self._drawn[e]

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The windows of a step: which (B,), starts (B,)."""
        # Paper: the windows of an epoch that fill no batch are dropped. Here: epochs follow each
        # other without a break, so that a few trials can fill a large batch.
        position, parts = step * size + np.arange(size), []
        for e in np.unique(position // len(self)):
            which, starts = self.epoch(int(e))
            rows = position[position // len(self) == e] % len(self)
            parts.append((which[rows], starts[rows]))
        which, starts = map(np.concatenate, zip(*parts))
        return which, starts


def grid(domain: np.ndarray, length: float, step: float) -> np.ndarray:
    """Evaluation windows: every `step` seconds in each interval, the last one right-aligned.
    Raises WindowError where an interval is shorter than a window.

    >>> grid(np.array([[0.0, 2.2]]), length=1.0, step=0.5).round(1).tolist()
    [0.0, 0.5, 1.0, 1.2]
    """
    starts = []
    for begin, end in domain:
        if end - begin < length - 1e-6:
            where = f"the evaluation interval [{begin:.3f}, {end:.3f})"
            raise WindowError(
                f"{where} is shorter than a window ({length} s); drop it from the split"
            )
        last = end - length
        regular = np.arange(begin, max(begin, last) + 1e-9, step)
        starts.append(regular if last - regular[-1] < 1e-6 else np.append(regular, last))
    return np.concatenate(starts) if starts else np.empty(0)


def keep_probabilities(least: int, mode: int, most: int) -> np.ndarray:
    """Probabilities of keeping n = least..most units (unit dropout, paper section 2.4).
    A triangle f of height 4 at the mode and 1 at both ends. The reference accepts a draw when
    u <= f/(10 q) with a fresh uniform q: its density, and this one, is a(1 - ln a), a = f/10."""
    n = np.arange(least, most + 1)
    f = np.interp(n, [least, mode, most], [1.0, 4.0, 1.0]) / 10
    p = f * (1 - np.log(f))
    return p / p.sum()


def keep_units(
    sessions: list[Session], which: np.ndarray, triangle: tuple[int, int, int], seed: tuple
) -> list[np.ndarray]:
    """Unit dropout: for each window a (U,) bool of units kept; sessions below `least` keep all."""
    rng = np.random.default_rng(seed)
    least, mode, most = triangle
    odds = keep_probabilities(least, mode, most)
    draws = least + rng.choice(len(odds), size=len(which), p=odds)
    kept = []
    for s, n in zip(which, draws):
        total = len(sessions[s].unit_rows)
        mask = np.ones(total, dtype=bool)
        if n < total:
            mask[rng.permutation(total)[n:]] = False
        kept.append(mask)
    return kept
