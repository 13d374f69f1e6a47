"""What several test files need: a tiny simulated session, an easy one, a short training run."""

import os

# of numpy, before it is imported; two workers share the cores, and its threads wait busily
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poyo.config import EmbeddingRecipe, Recipe, Windows
from poyo.data.recording import Recording
from poyo.data.simulate import simulate
from poyo.data.sources import readout_of
from poyo.tokens import Session, prepare
from poyo.vocabulary import units_and_sessions

torch.set_num_threads(1)  # the tensors here are too small for more


LONG = ["test_repro", "test_paper_profile", "test_distributed", "test_your_recording"]


def pytest_collection_modifyitems(items):
    """The files that take longest first, so that no worker waits for one of them at the end."""
    items.sort(key=lambda item: [*LONG, item.path.stem].index(item.path.stem))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Resume files of a test stay in its own folder."""
    folder = tmp_path / "scratch"
    monkeypatch.setenv("POYO_SCRATCH", str(folder))
    return folder


@pytest.fixture(scope="session")
def simulated() -> Recording:
    """A minute of center-out reaching, some ten units."""
    task = "center_out_reaching"
    return simulate(animal="sim-c", day=1, task=task, flavour="perich", minutes=1, units=(10, 14))


@pytest.fixture(scope="session")
def easy() -> Callable[..., Recording]:
    """Makes a recording whose units fire in proportion to a target of up to three dims."""

    def make(session_id="easy", *, seconds=60.0, units=8, seed=0, dims=2, offset=0.0, **more):
        rng = np.random.default_rng(seed)
        times = np.arange(0, seconds, 0.02)
        phase = (
            2 * np.pi * (np.array([0.31, 0.47, 0.23])[:dims] * times[:, None] + rng.random(dims))
        )
        target = np.sin(phase)  # (T, D), in -1..1
        angle = np.arange(units) * 2 * np.pi / units
        tuning = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)])[:dims]
        rate = 30 + 20 * target @ tuning  # (T, U) Hz
        counts = rng.poisson(np.maximum(rate, 0.5) * 0.02)
        row, unit = np.nonzero(counts)
        at = np.repeat(times[row], counts[row, unit])
        unit = np.repeat(unit, counts[row, unit])
        at = at + rng.uniform(0, 0.02, len(at))
        order = np.argsort(at)
        return Recording.from_arrays(
            at[order], unit[order], times, offset + target, session_id=session_id, **more
        )

    return make


@pytest.fixture(scope="session")
def prepared() -> Callable[..., list[Session]]:
    """Makes sessions of recordings, in a vocabulary of just these."""

    def make(*recordings: Recording) -> list[Session]:
        units, sessions = units_and_sessions(recordings)
        return [prepare(one, readout_of(one), units, sessions) for one in recordings]

    return make


@pytest.fixture(scope="session")
def windows() -> Windows:
    return Windows(length=1.0, latent_step=0.125, eval_step=0.5, queries=1000)


@pytest.fixture(scope="session")
def training() -> Recipe:
    """A run of a second; tests change what they are about with dataclasses.replace."""
    return Recipe(
        optimizer="adamw",
        steps=12,
        batch_size=4,
        lr=1e-3,
        embedding_lr=1e-3,
        warmup=0.0,
        hold=0.2,
        weight_decay=0.05,
        dropout=(0.2, 0.2, 0.0),
        unit_dropout=(4, 6, 8),
        eval_every=5,
    )


@pytest.fixture(scope="session")
def learning(training) -> Recipe:
    """What an easy session is learned by, in two seconds."""
    rates = {"lr": 1e-2, "embedding_lr": 2e-2, "hold": 0.4}
    return replace(training, optimizer="muon", steps=80, batch_size=8, eval_every=40, **rates)


@pytest.fixture(scope="session")
def identifying(training) -> EmbeddingRecipe:
    """The same where the network is frozen."""
    return EmbeddingRecipe(**{f.name: getattr(training, f.name) for f in fields(EmbeddingRecipe)})
