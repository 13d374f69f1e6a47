# %% [markdown]
# # 4. Pretraining: one model for every session
#
# > **Question.** Can one network decode many sessions whose neurons were never matched to each
# > other?\
# > **In the paper:** Figure 2, and whether one model can be trained on many sessions (POYO-mp).\
# > **Cost** on two CPU cores: one or two minutes for each model.
#
# A classical decoder belongs to one session: its weights are tied to that day's neurons, in that
# day's order. POYO's network is tied to none. Only two tables depend on what was recorded: one
# with a row for each unit, one with a row for each session. Attention, feed-forwards and readout
# are shared by every animal, day and task. So one model can be trained on all sessions at once,
# and whatever is common to them (how spikes in motor cortex relate to movement) has to go into the
# shared part.
#
# This notebook trains one model, and is run once for each name in `runs` of `params.yaml`. Two are
# those of the paper's Table 2: `poyo_mp`, on the sessions of one source of data, and `poyo_1`, on
# those of all sources. Others are smaller or larger, for the scaling figure, or have seen one task
# only. To train one of your own, add it to `models` and its name to `runs`, and call `dvc repro`.
# Held-out sessions are for [05_adapt](05_adapt.ipynb).

# %% tags=["parameters"]
model = "poyo_mp"

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from poyo import ROOT, distributed, threads, train
from poyo.data import sources
from poyo.data.intervals import contains
from poyo.decoder import Decoder
from poyo.study import paper, plotting, profile

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)
row = params.models[model]

# %% [markdown]
# ## 4.1 The sessions
#
# Every session gets a row in the session vocabulary and every unit one in the unit vocabulary.
# Nothing aligns units across days: neuron 12 of Monday and neuron 12 of Tuesday are two names.

# %%
recordings = sources.load_corpus(ROOT / "runs/data")["pretrain"]
recordings = sources.scope(recordings, row.scope, row.share)
units = sum(len(r.unit_ids) for r in recordings)
print(f"{model}: {len(recordings)} sessions, {units} units")
print(f"{sum(r.duration for r in recordings) / 60:.0f} minutes of recording")


# %%
def untrained(some, seed):
    """A decoder of some recordings with weights drawn from `seed`."""
    return Decoder.new(some, size=row.size, windows=params.windows, seed=seed)


groups = untrained(recordings, params.seeds[0]).model.groups()
tables = sum(p.numel() for p in groups.pop("embeddings"))
parameters = sum(p.numel() for group in groups.values() for p in group)
print(f"size {row.size}: {parameters:,} shared parameters")
print(f"and {tables:,} in the embeddings of units and sessions")

# %% [markdown]
# ## 4.2 The training run
#
# Each step takes random 1-second windows from all sessions at once, drops units at random where a
# session has more than are drawn ([02_tokens](02_tokens.ipynb), section 2.9), and minimises the
# weighted squared error of the decoded velocity: reaches count five times, waiting counts a tenth.
# Along the way the validation trials are decoded; the weights that did best there are kept.
#
# LAMB, Muon and AdamW are optimisers, rules that turn a gradient into a step.
#
# Paper: LAMB, at a learning rate proportional to the batch. The rate stays as it is for half of
# the 1,000 epochs (an epoch is one pass over all data) and then falls along a cosine. Here, in the
# `laptop` profile: Muon for the network's matrices and AdamW for the rest, with a short rise and a
# cosine, because with few steps the loss hardly falls while the rate stays high. `optimizer: lamb`
# brings the paper's back.


# %%
def fit(some, seed):
    """A trained decoder of some recordings, its history, and R² on their test trials."""
    decoder = untrained(some, seed)
    history = train.fit(decoder, some, row.recipe, seed=seed, label=f"{model}, seed {seed}")
    return decoder, pd.DataFrame(history).assign(seed=seed), decoder.score(some, "test")


groups = [[r] for r in recordings] if row.alone else [recordings]
jobs = [(some, seed) for seed in params.seeds for some in groups]
fits = distributed.launch(lambda one: fit(*one), jobs, params.processes)
history = pd.concat([points for _, points, _ in fits])
history = history.groupby(["seed", "step"]).mean().reset_index().round(4)
history.groupby("seed").tail(1)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.4))
for seed, points in history.groupby("seed"):
    left.plot(points["step"], points["loss"], "o-", ms=3, color="C0", label=f"seed {seed}")
    right.plot(points["step"], points["valid_r2"], "o-", ms=3, color="C1")
left.set(xlabel="gradient step", ylabel="weighted squared error", ylim=(0, None))
right.set(xlabel="gradient step", ylabel="validation R²", ylim=(min(0, right.get_ylim()[0]), 1))
plt.show()

# %% [markdown]
# *Training loss (left) and mean R² over the sessions' validation trials (right); a line per seed.*
#
# ## 4.3 How well it decodes the trials it has not seen
#
# The test trials of the same sessions. Overlapping windows are decoded and averaged where they
# overlap; R² is taken over all evaluated samples of a session (the reaches in center-out).

# %%
spikes = {r.session_id: contains(r.splits["train"], r.spike_times).sum() for r in recordings}
tasks = {r.session_id: r.task for r in recordings}
scores = pd.DataFrame(
    [
        {
            "session_id": name, "task": tasks[name], "seed": decoder.about["seed"], "r2": value,
            "parameters": parameters, "sessions": len(r2),
            "spikes": sum(spikes[other] for other in r2),
        }
        for decoder, _, r2 in fits
        for name, value in r2.items()
    ]
).round(4)  # fmt: skip
table = scores.pivot_table(index="session_id", columns="seed", values="r2", sort=False)
print(f"mean test R²: {scores.r2.mean():.3f}")
table

# %% [markdown]
# *R² on the test trials of every session, a column per seed.*
#
# ## 4.4 What is kept
#
# The decoders are saved. Each holds the weights, the names of its units and sessions, the windows
# it reads and how every session is read out. Beside them stays the table above (with how many
# parameters, sessions and training spikes the model had), which [11_results](11_results.ipynb)
# compares with others.

# %%
folder = ROOT / "runs/pretrain" / model
folder.mkdir(parents=True, exist_ok=True)
for decoder, _, _ in [] if row.alone else fits:
    decoder.save(folder / f"decoder-{decoder.about['seed']}.pt")
history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
plotting.csv(scores, f"pretrain/{model}")

# %% [markdown]
# ## What we found

# %%
levels = scores.groupby("session_id", sort=False).r2.mean()
by_task = scores.assign(task=scores.task.map(paper.TASKS).fillna(scores.task))
by_task = by_task.groupby("task", sort=False).r2.mean().round(2)
Markdown(
    f"One network of {parameters:,} shared parameters decodes all {len(levels)} sessions: mean "
    f"test R² **{levels.mean():.2f}**, from {levels.min():.2f} to {levels.max():.2f} (by task: "
    + ", ".join(f"{task} {r2:.2f}" for task, r2 in by_task.items())
    + "). No unit was matched to one of another day."
)

# %% [markdown]
# How good is that? Section 11.2 of [11_results](11_results.ipynb) has a Wiener filter of each of
# these sessions beside it. Whether one network decodes them better than a network for each session
# alone is asked there, too, of every simulated species.
#
# Next: [05_adapt](05_adapt.ipynb) takes this network to days and animals that it has never seen.
