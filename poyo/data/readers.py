"""Recordings from one's own files: which format a path is, and the one function that reads it.
Not for: what is in the formats (`arrays`, `matlab`, `nwb`, `phy`), what is chosen (`contents`)."""

from dataclasses import replace
from pathlib import Path

from . import apart, arrays, matlab, nwb, phy
from .contents import Series, varying, which
from .recording import Recording, naming, require
from .sources import row_of

FORMATS = ".h5, .npz, .mat, .nwb or a folder of Phy or Kilosort"


def read(
    path: Path | str, *, target: str = "", unit: str = "", names: dict[str, str] | None = None,
    seed: int = 0,
) -> Recording:  # fmt: skip
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
    found = apart.run(_read, path, target, unit, names, seed)
    if found is not None:
        return found
    with naming(path):
        return _with_target(Recording.load(path), target, unit, seed)


def _read(path: Path, target: str, unit: str, names: dict, seed: int) -> Recording | None:
    """The recording; None of .h5, which can be read but is mapped where it is used."""
    with naming(path):
        if path.suffix in (".h5", ".hdf5"):
            Recording.load(path)
            return None
        if path.suffix == ".nwb":
            return nwb.read(path, target, unit, seed)
        if path.is_dir():
            return phy.contents(path, names, target).recording(target, unit, seed)
        require(path.suffix in (".npz", ".mat"), f"{path}: expected {FORMATS}")
        content = arrays.load(path)
        found = None if names else matlab.laboratory(content, path)
        found = found or arrays.contents(content, path, names, target)
        return found.recording(target, unit, seed)


def _with_target(recording: Recording, target: str, unit: str, seed: int) -> Recording:
    """What its file or its brainset says is replaced by what is given; split if it is not."""
    splits, needed = recording.splits.keys(), ("train", "valid", "test")
    found = f"{recording.session_id}: of the splits there is only {', '.join(splits)}"
    require(not splits or {*needed} <= splits, f"{found}; save {', '.join(needed)} or none")
    recording = recording if splits else recording.split(seed)
    if target or not (recording.target or row_of(recording)):
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
