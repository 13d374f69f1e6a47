# %% [markdown]
# # Five minutes with POYO
#
# > **Question.** Can a decoder that was trained on other animals be used for a new one, by
# > learning one vector for each of its neurons?\
# > **In the paper:** the idea of Figure 1, and unit identification (section 2.5).\
# > **Cost** on two CPU cores: less than a minute, once a network is pretrained.
#
# A decoder turns the activity of neurons into a movement. The usual decoder is built for one
# session: it expects the same neurons in the same order, and the next day it is useless.
# POYO (Azabou et al., NeurIPS 2023) is one network for many sessions and many animals. It reads
# every spike as one **token**, and all it knows about a neuron is one short learned vector.
#
# This page shows what that buys. A network was trained on several animals. We give it a recording
# of an animal it has never seen, let it learn one vector per new neuron, and decode the hand.
#
# By default all animals here are **simulated**, so the page runs as cloned, without a download.
# The same code runs on the public recordings of the paper.

# %% tags=["parameters"]
seed = 0
steps = 80  # gradient steps spent on the new session

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Markdown

from poyo import ROOT, adapt, evaluate, threads, tokens
from poyo.data import sources
from poyo.data.intervals import contains
from poyo.decoder import Decoder
from poyo.study import baselines, plotting, profile

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)

# %% [markdown]
# ## 0.1 A session of an unknown animal
#
# A **session** is one day's recording: the times at which each neuron fired, and the movement of
# the hand. A **unit** is what the electrodes can tell apart: ideally one neuron. In this task
# (center-out) the animal waits at the centre, reaches to one of eight targets, and returns.
# Every trial belongs to one of three splits: train, validation, test. Of the sessions of this
# animal we take the one with the most units.

# %%
recordings = sources.load_corpus(ROOT / "runs/data")["T-CO"]
recording = max(recordings, key=lambda one: len(one.unit_ids))
units = len(recording.unit_ids)
print(f"{recording.session_id}: {recording.duration / 60:.0f} min, {units} units")
print(f"{len(recording.spike_times):,} spikes, {len(recording.intervals['trials'])} trials")

# %% [markdown]
# We look at the first test trials, put end to end on the page.

# %%
shown = recording.splits["test"][:2]
ends = np.cumsum(np.diff(shown)[:, 0])
colours = np.array(sns.husl_palette(units, s=0.95, l=0.55))


def on_page(times):
    """Which of the sorted `times` are shown, and where on the page they lie, in seconds."""
    a, b = np.searchsorted(times, shown.T)
    parts = [times[i:j] - begin for i, j, begin in zip(a, b, shown[:, 0])]
    place = [part + start for part, start in zip(parts, np.append(0, ends))]
    return contains(shown, times), np.concatenate(place)


# %%
def raster(ax):
    """The spikes: a row and a colour for each unit."""
    rows, place = on_page(recording.spike_times)
    unit = recording.spike_units[rows]
    ax.scatter(place, unit, c=colours[unit], marker="|", s=700 / units, lw=0.8)
    ax.set(ylabel=f"{units} units", yticks=[], xlim=(0, ends[-1]), ylim=(-1, units))


# %%
fig, (top, bottom) = plt.subplots(2, 1, figsize=(6.8, 3.8), sharex=True, height_ratios=[2, 1])
raster(top)
cursor = recording.behavior["cursor"]
rows, place = on_page(cursor["timestamps"])
for i, name in enumerate("xy"):
    bottom.plot(place, cursor["vel"][rows, i], label=f"velocity {name}")
for ax in (top, bottom):
    ax.vlines(ends[:-1], *ax.get_ylim(), color="0.6", lw=0.8, ls=":")
bottom.set(xlabel="test trials, one after the other (s)", ylabel="hand (cm/s)")
bottom.legend(loc="lower left", bbox_to_anchor=(0, 0.95), ncols=2)
plt.show()

# %% [markdown]
# *Above: every tick is a spike, every row and colour a unit. Below: the velocity of the hand,
# which is to be decoded. Dotted lines separate pieces that do not follow each other in the
# session.*
#
# ## 0.2 Spikes are tokens
#
# The model reads one second at a time, a **window**. Nothing is binned or counted: each spike
# enters as a pair of *who* (its unit) and *when* (its exact time). Each unit also gets a START and
# an END token at the window's edges, so that a unit which says nothing is still known to be there.
#
# A **decoder** is a network together with the names of the units and sessions it knows. `adopt`
# makes one for the new recording: the pretrained network stays, and each new unit gets a random
# vector, drawn from the distribution of the learned ones.

