# %% [markdown]
# # 2. Every spike is a token
#
# > **Question.** How does a second of spikes become something that a transformer can read?\
# > **In the paper:** section 2.1 and the left half of Figure 1.\
# > **Cost** on two CPU cores: less than a minute.
#
# A transformer reads a set of **tokens**: vectors, each of which stands for one thing. In a text,
# that is a piece of a word. POYO takes the most direct choice for a recording: one token per spike
# (paper, section 2.1). A token says three things:
#
# 1. **who**: the unit that fired, as a row of a learned table (the unit embedding);
# 2. **when**: the time of the spike, in seconds from the start of the window;
# 3. **what kind**: a spike, or one of the two markers START and END explained below.
#
# This page cuts one second out of a recording, looks at its tokens, and follows them into a batch.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown
from matplotlib.colors import ListedColormap

from poyo import ROOT, sampling, tokens
from poyo.data import sources
from poyo.data.intervals import contains
from poyo.decoder import Decoder
from poyo.study import profile
from poyo.vocabulary import VocabularyError

plt.style.use("poyo.study.style")
params = profile.load()
length = params.windows.length

# %% [markdown]
# ## 2.1 Every name has a vector
#
# An embedding is a table that holds one learned vector for each name, and the **vocabulary** says
# in which row of the table the vector of a name stands. A unit's name holds its session, because
# nothing is assumed about which unit of today is which unit of yesterday. Row 0 is `NA`: it
# belongs to nobody, and padding points at it.
#
# A `Decoder` holds both vocabularies beside its network, which here is a new one: nothing on this
# page is learned. It also gives a recording its rows and says what is to be decoded from it.

# %%
recordings = sources.load_corpus(ROOT / "runs/data")["pretrain"]
decoder = Decoder.new(recordings, size=params.models["poyo_mp"].size, windows=params.windows)
sessions = [decoder.session(recording) for recording in recordings]
session, recording, units = sessions[0], recordings[0], decoder.units
print(f"{len(units)} rows of units, {len(decoder.sessions)} of sessions")
for name in units.names[:3]:
    print(f"row {units.rows([name])[0]}: {name}")

# %% [markdown]
# A name without a row is an error that says what to do, not a guess.

# %%
try:
    units.rows(["sim-x_day01_center_out_reaching/M1/elec7/unit_0"])
except VocabularyError as error:
    print(error)

# %% [markdown]
# ## 2.2 One second, cut
#
# We cut a **window** that starts shortly before a reach. Its tokens are a START for every unit at
# time 0, an END for every unit at the time the window ends, and the spikes between.

# %%
reach = recording.intervals["movement_phases.reach_period"][2]
start = reach[0] - 0.1
batch = tokens.tokenize([session], np.array([0]), np.array([start]), length)
inside = contains([[start, start + length]], recording.spike_times)
real = batch["input_mask"][0].numpy()
row, time, kind = (
    batch[f"input_{key}"][0].numpy()[real] for key in ("unit_index", "timestamps", "token_type")
)
U = len(recording.unit_ids)
print(f"{inside.sum()} spikes + 2 x {U} units = {real.sum()} tokens")
assert real.sum() == inside.sum() + 2 * U

# %%
kinds = np.array(["spike", "START", "END"])
table = pd.DataFrame(
    {"unit": [units.names[i].partition("/")[2] for i in row], "time (s)": time.round(4)}
).assign(type=kinds[kind])
table.iloc[[0, 1, U, U + 1, *range(2 * U, 2 * U + 6)]]

# %% [markdown]
# *Two of the START tokens, two of the END tokens and the first spikes. The session's name, which
# begins every unit's name, is left out. The order of the rows carries no meaning: the network
# gives the same answer for any other (shown in [03_model](03_model.ipynb)).*
#
# For the network, a token of unit $u$ and kind $k$ is the sum of two learned vectors,
#
# $$x = \operatorname{UnitEmb}(u) + \operatorname{KindEmb}(k),$$
#
# together with its time $t$, which is not part of the vector; how the network uses it is shown in
# [03_model](03_model.ipynb), section 3.3.

