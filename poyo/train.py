"""One training loop for every model: pretraining, adapting, one's own recording.

Every step is a function of (seed, step) and of the state saved with it, so a run that was killed
and started again ends with the same bytes as one that was not.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import ROOT, checkpoint, evaluate, optim, threads
from .attention import seeded
from .config import Size, Training, Windows, to_dict
from .model import POYO, Attention
from .sampling import TrainingWindows, keep_units
from .tokens import Session, cut, latents

SAVE_EVERY = 30.0  # seconds between resume files


def gradients(
    model: POYO, part: Callable[[slice], dict[str, Tensor]], n: int, seed: tuple[int, ...]
) -> float:
    """Loss of a batch of n windows and, in the parameters' .grad, its gradients.

    The loss is the weighted mean squared error (paper, section 2.3): mean over the two dims, times
    the weight of the sample, over the sum of all weights. part: gives the batch of some of the
    windows; it is called from several threads. seed: of the dropout.
    """
    device = next(model.parameters()).device
    learning = [p for p in model.parameters() if p.requires_grad]

    def of(rows: slice) -> tuple[float, float, tuple[Tensor, ...]]:
        batch = {key: value.to(device) for key, value in part(rows).items()}
        # Paper: float32. Here: so on a CPU; a GPU multiplies in bfloat16, weights stay float32.
        half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
        with seeded((*seed, rows.start), device), half:
            prediction = model(**batch).float()
        error = (prediction - batch["target"]).square().mean(-1)  # (b, Q)
        error = (error * batch["weight"]).sum()
        grads = torch.autograd.grad(error, learning, materialize_grads=True)
        return error.item(), batch["weight"].sum().item(), grads

    errors, weights, grads = zip(*threads.run(of, threads.chunks(n, device)))
    weight = max(sum(weights), 1e-8)
    for parameter, parts in zip(learning, zip(*grads)):
        parameter.grad = torch.stack(parts).sum(0).div_(weight)
    return sum(errors) / weight


def train(
    model: POYO,
    sessions: list[Session],
    training: Training,
    windows: Windows,
    *,
    size: str | Size,
    seed: int,
    label: str,
) -> list[dict]:
    """Train `model` in place on the sessions' train split.

    Returns the history: a row per validation, {"step", "loss", "valid_r2"}, the loss averaged
    since the row before, R² averaged over the sessions. The model ends with the weights that were
    best on validation (paper, appendix). Progress goes to stderr. The state is saved while it
    runs; an interrupted run continues where it was when called again alike. Raises WindowError
    where no window fits.
    """
    set_dropout(model, training)
    domains = [s.recording.splits["train"] for s in sessions]
    stream = TrainingWindows(domains, windows.length, seed)
    fixed = latents(size, windows)
    optimizers = optim.make(model, training)
    resume = scratch_dir() / f"{run_hash(model, sessions, training, windows, seed)}.pt"
    step, history, losses, best = _resume(resume, model, optimizers)
    if step:
        say(f"{label}: resumed at step {step}")
    began, began_at, saved = time.monotonic(), step, time.monotonic()
    while step < training.steps:
        freeze(model, training.frozen < 0 or step < training.frozen)
        model.train()
        which, starts = stream.batch(step, training.batch_size)
        kept = keep_units(sessions, which, training.unit_dropout, (seed, 2, step))

        def part(rows: slice, which=which, starts=starts, kept=kept) -> dict[str, Tensor]:
            # Paper: every sample. Here: windows.queries of them, evenly; behaviour is smooth, and
            # a thousand queries at 1 kHz cost more than the rest of the model.
            some = (sessions, which[rows], starts[rows], windows.length, kept[rows])
            return cut(*some, most=windows.queries) | fixed

        losses.append(gradients(model, part, len(which), (seed, 3, step)))
        optim.set_step(optimizers, training, step)
        threads.run(lambda step: step(), [optimizer.step for optimizer in optimizers])
        if not np.isfinite(losses[-1]):
            raise FloatingPointError(
                f"{label}: the loss is {losses[-1]} at step {step}; lower lr ({training.lr})"
            )
        step += 1
        if step % training.eval_every == 0 or step == training.steps:
            r2 = evaluate.scores(model, fixed, sessions, "valid", windows)
            row = {"loss": np.mean(losses), "valid_r2": np.nanmean([*r2.values()])}
            history.append({"step": step} | {k: round(float(v), 4) for k, v in row.items()})
            if not any(row["valid_r2"] > history[-1]["valid_r2"] for row in history):
                best = {name: value.clone() for name, value in model.state_dict().items()}
            losses = []
            _report(label, history[-1], training, began, began_at)
        if time.monotonic() - saved > SAVE_EVERY or step == training.steps:
            _save(resume, step, history, losses, best, model, optimizers)
            saved = time.monotonic()
    model.load_state_dict(best)
    freeze(model, False)
    model.eval()
    return history


def freeze(model: POYO, frozen: bool) -> None:
    """Let all parameters learn, or only unit and session embeddings (unit identification)."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not frozen or name.split(".")[0] in optim.EMBEDDINGS)


