"""The experiment that claims rest on, on one simulated species (14_replicate): its sessions, and
a control. Not for: how a session is met (`lab`), or what all species say (`results`)."""

from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np

from .. import threads
from ..data.intervals import intervals
from ..data.recording import CO, RT, Recording
from ..data.simulate import simulate
from . import lab
from .profile import Evidence, Lab

KNOWN = ("sim-c", CO), ("sim-c", RT), ("sim-m", CO), ("sim-m", RT), ("sim-j", CO)  # each day
NEW_DAY, NEW_ANIMAL = (("sim-m", RT),), (("sim-t", CO), ("sim-t", RT))


def how(setup: Evidence, recipes: Lab, windows, wiener, baselines, **steps: int) -> lab.How:
    """What a replicate is trained with: the recipes of a laboratory with what `setup` says
    otherwise, each in one round. windows, wiener, baselines: of `lab.How`; steps: by recipe,
    instead of those of `setup`."""
    recipes = lab.in_one_round(recipes, setup.steps | steps)
    sizes = setup.batch_sizes.items()
    changed = {name: replace(getattr(recipes, name), batch_size=size) for name, size in sizes}
    changed["finetune"] = replace(changed["finetune"], lr=setup.finetune_lr)
    return lab.How(setup.size, windows, wiener, baselines, replace(recipes, **changed))


def plan(seed: int, setup: Evidence) -> dict[str, list[dict]]:
    """What `simulate` is asked for, the sessions of a species by their role: "pretraining", "new
    day", "new animal"."""
    rest, minutes = {"units": setup.units, "seed": seed}, {"pretraining": setup.minutes}
    days = {"pretraining": range(1, 1 + setup.days), "new day": [1 + setup.days]}
    who = {"pretraining": KNOWN, "new day": NEW_DAY, "new animal": NEW_ANIMAL}
    return {
        role: [
            {"animal": animal, "day": day, "task": task}
            | rest
            | {"minutes": minutes.get(role, setup.held_out_minutes)}
            for day in days.get(role, [1])
            for animal, task in pairs
        ]
        for role, pairs in who.items()
    }


def simulate_species(seed: int, setup: Evidence) -> dict[str, list[Recording]]:
    """The sessions of a species by their role, as of `plan`."""
    sessions = plan(seed, setup)
    made = partial(more, times=1, test_minutes=setup.test_minutes)
    recordings = iter(threads.processes(made, chain(*sessions.values())))
    return {role: [next(recordings) for _ in some] for role, some in sessions.items()}


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
    found = {"wiener": lab.yardsticks((recording, "all", 0), how, {})[0]["r2"]}
    for name, decoder in decoders.items():
        if recording.session_id in decoder.sessions.names:
            method = "single_session" if name == recording.session_id else name
            (found[method],) = decoder.score([recording], "test").values()
    return [lab.row(recording, "all", 0, *one) for one in found.items()]


def longer(recording: Recording, more: Recording, split: str) -> Recording:
    """The recording with another of the same units behind it: in its split "train", all of that is
    to learn from; in "test", its trials are to be scored on."""
    begin = recording.domain[-1, 1] - more.domain[0, 0]

    def joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.concatenate([a, b + begin])

    behavior = {}
    for name, series in recording.behavior.items():
        later = more.behavior[name] | {"timestamps": more.behavior[name]["timestamps"] + begin}
        behavior[name] = {key: np.concatenate([series[key], later[key]]) for key in series}
    none, (here, there) = np.empty((0, 2)), (recording.intervals, more.intervals)
    spans = {n: joined(here.get(n, none), there.get(n, none)) for n in here | there}
    part = more.domain if split == "train" else there["trials"]
    return replace(
        recording,
        spike_times=joined(recording.spike_times, more.spike_times),
        spike_units=np.concatenate([recording.spike_units, more.spike_units]),
        behavior=behavior,
        domain=intervals(recording.domain[0, 0], more.domain[-1, 1] + begin),
        splits=recording.splits | {split: joined(recording.splits[split], part)},
        intervals=spans,
    )


def more(session: dict, times: int, test_minutes: float, **how) -> Recording:
    """A session with so many times its trials to learn from, all of the same units, and with so
    many minutes more to be scored on, the same whatever `times` is: the few test trials of a short
    session say little of it. session: as in `plan`; how: more of `simulate`."""
    rest = session | how
    scored = simulate(**rest | {"minutes": test_minutes, "take": 1})
    whole = longer(simulate(**rest), scored, "test")
    if times == 1:
        return whole
    extra = {"minutes": (times - 1) * session["minutes"], "take": 2}
    return longer(whole, simulate(**rest | extra), "train")
