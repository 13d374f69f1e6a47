"""MATLAB files as plain Python, and the structures that laboratories keep in them.
`binnedData` and XDS of the Miller laboratory and its `trial_data` (PyalData); all three of
MATLAB up to v7 or v7.3. Not for: arrays under names of one's own (`arrays`)."""

import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat

from .contents import Contents, Series, good_trials, in_order
from .intervals import covered, step_of
from .layout import check_inside, whole
from .recording import RecordingError, as_columns, require

LARGE = "spike_waveforms", "nonlin_waveforms"  # of XDS: not needed, and most of the file
APART = 10.0  # s between trials that are put one after the other: longer than any window
REWARDED = 82  # "R"


def tree(path: Path) -> dict[str, Any]:
    """A struct as a dict, an array of them as a list of dicts, a cell array as an object array,
    text as str; arrays without dimensions of length 1. All read now, in either version."""
    if not h5py.is_hdf5(path):
        content = loadmat(path, simplify_cells=True)
        return {name: value for name, value in content.items() if not name.startswith("__")}
    with h5py.File(path) as file:  # v7.3
        check_inside(file)
        return {name: _value(file, file[name]) for name in file if not name.startswith("#")}


def _value(file: h5py.File, node: h5py.Group | h5py.Dataset) -> Any:
    """MATLAB counts columns first, so its arrays are transposed in HDF5."""
    kind = node.attrs.get("MATLAB_class", b"")
    if isinstance(node, h5py.Group):
        names = [name for name in node if name not in LARGE]
        # the fields of an array of structs are references without a class
        many = [name for name in names if "MATLAB_class" not in node[name].attrs]
        many = [name for name in many if _refers(node[name])]
        fields = {n: _cells(file, node[n]) if n in many else _value(file, node[n]) for n in names}
        if not many:
            return fields
        return [dict(zip(many, row)) for row in zip(*(fields[name].ravel() for name in many))]
    if "MATLAB_empty" in node.attrs:
        return "" if kind == b"char" else np.empty(0)
    if _refers(node):
        return _plain(_cells(file, node))
    values = whole(node).T
    if kind == b"char":
        rows = ["".join(map(chr, row)) for row in np.atleast_2d(values)]
        return rows[0] if len(rows) == 1 else np.array(rows)
    return _plain(values)


