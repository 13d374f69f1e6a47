"""What a file holds before anything of it is chosen, and the recording of what is chosen.
Every reader fills in a `Contents`; which series is decoded, gaps of the clock, trials and splits
are settled here, once. Not for: any one format (`arrays`, `matlab`, `nwb`, `phy`)."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .intervals import covered, step_of, subtract
from .recording import Recording, RecordingError, as_columns, check_spans, numbers, require

DEFAULTS = "velocity", "target"  # what is decoded where nothing is said
HUGE = 1e30  # so far single precision can be squared, nearly
GAP = 1.0  # s: beside spikes, shorter gaps of the behaviour are only samples that are missing


class Series(NamedTuple):
    """Something that could be decoded. load: -> times (T,) s and values (T,) or (T, D), read only
    when it is called where the format allows it. columns: what the D are called."""

    shape: tuple[int, ...]
    load: Callable[..., tuple[np.ndarray, np.ndarray]]
    unit: str = ""
    columns: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Contents:
    """series: by name, which may be a path. spikes: times (S,) s, sorted, and the row of each in
    unit_ids, or without these any label; or bins: counts (T, U), their starts (T,) and width, s.
    trials: (n, 2) s, those to be split. heard: (n, 2) s, when spikes were recorded; without it,
    wherever there are bins or samples of the target."""

    path: Path
    series: dict[str, Series]
    spikes: tuple[np.ndarray, np.ndarray] | None = None
    bins: tuple[np.ndarray, np.ndarray, float] | None = None
    unit_ids: list[str] | None = None
    trials: np.ndarray | None = None
    heard: np.ndarray | None = None
    session_id: str = ""
    subject: str = ""

    def recording(self, target: str, unit: str, seed: int) -> Recording:
        """The recording in which `target` is decoded; `unit` overrules that of the file."""
        name = which(self.series, target, self.path)
        chosen, session_id = self.series[name], self.session_id or self.path.stem
        times, values = chosen.load()
        require(len(times) > 0, f"{self.path}: {name} has no sample")
        times, values = np.asarray(times, np.float64), varying(values, f"{self.path}: {name}")
        step = step_of(times)
        ids: Sequence[str] | np.ndarray | None = self.unit_ids
        if self.bins is not None:
            # only its spikes are taken: the target has a clock of its own
            still = np.zeros(len(self.bins[1]))
            one = Recording.from_binned(*self.bins, still, session_id=session_id, seed=seed)
            spikes, rows, domain = one.spike_times, one.spike_units, one.domain
            ids = one.unit_ids if ids is None else ids
        elif self.spikes is not None:
            (spikes, rows), domain = self.spikes, covered(times, 1e-9, max(step, GAP))
        if self.heard is not None:
            domain = subtract(domain, subtract(domain, self.heard))
        trials = self.trials
        if trials is not None:
            trials = check_spans(trials, f"{self.path}: trials")
            trials = _inside(trials, domain, 1.5 * step, self.path)
        recording = Recording.from_arrays(
            spikes, rows, times, values, session_id=session_id,
            name=re.sub(r"\W", "_", name.rpartition("/")[2]), unit=unit or chosen.unit,
            subject=self.subject or subject_of(self.path),
            domain=domain, trials=trials, seed=seed,
        )  # fmt: skip
        if ids is None:
            return recording
        # from_arrays knows only units that fire; one that is silent today is a unit all the same
        ids = np.array(unique(ids), dtype=str)
        return replace(recording, spike_units=np.asarray(rows, np.int64), unit_ids=ids)


def which(series: dict[str, Series], target: str, where: object) -> str:
    """The full name of the target: its own, or the only one that ends in "/target"."""
    target = target or next((name for name in DEFAULTS if name in series), "")
    found = [name for name in series if target and f"/{name}".endswith(f"/{target}")]
    if target in series or len(found) == 1:
        return target if target in series else found[0]
    asked = f"{target!r} is {'there more than once' if found else 'not there'}; " if target else ""
    there = []
    for name, one in sorted(series.items()):
        columns = ": " + ", ".join(map(str.strip, one.columns)) if len(one.columns) else ""
        there.append(f"{name} {one.shape}{' in ' * bool(one.unit)}{one.unit}{columns}")
    require(len(there) > 0, f"{where}: {asked}there is nothing in it that could be decoded")
    holds = "; ".join(there)
    raise RecordingError(f"{where}: {asked}which is to be decoded? Say target=... of {holds}")


def varying(values: np.ndarray, what: str) -> np.ndarray:
    """(T, D) of (T,) or (T, D'): those columns in which something can be decoded."""
    values = as_columns(numbers(values, what))
    require(values.ndim == 2, f"{what} must be (T, D), found {values.shape}")
    huge = int((~(np.abs(values) < HUGE) & ~np.isnan(values)).sum())
    cure = "make them NaN if they are missing"
    require(huge == 0, f"{what} holds {huge} values that are infinite or beyond {HUGE:g}; {cure}")
    varies = np.array([len(np.unique(column[np.isfinite(column)])) > 1 for column in values.T])
    require(varies.any(), f"{what} does not vary, nothing can be learned from it")
    if constant := ", ".join(map(str, np.flatnonzero(~varies))):
        left_out = f"{what}: column {constant} (counted from 0) does not vary and is left out"
        warnings.warn(left_out, stacklevel=3)
    return values if varies.all() else values[:, varies]


def in_order(times: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spikes (S,) of all units in the order of their times."""
    order = np.argsort(times, kind="stable")
    return times[order], rows[order]


def good_trials(start: np.ndarray, end: np.ndarray, good: np.ndarray) -> np.ndarray | None:
    """(n, 2) of those that are good and have both times; None where there are none."""
    pairs = np.stack([np.ravel(start), np.ravel(end)], -1).astype(np.float64)
    pairs = pairs[good & (np.diff(pairs)[:, 0] > 0)]  # NaN is not above 0
    return pairs if len(pairs) else None


def by_channel(channels: Iterable) -> list[str]:
    """Names that recur from day to day, "elec12/unit1": the first, second, … on its channel.
    The numbers that a sorter gives its clusters mean nothing on another day."""
    channels = list(map(str, channels))
    return [f"{one}/unit{channels[: i + 1].count(one)}" for i, one in enumerate(channels)]


def unique(names: Iterable) -> list[str]:
    """The names, the second of a kind as "name#2"."""
    names = [str(name).strip() for name in names]
    before = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name}#{n + 1}" if n else name for name, n in zip(names, before)]


def subject_of(path: Path) -> str:
    """The letters that its name begins with: "jango_20131209.npz" is of jango."""
    letters = re.match(r"[^\W\d_]+", path.stem)
    return letters[0] if letters else "unknown"


def _inside(trials: np.ndarray, domain: np.ndarray, slack: float, where: object) -> np.ndarray:
    """Those trials that lie within one interval of the domain, to `slack` s."""
    row = np.searchsorted(domain[:, 0], trials[:, 0] + slack, side="right") - 1
    fits = (row >= 0) & (trials[:, 1] <= domain[row, 1] + slack)
    ran = f"the recording ran from {domain.min():g} to {domain.max():g} s"
    among = f"{where}: {(~fits).sum()} of {len(fits)} trials lie outside of it or across a gap"
    require(fits.any() or not len(trials), f"{among}; {ran}. Give both in seconds of one clock")
    if not fits.all():
        warnings.warn(f"{among} and are left out; {ran}", stacklevel=4)
    return trials[fits]
