"""Evidence: the experiment on one simulated species (14_replicate), and what all of them say.
Not for: estimates and verdicts themselves (`results`), or how a session is met (`lab`)."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from ..data.recording import CO, RT, Recording
from ..data.simulate import simulate
from . import lab, results
from .profile import Evidence

KNOWN = ("sim-c", CO), ("sim-c", RT), ("sim-m", CO), ("sim-m", RT), ("sim-j", CO)  # each day
NEW_DAY, NEW_ANIMAL = (("sim-c", CO), ("sim-m", RT)), (("sim-t", CO), ("sim-t", RT))
ALL, THIRD, NULL = "all sessions", "a third of them", "finetuned from shifted sessions"
AS_GOOD = ("unit id > single",)  # claims of being as good, not of being better
CONTROL = "control: pretraining on sessions whose spikes were shifted helps"


def simulate_species(seed: int, setup: Evidence) -> dict[str, list[Recording]]:
    """The sessions of a species by their role: "pretraining", "new day", "new animal"."""
    more = {"units": setup.units, "minutes": setup.minutes, "seed": seed}
    days = {"pretraining": range(1, 1 + setup.days), "new day": [1 + setup.days]}
    who = {"pretraining": KNOWN, "new day": NEW_DAY, "new animal": NEW_ANIMAL}
    return {
        role: [
            simulate(animal=animal, day=day, task=task, **more)
            for day in days.get(role, [1])
            for animal, task in pairs
        ]
        for role, pairs in who.items()
    }


def shifted(recording: Recording, seed: int) -> Recording:
    """The recording with its spikes moved around the clock by a quarter to three quarters of it:
    both look as they did, and the spikes say nothing of the behaviour. A control: a network that
    was pretrained on such sessions has learned nothing that could help."""
    begin, length = recording.domain[0, 0], recording.duration
    by = np.random.default_rng(seed).uniform(0.25, 0.75) * length
    times = begin + (recording.spike_times - begin + by) % length
    order = np.argsort(times, kind="stable")
    return replace(recording, spike_times=times[order], spike_units=recording.spike_units[order])


def own(job: tuple, how: lab.How) -> list[dict]:
    """A pretraining session under the decoders that know it, and under its own yardsticks.
    job: the recording, and the decoders by name."""
    recording, decoders = job
    wiener = lab.yardsticks((recording, "all", 0), how, {})[0]["r2"]
    found = {"wiener": wiener}
    for name, decoder in decoders.items():
        if recording.session_id in decoder.sessions.names:
            method = "single_session" if name == recording.session_id else name
            (found[method],) = decoder.score([recording], "test").values()
    about = {"session": recording.session_id, "trials": "all"}
    return [about | {"method": method, "r2": round(r2, 4)} for method, r2 in found.items()]


def measures(rows: pd.DataFrame) -> pd.Series:
    """One number for each primary claim and for the control, of one species: differences of R²,
    sessions averaged. rows: role, session, method, trials, r2."""
    rows = rows.rename(columns={"session": "session_id"})
    known, new = rows[rows.role == "pretraining"], rows[rows.role != "pretraining"]
    full, few = new[new.trials == "all"], new[new.trials != "all"]
    animal = full[full.role == "new animal"]
    uid, tuned, scratch = "unit_identification", "finetune", lab.SCRATCH
    asked = {
        "unmatched neurons": (known, ALL, "wiener"),
        "multi > single": (known, ALL, "single_session"),
        "unit id > wiener": (animal, uid, "wiener"),
        "unit id > single": (animal, uid, scratch),
        "finetune > single": (full, tuned, scratch),
        "better than networks on counts": (full, tuned, "mlp"),
        "few labels": (few, uid, scratch),
        "more data": (full, uid, f"{lab.FEWER}{THIRD}"),
        CONTROL: (full, NULL, scratch),
    }
    return pd.Series({claim: results.gain(*three).mean() for claim, three in asked.items()})


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """The primary claims, one family, as `results.judge`, and for each the difference that as many
    species would find in four of five cases. rows: species, and as in `measures`."""
    found = rows.groupby("species").apply(measures, include_groups=False)
    tests = {claim: results.greater(found[claim]) for claim in found if claim not in AS_GOOD}
    tests |= {claim: results.equivalent(found[claim]) for claim in AS_GOOD}
    family = {claim: tests[claim] for claim in found if claim != CONTROL}
    table = pd.concat([results.judge(family), results.judge({CONTROL: tests[CONTROL]})])
    n = len(found)
    reach = stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)
    return table.assign(detectable=reach * found.std() / np.sqrt(n))
