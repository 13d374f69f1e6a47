"""What `18_scale` measures: a simulated corpus of the paper's size, and what it takes to train on.

Every number goes with the machine that gave it into figures/data/scale.csv, beside those of other
machines. Not for: comparisons with torch_brain (`bench`), or accuracy (`results`)."""

import copy
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest import mock

import joblib
import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from .. import optim, threads, train
from ..config import Recipe
from ..data.recording import CO, MAZE, RT, Recording
from ..data.simulate import simulate
from ..decoder import Decoder
from ..processes import end_with
from ..sampling import TrainingWindows, keep_units
from ..tokens import tokenize
from . import plotting

POYO_1 = [  # animal, what its simulation imitates, task, sessions: as those of POYO-1
    ("sim-c", "perich", CO, 52), ("sim-c", "perich", RT, 15), ("sim-m", "perich", CO, 24),
    ("sim-m", "perich", RT, 6), ("sim-j", "perich", CO, 3), ("sim-f", "perich", CO, 5),
    ("sim-i", "odoherty", RT, 37), ("sim-l", "odoherty", RT, 7),
    ("sim-n", "churchland", MAZE, 5), ("sim-k", "churchland", MAZE, 4),
]  # fmt: skip
OURS, AS_IN_PAPER = "our settings", "the paper's settings"
PAPERS = {"poyo_mp": "POYO-mp", "poyo_1": "POYO-1"}
COLUMNS = ["what", "of", "value", "unit"]  # of a measurement


def evenly(items: list, n: int) -> list:
    """n of them, or all, at equal distances."""
    chosen = np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def build(folder: Path, sessions: int, units: tuple[int, int], minutes: float) -> list[Path]:
    """Simulate so many of the sessions of POYO_1 into `folder`, by a process per thread, and
    return their files. One that is there already is not made again."""
    rows = [(*row, day) for *row, n in POYO_1 for day in range(1, n + 1)]
    jobs, parent = {}, os.getpid()
    for animal, flavour, task, day in evenly(rows, sessions):
        who = {"animal": animal, "flavour": flavour, "task": task, "day": day}
        jobs[folder / f"{animal}_{task}_{day:02d}.h5"] = who

    def make(path: Path, who: dict) -> None:
        if os.getpid() != parent:
            end_with(parent)
        simulate(**who, units=units, minutes=minutes).save(path)

    with joblib.parallel_config("loky", n_jobs=threads.count(), inner_max_num_threads=1):
        joblib.Parallel(batch_size=1)(
            joblib.delayed(make)(*job) for job in jobs.items() if not job[0].exists()
        )
    return [*jobs]


def resident() -> np.ndarray:
    """Memory of this process, GiB: (3,) in all, without mapped pages of files, most in all."""
    status = dict(row.split(":") for row in Path("/proc/self/status").read_text().splitlines())
    return np.array([int(status[k].split()[0]) / 2**20 for k in ("VmRSS", "RssAnon", "VmHWM")])


def shortened(recording: Recording, seconds: float) -> Recording:
    """With the first `seconds` of its validation and test splits alone: a quick look at many."""

    def first(pairs: np.ndarray) -> np.ndarray:
        n = 1 + np.searchsorted(np.cumsum(np.diff(pairs)), seconds)
        return np.minimum(pairs[:n], pairs[:n, :1] + seconds)

    cut = {split: first(recording.splits[split]) for split in ("valid", "test")}
    return replace(recording, splits=recording.splits | cut)


