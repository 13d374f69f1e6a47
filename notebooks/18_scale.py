# %% [markdown]
# # 18. The paper's size
#
# > **Question.** What do 158 sessions take on disk, in memory and in time?\
# > **In the paper:** section 3, the corpus of POYO-1.\
# > **Cost** on two CPU cores: an hour, when asked for.
#
# POYO-1 learned from 158 sessions, 27,373 units and more than 100 hours. The public recordings are
# not at hand here, so this page makes a **simulated** corpus of that size, animals, tasks and
# sessions as in the paper's list, and measures what it takes to open it, to read from it and to
# train on it.
#
# The page needs about 12 GB of disk and, on two cores, an hour; so it runs when asked:
# `dvc repro -f -s asked@scale`. Its numbers are those of one machine. They go into
# `figures/data/scale.csv`, where those of other machines stay as they are.

# %%
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown

from poyo import ROOT, threads, tokens, train
from poyo.data.recording import Recording
from poyo.decoder import Decoder
from poyo.study import profile, scale

plt.style.use("poyo.study.style")
params = profile.load()
setup, windows, recipe = params.scale, params.windows, params.scale.recipe
threads.use(params.threads)
machine, on_gpu = scale.machine(), torch.cuda.is_available()
values = []


def note(what, of, value, unit):
    """Keep a measured value, and say it."""
    values.append((what, of, float(value), unit))
    print(f"{what}, {of}: {value:.4g} {unit}")


# %% [markdown]
# ## 18.1 A corpus on disk
#
# Sessions are simulated one by one, by a process per thread, and each is written as soon as it is
# made. One of 38 minutes and 175 units takes a core 10 to 20 seconds and 2 to 4 GB of memory. What
# is there already is not made again, so an interrupted run goes on where it was.

# %%
name = f"{setup.units[0]}-{setup.units[1]}-units-{setup.minutes:g}-minutes"
files = scale.build(ROOT / "runs/scale" / name, setup.sessions, setup.units, setup.minutes)
disk = sum(path.stat().st_size for path in files)

# %% [markdown]
# ## 18.2 Open, and read
#
# Opening checks every spike and behaviour sample once, gives units and sessions their rows, and
# lists the training windows.

# %%
began = time.perf_counter()
recordings = [Recording.load(path) for path in files]
decoder = Decoder.new(recordings, size=setup.size, windows=windows)
all_of_it = scale.Training(decoder, recordings, recipe)
took, corpus = time.perf_counter() - began, f"{len(files)} sessions"
note("units", corpus, sum(len(one.unit_ids) for one in recordings), "")
note("recorded time", corpus, sum(one.duration for one in recordings) / 3600, "h")
note("spikes", corpus, sum(len(one.spike_times) for one in recordings) / 1e6, "million")
note("on disk", corpus, disk / 1e9, "GB")
note("opened in", corpus, took, "s")
note("memory once opened", corpus, scale.resident()[0], "GiB")

# %% [markdown]
# Windows are then cut at random, once from all sessions and once from a few of the same files, in
# turn. The files are mapped. A page that was read counts as memory of the process, and a job's
# limit counts it, so pages are let go of every few thousand windows (`tokens.MAPPED`); the system
# keeps them as long as it has room. To read one again costs little, but a binary search in a file
# reads a page at every turn; so every 512th time is held in memory (`tokens.find`), and a search
# reads one page. The table in 18.5 has the ratio of the two rates without these marks (H100) and
# with them (CPU), and a small test on one CPU thread, 24 files of random spikes, before and after.
# It is the median over stretches, not the quotient of the two medians.

