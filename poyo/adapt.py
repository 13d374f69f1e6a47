"""A trained decoder meets a session it has never seen (paper, section 2.5).
Unit identification: the network is kept and only the embeddings of the new units and the new
session learn. Finetuning: after that, everything learns ("gradual unfreezing"). From scratch: the
same network without its past. Several sessions that share a decoder may be met together: a decoder
is a `Decoder`, recordings a list of `Recording`, and the rest is as in `train.fit`."""

from dataclasses import replace

import numpy as np

from .config import EmbeddingRecipe, Recipe
from .data.intervals import intervals, subtract
from .data.recording import Recording, RecordingError
from .decoder import Decoder
from .train import History, fit

UNIT_IDENTIFICATION = EmbeddingRecipe()
FINETUNE = Recipe(steps=100, embedding_lr=1e-2, eval_every=25)
PLATEAU = 0.005  # of validation R²: a round of training that gains less was the last one
FROM_SCRATCH = Recipe(steps=400, lr=1e-2, warmup=0.1, dropout=(0.2, 0.2, 0.0), eval_every=25)


def identify_units(
    decoder, recordings, recipe=UNIT_IDENTIFICATION, *, seed=0, label="unit identification"
) -> History:
    """Learn the rows of the units and sessions by an EmbeddingRecipe; the network stays. Raises
    TypeError for a `Recipe`."""
    if isinstance(recipe, Recipe):
        raise TypeError("unit identification takes an EmbeddingRecipe: the network is frozen")
    return fit(decoder, recordings, recipe, seed=seed, label=label)


def finetune(decoder, recordings, recipe=FINETUNE, *, seed=0, label="finetuning") -> History:
    """Learn everything, best after `identify_units`."""
    return fit(decoder, recordings, recipe, seed=seed, label=label)


def from_scratch(
    recordings, recipe=FROM_SCRATCH, *, seed=0, label="from scratch", **size_and_windows
) -> tuple[Decoder, History]:
    """A decoder of these sessions alone; size and windows are those of `Decoder.new`."""
    decoder = Decoder.new(recordings, seed=seed, **size_and_windows)
    return decoder, fit(decoder, recordings, recipe, seed=seed, label=label)


def to_plateau(decoder, recordings, recipe, *, seed=0, label="to the plateau") -> History:
    """Train by a `Plateau` until validation no longer rises, or its budget of steps is spent.
    In rounds: the first by `recipe`, each later one twice as long and from where the one before
    ended, until one gains less than PLATEAU. The decoder keeps the best weights of all rounds."""
    history, best, done, length = [], -np.inf, 0, recipe.steps
    while done < recipe.budget:
        before = decoder.copy()
        every = max(1, recipe.eval_every * length // recipe.steps)
        now = replace(recipe, steps=min(length, recipe.budget - done), eval_every=every)
        rows = fit(decoder, recordings, now, seed=seed + done, label=f"{label}, from step {done}")
        history += [row | {"step": row["step"] + done} for row in rows]
        gained, done, length = _best(rows) - best, done + now.steps, 2 * length
        best = max(best, _best(rows))
        if gained < 0:
            decoder.model.load_state_dict(before.model.state_dict())
        if not gained >= PLATEAU:  # nor where all R² are nan
            break
    return history


def _best(history: History) -> float:
    r2 = [row["valid_r2"] for row in history]
    return float(np.nanmax(r2)) if np.isfinite(r2).any() else -np.inf


def few_trials(recording: Recording, n: int, length: float, seed: int) -> Recording:
    """The recording with only n >= 1 of its train trials to learn from; the rest as it was.
    length: of a window, seconds; trials that are shorter do not count. A larger n holds the trials
    of a smaller one. Raises RecordingError where there are fewer."""
    train = recording.splits["train"]
    # a trial next to one that is held out has lost its margin; what is left of it counts
    outside = subtract(recording.domain, train)
    trials = [subtract(intervals(*trial), outside) for trial in recording.intervals["trials"]]
    trials = [trial for trial in trials if len(trial) and np.diff(trial).max() >= length]
    if n > len(trials):
        session = f"session {recording.session_id!r}"
        raise RecordingError(f"{session} has {len(trials)} train trials, not {n}")
    chosen = np.random.default_rng(seed).permutation(len(trials))[:n]
    chosen = intervals(np.concatenate([trials[i] for i in chosen]))
    return replace(recording, splits=recording.splits | {"train": chosen})
