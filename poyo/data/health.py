"""Is a recording of one's own what it seems? What is suspicious in it, with the cure.
Seconds of reading before hours of training: clocks, units, target, trials, and whether a linear
filter finds the target in the spikes. Not for: what cannot be a recording at all (`recording`
raises), nor several of them (`leaks`, `folder`)."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from .intervals import contains, subtract, union
from .linear import BIN, ROWS, Fit, counts_of, linear_fit
from .recording import Recording
from .sources import row_of

DECODABLE = 0.05  # valid R² below which a linear filter finds nothing
ENOUGH, DAY = 20.0, 86_400.0  # s, of validation to judge by; and a day


def trouble(recording: Recording, fit: Fit | None = None) -> list[str]:
    """What is suspicious in a recording: a sentence each, with what, where and the cure.
    Its target must be set. fit: its `linear_fit`, where that is there already."""
    times, values = recording.series(recording.target)
    if len(times) < 2:
        return [f"{recording.target} has one sample; is it the right series?"]
    step = np.diff(times) <= 5 * np.median(np.diff(times))  # not over a gap
    columns = [
        f"column {i} of {recording.target} {line}"
        for i, column in enumerate(values.T.astype(np.float64))
        for line in _column(column[np.isfinite(column)], np.abs(np.diff(column))[step])
    ]
    clocks, units, rest = _clocks(recording, times), _units(recording), _rest(recording)
    return [*clocks, *units, *rest, *columns, *_linear(recording, fit or linear_fit(recording))]


def no_seconds(recording: Recording) -> str:
    """Why the times of a recording cannot be seconds, with the cure; "" where they may be."""
    times, _ = recording.series(recording.target)
    step, n, seconds = np.median(np.diff(times)), len(recording.unit_ids), recording.duration
    inside = int(contains(union(recording.domain), recording.spike_times).sum())
    strange = {
        f"the session lasts {seconds / DAY:.3g} days": seconds > DAY,
        f"the target has {1 / max(step, 1e-9):.3g} samples a second": not 2e-5 <= step <= 1.0,
        f"a unit fires at {inside / seconds / n:.2g} Hz": inside < 0.05 * seconds * n,
    }
    facts = ", ".join(fact for fact, so in strange.items() if so)
    cure = "divide milliseconds by 1000, samples by the sampling rate"
    return facts and f"the times do not look like seconds: {facts}; {cure}"


def _clocks(recording: Recording, times: np.ndarray) -> Iterator[str]:
    step, domain = np.median(np.diff(times)), union(recording.domain)
    n, seconds, spikes = len(recording.unit_ids), recording.duration, recording.spike_times
    start, end = domain[0, 0], domain[-1, 1]
    inside = int(contains(domain, spikes).sum())
    if strange := no_seconds(recording):
        yield strange
    low, high = (spikes[0], spikes[-1]) if len(spikes) else (start, start)
    covered = max(0.0, min(high, end) - max(low, start)) / (end - start)
    if covered < 0.9 or inside < 0.1 * len(spikes):
        spans = f"spikes run from {low:.6g} to {high:.6g} s, the target {start:.6g} to {end:.6g} s"
        yield f"{spans}; put both on one clock, or give what they share as domain"
    gap = np.flatnonzero(np.diff(times) > max(5 * step, 1e-9))
    gap = gap[contains(domain, (times[gap] + times[gap + 1]) / 2)]
    if len(gap):
        worst = gap[np.argmax(times[gap + 1] - times[gap])]
        longest = f"the longest of {times[worst + 1] - times[worst]:.3g} s at {times[worst]:.6g} s"
        yield f"{len(gap)} gaps in the target's times, {longest}; leave them out of the domain"
    if seconds < 60:
        yield f"only {seconds:.0f} s are recorded: a minute is little, twenty are good; add more"
    if n > len(times):
        cure = "transpose counts that have units first"
        yield f"there are more units ({n}) than samples of the target ({len(times)}); {cure}"


def _units(recording: Recording) -> Iterator[str]:
    domain, ids, n = union(recording.domain), recording.unit_ids, len(recording.unit_ids)
    edges = np.linspace(domain[0, 0], domain[-1, 1], 11)  # ten parts
    seconds = np.diff(np.clip(domain[:, :, None], edges[:-1], edges[1:]), axis=1).sum((0, 1))
    there = seconds > seconds.max() / 4  # in the rest the domain has holes
    rates = counts_of(recording, edges)[there] / seconds[there, None]  # (parts, U) Hz
    mean, total, starts = rates.mean(0), rates.sum(1), edges[:-1][there]

    def those(which: np.ndarray) -> str:
        some = ", ".join(map(str, ids[which][:5])) + (", …" if which.sum() > 5 else "")
        return f"{which.sum()} of {n} units ({some})"

    if n < 5:
        yield f"only {n} units, too few to decode much; are all channels in the file?"
    if (mean == 0).any():
        yield f"{those(mean == 0)} fire no spike; leave them out, or look for their channels"
    if (mean > 300).any():
        yield f"{those(mean > 300)} fire at more than 300 Hz; set the threshold out of the noise"
    order = np.lexsort((recording.spike_units, recording.spike_times))
    same = np.diff(recording.spike_times[order]) == 0
    twice = int((same & (np.diff(recording.spike_units[order]) == 0)).sum())
    if twice >= 10 and twice > 0.001 * len(order):
        what = f"{twice} spikes are at the very time of another of their unit"
        yield f"{what}; were files joined twice, or times rounded? Keep one of each"
    dead = total < 0.2 * np.median(total)
    if dead.any():
        when = ", ".join(f"{start:.0f}" for start in starts[dead])
        yield f"hardly a spike in the tenths of the session from {when} s; leave them out"
    cuts = range(2, len(rates) - 1) if not dead.any() else ()
    sides = np.array([(rates[:k].mean(0), rates[k:].mean(0)) for k in cuts]).reshape(-1, 2, n)
    low, high = sides.min(1), sides.max(1)  # (cuts, U) Hz
    steps, lost = np.ptp(np.log(sides.sum(2) + 1e-9), 1), (high > 5 * low) & (high > 2)
    if len(cuts) and steps.max() > np.log(1.7):
        k = steps.argmax()
        told = "from {:.0f} to {:.0f} Hz".format(*sides[k].sum(1)) + f" at {starts[k + 2]:.0f} s"
        cure = "was a threshold set anew, or a plug loose? Keep one part"
        yield f"the rate of all units together changes {told} or so; {cure}"
    elif len(cuts) and lost.sum(1).max() > 0.1 * n:
        k = lost.sum(1).argmax()
        what = f"{those(lost[k])} come or go at {starts[k + 2]:.0f} s or so"
        yield f"{what}; keep the part in which they are there"
    steps = max(1, min(ROWS, int(np.ptp(domain) / BIN)))
    counts = counts_of(recording, domain[0, 0] + BIN * np.arange(steps + 1))
    burst = (counts > 2 * counts.mean(0) + 1).mean(1) > 0.5
    if burst.mean() > 0.005 and n >= 5:
        cure = "is it an artefact of all channels? Reference them, or leave these times out"
        yield f"most units fire together in {burst.mean():.1%} of the bins of {BIN:g} s; {cure}"
    counts = counts[~burst] - counts[~burst].mean(0)
    norm = np.linalg.norm(counts, axis=0)
    alike = (counts.T @ counts > 0.95 * np.outer(norm, norm)) & (np.minimum.outer(norm, norm) > 3)
    if len(pairs := np.argwhere(np.triu(alike, 1))):
        i, j = ids[pairs[0]]
        cure = "leave one of each out"
        yield f"{len(pairs)} pairs of units fire the same spikes, such as {i} and {j}; {cure}"


def frozen(recording: Recording) -> float:
    """Share of the target's samples in stretches of 10 s or more in which no column moves."""
    times, values = recording.series(recording.target)
    moves = np.flatnonzero((np.diff(values, axis=0) != 0).any(1))  # NaN is no rest
    edges = np.unique(np.r_[0, moves + 1, len(times) - 1])
    return float(np.diff(edges)[np.diff(times[edges]) >= 10].sum() / len(times))


