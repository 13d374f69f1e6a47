"""Simulated motor cortex: reaching animals whose neurons live on one shared nonlinear system.

The embedded default corpus, so that everything runs as cloned. Three levels of chance, each with
its own random stream: the species (a recurrent network driven by the coming movement), the animal
(that network perturbed; its pace, workspace and leads), the day (new units, new trials).

Not for: which animals and days make a corpus, or how a session becomes tokens.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import lfilter

from .recording import Recording, intervals, split_trials, subtract, union

STEP = 0.01  # s, of the latent network and of the rates (linear in between)
REFRACTORY = 0.002  # s, absolute, of a single neuron
TAU = 0.06  # s, of the latent network
PER_AREA = 12  # latent dimensions of an area
VISUAL = 0.08  # s, from a target's appearance to its first effect
PHASES = "movement_phases"

# lead in s (positive: the rates precede the movement) and how strongly an area is driven by
# velocity, speed, acceleration, position and the goal: M1 moves, PMd also prepares, S1 feels
AREAS = {
    "M1": (0.10, np.array([1.3, 1.3, 0.8, 0.5, 0.5, 0.8, 0.8, 0.4, 0.4])),
    "PMd": (0.18, np.array([0.9, 0.9, 0.6, 0.2, 0.2, 0.6, 0.6, 1.2, 1.2])),
    "S1": (-0.04, np.array([1.3, 1.3, 0.7, 0.4, 0.4, 1.0, 1.0, 0.0, 0.0])),
}


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """What a laboratory records: the frame of a public dataset.

    rate: Hz of the behaviour. unit: of length, in cm. mixed: neurons per recorded unit (1:
    sorted, 2: threshold crossings). self_paced: targets without trials. areas: share of units.
    """

    rate: float
    unit: float
    mixed: int
    self_paced: bool
    tasks: tuple[str, ...]
    areas: dict[str, float]


FLAVOURS = {
    "perich": Flavour(
        rate=100.0,
        unit=1.0,  # cm, cm/s
        mixed=1,
        self_paced=False,
        tasks=("center_out_reaching", "random_target_reaching"),
        areas={"M1": 0.6, "PMd": 0.4},
    ),
    "odoherty": Flavour(
        rate=250.0,
        unit=0.1,  # mm, mm/s
        mixed=2,
        self_paced=True,
        tasks=("random_target_reaching",),
        areas={"M1": 0.7, "S1": 0.3},
    ),
}


@dataclass(frozen=True, kw_only=True)
class Animal:
    """One individual: how it moves and its copy of the species' network (N latents, F inputs)."""

    centre: np.ndarray  # (2,) cm
    reach: float  # cm from the centre to a target
    tempo: float  # of movement durations, 1 is the species' mean
    leads: dict[str, float]  # area -> s
    recurrent: np.ndarray  # (N, N)
    inputs: np.ndarray  # (N, F)
    bias: np.ndarray  # (N,)
    frame: float  # radians the arm's frame is turned by
    posture: float  # radians the tuning turns per reach length of position


def stream(*keys: str | int) -> np.random.Generator:
    """A random stream of its own for every tuple of names and numbers, the same everywhere."""
    return np.random.default_rng([zlib.crc32(str(key).encode()) for key in keys])


def make_animal(seed: int, name: str) -> Animal:
    """The species' network, the same for every animal of a `seed`, perturbed for this one."""
    species, own = stream(seed, "species"), stream(seed, "animal", name)
    n, total = PER_AREA, PER_AREA * len(AREAS)
    recurrent = 0.05 * species.standard_normal((total, total))  # areas talk weakly
    inputs = np.zeros((total, 9))
    for area, (_, drive) in enumerate(AREAS.values()):
        rows = slice(area * n, (area + 1) * n)
        turn = np.zeros((n, n))
        for i in range(0, n, 2):  # pairs that rotate at 1-2.5 Hz and fade slowly
            turn[i, i + 1] = 2 * np.pi * TAU * species.uniform(1.0, 2.5)
            turn[i + 1, i] = -turn[i, i + 1]
        basis, _ = np.linalg.qr(species.standard_normal((n, n)))
        recurrent[rows, rows] += basis @ (turn + 0.35 * np.eye(n)) @ basis.T
        inputs[rows] = species.standard_normal((n, 9)) * drive
    bias = 0.5 * species.standard_normal(total)
    return Animal(
        centre=own.uniform(-1.0, 1.0, 2),
        reach=own.uniform(7.0, 9.0),
        tempo=own.uniform(0.9, 1.15),
        leads={area: lead + own.uniform(-0.02, 0.02) for area, (lead, _) in AREAS.items()},
        recurrent=recurrent + 0.03 * own.standard_normal((total, total)),
        inputs=inputs * (1 + 0.2 * own.standard_normal(inputs.shape)),
        bias=bias + 0.1 * own.standard_normal(total),
        frame=own.uniform(-0.25, 0.25),
        posture=species.uniform(0.9, 1.1) + own.uniform(-0.1, 0.1),
    )


