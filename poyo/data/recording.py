"""One recording session: spikes, units, behaviour, intervals and splits, in memory or on disk.

On disk it is the brainsets layout (HDF5 as `torch_brain.data` writes it), so a file made by
`brainsets prepare` loads here and a file saved here opens there. Not for: other formats
(`readers`), how a session is read out (`sources`), or how it becomes tokens (`poyo.tokens`).
"""

import mmap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import h5py
import numpy as np

from .. import replacing
from . import layout
from .intervals import dilate, intervals, subtract, union

TASKS = "center_out_reaching", "random_target_reaching", "maze"
"""Of the paper's public recordings and the simulated ones; one's own may have any name."""


class RecordingError(ValueError):
    """The data is not a usable recording; the message names what is wrong and the cure."""


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


# --- splits ---------------------------------------------------------------------------------


def split_around(
    domain: np.ndarray, valid: np.ndarray, test: np.ndarray, margin: float = 1.0
) -> dict[str, np.ndarray]:
    """Hold out `valid` and `test`, each (n, 2): train is the rest of `domain` (n, 2).

    Train stays `margin` seconds away from both, so that no window of it sees held-out behaviour.
    """
    held = dilate(np.concatenate([valid, test]), margin)
    train = subtract(domain, held)
    return {"train": train, "valid": intervals(valid), "test": intervals(test)}


