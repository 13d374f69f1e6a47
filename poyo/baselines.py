"""Other decoders, under the same windows, splits, evaluated samples and metric as POYO."""

import numpy as np

from .config import Wiener, Windows
from .evaluate import Decoded, evaluated_samples, r2_score
from .intervals import contains
from .tokens import Session


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
    times = np.asarray(session.times)
    rows = np.flatnonzero(contains(session.recording.splits["train"], times))
    rows = rows[np.isfinite(session.target[rows]).all(1)]
    step = max(1, int(config.bin / 2 / np.median(np.diff(times))))  # half a bin apart is dense
    rows = rows[::step]
    valid = evaluated_samples(session, "valid", windows)
    test = evaluated_samples(session, "test", windows)
    x, x_valid, x_test = (
        binned(session, times[r], config.bin, config.reach) for r in (rows, valid, test)
    )
    y, y_valid, y_test = (session.target[r].astype(np.float64) for r in (rows, valid, test))
    weight = session.weights(times[rows]).astype(np.float64)
    weight /= weight.sum()
    mean, offset = weight @ x, weight @ y
    spread = np.sqrt(weight @ (x - mean) ** 2) + 1e-6
    x, x_valid, x_test = ((a - mean) / spread for a in (x, x_valid, x_test))
    weighted = x * weight[:, None]
    # one eigendecomposition serves every penalty
    values, vectors = np.linalg.eigh(weighted.T @ x)
    projected = vectors.T @ (weighted.T @ (y - offset))
    fits = [vectors @ (projected / (values + penalty)[:, None]) for penalty in config.ridge]
    best = max(fits, key=lambda w: r2_score(y_valid, x_valid @ w + offset))
    return Decoded(
        times=times[test],
        target=y_test,
        prediction=x_test @ best + offset,
        evaluated=np.ones(len(test), dtype=bool),
    )