# --- behaviour ------------------------------------------------------------------------------


@dataclass
class Behaviour:
    """Movements as a list of strokes, so that position and its derivatives are exact at any time.

    strokes: rows of onset, duration (s), displacement x, y (cm), sideways bulge (share of the
    displacement). goals: rows of time, x, y; NaN where there is none. phases: interval name ->
    list of [start, end).
    """

    rng: np.random.Generator
    animal: Animal
    hand: np.ndarray  # (2,) cm where the last stroke will end
    strokes: list[tuple[float, ...]] = field(default_factory=list)
    goals: list[tuple[float, ...]] = field(default_factory=list)
    phases: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self):
        self.start = self.hand
        # postural sway: a few slow sines, whose derivatives are exact too
        self.sway_hz = self.rng.uniform(0.1, 1.5, 12)
        self.sway_phase = self.rng.uniform(0, 2 * np.pi, (12, 2))
        self.sway_size = 0.03 / np.sqrt(self.sway_hz)[:, None] * self.rng.standard_normal((12, 2))

    def mark(self, phase: str, start: float, end: float) -> None:
        self.phases.setdefault(phase, []).append((start, end))

    def aim(self, time: float, goal: np.ndarray | None) -> None:
        self.goals.append((time, *(np.full(2, np.nan) if goal is None else goal)))

    def move(self, onset: float, target: np.ndarray, scatter: float = 0.4) -> float:
        """Reach to `target` (2,), missing it by about `scatter` cm; returns when it ends."""
        rng, way = self.rng, target + scatter * self.rng.standard_normal(2) - self.hand
        length = np.linalg.norm(way)
        seconds = self.animal.tempo * (0.26 + 0.033 * length) * np.exp(0.15 * rng.standard_normal())
        bulge = 0.08 * rng.standard_normal()
        share, end = 1.0, onset + seconds
        if rng.random() < 0.35:  # over- or undershoot, corrected before the hand is at rest
            share = rng.uniform(0.85, 1.15)
            late, brief = onset + 0.7 * seconds, rng.uniform(0.25, 0.35)
            self.strokes.append((late, brief, *((1 - share) * way), 0.0))
            end = max(end, late + brief)
        self.strokes.append((onset, seconds, *(share * way), bulge))
        self.hand = self.hand + way
        return end

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, velocity, acceleration (T, 2) in cm, cm/s, cm/s² at sorted times (T,)."""
        angle = 2 * np.pi * self.sway_hz * times[:, None]
        angle = angle[:, :, None] + self.sway_phase  # (T, 12, 2)
        omega = 2 * np.pi * self.sway_hz[:, None]
        sine, cosine = np.sin(angle) * self.sway_size, np.cos(angle) * self.sway_size
        pos, vel, acc = sine.sum(1), (cosine * omega).sum(1), -(sine * omega**2).sum(1)
        steps = np.zeros((len(times) + 1, 2))  # where finished strokes leave the hand
        steps[0] = self.start
        for onset, seconds, x, y, bulge in self.strokes:
            a, b = np.searchsorted(times, (onset, onset + seconds))
            way, side = np.array([x, y]), bulge * np.array([-y, x])
            steps[b] += way
            s = ((times[a:b] - onset) / seconds)[:, None]
            w = 1 - s
            # minimum jerk along the way; 64 s³(1-s)³ sideways: both start and end at rest
            pos[a:b] += way * (10 - 15 * s + 6 * s**2) * s**3 + side * 64 * (s * w) ** 3
            vel[a:b] += (way * 30 * (s * w) ** 2 + side * 192 * (s * w) ** 2 * (w - s)) / seconds
            curve = side * 384 * s * w * ((w - s) ** 2 - s * w)
            acc[a:b] += (way * 60 * s * w * (w - s) + curve) / seconds**2
        return pos + np.cumsum(steps, 0)[:-1], vel, acc

    def goal_at(self, times: np.ndarray) -> np.ndarray:
        """(T, 2) the goal in cm that is shown at each time; NaN where none is."""
        rows = np.array([(-np.inf, np.nan, np.nan), *self.goals])
        return rows[np.searchsorted(rows[:, 0], times, side="right") - 1, 1:]


def center_out(behaviour: Behaviour, seconds: float, flavour: Flavour) -> None:
    """Instructed delay, reach to one of 8 targets, return; about a tenth of the trials fail."""
    rng, animal = behaviour.rng, behaviour.animal
    start = rng.uniform(0.3, 0.8)
    while start + 5.5 < seconds:
        angle = rng.integers(8) * np.pi / 4
        target = animal.centre + animal.reach * np.array([np.cos(angle), np.sin(angle)])
        go = start + rng.uniform(0.5, 1.2)
        behaviour.aim(start, target)
        fate = rng.choice(["reward", "abort", "miss"], p=[0.9, 0.05, 0.05])
        if fate == "abort":  # leaves the centre before the go cue
            part = animal.centre + rng.uniform(0.2, 0.5) * (target - animal.centre)
            stop = go = behaviour.move(go - rng.uniform(0.1, 0.3), part)
        else:
            wrong = rng.uniform(3.0, 5.0) * rng.standard_normal(2) if fate == "miss" else 0.0
            stop = behaviour.move(go + 0.2 + rng.gamma(3.0, 0.02), target + wrong)
            stop += rng.uniform(0.1, 0.3)
        back = stop + rng.uniform(0.2, 0.4)
        behaviour.aim(stop, animal.centre)
        end = behaviour.move(back, animal.centre) + rng.uniform(0.2, 0.5)
        behaviour.aim(end - 0.1, None)
        if fate == "reward":
            behaviour.mark(f"{PHASES}.hold_period", start, go)
            behaviour.mark(f"{PHASES}.reach_period", go, stop)
            behaviour.mark(f"{PHASES}.return_period", stop, end)
            behaviour.mark("trials", start, end)
        else:
            behaviour.mark(f"{PHASES}.invalid", start, end)
        start = end


def random_target(behaviour: Behaviour, seconds: float, flavour: Flavour) -> None:
    """Four reaches to random targets per trial; self-paced, one reach after another for ever."""
    rng, animal = behaviour.rng, behaviour.animal
    start = rng.uniform(0.3, 0.8)
    while start + 7.5 < seconds:
        now = start if flavour.self_paced else start + rng.uniform(0.3, 0.6)
        behaviour.mark(f"{PHASES}.hold_period", start, now)
        failed = rng.random() < 0.1 and not flavour.self_paced
        for _ in range(rng.integers(1, 4) if failed else 4):
            target = behaviour.hand
            while np.linalg.norm(target - behaviour.hand) < 0.4 * animal.reach:
                target = animal.centre + animal.reach * rng.uniform(-0.9, 0.9, 2)
            behaviour.aim(now, target)
            now = behaviour.move(now + 0.18 + rng.gamma(2.0, 0.02), target)
            now += rng.uniform(0.0, 0.12)  # a short hold in the target
        behaviour.aim(now, None)
        if not failed:
            behaviour.mark("trials", start, now)
        start = now if flavour.self_paced else now + rng.uniform(0.3, 0.6)


TASKS: dict[str, Callable[[Behaviour, float, Flavour], None]] = {
    "center_out_reaching": center_out,
    "random_target_reaching": random_target,
}


# --- neurons --------------------------------------------------------------------------------


def wander(rng: np.random.Generator, steps: int, n: int, tau: float) -> np.ndarray:
    """(steps, n) Ornstein-Uhlenbeck noise of unit variance and time constant `tau` seconds."""
    keep = np.exp(-STEP / tau)
    noise = rng.standard_normal((steps, n))
    noise[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], noise, axis=0)


def latents(rng: np.random.Generator, behaviour: Behaviour, times: np.ndarray) -> np.ndarray:
    """(T, N) in (-1, 1): the network's state at times (T,), spaced by STEP.

    Every area sees the movement as it will be a lead later. The recurrent pairs add memory, tanh
    saturates, and the driving direction turns with the hand's position: no linear filter of a
    second of spikes undoes all of it.
    """
    animal, drive = behaviour.animal, []
    goal = behaviour.goal_at(times - VISUAL)
    for area, lead in enumerate(animal.leads.values()):
        pos, vel, acc = behaviour.at(times + lead + TAU)
        pos = (pos - animal.centre) / animal.reach
        ahead = np.nan_to_num((goal - animal.centre) / animal.reach - pos)
        angle = animal.frame + animal.posture * pos[:, :1]
        turned = [
            v * np.cos(angle) - v[:, ::-1] * np.sin(angle) * [1, -1]
            for v in (vel / 15.0, acc / 120.0)
        ]
        speed = np.linalg.norm(vel, axis=1, keepdims=True) / 15.0
        seen = np.concatenate([turned[0], speed, turned[1], pos, ahead], 1)  # (T, F)
        rows = slice(area * PER_AREA, (area + 1) * PER_AREA)
        drive.append(seen @ animal.inputs[rows].T)
    total = len(animal.bias)
    drive = np.concatenate(drive, 1) + animal.bias + 0.4 * wander(rng, len(times), total, 0.3)
    leak, weights = STEP / TAU, STEP / TAU * animal.recurrent.T
    drive *= leak
    states, x, r = np.empty_like(drive), np.zeros(total), np.zeros(total)
    for t in range(len(times)):
        x *= 1 - leak
        x += r @ weights
        x += drive[t]
        r = np.tanh(x, out=states[t])
    return states


def draw_units(rng: np.random.Generator, n: int, flavour: Flavour) -> dict[str, np.ndarray]:
    """The day's n units of m neurons: areas (n,), loadings (n, m, N) and other facts (n, m)."""
    names = list(flavour.areas)
    area = np.sort(rng.choice(len(names), n, p=list(flavour.areas.values())))
    area = np.array(names)[area]
    shape = (n, flavour.mixed)
    total = PER_AREA * len(AREAS)
    loadings = rng.standard_normal((*shape, total)) * (rng.random((*shape, total)) < 0.35)
    home = np.repeat(list(AREAS), PER_AREA) == area[:, None, None]
    return {
        "area": area,
        "loadings": loadings * np.where(home, 1.0, 0.25),
        "rate_hz": np.clip(rng.lognormal(np.log(6.2), 0.75, shape), 0.6, 36.0) / flavour.mixed,
        "gain": rng.uniform(1.0, 2.2, shape),
        "threshold": rng.normal(0.6, 0.6, shape),
        "slow": 0.45 * rng.standard_normal((*shape, 3)),
        "jitter_s": rng.uniform(-0.02, 0.02, n),
    }


