"""Is what is held out also in what is trained on? Judged by the spikes, not by names.
A copy, a cut-out or a shared stretch is found under another name, with other units left or in
another order, on another clock: the noise of a population repeats itself only where the spikes
are the same. Not for: days that merely resemble each other, a clock that runs faster, or the
splits within a recording (`recording`)."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

from .intervals import union
from .linear import BIN, counts_of
from .recording import Recording, require

BLOCK, BLOCKS = 1200, 40  # bins (60 s); so many of them, spread evenly, are looked for
LONGEST = 2_000_000  # bins, a day
ALIKE = 0.2  # correlation of two populations' noise from which the units are compared, too
TWIN = 0.5  # correlation of a unit with itself in a copy; two units by chance stay below 0.35


def leaks(pretrain: list[Recording], held_out: list[Recording]) -> list[str]:
    """A sentence for every two recordings that share spikes, with their session ids: one trained
    on and one held out first, then two of one list. It takes some 20 ms for every pair."""
    return [line for _, line in _findings(pretrain, held_out)]


def check(
    pretrain: list[Recording], held_out: list[Recording], accept: Iterable[str] | str = ()
) -> None:
    """Raise RecordingError with every leak, but those of pairs that are accepted: "a=b", two
    session ids in any order, or "all"."""
    known = {accept} if isinstance(accept, str) else set(accept)
    every = [] if "all" in known else _findings(pretrain, held_out)
    found = [(f"{a}={b}", line) for (a, b), line in every if not known & {f"{a}={b}", f"{b}={a}"}]
    cure = "Leave one of each two out, or say that it is meant to be"
    told = "\n".join(["recordings share spikes:", *(line for _, line in found), cure])
    require(not found, f"{told}: accept={[pair for pair, _ in found]}")


def _findings(pretrain: list, held_out: list) -> Iterator[tuple[tuple[str, str], str]]:
    every = [(one, "trained on") for one in pretrain] + [(one, "held out") for one in held_out]
    noise = [[_noise(one, shift) for shift in (0.0, BIN / 2)] for one, _ in every]
    pairs = combinations(range(len(every)), 2)
    for i, j in sorted(pairs, key=lambda pair: every[pair[0]][1] == every[pair[1]][1]):
        (a, role), (b, other) = every[i], every[j]
        who = f"{a.session_id!r} ({role}) and {b.session_id!r} ({other})"
        short, long = (i, j) if len(noise[i][0]) <= len(noise[j][0]) else (j, i)
        shared = _shared(every[short][0], every[long][0], noise[short][0], noise[long])
        if shared:
            seconds, units, late = shared
            what = f"{who} share spikes: {units} units, in {seconds:.0f} s or more"
            what += f", with clocks {late:.2f} s apart" if late > BIN else ""
            same = a.subject == b.subject or "unknown" in (a.subject, b.subject)
            names = "" if same else f"; is {a.subject!r} the same animal as {b.subject!r}?"
            yield (a.session_id, b.session_id), what + names
        elif a.session_id == b.session_id:
            yield (a.session_id,) * 2, f"{who} have the same name but not the same spikes"


def _noise(recording: Recording, shift: float) -> np.ndarray:
    """(T,) float32: what the population does from bin to bin, without what lasts longer than half
    a second (behaviour repeats itself) and without bursts (artefacts look the same every day)."""
    start, end = recording.domain.min() + shift, recording.domain.max()
    steps = int(np.clip((end - start) / BIN, 1, LONGEST))
    first, last = np.searchsorted(recording.spike_times, [start, start + steps * BIN])
    row = ((recording.spike_times[first:last] - start) / BIN).astype(np.int64)
    counts = np.bincount(row, minlength=steps)[:steps]
    counts = np.sqrt(np.where(_burst(counts), np.median(counts), counts))
    return (counts - uniform_filter1d(counts, 9)).astype(np.float32)


def _burst(counts: np.ndarray) -> np.ndarray:
    return counts > 3 * np.median(counts) + 10


def _shared(
    a: Recording, b: Recording, x: np.ndarray, ys: list[np.ndarray]
) -> tuple[float, int, float] | None:
    """Seconds and number of units that `a` shares with `b`, and the s between their clocks, or
    None. Blocks of a's noise x (T,) are looked for in b's, in bins that begin at 0 and at half."""
    size = min(BLOCK, len(x))
    starts = np.linspace(0, len(x) - size, min(BLOCKS, -(-len(x) // size))).astype(int)
    blocks = x[starts[:, None] + np.arange(size)]
    blocks = blocks - blocks.mean(1, keepdims=True)
    blocks /= np.maximum(np.linalg.norm(blocks, axis=1, keepdims=True), 1e-9)
    best, at = np.zeros(len(starts)), np.zeros(len(starts))
    for half, y in enumerate(ys):
        if len(y) >= size:
            n = next_fast_len(len(y) + size, real=True)
            found = irfft(rfft(y, n) * np.conj(rfft(blocks, n)), n)[:, : len(y) - size + 1]
            power = np.cumsum(np.append(0.0, y.astype(np.float64) ** 2))
            found /= np.sqrt(np.maximum(power[size:] - power[:-size], 1e-9))
            at = np.where(found.max(1) > best, found.argmax(1) + half / 2, at)
            best = np.maximum(best, found.max(1))
    for i in np.argsort(-best)[:3]:
        begin = a.domain.min() + BIN * starts[i], b.domain.min() + BIN * at[i]
        units, fine = _twins(a, b, *begin, size) if best[i] > ALIKE else (0, 0.0)
        if units:
            same = starts[(best > ALIKE) & (np.abs(at - starts - at[i] + starts[i]) <= 1)]
            seconds = BIN * np.diff(union(np.stack([same, same + size], -1))).sum()
            return seconds, units, abs(begin[1] + fine - begin[0])
    return None


def _twins(
    a: Recording, b: Recording, start_a: float, start_b: float, size: int
) -> tuple[int, float]:
    """How many units of `a` have a twin in `b`, `size` bins from these times on, 0 where it is few
    of them; and by how many s more than said `b` is late."""
    edges, best = BIN * np.arange(size + 1), (0, 0.0, 0.0)
    x = counts_of(a, start_a + edges)
    for fine in BIN * np.linspace(-0.5, 0.5, 11):
        y = counts_of(b, start_b + fine + edges)
        calm = ~(_burst(x.sum(1)) | _burst(y.sum(1)))
        alike = _standard(x[calm]).T @ _standard(y[calm])  # (U, V)
        if alike.size:
            mutual = alike.argmax(0)[alike.argmax(1)] == np.arange(len(alike))
            twins = int((mutual & (alike.max(1) > TWIN)).sum())
            few = twins < max(1, 0.3 * min(alike.shape))
            best = max(best, (0 if few else twins, float(alike.max(1).sum()), float(fine)))
    return best[0], best[2]


def _standard(counts: np.ndarray) -> np.ndarray:
    """(T, U') of those units that fire 20 times or more, centred and of norm one."""
    counts = counts[:, counts.sum(0) >= 20]
    counts = counts - counts.mean(0)
    return counts / np.maximum(np.linalg.norm(counts, axis=0), 1e-9)
