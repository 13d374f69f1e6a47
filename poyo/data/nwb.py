"""Recordings from Neurodata Without Borders (.nwb) through pynwb, which is an extra.
Not for: what is in a file beside sorted units, behaviour and trials."""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .contents import Contents, Series, by_channel, good_trials, in_order
from .intervals import union
from .layout import check_inside, whole
from .recording import Recording, RecordingError, require

UNKNOWN = "unknown", "n.a.", "n/a", "na", "a.u.", "arbitrary"  # said where a unit must be said


def read(path: Path, target: str, unit: str, seed: int) -> Recording:
    """The units table, the series `target` (its path in the file or the end of it) and trials."""
    require(path.exists(), f"{path} does not exist")
    try:
        import pynwb  # an extra, and slow to import
    except ImportError as error:
        cure = 'pip install -e ".[nwb]"'
        raise RecordingError(f"{path}: pynwb reads NWB files and is not here: {cure}") from error
    with h5py.File(path) as inside:
        check_inside(inside)
    with pynwb.NWBHDF5IO(path, "r") as io:  # series are read when they are chosen
        file = io.read()
        raw = pynwb.ecephys.ElectricalSeries, pynwb.image.ImageSeries
        every = [one for one in file.objects.values() if isinstance(one, pynwb.TimeSeries)]
        every = [one for one in every if not isinstance(one, raw) and hasattr(one.data, "dtype")]
        series = dict(_series(one) for one in every if one.data.dtype.kind in "fiu")
        units = file.units
        found = units is not None and "spike_times" in units.colnames
        require(found, f"{path} has no units with spike_times; sort the spikes and add them")
        heard = None
        if "obs_intervals" in units.colnames:  # of each unit; here, where any was observed
            heard = union(units["obs_intervals"].target.data[:])
        ends = units["spike_times"].data[:].astype(np.int64)
        times, each = whole(units["spike_times"].target.data), np.diff(ends, prepend=0)
        fine = (each >= 0).all() and each.sum() == len(times)
        require(fine, f"{path}: the index of spike_times does not divide its {len(times)} times")
        times, rows = times.astype(np.float64), np.repeat(np.arange(len(ends)), each)
        contents = Contents(
            path=path, series=series, spikes=in_order(times, rows), heard=heard,
            unit_ids=_unit_ids(file), trials=_trials(file),
            session_id=re.sub(r"[/\\]", "_", file.session_id or ""),
            subject=(file.subject.subject_id if file.subject else "") or "",
        )  # fmt: skip
        return contents.recording(target, unit, seed)


def _series(one: Any) -> tuple[str, Series]:
    """Its path in the file, e.g. "processing/behavior/Velocity/cursor_vel", and how it is read."""

    def load() -> tuple[np.ndarray, np.ndarray]:
        values = whole(one.data) * one.conversion + one.offset
        if one.timestamps is not None:
            return whole(one.timestamps), values
        return one.starting_time + np.arange(len(values)) / one.rate, values

    unit = one.unit if one.unit and one.unit.lower() not in UNKNOWN else ""
    return one.data.parent.name.strip("/"), Series(one.data.shape, load, unit)


def _unit_ids(file: Any) -> list[str]:
    """By electrode where every unit has one, otherwise the names or ids of the file."""
    units = file.units
    if "unit_name" in units.colnames:
        return list(map(str, units["unit_name"].data[:]))
    if "electrodes" in units.colnames:
        ends, rows = units["electrodes"].data[:], units["electrodes"].target.data[:]
        if (np.diff(ends, prepend=0) == 1).all():
            return by_channel(f"elec{one}" for one in file.electrodes.id[:][rows])
    return [f"unit{one}" for one in units.id[:]]


def _trials(file: Any) -> np.ndarray | None:
    """(n, 2) s, those that succeeded where the file says so."""
    trials = file.trials
    if trials is None or len(trials) == 0:
        return None
    good = np.ones(len(trials), dtype=bool)
    if "result" in trials.colnames:
        good = np.array([str(one) == "R" for one in trials["result"].data[:]])
    elif "success" in trials.colnames:
        good = np.asarray(trials["success"].data[:]) > 0
    return good_trials(trials["start_time"].data[:], trials["stop_time"].data[:], good)
