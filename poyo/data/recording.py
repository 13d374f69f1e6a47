"""One recording session: spikes, units, behaviour, intervals and splits, in memory or on disk.
On disk it is the brainsets layout (HDF5 as `torch_brain.data` writes it), so a file made by
`brainsets prepare` loads here and a file saved here opens there. Not for: other formats
(`readers`), how a session is read out (`sources`), or how it becomes tokens (`poyo.tokens`)."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

import h5py
import numpy as np

from .. import replacing
from . import layout
from .intervals import contains, covered, dilate, intervals, step_of, subtract, union

LONGEST = 1e7  # s, four months: more is no time in seconds, and would fill the disk
FASTEST = 1e4  # Hz, of a unit in a bin
COARSE = 1e-3  # s between neighbouring numbers: no clock must be coarser
TASKS = CO, RT, MAZE = "center_out_reaching", "random_target_reaching", "maze"  # the paper's
_maps: WeakSet[mmap.mmap] = WeakSet()  # of the files whose recordings are in use


def release() -> None:
    """Let go of the pages of files that were read: they stay in the system's memory, from where
    they come back quickly, and no longer count as this process', as a job's limit counts them."""
    for pages in list(_maps):
        pages.madvise(mmap.MADV_DONTNEED)


class RecordingError(ValueError):
    """The data is not a usable recording; the message names what is wrong and the cure."""


def require(fine: object, message: str) -> None:
    """Raise RecordingError with `message` unless all is fine."""
    if not fine:
        raise RecordingError(message)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong within is a RecordingError that names the file."""
    try:
        yield
    except RecordingError as error:
        raise error if str(path) in str(error) else RecordingError(f"{path}: {error}") from error
    except Exception as error:  # h5py, numpy and scipy raise a dozen kinds on a damaged file
        what = f"{path} cannot be read, it is damaged or not laid out as its format is"
        cure = "save it again, or as plain arrays in .npz"
        raise RecordingError(f"{what}: {type(error).__name__}: {error}; {cure}") from error


def numbers(values, what: str) -> np.ndarray:
    """An array of real numbers; what is none raises."""
    values = np.asarray(values)
    found = f"{what} must be numbers, found {values.dtype} {values.shape}"
    require(values.dtype.kind in "fiub", f"{found}; give an array, not text, cells or a struct")
    return values


def column(values, what: str) -> np.ndarray:
    """(n,) float64 of what is (n,), (n, 1) or (1, n)."""
    values = numbers(values, what).astype(np.float64)
    require(values.size == max(values.shape, default=1), f"{what} must be (n,): {values.shape}")
    return values.ravel()


def check_spans(values, what: str) -> np.ndarray:
    """(n, 2) sorted, of rows of start < end; what is none raises."""
    pairs = np.atleast_2d(numbers(values, what).astype(np.float64))
    fine = pairs.shape[1:] == (2,) and np.isfinite(pairs).all() and (np.diff(pairs) > 0).all()
    cure = "is the second column a length, not the end?"
    found = f"found {pairs.shape}; {cure if pairs.shape[1:] == (2,) else 'turn it round?'}"
    require(fine, f"{what} must be (n, 2) rows of start < end, in s; {found}")
    return intervals(pairs)


def check_times(times: np.ndarray, what: str) -> None:
    """Raise unless the times (T,) are finite and sorted; walks in pieces, so memory stays flat."""
    found = f"{what} must be numbers (T,), found {times.dtype} {times.shape}"
    require(times.dtype.kind in "fiu" and times.ndim == 1, found)
    piece, cure = 1 << 22, "sort them (order = numpy.argsort(times)) and what belongs to them"
    for i in range(0, len(times), piece):
        part = np.asarray(times[max(0, i - 1) : i + piece])
        bad = int((~np.isfinite(part)).sum())
        require(bad == 0, f"{what} hold {bad} NaN or infinite values; remove those samples")
        require(not (np.diff(part) < 0).any(), f"{what} are not sorted; {cure}")
    check_digits(times, what)


def check_digits(times: np.ndarray, what: str) -> None:
    """Raise where sorted times are kept in floats too short for their size, by the outermost."""
    if times.dtype.kind == "f" and times.dtype.itemsize < 8 and times.size:
        step = np.spacing(np.abs(times.ravel()[[0, -1]])).max()
        found = f"{what} are {times.dtype}, which of this size differ by {step:.3g} s"
        cure = "keep them in float64, or count from the start of the session"
        require(not step > COARSE, f"{found}; {cure}")


