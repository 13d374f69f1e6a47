"""What a simulated animal does: strokes of the hand, and the tasks that ask for them."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

PHASES = "movement_phases"


class Behaviour:
    """A list of strokes, so that position and velocity are exact at any time.
    strokes: rows of onset and duration in s, displacement x and y in cm, sideways bulge as a share
    of it. goals: rows of time, x, y; NaN while no target shows. spans: interval name -> rows of
    [start, end). Tasks below append to all three."""

    def __init__(self, rng: np.random.Generator, centre: np.ndarray, reach: float, tempo: float):
        self.rng, self.hand = rng, centre
        self.centre, self.reach, self.tempo = centre, reach, tempo  # as in `Animal`
        self.strokes: list[tuple[float, ...]] = []
        self.goals: list[tuple[float, ...]] = [(-np.inf, np.nan, np.nan)]
        self.spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.omega = 2 * np.pi * rng.uniform(0.1, 1.5, 6)  # rad/s: the hand is never quite still
        sway = rng.standard_normal((6, 2)) + 1j * rng.standard_normal((6, 2))
        self.sway = 0.1 * sway / self.omega[:, None]  # (6, 2) cm

    def move(self, onset: float, target: np.ndarray, slowness: float = 1.0) -> float:
        """Reach to `target` (2,), missing it by some 4 mm; returns when the hand is at rest."""
        rng, way = self.rng, target + 0.4 * self.rng.standard_normal(2) - self.hand
        seconds = slowness * self.tempo * (0.26 + 0.033 * np.linalg.norm(way))
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

    def follow(self, onset: float, path: np.ndarray, slowness: float = 1.0) -> float:
        """Reach along the points of `path` (k, 2) in one curve; returns when the hand is at rest.
        A stroke begins before the one before it has ended: the sum is smooth and cuts corners."""
        end = onset
        for point in path:
            stop = self.move(onset, point, slowness)
            onset, end = onset + 0.6 * (stop - onset), max(end, stop)
        return end

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position cm, velocity cm/s, acceleration cm/s² at sorted times (T,): each (T, 2)."""
        wave, omega = np.exp(1j * times[:, None] * self.omega), 1j * self.omega[:, None]
        pos, vel = (wave @ self.sway).real, (wave @ (self.sway * omega)).real
        rest = np.zeros((len(times) + 1, 2))  # where finished strokes leave the hand
        rest[0] = self.centre
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


def draw_mazes(n: int) -> list[np.ndarray]:
    """Paths around 0, 1 or 2 barriers (two make an S): (k, 2) points to pass, in reaches from the
    centre. Drawn once for all animals: mazes are the laboratory's."""
    rng, mazes = np.random.default_rng(2012), []
    for i in range(n):
        along = np.linspace(0, 1, 2 + i % 3)[1:, None]
        aside = rng.choice([-1, 1]) * rng.uniform(0.35, 0.6) * (-1.0) ** np.arange(len(along))
        aside[-1] = 0.0  # the target itself
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.4)
        way = distance * np.array([np.cos(angle), np.sin(angle)])
        mazes.append(along * way + aside[:, None] * [-way[1], way[0]])
    return mazes


ANGLES = np.arange(8) * np.pi / 4
CIRCLE = list(np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)[:, None])  # 8 paths of one point
MAZES = draw_mazes(36)


def center_out(behaviour: Behaviour, seconds: float) -> None:
    """Instructed delay, reach to one of 8 targets, return; about a tenth of the trials fail."""
    for start, go, _, _, stop, end in instructed(behaviour, seconds, CIRCLE):
        phases(behaviour, (start, go), (go, stop), (stop, end))


def maze(behaviour: Behaviour, seconds: float) -> None:
    """Instructed delay, quick curved reach through one of 36 mazes, return; the reach is from the
    onset to the end of the movement, as in the public recordings."""
    for start, go, onset, still, _, end in instructed(behaviour, seconds, MAZES, slowness=0.7):
        phases(behaviour, (start, go), (onset, still), (still, end))
        behaviour.spans["nlb_eval_intervals"].append((onset - 0.05, onset + 0.65))


def phases(behaviour: Behaviour, *hold_reach_return: tuple[float, float]) -> None:
    for name, span in zip(("hold", "reach", "return"), hold_reach_return):
        behaviour.spans[f"{PHASES}.{name}_period"].append(span)


def instructed(
    behaviour: Behaviour, seconds: float, paths: list[np.ndarray], slowness: float = 1.0
) -> Iterator[tuple[float, ...]]:
    """Trials along one of `paths` each, a tenth of which fail; yields the others' times: target
    shown, go cue, onset and end of the movement, end of the reach with its hold, end of all."""
    rng, centre, start = behaviour.rng, behaviour.centre, behaviour.rng.uniform(0.3, 0.8)
    paths = [centre + behaviour.reach * path for path in paths]
    while True:
        which = rng.integers(len(paths))
        fate = rng.choice(["reward", "abort", "miss"], p=[0.9, 0.05, 0.05])
        behaviour.goals.append((start, *paths[which][-1]))
        go = start + rng.uniform(0.5, 1.2)
        if fate == "abort":  # leaves the centre before the go cue
            part = centre + rng.uniform(0.2, 0.5) * (paths[which][0] - centre)
            onset = go - rng.uniform(0.1, 0.3)
            stop = still = behaviour.move(onset, part)
        else:  # a miss goes to a neighbouring target
            aim = paths[(which + (fate == "miss")) % len(paths)]
            onset = go + 0.2 + rng.gamma(3.0, 0.02)
            still = behaviour.follow(onset, aim, slowness)
            stop = still + rng.uniform(0.1, 0.3)
        behaviour.goals.append((stop, *centre))
        back = behaviour.move(stop + rng.uniform(0.2, 0.4), centre, slowness)
        end = back + rng.uniform(0.2, 0.5)
        behaviour.goals.append((end - 0.1, np.nan, np.nan))
        if end > seconds:
            return
        behaviour.spans["trials" if fate == "reward" else f"{PHASES}.invalid"].append((start, end))
        if fate == "reward":
            yield start, go, onset, still, stop, end
        start = end


def next_target(behaviour: Behaviour, cue: float) -> float:
    """Reach to a random target shown at `cue`; returns when it is acquired, often on the move."""
    rng, target = behaviour.rng, behaviour.hand
    while np.linalg.norm(target - behaviour.hand) < 0.4 * behaviour.reach:
        target = behaviour.centre + behaviour.reach * rng.uniform(-0.9, 0.9, 2)
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
