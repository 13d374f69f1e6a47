"""Simulated motor cortex: reaching animals whose neurons share one nonlinear system.
The embedded default corpus, so that everything runs as cloned. Four levels of chance, each with
random streams of its own: the species (a recurrent network driven by the coming movement), the
animal (that network perturbed; its pace, workspace and leads), its array (neurons that stay or are
replaced from day to day), the day (which of them are heard, new trials).
Not for: the movement itself (`behaviour`), or which animals and days make a corpus (`corpus`)."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .behaviour import PHASES, Behaviour, center_out, maze, random_target, self_paced
from .intervals import intervals, subtract, union
from .recording import CO, MAZE, RT, Recording, split_around, split_trials

STEP = 0.01  # s, of the latent network and of the rates (linear in between)
TAU = 0.06  # s, time constant of the latent network
REFRACTORY, PEAK = 0.002, 150.0  # s and about the highest rate in Hz, of a single neuron
# An array from day to day: the share of neurons that stay for good, the share of the others that
# are replaced in a day (so 55, 47 and 39 % are the same after 7, 10 and 15 days; 57, 43 and 39 %
# in Dickey et al. 2009), radians a day by which the tuning of one turns, and by how much, in
# logarithms, its rate on a day differs from what it is on average.
STAYING, REPLACED, DRIFT, RATE = 0.33, 0.16, 0.03, 0.2
VISUAL = 0.08  # s, from the sight of a target to its first effect
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


def make_animal(seed: int, name: str, unlike: float = 1.0) -> Animal:
    """The network of the species, the same for every animal of a `seed`, perturbed for one; how
    strongly is said by `unlike`, where 1 is as in the corpus."""
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
        leads={a: lead + unlike * own.uniform(-0.02, 0.02) for a, (lead, _) in AREAS.items()},
        recurrent=recurrent + 0.03 * unlike * own.standard_normal((total, total)),
        inputs=inputs * (1 + 0.2 * unlike * own.standard_normal(inputs.shape)),
        bias=0.5 * species.standard_normal(total) + 0.1 * unlike * own.standard_normal(total),
        frame=unlike * own.uniform(-0.25, 0.25),
        posture=species.uniform(0.9, 1.1) + unlike * own.uniform(-0.1, 0.1),
    )


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """How a laboratory records; units and frames are those of the public set it imitates.
    tasks: name -> what the animal does, and the recorded areas with their share of the units."""

    hertz: int  # of the behaviour
    unit: float  # of length, in cm
    neurons: int = 1  # per recorded unit: 1 sorted, 2 threshold crossings
    channels: int = 1  # units as a multiple of those asked for
    # mean firing rates, relative to 7 Hz as of Perich & Miller; by the paper's Table 1 the sorted
    # units of the benchmark fire at 3-4 Hz, Churchland's threshold crossings at 40 (many tokens)
    rate: float = 1.0
    series: str = "cursor"  # what the behaviour is called
    tasks: Mapping[str, tuple[Callable[[Behaviour, float], None], dict[str, float]]]


MOTOR, SENSORY = {"M1": 0.6, "PMd": 0.4}, {"M1": 0.7, "S1": 0.3}
TRIALS = {CO: (center_out, MOTOR), RT: (random_target, MOTOR)}
PACED, BARRIERS = {RT: (self_paced, SENSORY)}, {MAZE: (maze, MOTOR)}
MIXED = BARRIERS | PACED
FLAVOURS = {
    "perich": Flavour(hertz=100, unit=1.0, tasks=TRIALS),
    "odoherty": Flavour(hertz=250, unit=0.1, neurons=2, tasks=PACED),
    "churchland": Flavour(hertz=1000, unit=0.1, neurons=2, rate=1.5, tasks=BARRIERS),
    "nlb": Flavour(hertz=1000, unit=0.1, channels=2, rate=0.4, series="hand", tasks=MIXED),
}


def wander(rng: np.random.Generator, steps: int, n: int, tau: float) -> np.ndarray:
    """(steps, n) Ornstein-Uhlenbeck noise of unit variance and time constant `tau` seconds."""
    from scipy.signal import lfilter  # a second to import, and most pages do not simulate

    keep, noise = np.exp(-STEP / tau), rng.standard_normal((steps, n))
    noise[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], noise, axis=0)


def run_network(
    rng: np.random.Generator, animal: Animal, behaviour: Behaviour, times: np.ndarray
) -> np.ndarray:
    """(T, N) in (-1, 1): the latents at times (T,), which are STEP apart.
    An area sees the movement as it will be a lead later. Rotation adds memory, tanh saturates and
    the driving direction turns with posture: no linear filter of the spikes undoes all of that."""
    drive, goals = [], np.array(behaviour.goals)
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


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What one place of an array hears on a day, from m neurons: m is 1 but for crossings."""

    area: str
    electrode: int
    late: float  # s by which its spikes come later than its area's
    hertz: np.ndarray  # (m,) mean rates
    loadings: np.ndarray  # (m, N) on the latents
    sharpness: np.ndarray  # (m,) of the threshold
    threshold: np.ndarray  # (m,)
    slow: np.ndarray  # (3, m) on slow noise that is shared


