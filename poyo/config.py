"""How a training run and its windows are set: frozen dataclasses, read strictly.
An unknown or missing key is an error that names it, before any work starts. Not for: what a study
sets beyond that (`study.profile`), or the model's size (`model.SIZES`)."""

import difflib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin

from ruamel.yaml import YAML, YAMLError

OPTIMIZERS = ("muon", "adamw", "lamb")


class ConfigError(ValueError):
    """A key or value is wrong; the message names it and what is known."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Seconds: length of a window, step of the latent grid, step between evaluation windows, and
    how far these reach beyond a trial; queries: at most as many behaviour samples of a window are
    decoded in training."""

    length: float = 1.0
    latent_step: float = 0.125
    eval_step: float = 0.5
    overhang: float = 0.0
    queries: int = 50

    def __post_init__(self):
        if self.queries < 1:
            raise ValueError(f"queries must be at least 1, got {self.queries}")
        if not 0 <= self.overhang <= self.length / 2:
            limit = f"0 to half a window, {self.length / 2:g} s"
            raise ValueError(f"overhang: {self.overhang:g} s is not in {limit}")


@dataclass(frozen=True, kw_only=True)
class EmbeddingRecipe:
    """How the embeddings of units and sessions are trained while the network is frozen.
    optimizer: muon or adamw (ours) or lamb (the paper's). embedding_lr: the highest learning rate
    of the embeddings; it rises over the fraction `warmup` of the steps, stays until the fraction
    `hold`, then falls by a cosine. dropout: in feed-forwards, on the processor's residual
    branches, on attention weights. unit_dropout: fewest, most likely and most units kept.
    eval_every: steps between validations."""

    trains_network: ClassVar[bool] = False
    optimizer: str = "adamw"
    steps: int = 80
    batch_size: int = 32
    embedding_lr: float = 2e-2
    warmup: float = 0.05
    hold: float = 0.2
    dropout: tuple[float, float, float] = (0.2, 0.3, 0.0)
    unit_dropout: tuple[int, int, int] = (20, 60, 200)
    eval_every: int = 20

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise ValueError(f"optimizer: {self.optimizer!r} is unknown; known: {known}")
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise ValueError(f"dropout: rates must be in [0, 1), got {list(self.dropout)}")
        if min(self.steps, self.batch_size, self.eval_every) < 1:
            raise ValueError("steps, batch_size and eval_every must be at least 1")
        if not 0 < self.unit_dropout[0] <= self.unit_dropout[1] <= self.unit_dropout[2]:
            raise ValueError(f"unit_dropout: not in order: {list(self.unit_dropout)}")


@dataclass(frozen=True, kw_only=True)
class Recipe(EmbeddingRecipe):
    """The same where the network learns, too: lr is its highest learning rate, by the embeddings'
    schedule; weight_decay pulls its weights (with lamb the embeddings', too) towards zero.
    The defaults of both suit sessions of some minutes and a model of size "laptop"."""

    trains_network: ClassVar[bool] = True
    optimizer: str = "muon"
    lr: float = 4e-3
    weight_decay: float = 0.05


def read_yaml(source: Path | str) -> Any:
    """What a file (a Path) or text of YAML 1.2 holds; 1e-5 is a number. Raises ConfigError."""
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        where = source if isinstance(source, Path) else repr(source)
        raise ConfigError(f"{where} is not valid YAML: {error}") from None


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn a YAML value into `kind` (a dataclass, tuple, dict or scalar); `where` is its key.
    Every field of a dataclass must be there and no other. Raises ConfigError."""
    if is_dataclass(kind):
        return _build_section(kind, value, where)
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected names and their rows, got {value!r}")
        row = get_args(kind)[1]
        return {str(name): build(row, v, f"{where}.{name}") for name, v in value.items()}
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        kinds = get_args(kind)
        kinds = (kinds[0],) * len(value) if kinds[-1] is Ellipsis else kinds
        if len(kinds) != len(value):
            raise ConfigError(f"{where}: expected {len(kinds)} values, got {value!r}")
        return tuple(build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))
    numbers = (int, float) if kind is float else kind
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, numbers):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return kind(value)


def _build_section(kind: type, value: Any, where: str) -> Any:
    known = {f.name: f.type for f in fields(kind)}
    dot = f"{where}." if where else ""
    if not isinstance(value, dict):
        raise ConfigError(f"{where or 'params'}: expected keys {', '.join(known)}, got {value!r}")
    for key in value:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"unknown key {dot}{key}; known: {', '.join(known)}{hint}")
    if missing := [key for key in known if key not in value]:
        raise ConfigError(f"missing key {dot}{missing[0]}; {where or 'params'} needs it")
    values = {key: build(known[key], v, f"{dot}{key}") for key, v in value.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from None
