"""Recordings from one's own files: `.h5` in the brainsets layout, `.npz` and `.mat` of arrays."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from .recording import Recording, RecordingError, as_columns, require

SPIKES = "spike_times", "spike_units", "times"
BINS = "counts", "bin_starts"


def read(
    path: Path | str,
    *,
    target: str = "",
    unit: str = "",
    names: dict[str, str] | None = None,
    seed: int = 0,
) -> Recording:
    """A recording from one's own file, with what is to be decoded from it and its unit.
    .npz or .mat (MATLAB up to v7): spikes as spike_times, spike_units and times, or as counts and
    bin_starts, as in `Recording.from_arrays` and `from_binned`; optionally trials. `names` says
    what these are called in the file, e.g. {"counts": "spikes"}; `target` is the array to decode,
    by default the one called "velocity" or "target". Time may come last in an array.
    .h5: the brainsets layout; `target` is a "series.field" of it, by default what the file says.
    Columns of the target that do not vary are left out, with a warning. Raises RecordingError."""
    path, names = Path(path), names or {}
    if path.suffix in (".h5", ".hdf5"):
        return _with_target(Recording.load(path), target, unit)
    require(path.suffix in (".npz", ".mat"), f"{path}: expected a file .h5, .npz or .mat")
    known = *SPIKES, *BINS, "trials"
    unknown = ", ".join(sorted(names.keys() - {*known}))
    none_of = f"names: {unknown} is none of {', '.join(known)}"
    require(not unknown, f"{none_of}; say with `target` which array is to be decoded")
    try:
        content = dict(np.load(path)) if path.suffix == ".npz" else loadmat(path)
    except Exception as error:  # numpy and scipy raise a dozen kinds on a damaged file
        cure = "; save it with '-v7'" if isinstance(error, NotImplementedError) else ""
        raise RecordingError(f"{path} cannot be read: {error}{cure}") from error
    holds = f"{path} holds {', '.join(sorted(k for k in content if not k.startswith('__')))}"
    required = BINS if names.get("counts", "counts") in content else SPIKES
    found = {key: content.get(names.get(key, key)) for key in (*required, "trials")}
    missing = next((key for key in required if found[key] is None), None)
    cure = f"Say so with names={{{missing!r}: ...}}"
    needed = f"Needed: {', '.join(SPIKES)}, or {', '.join(BINS)}"
    require(missing is None, f"{holds}; which of them is {missing!r}? {cure}. {needed}")
    target = target or next((key for key in ("velocity", "target") if key in content), "")
    asked = f"no {target!r}; " if target else ""
    require(target in content, f"{holds}; {asked}which of them is to be decoded? Say target=...")
    found |= {key: found[key].ravel() for key in required if key != "counts"}
    times = found[required[-1]]
    values = _varying(_time_first(content[target], len(times)), f"{path}: {target}")
    if found["trials"] is not None:
        found["trials"] = _time_first(found["trials"], found["trials"].size // 2)
    more = {"session_id": path.stem, "name": re.sub(r"\W", "_", target), "unit": unit}
    more |= {"target": values, "trials": found["trials"], "seed": seed}
    if required == SPIKES:
        return Recording.from_arrays(*(found[key] for key in SPIKES), **more)
    width = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    return Recording.from_binned(_time_first(found["counts"], len(times)), times, width, **more)


def _time_first(values: np.ndarray, n: int) -> np.ndarray:
    swapped = values.ndim == 2 and values.shape[0] != n and values.shape[1] == n
    return values.T if swapped else values


def _varying(values: np.ndarray, what: str) -> np.ndarray:
    """(T, D) of (T,) or (T, D'): those columns in which something can be decoded."""
    values = as_columns(values)
    numbers = values.ndim == 2 and values.dtype.kind in "fiu"
    require(numbers, f"{what} is {values.dtype} {values.shape}, not numbers (T, D)")
    varies = np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in values.T])
    require(varies.any(), f"{what} does not vary, nothing can be learned from it")
    if constant := ", ".join(map(str, np.flatnonzero(~varies))):
        left_out = f"{what}: column {constant} (counted from 0) does not vary and is left out"
        warnings.warn(left_out, stacklevel=3)
    return values if varies.all() else values[:, varies]


def _with_target(recording: Recording, target: str, unit: str) -> Recording:
    """What its file or its brainset says is replaced by what is given."""
    if target:
        values = _varying(recording.series(target)[1], f"{recording.session_id}: {target}")
        name, _, key = target.partition(".")
        series = recording.behavior[name] | {key: values}
        recording = replace(recording, behavior=recording.behavior | {name: series})
    same = target in ("", recording.target)
    unit = unit or (recording.unit if same else "")
    return replace(recording, target=target or recording.target, unit=unit)
