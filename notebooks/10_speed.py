# %% [markdown]
# # 10. How fast
#
# > **Question.** How fast is this code beside the authors' own, and how fast could it be at most?\
# > **In the paper:** no counterpart.\
# > **Cost** on two CPU cores: some twenty minutes, when asked for.
#
# Every number here is ours beside the field's own package, `torch_brain`: its model, dataset,
# sampler, tokenizer and collate, and its training recipe. Both run in this one process on the same
# data, in turn, stretch by stretch; what counts is the **ratio** of the two, and how far ours is
# from what this machine could do at most. Seconds depend on the machine and on the day, most
# ratios much less; their range is given. One line compares ours with ours, and is kept apart from
# the others at the end. What is timed, and how, is in `poyo/study/bench.py`.
#
# This page is not part of the default run, because its numbers are new every time. With
# `pip install -e ".[test]"`, which brings torch_brain, and after a `dvc repro`:
#
#     dvc repro -f -s speed

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from poyo import ROOT, threads
from poyo.data import sources
from poyo.decoder import Decoder
from poyo.study import bench, plotting, profile

plt.style.use("poyo.study.style")
params = profile.load()
speed, windows, official = params.speed, params.windows, params.speed.official
threads.use(params.threads)
machine = bench.Machine(threads=params.threads, stretch=speed.stretch, repeats=speed.repeats)
lines = []

# %% [markdown]
# ## 10.1 What the machine can do
#
# Two limits are measured: multiplications and additions of a large matrix product in float32, and
# bytes of a large copy. A **floor** below is the time these two leave at least: the operations
# that the arithmetic of the model needs at the first rate, or the bytes that must move at the
# second, whichever takes longer.

# %%
operations, moved = (f"{limit / 1e9:.0f}" for limit in machine.limits)
print(f"{params.threads} threads: {operations} Gflop/s, {moved} GB/s")

# %% [markdown]
# What is timed is the same for both: sessions of random spikes, 40 to 120 units at 17 Hz, and
# models with the same weights.
#
# ## 10.2 From files to batches
#
# Random windows are read from the same HDF5 files by one process, with unit dropout, and become
# tokens in padded batches of 32. Ours also cuts targets and loss weights; torch_brain's `tokenize`
# gives inputs alone, so it has less to do. Ours finds a window in memory-mapped arrays by binary
# search and tokenises it whole.

# %%
few, many = speed.corpus
lines += [bench.files_to_batches(machine, windows, official.unit_dropout, few)]

# %% [markdown]
# The same is done from a large corpus: the rate should not depend on the number of sessions, and
# the memory not on the number of spikes. So the reference of this line is not torch_brain but ours
# with few sessions, and a ratio of 1 is all it could reach. Files are mapped, so pages of them
# that were read count as memory of the process until the system wants them back; they are told
# apart.

# %%
lines += [bench.large_corpus(machine, windows, official.unit_dropout, few, many, speed.spikes)]

# %% [markdown]
# ## 10.3 Decoding while spikes arrive
#
# `poyo.stream.Stream` decodes the last second every 20 ms, 100 units at 20 Hz. torch_brain has no
# such thing; the reference is its forward pass on the same window, with the tokens given.

# %%
busy = bench.crowd("stream", 0, units=100, seconds=speed.stream, rate=20.0)
decoder = Decoder.new([busy], size=speed.sizes[0], windows=windows)
lines += bench.updates(machine, decoder, busy, speed.sizes[0])

# %% [markdown]
# A stream may run for hours. This is one of an hour, whose spikes arrive in packets of a second:
# what it holds in memory must not grow.

