"""Making the corpus: simulate it, or find the prepared public files; and its index.

Reading a corpus that was made is `sources.load_corpus`, so that training does not depend on how
simulation works.
"""

from pathlib import Path

import pandas as pd

from . import ROOT, replacing
from .config import ConfigError, Data
from .recording import Recording, RecordingError
from .simulate import simulate
from .sources import HELD_OUT, POYO_1, POYO_MP, readout_of

# animal, what its simulation imitates, its tasks; the roles are those of the paper's animals
SIMULATED = [
    ("sim-c", "perich", ["center_out_reaching", "random_target_reaching"]),
    ("sim-m", "perich", ["center_out_reaching", "random_target_reaching"]),
    ("sim-j", "perich", ["center_out_reaching"]),
    ("sim-i", "odoherty", ["random_target_reaching"]),
    ("sim-n", "churchland", ["maze"]),
]
SIMULATED_HELD_OUT = {
    "C-CO": ("sim-c", "perich", "center_out_reaching"),
    "T-CO": ("sim-t", "perich", "center_out_reaching"),
    "T-RT": ("sim-t", "perich", "random_target_reaching"),
    "NLB-Maze": ("sim-n", "nlb", "maze"),
    "NLB-RTT": ("sim-i", "nlb", "random_target_reaching"),
}


def build(data: Data, folder: Path) -> pd.DataFrame:
    """Simulate the corpus into `folder`, or find the prepared public files; write its index.

    Returns and writes folder/sessions.csv, a row per session: role ("pretrain" or a column of
    Table 2), brainset, subject, session_id, path (relative to the repository where inside it)
    and sizes. Raises ConfigError for an unknown corpus and RecordingError for a missing file.
    """
    if data.corpus == "simulated":
        paths = list(_simulated(data, folder))
    elif data.corpus in ("poyo_mp", "poyo_1"):
        pretrain = POYO_MP if data.corpus == "poyo_mp" else POYO_1
        paths = [
            (role, ROOT / data.root / brainset / f"{name}.h5")
            for role, sessions in ({"pretrain": pretrain} | HELD_OUT).items()
            for brainset, names in sessions.items()
            for name in names
        ]
        missing = [path for _, path in paths if not path.exists()]
        if missing:
            raise RecordingError(
                f"{len(missing)} of {len(paths)} files of {data.corpus} are missing, first "
                f"{missing[0]}; prepare them with `brainsets prepare` and set data.root"
            )
    else:
        raise ConfigError(
            f"data.corpus: {data.corpus!r} is unknown; known: simulated, poyo_mp, poyo_1"
        )
    rows = []
    for role, path in paths:
        recording = Recording.load(path)
        readout = readout_of(recording)
        series = recording.behavior[readout.target.partition(".")[0]]
        rows.append(
            {
                "role": role,
                "brainset": recording.brainset,
                "subject": recording.subject,
                "session_id": recording.session_id,
                "path": str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path),
                "units": len(recording.unit_ids),
                "spikes": len(recording.spike_times),
                "behavior_samples": len(series["timestamps"]),
                "seconds": round(recording.duration, 3),
                "trials": len(recording.intervals.get("trials", ())),
            }
        )
    index = pd.DataFrame(rows)
    with replacing(folder / "sessions.csv") as scratch:
        index.to_csv(scratch, index=False, lineterminator="\n")
    return index


def _simulated(data: Data, folder: Path):
    plan = [
        ("pretrain", animal, flavour, task, day, data.minutes)
        for animal, flavour, tasks in SIMULATED
        for task in tasks
        for day in range(1, data.days + 1)
    ] + [
        (column, animal, flavour, task, data.days + day, data.held_out_minutes)
        for column, (animal, flavour, task) in SIMULATED_HELD_OUT.items()
        # the benchmark has one recording of each task
        for day in range(1, 1 + (1 if flavour == "nlb" else data.held_out_days))
    ]
    for role, animal, flavour, task, day, minutes in plan:
        recording = simulate(
            animal=animal,
            day=day,
            task=task,
            flavour=flavour,
            seed=data.seed,
            minutes=minutes,
            units=data.units,
        )
        path = folder / recording.brainset / f"{recording.session_id}.h5"
        recording.save(path)
        yield role, path
