# %% [markdown]
# # 10. How fast
#
# Every number here is ours beside the field's own package, `torch_brain`: its model, dataset,
# sampler, tokenizer and collate, and its training recipe. Both run in this one process on the same
# data, in turn, stretch by stretch; what counts is the **ratio** of the two, and how far ours is
# from what this machine could do at most. Seconds depend on the machine and on the day; ratios
# hardly do.
#
# This page is not part of the default run, because its numbers are new every time. With
# `pip install -e ".[test]"`, which brings torch_brain, and after a `dvc repro`:
#
#     dvc repro -f -s speed

# %%
import ctypes
import inspect
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from torch_brain import models
from torch_brain.batching import collate
from torch_brain.datasets import Dataset, SpikingDatasetMixin
from torch_brain.samplers import RandomFixedWindowSampler
from torch_brain.transforms import Compose, UnitDropout

from poyo import (
    ROOT,
    adapt,
    checkpoint,
    config,
    optim,
    plotting,
    sources,
    threads,
    tokens,
    train,
    vocabulary,
)
from poyo.recording import Recording
from poyo.sampling import TrainingWindows, keep_units
from poyo.stream import Stream

plt.style.use("poyo.style")
params = config.load()
speed, windows, official = params.speed, params.windows, params.speed.official
threads.use(params.threads)
lines = []


# %%
def rate(work):
    """Calls per second, over at least a stretch."""
    calls, began = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - began < speed.stretch:
        work()
        calls += 1
    return calls / (time.perf_counter() - began)


def in_turn(ours, theirs):
    """Calls per second of both, stretch by stretch, (repeats,) each. torch_brain gets the same
    number of threads, in the way torch uses them."""

    def reference():
        torch.set_num_threads(params.threads)
        theirs()
        torch.set_num_threads(1)

    # freed memory goes back to the system, else the two at 11.8M need 24 GB side by side
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
    rates = []
    for work in [ours, reference] * (speed.repeats + 1):  # the first round warms up
        rates.append(rate(work))
        trim(0)
    return np.reshape(rates[2:], (-1, 2)).T


def line(leg, size, ours, reference, unit, floor=np.nan, less_is_better=False, note=""):
    """A line of the table: medians, and the median and the 10-90 % range of the ratio."""
    better = reference / ours if less_is_better else ours / reference
    low, ratio, high = np.quantile(better, [0.1, 0.5, 0.9])
    ours, reference = np.median(ours), np.median(reference)
    fraction = floor / ours if less_is_better else ours / floor
    lines.append(
        {"leg": leg, "size": size, "ours": ours, "reference": reference, "unit": unit,
         "ratio": ratio, "ratio_low": low, "ratio_high": high, "floor": floor,
         "fraction_of_floor": fraction, "note": note}
    )  # fmt: skip
    print(f"{leg}, {size}: {ours:.4g} {unit}, reference {reference:.4g}: {ratio:.2f} times better")


# %% [markdown]
# ## 10.1 What the machine can do
#
# Two measured limits: multiplications and additions of a large matrix product in float32, and
# bytes of a large copy. A **floor** below is the time these two leave at least: the operations
# that the arithmetic of the model needs at the first rate, or the bytes that must move at the
# second, whichever takes longer.

# %%
torch.set_num_threads(params.threads)
a, b = torch.randn(2, 2048, 2048)
matrix_rate = 2 * 2048**3 * max(rate(lambda: a @ b) for _ in range(speed.repeats))
source, target = torch.zeros(2, 2**26)
copy_rate = 8 * 2**26 * max(rate(lambda: target.copy_(source)) for _ in range(speed.repeats))
torch.set_num_threads(1)
print(f"{params.threads} threads: {matrix_rate / 1e9:.0f} Gflop/s, {copy_rate / 1e9:.0f} GB/s")

# %% [markdown]
# What is timed is the same for both: sessions of random spikes, 40 to 120 units at 17 Hz, and
# models with the same weights.


# %%
def crowd(name, seed, units=None, seconds=60.0, rate=17.0):
    """A session of Poisson spikes, for timing: 40-120 units, 100 Hz of behaviour."""
    rng = np.random.default_rng(seed)
    units = units or int(rng.integers(40, 121))
    n = rng.poisson(units * rate * seconds)
    times = np.arange(0, seconds, 0.01)
    return Recording.from_arrays(
        np.sort(rng.uniform(0, seconds, n)), rng.integers(0, units, n), times,
        rng.normal(size=(len(times), 2)), session_id=name, domain=np.array([[0.0, seconds]]),
    )  # fmt: skip