def rates(rng: np.random.Generator, states: np.ndarray, units: dict) -> tuple[np.ndarray, ...]:
    """Rates in Hz (T, n, m) from states (T, N): as fired, and without noise and slow gain."""
    steps, (n, m) = len(states), units["gain"].shape
    drive = states @ units["loadings"].reshape(n * m, -1).T  # (T, n m)
    drive = (drive - drive.mean(0)) / drive.std(0)
    slow = wander(rng, steps, 4, 8.0)
    noise = 0.3 * wander(rng, steps, n * m, 0.15) + slow[:, :3] @ units["slow"].reshape(n * m, 3).T
    gain, threshold, mean = (units[k].ravel() for k in ("gain", "threshold", "rate_hz"))

    def saturate(h: np.ndarray) -> np.ndarray:  # silent below the threshold, bounded above
        return 1 / (1 + np.exp(-2 * gain * (h - threshold)))

    clean, fired = saturate(drive), saturate(drive + noise) * np.exp(0.25 * slow[:, 3:])
    return tuple((f * (mean / f.mean(0))).reshape(steps, n, m) for f in (fired, clean))


def spike_train(rng: np.random.Generator, times: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """(S,) spike times of one neuron whose rate (T,) in Hz is linear between times (T,).

    Gamma intervals in rescaled time (more regular than Poisson), continuous in time; a spike that
    would fall into the refractory period of the last one is not fired.
    """
    mass = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) * (STEP / 2))])
    n = int(mass[-1] + 6 * np.sqrt(mass[-1]) + 10)
    spikes = np.cumsum(rng.gamma(1.5, 1 / 1.5, n))
    spikes = np.interp(spikes[spikes < mass[-1]], mass, times)
    while (near := np.diff(spikes) < REFRACTORY).any():
        near[1:] &= ~near[:-1]  # the second of two rejects may be late enough after all
        spikes = spikes[np.r_[True, ~near]]
    return spikes


