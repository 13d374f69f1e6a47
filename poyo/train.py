"""One training loop for every decoder: pretraining, adapting, one's own recording.
Every step is a function of (seed, step) and the saved state, so a run that was killed and started
again ends with the same bytes as one that was not."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import distributed, evaluate, optim, processes, resume, threads
from .config import EmbeddingRecipe, Recipe
from .data.recording import Recording
from .decoder import Decoder
from .dropout import seeded
from .model import Network
from .sampling import TrainingWindows, WindowError, keep_units
from .tokens import tokenize

SAVE_EVERY = 30.0  # seconds between resume files
History = list[dict[str, float]]  # per validation: step, mean loss since the last, mean valid_r2


def gradients(
    model: Network, part: Callable[..., dict[str, Tensor]], n: int, seed: tuple[int, ...]
) -> float:
    """Loss of a batch of n windows and, in the parameters' .grad, its gradients.
    The loss is the weighted mean squared error (paper, section 2.3): mean over the dims, times
    the weight of the sample, over the sum of all weights; nan where a gradient is not finite.
    part: gives the batch of some of the windows; it is called from several threads. seed: of the
    dropout. Processes that train together share the batch's parts, and each ends with the loss
    and the gradients of the whole batch."""
    where = next(model.parameters()).device
    learning = [p for p in model.parameters() if p.requires_grad]

    parts = threads.chunks(n, where)
    mine, sizes = distributed.share(parts), [p.numel() for p in learning]
    grads = torch.empty(len(mine), sum(sizes), device=where)
    # a GPU holds what one part leaves for its gradient at a time; the others are cut meanwhile
    turn = threading.Lock() if where.type == "cuda" else nullcontext()

    def of(i: int) -> tuple[float, float]:
        rows = mine[i]
        batch = {key: value.to(where) for key, value in part(rows).items()}
        # Paper: float32. Here: so on a CPU; a GPU multiplies in bfloat16, weights stay float32.
        half = torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda")
        with turn:
            with seeded((*seed, rows.start), where), half:
                prediction = model(**batch).float()
            error = (prediction - batch["target"]).square().mean(-1)  # (b, Q)
            error = (error * batch["weight"]).sum()
            found = torch.autograd.grad(error, learning, materialize_grads=True)
            torch.cat([grad.flatten() for grad in found], out=grads[i])
        return error.item(), batch["weight"].sum().item()

    sums = distributed.gather(threads.run(of, range(len(mine))))
    errors, weights = zip(*chain.from_iterable(sums))
    weight = max(sum(weights), 1e-8)
    whole = distributed.add_up(grads, [len(some) for some in sums]).div_(weight)
    for parameter, grad in zip(learning, whole.split(sizes)):
        parameter.grad = grad.view_as(parameter)
    return sum(errors) / weight if whole.sum().isfinite() else float("nan")


def fit(
    decoder: Decoder, recordings: list[Recording], recipe: EmbeddingRecipe, *, seed=0, label=""
) -> History:
    """Train a decoder in place on the train split of recordings it knows.
    The network learns, too, if the recipe is a `Recipe`. The decoder ends with the weights that
    were best on validation (paper, appendix), and stays on the GPU where there is one. Progress
    goes to stderr. An interrupted run continues where it was when called again alike, and a
    finished one is not trained again; SIGTERM, SIGHUP and Ctrl-C interrupt it after its step,
    which is kept. Whatever ends it early leaves the
    decoder as it was before. Under torchrun, all processes call it alike and train the one
    decoder, by the same batches as one process would. Raises WindowError where no window fits,
    RecordingError where no sample counts in the loss, FloatingPointError where the loss or its
    gradient is no longer finite, ValueError where processes differ, or train what others train
    already."""
    distributed.join()
    model, windows = decoder.model.to(device()), decoder.windows
    model.set_dropout(*recipe.dropout)
    sessions = [decoder.session(recording) for recording in recordings]
    domains = [recording.splits["train"] for recording in recordings]
    for session, domain in zip(sessions, domains):
        session.check_learnable(domain)
    if not any(len(evaluate.fitting(session, "valid", windows)) for session in sessions):
        short = f"no validation interval of {len(sessions)} session(s) is as long as a window"
        cure = "give longer trials or recordings, or set a shorter windows.length"
        raise WindowError(f"{short} ({windows.length} s), so R² would be nan; {cure}")
    stream = TrainingWindows(domains, windows.length, seed)
    path = resume.path_of(model, sessions, recipe, windows, seed)
    if len({*distributed.gather(path.name)}) > 1:
        cure = "give all the same decoder, recordings, recipe and seed"
        raise ValueError(f"{label}: the processes do not train alike; {cure}")
    parts, size = len(threads.chunks(recipe.batch_size, device())), distributed.size()
    if parts < size:
        idle = f"{size - parts} of {size} processes are idle"
        say(f"{label}: {idle}: a batch of {recipe.batch_size} windows has {parts} parts")

    def busy(other: str) -> None:
        line = f"{label}: the same training runs in process {other}, wait for it"
        if size > 1:  # the others would not: their patience ends
            raise ValueError(line)
        say(line)

    lock = processes.locked(path.with_suffix(".lock"), busy)
    # the first process holds it for all
    held = nullcontext() if distributed.rank() else lock
    with held, processes.asked_to_end() as asked, _or_as_before(model):
        optimizers = optim.make(model.groups(), recipe)
        step, history, losses, best = _resume(path, model, optimizers)
        if step:
            say(f"{label}: resumed at step {step}")
        freeze(model, not isinstance(recipe, Recipe))
        began, began_at, saved = time.monotonic(), step, time.monotonic()
        while step < recipe.steps:
            model.train()
            which, starts = stream.batch(step, recipe.batch_size)
            keep = keep_units(sessions, which, recipe.unit_dropout, (seed, 2, step))

            def part(rows: slice, which=which, starts=starts, keep=keep) -> dict[str, Tensor]:
                # Paper: every sample. Here: windows.queries of them, evenly; behaviour is smooth,
                # and a thousand queries at 1 kHz cost more than the rest of the model.
                some = (sessions, which[rows], starts[rows], windows.length, keep[rows])
                return tokenize(*some, queries=windows.queries)

            losses.append(gradients(model, part, len(which), (seed, 3, step)))
            if not np.isfinite(losses[-1]):
                found = [f"{sessions[i].id} at {t:.3f} s" for i, t in zip(which, starts)]
                where = f"{label}: the loss or its gradient is not finite at step {step}"
                raise FloatingPointError(f"{where}, {_blamed(model, part, found)}")
            optim.set_step(optimizers, recipe, step)
            threads.run(lambda step: step(), [optimizer.step for optimizer in optimizers])
            step += 1
            if step % recipe.eval_every == 0 or step == recipe.steps:
                scores = evaluate.scores(model, distributed.share(sessions), "valid", windows)
                r2 = [*chain.from_iterable(distributed.gather([*scores.values()]))]
                row = {"loss": np.mean(losses), "valid_r2": np.nanmean(r2)}
                history.append({"step": step} | {k: round(float(v), 4) for k, v in row.items()})
                values = np.nan_to_num([row["valid_r2"] for row in history], nan=-np.inf)
                if values[-1] == values.max():
                    best = {name: value.clone() for name, value in model.state_dict().items()}
                losses = []
                _report(label, history[-1], recipe, began, began_at)
            # of several processes one may be asked before the others: all stop after the same step
            ends = [*chain(*distributed.gather([*asked]))]
            if time.monotonic() - saved > SAVE_EVERY or step == recipe.steps or ends:
                state = {"step": step, "history": history, "losses": losses, "best": best}
                states = {
                    "model": model.state_dict(),
                    "optimizers": [o.state_dict() for o in optimizers],
                }
                resume.write(path, state | states)
                saved = time.monotonic()
            if ends:
                say(f"{label}: asked to end; step {step} is kept, and the next run goes on there")
                processes.leave(ends)
    if all(np.isnan(row["valid_r2"]) for row in history):
        cure = "give more validation trials, or a target that varies in them"
        say(f"{label}: validation R² was never a number, so the last weights are kept; {cure}")
    model.load_state_dict(best)
    decoder.about = {"recipe": asdict(recipe), "seed": seed, "label": label}
    return history


@contextmanager
def _or_as_before(model: Network) -> Iterator[None]:
    """What ends a training early leaves the weights that it began with: called again, it is known
    by them."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        yield
    except BaseException:
        model.load_state_dict(before)
        raise
    finally:
        freeze(model, False)
        model.eval()


