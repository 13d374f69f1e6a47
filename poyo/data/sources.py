"""What to decode from each public dataset, which sessions pretrain, and which are held out.
Adding a dataset is adding rows: here, and to `sessions.yaml` with the names of its prepared files.
The simulated corpus uses the readouts of the sets it imitates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from .. import ROOT
from .intervals import contains
from .recording import CO, RT, Recording, RecordingError, require


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What a session is decoded into (paper, appendix on data; torch_brain's dataset configs).
    target: behaviour series and field. offset and scale: what is taken from it and what it is
    divided by before the loss, in `unit`; one number, or one for each of its D dimensions.
    weights: interval name -> loss weight; weights multiply where intervals overlap, samples in
    none weigh 1. evaluate: the interval in which R² is taken; None takes every sample."""

    target: str = "cursor.vel"
    scale: float | tuple[float, ...]
    unit: str
    offset: float | tuple[float, ...] = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    evaluate: str | None = None

    @property
    def quantity(self) -> str:
        """What is decoded, in a word: the name of the field."""
        name = self.target.rpartition(".")[2]
        return {"vel": "velocity", "pos": "position", "acc": "acceleration"}.get(name, name)

    def normalize(self, values: np.ndarray) -> np.ndarray:
        """(..., D) in `unit` -> what the model decodes, of order one."""
        return (values - np.asarray(self.offset)) / np.asarray(self.scale)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """The way back."""
        return values * np.asarray(self.scale) + np.asarray(self.offset)


HOLD, REACH, RANDOM = (f"movement_phases.{name}_period" for name in ("hold", "reach", "random"))
OUTLIERS = "cursor_outlier_segments"
DELAYED = {HOLD: 0.1, REACH: 5.0}
NOT_REACHING = {"movement_phases.invalid": 0.1, OUTLIERS: 0.0}
CENTER_OUT = Readout(scale=20.0, unit="cm/s", weights=DELAYED | NOT_REACHING, evaluate=REACH)
PAUSES = {HOLD: 0.1, OUTLIERS: 0.0}
RANDOM_TARGET = Readout(scale=20.0, unit="cm/s", weights=PAUSES, evaluate=RANDOM)
SELF_PACED = Readout(scale=200.0, unit="mm/s")
MAZE = Readout(scale=800.0, unit="mm/s", weights=DELAYED)
NLB_MAZE = Readout(target="hand.vel", scale=100.0, unit="mm/s", evaluate="nlb_eval_intervals")
NLB_RTT = replace(SELF_PACED, target="finger.vel")  # no published scale: that of its laboratory
SIM_MAZE = 300.0  # mm/s: simulated reaches are slower; so their target, too, is of order one

READOUTS = {  # (brainset, task) -> readout; a task of "" is any
    ("perich_miller_population_2018", CO): CENTER_OUT,
    ("perich_miller_population_2018", RT): RANDOM_TARGET,
    ("odoherty_sabes_nonhuman_2017", ""): SELF_PACED,
    ("churchland_shenoy_neural_2012", ""): MAZE,
    ("flint_slutzky_accurate_2012", ""): Readout(target="hand.vel", scale=0.4, unit="m/s"),
    ("pei_pandarinath_nlb_2021", "maze"): NLB_MAZE,
    ("pei_pandarinath_nlb_2021", RT): NLB_RTT,
    ("sim-perich", CO): CENTER_OUT,
    ("sim-perich", RT): RANDOM_TARGET,
    ("sim-odoherty", ""): SELF_PACED,
    ("sim-churchland", ""): replace(MAZE, scale=SIM_MAZE),
    ("sim-nlb", "maze"): replace(NLB_MAZE, scale=SIM_MAZE),
    ("sim-nlb", RT): replace(SELF_PACED, target="hand.vel"),
}


def row_of(recording: Recording) -> Readout | None:
    """What is decoded from its brainset and task, where that is known."""
    brainset = recording.brainset
    return READOUTS.get((brainset, recording.task)) or READOUTS.get((brainset, ""))


def readout_of(recording: Recording) -> Readout:
    """The readout of a session: that of its brainset and task, or made for a target of its own.
    A `recording.target` that its brainset does not decode, or without a brainset, is read out over
    the mean and the std of each dimension in the train split; loss weights and evaluation stay
    those of the brainset. Raises RecordingError where there is nothing to decode."""
    session, target = f"session {recording.session_id!r}", recording.target
    brainset, task = recording.brainset, recording.task
    row = row_of(recording)
    if row is None and not target:
        known = ", ".join(sorted({brainset for brainset, _ in READOUTS}))
        raise RecordingError(
            f"{session}: what is decoded from brainset {brainset!r}, task {task!r}? Say readers."
            f"read(..., target=...), or add a row to sources.READOUTS; there are {known}"
        )
    if row is not None and target in ("", row.target):
        recording.series(row.target)  # raises where there is none
        return row
    times, values = recording.series(target)
    train = values[contains(recording.splits.get("train", recording.domain), times)]
    train = train[np.isfinite(train).all(1)].astype(np.float64)
    require(len(train) > 0, f"{session}: {target} has no finite sample in the train split")
    constant = ", ".join(map(str, np.flatnonzero(np.ptp(train, 0) == 0)))
    what = f"{session}: column {constant} of {target} does not vary in the train split"
    require(not constant, f"{what}, nothing can be learned from it; leave it out")
    offset, scale = tuple(train.mean(0).tolist()), tuple(train.std(0).tolist())
    row, unit = row or Readout(scale=1.0, unit=""), recording.unit or "its own unit"
    return replace(row, target=target, offset=offset, scale=scale, unit=unit)


PUBLIC = YAML(typ="safe", pure=True).load(ROOT / "poyo/data/sessions.yaml")
"""The sessions of the paper: role (pretrain, or a column of Table 2) -> brainset -> names."""
ONE_SOURCE = "perich_miller_population_2018", "sim-perich"
SCOPES: dict[str, Callable[[Recording], bool]] = {
    "poyo_1": lambda one: True,  # what to pretrain on: every source
    "mp": lambda one: one.brainset in ONE_SOURCE,  # and below, one task of it
    "co": lambda one: one.brainset in ONE_SOURCE and one.task == CO,
    "rt": lambda one: one.brainset in ONE_SOURCE and one.task == RT,
}


def scope(recordings: list[Recording], name: str, share: float = 1.0) -> list[Recording]:
    """Those of the recordings that are in the scope; none raises RecordingError.
    share: of the sessions of each animal and task, the first ones, at least one."""
    require(name in SCOPES, f"no scope {name!r}; known: {', '.join(SCOPES)}")
    found = [recording for recording in recordings if SCOPES[name](recording)]
    there = ", ".join(sorted({one.brainset for one in recordings})) or "-"
    there = f"{len(recordings)} are there, of: {there}"
    require(len(found) > 0, f"no recording is in scope {name!r}; {there}")
    groups: dict[tuple, list[Recording]] = {}
    for one in found:
        groups.setdefault((one.brainset, one.subject, one.task), []).append(one)
    return [one for group in groups.values() for one in group[: ceil(share * len(group))]]


def load_corpus(folder: Path) -> dict[str, list[Recording]]:
    """The recordings of a built corpus by role: "pretrain" and the columns of Table 2."""
    index = pd.read_csv(folder / "sessions.csv")
    corpus: dict[str, list[Recording]] = {}
    for role, path in zip(index["role"], index["path"]):
        corpus.setdefault(role, []).append(Recording.load(ROOT / path))
    return corpus