def tuning(rate: np.ndarray, vel: np.ndarray, lead_steps: np.ndarray) -> tuple[np.ndarray, ...]:
    """Preferred direction in radians (n,) and depth (n,) of rates (T, n) to velocity (T, 2).

    Least squares of the rate on the velocity `lead_steps` (n,) later; depth is the modulation at
    the session's root mean square speed, as a share of the mean rate.
    """
    slopes = np.empty((rate.shape[1], 2))
    steps = np.arange(len(rate))
    for lead in np.unique(lead_steps):
        rows = steps[(steps + lead >= 0) & (steps + lead < len(rate))]
        x = np.column_stack([np.ones(len(rows)), vel[rows + lead]])
        mine = lead_steps == lead
        slopes[mine] = np.linalg.lstsq(x, rate[rows][:, mine])[0][1:].T
    speed = np.sqrt((vel**2).sum(1).mean())
    return np.arctan2(slopes[:, 1], slopes[:, 0]), np.hypot(*slopes.T) * speed / rate.mean(0)


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

    animal: any name, such as "sim-c". units: fewest and most units, drawn anew every day.
    `behavior["cursor"]` has pos, vel, acc in the flavour's unit ("perich" cm at 100 Hz, "odoherty"
    mm at 250 Hz). `Recording.units` has what no laboratory sees: area, lag_s (positive: before
    the movement), rate_hz, preferred_direction (radians), tuning_depth. Longer sessions of a day
    have the same units.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}; known: {', '.join(FLAVOURS)}")
    lab = FLAVOURS[flavour]
    if task not in lab.tasks:
        raise ValueError(f"no task {task!r} in flavour {flavour!r}; known: {', '.join(lab.tasks)}")
    if not animal or "/" in animal:
        raise ValueError(f"animal {animal!r} must be a name without '/', such as 'sim-c'")
    if not 1 <= units[0] <= units[1]:
        raise ValueError(f"units {units} must be (fewest, most) with 1 <= fewest <= most")
    seconds, who = minutes * 60.0, make_animal(seed, animal)
    rng_units, rng_moves, rng_noise = (
        stream(seed, animal, day, task, what) for what in ("units", "moves", "noise")
    )
    behaviour = Behaviour(rng=rng_moves, animal=who, hand=who.centre)
    TASKS[task](behaviour, seconds, lab)
    domain = intervals(0.0, seconds)
    spans = {name: intervals(np.array(rows)) for name, rows in behaviour.phases.items()}
    if lab.self_paced:  # one long run of reaches: ten blocks of time instead of trials
        spans = {}
        edges = np.linspace(0.0, seconds, 11)
        blocks = intervals(edges[:-1], edges[1:])[rng_moves.permutation(10)]
        splits = {"train": union(blocks[:8]), "valid": blocks[8:9], "test": blocks[9:]}
    else:
        splits = split_trials(domain, spans["trials"], int(rng_moves.integers(2**31)))
    busy = [rows for name, rows in spans.items() if name.startswith(PHASES)]
    spans[f"{PHASES}.random_period"] = subtract(domain, union(*busy))

    drawn = draw_units(rng_units, int(rng_units.integers(units[0], units[1] + 1)), lab)
    area, n = drawn["area"], len(drawn["area"])
    before = 1.0  # s for the network to settle, and for spikes to be shifted in from
    times = np.arange(-before, seconds + 0.1, STEP)
    fired, clean = rates(rng_noise, latents(rng_noise, behaviour, times), drawn)
    spikes = []
    for unit in range(n):
        trains = [spike_train(rng_noise, times, fired[:, unit, m]) for m in range(lab.mixed)]
        spikes.append(np.concatenate(trains) - drawn["jitter_s"][unit])
    label = np.repeat(np.arange(n), [len(train) for train in spikes])
    spikes = np.concatenate(spikes)
    inside = (spikes >= 0) & (spikes < seconds)
    order = np.argsort(spikes[inside], kind="stable")

    clean = clean.sum(2)
    leads = np.array([who.leads[a] for a in area])
    direction, depth = tuning(
        clean, behaviour.at(times)[1] / lab.unit, np.round(leads / STEP).astype(int)
    )
    electrode = np.sort(rng_units.integers(1, 97, n))
    stamps = np.arange(round(seconds * lab.rate)) / lab.rate
    pos, vel, acc = (values / lab.unit for values in behaviour.at(stamps))
    return Recording(
        session_id=f"{animal}_day{day:02d}_{task}",
        subject=animal,
        brainset=f"sim-{flavour}",
        spike_times=spikes[inside][order],
        spike_units=label[inside][order].astype(np.int64),
        unit_ids=np.array([f"{a}/elec{e}/unit_{i}" for i, (a, e) in enumerate(zip(area, electrode))]),
        units={
            "area": area,
            "rate_hz": clean.mean(0),
            "lag_s": leads + drawn["jitter_s"],
            "preferred_direction": direction,
            "tuning_depth": depth,
        },
        behavior={"cursor": {"timestamps": stamps, "pos": pos, "vel": vel, "acc": acc}},
        domain=domain,
        intervals=spans,
        splits=splits,
    )
