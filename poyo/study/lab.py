"""A laboratory's own recordings (13_your_lab): one decoder over the days there are, and what it
does for a new day or a new animal, by the number of labelled trials. Not for: reading the files
(`data.folder`), what its rows say (`lab_results`), or the paper's own experiments."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from .. import adapt, tokens, train
from .. import official as checkpoints
from ..config import EmbeddingRecipe, Plateau, Windows
from ..data.intervals import subtract
from ..data.recording import CO, Recording, RecordingError, require
from ..data.simulate import simulate
from ..data.sources import readout_of
from ..decoder import Decoder
from ..sampling import TrainingWindows
from ..vocabulary import units_and_sessions
from . import baselines, results
from .profile import Baselines, Lab, Wiener

METHODS = results.METHODS
NAMES = {method: name for method, (name, _) in METHODS.items()}
SCRATCH = "from_scratch"
NETWORKS = "mlp", "gru"  # on counts, beside the Wiener filter
RECURS = 0.5  # of the units: where fewer have a namesake on an earlier day, names mean nothing
FEWER = "unit_identification of "  # so many days: a method's name


class How(NamedTuple):
    """What everything here is done with: the model's size, windows, yardsticks and recipes."""

    size: str
    windows: Windows
    wiener: Wiener
    baselines: Baselines
    recipes: Lab


def simulated(units: tuple[int, int], minutes: float, seed: int) -> list[Recording]:
    """A small laboratory: four days of one animal and one of another."""
    days = [*(("sim-a", day) for day in range(1, 5)), ("sim-b", 1)]
    rest: dict[str, Any] = {"task": CO, "units": units, "seed": seed, "minutes": minutes}
    return [simulate(animal=animal, day=day, **rest) for animal, day in days]


def shortened(recipes: Lab, share: float) -> Lab:
    """The recipes with a share of their steps, and of their budgets; unit identification, which is
    short as it is, keeps all."""

    def less(recipe: EmbeddingRecipe) -> Any:
        counts: dict[str, Any] = {key: getattr(recipe, key, None) for key in ("steps", "budget")}
        counts = {key: max(1, round(share * n)) for key, n in counts.items() if n}
        return replace(recipe, eval_every=min(recipe.eval_every, counts["steps"]), **counts)

    names = "pretrain", "finetune", "from_scratch"
    return replace(recipes, **{name: less(getattr(recipes, name)) for name in names})


def in_one_round(recipes: Lab, steps: dict[str, int]) -> Lab:
    """The recipes with so many steps and no further round."""

    def once(recipe: EmbeddingRecipe, n: int) -> Any:
        budget: Any = {"budget": n} if isinstance(recipe, Plateau) else {}
        return replace(recipe, steps=n, **budget)

    return replace(recipes, **{name: once(getattr(recipes, name), n) for name, n in steps.items()})


def cost(decoder: Decoder, recordings: list[Recording], recipe: EmbeddingRecipe) -> float:
    """About how many seconds a gradient step takes, from a few of them, without validations."""
    model, began = decoder.copy().model.to(train.device()), 0.0
    sessions = [decoder.session(recording) for recording in recordings]
    length, queries = decoder.windows.length, decoder.windows.queries
    stream = TrainingWindows([one.splits["train"] for one in recordings], length, 0)
    for step in range(5):
        began = began if step > 2 else time.monotonic()  # the first ones warm up
        which, starts = stream.batch(step, recipe.batch_size)

        def part(rows: slice, which=which, starts=starts):
            return tokens.tokenize(sessions, which[rows], starts[rows], length, queries=queries)

        train.gradients(model, part, len(which), (step,))
    return (time.monotonic() - began) / 3


def untrained(recordings: list[Recording], how: How, seed: int, official: str = "") -> Decoder:
    """A decoder of the recordings with weights drawn from `seed`, or with the network of a
    checkpoint of the authors, `official`."""
    if official:
        return Decoder.load_official(official).adopt(recordings, seed=seed)
    return Decoder.new(recordings, size=how.size, windows=how.windows, seed=seed)


