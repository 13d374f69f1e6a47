"""What several test files need: a tiny simulated session, an easy one, a short training run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from poyo import ROOT
from poyo.config import Training, Windows, load
from poyo.recording import Recording
from poyo.simulate import simulate
from poyo.tokens import Session, prepare
from poyo.vocabulary import units_and_sessions

torch.set_num_threads(1)  # the tensors here are too small for more


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
    """Makes a recording whose units fire in proportion to the velocity along a direction."""

    def make(session_id="easy", *, seconds=60.0, units=8, seed=0, **more) -> Recording:
        rng = np.random.default_rng(seed)
        times = np.arange(0, seconds, 0.02)
        phase = 2 * np.pi * (np.array([0.31, 0.47]) * times[:, None] + rng.random(2))
        velocity = np.sin(phase)  # (T, 2), in -1..1
        angle = np.arange(units) * 2 * np.pi / units
        rate = 30 + 20 * velocity @ np.stack([np.cos(angle), np.sin(angle)])  # (T, U) Hz
        counts = rng.poisson(np.maximum(rate, 0.5) * 0.02)
        row, unit = np.nonzero(counts)
        at = np.repeat(times[row], counts[row, unit])
        unit = np.repeat(unit, counts[row, unit])
        at = at + rng.uniform(0, 0.02, len(at))
        order = np.argsort(at)
        return Recording.from_arrays(
            at[order], unit[order], times, velocity, session_id=session_id, **more
        )

    return make


@pytest.fixture(scope="session")
def prepared() -> Callable[..., list[Session]]:
    """Makes sessions of recordings, in a vocabulary of just these."""

    def make(*recordings: Recording) -> list[Session]:
        units, sessions = units_and_sessions(recordings)
        return [prepare(recording, units, sessions) for recording in recordings]

    return make


@pytest.fixture(scope="session")
def windows() -> Windows:
    return Windows(length=1.0, latent_step=0.125, eval_step=0.5, queries=1000)


@pytest.fixture(scope="session")
def training() -> Training:
    """A run of a second; tests change what they are about with dataclasses.replace."""
    return replace(
        load(ROOT / "profiles/smoke.yaml").own,
        optimizer="adamw",
        steps=12,
        batch_size=4,
        lr=1e-3,
        embedding_lr=1e-3,
        warmup=0.0,
        unit_dropout=(4, 6, 8),
        frozen=0,
        eval_every=5,
    )
