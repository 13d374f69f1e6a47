# %% [markdown]
# # 5. New days, new animals
#
# > **Question.** What does a pretrained network bring to a day, or an animal, that it has never
# > seen?\
# > **In the paper:** section 2.5, Table 2 and Figure 4.\
# > **Cost** on two CPU cores: four minutes.
#
# The network of [04_pretrain](04_pretrain.ipynb) is given sessions it has never seen: a new day of
# a known animal, and an animal that was not in the training set at all, in two tasks. The unit
# embedding, the table with one vector (a row) per neuron, has no rows for their neurons. There are
# three ways on:
#
# 1. **Unit identification.** The network is frozen. Each new unit and the new session get a new
#    embedding vector, and only these vectors are learned, from the session's labelled trials. The
#    network keeps what it knows about movement; each vector comes to say *which kind of neuron*
#    its unit is.
# 2. **Finetuning.** After that, let everything learn ("gradual unfreezing").
# 3. **From scratch.** The same architecture, without a past: the single-session model.

# %%
from itertools import chain

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown

from poyo import ROOT, adapt, threads, train
from poyo.data import sources
from poyo.data.recording import RecordingError
from poyo.decoder import Decoder
from poyo.study import paper, plotting, profile, results

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)
first, size = params.seeds[0], params.models["poyo_mp"].size
corpus = sources.load_corpus(ROOT / "runs/data")
columns = {column: corpus[column] for column in paper.COLUMNS if column in corpus}


def pretrained(name, seed):
    return Decoder.load(ROOT / f"runs/pretrain/{name}/decoder-{seed}.pt")


# %% [markdown]
# ## 5.1 What learns
#
# In unit identification a session of $U$ units has $(U + 1) \cdot D$ numbers to find, a row for
# each unit and one for the session (each table also has a row 0 for "none", which no token uses).

# %%
example = corpus["T-CO"][0]
model = pretrained("poyo_mp", first).adopt([example], seed=first).model
learns = sum(p[1:].numel() for p in model.groups()["embeddings"])
total = sum(p.numel() for p in model.parameters())
assert learns == (len(example.unit_ids) + 1) * model.unit_emb.embedding_dim
print(f"{example.session_id}: {len(example.unit_ids)} units")
print(f"{learns:,} of {total:,} parameters learn ({100 * learns / total:.1f} %)")

# %% [markdown]
# ## 5.2 Every held-out session, three ways
#
# Same windows, same splits, same labelled trials for all. Validation trials are looked at along
# the way, test trials once, at the end. The pretrained models are two, as in the paper: one knows
# the sessions of a single source of data (`poyo_mp`), the other those of all of them (`poyo_1`).

# %%
ways = {
    "single_session": ["single_session"],
    "poyo_mp": ["unit_identification", "finetune"],
    "poyo_1": ["unit_identification", "finetune"],
}


def meet(about, recording, name, methods):
    """Meet a session with a pretrained model, or with none ("single_session"): a row per method.

    about: what the rows say of themselves; a method goes on where the one before ended.
    """
    seed, session = about["seed"], recording.session_id
    if name == "single_session":
        decoder = Decoder.new([recording], size=size, windows=params.windows, seed=seed)
    else:
        decoder = pretrained(name, seed).adopt([recording], seed=seed)
    rows = []
    for method in methods:
        label = f"{name} {method}, {session}, seed {seed}"
        recipe = getattr(params.adapt, method)
        (before,) = decoder.score([recording], "valid").values()
        history = [{"step": 0, "valid_r2": round(before, 4)}]
        history += train.fit(decoder, [recording], recipe, seed=seed, label=label)
        decoded = decoder.decode(recording, "test")
        rows.append(
            {**about, "session_id": session, "task": recording.task,
             "method": name if name == method else f"{name}_{method}",
             "r2": round(decoded.r2, 4), "decoded": decoded, "history": history}
        )  # fmt: skip
    return rows


def all_of(jobs):
    """The rows of several sessions that are met, in several processes."""
    return [*chain(*threads.processes(lambda job: meet(*job), jobs))]


