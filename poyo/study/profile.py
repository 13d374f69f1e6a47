"""What a study sets: params.yaml, read strictly into frozen dataclasses, one per section.

    params = profile.load()

The comments of params.yaml say what its keys are for. The sections `models`, `ablations` and
`speed` inherit a recipe from `pretrain` and set what differs. Sizes are names here: `python -m
poyo params` looks them up. Not for: deriving anything from data."""

import re
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path

from .. import ROOT
from ..config import (
    ConfigError,
    EmbeddingRecipe,
    Plateau,
    Recipe,
    Windows,
    build,
    check,
    read_yaml,
)

TABLE_2 = ("poyo_mp", "poyo_1")  # rows of `models` that Table 2 is made of
CORPORA = "simulated", "poyo_mp", "poyo_1"  # that `data.corpus.build` can make
ANY = "lags", "goal"  # keys whose numbers may be negative; those of any other are more than 0,
FROM_0 = "seed seeds claims development overhang weight_decay warmup hold dropout".split()  # or 0
UP_TO_1 = "share", "warmup", "hold", "dropout"


@dataclass(frozen=True, kw_only=True)
class Data:  # which sessions: of which corpus, and how large simulated ones are
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
        return Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})


@dataclass(frozen=True, kw_only=True)
class Pretraining(Inheriting):  # a model of 04_pretrain, or one per session (`alone`)
    scope: str
    share: float
    alone: bool
    size: str


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """How a pretrained model meets a held-out session, and the same from scratch.
    tried: method -> rates besides its recipe's own; transfer: model -> columns it meets."""

    unit_identification: EmbeddingRecipe
    finetune: Recipe
    single_session: Recipe
    tried: dict[str, tuple[dict[str, float], ...]]
    trials: tuple[int, ...]
    few: tuple[str, ...]
    transfer: dict[str, tuple[str, ...]]

    def __post_init__(self):
        check(self.transfer, "transfer: expected some model and the columns it meets")
        methods = "unit_identification", "finetune", "single_session"
        message = f"tried: expected keys {', '.join(methods)}, got {', '.join(self.tried)}"
        check({*self.tried} == {*methods}, message)
        for method, tried in self.tried.items():
            rates = [key for key in ("embedding_lr", "lr") if hasattr(getattr(self, method), key)]
            message = f"tried.{method}: each may set {' and '.join(rates)} only, got {list(tried)}"
            check(all(row.keys() <= {*rates} for row in tried), message)
            grid = self.grid(method)
            check(len({*grid}) == len(grid), f"tried.{method}: a configuration is there twice")

    def grid(self, method: str) -> tuple[EmbeddingRecipe, ...]:
        """All recipes that a method tries, its own first."""
        recipe = getattr(self, method)
        return recipe, *(replace(recipe, **rates) for rates in self.tried[method])


@dataclass(frozen=True, kw_only=True)
class Ablations(Inheriting):  # the study of 09_ablations
    sessions: int


@dataclass(frozen=True, kw_only=True)
class Wiener:  # bin and reach to each side of a sample, in seconds; the ridge penalties tried
    bin: float
    reach: float
    ridge: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:  # one configuration of a baseline network
    width: int
    dropout: float
    lr: float


@dataclass(frozen=True, kw_only=True)
class LFADSConfiguration(Configuration):  # the same of LFADS; kl: weight of its divergence
    kl: float


@dataclass(frozen=True, kw_only=True)
class Grid:  # steps of training, and the configurations tried
    steps: int
    tried: tuple[Configuration, ...]

    def __post_init__(self):
        check(len({*self.tried}) == len(self.tried), "tried: a configuration is there twice")