def as_columns(values: np.ndarray) -> np.ndarray:
    """(T, D) as it is, (T,) as (T, 1)."""
    return values[:, None] if values.ndim == 1 else values


Splits = dict[str, np.ndarray]  # "train", "valid", "test" -> (n, 2)


def split_around(domain: np.ndarray, valid: np.ndarray, test: np.ndarray) -> Splits:
    """Hold out `valid` and `test`, each (n, 2): train is the rest of `domain` (n, 2).
    Train stays a second away from both, so that no window of it sees held-out behaviour."""
    train = subtract(domain, dilate(np.concatenate([valid, test]), 1.0))
    return {"train": train, "valid": intervals(valid), "test": intervals(test)}


def split_trials(domain: np.ndarray, trials: np.ndarray, seed: int) -> Splits:
    """Split valid trials at random 70/10/20 into train/valid/test domains (paper, data splits).
    Train has also what is no valid trial: failed ones, and the time between trials."""
    n = len(trials)
    require(n >= 5, f"{n} valid trials cannot be split 70/10/20: 5 are needed; or give none")
    order = np.random.default_rng(seed).permutation(n)
    n_test, n_valid = max(1, round(0.2 * n)), max(1, round(0.1 * n))
    valid, test = trials[order[n_test : n_test + n_valid]], trials[order[:n_test]]
    # where trials overlap or are there twice, no second of one that is tested validates
    valid = np.concatenate([subtract(trial[None], test) for trial in valid])
    require(len(valid) > 0, f"the {n} trials overlap so much that none is left to validate")
    return split_around(domain, valid, test)