# %% [markdown]
# The recipes are those of `adapt` in `params.yaml`. They were chosen on other simulated species,
# among as many as the networks of [06_baselines](06_baselines.ipynb) had to choose from
# ([15_tuning](15_tuning.ipynb)), and not on these sessions.

# %%
runs = all_of(
    ({"column": column, "seed": seed}, recording, name, methods)
    for seed in params.seeds
    for column, recordings in columns.items()
    for recording in recordings
    for name, methods in ways.items()
)
what = ["column", "session_id", "task", "method", "seed"]
scores = pd.DataFrame(runs)[[*what, "r2"]]
curves = pd.DataFrame(
    [{name: row[name] for name in what} | point for row in runs for point in row["history"]]
)
levels = scores.pivot_table(
    index=["column", "session_id"], columns="method", values="r2", sort=False
)
plotting.table(levels)

# %% [markdown]
# *R² of the test trials, mean over seeds; `single_session` is the network trained from scratch. A
# "column" is one of the paper's Table 2.* The first three columns ask
# increasingly hard questions: the same animal on a new day, a new animal, a new animal in a less
# stereotyped task. The last two (NLB) change the rig: behaviour is sampled at 1 kHz, and the
# task (a maze) or the animal is one that only `poyo_1` has been trained on. These sessions have
# more minutes to learn from than those that the claims rest on, so training from scratch is a
# stronger opponent here: do not read the claims off this table.
#
# ## 5.3 How fast
#
# A frozen network has little to find out, so it levels off after few steps. From scratch the whole
# decoder must be discovered from minutes of one session: that takes longer, but can end higher.

# %%
fig, axes = plt.subplots(1, len(columns), figsize=(1.9 * len(columns), 2.4), sharey=True)
for ax, column in zip(axes, columns):
    for method in ("single_session", "poyo_mp_unit_identification"):
        part = curves[(curves.column == column) & (curves.method == method)]
        label, color = results.METHODS[results.HELD_OUT[method]]
        look = {"color": color, "marker": "o", "ms": 3, "mew": 0, "errorbar": None}
        sns.lineplot(part, x="step", y="valid_r2", ax=ax, label=label, legend=False, **look)
    ax.set(title=column, xlabel="gradient step", ylabel="validation R²", ylim=(-0.1, 1))
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# *Mean validation R² over the sessions and seeds of each column, against gradient steps. Unit
# identification is that of `poyo_mp`; values below -0.1 are cut off.*
#
# ## 5.4 Few labels
#
# Labelled trials cost an animal's patience. Here a session keeps only some of its train trials to
# learn from: `adapt.trials` in `params.yaml` says how many (one number as cloned, or several),
# `adapt.few` in which columns. Validation and test trials stay the same; 5.2 has the result with
# all trials. (First seed only: it is the sessions that differ.)

# %%
jobs = []
for column in params.adapt.few:
    for recording in columns[column]:
        for trials in params.adapt.trials:
            try:
                short = adapt.few_trials(recording, trials, params.windows.length, first)
            except RecordingError as error:  # the session is shorter
                print(error)
                continue
            about = {"column": column, "seed": first, "trials": trials}
            for name in ("poyo_mp", "single_session"):
                jobs.append((about, short, name, ways[name][:1]))
few = pd.DataFrame(all_of(jobs))[[*what, "trials", "r2"]]
plotting.table(
    few.pivot_table(index=["column", "method"], columns="trials", values="r2", sort=False)
)

# %% [markdown]
# *Test R² by number of labelled trials, mean over the sessions of a column.* These are few
# sessions of one species. What five trials are enough for, over several species, is in section 7.2
# of [07_scaling](07_scaling.ipynb).
#
# ## 5.5 Across tasks
#
# What does a model that has seen one task know about another? Networks pretrained on center-out
# (`co`) or random-target sessions (`rt`) only identify the units of sessions of other tasks
# (`adapt.transfer` in `params.yaml`).

