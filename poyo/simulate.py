"""Simulated motor cortex: reaching animals whose neurons share one nonlinear system.

The embedded default corpus, so that everything runs as cloned. Three levels of chance, each with
random streams of its own: the species (a recurrent network driven by the coming movement), the
animal (that network perturbed; its pace, workspace and leads), the day (new units, new trials).

Not for: which animals and days make a corpus, or how a session becomes tokens.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from .intervals import intervals, subtract, union
from .recording import Recording, split_trials

STEP = 0.01  # s, of the latent network and of the rates (linear in between)
TAU = 0.06  # s, time constant of the latent network
REFRACTORY, PEAK = 0.002, 150.0  # s and about the highest rate in Hz, of a single neuron
VISUAL = 0.08  # s, from the sight of a target to its first effect
PHASES = "movement_phases"
PER_AREA = 12  # latents of an area
# area -> lead in s (positive: rates precede the movement) and the strength of its 9 inputs:
# velocity (2), speed, acceleration (2), position (2), way to the goal (2)
AREAS = {
    "M1": (0.10, np.array([1.3, 1.3, 0.8, 0.5, 0.5, 0.8, 0.8, 0.4, 0.4])),
    "PMd": (0.18, np.array([0.9, 0.9, 0.6, 0.2, 0.2, 0.6, 0.6, 1.2, 1.2])),  # prepares
    "S1": (-0.04, np.array([1.3, 1.3, 0.7, 0.4, 0.4, 1.0, 1.0, 0.0, 0.0])),  # feels
}


def stream(*keys: str | int) -> np.random.Generator:
    """A random stream of its own for every tuple of names and numbers, the same everywhere."""
    return np.random.default_rng([zlib.crc32(str(key).encode()) for key in keys])


@dataclass(frozen=True, kw_only=True)
class Animal:
    """One individual: how it moves and its copy of the species' network (N latents, 9 inputs)."""

    centre: np.ndarray  # (2,) cm
    reach: float  # cm from the centre to a target
    tempo: float  # of movement durations; 1 is the species' mean
    leads: dict[str, float]  # area -> s
    recurrent: np.ndarray  # (N, N)
    inputs: np.ndarray  # (N, 9)
    bias: np.ndarray  # (N,)
    frame: float  # radians by which the arm's frame is turned
    posture: float  # radians by which tuning turns per reach length of position


def make_animal(seed: int, name: str) -> Animal:
    """The network of the species, the same for every animal of a `seed`, perturbed for one."""
    species, own = stream(seed, "species"), stream(seed, "animal", name)
    n, total = PER_AREA, PER_AREA * len(AREAS)
    recurrent = 0.05 * species.standard_normal((total, total))  # areas talk weakly
    inputs = species.standard_normal((total, 9))
    for i, (_, strength) in enumerate(AREAS.values()):
        turn = 0.35 * np.eye(n)
        for j in range(0, n, 2):  # pairs that rotate at 1-2.5 Hz and fade slowly
            turn[j, j + 1] = 2 * np.pi * TAU * species.uniform(1.0, 2.5)
            turn[j + 1, j] = -turn[j, j + 1]
        basis, _ = np.linalg.qr(species.standard_normal((n, n)))
        rows = slice(i * n, (i + 1) * n)
        recurrent[rows, rows] += basis @ turn @ basis.T
        inputs[rows] *= strength
    return Animal(
        centre=own.uniform(-1.0, 1.0, 2),
        reach=own.uniform(7.0, 9.0),
        tempo=own.uniform(0.9, 1.15),
        leads={area: lead + own.uniform(-0.02, 0.02) for area, (lead, _) in AREAS.items()},
        recurrent=recurrent + 0.03 * own.standard_normal((total, total)),
        inputs=inputs * (1 + 0.2 * own.standard_normal(inputs.shape)),
        bias=0.5 * species.standard_normal(total) + 0.1 * own.standard_normal(total),
        frame=own.uniform(-0.25, 0.25),
        posture=species.uniform(0.9, 1.1) + own.uniform(-0.1, 0.1),
    )


# --- behaviour ------------------------------------------------------------------------------


