"""One recording session: spikes, units, behaviour, intervals and splits, in memory or on disk.

On disk it is the brainsets layout (HDF5 as `torch_brain.data` writes it), so a file made by
`brainsets prepare` loads here and a file saved here opens there. Not for: what to decode from a
session (`sources`), or how it becomes tokens (`tokens`).
"""

import mmap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from scipy.io import loadmat

from . import replacing
from .intervals import dilate, intervals, subtract, union
from .layout import (
    read_array,
    read_id,
    read_interval,
    read_series,
    write_interval,
    write_series,
    write_table,
)


class RecordingError(ValueError):
    """The data is not a usable recording; the message names what is wrong and the cure."""


# --- splits ---------------------------------------------------------------------------------


def split_trials(
    domain: np.ndarray, trials: np.ndarray, seed: int, margin: float = 1.0
) -> dict[str, np.ndarray]:
    """Split valid trials at random 70/10/20 into train/valid/test domains (paper, data splits).

    Train is everything but the validation and test trials and `margin` seconds around them, so
    failed trials and the time between trials are trained on too.
    """
    n = len(trials)
    if n < 5:
        raise RecordingError(f"{n} valid trials cannot be split 70/10/20: at least 5 are needed")
    order = np.random.default_rng(seed).permutation(n)
    n_test, n_valid = max(1, round(0.2 * n)), max(1, round(0.1 * n))
    test, valid = trials[order[:n_test]], trials[order[n_test : n_test + n_valid]]
    held = np.concatenate([valid, test])
    return {
        "train": subtract(domain, dilate(held, margin)),
        "valid": intervals(valid),
        "test": intervals(test),
    }


def split_in_time(
    domain: np.ndarray, valid: float = 0.1, test: float = 0.2, margin: float = 1.0
) -> dict[str, np.ndarray]:
    """Chronological split: the last `test` of the time is test, `valid` before it validation.

    `margin` seconds before the validation part belong to no split.
    """
    t0, t1 = domain.min(), domain.max()
    edges = t0 + (t1 - t0) * np.array([1 - test - valid, 1 - test])
    clip = lambda a, b: subtract(domain, subtract(intervals(t0, t1), intervals(a, b)))  # noqa: E731
    return {
        "train": clip(t0, edges[0] - margin),
        "valid": clip(edges[0], edges[1] - margin),
        "test": clip(edges[1], t1),
    }


