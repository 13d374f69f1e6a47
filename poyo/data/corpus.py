"""Making the corpus: simulate it, or find the prepared public files; and its index.

Reading a corpus that was made is `sources.load_corpus`, so that training does not depend on how
simulation works.
"""

from pathlib import Path

import pandas as pd

from .. import ROOT, replacing
from .recording import Recording, RecordingError
from .simulate import simulate
from .sources import HELD_OUT, POYO_1, POYO_MP, readout_of

CO, RT = "center_out_reaching", "random_target_reaching"
# role, animal, what its simulation imitates, its task: the roles are those of the paper's animals
SIMULATED = [
    ("pretrain", "sim-c", "perich", CO),
    ("pretrain", "sim-c", "perich", RT),
    ("pretrain", "sim-m", "perich", CO),
    ("pretrain", "sim-m", "perich", RT),
    ("pretrain", "sim-j", "perich", CO),
    ("pretrain", "sim-i", "odoherty", RT),
    ("pretrain", "sim-n", "churchland", "maze"),
    ("C-CO", "sim-c", "perich", CO),
    ("T-CO", "sim-t", "perich", CO),
    ("T-RT", "sim-t", "perich", RT),
    ("NLB-Maze", "sim-n", "nlb", "maze"),
    ("NLB-RTT", "sim-i", "nlb", RT),
]


def build(
    folder: Path,
    *,
    corpus: str,
    root: str,
    seed: int,
    days: int,
    held_out_days: int,
    minutes: float,
    held_out_minutes: float,
    units: tuple[int, int],
) -> pd.DataFrame:
    """Simulate the corpus into `folder`, or find the prepared public files; write its index.

    corpus: simulated, poyo_mp or poyo_1. root: where `brainsets prepare` put the public files.
    The rest sizes the simulation: days per known animal and task, held_out_days per column of
    Table 2 (the NLB columns have one), minutes of a session to pretrain on and of the others,
    fewest and most units.

    Returns and writes folder/sessions.csv, a row per session: role ("pretrain" or a column of
    Table 2), brainset, subject, task, session_id, path (relative to the repository where inside
    it) and sizes. Raises ValueError for an unknown corpus, RecordingError for a missing file.
    """
    public = {"poyo_mp": POYO_MP, "poyo_1": POYO_1}
    if corpus == "simulated":
        paths = []
        for role, animal, flavour, task in SIMULATED:
            who = {"animal": animal, "task": task, "flavour": flavour, "units": units}
            if role == "pretrain":
                first, n, length = 1, days, minutes
            else:  # later days; the benchmark has one recording of each task
                first, length = 1 + days, held_out_minutes
                n = 1 if flavour == "nlb" else held_out_days
            for day in range(first, first + n):
                recording = simulate(**who, day=day, seed=seed, minutes=length)
                path = folder / recording.brainset / f"{recording.session_id}.h5"
                recording.save(path)
                paths.append((role, path))
    elif corpus in public:
        paths = [
            (role, ROOT / root / brainset / f"{name}.h5")
            for role, sessions in ({"pretrain": public[corpus]} | HELD_OUT).items()
            for brainset, names in sessions.items()
            for name in names
        ]
        missing = [path for _, path in paths if not path.exists()]
        if missing:
            raise RecordingError(
                f"{len(missing)} of {len(paths)} files of {corpus} are missing, first "
                f"{missing[0]}; prepare them with `brainsets prepare` and set data.root"
            )
    else:
        raise ValueError(f"corpus {corpus!r} is unknown; known: simulated, {', '.join(public)}")
    rows = []
    for role, path in paths:
        recording = Recording.load(path)
        times, _ = recording.series(readout_of(recording).target)
        rows.append(
            {
                "role": role,
                "brainset": recording.brainset,
                "subject": recording.subject,
                "task": recording.task,
                "session_id": recording.session_id,
                "path": str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path),
                "units": len(recording.unit_ids),
                "spikes": len(recording.spike_times),
                "behavior_samples": len(times),
                "seconds": round(recording.duration, 3),
                "trials": len(recording.intervals.get("trials", ())),
            }
        )
    index = pd.DataFrame(rows)
    with replacing(folder / "sessions.csv") as scratch:
        index.to_csv(scratch, index=False, lineterminator="\n")
    return index