def listen(place: tuple, day: int, neurons: int, areas: dict[str, float], latents: int) -> Unit:
    """The unit at a place of an array on a day. place: seed, animal, flavour and a number."""
    array = stream(*place, "array")
    area = [*areas][int(np.searchsorted(np.cumsum([*areas.values()]), array.random() * 0.999))]
    electrode, staying = int(array.integers(1, 97)), array.random() < STAYING
    number, until = 0, np.inf if staying else array.exponential(1 / REPLACED)
    while until < day:
        number, until = number + 1, until + array.exponential(1 / REPLACED)
    own, m = stream(*place, "neuron", number), neurons
    weights = own.standard_normal((2, m, latents))  # now, and where the tuning drifts to
    weights *= own.random((m, latents)) < 0.35  # sparse, and mostly on the unit's own area
    weights *= np.where(np.repeat(list(AREAS), PER_AREA) == area, 1, 0.25)
    turned = np.cos(DRIFT * day) * weights[0] + np.sin(DRIFT * day) * weights[1]
    today = np.exp(RATE * stream(*place, "day", day).standard_normal())
    hertz = np.clip(own.lognormal(np.log(6.2), 0.75, m) * today, 0.6, 36.0) / m
    return Unit(
        area=area,
        electrode=electrode,
        late=own.uniform(-0.02, 0.02),
        hertz=hertz,
        loadings=turned,
        sharpness=own.uniform(2.0, 4.4, m),
        threshold=own.normal(0.6, 0.6, m),
        slow=0.45 * own.standard_normal((3, m)),
    )


