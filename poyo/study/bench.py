"""What `10_speed` measures: ours beside torch_brain, the field's own package, in one process.

Both get the same data, weights and threads, in turn; a ratio hardly depends on the machine. Needs
the extra [test], which brings torch_brain; no other module does. Not for: accuracy (`results`)."""

import ctypes
import inspect
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from torch_brain import batching, datasets, models, samplers, transforms

from .. import optim, threads, train
from ..config import EmbeddingRecipe, Recipe, Windows
from ..data.recording import Recording
from ..decoder import Decoder
from ..model import Network
from ..sampling import TrainingWindows, keep_units
from ..stream import Stream
from ..tokens import tokenize
from .scale import resident, shown  # noqa: F401, for the page

BATCH = 32  # windows
DROPOUT = 0.2, 0.4, 0.2  # the paper's: in feed-forwards, on residual branches, on attention
THEIRS = "torch_brain"
TAKEN = inspect.signature(models.POYO.forward).parameters
LATENTS = "latent_index", "latent_timestamps"
Batch = dict[str, Tensor]  # as of `tokens.tokenize`
Kept = tuple[int, int, int]  # fewest, most likely and most units that are kept


@dataclass(frozen=True, kw_only=True)
class Machine:
    """threads: of both sides; stretch: seconds of each at least; repeats: stretches of each."""

    threads: int
    stretch: float
    repeats: int

    def rate(self, work: Callable) -> float:
        """Calls per second, over a stretch."""
        calls, began = 0, time.perf_counter()
        while calls == 0 or time.perf_counter() - began < self.stretch:
            work()
            calls += 1
        return calls / (time.perf_counter() - began)

    def in_turn(self, ours: Callable, theirs: Callable) -> np.ndarray:
        """Calls per second of both, (2, repeats); `theirs` gets threads as torch uses them."""
        # freed memory goes back to the system, else the two at 11.8M need 24 GB side by side
        trim, rates = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None), []
        for work, count in [(ours, 1), (theirs, self.threads)] * (self.repeats + 1):
            torch.set_num_threads(count)
            rates.append(self.rate(work))
            trim(0)
        torch.set_num_threads(1)
        return np.reshape(rates[2:], (-1, 2)).T  # the first round warms up

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Operations (a large float32 matrix product) and bytes (read and written) per second."""
        a, b = torch.randn(2, 2048, 2048)
        source, target = torch.zeros(2, 2**26)
        torch.set_num_threads(self.threads)
        products = max(self.rate(lambda: a @ b) for _ in range(self.repeats))
        copies = max(self.rate(lambda: target.copy_(source)) for _ in range(self.repeats))
        torch.set_num_threads(1)
        return 2 * 2048**3 * products, 2 * source.nbytes * copies

    def floor(self, operations: float = 0.0, moved: float = 0.0) -> float:
        """Seconds that so many operations and bytes take at least."""
        return max(operations / self.limits[0], moved / self.limits[1])


def line(leg, size, ours, reference, unit, *, floor=np.nan, less=False, against=THEIRS, note=""):
    """A line of the table: medians, and the median and the 10-90 % range of the ratio.
    ours, reference: (n,) in `unit`, one of each in turn; floor: the best that the machine allows,
    in `unit`. less: is better. against: what the reference is. Prints the line, too."""
    better = reference / ours if less else ours / reference
    low, ratio, high = np.quantile(better, [0.1, 0.5, 0.9])
    ours, reference = np.median(ours), np.median(reference)
    print(f"{leg}, {size}: {ours:.4g} {unit}; {against}: {reference:.4g}; ratio {ratio:.2f}")
    return {
        "leg": leg, "size": size, "ours": ours, "reference": reference, "unit": unit,
        "ratio": ratio, "ratio_low": low, "ratio_high": high, "floor": floor,
        "fraction_of_floor": floor / ours if less else ours / floor,
        "against": against, "note": note,
    }  # fmt: skip


def crowd(name, seed, *, units=None, seconds=60.0, rate=17.0) -> Recording:
    """A session of Poisson spikes at `rate` Hz, 40-120 units if not given, 100 Hz of behaviour."""
    rng = np.random.default_rng(seed)
    units = units or int(rng.integers(40, 121))
    n = rng.poisson(units * rate * seconds)
    times = np.arange(0, seconds, 0.01)
    return Recording.from_arrays(
        np.sort(rng.uniform(0, seconds, n)), rng.integers(0, units, n), times,
        rng.normal(size=(len(times), 2)), session_id=name, domain=np.array([[0.0, seconds]]),
    )  # fmt: skip


def batches(decoder: Decoder, recordings, n=BATCH, *, kept: Kept | None = None) -> Iterator[Batch]:
    """Ours without end: n random train windows each, of which so many units are kept, or all."""
    sessions, length = [decoder.session(r) for r in recordings], decoder.windows.length
    stream = TrainingWindows([r.splits["train"] for r in recordings], length, seed=0)
    for step in itertools.count():
        which, starts = stream.batch(step, n)
        keep = keep_units(sessions, which, kept, (0, step)) if kept else None
        yield tokenize(sessions, which, starts, length, keep)


class Pair:
    """A decoder's model, `ours`, changed by this, and torch_brain's with its weights, `theirs`: in
    training mode with the paper's dropouts, on n windows; frozen: only embeddings learn."""

    def __init__(self, decoder: Decoder, recordings=(), n: int = BATCH, *, frozen: bool = False):
        ours, windows, size = decoder.model, decoder.windows, decoder.model.size
        theirs = models.POYO(
            sequence_length=windows.length, latent_step=windows.latent_step, dim=size.dim,
            num_latents_per_step=size.latents_per_step, dim_out=ours.outputs, depth=size.depth,
            cross_heads=size.cross_heads, self_heads=size.self_heads,
            ffn_dropout=DROPOUT[0], lin_dropout=DROPOUT[1], atn_dropout=DROPOUT[2],
        )  # fmt: skip
        theirs.unit_emb.initialize_vocab(decoder.units.names[1:])
        theirs.session_emb.initialize_vocab(decoder.sessions.names[1:])
        names = {key: x for key, x in theirs.state_dict().items() if key.endswith("vocab")}
        theirs.load_state_dict(ours.state_dict() | names)
        theirs.groups = partial(Network.groups, theirs)  # its parameters have the same names
        ours.set_dropout(*DROPOUT)
        for model in (ours, theirs):
            train.freeze(model.train(), frozen)
        self.ours, self.theirs, self.n = ours, theirs, n
        self.batch = next(batches(decoder, recordings, n)) if recordings else {}

    @property
    def inputs(self) -> Batch:
        """What torch_brain's model takes of the batch, and the latents, which ours has itself."""
        n = len(self.batch["session_index"])
        own = {key: getattr(self.ours, key).expand(n, -1) for key in LATENTS}
        return {key: value for key, value in (self.batch | own).items() if key in TAKEN}

    def part(self, rows: slice) -> Batch:
        return {key: value[rows] for key, value in self.batch.items()}

    def decode(self) -> Tensor:
        run = torch.no_grad()(lambda rows: self.ours(**self.part(rows)))
        return torch.cat(threads.run(run, threads.chunks(self.n, torch.device("cpu"))))

    @torch.no_grad()
    def their_decode(self) -> Tensor:
        return self.theirs(**self.inputs)

    def gradients(self) -> float:
        return train.gradients(self.ours, self.part, self.n, (0,))

    def their_gradients(self):
        self.theirs.zero_grad()
        error = (self.theirs(**self.inputs) - self.batch["target"]).square().mean(-1)
        ((error * self.batch["weight"]).sum() / self.batch["weight"].sum()).backward()

    def needs(self, n: int = 8) -> tuple[float, float, float]:
        """What ours needs for a window, of n: operations of forward and backward, bytes written
        and read again between the two, operations of forward alone."""
        held: Any = []  # memory, which tensors may share
        with FlopCounterMode(display=False) as counter:
            with saved_tensors_hooks(lambda x: held.append(x.untyped_storage()) or x, lambda x: x):
                out = self.ours(**self.part(slice(n)))
            forward = counter.get_total_flops()
            out.square().sum().backward()
        moved = 2 * sum({x.data_ptr(): x.nbytes() for x in held}.values())
        return counter.get_total_flops() / n, moved / n, forward / n