class Behaviour:
    """A list of strokes, so that position and velocity are exact at any time.

    strokes: rows of onset and duration in s, displacement x and y in cm, sideways bulge as a
    share of it. goals: rows of time, x, y; NaN while no target shows. spans: interval name ->
    rows of [start, end). Tasks below append to all three.
    """

    def __init__(self, rng: np.random.Generator, animal: Animal):
        self.rng, self.animal, self.hand = rng, animal, animal.centre
        self.strokes: list[tuple[float, ...]] = []
        self.goals: list[tuple[float, ...]] = [(-np.inf, np.nan, np.nan)]
        self.spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.omega = 2 * np.pi * rng.uniform(0.1, 1.5, 6)  # rad/s: the hand is never quite still
        sway = rng.standard_normal((6, 2)) + 1j * rng.standard_normal((6, 2))
        self.sway = 0.1 * sway / self.omega[:, None]  # (6, 2) cm

    def move(self, onset: float, target: np.ndarray, slowness: float = 1.0) -> float:
        """Reach to `target` (2,), missing it by some 4 mm; returns when the hand is at rest."""
        rng, way = self.rng, target + 0.4 * self.rng.standard_normal(2) - self.hand
        seconds = slowness * self.animal.tempo * (0.26 + 0.033 * np.linalg.norm(way))
        seconds *= np.exp(0.15 * rng.standard_normal())
        share, end = 1.0, onset + seconds
        if rng.random() < 0.35:  # over- or undershoot, corrected before the hand is at rest
            share, late = rng.uniform(0.85, 1.15), onset + 0.7 * seconds
            brief = rng.uniform(0.25, 0.35)
            self.strokes.append((late, brief, *((1 - share) * way), 0.0))
            end = max(end, late + brief)
        self.strokes.append((onset, seconds, *(share * way), 0.08 * rng.standard_normal()))
        self.hand = self.hand + way
        return end

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position cm, velocity cm/s, acceleration cm/s² at sorted times (T,): each (T, 2)."""
        wave, omega = np.exp(1j * times[:, None] * self.omega), 1j * self.omega[:, None]
        pos, vel = (wave @ self.sway).real, (wave @ (self.sway * omega)).real
        rest = np.zeros((len(times) + 1, 2))  # where finished strokes leave the hand
        rest[0] = self.animal.centre
        for onset, seconds, x, y, bulge in self.strokes:
            a, b = np.searchsorted(times, (onset, onset + seconds))
            way, side = np.array([x, y]), bulge * np.array([-y, x])
            rest[b] += way
            s = ((times[a:b] - onset) / seconds)[:, None]
            w, sw = 1 - s, s * (1 - s)
            # minimum jerk along the way, 64 s³(1-s)³ sideways: both start and end at rest
            pos[a:b] += way * (10 - 15 * s + 6 * s**2) * s**3 + side * 64 * sw**3
            vel[a:b] += (way * 30 * sw**2 + side * 192 * sw**2 * (w - s)) / seconds
        return pos + np.cumsum(rest, 0)[:-1], vel, np.gradient(vel, times, axis=0)


def center_out(behaviour: Behaviour, seconds: float) -> None:
    """Instructed delay, reach to one of 8 targets, return; about a tenth of the trials fail."""
    rng, centre, start = behaviour.rng, behaviour.animal.centre, behaviour.rng.uniform(0.3, 0.8)
    angles = np.arange(8) * np.pi / 4
    targets = centre + behaviour.animal.reach * np.stack([np.cos(angles), np.sin(angles)], -1)
    while True:
        which, fate = rng.integers(8), rng.choice(["reward", "abort", "miss"], p=[0.9, 0.05, 0.05])
        behaviour.goals.append((start, *targets[which]))
        go = start + rng.uniform(0.5, 1.2)
        if fate == "abort":  # leaves the centre before the go cue
            part = centre + rng.uniform(0.2, 0.5) * (targets[which] - centre)
            stop = behaviour.move(go - rng.uniform(0.1, 0.3), part)
        else:  # a miss goes to a neighbouring target
            aim = targets[(which + (fate == "miss")) % 8]
            stop = behaviour.move(go + 0.2 + rng.gamma(3.0, 0.02), aim) + rng.uniform(0.1, 0.3)
        behaviour.goals.append((stop, *centre))
        end = behaviour.move(stop + rng.uniform(0.2, 0.4), centre) + rng.uniform(0.2, 0.5)
        behaviour.goals.append((end - 0.1, np.nan, np.nan))
        if end > seconds:
            return
        if fate == "reward":
            for phase, a, b in ("hold", start, go), ("reach", go, stop), ("return", stop, end):
                behaviour.spans[f"{PHASES}.{phase}_period"].append((a, b))
        behaviour.spans["trials" if fate == "reward" else f"{PHASES}.invalid"].append((start, end))
        start = end


def next_target(behaviour: Behaviour, cue: float) -> float:
    """Reach to a random target shown at `cue`; returns when it is acquired, often on the move."""
    rng, animal, target = behaviour.rng, behaviour.animal, behaviour.hand
    while np.linalg.norm(target - behaviour.hand) < 0.4 * animal.reach:
        target = animal.centre + animal.reach * rng.uniform(-0.9, 0.9, 2)
    behaviour.goals.append((cue, *target))
    end = behaviour.move(cue + 0.18 + rng.gamma(2.0, 0.02), target, slowness=1.15)
    return end + rng.uniform(-0.15, 0.1)


def random_target(behaviour: Behaviour, seconds: float) -> None:
    """Trials of four reaches to random targets; a tenth of them break off after fewer."""
    rng, start = behaviour.rng, behaviour.rng.uniform(0.3, 0.8)
    while True:
        go = end = start + rng.uniform(0.3, 0.6)
        reaches = rng.integers(1, 4) if rng.random() < 0.1 else 4
        for _ in range(reaches):
            end = next_target(behaviour, end)
        behaviour.goals.append((end, np.nan, np.nan))
        if end > seconds:
            return
        behaviour.spans[f"{PHASES}.hold_period"].append((start, go))
        if reaches == 4:
            behaviour.spans["trials"].append((start, end))
        start = end + rng.uniform(0.3, 0.6)


def self_paced(behaviour: Behaviour, seconds: float) -> None:
    """One random target after another, without trials."""
    now = behaviour.rng.uniform(0.3, 0.8)
    while now < seconds:
        now = next_target(behaviour, now)


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """How a laboratory records; the behaviour's frame is that of the public set it imitates."""

    hertz: int  # of the behaviour
    unit: float  # of length, in cm
    neurons: int  # per recorded unit: 1 sorted, 2 threshold crossings
    areas: dict[str, float]  # share of the units
    tasks: dict[str, Callable[[Behaviour, float], None]]