def _blamed(model: Network, part: Callable, names: list[str]) -> str:
    """Which windows of a batch, each alone, have no finite loss or gradient, and the cure."""
    bad = []
    for i, name in enumerate(names):
        one = gradients(model, lambda _, i=i: part(slice(i, i + 1)), 1, (i,))
        bad += [] if np.isfinite(one) else [name]
    some = ", ".join(bad[:3]) + ", …" * (len(bad) > 3)
    cure = "look at the data there, or lower the learning rates"
    return f"of {len(bad)} of {len(names)} windows ({some}); {cure}"


def freeze(model: Network, frozen: bool) -> None:
    """Let all parameters learn, or only unit and session embeddings (unit identification). What a
    network never learns are buffers: a parameter that it had frozen would learn, too."""
    for group, parameters in model.groups().items():
        for parameter in parameters:
            parameter.requires_grad_(not frozen or group == "embeddings")


def device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def say(line: str) -> None:
    """Progress, to stderr: it is not part of a notebook's story."""
    if distributed.rank() == 0:
        print(line, file=sys.stderr, flush=True)


def _report(label: str, row: dict, recipe: EmbeddingRecipe, began: float, began_at: int) -> None:
    seconds, done = time.monotonic() - began, row["step"] - began_at
    left = round(seconds / done * (recipe.steps - row["step"]))
    rate = done * recipe.batch_size / seconds
    so_far = f"loss {row['loss']:.3f}  valid R² {row['valid_r2']:.3f}  {rate:.0f} windows/s"
    ahead = f"{left // 60}m{left % 60:02d}s left"
    say(f"{label}: step {row['step']}/{recipe.steps}  {so_far}  {ahead}")


def _resume(path: Path, model, optimizers) -> tuple[int, History, list, dict]:
    state = None
    try:
        # the others' disks may lack the file: the first process tells them what is in it
        state = resume.read(path) if distributed.rank() == 0 else None
    except resume.CheckpointError as error:
        if path.exists():
            say(f"starting over: {error}")
    state = distributed.of_first(state)
    if state is None:
        return 0, [], [], {}
    model.load_state_dict(state["model"])
    for optimizer, its in zip(optimizers, state["optimizers"]):
        optimizer.load_state_dict(its)
    return state["step"], state["history"], state["losses"], state["best"]