def seen(official: str, recordings: list[Recording]) -> list[str]:
    """Ids of the recordings that a checkpoint of the authors was trained on: as new sessions they
    prove nothing. "" is no checkpoint."""
    known = Decoder.load_official(official).sessions.names if official else []
    return checkpoints.seen(known, [one.session_id for one in recordings])


def pretrain(
    recordings: list[Recording], how: How, *, seed: int, official: str = ""
) -> tuple[Decoder, train.History]:
    """One decoder over all of the recordings."""
    decoder, recipe = untrained(recordings, how, seed, official), how.recipes.pretrain
    label = f"pretraining, {len(recordings)} sessions, seed {seed}"
    return decoder, adapt.to_plateau(decoder, recordings, recipe, seed=seed, label=label)


def from_scratch(recording: Recording, how: How, *, seed: int, where: str = "") -> Decoder:
    """A decoder of one recording alone."""
    decoder, recipe = untrained([recording], how, seed), how.recipes.from_scratch
    label = f"from scratch, {where or recording.session_id}"
    adapt.to_plateau(decoder, [recording], recipe, seed=seed, label=label)
    return decoder


def labelled(recording: Recording, n: int | Literal["all"], length: float, seed: int) -> Recording:
    """The recording with n labelled trials in all, one in five (at least one) of them to validate;
    "all" leaves it as it was. length: of a window, s. RecordingError where there are fewer."""
    if n == "all":
        return recording
    require(n >= 2, f"{n} labelled trials: at least 2, one to learn from and one to validate")
    valid, train = (
        adapt.few_trials(recording, k, length, seed).splits["train"] for k in (max(1, n // 5), n)
    )
    return replace(
        recording, splits=recording.splits | {"train": subtract(train, valid), "valid": valid}
    )


def same_units(recording: Recording, earlier: Iterable[Recording]) -> list[str]:
    """Ids of the earlier sessions of its animal whose unit names it shares, so that a unit of the
    same name may be taken for the same channel."""
    mine = set(recording.unit_ids)
    shared = {one.session_id: len(mine & set(one.unit_ids)) / len(mine) for one in earlier}
    known = [one.session_id for one in earlier if one.subject == recording.subject]
    return [name for name in known if shared[name] >= RECURS]


def meet(job: tuple, how: How) -> list[dict]:
    """One held-out session, one number of labelled trials, one seed: a row per method, of which
    the first is trained from scratch. job: as of `adapted`."""
    recording, trials, seed, *_ = job
    try:
        short = labelled(recording, trials, how.windows.length, seed)
    except RecordingError as error:
        train.say(f"left out: {error}")
        return []
    where = f"{recording.session_id}, {trials} trials, seed {seed}"
    alone = from_scratch(short, how, seed=seed, where=where)
    return [_scored(alone, SCRATCH, recording, trials, seed), *adapted(job, how)]


def adapted(job: tuple, how: How) -> list[dict]:
    """Unit identification, then finetuning from where it ends: a row each.
    job: the recording, trials, seed, the pretrained decoder, ids of sessions with the same units,
    and the folder in which the decoder finetuned on all trials is kept, or None."""
    recording, trials, seed, pretrained, like, place = job
    short, recipe = labelled(recording, trials, how.windows.length, seed), how.recipes
    where = f"{recording.session_id}, {trials} trials, seed {seed}"
    starts: dict[str, list[str]] = {"unit_identification": []}
    starts |= {"same_units_identification": like} if like else {}
    rows = []
    for method, ids in starts.items():  # the last one is finetuned
        met = pretrained.adopt([short], seed=seed, same_units_as=ids)
        identify = getattr(recipe, method)
        adapt.identify_units(met, [short], identify, seed=seed, label=f"{method}, {where}")
        rows.append(_scored(met, method, recording, trials, seed))
    adapt.to_plateau(met, [short], recipe.finetune, seed=seed, label=f"finetuning, {where}")
    if place and trials == "all":
        met.save(place / f"{recording.session_id}-{seed}.pt")
    return [*rows, _scored(met, "finetune", recording, trials, seed)]


def row(recording: Recording, trials: int | str, seed: int, method: str, r2: float) -> dict:
    """What is known of a session: its test R² by a method with so many labelled trials."""
    about = {"session": recording.session_id, "animal": recording.subject, "trials": trials}
    return about | {"seed": seed, "method": method, "r2": round(r2, 4)}


def _scored(decoder: Decoder, method: str, recording: Recording, trials, seed: int) -> dict:
    (r2,) = decoder.score([recording], "test").values()
    return row(recording, trials, seed, method, r2)


def meet_fewer(job: tuple, how: How) -> list[dict]:
    """A held-out session with all its labels, by a decoder that saw fewer days.
    job: the recording, seed, the decoder, and what it saw, such as "4 days"."""
    recording, seed, pretrained, days = job
    met, recipe = pretrained.adopt([recording], seed=seed), how.recipes.unit_identification
    label = f"unit identification after {days}, {recording.session_id}, seed {seed}"
    adapt.identify_units(met, [recording], recipe, seed=seed, label=label)
    return [_scored(met, f"{FEWER}{days}", recording, "all", seed)]


def yardsticks(job: tuple, how: How, configurations: dict) -> list[dict]:
    """The same for the Wiener filter and the networks on counts, by the `configurations` found on
    a pretraining session (`tuned`). job: the recording, trials, seed."""
    recording, trials, seed = job
    try:
        session = prepared(labelled(recording, trials, how.windows.length, seed))
    except RecordingError:
        return []  # `meet` has said so
    found = {"wiener": baselines.wiener(session, how.wiener, how.windows).r2}
    for method, config in configurations.items():
        rest = (config, how.baselines, how.windows)
        found[method] = baselines.fit(method, session, *rest, seed=seed)[1].r2
    return [row(recording, trials, seed, *one) for one in found.items()]


def tuned(recording: Recording, how: How, seed: int) -> dict:
    """The configuration of each network on counts that is best on a session's validation split."""
    search = (prepared(recording), how.baselines, how.windows)
    return {method: baselines.search(method, *search, seed=seed)[0] for method in NETWORKS}


def own_days(job: tuple, how: How, configurations: dict) -> list[dict]:
    """A pretraining session under decoders of all and under what is fitted to it alone, as of
    `yardsticks`. job: the recording, and the decoders by seed."""
    recording, decoders = job
    rows = []
    for seed, decoder in decoders.items():
        rows.append(_scored(decoder, "pretrained", recording, "all", seed))
        rows += yardsticks((recording, "all", seed), how, configurations)
    return rows


def unlabelled(job: tuple, how: How) -> list[dict]:
    """A held-out session without any label: under the unchanged Wiener filter of the last of some
    earlier days, and under pretrained decoders with its units' mean rows of these days.
    job: the recording, the earlier ones, and the decoders by seed."""
    recording, earlier, decoders = job
    *_, last = earlier
    unchanged = None
    if list(recording.unit_ids) == list(last.unit_ids):
        one, later = prepared(last), prepared(recording)
        unchanged = baselines.wiener(one, how.wiener, how.windows, later).r2
    ids, rows = [day.session_id for day in earlier], []
    for seed, decoder in decoders.items():
        met = decoder.adopt([recording], seed=seed, same_units_as=ids)
        rows.append(_scored(met, "same_units", recording, 0, seed))
        if unchanged is not None:
            rows.append(row(recording, 0, seed, "unchanged_wiener", unchanged))
    return [one | {"earlier": last.session_id} for one in rows]


def prepared(recording: Recording) -> tokens.Session:
    """A session of its own, for what is fitted to one session alone."""
    return tokens.prepare(recording, readout_of(recording), *units_and_sessions([recording]))
