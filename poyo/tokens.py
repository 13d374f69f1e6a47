"""A window of a recording becomes tokens, latents and queries; many windows become one batch.
Every spike is one token: its unit and its time (paper, section 2.1). Each unit also gets a START
and an END token, so that a silent unit is heard. Batches are cut from sorted arrays by binary
search, with no Python loop over spikes or units."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .data.intervals import contains
from .data.recording import Recording, RecordingError, release
from .data.sources import Readout
from .vocabulary import Vocabulary

SPIKE, START, END = 0, 1, 2  # rows of the token-type embedding
MARK = 512  # times in a page of a file, 4 kB
MAPPED = 2048  # windows, after which the pages of files that they were read from are let go
_cut = 0  # windows since


@dataclass(frozen=True, eq=False, kw_only=True)
class Session:
    """A recording with its readout and its rows in the vocabularies, ready to be cut."""

    recording: Recording
    readout: Readout
    row: int
    unit_rows: np.ndarray  # (U,)
    times: np.ndarray  # (T,) seconds of the behaviour samples
    target: np.ndarray  # (T, D) in the recording's unit
    weight_edges: np.ndarray  # (E,) where the loss weight changes, and the E + 1 weights between
    weight_values: np.ndarray
    delimiters: bool = True  # whether units get START and END tokens

    @property
    def id(self) -> str:
        return self.recording.session_id

    @cached_property
    def marks(self) -> tuple[np.ndarray, np.ndarray]:
        """Every MARK-th time of the spikes and of the samples, by which `find` reads one page."""
        return self.recording.spike_times[::MARK].copy(), self.times[::MARK].copy()

    def weights(self, times: np.ndarray) -> np.ndarray:
        """(T,) float32 loss weight at `times`: the product over the intervals they are in."""
        return self.weight_values[np.searchsorted(self.weight_edges, times, side="right")]

    def evaluated(self, times: np.ndarray) -> np.ndarray:
        """(T,) bool: which samples count for R²."""
        name = self.readout.evaluate
        spans = self.recording.intervals[name] if name else None
        return np.ones(len(times), dtype=bool) if spans is None else contains(spans, times)

    def check_learnable(self, domain: np.ndarray) -> None:
        """Raise RecordingError unless some sample in `domain` (n, 2) counts in the loss."""
        for lo, hi in np.searchsorted(self.times, domain):
            counts = self.weights(np.asarray(self.times[lo:hi])) > 0
            if (np.isfinite(self.target[lo:hi]).all(1) & counts).any():
                return
        what = "no sample in its train split counts in the loss: all are NaN or weigh nothing"
        cure = f"look at {self.readout.target} and at the intervals that weigh"
        weighing = ", ".join(self.readout.weights) or "none"
        raise RecordingError(f"session {self.id!r}: {what}; {cure}, {weighing}")


def prepare(
    recording: Recording, readout: Readout, units: Vocabulary, sessions: Vocabulary
) -> Session:
    """Give a recording its rows and its target. Unknown names and missing targets raise."""
    session = f"session {recording.session_id!r}"
    if readout.evaluate is not None and readout.evaluate not in recording.intervals:
        what = f"no interval {readout.evaluate!r} to evaluate on"
        raise RecordingError(f"{session} has {what}; it has {sorted(recording.intervals)}")
    times, target = recording.series(readout.target)
    blocks = (target[i : i + 100_000] for i in range(0, len(target), 100_000))
    if bad := sum(int((~np.isfinite(block)).any(1).sum()) for block in blocks):
        what = f"{bad} of {len(target)} samples of {readout.target} are NaN"
        cost = "they count neither in the loss nor in R²"
        warnings.warn(f"{session}: {what}; {cost}", stacklevel=2)
    edges, values = _weights(recording, readout)
    row, unit_rows = sessions.rows([recording.session_id])[0], units.rows(recording.unit_names)
    made = Session(
        recording=recording, readout=readout, row=int(row), unit_rows=unit_rows, times=times,
        target=target, weight_edges=edges, weight_values=values,
    )  # fmt: skip
    made.marks  # noqa: B018  reads all pages of the times, once
    release()
    return made


def _weights(recording: Recording, readout: Readout) -> tuple[np.ndarray, np.ndarray]:
    used = {name: w for name, w in readout.weights.items() if name in recording.intervals}
    edges = np.unique(np.concatenate([[0.0], *(recording.intervals[n].ravel() for n in used)]))
    inside = np.concatenate([[edges[0] - 1], (edges[:-1] + edges[1:]) / 2, [edges[-1] + 1]])
    values = np.ones(len(inside), dtype=np.float32)
    for name, weight in used.items():
        values[contains(recording.intervals[name], inside)] *= weight
    return edges, values


def tokenize(sessions, which, starts, length, keep=None, queries=None) -> dict[str, Tensor]:
    """Cut and tokenise B windows [start, start + length) of sessions[which] into one batch.
    sessions: a list of Session; which: (B,) ints; starts: (B,) and length: floats, seconds. keep:
    for each window a (U,) bool of the units that survive unit dropout; queries: an int, a window
    with more behaviour samples is thinned evenly to at most as many. None keeps all, for both.
    Returns, padded to the longest window (N a multiple of 8), all but `index` ready for the model
    and the loss: input_unit_index, input_token_type (B, N) int64, input_timestamps (B, N) float32
    seconds from the window's start, input_mask (B, N) bool, session_index (B,), output_timestamps
    (B, Q), output_mask (B, Q) False for padding and for NaN samples, target (B, Q, D) over the
    readout's scale, weight (B, Q) 0 where masked, index (B, Q) the sample's row in its session."""
    global _cut
    inputs, outputs = [], []
    for i, (s, start) in enumerate(zip(which, starts)):
        session = sessions[s]
        inputs.append(_tokens(session, start, length, None if keep is None else keep[i]))
        lo, hi = find(session.times, session.marks[1], start, start + length)
        rows = slice(lo, hi, max(1, -(-(hi - lo) // queries)) if queries else 1)
        times = np.asarray(session.times[rows])
        target = session.readout.normalize(np.asarray(session.target[rows], dtype=np.float64))
        finite = np.isfinite(target).all(1)
        row = {"output_timestamps": (times - start).astype(np.float32), "output_mask": finite}
        row["target"] = np.where(finite[:, None], target, 0.0).astype(np.float32)
        row["weight"] = session.weights(times) * finite
        outputs.append(row | {"index": np.arange(lo, hi, rows.step)})
    batch = _pad(inputs, multiple=8) | _pad(outputs)
    batch["session_index"] = torch.tensor([sessions[s].row for s in which])
    _cut += len(inputs)  # threads may miscount, which does no harm
    if _cut >= MAPPED:
        _cut = 0
        release()
    return batch


def find(times: np.ndarray, marks: np.ndarray, *edges: float) -> list[int]:
    """`times.searchsorted(edges)`, where marks = times[::MARK] are at hand: a binary search in a
    mapped file reads a page at every turn.

    >>> times = np.arange(0.0, 2000.0)
    >>> find(times, times[::MARK], 3.5, 1999.0)
    [4, 1999]
    """
    first = [MARK * max(0, int(k) - 1) for k in marks.searchsorted(edges)]
    return [i + int(times[i : i + MARK].searchsorted(t)) for i, t in zip(first, edges)]


def _tokens(session: Session, start: float, length: float, keep: np.ndarray | None) -> dict:
    recording, rows = session.recording, session.unit_rows
    lo, hi = find(recording.spike_times, session.marks[0], start, start + length)
    unit = np.asarray(recording.spike_units[lo:hi])
    time = np.asarray(recording.spike_times[lo:hi]) - start
    if keep is not None and not keep.all():
        heard = keep[unit]
        unit, time, rows = unit[heard], time[heard], rows[keep]
    spikes = session.unit_rows[unit]
    if not session.delimiters:
        rows = rows[:0]
        if len(spikes) == 0:  # attention needs something to read: a spike of row 0, no unit
            spikes, time = np.zeros(1, dtype=rows.dtype), np.zeros(1)
    n, u = len(spikes), len(rows)
    times = [np.zeros(u), np.full(u, length), time]
    return {
        "input_unit_index": np.concatenate([rows, rows, spikes]),
        "input_timestamps": np.concatenate(times, dtype=np.float32),
        "input_token_type": np.repeat([START, END, SPIKE], [u, u, n]),
        "input_mask": np.ones(2 * u + n, dtype=bool),
    }


def _pad(rows: list[dict[str, np.ndarray]], multiple: int = 1) -> dict[str, Tensor]:
    """Stack arrays of differing lengths, filled up with zeros to the longest."""
    lengths = [len(next(iter(row.values()))) for row in rows]
    longest = max(1, -(-max(lengths) // multiple)) * multiple
    out = {}
    for key, first in rows[0].items():
        block = np.zeros((len(rows), longest, *first.shape[1:]), dtype=first.dtype)
        for i, row in enumerate(rows):
            block[i, : lengths[i]] = row[key]
        out[key] = torch.from_numpy(block)
    return out
