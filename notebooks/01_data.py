# %% [markdown]
# # 1. The recordings
#
# > **Question.** What is in a recording, and how near do the simulated ones come to real ones?\
# > **In the paper:** Table 1, the data sets.\
# > **Cost** on two CPU cores: less than a minute.
#
# A recording session is what a lab takes home from one day with one animal: the times at which
# each of some dozens of neurons fired, and what the hand did meanwhile. This notebook builds the
# corpus that everything else uses, and looks at it.
#
# As cloned, the corpus is **simulated cortex**: artificial animals whose neurons are read out of
# one shared nonlinear dynamical system, into which the movement that is about to happen is fed.
# All animals made from one seed share that system;
# together they are called a simulated **species**. Another seed gives another species, whose
# cortex computes something else. The corpus needs no download and the right answer is known, but
# its numbers are its own: nothing measured on it is a result about brains. With `data.corpus:
# poyo_mp` in `params.yaml` the same graph runs on the paper's recordings.

# %%
from dataclasses import asdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from poyo import ROOT
from poyo.data import corpus, sources
from poyo.data.intervals import contains
from poyo.study import paper, plotting, profile

plt.style.use("poyo.study.style")
params = profile.load()

# %%
index = corpus.build(ROOT / "runs/data", **asdict(params.data))
recordings = sources.load_corpus(ROOT / "runs/data")
print(f"corpus: {params.data.corpus}, {len(index)} sessions")

# %% [markdown]
# ## 1.1 Table 1: what there is
#
# One row per source of data. Sources differ as laboratories do: in the task, the areas, the rate
# and unit of the behaviour, and in whether a unit is a sorted neuron or whatever crossed a
# threshold. The last two of our rows stand for the paper's two sessions of the Neural Latents
# Benchmark: animals that are known from pretraining, recorded on another rig.

# %%
TASKS = {
    "center_out_reaching": "center-out",
    "random_target_reaching": "random target",
    "maze": "maze",
}
here = {"simulated": "simulated cortex"}.get(params.data.corpus, params.data.corpus)
by_id = {one.session_id: one for some in recordings.values() for one in some}
of_benchmark = index["role"].str.startswith("NLB")
source_of = index["brainset"].mask(of_benchmark, index["brainset"] + " as " + index["role"])


def row(data, source, regions, tasks, animals, sessions, units, spikes, samples, hours="-"):
    return {
        "data": data, "source": source, "regions": regions or "-", "tasks": tasks or "-",
        "individuals": animals, "sessions": sessions, "units": f"{units:,}",
        "spikes": f"{round(spikes / 1e6, 2):g} M",
        "behavior samples": f"{round(samples / 1e6, 2):g} M", "hours": hours,
    }  # fmt: skip


def describe(source, part):
    """The row of one source; part: its rows of the index."""
    ids = part["session_id"]
    areas = {area for name in ids for area in by_id[name].units.get("area", ())}
    tasks = [title for name, title in TASKS.items() if (part["task"] == name).any()]
    counts = part["subject"].nunique(), len(part), part["units"].sum(), part["spikes"].sum()
    hours = f"{part['seconds'].sum() / 3600:.2f}"
    names = here, source, ", ".join(sorted(areas)), ", ".join(tasks)
    return row(*names, *counts, part["behavior_samples"].sum(), hours)


table1 = [describe(source, part) for source, part in index.groupby(source_of, sort=False)]
table1 += [row("as the paper reports", *study) for study in paper.TABLE_1]
caption = (
    f"*Above {here}, profile `{params.profile}`, counted from its files; below the recordings of "
    "the paper, as it reports them. Hours it gives only in all: POYO-1 saw more than 100.*"
)
Markdown(plotting.markdown(table1, "table1", caption))

# %% [markdown]
# The sessions with role `pretrain` train the multi-session models: `poyo_1` learns from all of
# them, `poyo_mp`, the network of the tour, from those of sim-perich. The others are held out, with
# the roles they have in the paper: a new day of a known animal (C-CO), an animal that the models
# have never seen, in two tasks (T-CO, T-RT), and the other rig (NLB-Maze, NLB-RTT).

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
# *Sessions, units, spikes and behaviour samples by role and animal.* Held-out sessions are longer,
# so that it can be asked how many labelled trials an adapted model needs. For scale: the paper's
# POYO-1 was trained on 158 sessions, 27,373 units and more than 100 hours.

# %%
animals = [*dict.fromkeys(index["subject"])][::-1]
days = index["session_id"].str.extract(r"_day(\d+)")[0].astype(float)
days = days.fillna(index.groupby("subject").cumcount() + 1)  # recordings: one after the other
colors = dict(zip([*TASKS, "other"], ("C0", "C2", "C1", "0.5")))
fig, ax = plt.subplots(figsize=(6.8, 0.36 * len(animals) + 0.9))
for (task, new), part in index.groupby(["task", index["role"] != "pretrain"]):
    color = colors.get(task, colors["other"])
    shift = {"center_out_reaching": 0.14, "random_target_reaching": -0.14}.get(task, 0)
    y = [animals.index(name) + shift for name in part["subject"]]
    size = 4 * part["units"] / index["units"].max() + 2
    for x, at, marker in zip(days[part.index], y, size):
        ax.plot(x, at, "o", ms=2 * marker, color=color, mfc="w" if new else color, mew=1.2)
for task, color in colors.items():
    if (index["task"] == task).any():
        ax.plot([], [], "o", color=color, label=TASKS[task])