def pair(size, recordings):
    """torch_brain's model and ours with its weights, in a checkpoint; the paper's dropouts."""
    s = config.SIZES[size]
    theirs = models.POYO(
        sequence_length=windows.length, latent_step=windows.latent_step, dim_out=2, dim=s.dim,
        num_latents_per_step=s.latents_per_step, depth=s.depth, cross_heads=s.cross_heads,
        self_heads=s.self_heads, ffn_dropout=0.2, lin_dropout=0.4, atn_dropout=0.2,
    )  # fmt: skip
    ours = adapt.scratch(recordings, size, seed=0)
    theirs.unit_emb.initialize_vocab(list(ours.units.names[1:]))
    theirs.session_emb.initialize_vocab(list(ours.sessions.names[1:]))
    weights = {k: v for k, v in theirs.state_dict().items() if not k.endswith("vocab")}
    ours.model.load_state_dict(weights)
    return theirs, ours


def theirs_only(batch):
    """The part of a batch that torch_brain's model takes."""
    taken = inspect.signature(models.POYO.forward).parameters
    return {key: value for key, value in batch.items() if key in taken}


def a_batch(ours, recordings, n=32):
    """Windows: torch_brain's inputs, all that was cut, and what gives our trainer parts of it."""
    sessions = [tokens.prepare(r, ours.units, ours.sessions) for r in recordings]
    stream = TrainingWindows([r.splits["train"] for r in recordings], windows.length, seed=0)
    which, starts = stream.batch(0, n)
    fixed = tokens.latents(ours.size, windows)
    cut = tokens.cut(sessions, which, starts, windows.length)
    theirs = cut | {key: value.expand(n, -1) for key, value in fixed.items()}
    return (
        theirs_only(theirs),
        cut,
    ), lambda rows: {key: value[rows] for key, value in cut.items()} | fixed


def needs(model, part):
    """Operations and saved bytes of forward and backward, and operations of forward, a window."""
    seen = {}

    def keep(x):
        seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with FlopCounterMode(display=False) as forward:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            out = model(**part(slice(0, 8)))
    with FlopCounterMode(display=False) as backward:
        out.square().sum().backward()
    forward, backward = forward.get_total_flops() / 8, backward.get_total_flops() / 8
    return forward + backward, 2 * sum(seen.values()) / 8, forward


# %% [markdown]
# ## 10.2 From files to batches
#
# Random windows of the same HDF5 files, unit dropout, tokens, padded batches of 32; one process.
# Ours also cuts targets and loss weights; torch_brain's `tokenize` gives inputs alone, so it has
# less to do. Ours finds a window in memory-mapped arrays by binary search and tokenises it whole.
#
# Below, the same from a large corpus: the rate should not depend on the number of sessions, and
# the memory not on the number of spikes. Files are mapped, so pages of them that were read count
# as memory of the process until the system wants them back; they are told apart.


# %%
class Spiking(SpikingDatasetMixin, Dataset):
    """As torch_brain's own datasets of spikes: units are named "session/unit"."""

    spiking_dataset_mixin_uniquify_unit_ids = True


def our_batches(paths, dropout):
    """Batches without end."""
    recordings = [Recording.load(path) for path in paths]
    names = vocabulary.units_and_sessions(recordings)
    sessions = [tokens.prepare(recording, *names) for recording in recordings]
    stream = TrainingWindows([r.splits["train"] for r in recordings], windows.length, seed=0)
    for step in itertools.count():
        which, starts = stream.batch(step, 32)
        kept = keep_units(sessions, which, dropout, (0, step))
        yield tokens.cut(sessions, which, starts, windows.length, kept)


def their_batches(folder, dropout, tokenizer):
    """Batches without end by torch_brain; tokenizer: its model."""
    dataset = Spiking(folder)
    least, mode, most = dropout
    dropout = UnitDropout(min_units=least, mode_units=mode, max_units=most, seed=0)
    dataset.transform = Compose([dropout, tokenizer.tokenize])
    domains = {name: dataset.get_recording(name).train_domain for name in dataset.recording_ids}
    sampler = RandomFixedWindowSampler(
        sampling_intervals=domains,
        window_length=windows.length,
        generator=torch.Generator().manual_seed(0),
    )
    loader = DataLoader(dataset, 32, sampler=sampler, collate_fn=collate, drop_last=True)
    while True:
        yield from loader


