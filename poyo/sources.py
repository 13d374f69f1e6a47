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

from . import ROOT
from .intervals import contains
from .recording import Recording, RecordingError


@dataclass(frozen=True, kw_only=True)
class Readout:
    """What a session is decoded into (paper, appendix on data; torch_brain's dataset configs).

    target: behaviour series and field. scale: what it is divided by before the loss, in `unit`.
    weights: interval name -> loss weight; weights multiply where intervals overlap, samples in
    none weigh 1. evaluate: the interval in which R² is taken; None takes every sample.
    """

    target: str = "cursor.vel"
    scale: float
    unit: str
    weights: Mapping[str, float] = field(default_factory=dict)
    evaluate: str | None = None


PHASES = "movement_phases"
CENTER_OUT = Readout(
    scale=20.0,
    unit="cm/s",
    weights={
        f"{PHASES}.random_period": 1.0,
        f"{PHASES}.hold_period": 0.1,
        f"{PHASES}.reach_period": 5.0,
        f"{PHASES}.return_period": 1.0,
        f"{PHASES}.invalid": 0.1,
        "cursor_outlier_segments": 0.0,
    },
    evaluate=f"{PHASES}.reach_period",
)
RANDOM_TARGET = Readout(
    scale=20.0,
    unit="cm/s",
    weights={
        f"{PHASES}.random_period": 1.0,
        f"{PHASES}.hold_period": 0.1,
        "cursor_outlier_segments": 0.0,
    },
    evaluate=f"{PHASES}.random_period",
)
SELF_PACED = Readout(scale=200.0, unit="mm/s")
MAZE = Readout(
    scale=800.0,
    unit="mm/s",
    weights={
        f"{PHASES}.hold_period": 0.1,
        f"{PHASES}.reach_period": 5.0,
        f"{PHASES}.return_period": 1.0,
    },
)
NLB_MAZE = Readout(target="hand.vel", scale=100.0, unit="mm/s", evaluate="nlb_eval_intervals")
SIM_MAZE = (
    300.0  # mm/s: simulated reaches are slower, so that the target is of order one there, too
)

# (brainset, what the session name ends in) -> readout
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
    """The readout of a session; for one's own recording (brainset "own"), velocity over its std.

    Raises RecordingError for a brainset that has no row in READOUTS, or a missing target.
    """
    readout = next(
        (
            readout
            for (brainset, task), readout in READOUTS.items()
            if recording.brainset == brainset and recording.session_id.endswith(task)
        ),
        None,
    )
    if readout is None:
        if recording.brainset != "own":
            known = ", ".join(sorted({brainset for brainset, _ in READOUTS}))
            raise RecordingError(
                f"no readout for brainset {recording.brainset!r} (session "
                f"{recording.session_id!r}); known: {known}; add a row to poyo.sources.READOUTS"
            )
        readout = Readout(scale=1.0, unit="its own unit")
    series, _, name = readout.target.partition(".")
    values = recording.behavior.get(series, {}).get(name)
    if values is None:
        raise RecordingError(
            f"session {recording.session_id!r} has no {readout.target!r} to decode; "
            f"it has {sorted(f'{s}.{k}' for s, v in recording.behavior.items() for k in v)}"
        )
    if recording.brainset == "own":
        times = recording.behavior[series]["timestamps"]
        train = values[contains(recording.splits.get("train", recording.domain), times)]
        scale = float(np.nanstd(train)) if len(train) else 0.0
        if not scale > 0:
            raise RecordingError(
                f"session {recording.session_id!r}: {readout.target} does not vary in the train "
                "split, nothing can be learned from it"
            )
        readout = Readout(scale=scale, unit="its own unit")
    return readout


# --- the sessions of the paper ---------------------------------------------------------------


def _names(prefix: str, suffix: str, dates: str) -> list[str]:
    return [f"{prefix}{date}{suffix}" for date in dates.split()]