# %%
colours = np.array(sns.husl_palette(U, s=0.95, l=0.55))
unit = row - session.unit_rows[0]


def draw(ax):
    """The tokens: a tick for a spike, triangles for START and END."""
    for code, marker, size in ((0, "|", 60), (1, ">", 14), (2, "<", 14)):
        of = kind == code
        ax.scatter(time[of], unit[of], c=colours[unit[of]], marker=marker, s=size, lw=1.1)
    ax.set(xlim=(-0.03, length + 0.03), ylim=(-1, U), ylabel="unit")


# %%
fig, ax = plt.subplots(figsize=(6.8, 3.4))
draw(ax)
ax.set_xlabel("time in the window (s)")
plt.show()

# %% [markdown]
# *A window of a simulated session, as the network gets it. Right-pointing triangles: START;
# left-pointing: END; ticks: spikes. A colour per unit.*
#
# ## 2.3 A silent unit has tokens, too
#
# Without START and END, a unit that does not fire would leave no trace: the network could not tell
# a silent neuron from one that was never recorded. A neuron that stops firing may say as much as
# one that starts. (In this corpus what START and END are worth could not be measured: see "no
# delimiters" on [09_ablations](09_ablations.ipynb).)

# %%
silent = np.setdiff1d(np.arange(U), unit[kind == tokens.SPIKE])
print(f"{len(silent)} of {U} units are silent in this window")
heard = np.isin(unit, silent)
print(f"they have {heard.sum()} tokens, all of them START or END")
assert heard.sum() == 2 * len(silent)

# %% [markdown]
# ## 2.4 Why not bins
#
# The usual input is a grid of counts: units by time bins. It has a size that depends on the bin
# width, most of it is zero, and where in its bin a spike fell is lost. Finer bins keep more of the
# time and are emptier still. The number of tokens depends on how many spikes and units there are,
# not on how precisely their times are known.

# %%
spikes = kind == tokens.SPIKE
rows = []
for width in (0.05, 0.02, 0.005, 0.001):
    shape, extent = [round(length / width), U], [[0, length], [-0.5, U - 0.5]]
    grid = np.histogram2d(time[spikes], unit[spikes], bins=shape, range=extent)[0]
    assert grid.sum() == spikes.sum()
    rows.append(
        {"bin (ms)": 1e3 * width, "numbers": grid.size, "of them zero": (grid == 0).mean()}
    )
print(f"as tokens: {len(time)}, of three numbers each: who, when, what kind")
pd.DataFrame(rows).round(3)

# %% [markdown]
# *The same window as a grid of counts, for four bin widths: 20 ms is what most decoders use. Its
# tokens are as many whatever the precision of their times.*
#
# Units can come and go for the same reason. A grid has a column per unit, so another session needs
# another input layer. A set of tokens has no columns.
#
# ## 2.5 Where a window ends
#
# A window $[s, s + T)$ holds its first moment and not its last. So windows in a row share no spike
# and lose none.

# %%
edges = start + length * np.arange(4)
cuts = tokens.tokenize([session], np.zeros(3, dtype=int), edges[:3], length)
per_window = cuts["input_mask"].sum(1).numpy() - 2 * U
together = contains([[edges[0], edges[-1]]], recording.spike_times).sum()
print(f"{' + '.join(map(str, per_window))} = {together} spikes in three windows in a row")
assert per_window.sum() == together

on_edge = recording.spike_times[inside][0]
# the window that begins with this spike, and the one that ends there
begins = np.array([on_edge, on_edge - length])
cuts = tokens.tokenize([session], np.zeros(2, dtype=int), begins, length)
is_spike = cuts["input_mask"].numpy() & (cuts["input_token_type"].numpy() == tokens.SPIKE)
of_window = [cuts["input_timestamps"][i].numpy()[is_spike[i]] for i in range(2)]
assert of_window[0][0] == 0 and of_window[1].max(initial=0) < length
print("a spike on the edge is in the window that begins with it, not in the one before")

# %% [markdown]
# ## 2.6 Many windows in one batch
#
# Windows differ in length: more units, more spikes. In a **batch** they are stacked into one
# array, as long as the longest of them (rounded up to a multiple of eight). The rest is
# **padding**, and a mask says which is which. The model drops the padding before attention, so it
# costs memory and changes nothing.

