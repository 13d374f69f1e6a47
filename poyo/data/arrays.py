"""Recordings from plain arrays under names of one's own, in .npz or .mat.
Not for: the structures of laboratories that also come in .mat (`matlab`)."""

from pathlib import Path
from typing import Any

import numpy as np

from .contents import DEFAULTS, Contents, Series, step_of
from .matlab import tree
from .recording import RecordingError, require

SPIKES = "spike_times", "spike_units", "times"
BINS = "counts", "bin_starts"
OPTIONAL = "trials", "unit_ids"
Content = dict[str, Any]  # the file: name -> array, text, or a dict of these


def load(path: Path) -> Any:
    """What is in .mat, .npz or .npy; no code of it is run. RecordingError where it is damaged."""
    require(path.exists(), f"{path} does not exist")
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        content = tree(path) if path.suffix == ".mat" else dict(np.load(path, allow_pickle=False))
        only = next(iter(content.values()), None)
        return only if len(content) == 1 and isinstance(only, dict) else content  # one struct
    except Exception as error:  # numpy, scipy and h5py raise a dozen kinds on a damaged file
        pickled = "; save numbers or text, not Python objects" if "pickle" in str(error) else ""
        raise RecordingError(f"{path} cannot be read: {error}{pickled}") from error


def check_names(names: dict[str, str]) -> None:
    known = *SPIKES, *BINS, *OPTIONAL
    unknown = ", ".join(sorted(names.keys() - {*known}))
    none_of = f"names: {unknown} is none of {', '.join(known)}"
    require(not unknown, f"{none_of}; say with `target` which array is to be decoded")


def contents(content: Content, path: Path, names: dict[str, str], target: str) -> Contents:
    """Spikes as spike_times (S,), spike_units (S,) and times (T,), or as counts (T, U) and
    bin_starts (T,), optionally with times where the target has a clock of its own; unit_ids (U,)
    and trials (n, 2) if there are any. Time may come last in an array. `names` says what these
    are called in the file, e.g. {"counts": "spikes"}."""
    bins = names.get("counts", "counts") in content
    keys = BINS if bins else SPIKES
    missing = next((key for key in keys if names.get(key, key) not in content), None)
    holds = ", ".join(f"{name} {np.shape(content[name])}" for name in sorted(content))
    cure = f"Say so with names={{{missing!r}: ...}}"
    needed = f"Needed: {', '.join(SPIKES)}, or {', '.join(BINS)}"
    asked = f"{path} holds {holds}; which of them is {missing!r}? {cure}. {needed}"
    require(missing is None, asked)
    found = {key: np.asarray(content[names.get(key, key)]) for key in keys}
    ids = content.get(names.get("unit_ids", "unit_ids"))
    ids = None if ids is None else np.ravel(ids).astype(str).tolist()
    if not bins:
        given = {"spikes": (found["spike_times"].ravel(), found["spike_units"].ravel())}
        if ids is not None:  # then units count the rows of it
            rows = given["spikes"][1]
            whole = rows.dtype.kind in "fiu" and (rows % 1 == 0).all()
            require(whole, f"{path}: spike_units must be rows of unit_ids, counted from 0")
            given = {"spikes": (given["spikes"][0], rows.astype(np.int64)), "unit_ids": ids}
        return Contents(path=path, **given, **behaviour(content, path, names, target))
    starts = found["bin_starts"].ravel().astype(np.float64)
    counts, width = time_first(found["counts"], len(starts)), step_of(starts)
    clocks = behaviour(content, path, names, target, starts + width / 2)
    return Contents(path=path, bins=(counts, starts, width), unit_ids=ids, **clocks)


def behaviour(
    content: Content,
    path: Path,
    names: dict[str, str],
    target: str,
    centres: np.ndarray | None = None,
) -> dict[str, Any]:
    """`series` and `trials` of Contents: what has a row for each of `times`, or of bin centres."""
    clock = content.get(names.get("times", "times"))
    clocks = [np.ravel(one).astype(np.float64) for one in (clock, centres) if one is not None]
    cure = "say what they are called with names={'times': ...}"
    require(len(clocks) > 0, f"{path} has no times (T,) of the behaviour, in s; {cure}")
    used = {names.get(key, key) for key in (*SPIKES, *BINS, *OPTIONAL)}
    asked = {target or next((name for name in DEFAULTS if name in content), "")}
    series = {}
    for name, values in content.items():
        values = np.asarray(values)
        times = next((one for one in clocks if len(one) in values.shape), None)
        fits = times is not None and values.dtype.kind in "fiu" and name not in used
        if fits or name in asked:  # what is asked for is tried, so that the error says why not
            times = clocks[0] if times is None else times
            values = time_first(values, len(times))
            series[name] = Series(values.shape, lambda t=times, v=values: (t, v))
    trials = content.get(names.get("trials", "trials"))
    if trials is not None:
        trials = np.atleast_2d(trials)  # MATLAB's single row may come as (2,)
        trials = time_first(trials, trials.size // 2)
    return {"series": series, "trials": trials}


def time_first(values: np.ndarray, n: int) -> np.ndarray:
    values = np.asarray(values)
    swapped = values.ndim == 2 and values.shape[0] != n and values.shape[1] == n
    return values.T if swapped else values
