"""A pretrained model meets a session it has never seen (paper, section 2.5).

Unit identification: the network is kept and only the embeddings of the new units and the new
session learn. Finetuning: after that, everything learns ("gradual unfreezing"). From scratch:
the same network without its past.
"""

from dataclasses import replace

import numpy as np
import torch

from .checkpoint import Checkpoint
from .intervals import intervals, subtract
from .model import POYO
from .recording import Recording, RecordingError
from .vocabulary import Vocabulary, units_and_sessions


def adopt(pretrained: Checkpoint, recordings: list[Recording], *, seed: int) -> Checkpoint:
    """The pretrained network with the vocabulary of new sessions only.

    New rows are drawn around the mean of the pretrained rows, with their spread. The pretrained
    checkpoint is left as it was.
    """
    units, sessions = units_and_sessions(recordings)
    generator = torch.Generator().manual_seed(seed)
    state = pretrained.model.state_dict()
    for name, vocabulary in (("unit_emb", units), ("session_emb", sessions)):
        state[f"{name}.weight"] = _new_rows(state[f"{name}.weight"], vocabulary, generator)
    model = POYO(size=pretrained.size, units=len(units), sessions=len(sessions))
    model.load_state_dict(state)
    return Checkpoint(model=model, size=pretrained.size, units=units, sessions=sessions)


def _new_rows(table: torch.Tensor, new: Vocabulary, generator: torch.Generator) -> torch.Tensor:
    # Paper: new rows start from N(0, 0.02²). Here: from the distribution of the learned rows,
    # where the frozen network knows what to make of them.
    learned = table[1:]  # without NA
    noise = torch.randn(len(new), table.shape[1], generator=generator)
    return learned.mean(0) + noise * learned.std(0, correction=0)


def scratch(recordings: list[Recording], size: str, *, seed: int) -> Checkpoint:
    """A new model for these sessions. Weights are drawn from `seed`."""
    units, sessions = units_and_sessions(recordings)
    torch.manual_seed(seed)
    model = POYO(size=size, units=len(units), sessions=len(sessions))
    return Checkpoint(model=model, size=size, units=units, sessions=sessions)


def few_trials(recording: Recording, n: int, length: float, seed: int) -> Recording:
    """The recording with only n of its labelled train trials to learn from; the rest as it was.

    length: of a window, seconds; trials that are shorter do not count. A larger n holds the
    trials of a smaller one. Raises RecordingError where there are fewer.
    """
    train = recording.splits["train"]
    # a trial next to one that is held out has lost its margin; what is left of it counts
    outside = subtract(recording.domain, train)
    trials = [subtract(intervals(*trial), outside) for trial in recording.intervals["trials"]]
    trials = [trial for trial in trials if len(trial) and np.diff(trial).max() >= length]
    if n > len(trials):
        raise RecordingError(
            f"session {recording.session_id!r} has {len(trials)} train trials, not {n}"
        )
    chosen = np.random.default_rng(seed).permutation(len(trials))[:n]
    splits = recording.splits | {"train": intervals(np.concatenate([trials[i] for i in chosen]))}
    return replace(recording, splits=splits)