TRIALS = {"center_out_reaching": center_out, "random_target_reaching": random_target}
PACED = {"random_target_reaching": self_paced}
FLAVOURS = {
    "perich": Flavour(hertz=100, unit=1.0, neurons=1, areas={"M1": 0.6, "PMd": 0.4}, tasks=TRIALS),
    "odoherty": Flavour(hertz=250, unit=0.1, neurons=2, areas={"M1": 0.7, "S1": 0.3}, tasks=PACED),
}


def wander(rng: np.random.Generator, steps: int, n: int, tau: float) -> np.ndarray:
    """(steps, n) Ornstein-Uhlenbeck noise of unit variance and time constant `tau` seconds."""
    keep, noise = np.exp(-STEP / tau), rng.standard_normal((steps, n))
    noise[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], noise, axis=0)


def run_network(rng: np.random.Generator, behaviour: Behaviour, times: np.ndarray) -> np.ndarray:
    """(T, N) in (-1, 1): the latents at times (T,), which are STEP apart.

    An area sees the movement as it will be a lead later. Rotation adds memory, tanh saturates and
    the driving direction turns with posture: no linear filter of the spikes undoes all of that.
    """
    animal, drive = behaviour.animal, []
    goals = np.array(behaviour.goals)
    goal = goals[np.searchsorted(goals[:, 0], times - VISUAL, side="right") - 1, 1:]
    goal = (goal - animal.centre) / animal.reach  # (T, 2), NaN where no target shows
    for inputs, lead in zip(np.split(animal.inputs, len(AREAS)), animal.leads.values()):
        pos, vel, acc = behaviour.at(times + lead + TAU)  # the network itself lags by about TAU
        pos = (pos - animal.centre) / animal.reach
        angle = animal.frame + animal.posture * pos[:, :1]
        cos, sin = np.cos(angle), np.sin(angle) * [-1, 1]
        vel, acc = (v * cos + v[:, ::-1] * sin for v in (vel / 15.0, acc / 120.0))
        speed = np.linalg.norm(vel, axis=1, keepdims=True)
        drive.append(np.hstack([vel, speed, acc, pos, np.nan_to_num(goal - pos)]) @ inputs.T)
    leak, total = STEP / TAU, len(animal.bias)
    drive = leak * (np.hstack(drive) + animal.bias + 0.4 * wander(rng, len(times), total, 0.3))
    weights, states, x = leak * animal.recurrent.T, np.empty_like(drive), np.zeros(total)
    r = np.tanh(x)
    for t in range(len(times)):
        x = (1 - leak) * x + r @ weights + drive[t]
        r = np.tanh(x, out=states[t])
    return states