# --- the recording --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A session of one subject.

    spike_times: (S,) float64 seconds, sorted. spike_units: (S,) int, row of each spike's unit.
    unit_ids: (U,) names, unique in the session. units: further (U,) or (U, n) facts by name.
    behavior: series name -> {"timestamps": (T,), "vel": (T, 2), ...}, e.g. behavior["cursor"].
    domain: (n, 2) when the recording ran. splits: "train", "valid", "test" -> (n, 2).
    intervals: dotted name -> (n, 2), e.g. "movement_phases.reach_period", "trials".
    """

    session_id: str
    subject: str = "unknown"
    brainset: str = "own"
    spike_times: np.ndarray
    spike_units: np.ndarray
    unit_ids: np.ndarray
    units: dict[str, np.ndarray] = field(default_factory=dict)
    behavior: dict[str, dict[str, np.ndarray]]
    domain: np.ndarray
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    intervals: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        where = f"recording {self.session_id!r}"
        n_units = len(self.unit_ids)
        if n_units == 0:
            raise RecordingError(f"{where} has no unit: nothing can be decoded from it; drop it")
        if len(set(self.unit_ids)) < n_units:
            raise RecordingError(f"{where}: unit ids are not unique; make them so")
        if len(self.spike_times) != len(self.spike_units):
            raise RecordingError(
                f"{where}: {len(self.spike_times)} spike times but {len(self.spike_units)} "
                "spike units; give one unit per spike"
            )
        check_times(self.spike_times, f"{where}: spike times")
        if len(self.spike_units) and not (
            0 <= int(self.spike_units.min()) and int(self.spike_units.max()) < n_units
        ):
            raise RecordingError(
                f"{where}: spike units must be rows 0..{n_units - 1} of unit_ids, found "
                f"{int(self.spike_units.min())}..{int(self.spike_units.max())}"
            )
        for name, series in self.behavior.items():
            if "timestamps" not in series:
                raise RecordingError(f"{where}: behaviour {name!r} has no 'timestamps'")
            check_times(series["timestamps"], f"{where}: {name} timestamps")
            for key, values in series.items():
                if len(values) != len(series["timestamps"]):
                    raise RecordingError(
                        f"{where}: {name}.{key} has {len(values)} rows for "
                        f"{len(series['timestamps'])} timestamps"
                    )
        if len(union(self.domain)) == 0:
            raise RecordingError(f"{where}: its domain is empty; give [start, end) in seconds")

    @property
    def unit_names(self) -> list[str]:
        """Names unique across sessions, "session_id/unit id": the keys of the unit vocabulary."""
        return [f"{self.session_id}/{unit}" for unit in self.unit_ids]

    @property
    def duration(self) -> float:
        """Recorded seconds."""
        return float(np.diff(union(self.domain)).sum())

    # --- from one's own data ---

    @classmethod
    def from_arrays(
        cls,
        spike_times: np.ndarray,
        spike_units: np.ndarray,
        times: np.ndarray,
        velocity: np.ndarray,
        *,
        session_id: str,
        subject: str = "unknown",
        position: np.ndarray | None = None,
        domain: np.ndarray | None = None,
        trials: np.ndarray | None = None,
        seed: int = 0,
    ) -> Self:
        """A recording from spike times (S,), the unit of each spike (S,) and velocity (T, 2).

        `spike_units` may be any labels (integers, strings); `times` (T,) are the velocity's.
        With `trials` (n, 2) these are split 70/10/20 at random, without them the recording is
        split in time. Raises RecordingError on NaN or unsorted times and mismatched lengths.
        """
        spike_times = np.asarray(spike_times, dtype=np.float64)
        times = np.asarray(times, dtype=np.float64)
        labels, spike_units = np.unique(np.asarray(spike_units), return_inverse=True)
        velocity = np.asarray(velocity, dtype=np.float64)
        if velocity.ndim != 2 or velocity.shape[1] != 2:
            raise RecordingError(
                f"velocity must be (T, 2), one row per time; got {velocity.shape}"
            )
        series = {"timestamps": times, "vel": velocity}
        if position is not None:
            series["pos"] = np.asarray(position, dtype=np.float64)
        if domain is None:
            check_times(times, f"recording {session_id!r}: behaviour times")
            if len(times) == 0:
                raise RecordingError(f"recording {session_id!r} has no behaviour sample")
            domain = intervals(times[0], times[-1] + 1e-9)
        domain = intervals(domain)
        recording = cls(
            session_id=session_id,
            subject=subject,
            spike_times=spike_times,
            spike_units=spike_units.astype(np.int64),
            unit_ids=labels.astype(str),
            behavior={"cursor": series},
            domain=domain,
            intervals={} if trials is None else {"trials": intervals(trials)},
        )
        splits = (
            split_in_time(domain)
            if trials is None
            else split_trials(domain, intervals(trials), seed)
        )
        return replace(recording, splits=splits)

    @classmethod
    def from_binned(
        cls,
        counts: np.ndarray,
        bin_starts: np.ndarray,
        bin_width: float,
        velocity: np.ndarray,
        *,
        seed: int = 0,
        **rest,
    ) -> Self:
        """A recording from spike counts (T, U) in bins [bin_starts, bin_starts + bin_width).

        Where in its bin a spike fell is not in the data: each is placed uniformly at random,
        drawn from `seed`, so timing finer than `bin_width` carries no information. `velocity`
        (T, 2) is taken to hold at the bin centres. `rest` as for `from_arrays`.
        """
        counts, bin_starts = np.asarray(counts), np.asarray(bin_starts, dtype=np.float64)
        if counts.ndim != 2 or len(counts) != len(bin_starts):
            raise RecordingError(
                f"counts must be (T, U) with T = {len(bin_starts)} bins, got {counts.shape}; "
                "transpose it if units come first"
            )
        if not np.isfinite(counts).all() or (counts < 0).any() or (counts % 1 != 0).any():
            raise RecordingError("counts must be whole numbers >= 0 (not rates, not NaN)")
        row, unit = np.nonzero(counts)
        repeats = counts[row, unit].astype(int)
        row, unit = np.repeat(row, repeats), np.repeat(unit, repeats)
        jitter = np.random.default_rng(seed).uniform(0, bin_width, len(row))
        spike_times = bin_starts[row] + jitter
        order = np.argsort(spike_times, kind="stable")
        domain = rest.pop("domain", intervals(bin_starts[0], bin_starts[-1] + bin_width))
        recording = cls.from_arrays(
            spike_times[order],
            unit[order],
            bin_starts + bin_width / 2,
            velocity,
            seed=seed,
            domain=domain,
            **rest,
        )
        # a channel silent throughout is still a unit of the array: keep the column numbers
        return replace(
            recording,
            spike_units=unit[order].astype(np.int64),
            unit_ids=np.arange(counts.shape[1]).astype(str),
        )

    # --- on disk ---

    def save(self, path: Path | str) -> None:
        """Write the brainsets layout; the previous file stays if anything goes wrong."""
        with replacing(path) as scratch, h5py.File(scratch, "w") as file:
            file.attrs.update(object="Data", absolute_start=0.0)
            write_series(
                file,
                "spikes",
                {"timestamps": self.spike_times, "unit_index": self.spike_units},
                self.domain,
            )
            write_table(file, "units", {"id": self.unit_ids, **self.units}, "ArrayDict")
            for name, series in self.behavior.items():
                write_series(file, name, series, self.domain)
            spans = {"domain": self.domain, **self.intervals}
            spans |= {f"{split}_domain": pairs for split, pairs in self.splits.items()}
            for name, pairs in spans.items():
                parent, _, leaf = name.rpartition(".")
                if parent and parent not in file:
                    group = file.create_group(parent)
                    group.attrs.update(object="Data", absolute_start=0.0)
                    write_interval(group, "domain", self.domain)
                write_interval(file[parent] if parent else file, leaf, pairs)
            for name, key in (
                ("session", self.session_id),
                ("subject", self.subject),
                ("brainset", self.brainset),
            ):
                file.create_group(name).attrs.update(object="Data", absolute_start=0.0, id=key)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Open a file in the brainsets layout.

        Contiguous arrays are memory-mapped: only the windows that are cut are read, so memory
        does not grow with the corpus. Raises RecordingError where the file is none.
        """
        path = Path(path)
        if not path.exists():
            raise RecordingError(f"{path} does not exist")
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise RecordingError(
                f"{path} is not a readable HDF5 file (truncated or another format?): {error}"
            ) from error
        with file:
            missing = [
                name
                for name in ("spikes/timestamps", "spikes/unit_index", "units/id", "domain/start")
                if name not in file
            ]
            if missing:
                raise RecordingError(
                    f"{path} is not in the brainsets layout, it lacks {', '.join(missing)}; "
                    "make it with `brainsets prepare` or Recording.from_arrays(...).save(path)"
                )
            with path.open("rb") as stream:  # one map for all its arrays, each costs a file handle
                pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            spans, behavior = {}, {}
            for name, group in file.items():
                kind = group.attrs.get("object", "") if isinstance(group, h5py.Group) else ""
                if kind == "Interval":
                    spans[name] = read_interval(group)
                elif kind.endswith("RegularTimeSeries") or kind == "IrregularTimeSeries":
                    if name != "spikes":
                        behavior[name] = read_series(group, pages)
                elif kind == "Data":
                    spans |= {
                        f"{name}.{leaf}": read_interval(sub)
                        for leaf, sub in group.items()
                        if isinstance(sub, h5py.Group)
                        and sub.attrs.get("object") == "Interval"
                        and leaf != "domain"
                    }
            if "domain" not in spans:
                raise RecordingError(f"{path}: its 'domain' is not an Interval of torch_brain")
            splits = {
                split: spans.pop(f"{split}_domain")
                for split in ("train", "valid", "test")
                if f"{split}_domain" in spans
            }
            units = {name: read_array(data, pages) for name, data in file["units"].items()}
            recording = cls(
                session_id=read_id(file, "session", path.stem),
                subject=read_id(file, "subject", "unknown"),
                brainset=read_id(file, "brainset", "own"),
                spike_times=read_array(file["spikes/timestamps"], pages),
                spike_units=read_array(file["spikes/unit_index"], pages),
                unit_ids=units.pop("id"),
                units=units,
                behavior=behavior,
                domain=spans.pop("domain"),
                splits=splits,
                intervals=spans,
            )
        if hasattr(pages, "madvise"):  # the checks have read all of it, which counts as memory
            pages.madvise(mmap.MADV_DONTNEED)
        return recording


