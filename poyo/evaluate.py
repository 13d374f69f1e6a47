"""Decoding whole stretches of a session and scoring them: stitching, R² per session."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from . import threads
from .config import Windows
from .data.intervals import contains
from .data.recording import require
from .sampling import grid
from .tokens import Session, tokenize


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Behaviour of the samples that were decoded: times (T,), target and prediction (T, D) in the
    recording's unit, evaluated (T,) bool."""

    times: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    evaluated: np.ndarray

    @property
    def r2(self) -> float:
        """R² over the evaluated samples."""
        return r2_score(self.target[self.evaluated], self.prediction[self.evaluated])


def r2_score(target: np.ndarray, prediction: np.ndarray) -> float:
    """Mean over the columns of 1 - residual / total sum of squares: (T, C), (T, C) -> float;
    nan where a column does not vary or there are fewer than two samples.

    >>> target = np.array([[0.0], [1.0], [2.0]])
    >>> r2_score(target, target), r2_score(target, np.ones((3, 1)))
    (1.0, 0.0)
    """
    if len(target) < 2:
        return float("nan")
    residual = ((target - prediction) ** 2).sum(0)
    total = ((target - target.mean(0)) ** 2).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(np.where(total > 0, 1 - residual / total, np.nan)))


def decode(model: nn.Module, session: Session, domain: np.ndarray, windows: Windows) -> Decoded:
    """Decode the intervals `domain` (n, 2) by overlapping windows.
    Predictions for the same sample from different windows are averaged ("stitching"; paper,
    appendix on evaluation). NaN samples of the behaviour are left out."""
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    starts = covering(domain, windows)

    @torch.no_grad()
    def part(rows: slice) -> tuple[np.ndarray, np.ndarray]:  # rows of samples (m,), their (m, D)
        some = starts[rows]
        batch = tokenize([session], np.zeros(len(some), dtype=int), some, windows.length)
        mask = batch["output_mask"].numpy()
        prediction = model(**{key: value.to(device) for key, value in batch.items()})
        return batch["index"].numpy()[mask], prediction.float().cpu().numpy()[mask]

    total, count = np.zeros(session.target.shape), np.zeros(len(session.times))
    for rows, prediction in threads.run(part, threads.chunks(len(starts), device)):
        np.add.at(total, rows, prediction)
        np.add.at(count, rows, 1)
    model.train(was_training)
    rows = np.flatnonzero(count)
    rows = rows[contains(domain, session.times[rows])]
    times = np.asarray(session.times[rows])
    target = np.asarray(session.target[rows], dtype=np.float64)
    prediction = session.readout.restore(total[rows] / count[rows, None])
    evaluated = session.evaluated(times)
    return Decoded(times=times, target=target, prediction=prediction, evaluated=evaluated)


def scores(model, sessions: list[Session], split: str, windows: Windows) -> dict[str, float]:
    """R² of each session on the "valid" or "test" split, by session id."""
    return {s.id: decode(model, s, fitting(s, split, windows), windows).r2 for s in sessions}


def covering(domain: np.ndarray, windows: Windows) -> np.ndarray:
    """(W,) starts, s, of the windows by which the intervals `domain` (n, 2) are decoded."""
    # Paper: windows lie inside a trial, so what is at its ends is decoded from one side.
    # Here: they reach `overhang` beyond it, and hear the spikes there as a linear filter does.
    reach = domain + np.array([-windows.overhang, windows.overhang])
    return grid(reach, windows.length, windows.eval_step)


def fitting(session: Session, split: str, windows: Windows) -> np.ndarray:
    """The split's intervals (n, 2) that windows fit in; shorter trials cannot be decoded."""
    splits = session.recording.splits
    require(split in splits, f"split: {split!r} is unknown; known: {', '.join(splits)}")
    domain = splits[split]
    return domain[np.diff(domain)[:, 0] >= windows.length - 2 * windows.overhang - 1e-6]


def evaluated_samples(session: Session, split: str, windows: Windows) -> np.ndarray:
    """(T,) rows of the samples that `decode` scores in a split: what a baseline must predict."""
    inside = contains(fitting(session, split, windows), session.times)
    finite = np.isfinite(session.target).all(1)
    return np.flatnonzero(inside & finite & session.evaluated(np.asarray(session.times)))