def split_in_time(domain: np.ndarray) -> Splits:
    """Chronological split: the last 20 % of the time is test, the 10 % before it validation.
    The second before the test part belongs to no split, nor does the one before validation.

    >>> {name: part.tolist() for name, part in split_in_time(np.array([[0.0, 100.0]])).items()}
    {'train': [[0.0, 69.0]], 'valid': [[70.0, 79.0]], 'test': [[80.0, 100.0]]}
    """
    t0, t1 = domain.min(), domain.max()
    begin, end = t0 + (t1 - t0) * np.array([0.7, 0.8])
    valid = subtract(domain, np.array([[t0, begin], [end - 1.0, t1]]))
    return split_around(domain, valid, subtract(domain, np.array([[t0, end]])))


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A session of one subject.
    spike_times: (S,) float64 seconds, sorted. spike_units: (S,) int, row of each spike's unit.
    unit_ids: (U,) names, unique in the session. units: further (U,) or (U, n) facts by name.
    behavior: series name -> {"timestamps": (T,), "vel": (T, 2), ...}, e.g. behavior["cursor"].
    domain: (n, 2) when the recording ran. splits: "train", "valid", "test" -> (n, 2).
    intervals: dotted name -> (n, 2), e.g. "movement_phases.reach_period", "trials".
    task: one of TASKS, or any name. target: what is decoded, "series.field", and its unit; empty
    where the brainset says it (`sources.READOUTS`)."""

    session_id: str
    subject: str = "unknown"
    brainset: str = "own"
    task: str = ""
    spike_times: np.ndarray
    spike_units: np.ndarray
    unit_ids: np.ndarray
    units: dict[str, np.ndarray] = field(default_factory=dict)
    behavior: dict[str, dict[str, np.ndarray]]
    domain: np.ndarray
    splits: Splits = field(default_factory=dict)
    intervals: dict[str, np.ndarray] = field(default_factory=dict)
    target: str = ""
    unit: str = ""

    def __post_init__(self):
        where, n = f"recording {self.session_id!r}", len(self.unit_ids)
        times, rows = self.spike_times, self.spike_units
        for name in (self.session_id, self.brainset):
            plain = name.isprintable() and not {"/", "\\"} & {*name}
            require(plain, f"{where}: {name!r} must do as the name of a file; take out / and \\")
        require(n > 0, f"{where} has no unit: nothing can be decoded from it; drop it")
        require(len(set(self.unit_ids)) == n, f"{where}: unit ids are not unique; make them so")
        found = f"{len(times)} spike times but {len(rows)} spike units"
        require(len(times) == len(rows), f"{where}: {found}; give one unit per spike")
        check_times(times, f"{where}: spike times")
        whole = rows.dtype.kind in "iu" and rows.ndim == 1
        require(whole, f"{where}: spike units must be whole numbers (S,), found {rows.dtype}")
        low, high = (int(rows.min()), int(rows.max())) if len(rows) else (0, 0)
        found = f"rows 0..{n - 1} of unit_ids, found {low}..{high}"
        require(0 <= low and high < n, f"{where}: spike units must be {found}")
        for name, series in self.behavior.items():
            require("timestamps" in series, f"{where}: behaviour {name!r} has no 'timestamps'")
            check_times(stamps := series["timestamps"], f"{where}: {name} timestamps")
            for key, values in series.items():
                n_rows = len(values) if np.ndim(values) else 0
                found = f"{name}.{key} has {n_rows} rows for {len(stamps)} timestamps"
                cure = "give one row for each (transpose it if time comes last)"
                require(n_rows == len(stamps), f"{where}: {found}; {cure}")
        cure = "give [start, end) in seconds"
        require(self.duration > 0, f"{where}: its domain is empty; {cure}")
        span = np.ptp(union(self.domain))
        cure = "are the times in seconds, and is none of them astray?"
        require(span < LONGEST, f"{where}: its domain spans {span / 86_400:.4g} days; {cure}")
        for name, pairs in self.splits.items():
            fine = np.isfinite(pairs).all() and (np.diff(pairs) >= 0).all()
            require(fine, f"{where}: its {name} split has a NaN, or an end before its start")
        if self.target:
            self.series(self.target)

    @property
    def unit_names(self) -> list[str]:
        """Names unique across sessions, "session_id/unit id": the keys of the unit vocabulary."""
        return [f"{self.session_id}/{unit}" for unit in self.unit_ids]

    @property
    def duration(self) -> float:
        """Recorded seconds."""
        return float(np.diff(union(self.domain)).sum())

    def series(self, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Timestamps (T,) and values (T, D) of the behaviour "series.field"; (T,) is D = 1."""
        name, _, key = target.partition(".")
        series = self.behavior.get(name, {})
        there = ", ".join(f"{name}.{key}" for name, s in self.behavior.items() for key in s)
        where = f"recording {self.session_id!r}"
        require(key in series, f"{where} has no {target!r} to decode; it has {there}")
        values = series[key]
        found = f"{where}: {target} is {values.dtype} {values.shape}, not numbers (T, D)"
        require(values.dtype.kind in "fiu" and values.ndim in (1, 2), found)
        return series["timestamps"], as_columns(values)

    def split(self, seed: int = 0) -> Self:
        """With new splits: of its "trials" at random, or in time where there are none."""
        if "trials" not in self.intervals:
            return replace(self, splits=split_in_time(self.domain))
        return replace(self, splits=split_trials(self.domain, self.intervals["trials"], seed))

    @classmethod
    def from_arrays(
        cls, spike_times: np.ndarray, spike_units: np.ndarray, times: np.ndarray,
        target: np.ndarray, *, session_id: str, name: str = "velocity", unit: str = "",
        subject: str = "unknown", domain: np.ndarray | None = None,
        trials: np.ndarray | None = None, seed: int = 0,
    ) -> Self:  # fmt: skip
        """A recording from spike times (S,), the unit of each spike (S,) and a target (T, D).
        `spike_units` may be any labels (integers, strings). `times` (T,) are the target's, `name`
        and `unit` say what it is: velocity in "cm/s", force in "N"; D >= 1, and (T,) is D = 1.
        With `trials` (n, 2) these are split 70/10/20 at random, without them the recording is
        split in time. Raises RecordingError on NaN or unsorted times and mismatched lengths."""
        where = f"recording {session_id!r}"
        for given, what in (spike_times, "spike times"), (times, "behaviour times"):
            check_digits(np.asarray(given), f"{where}: {what}")  # before they become float64
        spike_times = column(spike_times, f"{where}: spike times")
        times = column(times, f"{where}: behaviour times")
        labels: Any = np.ravel(spike_units)
        labels = np.char.decode(labels, "utf-8", "replace") if labels.dtype.kind == "S" else labels
        plain = labels.dtype.kind in "biufU" or {*map(type, labels)} in ({str}, {int})
        require(plain, f"{where}: spike units must be all numbers or all names: {labels.dtype}")
        if labels.dtype.kind == "f":
            bad = int((~(np.abs(labels) < 2**53)).sum())  # beyond, some whole numbers are missing
            require(bad == 0, f"{where}: the unit of {bad} spikes is NaN or huge; remove them")
            # numbers of MATLAB: a unit is called "3" in every format
            labels = labels.astype(np.int64) if (labels % 1 == 0).all() else labels
        labels, spike_units = np.unique(labels, return_inverse=True)
        target = as_columns(numbers(target, f"{where}: the target").astype(np.float64))
        shape = f"the target must be (T, D), one row per time; got {target.shape}"
        require(target.ndim == 2 and target.shape[1] > 0, f"{where}: {shape}")
        cure = f"the target cannot be called {name!r}; name it in letters, digits and _"
        require(name.isidentifier() and name != "timestamps", f"{where}: {cure}")
        check_times(times, f"{where}: behaviour times")
        require(len(times) > 0, f"{where} has no behaviour sample")
        cure = "were they kept in single precision? Keep them in double, or leave out those"
        again = len(times) > 1 and np.median(np.diff(times)) == 0
        require(not again, f"{where}: most behaviour times repeat the one before; {cure}")
        steps = np.diff(np.unique(spike_times))  # of a clock on which nothing can be decoded
        coarse = 10 * len(steps) < len(spike_times) and steps.min(initial=1.0) > 0.25
        found = f"only {len(steps) + 1} different times for {len(spike_times)} spikes"
        require(not coarse or len(spike_times) < 100, f"{where}: {found}; {cure}")
        domain = np.array([times[0], times[-1] + 1e-9]) if domain is None else domain
        domain, spans = check_spans(domain, f"{where}: the domain"), {}
        if trials is not None:
            spans["trials"] = check_spans(trials, f"{where}: trials")
            beyond = len(subtract(spans["trials"], dilate(domain, 1.5 * step_of(times))))
            require(beyond == 0, f"{where}: {beyond} trials reach beyond its domain; drop them")
        recording = cls(
            session_id=session_id, subject=subject, spike_times=spike_times,
            spike_units=spike_units.astype(np.int64), unit_ids=labels.astype(str),
            behavior={"behavior": {"timestamps": times, name: target}}, domain=domain,
            intervals=spans, target=f"behavior.{name}", unit=unit,
        )  # fmt: skip
        heard = f"spikes run from {spike_times[0]:g} to {spike_times[-1]:g} s, the"
        none = f"{where}: no spike lies in it: {heard} recording from"
        none = f"{none} {domain.min():g} to {domain.max():g} s; put both on one clock"
        require(contains(domain, spike_times).any(), none)
        # within the behaviour, not the domain: that may be a small part of it, on purpose
        inside = np.diff(np.searchsorted(spike_times, [times[0], times[-1] + 1e-9]))[0]
        few = f"only {inside} of {len(spike_times)} spikes lie in the span of the behaviour"
        both = f"{heard} behaviour from {times[0]:g} to {times[-1]:g} s"
        cure = "give both in seconds on one clock, without the spikes long before or after"
        require(10 * inside >= len(spike_times), f"{where}: {few}: {both}; {cure}")
        return recording.split(seed)

    @classmethod
    def from_binned(
        cls, counts: np.ndarray, bin_starts: np.ndarray, bin_width: float, target: np.ndarray, *,
        seed: int = 0, **rest,
    ) -> Self:  # fmt: skip
        """A recording from spike counts (T, U) in bins [bin_starts, bin_starts + bin_width).
        Each spike is placed in its bin uniformly at random, drawn from `seed`: timing finer than
        `bin_width` carries no information. `target` (T, D) is taken to hold at the bin centres;
        `rest` (session_id, name, unit, …) as for `from_arrays`."""
        counts = as_columns(numbers(counts, "counts"))
        bin_starts = column(bin_starts, "bin starts")
        n, shape = len(bin_starts), counts.shape
        wanted = f"counts must be (T, U) with T = {n} bins, got {shape}"
        cure = "transpose it if units come first"
        require(len(shape) == 2 and shape[0] == n, f"{wanted}; {cure}")
        whole = np.isfinite(counts).all() and (counts >= 0).all() and (counts % 1 == 0).all()
        require(whole, "counts must be whole numbers >= 0 (not rates, not NaN)")
        check_times(bin_starts, "bin starts")
        require((np.diff(bin_starts) > 0).all(), "some bin starts are there twice; remove one")
        require(n > 0 and bin_width > 0, f"counts need bins of a width, got {n} of {bin_width}")
        step = step_of(bin_starts) or bin_width
        found = f"bins of {bin_width:g} s that begin every {step:g} s"
        require(0.5 < bin_width / step < 1.1, f"{found}: give both in seconds")
        most, cure = counts.max(initial=0), "are these counts, and the bins in seconds?"
        found = f"{most:.3g} spikes of a unit in a bin of {bin_width:g} s"
        require(most <= 1 + FASTEST * bin_width, f"{found}; {cure}")
        row, unit = np.nonzero(counts)
        repeats = counts[row, unit].astype(int)
        row, unit = np.repeat(row, repeats), np.repeat(unit, repeats)
        spikes = bin_starts[row] + np.random.default_rng(seed).uniform(0, bin_width, len(row))
        order = np.argsort(spikes, kind="stable")
        spikes, unit, centres = spikes[order], unit[order], bin_starts + bin_width / 2
        rest.setdefault("domain", covered(bin_starts, bin_width, step))
        recording = cls.from_arrays(spikes, unit, centres, target, seed=seed, **rest)
        # a channel silent throughout is still a unit of the array: keep the column numbers
        return replace(recording, spike_units=unit, unit_ids=np.arange(shape[1]).astype(str))

    def save(self, path: Path | str) -> None:
        """Write the brainsets layout; the previous file stays if anything goes wrong."""
        with replacing(path) as scratch, h5py.File(scratch, "w") as file:
            file.attrs.update(object="Data", absolute_start=0.0)
            spikes = {"timestamps": self.spike_times, "unit_index": self.spike_units}
            layout.write_series(file, "spikes", spikes, self.domain)
            layout.write_table(file, "units", {"id": self.unit_ids, **self.units}, "ArrayDict")
            for name, series in self.behavior.items():
                layout.write_series(file, name, series, self.domain)
            spans = {"domain": self.domain, **self.intervals}
            spans |= {f"{split}_domain": pairs for split, pairs in self.splits.items()}
            for name, pairs in spans.items():
                parent, _, leaf = name.rpartition(".")
                if parent and parent not in file:
                    layout.write_interval(layout.write_data(file, parent), "domain", self.domain)
                layout.write_interval(file[parent] if parent else file, leaf, pairs)
            layout.write_data(file, "session", id=self.session_id)
            layout.write_data(file, "subject", id=self.subject)
            layout.write_data(file, "brainset", id=self.brainset)
            layout.write_data(file, "poyo", task=self.task, target=self.target, unit=self.unit)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Open a file in the brainsets layout.
        Contiguous arrays are memory-mapped: only the windows that are cut are read, so memory
        does not grow with the corpus; so replace such a file as `save` does, and never rewrite it
        in place while it is used. Raises RecordingError where the file is none."""
        path = Path(path)
        require(path.exists(), f"{path} does not exist")
        with naming(path), h5py.File(path, "r") as file:
            layout.check_inside(file)
            needed = "spikes/timestamps", "spikes/unit_index", "units/id", "domain/start"
            missing = ", ".join(name for name in needed if name not in file)
            what = f"{path} is not in the brainsets layout, it lacks {missing}"
            cure = "make it with `brainsets prepare` or Recording.from_arrays(...).save(path)"
            require(not missing, f"{what}; {cure}")
            with path.open("rb") as stream:  # one map for all its arrays, each costs a file handle
                pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            spans, behavior = {}, {}

            def visit(name: str, group: h5py.Group | h5py.Dataset) -> None:
                kind = group.attrs.get("object", "")
                if kind == "Interval" and not name.endswith("/domain"):
                    spans[name.replace("/", ".")] = layout.read_interval(group)
                elif kind.endswith("TimeSeries") and "/" not in name and name != "spikes":
                    behavior[name] = layout.read_series(group, pages)

            file.visititems(visit)
            require("domain" in spans, f"{path}: its 'domain' is no Interval of torch_brain")
            found = [split for split in ("train", "valid", "test") if f"{split}_domain" in spans]
            splits = {split: spans.pop(f"{split}_domain") for split in found}
            units = {name: layout.read_array(data, pages) for name, data in file["units"].items()}
            text = partial(layout.read_text, file)
            session_id = text("session", "id", path.stem)
            # files of brainsets have the task in the session's name, and only there
            task = next((task for task in TASKS if task in session_id), "")
            recording = cls(
                session_id=session_id, subject=text("subject", "id", "unknown"),
                brainset=text("brainset", "id", "own"), task=text("poyo", "task", task),
                spike_times=layout.read_array(file["spikes/timestamps"], pages),
                spike_units=layout.read_array(file["spikes/unit_index"], pages),
                unit_ids=units.pop("id"), units=units, behavior=behavior,
                domain=spans.pop("domain"), splits=splits, intervals=spans,
                target=text("poyo", "target"), unit=text("poyo", "unit"),
            )  # fmt: skip
        if hasattr(pages, "madvise"):
            _maps.add(pages)
            pages.madvise(mmap.MADV_DONTNEED)  # the checks have read all of it
        return recording
