"""What to decode from each public dataset, which sessions pretrain, and which are held out.

Everything here is data: adding a dataset is adding rows. Session names are those that
`brainsets prepare` gives its files, `<root>/<brainset>/<session>.h5`; the simulated corpus uses
the same layout and the readouts of the sets it imitates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from .. import ROOT
from .intervals import contains
from .recording import Recording, RecordingError


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What a session is decoded into (paper, appendix on data; torch_brain's dataset configs).

    target: behaviour series and field. offset and scale: what is taken from it and what it is
    divided by before the loss, in `unit`; one number, or one for each of its D dimensions.
    weights: interval name -> loss weight; weights multiply where intervals overlap, samples in
    none weigh 1. evaluate: the interval in which R² is taken; None takes every sample.
    """

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
CENTER_OUT = Readout(
    scale=20.0,
    unit="cm/s",
    weights={HOLD: 0.1, REACH: 5.0, "movement_phases.invalid": 0.1, OUTLIERS: 0.0},
    evaluate=REACH,
)
RANDOM_TARGET = Readout(
    scale=20.0, unit="cm/s", weights={HOLD: 0.1, OUTLIERS: 0.0}, evaluate=RANDOM
)
SELF_PACED = Readout(scale=200.0, unit="mm/s")
MAZE = Readout(scale=800.0, unit="mm/s", weights={HOLD: 0.1, REACH: 5.0})
NLB_MAZE = Readout(target="hand.vel", scale=100.0, unit="mm/s", evaluate="nlb_eval_intervals")
SIM_MAZE = 300.0  # mm/s: simulated reaches are slower; so their target, too, is of order one

# (brainset, task) -> readout; a task of "" is any
READOUTS = {
    ("perich_miller_population_2018", "center_out_reaching"): CENTER_OUT,
    ("perich_miller_population_2018", "random_target_reaching"): RANDOM_TARGET,
    ("odoherty_sabes_nonhuman_2017", ""): SELF_PACED,
    ("churchland_shenoy_neural_2012", ""): MAZE,
    ("flint_slutzky_accurate_2012", ""): Readout(target="hand.vel", scale=0.4, unit="m/s"),
    ("pei_pandarinath_nlb_2021", ""): NLB_MAZE,
    ("sim-perich", "center_out_reaching"): CENTER_OUT,
    ("sim-perich", "random_target_reaching"): RANDOM_TARGET,
    ("sim-odoherty", ""): SELF_PACED,
    ("sim-churchland", ""): replace(MAZE, scale=SIM_MAZE),
    ("sim-nlb", "maze"): replace(NLB_MAZE, scale=SIM_MAZE),
    ("sim-nlb", "random_target_reaching"): replace(SELF_PACED, target="hand.vel"),
}


def readout_of(recording: Recording) -> Readout:
    """The readout of a session: that of its brainset and task, or made for a target of its own.

    A `recording.target` that its brainset does not decode, or without a brainset, is read out over
    the mean and the std of each dimension in the train split; loss weights and evaluation stay
    those of the brainset. Raises RecordingError where there is nothing to decode.
    """
    session, target = f"session {recording.session_id!r}", recording.target
    brainset = recording.brainset
    row = READOUTS.get((brainset, recording.task)) or READOUTS.get((brainset, ""))
    if row is None and not target:
        known = ", ".join(sorted({brainset for brainset, _ in READOUTS}))
        raise RecordingError(
            f"{session}: what is decoded from brainset {brainset!r}, task "
            f"{recording.task!r}? Say readers.read(..., target=...), or add a row to "
            f"sources.READOUTS; there are {known}"
        )
    if row is not None and target in ("", row.target):
        recording.series(row.target)  # raises where there is none
        return row
    times, values = recording.series(target)
    train = values[contains(recording.splits.get("train", recording.domain), times)]
    train = train[np.isfinite(train).all(1)].astype(np.float64)
    if len(train) == 0:
        raise RecordingError(f"{session}: {target} has no finite sample in the train split")
    constant = np.flatnonzero(np.ptp(train, 0) == 0)
    if len(constant):
        raise RecordingError(
            f"{session}: column {', '.join(map(str, constant))} of {target} does not vary in the "
            "train split, nothing can be learned from it; leave it out"
        )
    return replace(
        row or Readout(scale=1.0, unit=""),
        target=target,
        offset=tuple(train.mean(0).tolist()),
        scale=tuple(train.std(0).tolist()),
        unit=recording.unit or "its own unit",
    )


# --- the sessions of the paper ---------------------------------------------------------------