def _rest(recording: Recording) -> Iterator[str]:
    name, values = recording.target, recording.series(recording.target)[1]
    if (missing := (~np.isfinite(values)).any(1).mean()) > 0.05:
        yield f"{missing:.0%} of the samples of {name} are NaN; fill the short holes"
    if wild := int(np.isinf(values).sum()):
        yield f"{wild} values of {name} are infinite; make them NaN if they are missing"
    row = row_of(recording)
    if row and name == row.target:
        ratio = np.nanstd(row.normalize(values[:: 1 + len(values) // 100_000]))
        if not 0.05 < ratio < 5:
            yield f"{name} varies by {ratio:.2g} times what is usual; is it in {row.unit}?"
    for (one, a), (other, b) in combinations(recording.splits.items(), 2):
        shared = np.diff(union(a)).sum() - np.diff(subtract(a, b)).sum() if len(a) else 0.0
        if shared > 0.1:
            yield f"{one} and {other} share {shared:.3g} s; save splits that are apart"
    if (still := frozen(recording)) > 0.2:
        cure = "is the file damaged? Keep the part in which it moves"
        yield f"{name} does not move for 10 s and longer, {still:.0%} of the time; {cure}"
    trials = recording.intervals.get("trials", np.empty((0, 2)))
    if overlap := int((trials[1:, 0] < trials[:-1, 1] - 0.01).sum()):
        cure = "held-out ones would share their time with others; correct their ends"
        yield f"{overlap} of {len(trials)} trials begin before the one before has ended: {cure}"
    if (short := int((np.diff(trials) < 1.0).sum())) > 0.05 * len(trials):
        cure = "give also the time around the movement"
        yield f"{short} of {len(trials)} trials are shorter than a window of 1 s; {cure}"


def _column(x: np.ndarray, steps: np.ndarray) -> Iterator[str]:
    if len(x) < 2 or np.ptp(x) == 0:
        yield "does not vary; leave it out"
        return
    kinds, often = np.unique(some := x[:: 1 + len(x) // 100_000], return_counts=True)
    share, steps = often / len(some), steps[np.isfinite(steps)]
    if share.max() > 0.5:
        yield f"is {kinds[share.argmax()]:.4g} in {share.max():.0%} of its samples; is it stuck?"
    ends = [f"{kinds[i]:.4g}" for i in (0, -1) if 0.01 < share[i] <= 0.5 and kinds[i] != 0]
    if ends and len(kinds) > 100:  # not a few states
        yield f"is cut off at {' and '.join(ends)}; leave these times out, or widen its range"
    if far := int((steps > 15 * np.quantile(steps, 0.99)).sum()) if len(steps) else 0:
        cure = "are these samples corrupt? Leave them out of the domain"
        yield f"jumps {far} times, by up to {steps.max():.3g} from a sample to the next; {cure}"


def _linear(recording: Recording, fit: Fit) -> Iterator[str]:
    name, gain = recording.target, fit.shifted_r2 - fit.r2
    lost, found = np.flatnonzero(fit.per_dim < DECODABLE), f"valid R² {fit.r2:.2f}"
    if fit.seconds < ENOUGH:
        if not fit.r2 > 0.2:
            few = f"{fit.seconds:.0f} s of validation"
            yield f"{few} cannot tell whether {name} is decodable; add more"
    elif fit.shifted_r2 > 0.1 and (gain > 0.1 or (abs(fit.shift) > 0.5 and gain > 0.03)):
        what = f"{name} follows the spikes best with its times shifted by {-fit.shift:+.2f} s"
        yield f"{what}: {found}, there {fit.shifted_r2:.2f}; put both on one clock"
    elif fit.r2 < DECODABLE:
        cure = "is it of this session, and on the clock of the spikes?"
        yield f"a linear filter finds nothing of {name} ({found}); {cure}"
    elif len(lost):
        what = f"a linear filter finds nothing of column {', '.join(map(str, lost))} of {name}"
        yield f"{what} (valid R² {fit.per_dim.min():.2f}); look at it, or leave it out"


def undecodable(recording: Recording, fit: Fit) -> str:
    """Why the target of a recording teaches nothing, or "". One that rests for long must at least
    be decoded well in between."""
    if fit.seconds >= ENOUGH and fit.r2 < DECODABLE:
        return next(_linear(recording, fit))
    if (still := frozen(recording)) > 0.2 and not fit.r2 > 0.4:
        return f"the target does not move {still:.0%} of the time and can hardly be decoded."
    return ""