# %%
few = scale.evenly(recordings, setup.few)
few_of_it = scale.Training(decoder, few, recipe)
stretches = 5
rates = [
    [one.reading(setup.windows // stretches, 1000 * i) for one in (all_of_it, few_of_it)]
    for i in range(stretches)
]
rates = np.array(rates[1:]).T  # the first stretch warms up
note("batches", corpus, np.median(rates[0]), "windows/s")
note("batches", f"{len(few)} sessions of the same files", np.median(rates[1]), "windows/s")
note("ratio of the two", corpus, np.median(rates[0] / rates[1]), "")
read, anonymous, most = scale.resident()
note("memory after reading", corpus, read, "GiB")
note("memory after reading, without mapped pages", corpus, anonymous, "GiB")
note("most memory until then", corpus, most, "GiB")
released, tokens.MAPPED = tokens.MAPPED, np.inf
all_of_it.reading(setup.windows, 10_000)
note("memory if pages were kept", corpus, scale.resident()[0], "GiB")
tokens.MAPPED = released

# %% [markdown]
# ## 18.3 Steps of the paper's model
#
# Forward, backward and optimiser, from the files. On a CPU memory is that of the process, on a GPU
# that of the GPU. A CPU gets small batches (`scale.cpu_batch_size` in `params.yaml`); up to 16
# windows are one part of a batch, which one thread computes.

# %%
if not on_gpu:
    step = scale.Training(decoder, recordings, replace(recipe, batch_size=setup.cpu_batch_size))
    rate, memory = step.learning(setup.steps)
    note("training", scale.OURS, rate, "windows/s")
    note("most memory", scale.OURS, memory, "GiB")

# %% [markdown]
# ## 18.4 On a GPU
#
# A GPU takes a batch in parts of `threads.GPU_CHUNK` windows, one after the other, and adds their
# gradients: that is gradient accumulation, and the batch may be as large as one likes. It
# multiplies in bfloat16; weights, their gradients and the optimiser stay in float32. Both are
# measured here against the alternative. First, the GPU must compute what the CPU computes: the
# same batch gives the same loss and gradient, up to the digits that the number format has.
#
# None of the three is a key of `params.yaml`. *bfloat16*: it takes about half the
# memory, and from 128 windows at a time on it is faster than float32, too. *Accumulation*: it
# happens by itself. *Activation checkpointing*, which would compute layers twice to save memory:
# a smaller part saves memory, too, and computes nothing twice, though it lowers the rate, as the
# table shows. Checkpointing itself was not measured.

# %%
if on_gpu:
    small = scale.Training(decoder, recordings, replace(recipe, batch_size=setup.cpu_batch_size))
    for kind, half in (("float32", False), ("bfloat16", True)):
        loss, gradient = small.agreement(half)
        note("relative difference to the CPU", f"loss, {kind}", loss, "")
        note("relative difference to the CPU", f"gradient, {kind}", gradient, "")
    peak, needs = scale.gpu_peak(), all_of_it.operations()
    note("a large matrix product", "bfloat16", peak / 1e12, "Tflop/s")
    note("operations of a window", setup.size, needs / 1e9, "Gflop")
    for chunk in setup.chunks:
        batch = scale.Training(decoder, recordings, replace(recipe, batch_size=2 * chunk))
        for kind, half in (("bfloat16", True), ("float32", False)):
            try:
                rate, memory = batch.learning(10, chunk=chunk, half=half)
            except torch.OutOfMemoryError:
                print(f"{kind}, {chunk} windows at a time: more memory than there is")
                continue
            note("training", f"{kind}, {chunk} windows at a time", rate, "windows/s")
            note("most memory", f"{kind}, {chunk} windows at a time", memory, "GiB")
    rate, memory = all_of_it.learning(setup.steps)
    note("training", scale.OURS, rate, "windows/s")
    note("most memory", scale.OURS, memory, "GiB")
    note("share of a large matrix product's rate", setup.size, rate * needs / peak, "")
    paper = profile.load(ROOT / "profiles/paper.yaml")
    theirs = Decoder.new(recordings, size=paper.size, windows=paper.windows)
    theirs = scale.Training(theirs, recordings, paper.models["poyo_1"].recipe)
    note("training", scale.AS_IN_PAPER, theirs.learning(6)[0], "windows/s")

# %% [markdown]
# The same model is then pretrained on all sessions for as long as it was given, by our recipe.
# Validation and test are the first 10 s of each session's splits.

# %%
if on_gpu:
    decoder = Decoder.new(recordings, size=setup.size, windows=windows)
    looked_at = [scale.shortened(one, 10.0) for one in recordings]
    steps = max(2, int(60 * setup.gpu_minutes * rate / recipe.batch_size))
    longer = replace(recipe, steps=steps, eval_every=max(1, steps // 5))
    for row in train.fit(decoder, looked_at, longer, label="scale"):
        note("pretraining loss", f"step {row['step']} of {steps}", row["loss"], "")
        note("pretraining valid R²", f"step {row['step']} of {steps}", row["valid_r2"], "")
    r2 = np.array([*decoder.score(looked_at, "test").values()])
    note("test R² after pretraining", f"mean of {len(r2)} sessions", np.nanmean(r2), "")

# %% [markdown]
# ## 18.5 All machines so far
#
# On the machine of the two CPU threads other trainings ran beside this page, and its steps were
# taken by one thread: the rates there are what is reached at least.

# %%
measured = scale.record(values, machine)
pretraining = measured["what"].str.startswith("pretraining")
in_parts = measured["of"].str.endswith("at a time")
print(scale.table(measured[~pretraining & ~in_parts], params.profile))

# %% [markdown]
# On a GPU, by the windows that it takes at a time: windows per second, and GiB of memory.

# %%
parts = measured[in_parts]
number = parts["of"].str.extract(r"(\w+), (\d+) windows").set_axis(["format", "windows"], axis=1)
number["windows"] = number["windows"].astype(int)
parts = parts.join(number).pivot_table("value", "windows", ["what", "format"]).round(1)
parts

# %%
curves = measured[pretraining].assign(step=measured["of"].str.extract(r"step (\d+)", expand=False))
if len(curves):
    fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.4))
    for ax, (what, rows) in zip(axes, curves.groupby("what")):
        for where, curve in rows.groupby("machine"):
            ax.plot(curve["step"].astype(int), curve["value"], "o-", ms=3, label=where)
        ax.set(xlabel="gradient step", ylabel=what.removeprefix("pretraining "))
    axes[0].legend()
    plt.show()

# %% [markdown]
# *Pretraining of the 11.8M model on the whole simulated corpus: a curve for each machine on which
# section 18.4 had the time for it, so far none.*
#
# ## 18.6 What POYO-mp and POYO-1 would cost
#
# **Expected, not measured**: the steps and batches of the paper's runs, over the windows per
# second that a few steps of our recipe gave on a GPU, by the windows that it takes at a time. The
# public recordings have other rates and numbers of units than this corpus.

# %%
print(scale.cost(measured, profile.load(ROOT / "profiles/paper.yaml").models))

# %% [markdown]
# ## What we found


# %%
def across(what, of=f"{setup.sessions} sessions"):
    """A measured value, from the lowest to the highest of the machines."""
    value = measured["value"][(measured["what"] == what) & (measured["of"] == of)]
    return " to ".join(dict.fromkeys(f"{x:.3g}" for x in (value.min(), value.max())))


Markdown(
    f"- {setup.sessions} sessions are {across('on disk')} GB. They are opened in "
    f"{across('opened in')} s, and after reading the process holds "
    f"{across('memory after reading')} GiB.\n"
    f"- Windows of all of them are cut at {across('ratio of the two')} times the rate of "
    f"{setup.few} of them.\n"
    f"- The paper's model trains on {across('training', scale.OURS)} windows a second without a "
    f"GPU, and on up to {parts['training'].max().max():.0f} with one."
)

# %% [markdown]
# What stays open is what POYO-1 trained in full would decode here: that was not paid for.
#
# Next: [19_exercises](19_exercises.ipynb) asks what the model will do before it does it.