# %%
held = bench.long_stream(decoder, busy, seconds=int(120 * speed.stream))
late = held.tail(len(held) // 4)
grown = 1024 * (held["memory"].iloc[-1] - held["memory"].iloc[len(held) // 4])
print(
    f"{len(held)} s: at most {held['held'].max()} spikes held, "
    f"in the last quarter {late['held'].max()}"
)
print(f"memory grew by {grown:.0f} MiB since the first quarter")

# %% [markdown]
# ## 10.4 A training step, and decoding
#
# Both models have the same weights and get the same 32 windows of 80 units ± 50 %. That they are
# the same model is checked first: their outputs must agree to 1e-5. A step is forward, backward
# with the paper's dropout (0.2 in feed-forwards, 0.4 on residual branches, 0.2 on attention
# weights), and LAMB.
#
# What ours does not compute: padding (a tenth to a third of a batch), keys and values per spike
# instead of per unit, queries per window that are the same for all. What it computes otherwise: a
# rotation is one complex product, dropout costs a random byte, attention has a gradient of its
# own (`poyo/kernels.py`), and threads take whole windows instead of slices of every operation.

# %%
for size in speed.sizes:
    lines += bench.decoding_and_step(machine, windows, official, size)

# %% [markdown]
# ## 10.5 Steps to an accuracy
#
# The same model is trained on the same sessions (simulated, by default), once by our recipe and
# once by the official one: LAMB with learning rate 3.125e-5 · batch, constant and then a cosine,
# unit dropout of 30 to 300 units, dropout of attention weights. We count the gradient steps until
# the mean validation R² passes the goal for the first time.

# %%
corpus = sources.load_corpus(ROOT / "runs/data")
recordings = sources.scope(corpus["pretrain"], "mp")
recipes = {"ours": speed.own, "official": official}


def curve(recipe, seed):
    start = Decoder.new(recordings, size=params.size, windows=windows, seed=seed)
    return bench.curve(start, recordings, recipe, seed, recipe.optimizer)


curves = {(name, seed): curve(r, seed) for seed in speed.seeds for name, r in recipes.items()}
reached = pd.DataFrame(
    {
        name: [bench.first(curves[name, seed], speed.goal) for seed in speed.seeds]
        for name in recipes
    },
    index=pd.Index(speed.seeds, name="seed"),
)
never = int(reached["official"].isna().sum())
lines += [
    bench.line(
        "steps to accuracy", params.size, reached["ours"].to_numpy(),
        reached["official"].fillna(official.steps).to_numpy(), "steps", less=True,
        note=f"official: not within {official.steps} steps in {never} of {len(speed.seeds)} seeds",
    )
]  # fmt: skip
reached

# %% [markdown]
# *Gradient steps until the goal, by seed; `NaN` means that a run did not reach it. The ratio above
# then counts the whole run of the official recipe, so it is a lower bound.*
#
# To see what makes the difference, one thing at a time in our recipe is replaced by the official
# one.

# %%
lamb = {key: getattr(official, key) for key in ("optimizer", "lr", "embedding_lr", "weight_decay")}
variants = {
    "ours": speed.own,
    "ours with LAMB and its learning rate": replace(speed.own, **lamb),
    "ours with its dropout": replace(speed.own, dropout=official.dropout),
    "ours with its unit dropout": replace(speed.own, unit_dropout=official.unit_dropout),
}
seed = speed.seeds[0]
tried = {n: curves[n, seed] if n == "ours" else curve(r, seed) for n, r in variants.items()}
pd.DataFrame(
    [
        {"recipe": name, "best validation R²": r2.max(),
         "steps to the goal": bench.first(r2, speed.goal)}
        for name, r2 in tried.items()
    ]
).round(3)  # fmt: skip

# %%
fig, ax = plt.subplots(figsize=(5.2, 2.6))
for (name, seed), r2 in curves.items():
    color = "C0" if name == "ours" else "C3"
    ax.plot(r2.index, r2, color=color, lw=1, label=name if seed == speed.seeds[0] else None)
ax.axhline(speed.goal, color="0.7", lw=0.8, ls=":")
ax.set(xlabel="gradient step", ylabel="validation R²", ylim=(min(0, speed.goal), 1))
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# *Mean validation R² over the pretraining sessions, with a line per seed. The goal is dotted.*
#
# With the `laptop` profile it is the optimiser with its learning rate: LAMB at that rate stays on
# the plateau for as many steps as our whole run has, while the official dropout or unit dropout
# hardly delay us. This says nothing against LAMB on the paper's scale: its rate was made for
# batches of 128 to 1,024 windows and a hundred thousand steps, and no other was tried here.
#
# ## 10.6 Adapting to a new session
#
# Unit identification of sessions held out from pretraining is timed as the steps until validation
# R² is within 0.02 of its last value, times the seconds of a step; evaluation is not counted. The
# reference has the official optimiser, schedule and dropouts (without its weight decay of 1e-4, as
# always here while the network is frozen), and torch_brain's seconds for a step in which only
# embeddings have gradients.

# %%
pretrained = Decoder.load(ROOT / f"runs/pretrain/poyo_mp/decoder-{params.seeds[0]}.pt")
ours = replace(params.adapt.unit_identification, eval_every=speed.eval_every // 5 or 1)
theirs = replace(
    ours, optimizer=official.optimizer, steps=3 * ours.steps, warmup=official.warmup,
    hold=official.hold, embedding_lr=3.125e-5 * ours.batch_size, dropout=official.dropout,
    unit_dropout=official.unit_dropout,
)  # fmt: skip
rows = []
for recording in (first for role, (first, *_) in corpus.items() if role != "pretrain"):
    start = pretrained.adopt([recording], seed=0)
    pair = bench.Pair(start.copy(), [recording], ours.batch_size, frozen=True)
    per_step = 1 / np.median(machine.in_turn(pair.gradients, pair.their_gradients), axis=1)
    for name, recipe, seconds in zip(("ours", "official"), (ours, theirs), per_step):
        r2 = bench.curve(start, [recording], recipe, 0, f"{recording.session_id}, {name}")
        steps = bench.first(r2, r2.iloc[-1] - 0.02)
        rows.append({"session": recording.session_id, "recipe": name, "steps": steps,
                     "seconds": steps * seconds, "last R²": r2.iloc[-1]})  # fmt: skip
rows = pd.DataFrame(rows)
both = [rows.loc[rows["recipe"] == name, "seconds"].to_numpy() for name in ("ours", "official")]
lines += [bench.line("adapting", params.models["poyo_mp"].size, *both, "s", less=True)]
rows.round(3)

# %% [markdown]
# ## 10.7 All of it
#
# This page ran without a GPU. What ours does on one (bfloat16, and one packed kernel for windows
# of differing lengths) is measured in [18_scale](18_scale.ipynb), but not beside torch_brain.

# %%
table = pd.DataFrame(lines)
known = table["against"] == bench.THEIRS
others, own = table[known], table[~known]  # ours beside ours comes last, and not in bold
table = pd.concat([others, own])
plotting.csv(table, "speed")
rows = []
for row in table.itertuples():
    ratio, known = f"{row.ratio:.2f}", row.against == bench.THEIRS
    rows.append(
        {
            "": f"{row.leg}, {row.size}",
            "ours": f"{bench.shown(row.ours)} {row.unit}",
            "reference": f"{bench.shown(row.reference)} {row.unit}"
            + ("" if known else f" ({row.against})"),
            "ratio": (f"**{ratio}**" if known else ratio)
            + f" ({row.ratio_low:.2f}-{row.ratio_high:.2f})",
            "floor": bench.shown(row.floor),
            "of the floor": "" if np.isnan(row.floor) else f"{row.fraction_of_floor:.0%}",
            "note": row.note,
        }
    )
caption = (
    f"*{params.threads} CPU threads, {operations} Gflop/s, {moved} GB/s. "
    "Ratio: how many times better than torch_brain, median and 10-90 % of stretches in turn. "
    "The last row is not beside torch_brain: there a large corpus is beside a small one, both "
    f"read by ours. Profile `{params.profile}`, simulated data.*"
)
print(plotting.markdown(rows, "speed", caption))


# %%
def ratios(ax, table, color):
    """Ratios with their ranges, from top to bottom."""
    y = np.arange(len(table))[::-1]
    spread = np.abs(table[["ratio_low", "ratio_high"]].to_numpy().T - table["ratio"].to_numpy())
    ax.errorbar(table["ratio"], y, xerr=spread, fmt="o", ms=4, color=color)
    ax.axvline(1, color="0.7", lw=0.8, ls=":")
    ax.set_yticks(y, [f"{row.leg}, {row.size}" for row in table.itertuples()])
    ax.set_ylim(-0.5, len(table) - 0.5)
    return y


heights = [len(others), len(own)]
fig, ((left, right), (below, empty)) = plt.subplots(
    2, 2, figsize=(7.2, 0.32 * len(table) + 1.6), gridspec_kw={"height_ratios": heights}
)
y = ratios(left, others, "C0")
left.set(xscale="log", xlabel="times better than the reference")
ticks = [tick for tick in (0.5, 1, 2, 3, 5, 10, 20, 50) if tick <= 2 * others["ratio"].max()]
left.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
left.minorticks_off()
right.barh(y, others["fraction_of_floor"].fillna(0), height=0.5, color="C2")
right.set(xlabel="fraction of what the machine allows", xlim=(0, 1), ylim=left.get_ylim())
right.set_yticks(y, [])
ratios(below, own, "0.4")
most = max(1.2, 1.05 * own["ratio_high"].max())
below.set(xlabel=f"times the rate with {few} sessions", xlim=(0, most))
empty.set_axis_off()
plotting.save(fig, "speed")
plt.show()

# %% [markdown]
# *Left: ratio to torch_brain with the 10-90 % range; dotted means equal. Right: how near ours is
# to the floor, where 1 would be the machine's limit. Below, in grey and on a scale of its own:
# ours from the large corpus beside ours from the small one.*
#
# ## What we found

# %%
found = pd.read_csv(plotting.FIGURES / "data/speed.csv")
own = found["leg"].str.startswith("corpus of")
lines = [
    f"- {row.leg}, {row.size}: {row.ratio:.1f} times as good as torch_brain"
    + ("" if np.isnan(row.floor) else f", and {row.fraction_of_floor:.0%} of what is possible")
    for row in found[~own].itertuples()
]
lines += [
    f"- {row.leg}: read at {row.ratio:.2f} times the rate of a small one."
    for row in found[own].itertuples()
]
Markdown("\n".join(lines))

# %% [markdown]
# What stays open is how the two compare on a GPU, and on the paper's own recordings.
#
# Next: [11_results](11_results.ipynb) gathers every table and judges the paper's claims.