def check_times(times: np.ndarray, what: str) -> None:
    """Raise unless the times (T,) are finite and sorted; walks in pieces, so memory stays flat."""
    piece = 1 << 22
    for i in range(0, len(times), piece):
        part = np.asarray(times[max(0, i - 1) : i + piece])
        if not np.isfinite(part).all():
            bad = int((~np.isfinite(part)).sum())
            raise RecordingError(f"{what} hold {bad} NaN or infinite values; remove those samples")
        if (np.diff(part) < 0).any():
            raise RecordingError(
                f"{what} are not sorted; sort them first (order = numpy.argsort(times)) together "
                "with what belongs to them"
            )


def read(path: Path | str, names: dict[str, str] | None = None, seed: int = 0) -> Recording:
    """A recording from one's own file.

    .h5: the brainsets layout. .npz or .mat (MATLAB up to v7): arrays named like the arguments of
    `Recording.from_arrays` (spike_times, spike_units, times, velocity, optionally position and
    trials) or of `from_binned` (counts, bin_starts, velocity); `names` says what they are called
    in the file, e.g. {"counts": "spikes"}. Arrays may come with time last; of more than two
    velocity components the first two are decoded. Raises RecordingError.
    """
    path, names = Path(path), names or {}
    if path.suffix in (".h5", ".hdf5"):
        return Recording.load(path)
    if path.suffix not in (".npz", ".mat"):
        raise RecordingError(f"{path}: expected a file .h5, .npz or .mat")
    try:
        content = dict(np.load(path)) if path.suffix == ".npz" else loadmat(path)
    except Exception as error:  # numpy and scipy raise a dozen kinds on a damaged file
        raise RecordingError(f"{path} cannot be read: {error}") from error
    there = sorted(name for name in content if not name.startswith("__"))
    binned = names.get("counts", "counts") in content
    required = ["counts", "bin_starts", "velocity"] if binned else [
        "spike_times", "spike_units", "times", "velocity"
    ]  # fmt: skip
    found = {
        key: np.asarray(content[names.get(key, key)])
        for key in [*required, "position", "trials"]
        if names.get(key, key) in content
    }
    missing = [key for key in required if key not in found]
    if missing:
        raise RecordingError(
            f"{path} holds {', '.join(there)}; which of them is {missing[0]!r}? Say so with "
            f"names={{{missing[0]!r}: ...}}. Needed: {', '.join(required)}"
        )
    for key in ("bin_starts", "times", "spike_times", "spike_units"):
        if key in found:
            found[key] = found[key].ravel()
    n = len(found["bin_starts" if binned else "times"])
    for key in ("counts", "velocity", "position"):
        if key in found and found[key].ndim == 2 and found[key].shape[0] != n:
            found[key] = found[key].T
        if key in found and key != "counts":
            found[key] = found[key][:, :2]
    if binned:
        width = float(np.median(np.diff(found["bin_starts"])))
        return Recording.from_binned(bin_width=width, session_id=path.stem, seed=seed, **found)
    return Recording.from_arrays(session_id=path.stem, seed=seed, **found)