def fire(
    rng: np.random.Generator, states: np.ndarray, units: list[Unit], rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rates in Hz of the n neurons of some units, driven by the latents (T, N); rate: of all.
    Returns (T, n) as fired and (T, n) free of noise. A rate is silent below a threshold and
    bounded above; slow noise is shared by all units, and so is a gain that drifts over seconds."""
    sharpness, threshold, hertz = (
        np.concatenate([getattr(unit, name) for unit in units])
        for name in ("sharpness", "threshold", "hertz")
    )
    steps, n = len(states), len(hertz)
    drive = states @ np.concatenate([unit.loadings for unit in units]).T
    drive = (drive - drive.mean(0)) / (drive.std(0) + 1e-9)
    slow = wander(rng, steps, 4, 8.0)
    noise = slow[:, :3] @ np.hstack([unit.slow for unit in units])
    noise += 0.3 * wander(rng, steps, n, 0.15)
    clean, fired = (1 / (1 + np.exp(sharpness * (threshold - h))) for h in (drive, drive + noise))
    fired *= np.exp(0.25 * slow[:, 3:])
    fired *= np.minimum(rate * hertz / fired.mean(0), PEAK)
    return fired, clean * (fired.mean(0) / clean.mean(0))


def spike_train(rng: np.random.Generator, times: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """(S,) spike times of a neuron whose rate (T,) in Hz is linear between times (T,).
    Gamma intervals in rescaled time (more regular than Poisson) fall on no grid. A spike within
    the refractory period of the one before is not fired."""
    mass = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) * (STEP / 2))])
    spikes = np.cumsum(rng.gamma(1.5, 1 / 1.5, int(mass[-1] + 6 * np.sqrt(mass[-1]) + 10)))
    spikes = np.interp(spikes[spikes < mass[-1]], mass, times)
    while (near := np.diff(spikes) < REFRACTORY).any():
        near[1:] &= ~near[:-1]  # once the first of a run is gone, the next may be late enough
        spikes = spikes[np.append(True, ~near)]
    return spikes


def even_train(times: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """(S,) spike times of a neuron without chance, one wherever the integral of its rate has risen
    by one: a count is the rate, as far as whole numbers can be."""
    mass = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) * (STEP / 2))])
    return np.interp(np.arange(0.5, mass[-1]), mass, times)


def simulate(
    *,
    animal: str,
    day: int,
    task: str,
    seed: int = 0,
    minutes: float = 2.0,
    units: tuple[int, int] = (25, 60),
    flavour: str = "perich",
    take: int = 0,
    noiseless: float = 0.0,
    unlike: float = 1.0,
) -> Recording:
    """One session of a simulated animal: the same arguments give the same bytes.
    animal: any name, such as "sim-c". units: fewest and most units that are heard; all sessions of
    a day have the same ones. From day to day most stay, some are replaced at their place of the
    array (and keep its name, as a channel does), and tuning drifts. flavour: "perich" (cm at 100
    Hz, sorted units), "odoherty" (mm at 250 Hz, threshold crossings), "churchland" (the same at 1
    kHz) or "nlb" (mm at 1 kHz, twice as many units, sorted). take: another number gives other
    trials of the same units on the same day. noiseless: so many spikes, without any chance, for
    each that the rates free of noise would fire: what a decoder of rates would know. unlike: how
    far the animal's network is from its species', 1 as in the corpus, 0 not at all.
    `behavior["cursor"]`, in "nlb" "hand", has pos, vel and acc; `Recording.units` has what no
    laboratory sees: area, rate_hz, lag_s (positive: before the movement), preferred_direction in
    radians and tuning_depth, the cosine modulation at the root mean square speed as a share of the
    mean rate. Raises ValueError for an unknown flavour, or a task that it does not have."""
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}; known: {', '.join(FLAVOURS)}")
    lab = FLAVOURS[flavour]
    if task not in lab.tasks:
        raise ValueError(f"no task {task!r} in flavour {flavour!r}; known: {', '.join(lab.tasks)}")
    if not animal or "/" in animal:
        raise ValueError(f"animal {animal!r} must be a name without '/', such as 'sim-c'")
    if not (1 <= units[0] <= units[1] and minutes >= 0.5):
        raise ValueError(f"units {units} must be (fewest, most), minutes {minutes} at least 0.5")
    seconds, who = minutes * 60.0, make_animal(seed, animal, unlike)
    again = [take] * (take > 0)
    moves, noise = (stream(seed, animal, day, task, of, *again) for of in ("moves", "fire"))
    behaviour = Behaviour(moves, who.centre, who.reach, who.tempo)
    perform, areas = lab.tasks[task]
    perform(behaviour, seconds)
    domain = intervals(0.0, seconds)
    spans = {name: intervals(np.array(rows)) for name, rows in behaviour.spans.items()}
    busy = [rows for name, rows in spans.items() if name.startswith(PHASES)]
    spans[f"{PHASES}.random_period"] = subtract(domain, union(*busy))
    if "trials" in spans:
        splits = split_trials(domain, spans["trials"], int(moves.integers(2**31)))
    else:  # ten equal blocks of time, of which one is for validation and one for test
        edges = np.linspace(0.0, seconds, 11)
        blocks = np.stack([edges[:-1], edges[1:]], -1)[moves.permutation(10)]
        splits = split_around(domain, blocks[8:9], blocks[9:])
    heard = stream(seed, animal, day, "units").integers(units[0], units[1] + 1)
    n, m = lab.channels * int(heard), lab.neurons
    array = [listen((seed, animal, flavour, i), day, m, areas, len(who.bias)) for i in range(n)]
    area = np.array([unit.area for unit in array])
    late = np.array([unit.late for unit in array])
    times = np.arange(-1.0, seconds + 0.1, STEP)  # a second for the network to settle
    rate, clean = fire(noise, run_network(noise, who, behaviour, times), array, lab.rate)
    if noiseless:
        trains = [even_train(times, noiseless * clean[:, i]) for i in range(n * m)]
    else:
        trains = [spike_train(noise, times, rate[:, i]) for i in range(n * m)]
    trains = [train + late[i // m] for i, train in enumerate(trains)]
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
    hand = dict(zip(("pos", "vel", "acc"), behaviour.at(stamps)))  # in cm
    facts = {"area": area, "rate_hz": clean.mean(0), "lag_s": leads - late}
    facts["preferred_direction"] = np.arctan2(slopes[1], slopes[0])
    facts["tuning_depth"] = np.hypot(*slopes) * np.hypot(*hand["vel"].std(0)) / clean.mean(0)
    return Recording(
        session_id=f"{animal}_day{day:02d}_{task}", subject=animal, brainset=f"sim-{flavour}",
        task=task, spike_times=spikes[order], spike_units=spike_units[order],
        unit_ids=np.array([f"{u.area}/elec{u.electrode}/unit_{i}" for i, u in enumerate(array)]),
        units=facts,
        behavior={lab.series: {"timestamps": stamps} | {k: v / lab.unit for k, v in hand.items()}},
        domain=domain, splits=splits, intervals=spans,
    )  # fmt: skip
