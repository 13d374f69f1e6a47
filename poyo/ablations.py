"""POYO with one thing taken away at a time, each variant trained from scratch like the full model.

A `Setup` says all that determines a training; a variant is a function from the full model's setup
to its own. `VARIANTS` is the study.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from . import evaluate, tokens, train
from .attention import HEAD, T_MAX, T_MIN, attend
from .config import Size, Training, Windows
from .intervals import contains
from .model import POYO, Attention
from .recording import Recording
from .sources import READOUTS
from .vocabulary import units_and_sessions

LONGEST = 2.0  # s, of the contexts tried


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training from scratch. delimiters: START and END tokens; session_rows: one for each
    session, else all share one."""

    recordings: list[Recording]
    size: Size
    windows: Windows
    training: Training
    model: type[POYO] = POYO
    delimiters: bool = True
    session_rows: bool = True


def few(recordings: list[Recording], n: int) -> list[Recording]:
    """The first n sessions of each task of the first dataset.

    Only test trials that the longest window fits in stay, so all variants are scored on the same.
    """
    first = recordings[0].brainset
    chosen = []
    for task in [task for brainset, task in READOUTS if brainset == first]:
        chosen += [r for r in recordings if r.brainset == first and r.session_id.endswith(task)][
            :n
        ]
    return [replace(r, splits=r.splits | {"test": _long(r.splits["test"])}) for r in chosen]


def _long(trials: np.ndarray) -> np.ndarray:
    return trials[trials[:, 1] - trials[:, 0] >= LONGEST - 1e-6]


# --- spikes ---------------------------------------------------------------------------------


def jitter(recording: Recording, sd: float, seed: int) -> Recording:
    """Every spike moved by Gaussian noise of `sd` seconds."""
    noise = np.random.default_rng(seed).normal(0, sd, len(recording.spike_times))
    return _moved(recording, recording.spike_times + noise)


def binned(recording: Recording, width: float, seed: int = 0) -> Recording:
    """Every spike moved to the middle of its bin of `width` seconds; bins start at time 0."""
    return _moved(recording, (np.floor(recording.spike_times / width) + 0.5) * width)


def _moved(recording: Recording, times: np.ndarray) -> Recording:
    """The recording with its spikes at `times` (S,); one that would leave the domain stays."""
    times = np.where(contains(recording.domain, times), times, recording.spike_times)
    order = np.argsort(times, kind="stable")
    units = np.asarray(recording.spike_units)[order]
    return replace(recording, spike_times=times[order], spike_units=units)


# --- models ---------------------------------------------------------------------------------


class StillValues(POYO):
    """Time turns queries and keys only: it says where to look, not where what was read lay."""

    def __init__(self, **options):
        super().__init__(**options)
        for module in self.modules():
            if isinstance(module, Attention):
                module.rotate_values = False


