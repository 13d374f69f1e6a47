"""What a user may set: frozen dataclasses, one per concern, read strictly from params.yaml.

An unknown key is an error that lists the known ones, before any work starts. Not for: deriving
anything from data.
"""

import difflib
import sys
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from . import ROOT


class ConfigError(ValueError):
    """A key or value of params.yaml is wrong; the message names it and what is known."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width D, processor depth, heads of cross- and self-attention, latents per time step."""

    dim: int
    depth: int
    cross_heads: int
    self_heads: int
    latents_per_step: int


SIZES = {
    # the paper's single-session model, and the one of POYO-mp and POYO-1 (depth 24)
    "1.3M": Size(dim=64, depth=6, cross_heads=2, self_heads=8, latents_per_step=16),
    "11.8M": Size(dim=128, depth=24, cross_heads=4, self_heads=8, latents_per_step=32),
    # the paper's scaling figure, whose names count about 1.25 M of unit embeddings, too; its 13M
    # is 11.8M
    "3.8M": Size(dim=128, depth=4, cross_heads=4, self_heads=8, latents_per_step=32),
    "7.4M": Size(dim=128, depth=12, cross_heads=4, self_heads=8, latents_per_step=32),
    # ours, for two CPU cores
    "laptop-1": Size(dim=64, depth=1, cross_heads=2, self_heads=2, latents_per_step=4),
    "laptop": Size(dim=64, depth=2, cross_heads=2, self_heads=2, latents_per_step=4),
    "laptop-4": Size(dim=64, depth=4, cross_heads=2, self_heads=2, latents_per_step=4),
    "smoke": Size(dim=32, depth=1, cross_heads=1, self_heads=2, latents_per_step=4),
}
"""The one dial of the model: its size by name."""


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


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Seconds: length of a window, step of the latent grid, step between evaluation windows.

    queries: at most as many behaviour samples of a window are decoded in training.
    """

    length: float
    latent_step: float
    eval_step: float
    queries: int

    def __post_init__(self):
        if self.queries < 1:
            raise ConfigError(f"windows.queries must be at least 1, got {self.queries}")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training run, whatever it serves.

    optimizer: muon or adamw (ours) or lamb (the paper's). lr: the highest learning rate of the
    network, embedding_lr: that of unit and session embeddings; both rise over the fraction
    `warmup` of the steps, stay until the fraction `hold`, then fall by a cosine.
    dropout: in feed-forwards, on the processor's residual branches, on attention weights.
    unit_dropout: fewest, most likely and most units kept. frozen: steps in which only unit and
    session embeddings learn (-1: all of them). eval_every: steps between validations.
    """

    optimizer: str
    steps: int
    batch_size: int
    lr: float
    embedding_lr: float
    warmup: float
    hold: float
    weight_decay: float
    dropout: tuple[float, float, float]
    unit_dropout: tuple[int, int, int]
    frozen: int
    eval_every: int

    def __post_init__(self):
        if self.optimizer not in ("muon", "adamw", "lamb"):
            raise ConfigError(
                f"optimizer: {self.optimizer!r} is unknown; known: muon, adamw, lamb"
            )
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise ConfigError(f"dropout: rates must be in [0, 1), got {list(self.dropout)}")
        if min(self.steps, self.batch_size, self.eval_every) < 1:
            raise ConfigError("steps, batch_size and eval_every must be at least 1")
        if not 0 < self.unit_dropout[0] <= self.unit_dropout[1] <= self.unit_dropout[2]:
            raise ConfigError(f"unit_dropout: not in order: {list(self.unit_dropout)}")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that 04_pretrain trains, a row of `models`; otherwise the recipe is `pretrain`.

    scope: which pretraining sessions, a name of `sources.scope`. share: of the sessions of each
    animal and task. alone: a model for each of these sessions instead of one for all.
    """

    scope: str
    share: float
    alone: bool
    size: str
    steps: int

    def __post_init__(self):
        if self.size not in SIZES:
            raise ConfigError(f"size: {self.size!r} is unknown; known: {', '.join(SIZES)}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share: {self.share} is not in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Learning rates that a training may try."""

    lr: float
    embedding_lr: float


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What each way to meet a session tries instead of its own rates; the best on valid is taken.

    As many configurations as each of `baselines`, on the first session of a column.
    """

    unit_identification: tuple[Rates, ...]
    finetune: tuple[Rates, ...]
    single_session: tuple[Rates, ...]


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """How a pretrained model meets a held-out session, and the same from scratch.

    trials: numbers of labelled trials in the few-shot curves; few: the columns of Table 2 that
    are asked. transfer: another pretrained model -> columns it meets by unit identification.
    """

    unit_identification: Training
    finetune: Training
    single_session: Training
    tried: Tried
    trials: tuple[int, ...]
    few: tuple[str, ...]
    transfer: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Ablations:
    """The study of 09_ablations: what differs from `pretrain` in each variant's training.

    sessions: how many per task of the first dataset.
    """

    sessions: int
    steps: int
    batch_size: int
    lr: float
    embedding_lr: float


@dataclass(frozen=True, kw_only=True)
class Wiener:
    """Bin width and reach to each side of a sample, seconds; ridge penalties tried on valid."""

    bin: float
    reach: float
    ridge: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One configuration of a baseline network. kl: weight of LFADS's divergence, else unused."""

    width: int
    dropout: float
    lr: float
    kl: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Steps of training, and the configurations tried."""

    steps: int
    tried: tuple[Network, ...]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The same for LFADS: `candidates` are drawn, the rest lowest and highest."""

    steps: int
    width: int
    candidates: int
    lr: tuple[float, float]
    dropout: tuple[float, float]
    kl: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Networks on binned counts; of each method's configurations the best on valid is taken.

    bin: width, reach: what the MLP sees to each side, seconds. warmup: share of the steps; then
    the learning rate falls by a cosine. lags: seconds from a moment at which the linear readouts
    of NDT and LFADS see rates or factors; ridge: their penalties, the best on valid is taken.
    """

    bin: float
    reach: float
    batch_size: int
    warmup: float
    weight_decay: float
    lags: tuple[float, ...]
    ridge: tuple[float, ...]
    mlp: Grid
    gru: Grid
    ndt: Grid
    ndt_supervised: Grid
    eit: Grid
    lfads: Draws

    def __post_init__(self):
        grids = self.mlp, self.gru, self.ndt, self.ndt_supervised, self.eit
        if {len(grid.tried) for grid in grids} != {self.lfads.candidates}:
            raise ConfigError("baselines: every method must try as many configurations")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What 10_speed measures, and how long.

    sizes: of the models that are timed. repeats: stretches of ours and of the reference, in
    turn; stretch: s of each, at least. corpus: sessions of the small and of the large corpus;
    spikes: of the large one in all. stream: seconds of spikes that are decoded as they come.
    goal: validation R² that is to be reached, by our recipe (that of `pretrain`, its steps and
    validations as given here) and by the `official` one, for each of `seeds`.
    """

    sizes: tuple[str, ...]
    repeats: int
    stretch: float
    corpus: tuple[int, int]
    spikes: int
    stream: float
    goal: float
    seeds: tuple[int, ...]
    steps: int
    eval_every: int
    official: Training


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole of params.yaml."""

    profile: str
    threads: int
    seeds: tuple[int, ...]
    size: str
    data: Data
    windows: Windows
    pretrain: Training
    models: dict[str, Model]
    runs: tuple[str, ...]
    adapt: Adapt
    ablations: Ablations
    wiener: Wiener
    baselines: Baselines
    own: Training
    speed: Speed

    def __post_init__(self):
        if self.size not in SIZES:
            raise ConfigError(f"size: {self.size!r} is unknown; known: {', '.join(SIZES)}")
        ways = vars(self.adapt.tried).items()
        if wrong := [way for way, rates in ways if len(rates) != self.baselines.lfads.candidates]:
            raise ConfigError(
                f"adapt.tried.{wrong[0]}: must try as many configurations as the methods of "
                f"baselines, {self.baselines.lfads.candidates}"
            )
        for name in (*self.runs, *self.adapt.transfer):
            if name not in self.models:
                raise ConfigError(
                    f"runs: {name!r} is no row of models; known: {', '.join(self.models)}"
                )


def load(path: Path | str = ROOT / "params.yaml") -> Params:
    """Read and check params.yaml. Raises ConfigError on an unknown, missing or ill-typed key."""
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    return build(Params, tree, "")


def to_dict(config: Any) -> dict:
    """The plain tree behind a config, for checkpoints and hashes."""
    return asdict(config)


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn a YAML value into `kind` (a dataclass, tuple[...] or scalar); `where` is its key."""
    if is_dataclass(kind):
        return _build_section(kind, value, where)
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected names and their rows, got {value!r}")
        row = get_args(kind)[1]
        return {str(name): build(row, v, f"{where}.{name}") for name, v in value.items()}
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if len(kinds) != len(value):
            raise ConfigError(f"{where}: expected {len(kinds)} values, got {value!r}")
        return tuple(build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))
    if kind is float and isinstance(value, str):
        try:  # YAML 1.1 reads 1e-4 as text
            return float(value)
        except ValueError:
            pass
    numbers = (int, float) if kind is float else kind
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, numbers):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return kind(value)


def _build_section(kind: type, value: Any, where: str) -> Any:
    known = {f.name: f for f in fields(kind)}
    dot = f"{where}." if where else ""
    if not isinstance(value, dict):
        raise ConfigError(f"{where or 'params'}: expected keys {', '.join(known)}, got {value!r}")
    for key in value:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"unknown key {dot}{key}; known: {', '.join(known)}{hint}")
    missing = [key for key, f in known.items() if key not in value and f.default is MISSING]
    if missing:
        raise ConfigError(f"missing key {dot}{missing[0]}; {where or 'params'} needs it")
    return kind(**{key: build(known[key].type, v, f"{dot}{key}") for key, v in value.items()})


if __name__ == "__main__":
    # the first stage of the graph: a wrong key stops everything before anything has run
    try:
        load()
    except ConfigError as error:
        sys.exit(f"params.yaml: {error}")
    (ROOT / "runs").mkdir(exist_ok=True)
    (ROOT / "runs/params.txt").write_text("params.yaml was read: every key is known\n")