def resident(kind="VmRSS"):
    """Memory of this process, GiB; kind RssAnon: without the mapped pages of files."""
    status = Path("/proc/self/status").read_text().split(f"{kind}:")[1]
    return int(status.split()[0]) / 2**20


# %%
few, many = speed.corpus
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    recordings = [crowd(f"{i:03d}", i) for i in range(few)]
    for recording in recordings:
        recording.save(folder / f"{recording.session_id}.h5")
    theirs, _ = pair("smoke", recordings)
    ours = our_batches(sorted(folder.glob("*.h5")), official.unit_dropout)
    reference = their_batches(folder, official.unit_dropout, theirs)
    count = next(ours)["input_mask"].sum(1).float().mean()
    next(ours)
    rates = 32 * in_turn(lambda: next(ours), lambda: next(reference))
    batch = next(ours)
    moved = sum(x.numel() * x.element_size() for x in batch.values()) / 32
    line("files to batches", f"{count:.0f} tokens", *rates, "windows/s", copy_rate / 2 / moved)

# %%
with tempfile.TemporaryDirectory() as folder:
    one = crowd("000", 0, units=80, seconds=max(60.0, speed.spikes / many / 80 / 17))
    paths = [Path(folder) / f"{i:03d}.h5" for i in range(many)]
    for path in paths:
        replace(one, session_id=path.stem).save(path)
    kinds = {"VmRSS": "in all", "RssAnon": "without mapped pages of the files"}
    before = {kind: resident(kind) for kind in kinds}
    both = [our_batches(p, official.unit_dropout) for p in (paths, paths[:few])]
    large, small = (batches.__next__ for batches in both)
    large(), small()
    opened = {kind: resident(kind) for kind in kinds}
    rates = 32 * in_turn(large, small)
    line(
        f"corpus of {many} sessions", f"{many * len(one.spike_times) / 1e6:.3g} M spikes", *rates,
        "windows/s", note=f"reference: ours with {few} sessions",
    )  # fmt: skip
    for kind, name in kinds.items():
        start, end = opened[kind] - before[kind], resident(kind) - before[kind]
        print(f"memory, {name}: {start:.2f} GiB opened, {end:.2f} at the end")
    del both, large, small

# %% [markdown]
# ## 10.3 Decoding while spikes arrive
#
# `poyo.stream.Stream` decodes the last second every 20 ms, 100 units at 20 Hz. The reference here
# is not torch_brain's, which has no such thing, but its forward pass on the same window, tokens
# given.

# %%
size = speed.sizes[0]
busy = crowd("stream", 0, units=100, seconds=speed.stream, rate=20.0)
theirs, ours = pair(size, [busy])
torch.set_num_threads(params.threads)
stream = Stream(ours, "stream", windows=windows)
session = tokens.prepare(busy, ours.units, ours.sessions)
fixed = {k: v[None] for k, v in tokens.latents(size, windows).items()}
theirs.eval()
took, pushed = [], 0
for now in np.arange(windows.length, speed.stream, 0.02):
    until = np.searchsorted(busy.spike_times, now)
    times, units = busy.spike_times[pushed:until], busy.unit_ids[busy.spike_units[pushed:until]]
    pushed, began = until, time.perf_counter()
    stream.push(times, units)
    velocity = stream.decode(now)
    middle = time.perf_counter()
    batch = tokens.cut([session], np.array([0]), np.array([now - windows.length]), windows.length)
    batch |= {"output_timestamps": torch.tensor([[windows.length]])}
    batch |= {"output_mask": torch.ones(1, 1, dtype=torch.bool)}
    with torch.no_grad():
        between = time.perf_counter()
        expected = theirs(**theirs_only(batch | fixed)).numpy()[0]
    took.append((middle - began, time.perf_counter() - between))
    assert np.abs(velocity - expected).max() < 1e-5