# %%
pretrained = Decoder.load(ROOT / f"runs/pretrain/poyo_mp/decoder-{seed}.pt")
decoder = pretrained.adopt([recording], seed=seed)
session, length = decoder.session(recording), decoder.windows.length
window = tokens.tokenize([session], np.array([0]), shown[:1, 0], length)

spikes = int(contains(shown[:1, :1] + [0, length], recording.spike_times).sum())
n = int(window["input_mask"].sum())
print(f"one window of {length:g} s: {spikes} spikes + 2 x {units} = {n} tokens")
assert n == spikes + 2 * units

# %% [markdown]
# ## 0.3 Learn who is who
#
# The network has learned from other animals how populations of neurons relate to movement. What it
# lacks is which of the new units does what. So everything is frozen except the vectors
# (**embeddings**) of the new units and of the session. The paper calls this **unit
# identification**. They are learned from the session's train split.

# %%
learned = sum(p[1:].numel() for p in decoder.model.groups()["embeddings"])  # row 0: no unit
total = sum(p.numel() for p in decoder.model.parameters())
print(
    f"the network saw {len(pretrained.sessions) - 1} sessions, {len(pretrained.units) - 1} units"
)
print(f"{learned:,} of {total:,} parameters learn: {100 * learned / total:.1f} %")

# %%
recipe = params.adapt.unit_identification
recipe = replace(recipe, steps=steps, eval_every=max(1, steps // 4))
history = adapt.identify_units(decoder, [recording], recipe, seed=seed, label="tour")
for row in history:
    print(f"step {row['step']:4.0f}   validation R² {row['valid_r2']:6.3f}")

# %% [markdown]
# **R²** is the share of the velocity's variance that the decoder explains: 1 is perfect, 0 is no
# better than always giving the mean, and it has no lower bound.
#
# ## 0.4 Decode the test trials
#
# Windows overlap, and where they do, their outputs are averaged. These trials were used neither to
# train nor to choose anything. R² is taken during the reaches, from the signal that releases the
# hand until it has come to rest on the target. The validation R² above rests on half as many
# trials: one reach that is decoded badly moves it visibly, so the two need not agree.

# %%
decoded = decoder.decode(recording, "test")
domain = evaluate.fitting(session, "test", decoder.windows)
print(f"{domain.shape[0]} stretches of test trials, {np.diff(domain).sum():.0f} s")
print(f"test R² {decoded.r2:.3f} after {steps} steps")


# %%
def velocities(axes):
    """The hand's velocity and the decoded one, on one scale."""
    rows, place = on_page(decoded.times)
    for i, (ax, name) in enumerate(zip(axes, "xy")):
        counts = decoded.evaluated[rows]
        ax.fill_between(place, -limit, limit, where=counts, color="0.93", lw=0, label="scored")
        ax.plot(place, decoded.target[rows, i], color="0.65", lw=2.2, label="hand")
        ax.plot(place, decoded.prediction[rows, i], color="C0", label="decoded")
        ax.set(ylabel=f"{name} (cm/s)", xlim=(0, ends[-1]), ylim=(-limit, limit))
        ax.vlines(ends[:-1], -limit, limit, color="0.6", lw=0.8, ls=":")
    axes[-1].set_xlabel("test trials, one after the other (s)")


# %%
both = np.abs([decoded.target, decoded.prediction])
limit = 1.1 * both[:, on_page(decoded.times)[0]].max()
fig, axes = plt.subplots(2, 1, figsize=(6.8, 2.8), sharex=True)
velocities(axes)
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=3)
plt.show()

# %% [markdown]
# *The trials of the first picture: the hand's velocity (grey) and what the model makes of the
# spikes (blue). Shaded: the reaches, which alone count in R².*
#
# Outside of the reaches the decoder sometimes moves although the hand rests. Waiting counts little
# when the network is trained and not at all in R²; in a prosthesis it would count.
#
# ## 0.5 The whole story in one picture
#
# Velocities add up to a path. Each test reach is integrated from the hand's true position at its
# start; nothing pulls it back afterwards, so errors add up too.


# %%
def paths():
    """The test reaches: for each its colour, the hand's path and the decoded path, (T, 2) cm."""
    reaches = recording.intervals["movement_phases.reach_period"]
    inside = contains(domain, reaches[:, 0]) & contains(domain, reaches[:, 1] - 1e-6)
    for reach in reaches[inside]:
        hand = cursor["pos"][contains([reach], cursor["timestamps"])]
        rows = contains([reach], decoded.times)
        step = np.median(np.diff(decoded.times[rows]))
        way = hand[0] + step * np.cumsum(decoded.prediction[rows], axis=0)
        angle = np.arctan2(*(hand[-1] - hand[0])[::-1])
        yield sns.husl_palette(361, s=0.95, l=0.55)[int(np.degrees(angle) % 360)], hand, way


# %%
grid = [["spikes", "paths"], ["x", "paths"], ["y", "paths"]]
shape = {"width_ratios": [1.5, 1], "height_ratios": [2.4, 1, 1]}
text = dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), 12)
with plt.rc_context(text | dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 10)):
    fig, axes = plt.subplot_mosaic(grid, figsize=(8.6, 4.3), dpi=80, **shape)
    raster(axes["spikes"])
    axes["spikes"].set(title="every spike is a token", xticks=[])
    velocities([axes["x"], axes["y"]])
    axes["x"].set(title=f"velocity: hand and decoded (R² {decoded.r2:.2f})", xticks=[])
    for colour, hand, way in paths():
        axes["paths"].plot(*hand.T, color=colour, lw=3, alpha=0.3)
        axes["paths"].plot(*way.T, color=colour, lw=1.8)
    axes["paths"].set(title="reaches: hand and decoded", aspect="equal")
    axes["paths"].set(xlabel="x (cm)", ylabel="y (cm)")