def _refers(node: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(node, h5py.Dataset) and h5py.check_ref_dtype(node.dtype) is not None


def _cells(file: h5py.File, node: h5py.Dataset) -> np.ndarray:
    references = whole(node).T
    cells = np.empty(references.shape, dtype=object)
    for place, reference in np.ndenumerate(references):
        cells[place] = _value(file, file[reference])
    return cells


def _plain(values: np.ndarray) -> Any:
    values = np.squeeze(values)
    return values if values.shape else values.item()


def laboratory(content: dict[str, Any], path: Path) -> Contents | None:
    """The structure of a laboratory that is in the file, whatever its variable is called."""
    for value in (content, *content.values()):  # itself: saved with '-struct'
        rows = value if isinstance(value, list) else [value]
        if not rows or not all(isinstance(row, dict) for row in rows):
            continue
        if {"timeframe", "spikeratedata"} <= rows[0].keys():
            return _binned_data(rows[0], path)
        if "time_frame" in rows[0] and rows[0].keys() & {"spikes", "spike_counts"}:
            return _xds(rows[0], path)
        if "bin_size" in rows[0] and any(name.endswith("_spikes") for name in rows[0]):
            return _trial_data(rows, path)
    return None


def _counts(values: Any, width: float, what: str, *, rates: bool = False) -> np.ndarray:
    """(T, U) whole numbers, of counts or, with `rates`, of counts or rates in Hz."""
    values = as_columns(np.asarray(values, dtype=np.float64))
    for counts in (values * width, values) if rates else (values,):
        if len(counts) and np.allclose(counts, np.rint(counts), rtol=0, atol=0.01):
            return np.rint(counts).astype(np.int64)
    found = (
        f"neither counts nor counts divided by the bin of {width:g} s" if rates else "no counts"
    )
    raise RecordingError(f"{what} holds {found}: smoothed, or empty? Save the counts")


def _of(value: Any) -> list:
    """The elements of a cell array, which is squeezed to its element where there is one."""
    array = isinstance(value, np.ndarray) and value.dtype.kind in "OU"
    return list(value) if array or isinstance(value, list | tuple) else [value]


def _flat(values: Any) -> np.ndarray:
    return np.ravel(values).astype(np.float64)


def _series(times: np.ndarray, values: Any, columns: Any = ()) -> Series:
    values = np.asarray(values)
    columns = [name for name in _of(columns) if isinstance(name, str)]
    return Series(values.shape, lambda: (times, values), columns=columns)


def _binned_data(lab: dict[str, Any], path: Path) -> Contents:
    """timeframe (T,) s, spikeratedata (T, U), any other series (T, D) called …bin."""
    # bins are [t, t + width), but behaviour is interpolated at t itself, not at their centres
    starts = _flat(lab["timeframe"])
    width, series = step_of(starts), {}
    for name, values in lab.items():
        if name.endswith("bin") and len(np.atleast_1d(values)) == len(starts):
            stem = name.removesuffix("bin").removesuffix("data")
            labels = {"emg": "emgguide", "accel": "acclabels"}.get(stem, f"{stem}labels")
            series[name] = _series(starts, values, lab.get(labels, ()))
    counts = _counts(lab["spikeratedata"], width, f"{path}: spikeratedata", rates=True)
    ids = None  # the same electrode is named differently by versions of the laboratory's tools
    if np.size(lab.get("neuronIDs", ())) == 2 * counts.shape[1]:
        ids = [f"elec{channel}/unit{k}" for channel, k in np.reshape(lab["neuronIDs"], (-1, 2))]
    elif np.size(lab.get("spikeguide", ())) == counts.shape[1]:
        ids = [re.sub(r"^e+0*(\d+)u(\d+)", r"elec\1/unit\2", s) for s in _of(lab["spikeguide"])]
    table, trials = np.atleast_2d(lab.get("trialtable", ())), None
    if table.shape[1] >= 9:  # as MATLAB counts, columns 1 and 8 are times and 9 is the result
        trials = good_trials(table[:, 0], table[:, 7], table[:, 8] == REWARDED)
        if trials is None:
            found = f"{path}: trialtable has no {REWARDED} (rewarded) in its column 9"
            warnings.warn(f"{found}; the recording is split in time", stacklevel=4)
    bins = counts, starts, width
    return Contents(path=path, series=series, bins=bins, unit_ids=ids, trials=trials)


def _xds(xds: dict[str, Any], path: Path) -> Contents:
    """time_frame (T,) s, the middle of bins; spikes, a cell array of times, or spike_counts
    (T, U); every series with a row for each time of time_frame or of its own, raw_EMG_time_frame.
    What has_EMG and the like say is not asked: they are wrong in some files, arrays are there."""
    centres = _flat(xds["time_frame"])
    width, series = float(xds.get("bin_width", 0)) or step_of(centres), {}
    for name, values in xds.items():
        own = xds.get(f"{name}_time_frame", xds.get(f"{name.removesuffix('s')}_time_frame", ()))
        times, values = _flat(own) if np.size(own) else centres, np.asarray(values)
        fits = values.dtype.kind in "fiu" and values.ndim > 0 and len(values) == len(times)
        if fits and "time_frame" not in name and name != "spike_counts":
            columns = {"joint_angles": "joint_names"}.get(name, f"{name}_names")
            series[name] = _series(times, values, xds.get(columns, ()))
    ids = _of(xds["unit_names"]) if "unit_names" in xds else None
    given: dict[str, Any] = {}
    if np.size(xds.get("spikes", ())) > 0:  # rather than counts: times are finer
        trains = [_flat(train) for train in _of(xds["spikes"])]
        rows = np.repeat(np.arange(len(trains)), [len(train) for train in trains])
        given["spikes"] = in_order(np.concatenate(trains), rows)
        given["heard"] = covered(centres - width / 2, width, width)
        ids = ids or [str(row) for row in range(len(trains))]
        told = f"{path}: unit_names has {len(ids)} names for {len(trains)} cells of spikes"
        require(len(ids) == len(trains), f"{told}; save one for each")
    else:
        counts = _counts(xds.get("spike_counts", ()), width, f"{path}: spike_counts")
        given["bins"] = counts, centres - width / 2, width
    if "trial_result" in xds and "trial_start_time" in xds:
        letters = _of(xds["trial_result"])
        good = np.array([one == "R" for one in (letters if len(letters) > 1 else letters[0])])
        given["trials"] = good_trials(xds["trial_start_time"], xds["trial_end_time"], good)
    meta = xds.get("meta", {})
    given["subject"] = str(meta.get("monkey", meta.get("subject", "")))
    return Contents(path=path, series=series, unit_ids=ids, **given)


def _trial_data(trials: list[dict[str, Any]], path: Path) -> Contents:
    """Of each trial bin_size, s; <area>_spikes (T, U) counts; <area>_unit_guide (U, 2), electrode
    and unit; any series (T, D). A file of trials says nothing about the time between them: they
    are put one after the other, APART, and the domain is the trials, so no window bridges two.
    Series are taken to hold at the middle of their bins."""
    areas = [name for name in trials[0] if name.endswith("_spikes")]
    wide = {area: max(_columns(trial[area]).shape[1] for trial in trials) for area in areas}
    # squeezed: a trial of one bin comes as (U,); there is nothing to learn from it
    fits = [all(_columns(t[area]).shape[1] == wide[area] for area in areas) for t in trials]
    trials = [t for t, fit in zip(trials, fits) if fit and len(_columns(t[areas[0]])) > 1]
    require(len(trials) > 0, f"{path}: {areas[0]} has no trial of two bins or more")
    width, lengths = float(trials[0]["bin_size"]), [len(t[areas[0]]) for t in trials]
    first = np.cumsum([0, *(n * width + APART for n in lengths[:-1])])  # s, of each trial
    starts = np.concatenate([t0 + np.arange(n) * width for t0, n in zip(first, lengths)])
    ids, counts, series = [], [], {}
    for name in trials[0]:
        rows = [_columns(t[name]) for t in trials if np.asarray(t[name]).dtype.kind in "fiu"]
        if [len(values) for values in rows] != lengths:
            continue
        values = np.concatenate(rows)  # (sum of T, D)
        if name not in areas:
            series[name] = _series(starts + width / 2, values)
            continue
        counts.append(_counts(values, width, f"{path}: {name}"))
        area = name.removesuffix("_spikes")
        guide = np.asarray(trials[0].get(f"{area}_unit_guide", ()))
        known = guide.size == 2 * wide[name]
        pairs = guide.reshape(-1, 2) if known else enumerate([""] * wide[name])
        ids += [f"{area}/elec{c}/unit{k}" if known else f"{area}/{c}" for c, k in pairs]
    good = np.array([str(t.get("result", "R")) == "R" for t in trials])
    return Contents(
        path=path, series=series, bins=(np.concatenate(counts, 1), starts, width), unit_ids=ids,
        trials=good_trials(first, first + np.array(lengths) * width, good),
        subject=str(trials[0].get("monkey", "")),
    )  # fmt: skip


def _columns(values: Any) -> np.ndarray:
    return as_columns(np.atleast_1d(values))