class SinusoidalTime(nn.Module):
    """Sines and cosines of time at D/2 periods between RotaryTime's (Vaswani et al. 2017)."""

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer(
            "omega", 2 * torch.pi / torch.logspace(np.log10(T_MIN), np.log10(T_MAX), dim // 2)
        )

    def forward(self, times: Tensor) -> Tensor:
        """times: (..., T) seconds. Returns (..., T, D)."""
        angle = times.float()[..., None] * self.omega
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Sinusoidal(POYO):
    """Time is added to tokens, latents and queries; nothing turns.

    `forward` is POYO's: the times it hands on are here what is added, and attention gets
    rotations by nothing.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.rotary_emb = SinusoidalTime(self.readout.in_features)
        still = torch.ones(1, HEAD // 4, dtype=torch.complex64)  # serves any number of times
        self.register_buffer("still", still, persistent=False)

    def tokens(self, unit_index: Tensor, token_type: Tensor) -> Tensor:
        """Units and types (n,) -> (n, D). A key depends on its time, too: no table serves."""
        return self.unit_emb(unit_index) + self.token_type_emb(token_type)

    def encode(self, z, latent_time, tokens, token_time, lengths: list[int]) -> Tensor:
        tokens = self.enc_atn.keys_values(tokens + token_time)
        return super().encode(z + latent_time, self.still, tokens, self.still, lengths)

    def process(self, z: Tensor, latent_time: Tensor) -> Tensor:
        return super().process(z, self.still)

    def decode(self, z, latent_time, session_index, timestamps, mask) -> Tensor:
        query = self.session_emb(session_index)[:, None] + self.rotary_emb(timestamps)  # (B, Q, D)
        out = attend(
            self.dec_atn.queries(query),
            self.dec_atn.keys_values(z),
            self.still,
            self.still,
            dropout=self.dec_atn.p,
            rotate_values=False,
        )
        o = (query + self.dec_atn.to_out(out))[mask]  # (m, D)
        return self.readout(o + self.dec_ffn(o))


# --- the study ------------------------------------------------------------------------------

ALL_UNITS = (10**6,) * 3  # unit dropout keeps all where a session has fewer than its least
Change = Callable[[Setup, int], Setup]


def _with(**fields) -> Change:
    return lambda setup, seed: replace(setup, **fields)


def _latents(factor: float) -> Change:
    def change(setup: Setup, seed: int) -> Setup:
        per_step = round(factor * setup.size.latents_per_step)
        return replace(setup, size=replace(setup.size, latents_per_step=per_step))

    return change


def _context(length: float) -> Change:
    """Windows of `length` seconds: as many seconds a step, and as much overlap, as before."""

    def change(setup: Setup, seed: int) -> Setup:
        factor = length / setup.windows.length
        step, batch = factor * setup.windows.eval_step, setup.training.batch_size / factor
        return replace(
            setup,
            windows=replace(setup.windows, length=length, eval_step=step),
            training=replace(setup.training, batch_size=max(1, round(batch))),
        )

    return change


def _spikes(move: Callable[[Recording, float, int], Recording], amount: float) -> Change:
    return lambda setup, seed: replace(
        setup, recordings=[move(r, amount, seed) for r in setup.recordings]
    )


def _keep_units(setup: Setup, seed: int) -> Setup:
    return replace(setup, training=replace(setup.training, unit_dropout=ALL_UNITS))


VARIANTS: dict[str, Change] = {
    "full": _with(),
    "no delimiters": _with(delimiters=False),
    "values not rotated": _with(model=StillValues),
    "sinusoidal time": _with(model=Sinusoidal),
    "no unit dropout": _keep_units,
    "one session row": _with(session_rows=False),
    "half the latents": _latents(0.5),
    "twice the latents": _latents(2),
    "0.5 s windows": _context(0.5),
    "2 s windows": _context(LONGEST),
    "jitter 1 ms": _spikes(jitter, 0.001),
    "jitter 10 ms": _spikes(jitter, 0.010),
    "jitter 100 ms": _spikes(jitter, 0.100),
    "bins of 5 ms": _spikes(binned, 0.005),
    "bins of 20 ms": _spikes(binned, 0.020),
    "bins of 50 ms": _spikes(binned, 0.050),
}
"""What is changed of the full model's setup, by name. Spikes move in training and test alike."""


def run(variant: str, setup: Setup, *, seed: int) -> dict[str, float]:
    """Train a variant of the full model's `setup` from scratch: test R² by session id."""
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}; known: {', '.join(VARIANTS)}")
    setup = VARIANTS[variant](setup, seed)
    units, rows = units_and_sessions(setup.recordings)
    torch.manual_seed(seed)
    model = setup.model(size=setup.size, units=len(units), sessions=len(rows)).to(train.device())
    sessions = [tokens.prepare(r, units, rows) for r in setup.recordings]
    sessions = [
        replace(s, delimiters=setup.delimiters, row=s.row if setup.session_rows else 1)
        for s in sessions
    ]
    train.train(
        model,
        sessions,
        setup.training,
        setup.windows,
        size=setup.size,
        seed=seed,
        label=f"{variant}, seed {seed}",
    )
    latents = tokens.latents(setup.size, setup.windows)
    return evaluate.scores(model, latents, sessions, "test", setup.windows)