# %%
plotting.save(fig, "tour")

# %% [markdown]
# *An animal that the network has never seen. Left: spikes coloured by unit; below them the hand's
# velocity (grey) and the decoded one (blue), the reaches shaded. Right: the test reaches, coloured
# by direction: pale the hand's path, strong the decoded one. Simulated by default.*
#
# ## What we found

# %%
filtered = baselines.wiener(session, params.wiener, params.windows).r2
mlp = (params.baselines.mlp.tried[0], params.baselines, params.windows)
counted = baselines.fit("mlp", session, *mlp, seed=seed)[1].r2
Markdown(
    f"A network that had learned from {len(pretrained.sessions) - 1} sessions of other animals "
    f"decodes this animal with a test R² of **{decoded.r2:.2f}**, after {steps} gradient steps in "
    f"which {100 * learned / total:.1f} % of its parameters changed. Two decoders of this session "
    f"alone, of the same trials: a linear filter reaches **{filtered:.2f}**, a small network on "
    f"binned counts (an MLP) **{counted:.2f}**."
)

# %% [markdown]
# So with this many units and labelled minutes pretraining is not needed to decode the session
# well. What it saves is gradient steps and labels: how all of these compare with few labels is in
# [07_scaling](07_scaling.ipynb). And one session of one simulated animal proves nothing; this one,
# with the most units, is likely to be the easiest. [05_adapt](05_adapt.ipynb) has the others, and
# the same network without a past; what holds over many sessions and species, and what does not, is
# in [11_results](11_results.ipynb).
#
# ## Where to go next
#
# | page | what it shows |
# | --- | --- |
# | [01_data](01_data.ipynb) | the sessions: units, trials, splits, and what is simulated |
# | [02_tokens](02_tokens.ipynb) | how a second of recording becomes tokens, latents and queries |
# | [03_model](03_model.ipynb) | the network: attention over time, its size and its cost |
# | [04_pretrain](04_pretrain.ipynb) | one model trained on all sessions at once |
# | [05_adapt](05_adapt.ipynb) | new days and new animals, three ways |
# | [06_baselines](06_baselines.ipynb) | the other decoders, which have to be beaten |
# | [07_scaling](07_scaling.ipynb) | larger models, more sessions, fewer steps and labels |
# | [08_embeddings](08_embeddings.ipynb) | what the vectors of units and sessions hold |
# | [11_results](11_results.ipynb) | every table and claim, beside the paper's |
# | [12_your_recording](12_your_recording.ipynb) | the same with a recording of your own |
# | [19_exercises](19_exercises.ipynb) | what will the model do? Ten questions to pages 01 to 08 |
