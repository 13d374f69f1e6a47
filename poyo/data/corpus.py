"""Making the corpus: simulate it, or find the prepared public files; and its index.
`sources.load_corpus` reads it, so that training does not depend on how simulation works."""

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from .. import ROOT, replacing
from .health import trouble
from .recording import CO, MAZE, RT, Recording, require
from .simulate import simulate
from .sources import ONE_SOURCE, PUBLIC, readout_of

SIMULATED = [  # role as of the paper's animals, animal, what its simulation imitates, its task
    *(("pretrain", animal, "perich", task) for animal in ("sim-c", "sim-m") for task in (CO, RT)),
    ("pretrain", "sim-j", "perich", CO),
    ("pretrain", "sim-i", "odoherty", RT),
    ("pretrain", "sim-n", "churchland", MAZE),
    ("C-CO", "sim-c", "perich", CO),
    ("T-CO", "sim-t", "perich", CO),
    ("T-RT", "sim-t", "perich", RT),
    ("NLB-Maze", "sim-n", "nlb", MAZE),
    ("NLB-RTT", "sim-i", "nlb", RT),
]
NAMES = "brainset", "subject", "task", "session_id"


def build(
    folder: Path, *, corpus: str, root: str, seed: int, days: int, held_out_days: int,
    minutes: float, held_out_minutes: float, units: tuple[int, int],
) -> pd.DataFrame:  # fmt: skip
    """Simulate the corpus into `folder`, or find the prepared public files; write its index.
    corpus: simulated, poyo_mp or poyo_1. root: where `brainsets prepare` put the public files. The
    rest sizes the simulation: days per known animal and task, held_out_days per column of Table 2
    (the NLB columns have one), minutes of a session to pretrain on and of the others, fewest and
    most units.
    Returns and writes folder/sessions.csv, a row per session: role ("pretrain" or a column of
    Table 2), brainset, subject, task, session_id, path (relative to the repository where inside
    it), sizes and, of public files, sha256; what is suspicious in these is warned of. Raises
    ValueError for an unknown corpus, RecordingError for a missing file."""
    paths = []
    if corpus == "simulated":
        for role, animal, flavour, task in SIMULATED:
            who = dict[str, Any](animal=animal, task=task, flavour=flavour, units=units)
            which, length = range(1, 1 + days), minutes
            if role != "pretrain":  # later days; the benchmark has one recording of each task
                n = 1 if flavour == "nlb" else held_out_days
                which, length = range(1 + days, 1 + days + n), held_out_minutes
            for day in which:
                recording = simulate(**who, day=day, seed=seed, minutes=length)
                path = folder / recording.brainset / f"{recording.session_id}.h5"
                recording.save(path)
                paths.append((role, path))
    elif corpus in ("poyo_mp", "poyo_1"):
        for role, sessions in PUBLIC.items():
            for brainset, names in sessions.items():
                if corpus == "poyo_1" or brainset in ONE_SOURCE:
                    paths += [(role, ROOT / root / brainset / f"{name}.h5") for name in names]
        missing = [str(path) for _, path in paths if not path.exists()]
        what = f"{len(missing)} of {len(paths)} files of {corpus} are missing"
        cure = "`brainsets prepare` and `python -m poyo.data.convert` make them; set data.root"
        require(not missing, f"{what}, first {''.join(missing[:1])}; {cure}")
    else:
        raise ValueError(f"corpus {corpus!r} is unknown; known: simulated, poyo_mp, poyo_1")
    rows = []
    for role, path in paths:
        recording = Recording.load(path)
        where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        row = {"role": role} | {key: getattr(recording, key) for key in NAMES} | {"path": where}
        row |= {"units": len(recording.unit_ids), "spikes": len(recording.spike_times)}
        row["behavior_samples"] = len(recording.series(readout_of(recording).target)[0])
        row["seconds"] = round(recording.duration, 3)
        row["trials"] = len(recording.intervals.get("trials", ()))
        if corpus != "simulated":  # a file that was replaced changes the index, so that all that
            with path.open("rb") as file:  # depends on it runs again
                row["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
            for line in trouble(replace(recording, target=readout_of(recording).target)):
                warnings.warn(f"{where}: {line}", stacklevel=2)
        rows.append(row)
    index = pd.DataFrame(rows).astype({"path": str})
    with replacing(folder / "sessions.csv") as scratch:
        index.to_csv(scratch, index=False, lineterminator="\n")
    return index