# %%
B = 12
domains = [s.recording.splits["train"] for s in sessions]
stream = sampling.TrainingWindows(domains, length, seed=0)
which, starts = stream.batch(0, B)
batch = tokens.tokenize(sessions, which, starts, length)
mask = batch["input_mask"].numpy()
N = mask.sum(1)
for i, s in enumerate(which):
    assert N[i] >= 2 * len(sessions[s].unit_rows)
print(f"{B} windows from {len(set(which))} sessions, {N.min()} to {N.max()} tokens each")
print(f"{1 - mask.mean():.0%} of the {mask.shape[0]} x {mask.shape[1]} places are padding")

# %%
picture = np.where(mask, batch["input_token_type"].numpy(), 3)
palette = ["#9ec5e8", "#0173b2", "#029e73", "#eeeeee"]
fig, ax = plt.subplots(figsize=(6.8, 2.6))
ax.pcolormesh(picture, cmap=ListedColormap(palette), vmin=-0.5, vmax=3.5)
for colour, label in zip(palette, [*kinds, "padding"]):
    ax.plot([], [], "s", color=colour, label=label)
ax.set(xlabel="place in the array", ylabel="window", yticks=np.arange(0, B, 4) + 0.5)
ax.set_yticklabels(np.arange(0, B, 4))
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
plt.show()

# %% [markdown]
# *A batch of windows: START, then END tokens of all units, then the spikes, then padding.*
#
# ## 2.7 Latents and queries have times, too
#
# Two more sets of vectors have a time, and neither is a spike.
#
# **Latents** are where the network keeps what it has understood. They sit on a fixed grid: the
# window is cut into equal steps of time (`windows.latent_step`), and in the middle of each stand
# the same few learned vectors, told apart from those of other steps by their time alone. **Output
# queries**, or queries for short, ask for the answer: one for each sample of the behaviour in the
# window, at that sample's time (in training, evenly thinned to at most `windows.queries`). All
# queries of a window are the same learned vector, the embedding of its session; only their times
# differ. So behaviour may be sampled at any rate.

# %%
index, at = (
    buffer.numpy() for buffer in (decoder.model.latent_index, decoder.model.latent_timestamps)
)
steps, K = len(np.unique(at)), index.max() + 1
window = tokens.tokenize([session], np.array([0]), np.array([start]), length)
query = window["output_timestamps"][0].numpy()
print(f"{steps} steps x {K} = {len(at)} latents, {len(query)} queries")
assert len(at) == K * round(length / params.windows.latent_step)

# %%
fig, (top, middle, bottom) = plt.subplots(
    3, 1, figsize=(6.8, 4.6), sharex=True, height_ratios=[3, 1.3, 0.5]
)
draw(top)
top.set_ylabel("input tokens\n(unit)")
middle.scatter(at, index, s=16, color="C1")
middle.set(ylabel="latents", yticks=[0, K - 1], ylim=(-0.7, K - 0.3))
bottom.eventplot(query, color="C2", lineoffsets=0, linewidths=0.8)
bottom.set(ylabel="queries", yticks=[], xlabel="time in the window (s)")
fig.align_ylabels()
plt.show()

# %% [markdown]
# *Everything the network sees of a window, on one time axis: spikes with START and END (above),
# the grid of latents (orange) and the moments at which the velocity is asked for (green).*
#
# ## 2.8 What is asked for, and how much it counts
#
# The target is the velocity over a constant of its dataset, so that numbers are of order one. The
# loss is the squared error times a **weight**. In center-out reaches count five times and waiting
# a tenth: otherwise the network would mostly learn to say zero. With targets $y_q$ of $d$ dims,
# what is decoded $\hat y_q$, and weights $w_q$, over all queries $q$ of a batch:
#
# $$\mathcal L = \frac{\sum_q w_q \, \lVert \hat y_q - y_q \rVert^2 / d}{\sum_q w_q}$$

