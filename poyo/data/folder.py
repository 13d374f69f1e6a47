"""A folder of a laboratory's sessions: which can be used, and which of them are held out.
One damaged file among twenty is named and left out. Not for: one file (`readers`), what is
suspicious in a recording (`health`), recordings that share spikes (`leaks`)."""

import re
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .contents import subject_of
from .health import trouble, undecodable
from .intervals import contains
from .linear import linear_fit
from .readers import read
from .recording import Recording, require
from .sources import readout_of

SUFFIXES = ".h5", ".npz", ".mat", ".nwb"
PHY = "params.py", "spike_times.npy"  # a folder that has them is one recording
EXPECTED = f"expected a file {', '.join(SUFFIXES)} or a folder of Phy for each session"
DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)(-?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
COLUMNS = ["session", "animal", "date", "units", "spikes", "Hz per unit", "minutes", "trials"]
COLUMNS += ["valid R²", "trouble", "used"]


class Folder(NamedTuple):
    """recordings: those to use, by date. table: a row for every file, indexed by its name, with
    COLUMNS; NaN where it could not be read. left_out: (file name, reason)."""

    recordings: list[Recording]
    table: pd.DataFrame
    left_out: list[tuple[str, str]]


def date_of(session: str) -> str:
    """The date in a session id, yyyymmdd or yyyy-mm-dd, as yyyy-mm-dd; "" where there is none.

    >>> date_of("jango_20150730_001")
    '2015-07-30'
    """
    found = DATE.search(session)
    return "-".join(found.group(1, 3, 4)) if found else ""


def in_time(session: str) -> tuple[str, list[tuple[int, str]]]:
    """What session ids are sorted by: their date, then their name, day2 before day10."""
    parts = re.findall(r"\d+|\D+", session)
    return date_of(session), [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def scan(
    folder: Path | str, *, target: str = "", unit: str = "", names: dict[str, str] | None = None,
    seed: int = 0, keep: Collection[str] = (),
) -> Folder:  # fmt: skip
    """All sessions that lie directly in a folder; target, unit, names and seed are as for `read`.
    Left out: what cannot be read; what has another target, or of other dimensions, than most; and
    what a linear filter finds nothing in, unless its session id is in `keep`. RecordingError where
    nothing is left, or where two files are one session."""
    folder, found, rows, reasons = Path(folder), {}, dict[str, dict[str, Any]](), {}
    for path in _candidates(folder):
        rows[path.name] = {"session": path.stem, "date": date_of(path.stem), "notes": []}
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                one = read(path, target=target, unit=unit, names=names, seed=seed)
            subject = subject_of(path) if one.subject == "unknown" else one.subject
            readout = readout_of(one)
            one = replace(one, target=readout.target, subject=subject)
            fit = linear_fit(one)
            told = [str(w.message) for w in caught if w.category is UserWarning]  # by readers
            notes = trouble(one, fit) + told
            rows[path.name] = _row(one) | {"valid R²": fit.r2, "notes": notes}
            dims = one.series(one.target)[1].shape[1]
            found[path.name] = one, f"{readout.quantity} in {dims} dimensions", fit
        except Exception as error:  # a damaged file raises anything
            reasons[path.name] = str(error).replace(f"{folder}/", "") or type(error).__name__
    _require(found, f"none of {len(rows)} in {folder} can be read", reasons)
    files: dict[str, str] = {}
    for name, (one, *_) in found.items():
        other = files.setdefault(one.session_id, name)
        same = f"{folder}: {other} and {name} are both session {one.session_id!r}"
        require(other == name, f"{same}; move one of them away, or rename it")
    unknown = ", ".join(set(keep) - files.keys())
    require(not unknown, f"keep: no session is called {unknown}; there are {', '.join(files)}")
    most = Counter(what for _, what, _ in found.values()).most_common(1)[0][0]
    for name, (one, what, fit) in found.items():
        if what != most:
            reasons[name] = f"its target is {what}, that of most is {most}; scan it on its own"
        elif (why := undecodable(one, fit)) and one.session_id not in keep:
            reasons[name] = f"{why} To use it all the same: keep={[one.session_id]}"
    _require(rows.keys() - reasons, f"none of {len(rows)} in {folder} can be used", reasons)
    for name, row in rows.items():
        row["used"], reason = name not in reasons, reasons.get(name, "")
        if not row.get("trials", 1):
            row["notes"].append("no trials are given: it is split in time")
        notes = [reason, *(n for n in row["notes"] if n not in reason), _compared(row, rows)]
        text = " ".join(n if n[-1] in ".?" else f"{n}." for n in notes if n)
        row["trouble"] = text.replace(f"{folder}/", "")
    order = sorted(rows, key=lambda name: in_time(rows[name]["session"]))
    table = pd.DataFrame([rows[name] for name in order], index=order, columns=COLUMNS)
    used = [found[name][0] for name in order if rows[name]["used"]]
    return Folder(used, table, list(reasons.items()))


def _require(some, what: str, reasons: dict[str, str]) -> None:
    lines = [f"{what}:", *(f"{name}: {reason}" for name, reason in reasons.items())]
    require(len(some) > 0, "\n".join(lines))


def _candidates(folder: Path) -> list[Path]:
    require(folder.is_dir(), f"{folder} is no folder; {EXPECTED}")
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    phy = {path for path in paths if all((path / name).is_file() for name in PHY)}
    paths = [p for p in paths if p in phy or (p.is_file() and p.suffix in SUFFIXES)]
    require(len(paths) > 0, f"nothing in {folder} is a recording; {EXPECTED}")
    return paths


def _row(one: Recording) -> dict:
    units, spikes = len(one.unit_ids), int(contains(one.domain, one.spike_times).sum())
    return {
        "session": one.session_id, "animal": one.subject, "date": date_of(one.session_id),
        "units": units, "spikes": spikes, "Hz per unit": spikes / one.duration / units,
        "minutes": one.duration / 60, "trials": len(one.intervals.get("trials", ())),
    }  # fmt: skip


def _compared(row: dict, rows: dict[str, dict]) -> str:
    """A note where the units fire otherwise than in the animal's other sessions."""
    animal = row.get("animal", ())  # of what could not be read: none
    rates = [r["Hz per unit"] for r in rows.values() if r.get("animal") == animal]
    times = row["Hz per unit"] / max(np.median(rates), 1e-9) if len(rates) > 3 else 1.0
    what = f"its units fire at {times:.1f} times the rate of the animal's median session"
    return f"{what}; was a threshold set anew?" if not 0.5 < times < 1.8 else ""


def choose(
    recordings: list[Recording], held_out: Collection[str] | str
) -> tuple[list[Recording], list[Recording]]:
    """(those to pretrain on, those held out), each by date. held_out: session ids or patterns
    ("spike_201209*"), "animal NAME" for all of it, and "last K" for the last K sessions of each
    animal of which no entry before takes all. Raises RecordingError where either is empty."""
    recordings = sorted(recordings, key=lambda one: in_time(one.session_id))
    animals = {one.session_id: one.subject.lower() for one in recordings}
    names, held, last = ", ".join(animals), set(), []
    known = f"there are sessions {names} of animals {', '.join(sorted(set(animals.values())))}"
    for entry in [held_out] if isinstance(held_out, str) else held_out:
        kind, _, rest = entry.strip().partition(" ")
        if kind == "last" and rest.isdecimal() and int(rest) > 0:
            last.append(int(rest))
            continue
        whole, name = kind == "animal", rest.strip().lower()
        some = {i for i, a in animals.items() if (a == name if whole else fnmatchcase(i, entry))}
        require(len(some) > 0, f"held out: nothing is called {entry!r}; {known}, and 'last K'")
        held |= some
    others = {animal for one, animal in animals.items() if one not in held}
    for animal in others if last else ():
        held |= set([one for one, its in animals.items() if its == animal][-max(last) :])
    old, new = ([o for o in recordings if (o.session_id in held) == out] for out in (False, True))
    require(len(new) > 0, f"nothing is held out; {known}; say which, or 'last 1'")
    cure = "at least two files are needed; 12_your_recording is for one"
    require(
        len(old) > 0, f"all sessions are held out, none is left to pretrain on; {known}; {cure}"
    )
    return old, new