def set_dropout(model: POYO, training: Training) -> None:
    """Give the model the dropout rates of a run."""
    feed_forward, residual, attention = training.dropout
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = residual if module is model.dropout else feed_forward
        elif isinstance(module, Attention):
            module.dropout = attention


def device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def say(line: str) -> None:
    """Progress, to stderr: it is not part of a notebook's story."""
    print(line, file=sys.stderr, flush=True)


def _report(label: str, row: dict, training: Training, began: float, began_at: int) -> None:
    seconds = time.monotonic() - began
    done = row["step"] - began_at
    left = round(seconds / done * (training.steps - row["step"]))
    rate = done * training.batch_size / seconds
    say(
        f"{label}: step {row['step']}/{training.steps}  loss {row['loss']:.3f}  "
        f"valid R² {row['valid_r2']:.3f}  {rate:.0f} windows/s  {left // 60}m{left % 60:02d}s left"
    )


# --- resuming -------------------------------------------------------------------------------


def scratch_dir() -> Path:
    """Where resume files lie: outside every DVC output, cleared when their stage has ended."""
    return Path(os.environ.get("POYO_SCRATCH", ROOT / "runs" / "scratch" / "interactive"))


def run_hash(
    model: POYO, sessions: list[Session], training: Training, windows: Windows, seed: int
) -> str:
    """A name for all that determines a run: config, seed, data, first weights, code."""
    digest = hashlib.sha256()
    facts = [to_dict(training), to_dict(windows), seed, torch.__version__, type(model).__name__]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    for session in sessions:
        recording = session.recording
        digest.update(f"{session.id} {session.readout} {session.row}".encode())
        digest.update(str(session.delimiters).encode())
        digest.update(session.unit_rows.tobytes())
        arrays = recording.spike_times, recording.spike_units, session.times, session.target
        for array in arrays:
            # the ends and the length tell recordings apart without reading a corpus through
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array[:1000]).tobytes())
            digest.update(np.ascontiguousarray(array[-1000:]).tobytes())
        for name, spans in sorted((recording.splits | recording.intervals).items()):
            digest.update(name.encode() + spans.tobytes())
    return digest.hexdigest()[:16]


def _save(path: Path, step: int, history: list, losses: list, best, model, optimizers) -> None:
    checkpoint.write(
        path,
        {
            "step": step,
            "history": history,
            "losses": losses,
            "best": best,
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        },
    )


def _resume(path: Path, model, optimizers) -> tuple[int, list, list, dict]:
    if not path.exists():
        return 0, [], [], {}
    try:
        state = checkpoint.read(path)
    except checkpoint.CheckpointError as error:
        say(f"starting over: {error}")
        return 0, [], [], {}
    model.load_state_dict(state["model"])
    for optimizer, its in zip(optimizers, state["optimizers"]):
        optimizer.load_state_dict(its)
    return state["step"], state["history"], state["losses"], state["best"]
