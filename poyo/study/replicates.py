"""Evidence: the experiment on one simulated species (14_replicate), and what all of them say.
Not for: estimates and verdicts themselves (`results`), or how a session is met (`lab`)."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ..data.recording import CO, RT, Recording
from ..data.simulate import simulate
from . import lab, results
from .profile import Evidence

KNOWN = ("sim-c", CO), ("sim-c", RT), ("sim-m", CO), ("sim-m", RT), ("sim-j", CO)  # each day
NEW_DAY, NEW_ANIMAL = (("sim-c", CO), ("sim-m", RT)), (("sim-t", CO), ("sim-t", RT))
ALL, THIRD, NULL = "all sessions", "a third of them", "behaviour of another time"


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
    """One number per claim for one species: sessions averaged. rows: role, session, method,
    trials, r2."""
    old, animal = (rows[rows.role == role] for role in ("pretraining", "new animal"))
    new = rows[rows.role != "pretraining"]

    def gain(part: pd.DataFrame, better: str, worse: str) -> float:
        named = part.rename(columns={"session": "session_id"})
        return results.gain(named, better, worse).mean()

    def full(part: pd.DataFrame) -> pd.DataFrame:
        return part[part.trials == "all"]

    uid, scratch = "unit_identification", lab.SCRATCH
    asked = {
        "one model, many sessions": (old, ALL, "wiener"),
        "many sessions > one": (old, ALL, "single_session"),
        "unit identification > Wiener": (full(animal), uid, "wiener"),
        "unit identification = from scratch": (full(animal), uid, scratch),
        "finetuned > from scratch": (full(new), "finetune", scratch),
        "finetuned > MLP": (full(new), "finetune", "mlp"),
        "few labels": (new[new.trials != "all"], uid, scratch),
        "more sessions": (full(new), uid, f"{lab.FEWER}{THIRD}"),
    }
    return pd.Series({claim: gain(*three) for claim, three in asked.items()})
