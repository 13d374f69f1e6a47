"""Recordings from one's own files: which format a path is, and the one function that reads it.
Not for: what is in the formats (`arrays`, `matlab`, `nwb`, `phy`), what is chosen (`contents`)."""

from dataclasses import replace
from pathlib import Path

from . import arrays, matlab, nwb, phy
from .contents import Series, varying, which
from .recording import Recording, RecordingError, require
from .sources import READOUTS

FORMATS = ".h5, .npz, .mat, .nwb or a folder of Phy or Kilosort"


def read(
    path: Path | str,
    *,
    target: str = "",
    unit: str = "",
    names: dict[str, str] | None = None,
    seed: int = 0,
) -> Recording:
    """A recording from one's own file, with what is to be decoded from it and its unit.
    .npz and .mat of arrays, and a Phy folder with behavior.npz or .mat: `target` is the array, by
    default "velocity" or "target"; `names` says what the others are called (`arrays.contents`).
    .mat of a laboratory: `target` is a field of its structure, e.g. cursorposbin of binnedData,
    curs_v of XDS, vel of trial_data. .nwb: the path of the series in the file or the end of it,
    e.g. "cursor_vel". .h5, the brainsets layout: a "series.field", by default what the file says.
    Without a target, or with a wrong one, the error lists what is there. `unit` overrules that of
    the file. Columns of the target that do not vary are left out, with a warning. Spikes of
    counts are placed in their bins at random, from `seed`, as are the trials in the splits. No
    code in a file is run. Raises RecordingError."""
    path, names = Path(path), names or {}
    arrays.check_names(names)
    try:
        if path.suffix in (".h5", ".hdf5"):
            return _with_target(Recording.load(path), target, unit)
        if path.suffix == ".nwb":
            return nwb.read(path, target, unit, seed)
        if path.is_dir():
            return phy.contents(path, names, target).recording(target, unit, seed)
        require(path.suffix in (".npz", ".mat"), f"{path}: expected {FORMATS}")
        content = arrays.load(path)
        found = None if names else matlab.laboratory(content, path)
        found = found or arrays.contents(content, path, names, target)
        return found.recording(target, unit, seed)
    except RecordingError as error:
        raise error if str(path) in str(error) else RecordingError(f"{path}: {error}") from error
    except (LookupError, TypeError, ValueError) as error:  # of a structure that is not complete
        what = f"{path} is not laid out as its format is: {type(error).__name__}: {error}"
        raise RecordingError(f"{what}; save it again, or as arrays in .npz") from error


def _with_target(recording: Recording, target: str, unit: str) -> Recording:
    """What its file or its brainset says is replaced by what is given."""
    known = {(recording.brainset, task) for task in (recording.task, "")} & READOUTS.keys()
    if target or not (recording.target or known):
        series = {}
        for name, fields in recording.behavior.items():
            for key, values in fields.items():
                if key != "timestamps":
                    series[f"{name}.{key}"] = Series(values.shape, lambda v=values: (v, v))
        target = which(series, target, recording.session_id)
        values = varying(recording.series(target)[1], f"{recording.session_id}: {target}")
        name, _, key = target.partition(".")
        one = recording.behavior[name] | {key: values}
        recording = replace(recording, behavior=recording.behavior | {name: one})
    same = target in ("", recording.target)
    unit = unit or (recording.unit if same else "")
    return replace(recording, target=target or recording.target, unit=unit)