# %%
readout = session.readout
print(f"target: {readout.target} / {readout.scale:g} {readout.unit}")
for name, weight in readout.weights.items():
    if name in recording.intervals:
        print(f"weight {weight:g} in {name.rpartition('.')[2]}")
print("weight 1 elsewhere")

# %%
shown = contains([[reach[0] - 3, reach[0] + 6]], session.times)
t = session.times[shown]
fig, (top, bottom) = plt.subplots(2, 1, figsize=(6.8, 2.9), sharex=True)
top.plot(t, np.linalg.norm(session.target[shown], axis=1), color="0.5")
top.set_ylabel(f"speed ({readout.unit})")
bottom.step(t, session.weights(t), where="post", color="C3")
bottom.set(ylabel="loss weight", xlabel="time in the session (s)", ylim=(0, None))
plt.show()

# %% [markdown]
# *Speed of the hand (above) and the weight of each sample in the loss (below). Reaches weigh most,
# the way back less. A movement that weighs as little as waiting belongs to a trial that failed.*
#
# ## 2.9 Unit dropout
#
# In training a window may lose some of its units, with all their tokens, so that the network does
# not lean on a few good neurons and sees populations of several sizes. How many units may stay is
# drawn from a triangle: `unit_dropout` gives the fewest, the most likely and the most. A
# session with fewer units than are drawn keeps them all. In this profile that is nearly always so,
# even in the largest session, as the shares printed below show: unit dropout does little here, and
# is meant for sessions of many units.

# %%
triangle = params.models["poyo_mp"].recipe.unit_dropout
n = np.arange(triangle[0], triangle[2] + 1)
largest = max(range(len(sessions)), key=lambda i: len(sessions[i].unit_rows))
total = len(sessions[largest].unit_rows)
kept = sampling.keep_units(sessions, np.full(4000, largest), triangle, seed=(0,))
drawn = np.bincount([mask.sum() for mask in kept], minlength=total + 1) / len(kept)
computed = np.bincount(np.minimum(n, total), sampling.keep_probabilities(*triangle), total + 1)
some = np.arange(triangle[0], total)
fig, ax = plt.subplots(figsize=(6.8, 2.3))
ax.bar(some, drawn[some], width=1, color="0.8", label="4,000 draws")
ax.plot(some, computed[some], color="C0", label="probability")
ax.set(xlabel=f"units kept of {total}, where not all", ylabel="share of windows", ylim=(0, None))
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
print(f"all {total} units are kept in {drawn[total]:.0%} of the windows")

# %% [markdown]
# *How many units of the largest session survive: drawn (grey) and computed (blue).*

# %%
smallest = min(range(len(sessions)), key=lambda i: len(sessions[i].unit_rows))
kept = sampling.keep_units(sessions, np.full(4000, smallest), triangle, seed=(0,))
print(f"the smallest session has {len(kept[0])} units")
print(f"{np.mean([mask.all() for mask in kept]):.0%} of its windows keep them all")

# %%
even = np.arange(U) % 2 == 0
fewer = tokens.tokenize([session], np.array([0]), np.array([start]), length, keep=[even])
left = int(fewer["input_mask"].sum())
print(f"every second unit dropped: {len(unit)} tokens become {left}")
assert left == even[unit].sum()

# %% [markdown]
# ## What we found

# %%
finest, usual = rows[-1], rows[1]
Markdown(
    f"- A second of {U} units is {len(time)} tokens: {spikes.sum()} spikes and two markers for "
    f"each unit. In bins of {usual['bin (ms)']:g} ms it would be {usual['numbers']:,} counts, "
    f"{usual['of them zero']:.0%} of them zero; in bins of {finest['bin (ms)']:g} ms "
    f"{finest['numbers']:,}.\n"
    f"- {len(silent)} of the units are silent in it, and the network is told so.\n"
    f"- In a batch of windows from several sessions {1 - mask.mean():.0%} of the places are "
    "padding, which the network leaves out."
)

# %% [markdown]
# That is all the network gets: who, when, what kind. What stays open is what exact spike times are
# worth: simulated spikes carry no information in their fine timing, and the real recordings used
# here are counts.
#
# Next: [03_model](03_model.ipynb) shows what the network does with it.