CO, RT = "_center_out_reaching", "_random_target_reaching"
POYO_MP = {
    # 95 sessions: the paper counts 100, five recordings stand twice in its list
    "perich_miller_population_2018": [
        *_names(
            "c_",
            CO,
            "20131003 20131022 20131023 20131031 20131101 20131203 20131204 20131219 20131220 "
            "20150309 20150311 20150312 20150313 20150319 20150629 20150630 20150701 20150703 "
            "20150706 20150707 20150708 20150709 20150710 20150713 20150714 20150715 20150716 "
            "20151103 20151104 20151106 20151109 20151110 20151112 20151113 20151116 20151117 "
            "20151119 20151120 20151201 20160909 20160912 20160914 20160915 20160919 20160921 "
            "20160929 20161005 20161006 20161007",
        ),
        *_names(
            "c_",
            RT,
            "20131009 20131010 20131011 20131028 20131029 20131209 20131210 20131212 20131213 "
            "20131217 20131218 20150316 20150317 20150318 20150320",
        ),
        *_names(
            "m_",
            CO,
            "20140203 20140217 20140218 20140303 20140304 20140306 20140307 20140626 20140627 "
            "20140929 20141203 20150511 20150512 20150610 20150611 20150612 20150615 20150616 "
            "20150617 20150623 20150625 20150626",
        ),
        *_names("m_", RT, "20140114 20140115 20140116 20140214 20140221 20140224"),
        *_names("j_", CO, "20160405 20160406 20160407"),
    ]
}
POYO_1 = POYO_MP | {
    "odoherty_sabes_nonhuman_2017": [
        *_names(
            "indy_",
            "",
            "20160407_02 20160411_01 20160411_02 20160418_01 20160419_01 20160420_01 20160426_01 "
            "20160622_01 20160624_03 20160627_01 20160630_01 20160915_01 20160916_01 20160921_01 "
            "20160927_04 20160927_06 20160930_02 20160930_05 20161005_06 20161006_02 20161007_02 "
            "20161011_03 20161013_03 20161014_04 20161017_02 20161024_03 20161025_04 20161026_03 "
            "20161027_03 20161206_02 20161207_02 20161212_02 20161220_02 20170123_02 20170124_01 "
            "20170127_03 20170131_02",
        ),
        *_names(
            "loco_",
            "",
            "20170210_03 20170213_02 20170215_02 20170227_04 20170228_02 20170301_05 20170302_02",
        ),
    ],
    "churchland_shenoy_neural_2012": [
        *_names("nitschke_", "_maze", "20090812 20090819 20090910 20090920 20090922"),
        *_names("jenkins_", "_maze", "20090912 20090916 20090918 20090923"),
    ],
    "flint_slutzky_accurate_2012": _names("monkey_c_e", "_reaching", "1 2 3 4 5"),
}
T_CO = "20130819 20130821 20130823 20130903 20130905 20130909"
T_RT = "20130820 20130822 20130830 20130904 20130906 20130910"
HELD_OUT = {
    "C-CO": {"perich_miller_population_2018": _names("c_", CO, "20161013 20161021")},
    "T-CO": {"perich_miller_population_2018": _names("t_", CO, T_CO)},
    "T-RT": {"perich_miller_population_2018": _names("t_", RT, T_RT)},
}
"""Table 2's columns: a new day of a known animal, and a new animal in two tasks.

Its NLB columns are left out: of the benchmark, brainsets prepares the small maze of DANDI 000140
alone, which is not the recording of the paper (000128), and no random targets (000129).
"""

COLUMNS = {
    "C-CO": "known animal, new day, center-out",
    "T-CO": "new animal, center-out",
    "T-RT": "new animal, random target",
    "NLB-Maze": "known animal, new rig, maze",
    "NLB-RTT": "known animal, new rig, random target",
}
"""Of Table 2, in its order; a corpus need not have sessions for all of them."""

ONE_SOURCE = "perich_miller_population_2018", "sim-perich"
SCOPES: dict[str, Callable[[Recording], bool]] = {
    "poyo_1": lambda recording: True,
    "mp": lambda recording: recording.brainset in ONE_SOURCE,
    "co": lambda recording: recording.brainset in ONE_SOURCE and recording.session_id.endswith(CO),
    "rt": lambda recording: recording.brainset in ONE_SOURCE and recording.session_id.endswith(RT),
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
    for recording in found:
        task = next((task for task in (CO, RT) if recording.session_id.endswith(task)), "")
        groups.setdefault((recording.brainset, recording.subject, task), []).append(recording)
    return [one for group in groups.values() for one in group[: ceil(share * len(group))]]


def load_corpus(folder: Path) -> dict[str, list[Recording]]:
    """The recordings of a built corpus by role: "pretrain" and the columns of Table 2."""
    index = pd.read_csv(folder / "sessions.csv")
    corpus: dict[str, list[Recording]] = {}
    for role, path in zip(index["role"], index["path"]):
        corpus.setdefault(role, []).append(Recording.load(ROOT / path))
    return corpus