def split_trials(domain: np.ndarray, trials: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Split valid trials at random 70/10/20 into train/valid/test domains (paper, data splits).

    Train has also what is no valid trial: failed ones, and the time between trials.
    """
    n = len(trials)
    if n < 5:
        raise RecordingError(f"{n} valid trials cannot be split 70/10/20: at least 5 are needed")
    order = np.random.default_rng(seed).permutation(n)
    n_test, n_valid = max(1, round(0.2 * n)), max(1, round(0.1 * n))
    valid, test = trials[order[n_test : n_test + n_valid]], trials[order[:n_test]]
    return split_around(domain, valid, test)


def split_in_time(domain: np.ndarray) -> dict[str, np.ndarray]:
    """Chronological split: the last 20 % of the time is test, the 10 % before it validation.

    The second before the test part belongs to no split, nor does the one before validation.
    """
    t0, t1 = domain.min(), domain.max()
    begin, end = t0 + (t1 - t0) * np.array([0.7, 0.8])
    valid = subtract(domain, np.array([[t0, begin], [end - 1.0, t1]]))
    return split_around(domain, valid, subtract(domain, np.array([[t0, end]])))


# --- the recording --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A session of one subject.

    spike_times: (S,) float64 seconds, sorted. spike_units: (S,) int, row of each spike's unit.
    unit_ids: (U,) names, unique in the session. units: further (U,) or (U, n) facts by name.
    behavior: series name -> {"timestamps": (T,), "vel": (T, 2), ...}, e.g. behavior["cursor"].
    domain: (n, 2) when the recording ran. splits: "train", "valid", "test" -> (n, 2).
    intervals: dotted name -> (n, 2), e.g. "movement_phases.reach_period", "trials".
    task: one of TASKS, or any name. target: what is decoded, "series.field", and its unit; empty
    where the brainset says it (`sources.READOUTS`).
    """

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
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    intervals: dict[str, np.ndarray] = field(default_factory=dict)
    target: str = ""
    unit: str = ""

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
                        f"{len(series['timestamps'])} timestamps; give one row for each "
                        "(transpose it if time comes last)"
                    )
        if len(union(self.domain)) == 0:
            raise RecordingError(f"{where}: its domain is empty; give [start, end) in seconds")
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
        if key not in series:
            raise RecordingError(
                f"recording {self.session_id!r} has no {target!r} to decode; it has "
                + ", ".join(f"{n}.{k}" for n, s in self.behavior.items() for k in s)
            )
        values = series[key]
        return series["timestamps"], values[:, None] if values.ndim == 1 else values

    # --- from one's own data ---

    @classmethod
    def from_arrays(
        cls,
        spike_times: np.ndarray,
        spike_units: np.ndarray,
        times: np.ndarray,
        target: np.ndarray,
        *,
        session_id: str,
        name: str = "velocity",
        unit: str = "",
        subject: str = "unknown",
        domain: np.ndarray | None = None,
        trials: np.ndarray | None = None,
        seed: int = 0,
    ) -> Self:
        """A recording from spike times (S,), the unit of each spike (S,) and a target (T, D).

        `spike_units` may be any labels (integers, strings). `times` (T,) are the target's, `name`
        and `unit` say what it is: velocity in "cm/s", force in "N"; D >= 1, and (T,) is D = 1.
        With `trials` (n, 2) these are split 70/10/20 at random, without them the recording is
        split in time. Raises RecordingError on NaN or unsorted times and mismatched lengths.
        """
        where = f"recording {session_id!r}"
        spike_times = np.asarray(spike_times, dtype=np.float64)
        times = np.asarray(times, dtype=np.float64)
        labels, spike_units = np.unique(np.asarray(spike_units), return_inverse=True)
        target = np.asarray(target, dtype=np.float64)
        target = target[:, None] if target.ndim == 1 else target
        if target.ndim != 2 or target.shape[1] == 0:
            raise RecordingError(
                f"{where}: the target must be (T, D), one row per time; got {target.shape}"
            )
        if not name.isidentifier() or name == "timestamps":
            raise RecordingError(
                f"{where}: the target cannot be called {name!r}; name it in letters, digits and _"
            )
        if domain is None:
            check_times(times, f"{where}: behaviour times")
            if len(times) == 0:
                raise RecordingError(f"{where} has no behaviour sample")
            domain = intervals(times[0], times[-1] + 1e-9)
        domain = intervals(domain)
        if trials is not None:
            trials = np.asarray(trials, dtype=np.float64)
            if trials.shape[1:] != (2,) or not (np.diff(trials) > 0).all():  # nor with a NaN
                raise RecordingError(f"{where}: trials must be (n, 2) rows of start < end, in s")
            trials = intervals(trials)
        recording = cls(
            session_id=session_id,
            subject=subject,
            spike_times=spike_times,
            spike_units=spike_units.astype(np.int64),
            unit_ids=labels.astype(str),
            behavior={"behavior": {"timestamps": times, name: target}},
            domain=domain,
            intervals={} if trials is None else {"trials": trials},
            target=f"behavior.{name}",
            unit=unit,
        )
        splits = split_in_time(domain) if trials is None else split_trials(domain, trials, seed)
        return replace(recording, splits=splits)

    @classmethod
    def from_binned(
        cls,
        counts: np.ndarray,
        bin_starts: np.ndarray,
        bin_width: float,
        target: np.ndarray,
        *,
        seed: int = 0,
        **rest,
    ) -> Self:
        """A recording from spike counts (T, U) in bins [bin_starts, bin_starts + bin_width).

        Where in its bin a spike fell is not in the data: each is placed uniformly at random,
        drawn from `seed`, so timing finer than `bin_width` carries no information. `target`
        (T, D) is taken to hold at the bin centres. `rest` (session_id, name, unit, …) as for
        `from_arrays`.
        """
        counts, bin_starts = np.asarray(counts), np.asarray(bin_starts, dtype=np.float64)
        if counts.ndim != 2 or len(counts) != len(bin_starts):
            raise RecordingError(
                f"counts must be (T, U) with T = {len(bin_starts)} bins, got {counts.shape}; "
                "transpose it if units come first"
            )
        if not np.isfinite(counts).all() or (counts < 0).any() or (counts % 1 != 0).any():
            raise RecordingError("counts must be whole numbers >= 0 (not rates, not NaN)")
        if len(counts) == 0 or not bin_width > 0:
            raise RecordingError(f"counts need bins of a width, got {len(counts)} of {bin_width}")
        row, unit = np.nonzero(counts)
        repeats = counts[row, unit].astype(int)
        row, unit = np.repeat(row, repeats), np.repeat(unit, repeats)
        jitter = np.random.default_rng(seed).uniform(0, bin_width, len(row))
        spike_times = bin_starts[row] + jitter
        order = np.argsort(spike_times, kind="stable")
        rest.setdefault("domain", intervals(bin_starts[0], bin_starts[-1] + bin_width))
        centres = bin_starts + bin_width / 2
        recording = cls.from_arrays(
            spike_times[order], unit[order], centres, target, seed=seed, **rest
        )
        # a channel silent throughout is still a unit of the array: keep the column numbers
        channels = np.arange(counts.shape[1]).astype(str)
        return replace(recording, spike_units=unit[order], unit_ids=channels)

    # --- on disk ---

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
            ids = {"session": self.session_id, "subject": self.subject, "brainset": self.brainset}
            for name, value in ids.items():
                layout.write_data(file, name, id=value)
            layout.write_data(file, "poyo", task=self.task, target=self.target, unit=self.unit)

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
            needed = "spikes/timestamps", "spikes/unit_index", "units/id", "domain/start"
            missing = [name for name in needed if name not in file]
            if missing:
                raise RecordingError(
                    f"{path} is not in the brainsets layout, it lacks {', '.join(missing)}; "
                    "make it with `brainsets prepare` or Recording.from_arrays(...).save(path)"
                )
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
            if "domain" not in spans:
                raise RecordingError(f"{path}: its 'domain' is not an Interval of torch_brain")
            ends = {split: f"{split}_domain" for split in ("train", "valid", "test")}
            splits = {split: spans.pop(name) for split, name in ends.items() if name in spans}
            units = {name: layout.read_array(data, pages) for name, data in file["units"].items()}
            session_id = layout.read_text(file, "session", "id", path.stem)
            # files of brainsets have the task in the session's name, and only there
            task = next((task for task in TASKS if task in session_id), "")
            recording = cls(
                session_id=session_id,
                subject=layout.read_text(file, "subject", "id", "unknown"),
                brainset=layout.read_text(file, "brainset", "id", "own"),
                task=layout.read_text(file, "poyo", "task", task),
                spike_times=layout.read_array(file["spikes/timestamps"], pages),
                spike_units=layout.read_array(file["spikes/unit_index"], pages),
                unit_ids=units.pop("id"),
                units=units,
                behavior=behavior,
                domain=spans.pop("domain"),
                splits=splits,
                intervals=spans,
                target=layout.read_text(file, "poyo", "target"),
                unit=layout.read_text(file, "poyo", "unit"),
            )
        if hasattr(pages, "madvise"):  # the checks have read all of it, which counts as memory
            pages.madvise(mmap.MADV_DONTNEED)
        return recording
