"""Recordings from plain arrays under names of one's own, in .npz or .mat.
Not for: the structures of laboratories that also come in .mat (`matlab`)."""

from pathlib import Path
from typing import Any

import numpy as np

from .contents import DEFAULTS, Contents, Series
from .intervals import step_of
from .layout import LARGEST
from .matlab import tree
from .recording import column, naming, require

SPIKES = "spike_times", "spike_units", "times"
BINS = "counts", "bin_starts"
OPTIONAL = "trials", "unit_ids"
Content = dict[str, Any]  # the file: name -> array, text, or a dict of these


def load(path: Path) -> Any:
    """What is in .mat, .npz or .npy; no code of it is run. RecordingError where it is damaged."""
    require(path.exists(), f"{path} does not exist")
    with naming(path):
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        content: Any = tree(path) if path.suffix == ".mat" else np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            size = sum(part.file_size for part in content.zip.infolist()) / 2**30
            what = f"it unpacks to {size:.3g} GiB; leave out what is not needed"
            require(size <= LARGEST / 2**30, what)
        try:
            content = dict(content)
        except ValueError as error:
            cure = (
                "save plain arrays; an array of times per unit becomes spike_times and spike_units"
            )
            cure += " by np.concatenate(arrays) and np.repeat(ids, [len(a) for a in arrays])"
            require("pickle" not in str(error), f"{path} holds Python objects; {cure}")
            raise
        only = next(iter(content.values()), None)
        return only if len(content) == 1 and isinstance(only, dict) else content  # one struct


def check_names(names: dict[str, str]) -> None:
    look = "names must look like {spike_times: spikes}: ours first, then what the file says"
    require(isinstance(names, dict), f"{look}; got {names!r}")
    known = *SPIKES, *BINS, *OPTIONAL
    unknown = ", ".join(sorted(names.keys() - {*known}))
    none_of = f"names: {unknown} is none of {', '.join(known)}"
    cure = f"{look}, with a space after the colon; `target` says what is to be decoded"
    require(not unknown, f"{none_of}; {cure}")


def contents(content: Content, path: Path, names: dict[str, str], target: str) -> Contents:
    """Spikes as spike_times (S,), spike_units (S,) and times (T,), or as counts (T, U) and
    bin_starts (T,), optionally with times where the target has a clock of its own; unit_ids (U,)
    and trials (n, 2) if there are any. spike_times may be a cell array of MATLAB, the times of a
    unit in each of its U cells; then there are no spike_units. Time may come last in an array, and
    trials be (2, n) where n is not 2. `names` says what these are called in the file, e.g.
    {"counts": "spikes"}."""
    bins = names.get("counts", "counts") in content
    cells = np.asarray(content.get(names.get("spike_times", "spike_times")))
    per_unit = cells.dtype == object and cells.ndim == 1
    keys = BINS if bins else tuple(key for key in SPIKES if key != "spike_units" or not per_unit)
    missing = next((key for key in keys if names.get(key, key) not in content), None)
    holds = ", ".join(f"{name} {np.shape(content[name])}" for name in sorted(content))
    cure = f"Say so with names={{{missing!r}: ...}}"
    needed = f"Needed: {', '.join(SPIKES)}, or {', '.join(BINS)}"
    asked = f"{path} holds {holds}; which of them is {missing!r}? {cure}. {needed}"
    require(missing is None, asked)
    found = {key: content[names.get(key, key)] for key in keys}
    ids = content.get(names.get("unit_ids", "unit_ids"))
    ids = None if ids is None else np.ravel(ids).astype(str).tolist()
    if not bins:
        given: dict[str, Any] = {"unit_ids": ids}
        if per_unit:
            units = ids or [str(i + 1) for i in range(len(cells))]  # as MATLAB counts
            few = f"{path}: {len(units)} unit_ids for {len(cells)} cells of spike_times"
            require(len(units) == len(cells), few)
            given = {"spikes": joined(cells, units, path), "unit_ids": units}
        else:
            times = column(found["spike_times"], f"{path}: spike_times")
            rows = np.ravel(found["spike_units"])
            if ids is not None:  # then units count the rows of it
                whole = rows.dtype.kind in "fiu" and (rows % 1 == 0).all()
                require(whole, f"{path}: spike_units must be rows of unit_ids, counted from 0")
                rows = rows.astype(np.int64)
            given["spikes"] = times, rows
        return Contents(path=path, **given, **behaviour(content, path, names, target))
    starts = column(found["bin_starts"], f"{path}: bin_starts")
    counts, width = time_first(found["counts"], len(starts)), step_of(starts)
    clocks = behaviour(content, path, names, target, starts + width / 2)
    return Contents(path=path, bins=(counts, starts, width), unit_ids=ids, **clocks)


def joined(cells: np.ndarray, units: list[str], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The spike times of each unit (U,) as those of all (S,), in order, and the unit of each."""
    times = [column(one, f"{path}: spike_times of unit {u}") for one, u in zip(cells, units)]
    rows = np.repeat(np.arange(len(times)), [len(one) for one in times])
    order = np.argsort(np.concatenate(times), kind="stable")
    return np.concatenate(times)[order], rows[order]


def behaviour(
    content: Content, path: Path, names: dict[str, str], target: str,
    centres: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`series` and `trials` of Contents: what has a row for each of `times`, or of bin centres."""
    clock = content.get(names.get("times", "times"))
    clocks = [column(one, f"{path}: times") for one in (clock, centres) if one is not None]
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