@dataclass(frozen=True, kw_only=True)
class RandomSearch:  # the same for LFADS, drawn between the lowest and the highest value
    steps: int
    width: int
    candidates: int
    lr: tuple[float, float]
    dropout: tuple[float, float]
    kl: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Baselines:  # networks on binned counts; times in seconds, warmup a share of the steps
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
        check(as_many, "every method must try as many configurations")
        bins = self.eit_step / self.bin
        whole = abs(bins - round(bins)) < 1e-6 and bins > 0.5
        check(whole, f"eit_step: {self.eit_step} s is not a whole number of bins")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """How 13_your_lab trains; same_units_identification: unit identification that begins with the
    rows of the same units; trials: the numbers of labelled trials that it tries."""

    pretrain: Plateau
    unit_identification: EmbeddingRecipe
    same_units_identification: EmbeddingRecipe
    finetune: Plateau
    from_scratch: Plateau
    trials: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The replicates that claims rest on, and what each of them is. claims, more, development:
    seeds of simulated species; steps, batch_sizes: of the recipes of `your_lab`, not theirs."""

    claims: tuple[int, ...]
    more: tuple[int, ...]
    development: tuple[int, ...]
    size: str
    days: int
    minutes: float
    held_out_minutes: float
    test_minutes: float
    units: tuple[int, int]
    trials: tuple[int, ...]
    steps: dict[str, int]
    few_steps: int
    control_steps: int
    batch_sizes: dict[str, int]
    finetune_lr: float

    def __post_init__(self):
        every = self.claims + self.more + self.development
        check(len({*every}) == len(every), f"claims, more and development share species: {every}")
        known = "unit_identification", "finetune", "from_scratch"
        for name, keys in (("steps", ("pretrain", *known)), ("batch_sizes", known)):
            check({*getattr(self, name)} == {*keys}, f"{name}: the keys are {', '.join(keys)}")


@dataclass(frozen=True, kw_only=True)
class Speed(Inheriting):  # what 10_speed measures
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
class Scale:  # the corpus of 18_scale, and what is measured on it
    sessions: int
    units: tuple[int, int]
    minutes: float
    few: int
    windows: int
    size: str
    steps: int
    cpu_batch_size: int
    chunks: tuple[int, ...]
    gpu_minutes: float
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole of params.yaml, the keys of `pretrain` where they are inherited."""

    profile: str
    threads: int
    processes: int
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
    your_recording: Plateau
    your_lab: Lab
    evidence: Evidence
    speed: Speed
    scale: Scale

    def __post_init__(self):
        check(self.processes >= 1, f"processes: {self.processes}; at least 1 is needed")
        for name in self.models:
            # a name is that of a folder, and of a stage's parameter, where a dot would divide it
            fine = re.fullmatch(r"\w[\w-]*", name) and read_yaml(name) == name  # no number
            check(fine, f"models: {name!r} is no name for a row")
        known = ", ".join(self.models)
        for name in (*self.runs, *self.adapt.transfer):
            check(name in self.models, f"runs: {name!r} is no row of models; known: {known}")
        for name in (*TABLE_2, *self.adapt.transfer):
            check(name in self.runs, f"runs: {name!r} is missing; 05_adapt needs it")
            check(not self.models[name].alone, f"models.{name}: 05_adapt needs one model for all")
        tries = self.baselines.lfads.candidates
        for method in self.adapt.tried:
            message = f"adapt.tried.{method}: a method must try as many configurations, with its"
            message += f" recipe's own rates, as those of baselines, {tries}"
            check(len(self.adapt.grid(method)) == tries, message)


def load(path: Path | str = ROOT / "params.yaml") -> Params:
    """Read and check params.yaml. Raises ConfigError on an unknown, missing or wrong key."""
    if Path(path) == ROOT / "params.yaml":
        check_clone(ROOT)
    return read(read_yaml(Path(path)))


def check_clone(root: Path) -> None:
    """Raises ConfigError where the package was installed without the repository around it."""
    cure = "work from a clone of the repository, installed with `pip install -e .`"
    alone = "the package alone (`import poyo`) works without"
    if not (root / "notebooks").is_dir():
        raise ConfigError(f"the notebooks and the graph {cure}; {alone}")


def read(tree: object) -> Params:
    """The same from what the file holds."""
    if not isinstance(tree, dict):
        return build(Params, tree, "")  # which says what is wrong
    _check_numbers(tree, "", "")
    if "pretrain" not in tree:
        raise ConfigError("missing key pretrain; params needs it")
    own = {key: value for key, value in tree.items() if key != "pretrain"}
    if not isinstance(own.get("models"), dict):
        return build(Params, own, "")
    rows = own["models"] = dict(own["models"])
    heirs = [(rows, name) for name in rows] + [(own, "ablations"), (own, "speed")]
    heirs = [(group, name) for group, name in heirs if isinstance(group.get(name), dict)]
    # all keys of a recipe that some heir does not set, and no other, which would be idle
    kinds = {field.name: field.type for field in fields(Recipe)}
    idle = [key for key in kinds if all(key in group[name] for group, name in heirs)]
    for key in idle:
        if isinstance(tree["pretrain"], dict) and key in tree["pretrain"]:
            raise ConfigError(f"pretrain.{key}: remove it, everything that inherits has its own")
        del kinds[key]
    shared = vars(build(make_dataclass("Shared", kinds.items()), tree["pretrain"], "pretrain"))
    for group, name in heirs:
        group[name] = shared | group[name]
    return build(Params, own, "")


def _check_numbers(value: object, where: str, key: str) -> None:
    """Raise ConfigError, named as in the file, at a number that its key cannot have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(inner, f"{where}.{name}" if where else name, name)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_numbers(inner, f"{where}[{i}]", key)
    elif isinstance(value, int | float) and key not in ANY:
        fine = value > 0 or (value == 0 and key in FROM_0) or isinstance(value, bool)
        wanted = "at least 0" if key in FROM_0 else "more than 0"
        if key in UP_TO_1:
            fine, wanted = fine and value <= 1, f"{wanted} and at most 1"
        if not fine:
            raise ConfigError(f"{where}: {value} is not {wanted}")