def fire(
    rng: np.random.Generator, states: np.ndarray, hertz: np.ndarray, loadings: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rates in Hz of n neurons of mean `hertz` (n,), loading (n, N) on the latents (T, N).

    Returns (T, n) as fired and (T, n) free of noise. A rate is silent below a threshold and
    bounded above; slow noise is shared by all units, and so is a gain that drifts over seconds.
    """
    steps, n = len(states), len(hertz)
    sharpness, threshold = rng.uniform(2.0, 4.4, n), rng.normal(0.6, 0.6, n)
    to_slow = 0.45 * rng.standard_normal((3, n))
    drive = states @ loadings.T
    drive = (drive - drive.mean(0)) / (drive.std(0) + 1e-9)
    slow = wander(rng, steps, 4, 8.0)
    noise = slow[:, :3] @ to_slow + 0.3 * wander(rng, steps, n, 0.15)
    clean, fired = (1 / (1 + np.exp(sharpness * (threshold - h))) for h in (drive, drive + noise))
    fired *= np.exp(0.25 * slow[:, 3:])
    fired *= np.minimum(hertz / fired.mean(0), PEAK)
    return fired, clean * (fired.mean(0) / clean.mean(0))


def spike_train(rng: np.random.Generator, times: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """(S,) spike times of a neuron whose rate (T,) in Hz is linear between times (T,).

    Gamma intervals in rescaled time (more regular than Poisson) fall on no grid. A spike within
    the refractory period of the one before is not fired.
    """
    mass = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) * (STEP / 2))])
    spikes = np.cumsum(rng.gamma(1.5, 1 / 1.5, int(mass[-1] + 6 * np.sqrt(mass[-1]) + 10)))
    spikes = np.interp(spikes[spikes < mass[-1]], mass, times)
    while (near := np.diff(spikes) < REFRACTORY).any():
        near[1:] &= ~near[:-1]  # once the first of a run is gone, the next may be late enough
        spikes = spikes[np.append(True, ~near)]
    return spikes


# --- a session ------------------------------------------------------------------------------


def simulate(
    *,
    animal: str,
    day: int,
    task: str,
    seed: int = 0,
    minutes: float = 2.0,
    units: tuple[int, int] = (25, 60),
    flavour: str = "perich",
) -> Recording:
    """One session of a simulated animal: the same arguments give the same bytes.

    animal: any name, such as "sim-c". units: fewest and most units, drawn anew every day; longer
    sessions of a day have the same ones. flavour: "perich" (cm at 100 Hz, sorted units) or
    "odoherty" (mm at 250 Hz, threshold crossings). `behavior["cursor"]` has pos, vel and acc;
    `Recording.units` has what no laboratory sees: area, rate_hz, lag_s (positive: before the
    movement), preferred_direction in radians and tuning_depth, the cosine modulation at the root
    mean square speed as a share of the mean rate.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}; known: {', '.join(FLAVOURS)}")
    lab = FLAVOURS[flavour]
    if task not in lab.tasks:
        raise ValueError(f"no task {task!r} in flavour {flavour!r}; known: {', '.join(lab.tasks)}")
    if not animal or "/" in animal:
        raise ValueError(f"animal {animal!r} must be a name without '/', such as 'sim-c'")
    if not (1 <= units[0] <= units[1] and minutes >= 0.5):
        raise ValueError(f"units {units} must be (fewest, most), minutes {minutes} at least 0.5")
    seconds, who = minutes * 60.0, make_animal(seed, animal)
    draw, moves, noise = (stream(seed, animal, day, task, of) for of in ("units", "moves", "fire"))
    behaviour = Behaviour(moves, who)
    lab.tasks[task](behaviour, seconds)

    domain = intervals(0.0, seconds)
    spans = {name: intervals(np.array(rows)) for name, rows in behaviour.spans.items()}
    busy = [rows for name, rows in spans.items() if name.startswith(PHASES)]
    spans[f"{PHASES}.random_period"] = subtract(domain, union(*busy))
    if "trials" in spans:
        splits = split_trials(domain, spans["trials"], int(moves.integers(2**31)))
    else:  # ten equal blocks of time
        edges = np.linspace(0.0, seconds, 11)
        blocks = np.stack([edges[:-1], edges[1:]], -1)[moves.permutation(10)]
        splits = {"train": union(blocks[:8]), "valid": blocks[8:9], "test": blocks[9:]}

    n, m = int(draw.integers(units[0], units[1] + 1)), lab.neurons
    area = np.sort(draw.choice(list(lab.areas), n, p=list(lab.areas.values())))
    electrode, jitter = np.sort(draw.integers(1, 97, n)), draw.uniform(-0.02, 0.02, n)
    hertz = np.clip(draw.lognormal(np.log(6.2), 0.75, n * m), 0.6, 36.0) / m
    loadings = draw.standard_normal((n * m, len(who.bias)))
    loadings *= draw.random(loadings.shape) < 0.35  # sparse, and mostly on the unit's own area
    loadings *= np.where(np.repeat(list(AREAS), PER_AREA) == np.repeat(area, m)[:, None], 1, 0.25)

    times = np.arange(-1.0, seconds + 0.1, STEP)  # a second for the network to settle
    rate, clean = fire(draw, run_network(noise, behaviour, times), hertz, loadings)
    trains = [spike_train(noise, times, rate[:, i]) - jitter[i // m] for i in range(n * m)]
    spikes = np.concatenate(trains)
    spike_units = np.repeat(np.arange(n * m) // m, [len(train) for train in trains])
    order = np.argsort(spikes, kind="stable")
    order = order[(spikes[order] >= 0) & (spikes[order] < seconds)]

    clean, leads = clean.reshape(len(times), n, m).sum(2), np.array([who.leads[a] for a in area])
    slopes = np.empty((2, n))  # of the rate, on the velocity a lead later: its cosine tuning
    for lead in np.unique(leads):
        vel = behaviour.at(times + lead)[1]
        vel -= vel.mean(0)
        slopes[:, leads == lead] = np.linalg.lstsq(vel, clean[:, leads == lead])[0]
    stamps = np.arange(round(seconds * lab.hertz)) / lab.hertz
    pos, vel, acc = (values / lab.unit for values in behaviour.at(stamps))
    return Recording(
        session_id=f"{animal}_day{day:02d}_{task}",
        subject=animal,
        brainset=f"sim-{flavour}",
        spike_times=spikes[order],
        spike_units=spike_units[order],
        unit_ids=np.array([f"{area[i]}/elec{electrode[i]}/unit_{i}" for i in range(n)]),
        units={
            "area": area,
            "rate_hz": clean.mean(0),
            "lag_s": leads + jitter,
            "preferred_direction": np.arctan2(slopes[1], slopes[0]),
            "tuning_depth": np.hypot(*slopes) * np.hypot(*vel.std(0)) / clean.mean(0),
        },
        behavior={"cursor": {"timestamps": stamps, "pos": pos, "vel": vel, "acc": acc}},
        domain=domain,
        splits=splits,
        intervals=spans,
    )
