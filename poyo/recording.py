"""One recording session: spikes, units, behaviour, intervals and splits, in memory or on disk.

On disk it is the brainsets layout (HDF5 as `torch_brain.data` writes it), so a file made by
`brainsets prepare` loads here and a file saved here opens there. Not for: what to decode from a
session (`sources`), or how it becomes tokens (`tokens`).

Intervals are float arrays of shape (n, 2): rows of [start, end), sorted, in seconds.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import h5py
import numpy as np

from . import replacing


class RecordingError(ValueError):
    """The data is not a usable recording; the message names what is wrong and the cure."""


# --- intervals ------------------------------------------------------------------------------


def intervals(start, end=None) -> np.ndarray:
    """(n, 2) sorted intervals from one [start, end), from arrays of both, or from (n, 2) rows."""
    pairs = start if end is None else np.stack([np.atleast_1d(start), np.atleast_1d(end)], -1)
    pairs = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def union(*many: np.ndarray) -> np.ndarray:
    """Merge overlapping and touching intervals: any number of (n, 2) -> (m, 2)."""
    pairs = intervals(np.concatenate([np.empty((0, 2)), *many]))
    pairs = pairs[pairs[:, 1] > pairs[:, 0]]
    if len(pairs) == 0:
        return pairs
    reach = np.maximum.accumulate(pairs[:, 1])
    first = np.r_[True, pairs[1:, 0] > reach[:-1]]
    return np.stack([pairs[first, 0], reach[np.r_[first[1:], True]]], -1)


def subtract(pairs: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """What is left of the intervals `pairs` after cutting out `holes`."""
    pairs, holes = union(pairs), union(holes)
    edges = np.unique(np.concatenate([pairs.ravel(), holes.ravel()]))
    pieces = np.stack([edges[:-1], edges[1:]], -1)
    middle = pieces.mean(1)
    return union(pieces[contains(pairs, middle) & ~contains(holes, middle)])


def dilate(pairs: np.ndarray, seconds: float) -> np.ndarray:
    """Intervals grown by `seconds` on both sides (and merged where they meet)."""
    return union(pairs + np.array([-seconds, seconds]))


def contains(pairs: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) bool: which times lie in start <= t < end of any of the intervals."""
    pairs = union(pairs)
    row = np.searchsorted(pairs[:, 0], times, side="right") - 1
    return (row >= 0) & (times < np.append(pairs[:, 1], -np.inf)[row])


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
        series = {"timestamps": times, "vel": np.asarray(velocity, dtype=np.float64)}
        if position is not None:
            series["pos"] = np.asarray(position, dtype=np.float64)
        if domain is None:
            check_times(times, f"recording {session_id!r}: behaviour times")
            if len(times) == 0:
                raise RecordingError(f"recording {session_id!r} has no behaviour sample")
            domain = intervals(times[0], times[-1] + 1e-9)
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
            spans, behavior = {}, {}
            for name, group in file.items():
                kind = group.attrs.get("object", "") if isinstance(group, h5py.Group) else ""
                if kind == "Interval":
                    spans[name] = read_interval(group)
                elif kind.endswith("RegularTimeSeries") or kind == "IrregularTimeSeries":
                    if name != "spikes":
                        behavior[name] = read_series(group, path)
                elif kind == "Data":
                    spans |= {
                        f"{name}.{leaf}": read_interval(sub)
                        for leaf, sub in group.items()
                        if isinstance(sub, h5py.Group)
                        and sub.attrs.get("object") == "Interval"
                        and leaf != "domain"
                    }
            splits = {
                split: spans.pop(f"{split}_domain")
                for split in ("train", "valid", "test")
                if f"{split}_domain" in spans
            }
            units = {name: read_array(data, path) for name, data in file["units"].items()}
            return cls(
                session_id=read_id(file, "session", path.stem),
                subject=read_id(file, "subject", "unknown"),
                brainset=read_id(file, "brainset", "own"),
                spike_times=read_array(file["spikes/timestamps"], path),
                spike_units=read_array(file["spikes/unit_index"], path),
                unit_ids=units.pop("id"),
                units=units,
                behavior=behavior,
                domain=spans.pop("domain"),
                splits=splits,
                intervals=spans,
            )


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


# --- HDF5 in the words of torch_brain.data ---------------------------------------------------


def write_table(parent: h5py.Group, name: str, columns: dict, kind: str, **attrs) -> h5py.Group:
    group = parent.create_group(name)
    text = [key for key, values in columns.items() if np.asarray(values).dtype.kind in "UO"]
    group.attrs.update(object=kind, _unicode_keys=np.array(text, dtype="S"), **attrs)
    for key, values in columns.items():
        values = np.asarray(values)
        group.create_dataset(key, data=np.char.encode(values.astype(str)) if key in text else values)
    return group


def write_interval(parent: h5py.Group, name: str, pairs: np.ndarray) -> None:
    keys = np.array(["start", "end"], dtype="S")
    columns = {"start": pairs[:, 0], "end": pairs[:, 1]}
    write_table(parent, name, columns, "Interval", timekeys=keys)


def write_series(file: h5py.File, name: str, series: dict, domain: np.ndarray) -> None:
    keys = np.array(["timestamps"], dtype="S")
    group = write_table(file, name, series, "IrregularTimeSeries", timekeys=keys)
    write_interval(group, "domain", domain)
    # torch_brain slices lazily through the first row at or after each whole second of the domain
    seconds = np.arange(domain.min(), domain.max() + 1.0, 1.0)
    group["timestamp_indices_1s"] = np.searchsorted(series["timestamps"], seconds)


def read_array(data: h5py.Dataset, path: Path) -> np.ndarray:
    """The dataset as an array: memory-mapped where it lies contiguous in the file."""
    if data.dtype.kind in "SO":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in data[()]], dtype=str)
    offset = data.id.get_offset()
    if offset is None or data.size == 0:  # chunked, compressed or empty
        return data[()]
    return np.memmap(path, mode="r", dtype=data.dtype, offset=offset, shape=data.shape)


def read_interval(group: h5py.Group) -> np.ndarray:
    return intervals(group["start"][()], group["end"][()])


def read_series(group: h5py.Group, path: Path) -> dict[str, np.ndarray]:
    series = {
        key: read_array(data, path)
        for key, data in group.items()
        if isinstance(data, h5py.Dataset) and key != "timestamp_indices_1s"
    }
    if "sampling_rate" in group.attrs and "timestamps" not in series:
        n = len(next(iter(series.values())))
        start = read_interval(group["domain"]).min()
        series["timestamps"] = start + np.arange(n) / group.attrs["sampling_rate"]
    return series


def read_id(file: h5py.File, name: str, default: str) -> str:
    value = file[name].attrs.get("id", default) if name in file else default
    return value.decode() if isinstance(value, bytes) else str(value)
