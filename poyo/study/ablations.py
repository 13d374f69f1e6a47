"""POYO with one thing taken away at a time, each variant trained from scratch like the full model.

A variant is a function from the full model's setup to its own. `VARIANTS` is the study."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..attention import HEAD, T_MAX, T_MIN
from ..config import Recipe, Windows
from ..data.intervals import contains
from ..data.recording import Recording
from ..decoder import Decoder
from ..kernels import attend_
from ..model import POYO, Attention, Network, Size
from ..tokens import Session
from ..train import fit

LONGEST = 2.0  # s, of the contexts tried


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that determines a training from scratch; kind: of decoder, model: its network."""

    recordings: list[Recording]
    size: Size
    windows: Windows
    recipe: Recipe
    seed: int
    model: type[Network] = POYO
    kind: type[Decoder] = Decoder


def few(recordings: list[Recording], n: int) -> list[Recording]:
    """The first n sessions of each task of the first dataset, test trials of LONGEST or more."""
    first, chosen = [r for r in recordings if r.brainset == recordings[0].brainset], []
    for task in dict.fromkeys(r.task for r in first):
        for r in [r for r in first if r.task == task][:n]:
            long = np.diff(r.splits["test"])[:, 0] >= LONGEST - 1e-6
            chosen.append(replace(r, splits=r.splits | {"test": r.splits["test"][long]}))
    return chosen


def jitter(recording: Recording, sd: float, seed: int) -> Recording:
    """Every spike moved by Gaussian noise of `sd` seconds."""
    noise = np.random.default_rng(seed).normal(0, sd, len(recording.spike_times))
    return _moved(recording, recording.spike_times + noise)


def binned(recording: Recording, width: float) -> Recording:
    """Every spike moved to the middle of its bin of `width` seconds; bins start at time 0."""
    return _moved(recording, (np.floor(recording.spike_times / width) + 0.5) * width)


def _moved(recording: Recording, times: np.ndarray) -> Recording:
    """The recording with its spikes at `times` (S,); one that would leave the domain stays."""
    times = np.where(contains(recording.domain, times), times, recording.spike_times)
    order = np.argsort(times, kind="stable")
    units = np.asarray(recording.spike_units)[order]
    return replace(recording, spike_times=times[order], spike_units=units)


class WithoutDelimiters(Decoder):  # units get no START and END tokens
    def session(self, recording: Recording) -> Session:
        return replace(super().session(recording), delimiters=False)


class OneSessionRow(Decoder):  # all sessions share the row of the first
    def session(self, recording: Recording) -> Session:
        return replace(super().session(recording), row=1)


class StillValues(POYO):  # time says where to look, not where what was read lay
    def __init__(self, **options):
        super().__init__(**options)
        for module in self.modules():
            if isinstance(module, Attention):
                module.rotate_values = False