ax.plot([], [], "o", color="0.4", mfc="w", label="held out")
ax.set(yticks=range(len(animals)), yticklabels=animals, ylim=(-0.6, len(animals) - 0.4))
ax.set(xlabel="day of an animal", xlim=(0.5, days.max() + 0.5))
ax.xaxis.get_major_locator().set_params(integer=True)
fig.legend(loc="outside upper center", ncols=4)
plt.show()

# %% [markdown]
# *The corpus: a dot per session, by animal, day and task. A larger dot has more units; hollow ones
# are held out from pretraining. The paper's Figure 2 shows its own corpus.*
#
# ## 1.2 Twelve seconds of a session
#
# Each row of the raster is a unit, each mark a spike. Below it the velocity of the hand: this is
# what will be decoded. Note what the data is *not*: there are no bins, and nothing says which row
# of one session belongs to which row of another.

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
# targets appear anywhere, one after the other. In the **maze** barriers stand between the hand and
# the target, so that reaches curve around them.

# %%
some = [recordings[role][0] for role in ("T-CO", "T-RT", "NLB-Maze") if role in recordings]
fig, axes = plt.subplots(1, len(some), figsize=(6.8, 2.6), sharex=True, sharey=True)
for ax, one in zip(axes, some):
    readout = sources.readout_of(one)
    series = one.behavior[readout.target.partition(".")[0]]
    minute = contains(np.array([[20.0, 80.0]]), series["timestamps"])
    length = 10 if readout.unit == "mm/s" else 1  # in a cm
    ax.plot(*series["pos"][minute].T / length, lw=0.5, color="C0")
    ax.set(title=TASKS[one.task], xlabel="x (cm)", aspect="equal")
axes[0].set_ylabel("y (cm)")
plt.show()

# %% [markdown]
# *The hand's path in a minute of each task.*
#
# ## 1.4 Splits
#
# Of the successful trials 70 % are for training, 10 % for validation, 20 % for test. Training uses
# *everything* except the validation and test trials and one second around them: failed trials,
# waiting and returning too, with small loss weights. In center-out, scores are taken during
# reaches; in random-target sessions with trials, from the first target on; in the maze of the
# benchmark's rig, from 50 ms before the onset of the movement to 650 ms after it; in all other
# sessions, at every sample. Random-target sessions of the second source are self-paced and have no
# trials: of ten blocks of time eight are for training, one for validation and one for test, again
# with a second between.

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
# *The first minute of a session: what each split covers, and the reaches; those in validation and
# test trials are scored.*
#
# ## 1.5 Units
#
# Firing rates are spread over more than a factor of ten. Section 1.6 compares them with those of
# real arrays, whose busiest units fire more. From one day to the next most units stay, some are
# replaced, and the tuning of those that stay drifts slowly; how many units are recorded differs
# from day to day.

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
#
# ## 1.6 How near is this to a real cortex?
#
# Simulated sessions of 60 units and ten minutes beside real recordings of motor cortex, from
# [17_cortex](17_cortex.ipynb), which says how many there are and how each number is taken. The
# sessions of the corpus above are smaller and harder: [06_baselines](06_baselines.ipynb) has their
# R². In the wrist recordings the position is decoded, which is easier than the velocity, elsewhere
# the velocity. The simulator was not changed after this comparison.

# %%
cortex = pd.read_csv(plotting.FIGURES / "data/cortex.csv").fillna("").set_index("what")
cortex

# %% [markdown]
# *Median over sessions, in brackets the 10th and 90th percentile. Columns that begin with "real"
# are recordings; where there is one session, the three numbers are the same. Fano factor: the
# variance of spike counts over their mean, where the animal is slow and where it is fast.
# Dimensions: in how many directions the units vary together (participation ratio). Movement
# explains: the share of a unit's variance that a linear model of the movement accounts for. Noise
# correlation: the correlation between units of what is left. Wiener filter and MLP: a linear
# decoder and a small network ([06_baselines](06_baselines.ipynb)). "R² lost" is what the Wiener
# filter of one day loses on a day that much later; where that is more than it had, the old filter
# does worse than the mean. It is much more in the real recordings than here, so simulated days are
# more alike than real ones, and results on new days come easier here than in life.
# ([17_cortex](17_cortex.ipynb) says why the real loss does not grow with the days between.) The
# simulated animals of this table were used to choose methods, and appear in no result.*
#
# ## What we found

# %%
old = index[index["role"] == "pretrain"]
Markdown(
    f"- Pretraining has {len(old)} sessions of {old['subject'].nunique()} animals, "
    f"{old['units'].sum():,} units and {old['seconds'].sum() / 3600:.1f} hours; "
    f"{len(index) - len(old)} more sessions are held out.\n"
    f"- A session has {index['units'].min()} to {index['units'].max()} units. Half of them fire "
    f"less than {rates.median():.1f} times a second, a tenth more than "
    f"{rates.quantile(0.9):.0f}.\n\nBeside real recordings:\n\n"
    + "\n".join(
        f"- {what}: "
        + "; ".join(f"{name}, {text}" for name, text in cortex.loc[what].items() if text)
        for what in ("Wiener filter R²", "busiest tenth (Hz)", "R² lost in 1-3 days")
    )
)

# %% [markdown]
# So a linear filter does about as well on a simulated session of 60 units and ten minutes as on
# these real ones. In other respects the simulation is further off: real wrist units share several
# times as much noise (the noise correlations above), the busiest real units fire more, and real
# days differ far more. What stays open is how much of what is found on simulated animals holds on
# real ones. The one answer so far is in [13_real](13_real.ipynb).
#
# Next: [02_tokens](02_tokens.ipynb) turns a second of such a session into tokens.
