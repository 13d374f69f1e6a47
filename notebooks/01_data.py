# %% [markdown]
# # 1. The recordings
#
# A recording session is what a lab takes home from one day with one animal: the times at which
# each of some dozens of neurons fired, and what the hand did meanwhile. This notebook builds the
# corpus that everything else uses, and looks at it.
#
# As cloned, the corpus is **simulated cortex**: artificial animals whose neurons share one
# nonlinear system driven by the coming movement. It needs no download and the right answer is
# known, but its numbers are its own: nothing measured on it is a result about brains. With
# `data.corpus: poyo_mp` in `params.yaml` the same graph runs on the paper's recordings.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from poyo import ROOT, config, corpus, sources
from poyo.intervals import contains

plt.style.use("poyo.style")
params = config.load()

# %%
index = corpus.build(params.data, ROOT / "runs/data")
recordings = sources.load_corpus(ROOT / "runs/data")
print(f"corpus: {params.data.corpus}, {len(index)} sessions")

# %% [markdown]
# ## 1.1 Table 1: what there is
#
# The sessions with role `pretrain` train the multi-session model. The others are held out, with
# the roles they have in the paper: a new day of a known animal (C-CO), and an animal that the
# model has never seen, in two tasks (T-CO, T-RT).

# %%
table = index.groupby(["role", "subject", "brainset"], sort=False).agg(
    sessions=("session_id", "size"),
    units=("units", "sum"),
    spikes=("spikes", "sum"),
    behavior_samples=("behavior_samples", "sum"),
    minutes=("seconds", lambda s: round(s.sum() / 60, 1)),
)
table

# %% [markdown]
# *Sessions, units, spikes and behaviour samples by role and animal.* For scale: the paper's
# POYO-1 was trained on 158 sessions, 27,373 units and more than 100 hours.
#
# ## 1.2 Twelve seconds of a session
#
# Each row of the raster is a unit, each mark a spike. Below it the velocity of the hand: this is
# what will be decoded. Note what the data is *not*: there are no bins, and rows of two sessions
# have nothing to do with each other.

# %%
recording = recordings["T-CO"][0]
begin, end = 20.0, 32.0
shown = (recording.spike_times >= begin) & (recording.spike_times < end)
fig, (raster, velocity) = plt.subplots(2, 1, figsize=(6.8, 3.6), sharex=True, height_ratios=[2, 1])
raster.plot(recording.spike_times[shown], recording.spike_units[shown], "|", ms=3, color="0.2")
raster.set(ylabel="unit", ylim=(-1, len(recording.unit_ids)))
cursor = recording.behavior["cursor"]
rows = (cursor["timestamps"] >= begin) & (cursor["timestamps"] < end)
velocity.plot(cursor["timestamps"][rows], cursor["vel"][rows], label=["x", "y"])
velocity.set(xlabel="time (s)", ylabel="velocity (cm/s)")
velocity.legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2)
plt.show()

# %% [markdown]
# *Spikes of every unit (above) and the velocity of the hand (below).*
#
# ## 1.3 What the animal does
#
# In **center-out** the hand waits in the middle, a target appears on a circle, a signal releases
# the reach; successful reaches are rewarded and the hand returns. In the **random-target** task
# targets appear anywhere, one after the other.

# %%
tasks = {"center-out": recordings["T-CO"][0], "random target": recordings["T-RT"][0]}
fig, axes = plt.subplots(1, 2, figsize=(5.6, 2.8), sharex=True, sharey=True)
for ax, (task, one) in zip(axes, tasks.items()):
    position = one.behavior["cursor"]["pos"][:6000]
    ax.plot(*position.T, lw=0.5, color="C0")
    ax.set(title=task, xlabel="x (cm)", aspect="equal")
axes[0].set_ylabel("y (cm)")
plt.show()

# %% [markdown]
# *The hand's path in a minute of each task.*
#
# ## 1.4 Splits
#
# Of the successful trials 70 % are for training, 10 % for validation, 20 % for test. Training
# uses *everything* except the validation and test trials and one second around them: failed
# trials, waiting and returning too, with small loss weights. Scores are taken only where the task
# asks for a movement: during reaches in center-out.

# %%
fig, ax = plt.subplots(figsize=(6.8, 1.6))
reach = recording.intervals["movement_phases.reach_period"]
rows = recording.splits | {"reach": reach}
for y, spans in enumerate(rows.values()):
    ax.broken_barh([(a, b - a) for a, b in spans], (y - 0.4, 0.8), color=f"C{y}")
ax.set(yticks=range(len(rows)), yticklabels=list(rows), xlabel="time (s)", xlim=(0, 60))
plt.show()

# %%
train, test = recording.splits["train"], recording.splits["test"]
near = np.stack([test[:, 0] - 0.99, test[:, 1] + 0.99], -1).ravel()
assert not contains(train, near).any(), "train must stay one second away from test trials"
share = np.diff(train).sum() / recording.duration
print(f"{100 * share:.0f} % of the session is in the train split")

# %% [markdown]
# *The first minute of a session: what each split covers, and where scores are taken.*
#
# ## 1.5 Units
#
# Firing rates are spread widely, from less than one to some tens of spikes a second, as in real
# arrays. Every session has its own units: a new day is a new sample of the brain.

# %%
rates = pd.Series(
    np.concatenate(
        [np.bincount(r.spike_units, minlength=len(r.unit_ids)) / r.duration
         for r in recordings["pretrain"]]
    )
)  # fmt: skip
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 2.3))
left.hist(rates.clip(0.1, 100), bins=np.geomspace(0.1, 100, 31))
left.set(xscale="log", xlabel="mean rate (Hz)", ylabel="units")
right.hist([len(r.unit_ids) for r in recordings["pretrain"]], bins=10, color="C1")
right.set(xlabel="units in a session", ylabel="sessions")
print(f"{len(rates)} units, median rate {rates.median():.1f} Hz")
plt.show()

# %% [markdown]
# *Left: mean firing rates of all pretraining units. Right: units per session.*