torch.set_num_threads(1)
took = 1e3 * np.array(took).T
fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # torch forgot to count it
count_fused = {fused: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)}
with FlopCounterMode(display=False, custom_mapping=count_fused) as counter:
    stream.decode(now)
floor = 1e3 * counter.get_total_flops() / matrix_rate
for name, p in (("update, median", 50), ("update, 99th percentile", 99)):
    a, b = (np.percentile(x[: x.size // 8 * 8].reshape(8, -1), p, axis=1) for x in took)
    line(name, size, a, b, "ms", floor, less_is_better=True, note="reference: its forward pass")

# %% [markdown]
# And an hour of it, spikes arriving in packets of a second: what is held in memory.


# %%
stream = Stream(ours, "stream", windows=windows)
held, memory = [], []
for second in range(int(120 * speed.stream)):
    part = slice(*np.searchsorted(busy.spike_times, np.array([0, 1]) + second % speed.stream // 1))
    times = busy.spike_times[part] % 1 + second
    stream.push(times, busy.unit_ids[busy.spike_units[part]])
    stream.decode(second + 1.0)
    held.append(stream.held)
    memory.append(resident())
late = len(held) // 4
print(f"{len(held)} s: at most {max(held)} spikes held, in the last quarter {max(held[-late:])}")
print(f"memory grew by {1024 * (memory[-1] - memory[late]):.0f} MiB since the first quarter")

# %% [markdown]
# ## 10.4 A training step, and decoding
#
# Both models with the same weights, on the same 32 windows of 80 units ± 50 %. First, that they
# are the same model: outputs agree to 1e-5. Then a step: forward, backward with the paper's
# dropout (0.2 in feed-forwards, 0.4 on residual branches, 0.2 on attention weights), LAMB.
#
# What ours does not compute: padding (a tenth to a third of a batch), keys and values per spike
# instead of per unit, queries per window that are the same for all. What it computes otherwise: a
# rotation is one complex product, dropout costs a random byte, attention has a gradient of its
# own (`poyo/attention.py`), and threads take whole windows instead of slices of every operation.


# %%
def steps_in_turn(size):
    """Time a training step and decoding of both models at a size."""
    recordings = [crowd(f"crowd-{i}", i) for i in range(10)]
    theirs, ours = pair(size, recordings)
    ((inputs, whole), part), model = a_batch(ours, recordings), ours.model
    real = whole["input_mask"].sum(1).float()
    print(f"{size}: {real.mean():.0f} tokens in a window, {real.max():.0f} in the longest")
    operations, saved, forward = needs(model, part)
    recipe = replace(official, lr=1e-5)
    (my_optimizer,), (their_optimizer,) = (optim.make(m, recipe) for m in (model, theirs))

    def decode():
        run = torch.no_grad()(lambda rows: model(**part(rows)))
        return torch.cat(threads.run(run, threads.chunks(32, torch.device("cpu"))))

    def their_decode():
        with torch.no_grad():
            return theirs(**inputs)

    def step():
        train.gradients(model, part, 32, (0,))
        my_optimizer.step()

    def their_step():
        their_optimizer.zero_grad()
        error = (theirs(**inputs) - whole["target"]).square().mean(-1) * whole["weight"]
        (error.sum() / whole["weight"].sum()).backward()
        their_optimizer.step()

    theirs.eval(), model.eval()
    difference = (decode() - their_decode()).abs().max().item()
    assert difference < 1e-5, difference
    rates = 32 * in_turn(decode, their_decode)
    line("decoding", size, *rates, "windows/s", matrix_rate / forward)
    theirs.train(), model.train()
    floor = 1 / max(operations / matrix_rate, saved / copy_rate)
    line("training step", size, *(32 * in_turn(step, their_step)), "windows/s", floor)


for size in speed.sizes:
    steps_in_turn(size)

# %% [markdown]
# ## 10.5 Steps to an accuracy
#
# The same model on the same sessions (simulated, by default), once by our recipe and once by the
# official one: LAMB with learning rate 3.125e-5 · batch, constant and then a cosine, unit dropout
# of 30 to 300 units, dropout of attention weights. Counted are gradient steps until the mean
# validation R² has passed the goal for the first time.


# %%
def curve(recipe, seed):
    """Validation R² by gradient step when the pretraining corpus is trained on by a recipe."""
    recordings = sources.scope(sources.load_corpus(ROOT / "runs/data")["pretrain"], "mp")
    start = adapt.scratch(recordings, params.size, seed=seed)
    sessions = [tokens.prepare(r, start.units, start.sessions) for r in recordings]
    history = train.train(
        start.model, sessions, recipe, windows, size=params.size, seed=seed, label=recipe.optimizer
    )
    return pd.DataFrame(history).set_index("step")["valid_r2"]


def first(r2, goal):
    """The first step at which the goal is reached; nan if it never is."""
    return float((r2 >= goal).idxmax()) if (r2 >= goal).any() else np.nan


own = replace(params.pretrain, steps=speed.steps, eval_every=speed.eval_every)
recipes = {"ours": own, "official": official}
curves = {(name, seed): curve(r, seed) for seed in speed.seeds for name, r in recipes.items()}
reached = pd.DataFrame(
    {name: [first(curves[name, seed], speed.goal) for seed in speed.seeds] for name in recipes},
    index=pd.Index(speed.seeds, name="seed"),
)
never = int(reached["official"].isna().sum())
line(
    "steps to accuracy", params.size, reached["ours"].to_numpy(),
    reached["official"].fillna(official.steps).to_numpy(), "steps", less_is_better=True,
    note=f"official: not within {official.steps} steps in {never} of {len(speed.seeds)} seeds",
)  # fmt: skip
reached

# %% [markdown]
# *Gradient steps until the goal, by seed; `NaN`: not within the run. The ratio above then counts
# the whole run, so it is a lower bound.*
#
# What makes the difference: our recipe with one thing at a time replaced by the official one.

# %%
variants = {
    "ours": own,
    "LAMB and its learning rate": replace(
        own, optimizer="lamb", lr=official.lr, embedding_lr=official.embedding_lr,
        weight_decay=official.weight_decay,
    ),
    "its dropout": replace(own, dropout=official.dropout),
    "its unit dropout": replace(own, unit_dropout=official.unit_dropout),
}  # fmt: skip
seed = speed.seeds[0]
ablation = {n: curves["ours", seed] if r is own else curve(r, seed) for n, r in variants.items()}
pd.DataFrame(
    [
        {"recipe": name if name == "ours" else f"ours with {name}",
         "best validation R²": r2.max(), "steps to the goal": first(r2, speed.goal)}
        for name, r2 in ablation.items()
    ]
).round(3)  # fmt: skip

# %%
fig, ax = plt.subplots(figsize=(5.2, 2.6))
for (name, seed), r2 in curves.items():
    color, label = ("C0", "ours") if name == "ours" else ("C3", "official")
    ax.plot(r2.index, r2, color=color, lw=1, label=label if seed == speed.seeds[0] else None)
ax.axhline(speed.goal, color="0.7", lw=0.8, ls=":")
ax.set(xlabel="gradient step", ylabel="validation R²", ylim=(min(0, speed.goal), 1))
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# *Mean validation R² over the pretraining sessions, a line per seed; dotted: the goal.*
#
# With the `laptop` profile it is the optimiser with its learning rate: LAMB at that rate stays on
# the plateau for as many steps as our whole run has, while the official dropout or unit dropout
# hardly delay us. This says nothing against LAMB on the paper's scale: its rate was made for
# batches of 128 to 1,024 windows and a hundred thousand steps, and no other was tried here.
#
# ## 10.6 Adapting to a new session
#
# Unit identification of sessions held out from pretraining: steps until validation R² is within
# 0.02 of its last value, times the seconds of a step (evaluation not counted). The reference takes
# the official optimiser, schedule and dropouts, and torch_brain's seconds for a step in which only
# embeddings have gradients.

# %%
pretrained = checkpoint.load(ROOT / f"runs/pretrain/poyo_mp/model-{params.seeds[0]}.pt")
corpus = sources.load_corpus(ROOT / "runs/data")
held_out = [recordings[0] for role, recordings in corpus.items() if role != "pretrain"]
ours = replace(params.adapt.unit_identification, eval_every=speed.eval_every // 5 or 1)
theirs = replace(
    official, steps=3 * ours.steps, batch_size=ours.batch_size, frozen=-1,
    lr=3.125e-5 * ours.batch_size, embedding_lr=3.125e-5 * ours.batch_size,
    eval_every=ours.eval_every,
)  # fmt: skip


def step_seconds(recording):
    """Seconds of a step of unit identification, ours and torch_brain's."""
    fresh = adapt.adopt(pretrained, [recording], seed=0)
    reference, _ = pair(pretrained.size, [recording])
    (inputs, whole), part = a_batch(fresh, [recording], ours.batch_size)
    for model in (reference, fresh.model):
        train.freeze(model.train(), True)

    def their_step():
        reference.zero_grad()
        error = (reference(**inputs) - whole["target"]).square().mean(-1) * whole["weight"]
        error.sum().backward()

    step = in_turn(lambda: train.gradients(fresh.model, part, ours.batch_size, (0,)), their_step)
    return 1 / np.median(step, axis=1)


def steps_to_the_end(recording, recipe):
    """Steps until validation R² is within 0.02 of its last value, and that value."""
    fresh = adapt.adopt(pretrained, [recording], seed=0)
    session = tokens.prepare(recording, fresh.units, fresh.sessions)
    history = train.train(
        fresh.model,
        [session],
        recipe,
        windows,
        size=fresh.size,
        seed=0,
        label=recording.session_id,
    )
    r2 = pd.DataFrame(history).set_index("step")["valid_r2"]
    return first(r2, r2.iloc[-1] - 0.02), r2.iloc[-1]


rows = []
for recording in held_out:
    per_step = step_seconds(recording)
    for name, recipe, one in zip(("ours", "official"), (ours, theirs), per_step):
        steps, last = steps_to_the_end(recording, recipe)
        rows.append({"session": recording.session_id, "recipe": name, "steps": steps,
                     "seconds": steps * one, "last R²": last})  # fmt: skip
rows = pd.DataFrame(rows)
both = [rows.loc[rows["recipe"] == name, "seconds"].to_numpy() for name in ("ours", "official")]
line("adapting", pretrained.size, *both, "s", less_is_better=True)
rows.round(3)

# %% [markdown]
# ## 10.7 All of it
#
# No GPU was at hand when this page was made: the GPU's path (bfloat16, and one packed kernel for
# windows of differing lengths) is in `poyo/attention.py`, tested for equality, and not measured.

# %%
table = pd.DataFrame(lines)
plotting.csv(table, "speed")


def shown(value):
    return "" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


rows = [
    {
        "": f"{row.leg}, {row.size}",
        "ours": f"{shown(row.ours)} {row.unit}",
        "reference": f"{shown(row.reference)} {row.unit}",
        "ratio": f"**{row.ratio:.2f}** ({row.ratio_low:.2f}-{row.ratio_high:.2f})",
        "floor": shown(row.floor),
        "of the floor": "" if np.isnan(row.floor) else f"{row.fraction_of_floor:.0%}",
        "note": row.note,
    }
    for row in table.itertuples()
]
caption = (
    f"*{params.threads} CPU threads, {matrix_rate / 1e9:.0f} Gflop/s, {copy_rate / 1e9:.0f} GB/s. "
    "Ratio: how many times better than torch_brain, median and 10-90 % of stretches in turn. "
    f"Profile `{params.profile}`, simulated data.*"
)
print(plotting.markdown(rows, "speed", caption))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 0.32 * len(table) + 0.8), sharey=True)
y = np.arange(len(table))[::-1]
spread = np.abs(table[["ratio_low", "ratio_high"]].to_numpy().T - table["ratio"].to_numpy())
left.errorbar(table["ratio"], y, xerr=spread, fmt="o", ms=4)
left.axvline(1, color="0.7", lw=0.8, ls=":")
left.set(xscale="log", xlabel="times better than the reference", yticks=y)
left.set_yticklabels([f"{row.leg}, {row.size}" for row in table.itertuples()])
ticks = [tick for tick in (0.5, 1, 2, 3, 5, 10, 20, 50) if tick <= 2 * table["ratio"].max()]
left.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
left.minorticks_off()
right.barh(y, table["fraction_of_floor"].fillna(0), height=0.5, color="C2")
right.set(xlabel="fraction of what the machine allows", xlim=(0, 1))
plotting.save(fig, "speed")
plt.show()

# %% [markdown]
# *Left: ratio to torch_brain with the 10-90 % range, dotted: equal. Right: how near ours is to the
# floor, 1 would be the machine's limit.*