class Spiking(datasets.SpikingDatasetMixin, datasets.Dataset):
    spiking_dataset_mixin_uniquify_unit_ids = True  # "session/unit", as in torch_brain's own


def their_batches(folder: Path, tokenizer: models.POYO, kept: Kept) -> Iterator[Batch]:
    """torch_brain's without end, of all files of a folder; tokenizer: its model."""
    dataset, (least, mode, most) = Spiking(folder), kept
    dropout = transforms.UnitDropout(min_units=least, mode_units=mode, max_units=most, seed=0)
    dataset.transform = transforms.Compose([dropout, tokenizer.tokenize])
    domains = {name: dataset.get_recording(name).train_domain for name in dataset.recording_ids}
    more = {"window_length": tokenizer.sequence_length, "generator": torch.Generator()}
    sampler = samplers.RandomFixedWindowSampler(sampling_intervals=domains, **more)
    more = {"sampler": sampler, "collate_fn": batching.collate, "drop_last": True}
    loader = torch.utils.data.DataLoader[Batch](dataset, BATCH, **more)
    while len(loader):  # else it would look for a batch for ever
        yield from loader


def files_to_batches(machine: Machine, windows: Windows, kept: Kept, count: int) -> dict:
    """A line: batches from the files of `count` sessions."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i:03d}.h5" for i in range(count)]
        for i, path in enumerate(paths):
            crowd(path.stem, i).save(path)
        recordings = [Recording.load(path) for path in paths]
        decoder = Decoder.new(recordings, size="smoke", windows=windows)  # for its names
        ours = batches(decoder, recordings, kept=kept)
        theirs = their_batches(Path(folder), Pair(decoder).theirs, kept)
        batch = next(ours)
        us, them = BATCH * machine.in_turn(ours.__next__, theirs.__next__)
    size = f"{batch['input_mask'].sum() / BATCH:.0f} tokens"
    moved = 2 * sum(x.nbytes for x in batch.values()) / BATCH  # written and read
    floor = 1 / machine.floor(moved=moved)
    return line("files to batches", size, us, them, "windows/s", floor=floor)


def large_corpus(machine: Machine, windows: Windows, kept: Kept, few: int, many: int, spikes):
    """A line of ours beside ours: batches from many sessions that hold so many spikes in all,
    beside a few of them. Prints what the many add to memory."""
    with tempfile.TemporaryDirectory() as folder:
        one = crowd("000", 0, units=80, seconds=max(60.0, spikes / many / 80 / 17))
        paths = [Path(folder) / f"{i:03d}.h5" for i in range(many)]
        for path in paths:
            replace(one, session_id=path.stem).save(path)
        before = resident()
        recordings = [Recording.load(path) for path in paths]
        decoder = Decoder.new(recordings, size="smoke", windows=windows)
        large, small = (batches(decoder, recordings[:n], kept=kept) for n in (many, few))
        next(large), next(small)
        start = resident() - before
        us, them = BATCH * machine.in_turn(large.__next__, small.__next__)
        end = resident() - before
    for i, kind in enumerate(("in all", "without mapped pages of the files")):
        print(f"memory, {kind}: {start[i]:.2f} GiB opened, {end[i]:.2f} at the end")
    size, against = f"{many * len(one.spike_times) / 1e6:.3g} M spikes", f"ours, {few} sessions"
    return line(f"corpus of {many} sessions", size, us, them, "windows/s", against=against)


def packet(recording: Recording, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Its spikes in [begin, end): times (S,) and ids of their units (S,)."""
    part = slice(*np.searchsorted(recording.spike_times, (begin, end)))
    return recording.spike_times[part], recording.unit_ids[recording.spike_units[part]]


