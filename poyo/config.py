"""How a training run and its windows are set: frozen dataclasses, read strictly.
An unknown or missing key is an error that names it, before any work starts. Not for: what a study
sets beyond that (`study.profile`), or the model's size (`model.SIZES`)."""

import difflib
import math
import re
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from ruamel.yaml import YAML, YAMLError

OPTIMIZERS = ("muon", "adamw", "lamb")


class ConfigError(ValueError):
    """A key or value is wrong; the message names it and what is known."""


def check(holds: object, message: str) -> None:
    """Raise ValueError with `message`, which starts with a key, unless it holds."""
    if not holds:
        raise ValueError(message)


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
        for key in ("length", "latent_step", "eval_step"):
            value = getattr(self, key)
            check(0 < value < math.inf, f"{key}: {value} s is not more than 0")
        limit = f"0 to half a window, {self.length / 2:g} s"
        within = 0 <= self.overhang <= self.length / 2
        check(within, f"overhang: {self.overhang:g} s is not in {limit}")
        gaps = f"{self.eval_step:g} s is more than a window, {self.length:g} s, and leaves gaps"
        check(self.eval_step <= self.length, f"eval_step: {gaps}")
        steps = self.length / self.latent_step
        whole = steps > 0.5 and abs(steps - round(steps)) < 1e-6 * steps
        message = f"latent_step: a window is {steps:g} steps of {self.latent_step:g} s"
        check(whole, f"{message}, which is no whole number of them")
        check(self.queries >= 1, f"queries: at least 1 is needed, got {self.queries}")


@dataclass(frozen=True, kw_only=True)
class EmbeddingRecipe:
    """How the embeddings of units and sessions are trained while the network is frozen.
    optimizer: adamw (ours) or lamb (the paper's); muon trains embeddings by AdamW, too.
    embedding_lr: the highest learning rate of the embeddings; it rises over the fraction `warmup`
    of the steps, stays until the fraction `hold`, then falls by a cosine. dropout: of
    feed-forwards, the processor's residual branches, attention weights. unit_dropout: fewest, most
    likely and most units kept. eval_every: steps between validations."""

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
        unknown = f"{self.optimizer!r} is unknown; known: {', '.join(OPTIMIZERS)}"
        check(self.optimizer in OPTIMIZERS, f"optimizer: {unknown}")
        for key in ("steps", "batch_size", "eval_every"):
            n = getattr(self, key)
            check(n >= 1, f"{key}: at least 1 is needed, got {n}")
        for key in ("embedding_lr", "lr"):
            rate = getattr(self, key, 1.0)
            check(0 < rate < math.inf, f"{key}: {rate} is not more than 0")
        decay = getattr(self, "weight_decay", 0.0)
        check(0 <= decay < math.inf, f"weight_decay: {decay} is not at least 0")
        in_order = f"not 0 <= warmup <= hold <= 1: {self.warmup:g}, {self.hold:g}"
        check(0 <= self.warmup <= self.hold <= 1, f"warmup, hold: {in_order}")
        rates = all(0 <= rate < 1 for rate in self.dropout)
        check(rates, f"dropout: rates must be in [0, 1), got {list(self.dropout)}")
        fewest, likely, most = self.unit_dropout
        in_order = f"not 0 < fewest <= most likely <= most: {list(self.unit_dropout)}"
        check(0 < fewest <= likely <= most, f"unit_dropout: {in_order}")


@dataclass(frozen=True, kw_only=True)
class Recipe(EmbeddingRecipe):
    """The same where the network learns, too: lr is its highest learning rate, by the embeddings'
    schedule; weight_decay pulls its weights (with lamb the embeddings', too) towards zero.
    The defaults of both suit sessions of some minutes and a model of size "laptop"."""

    optimizer: str = "muon"
    lr: float = 4e-3
    weight_decay: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Plateau(Recipe):
    """The first round of a training until validation no longer rises (`adapt.to_plateau`);
    budget: gradient steps of all rounds together."""

    budget: int

    def __post_init__(self):
        super().__post_init__()
        check(self.budget >= self.steps, f"budget: {self.budget} is less than steps")


def read_yaml(source: Path | str) -> Any:
    """What a file (a Path) or text of YAML 1.2 holds; 1e-5 is a number. Raises ConfigError."""
    where = source if isinstance(source, Path) else repr(source)
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        return YAML(typ="safe", pure=True).load(text)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        what = f"its byte {error.start} is not UTF-8"
        raise ConfigError(f"{where}: {what}; save it in that encoding") from None
    except YAMLError as error:
        problem, mark = (getattr(error, key, None) for key in ("problem", "problem_mark"))
        what = f"line {mark.line + 1}: {problem}" if mark else str(error)
        raise ConfigError(f"{where} is not valid YAML: {what}") from None


def check_name(name: str) -> str:
    """A name that becomes a file's or a folder's and stays in its place, returned as it is."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ConfigError(f"{name!r} is no name: letters, digits and . _ - are allowed")
    return name


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
        several = kinds[-1] is Ellipsis
        kinds = (kinds[0],) * len(value) if several else kinds
        if len(kinds) != len(value):
            raise ConfigError(f"{where}: expected {len(kinds)} values, got {value!r}")
        items = tuple(build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value)))
        plain = several and get_args(kind)[0] in (int, float, str)
        if plain and not 0 < len({*items}) == len(items):
            raise ConfigError(f"{where}: expected some, each once, got {value!r}")
        if len(items) == 2 and not several and items[0] > items[1]:
            raise ConfigError(f"{where}: expected the lowest and the highest, got {value!r}")
        return items
    numbers = (int, float) if kind is float else kind
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, numbers):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a number, got {value!r}")
    return kind(value)


def _build_section(kind: Any, value: Any, where: str) -> Any:
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