# %%
transfer = all_of(
    ({"column": column, "seed": seed}, recording, name, ["unit_identification"])
    for seed in params.seeds
    for name, asked in params.adapt.transfer.items()
    for column in asked
    for recording in columns.get(column, [])
)
transfer = pd.DataFrame(transfer)[[*what, "r2"]]
plotting.table(transfer.pivot_table(index="column", columns="method", values="r2", sort=False))

# %% [markdown]
# *Test R² after unit identification of these networks, mean over sessions and seeds; empty where
# it was not asked for. To compare, `poyo_mp_unit_identification` in 5.2 is a network that has seen
# both tasks, but also more sessions, in more steps.*
#
# ## 5.6 What it looks like
#
# The velocity in test trials of one session of the new animal, decoded after unit identification.

# %%
both = "poyo_mp_unit_identification"
best = next(
    row["decoded"]
    for row in runs
    if row["session_id"] == example.session_id and row["method"] == both
)
print(f"{example.session_id}: test R² {best.r2:.3f}")
rows = np.arange(min(600, len(best.times)))
gaps = np.flatnonzero(np.diff(best.times[rows]) > 0.1) + 1
fig, axes = plt.subplots(2, 1, figsize=(6.8, 2.8), sharex=True, sharey=True)
seconds = np.arange(len(rows)) * np.median(np.diff(best.times))
for i, (ax, name) in enumerate(zip(axes, "xy")):
    ax.fill_between(
        seconds, 0, 1, where=best.evaluated[rows], transform=ax.get_xaxis_transform(),
        color="0.93", lw=0, label="scored",
    )  # fmt: skip
    ax.plot(seconds, best.target[rows, i], color="0.6", lw=2, label="hand")
    ax.plot(seconds, best.prediction[rows, i], color="C0", label="decoded")
    for gap in gaps:
        ax.axvline(seconds[gap], color="0.6", lw=0.8, ls=":")
    ax.set_ylabel(f"{name} ({sources.readout_of(example).unit})")
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=3)
axes[1].set_xlabel("test trials one after the other (s)")
plt.show()

# %% [markdown]
# *True and decoded velocity; dotted lines part the trials. Shaded: the reaches, which alone count
# in R².*

# %%
folder = ROOT / "runs/adapt"
folder.mkdir(parents=True, exist_ok=True)
files = {"scores": pd.concat([scores, transfer]), "curves": curves, "few": few}
for name, rows in files.items():
    rows.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")

# %% [markdown]
# ## What we found

# %%
alone = "single_session"
ahead = (levels[both] > levels[alone]).sum()
lines = [
    f"- **Unit identification** of POYO-mp is ahead of training from scratch in {ahead} of "
    f"{len(levels)} sessions; its mean over them is {levels[both].mean():.2f}, that from scratch "
    f"{levels[alone].mean():.2f}."
]
for column, part in levels.groupby("column", sort=False):
    best = part.drop(columns=alone).mean().idxmax()
    ahead = (part[best] > part[alone]).sum()
    name = best.replace("_", " ").replace("poyo mp", "POYO-mp,").replace("poyo 1", "POYO-1,")
    lines.append(
        f"- **{column}**: best is {name} with {part[best].mean():.2f}; from scratch has "
        f"{part[alone].mean():.2f}, and is behind in {ahead} of {len(part)} sessions."
    )
for (column, method), part in transfer.groupby(["column", "method"], sort=False):
    name, reference = method.split("_")[0], levels.loc[column, both].mean()
    lines.append(
        f"- **Across tasks, {column}**: a network that knows {name.upper()} alone has "
        f"{part.r2.mean():.2f}, one of center-out and random-target sessions {reference:.2f}."
    )
Markdown("\n".join(lines))

# %% [markdown]
# These are few sessions of one simulated species, and the best of four was picked by its test R²,
# which favours it: nothing follows from a difference here. The verdicts, over several species, are
# in [11_results](11_results.ipynb).
#
# Next: [06_baselines](06_baselines.ipynb) decodes the same trials by the methods that a laboratory
# would use otherwise.