class SinusoidalTime(nn.Module):
    """Times to sines and cosines (Vaswani et al. 2017), periods as in RotaryTime.
    Amplitude 0.1: at 1 time drowns embeddings that start at 0.02, at 0.03 training is slower."""

    def __init__(self, dim: int):
        super().__init__()
        ends = math.log10(T_MIN), math.log10(T_MAX)
        period = torch.logspace(*ends, dim // 2, dtype=torch.float64)
        self.omega: Tensor
        self.register_buffer("omega", (2 * math.pi / period).float())

    def forward(self, times: Tensor) -> Tensor:  # (..., T) seconds -> (..., T, D)
        angle = times.float()[..., None] * self.omega
        return 0.1 * torch.cat([angle.sin(), angle.cos()], dim=-1)


class Sinusoidal(POYO):  # time is added to tokens, latents and queries; nothing turns
    def __init__(self, **options):
        super().__init__(**options)
        self.rotary_emb = SinusoidalTime(self.readout.in_features)
        still = torch.ones(1, HEAD // 4, dtype=torch.complex64)  # no turn, at any number of times
        self.still: Tensor
        self.register_buffer("still", still, persistent=False)

    def token_keys_values(self, unit_index: Tensor, token_type: Tensor) -> Tensor:
        """Units and types (n,) -> (n, D): not yet keys and values, which depend on time, too."""
        return self.unit_emb(unit_index) + self.token_type_emb(token_type)

    def encode(self, z, latent_time, tokens, token_time, lengths: list[int]) -> Tensor:
        tokens = self.enc_atn.keys_values(tokens + token_time)
        return super().encode(z + latent_time, self.still, tokens, self.still, lengths)

    def process(self, z: Tensor, latent_time: Tensor) -> Tensor:
        return super().process(z, self.still)

    def decode(self, z, latent_time, session_index, timestamps, mask) -> Tensor:
        query = self.session_emb(session_index)[:, None] + self.rotary_emb(timestamps)  # (B, Q, D)
        q, kv = self.dec_atn.queries(query), self.dec_atn.keys_values(z)
        out = attend_(q, kv, self.still, self.still, dropout=self.dec_atn.p, rotate_values=False)
        o = (query + self.dec_atn.to_out(out))[mask]  # (m, D)
        return self.readout(o + self.dec_ffn(o))


def _latents(full: Setup, factor: float) -> Setup:
    n = round(factor * full.size.latents_per_step)
    return replace(full, size=replace(full.size, latents_per_step=n))


def _context(full: Setup, length: float) -> Setup:
    """Windows of `length` seconds, as many in a step, overlapping as much in evaluation."""
    scale = length / full.windows.length
    times = {name: scale * getattr(full.windows, name) for name in ("eval_step", "overhang")}
    return replace(full, windows=replace(full.windows, length=length, **times))


def _spikes(full: Setup, move: Callable[..., Recording], *how: float) -> Setup:
    return replace(full, recordings=[move(r, *how) for r in full.recordings])


ALL = (10**6,) * 3  # unit dropout leaves sessions alone that have fewer units than its least
VARIANTS: dict[str, Callable[[Setup], Setup]] = {
    "full": lambda full: full,
    "no delimiters": lambda full: replace(full, kind=WithoutDelimiters),
    "values not rotated": lambda full: replace(full, model=StillValues),
    "sinusoidal time": lambda full: replace(full, model=Sinusoidal),
    "no unit dropout": lambda full: replace(full, recipe=replace(full.recipe, unit_dropout=ALL)),
    "one session row": lambda full: replace(full, kind=OneSessionRow),
    "half the latents": lambda full: _latents(full, 0.5),
    "twice the latents": lambda full: _latents(full, 2),
    "0.5 s windows": lambda full: _context(full, 0.5),
    "2 s windows": lambda full: _context(full, LONGEST),
    "jitter 1 ms": lambda full: _spikes(full, jitter, 0.001, full.seed),
    "jitter 10 ms": lambda full: _spikes(full, jitter, 0.010, full.seed),
    "jitter 100 ms": lambda full: _spikes(full, jitter, 0.100, full.seed),
    "bins of 5 ms": lambda full: _spikes(full, binned, 0.005),
    "bins of 20 ms": lambda full: _spikes(full, binned, 0.020),
    "bins of 50 ms": lambda full: _spikes(full, binned, 0.050),
}
"""What is changed of the full model's setup, by name. Spikes move in training and test alike."""


def build(setup: Setup) -> Decoder:
    """The untrained decoder of a setup, its weights drawn from the seed."""
    network = {"model": setup.model, "size": setup.size, "windows": setup.windows}
    return setup.kind.new(setup.recordings, seed=setup.seed, **network)


def run(variant: str, full: Setup) -> dict[str, float]:
    """Train a variant of the full model from scratch: R² on the test trials by session id.
    A run that was interrupted continues, as `train.fit` does."""
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}; known: {', '.join(VARIANTS)}")
    setup = VARIANTS[variant](full)
    decoder, label = build(setup), f"{variant}, seed {setup.seed}"
    fit(decoder, setup.recordings, setup.recipe, seed=setup.seed, label=label)
    return decoder.score(setup.recordings, "test")