class Training:
    """Steps of a decoder's model on random windows of recordings, as `train.fit` takes them."""

    def __init__(self, decoder: Decoder, recordings: list[Recording], recipe: Recipe):
        self.sessions = [decoder.session(one) for one in recordings]
        self.model, self.windows, self.recipe = decoder.model, decoder.windows, recipe
        domains = [one.splits["train"] for one in recordings]
        self.stream = TrainingWindows(domains, self.windows.length, seed=0)

    def cut(self, step: int) -> Callable[[slice], dict]:
        """What gives the batch of some windows of a step."""
        which, starts = self.stream.batch(step, self.recipe.batch_size)
        keep = keep_units(self.sessions, which, self.recipe.unit_dropout, (0, 2, step))
        more = {"queries": self.windows.queries}
        return lambda rows: tokenize(
            self.sessions, which[rows], starts[rows], self.windows.length, keep[rows], **more
        )

    def reading(self, windows: int, first: int = 0) -> float:
        """Windows per second, of so many that are cut from the files and not trained on."""
        steps, began = -(-windows // self.recipe.batch_size), time.perf_counter()
        for step in range(first, first + steps):
            self.cut(step)(slice(None))
        return steps * self.recipe.batch_size / (time.perf_counter() - began)

    def learning(self, steps: int, *, chunk=threads.GPU_CHUNK, half=True) -> tuple[float, float]:
        """Windows per second of so many steps, after two more, and the most memory in GiB, of the
        GPU where there is one. chunk: how many windows a GPU takes at a time; half: whether it
        multiplies in bfloat16."""
        recipe, on_gpu = replace(self.recipe, steps=steps + 2), train.device().type == "cuda"
        model = self.model.to(train.device()).train()
        model.set_dropout(*recipe.dropout)
        optimizers = optim.make(model.groups(), recipe)

        def go(first: int, last: int) -> None:
            for step in range(first, last):
                train.gradients(model, self.cut(step), recipe.batch_size, (0, 3, step))
                optim.set_step(optimizers, recipe, step)
                for optimizer in optimizers:
                    optimizer.step()

        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with mock.patch.object(threads, "GPU_CHUNK", chunk), _precision(half):
            go(0, 2)
            began = _now()
            go(2, steps + 2)
        rate = steps * recipe.batch_size / (_now() - began)
        return rate, torch.cuda.max_memory_allocated() / 2**30 if on_gpu else resident()[2]

    def operations(self, n: int = 8) -> float:
        """Floating-point operations for a window, forward and backward, as counted on a CPU."""
        model, batch = copy.deepcopy(self.model).cpu().train(), self.cut(0)(slice(n))
        with FlopCounterMode(display=False) as counter:
            model(**batch).square().sum().backward()
        return counter.get_total_flops() / n

    def agreement(self, half: bool) -> tuple[float, float]:
        """How much a GPU's loss of a batch, and its gradient, differ from a CPU's in float32,
        relative to these; without dropout."""
        found = []
        for device in ("cpu", train.device()):
            model = copy.deepcopy(self.model).to(device).train()
            model.set_dropout(0.0, 0.0, 0.0)
            with _precision(half):
                loss = train.gradients(model, self.cut(0), self.recipe.batch_size, (0,))
            grads = [p.grad.flatten().cpu() for p in model.parameters() if p.grad is not None]
            found.append((loss, torch.cat(grads)))
        (right, exact), (loss, gradient) = found
        return abs(loss / right - 1), float((gradient - exact).norm() / exact.norm())


def _precision(half: bool):
    """Within it a GPU multiplies in bfloat16, as `train.gradients` asks it to, or in float32."""
    off = mock.patch("torch.autocast", lambda *_, **__: nullcontext())
    return nullcontext() if half else off


def _now() -> float:
    """Seconds, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def gpu_peak(n: int = 20) -> float:
    """Operations per second of a large matrix product in bfloat16."""
    a, b = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(2):  # the first time warms up
        began = _now()
        for _ in range(n):
            a @ b
        took = _now() - began
    return n * 2 * 8192**3 / took


def machine() -> str:
    """What this machine is, in words."""
    used = f"{threads.count()} CPU threads"
    return f"one {torch.cuda.get_device_name()}, {used}" if torch.cuda.is_available() else used


def record(rows: list[tuple[str, str, float, str]], where: str) -> pd.DataFrame:
    """Put the values (what, of what, value, unit) that a machine gave into figures/data/scale.csv
    instead of its earlier ones; those of other machines stay. Returns all of them."""
    path, new = plotting.FIGURES / "data/scale.csv", pd.DataFrame(rows, columns=COLUMNS)
    new = new.assign(machine=where, corpus="simulated")
    if path.exists():
        old = pd.read_csv(path)
        new = pd.concat([old[old.machine != where], new])
    plotting.csv(new, "scale")
    return new


def shown(value: float) -> str:
    """A number with three digits or all before the point; nothing for nan."""
    return "" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(measured: pd.DataFrame, name: str) -> str:
    """Write figures/tables/scale.md, a column per machine, and return it."""
    rows: dict = {}
    for one in measured.itertuples():
        row = rows.setdefault((one.what, one.of), dict.fromkeys(measured.machine.unique(), ""))
        row[one.machine] = f"{shown(one.value)} {one.unit if isinstance(one.unit, str) else ''}"
    lines = [{"": f"{what}, {of}"} | row for (what, of), row in rows.items()]
    caption = (
        f"*Measured on a simulated corpus of the paper's size, settings `scale` of `{name}`.*"
    )
    return plotting.markdown(lines, "scale", caption)


def cost(measured: pd.DataFrame, models: dict) -> str:
    """Write figures/tables/cost.md, and return it: what the paper's runs are expected to take, at
    the rates of a GPU in bfloat16. models: rows of the profile `paper`."""
    on_gpu = (measured.what == "training") & measured.machine.str.startswith("one ")
    rates = measured[on_gpu & ~measured.of.str.startswith("float32")]
    rows = []
    for (name, label), rate in product(PAPERS.items(), rates.itertuples()):
        run = models[name]
        rows.append({
            "expected": label, "steps x windows": f"{run.steps:,} x {run.batch_size:,}",
            "at the rate of": f"{rate.of}: {shown(rate.value)} windows/s",
            "GPU hours": shown(run.steps * run.batch_size / rate.value / 3600),
        })  # fmt: skip
    machines = " and ".join(rates.machine.unique())
    caption = f"*Expected from the rates of {machines}, not measured.*"
    return plotting.markdown(rows, "cost", caption) if rows else "no GPU has been measured"
