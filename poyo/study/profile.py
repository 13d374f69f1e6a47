"""What a study sets: params.yaml, read strictly into frozen dataclasses, one per section.

    params = profile.load()

The sections `models`, `ablations` and `speed` inherit a recipe from `pretrain` and set what
differs. Sizes are names here: `python -m poyo params` looks them up. Not for: deriving anything
from data.
"""

import re
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path

from .. import ROOT
from ..config import ConfigError, EmbeddingRecipe, Recipe, Windows, build, read_yaml

TABLE_2 = ("poyo_mp", "poyo_1")
"""Rows of `models` that Table 2 is made of."""
NEEDED = (*TABLE_2, "third")
"""Rows that the pages after 04_pretrain cannot do without."""


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which sessions. `corpus`: simulated, poyo_mp or poyo_1; the rest sizes the simulation.

    root: where `brainsets prepare` put its files, for the public corpora. days: per known animal
    and task; held_out_days: per column of Table 2, the NLB columns have one; minutes: of a
    session to pretrain on; units: fewest and most per session.
    """

    corpus: str
    root: str
    seed: int
    days: int
    held_out_days: int
    minutes: float
    held_out_minutes: float
    units: tuple[int, int]


class Inheriting(Recipe):
    """A section that may set any key of a recipe beside its own; the rest are `pretrain`'s."""

    @property
    def recipe(self) -> Recipe:
        """The recipe alone."""
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})