def _names(text: str) -> list[str]:
    """Session names, from patterns each followed by the words that stand for its star."""
    names, pattern = [], "*"
    for word in text.split():
        if "*" in word:
            pattern = word
        else:
            names.append(pattern.replace("*", word))
    return names


POYO_MP = {
    # 95 sessions: the paper counts 100, five recordings stand twice in its list
    "perich_miller_population_2018": _names("""
        c_*_center_out_reaching
        20131003 20131022 20131023 20131031 20131101 20131203 20131204 20131219 20131220 20150309
        20150311 20150312 20150313 20150319 20150629 20150630 20150701 20150703 20150706 20150707
        20150708 20150709 20150710 20150713 20150714 20150715 20150716 20151103 20151104 20151106
        20151109 20151110 20151112 20151113 20151116 20151117 20151119 20151120 20151201 20160909
        20160912 20160914 20160915 20160919 20160921 20160929 20161005 20161006 20161007
        c_*_random_target_reaching
        20131009 20131010 20131011 20131028 20131029 20131209 20131210 20131212 20131213 20131217
        20131218 20150316 20150317 20150318 20150320
        m_*_center_out_reaching
        20140203 20140217 20140218 20140303 20140304 20140306 20140307 20140626 20140627 20140929
        20141203 20150511 20150512 20150610 20150611 20150612 20150615 20150616 20150617 20150623
        20150625 20150626
        m_*_random_target_reaching 20140114 20140115 20140116 20140214 20140221 20140224
        j_*_center_out_reaching 20160405 20160406 20160407
    """)
}
POYO_1 = POYO_MP | {
    "odoherty_sabes_nonhuman_2017": _names("""
        indy_*
        20160407_02 20160411_01 20160411_02 20160418_01 20160419_01 20160420_01 20160426_01
        20160622_01 20160624_03 20160627_01 20160630_01 20160915_01 20160916_01 20160921_01
        20160927_04 20160927_06 20160930_02 20160930_05 20161005_06 20161006_02 20161007_02
        20161011_03 20161013_03 20161014_04 20161017_02 20161024_03 20161025_04 20161026_03
        20161027_03 20161206_02 20161207_02 20161212_02 20161220_02 20170123_02 20170124_01
        20170127_03 20170131_02
        loco_*
        20170210_03 20170213_02 20170215_02 20170227_04 20170228_02 20170301_05 20170302_02
    """),
    "churchland_shenoy_neural_2012": _names("""
        nitschke_*_maze 20090812 20090819 20090910 20090920 20090922
        jenkins_*_maze 20090912 20090916 20090918 20090923
    """),
    "flint_slutzky_accurate_2012": _names("monkey_c_e*_reaching 1 2 3 4 5"),
}
T_CO = "t_*_center_out_reaching 20130819 20130821 20130823 20130903 20130905 20130909"
T_RT = "t_*_random_target_reaching 20130820 20130822 20130830 20130904 20130906 20130910"
HELD_OUT = {
    "C-CO": {"perich_miller_population_2018": _names("c_*_center_out_reaching 20161013 20161021")},
    "T-CO": {"perich_miller_population_2018": _names(T_CO)},
    "T-RT": {"perich_miller_population_2018": _names(T_RT)},
}
"""Table 2's columns: a new day of a known animal, and a new animal in two tasks.

Its NLB columns are left out: of the benchmark, brainsets prepares the small maze of DANDI 000140
alone, which is not the recording of the paper (000128), and no random targets (000129).
"""

ONE_SOURCE = "perich_miller_population_2018", "sim-perich"
SCOPES: dict[str, Callable[[Recording], bool]] = {
    "poyo_1": lambda one: True,
    "mp": lambda one: one.brainset in ONE_SOURCE,
    "co": lambda one: one.brainset in ONE_SOURCE and one.task == "center_out_reaching",
    "rt": lambda one: one.brainset in ONE_SOURCE and one.task == "random_target_reaching",
}
"""What to pretrain on: every source (POYO-1), one of them (POYO-mp), one task of that one."""


def scope(recordings: list[Recording], name: str, share: float = 1.0) -> list[Recording]:
    """Those of the recordings that are in the scope; none raises RecordingError.

    share: of the sessions of each animal and task, the first ones, at least one.
    """
    if name not in SCOPES:
        raise RecordingError(f"no scope {name!r}; known: {', '.join(SCOPES)}")
    found = [recording for recording in recordings if SCOPES[name](recording)]
    if not found:
        there = ", ".join(sorted({recording.brainset for recording in recordings}))
        raise RecordingError(
            f"no recording is in scope {name!r}; {len(recordings)} are there, of: {there or '-'}"
        )
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