def updates(machine: Machine, decoder: Decoder, recording: Recording, size: str) -> list[dict]:
    """Two lines, median and 99th percentile: an update of `Stream` every 20 ms, beside
    torch_brain's forward pass on the same window, tokens given. They must agree to 1e-5."""
    pair, stream = Pair(decoder), Stream(decoder, recording.session_id)
    session, length = decoder.session(recording), decoder.windows.length
    at_end = {"output_timestamps": torch.tensor([[length]]), "output_mask": torch.tensor([[True]])}
    took, ticks = [], np.arange(length, recording.domain[-1, 1], 0.02)
    pair.theirs.eval()
    torch.set_num_threads(machine.threads)
    for before, now in itertools.pairwise([0.0, *ticks]):
        spikes, began = packet(recording, before, now), time.perf_counter()
        stream.push(*spikes)
        decoded, middle = stream.decode(now), time.perf_counter()
        batch = tokenize([session], np.array([0]), np.array([now - length]), length)
        pair.batch, between = batch | at_end, time.perf_counter()
        expected = pair.their_decode().numpy()[0]
        took.append((middle - began, time.perf_counter() - between))
        assert np.abs(session.readout.normalize(decoded) - expected).max() < 1e-5
    torch.set_num_threads(1)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # torch forgot to count it
    count_fused = {fused: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)}
    with FlopCounterMode(display=False, custom_mapping=count_fused) as counter:
        stream.decode(now)
    floor, note = 1e3 * machine.floor(counter.get_total_flops()), "reference: its forward pass"
    more = {"floor": floor, "less": True, "note": note}
    ms = 1e3 * np.array(took[: len(took) // 8 * 8]).T.reshape(2, 8, -1)  # 8 stretches
    kinds = zip(("update, median", "update, 99th percentile"), np.percentile(ms, [50, 99], axis=2))
    return [line(k, size, us, them, "ms", **more) for k, (us, them) in kinds]


def long_stream(decoder: Decoder, recording: Recording, seconds: int) -> pd.DataFrame:
    """A row per second of spikes in one packet: those "held", "memory" of this process, GiB."""
    stream, rows = Stream(decoder, recording.session_id), []
    for second in range(seconds):
        begin = second % int(recording.domain[-1, 1])
        times, units = packet(recording, begin, begin + 1)
        stream.push(times - begin + second, units)
        stream.decode(second + 1.0)
        rows.append({"held": stream.held, "memory": resident()[0]})
    return pd.DataFrame(rows)


def decoding_and_step(machine: Machine, windows: Windows, recipe: Recipe, size: str) -> list[dict]:
    """Two lines: decoding and a training step of both models, both with a recipe's optimiser.
    That their outputs agree to 1e-5 is checked first."""
    recordings = [crowd(f"crowd-{i}", i) for i in range(10)]
    pair = Pair(Decoder.new(recordings, size=size, windows=windows), recordings)
    real = pair.batch["input_mask"].sum(1)
    print(f"{size}: {real.sum() / BATCH:.0f} tokens in a window, {real.max()} in the longest")
    operations, saved, forward = pair.needs()
    pair.ours.eval(), pair.theirs.eval()
    torch.testing.assert_close(pair.decode(), pair.their_decode(), atol=1e-5, rtol=0)
    us, them = BATCH * machine.in_turn(pair.decode, pair.their_decode)
    lines = [line("decoding", size, us, them, "windows/s", floor=1 / machine.floor(forward))]
    both = pair.ours.train(), pair.theirs.train()
    (ours,), (theirs,) = (optim.make(m.groups(), replace(recipe, lr=1e-5)) for m in both)
    us, them = BATCH * machine.in_turn(
        lambda: (pair.gradients(), ours.step()), lambda: (pair.their_gradients(), theirs.step())
    )
    floor = 1 / machine.floor(operations, saved)
    return [*lines, line("training step", size, us, them, "windows/s", floor=floor)]


def curve(decoder: Decoder, recordings, recipe: EmbeddingRecipe, seed: int, label: str):
    """Validation R² by gradient step while a copy of the decoder learns by a recipe."""
    history = train.fit(decoder.copy(), recordings, recipe, seed=seed, label=label)
    return pd.DataFrame(history).set_index("step")["valid_r2"]


def first(r2: pd.Series, goal: float) -> float:
    """The first step at which the goal is reached; nan if it never is."""
    return float((r2 >= goal).idxmax()) if (r2 >= goal).any() else np.nan