@dataclass(frozen=True, kw_only=True)
class Pretraining(Inheriting):
    """A model that 04_pretrain trains, a row of `models`.

    scope: which pretraining sessions, a name of `sources.scope`. share: of the sessions of each
    animal and task. alone: a model for each of these sessions instead of one for all.
    """

    scope: str
    share: float
    alone: bool
    size: str

    def __post_init__(self):
        super().__post_init__()
        _check(0 < self.share <= 1, f"share: {self.share} is not in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """The learning rates each method of `adapt` tries besides its recipe's own."""

    unit_identification: tuple[dict[str, float], ...]
    finetune: tuple[dict[str, float], ...]
    single_session: tuple[dict[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """How a pretrained model meets a held-out session, and the same from scratch.

    tried: on the first session of a column; the best on validation is taken. trials: numbers of
    labelled trials in the few-shot curves; few: the columns of Table 2 that are asked. transfer:
    another pretrained model -> columns it meets by unit identification.
    """

    unit_identification: EmbeddingRecipe
    finetune: Recipe
    single_session: Recipe
    tried: LearningRates
    trials: tuple[int, ...]
    few: tuple[str, ...]
    transfer: dict[str, tuple[str, ...]]

    def __post_init__(self):
        for method, tried in vars(self.tried).items():
            recipe = getattr(self, method)
            rates = {"lr", "embedding_lr"} & {field.name for field in fields(recipe)}
            for row in tried:
                _check(
                    row.keys() <= rates,
                    f"tried.{method}: {row} may set {' and '.join(sorted(rates))} only",
                )
            grid = self.grid(method)
            _check(len(set(grid)) == len(grid), f"tried.{method}: a configuration is there twice")

    def grid(self, method: str) -> tuple[EmbeddingRecipe, ...]:
        """All recipes that a method tries, its own first."""
        recipe = getattr(self, method)
        return recipe, *(replace(recipe, **rates) for rates in getattr(self.tried, method))


@dataclass(frozen=True, kw_only=True)
class Ablations(Inheriting):
    """The study of 09_ablations. sessions: how many per task of the first dataset."""

    sessions: int


@dataclass(frozen=True, kw_only=True)
class Wiener:
    """Bin width and reach to each side of a sample, seconds; ridge penalties tried on valid."""

    bin: float
    reach: float
    ridge: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One configuration of a baseline network."""

    width: int
    dropout: float
    lr: float


@dataclass(frozen=True, kw_only=True)
class LFADSNetwork(Network):
    """The same of LFADS. kl: weight of its divergence."""

    kl: float


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Steps of training, and the configurations tried."""

    steps: int
    tried: tuple[Network, ...]

    def __post_init__(self):
        _check(len(set(self.tried)) == len(self.tried), "tried: a configuration is there twice")


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """The same for LFADS: `candidates` are drawn between the lowest and the highest value."""

    steps: int
    width: int
    candidates: int
    lr: tuple[float, float]
    dropout: tuple[float, float]
    kl: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Networks on binned counts; of each method's configurations the best on valid is taken.

    bin: width, reach: what the MLP sees to each side, eit_step: time step of EIT, seconds.
    warmup: share of the steps; then the learning rate falls by a cosine. eval_every: steps
    between validations; the weights that did best there are kept. lags: seconds from a moment at
    which the linear readouts of NDT and LFADS see rates or factors; ridge: their penalties, the
    best on valid is taken.
    """

    bin: float
    reach: float
    eit_step: float
    batch_size: int
    warmup: float
    weight_decay: float
    eval_every: int
    lags: tuple[float, ...]
    ridge: tuple[float, ...]
    mlp: Grid
    gru: Grid
    ndt: Grid
    ndt_supervised: Grid
    eit: Grid
    lfads: RandomSearch

    def __post_init__(self):
        grids = self.mlp, self.gru, self.ndt, self.ndt_supervised, self.eit
        as_many = {len(grid.tried) for grid in grids} == {self.lfads.candidates}
        _check(as_many, "every method must try as many configurations")
        bins = self.eit_step / self.bin
        whole = abs(bins - round(bins)) < 1e-6 and bins > 0.5
        _check(whole, f"eit_step: {self.eit_step} s is not a whole number of bins")
        _check(self.eval_every >= 1, "eval_every must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Speed(Inheriting):
    """What 10_speed measures, and how long.

    sizes: of the models that are timed. repeats: stretches of ours and of the reference, in
    turn; stretch: s of each, at least. corpus: sessions of the small and of the large corpus;
    spikes: of the large one in all. stream: seconds of spikes that are decoded as they come.
    goal: validation R² that is to be reached, by our own recipe and by the official one, for each
    of `seeds`.
    """

    sizes: tuple[str, ...]
    repeats: int
    stretch: float
    corpus: tuple[int, int]
    spikes: int
    stream: float
    goal: float
    seeds: tuple[int, ...]
    official: Recipe

    own = Inheriting.recipe


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole of params.yaml, the keys of `pretrain` where they are inherited."""

    profile: str
    threads: int
    seeds: tuple[int, ...]
    size: str
    data: Data
    windows: Windows
    models: dict[str, Pretraining]
    runs: tuple[str, ...]
    adapt: Adapt
    ablations: Ablations
    wiener: Wiener
    baselines: Baselines
    your_recording: Recipe
    speed: Speed

    def __post_init__(self):
        for where, seeds in (("seeds", self.seeds), ("speed.seeds", self.speed.seeds)):
            _check(0 < len(seeds) == len(set(seeds)), f"{where}: some, each once; got {seeds}")
        for name in self.models:
            # a name is that of a folder, and of a stage's parameter, where a dot would divide it
            _check(bool(re.fullmatch(r"[\w-]+", name)), f"models: {name!r} is no name for a row")
        known = ", ".join(self.models)
        for name in (*self.runs, *self.adapt.transfer):
            _check(name in self.models, f"runs: {name!r} is no row of models; known: {known}")
        _check(len(set(self.runs)) == len(self.runs), "runs: a name is there twice")
        for name in dict.fromkeys((*NEEDED, *self.adapt.transfer)):
            _check(name in self.runs, f"runs: {name!r} is missing; 05_adapt needs it")
            _check(not self.models[name].alone, f"models.{name}: 05_adapt needs one model for all")
        tries = self.baselines.lfads.candidates
        for method in vars(self.adapt.tried):
            _check(
                len(self.adapt.grid(method)) == tries,
                f"adapt.tried.{method}: with the recipe's own rates a method must try as many "
                f"configurations as those of baselines, {tries}",
            )


def load(path: Path | str = ROOT / "params.yaml") -> Params:
    """Read and check params.yaml. Raises ConfigError on an unknown, missing or wrong key."""
    return read(read_yaml(Path(path)))


def read(tree: object) -> Params:
    """The same from what the file holds."""
    if not isinstance(tree, dict):
        return build(Params, tree, "")  # which says what is wrong
    if "pretrain" not in tree:
        raise ConfigError("missing key pretrain; params needs it")
    own = {key: value for key, value in tree.items() if key != "pretrain"}
    rows = own.get("models")
    if not isinstance(rows, dict):
        return build(Params, own, "")
    heirs = [*rows.values(), own.get("ablations"), own.get("speed")]
    inherited = _inherited(tree["pretrain"], [heir for heir in heirs if isinstance(heir, dict)])

    def merged(section: object) -> object:
        return inherited | section if isinstance(section, dict) else section

    own["models"] = {name: merged(row) for name, row in rows.items()}
    for key in {"ablations", "speed"} & own.keys():
        own[key] = merged(own[key])
    return build(Params, own, "")


def _inherited(pretrain: object, heirs: list[dict]) -> dict:
    """The values of `pretrain`: all keys of a recipe that some heir does not set, and no other,
    which would be idle."""
    recipe = {field.name: field.type for field in fields(Recipe)}
    idle = {key for key in recipe if all(key in heir for heir in heirs)}
    for key in idle & set(pretrain if isinstance(pretrain, dict) else ()):
        raise ConfigError(f"pretrain.{key}: remove it, everything that inherits has its own")
    kind = make_dataclass("Shared", [item for item in recipe.items() if item[0] not in idle])
    return vars(build(kind, pretrain, "pretrain"))
