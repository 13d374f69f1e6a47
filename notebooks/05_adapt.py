# %% [markdown]
# # 5. New days, new animals
#
# The network of [04_pretrain](04_pretrain.ipynb) meets sessions it has never seen: a new day of a
# known animal, and an animal that was not in the training set at all, in two tasks. Their neurons
# have no rows in the unit embedding. There are three ways on:
#
# 1. **Unit identification.** Freeze the network; draw rows for the new units and the new session
#    and learn only those, from the session's labelled trials. The network keeps what it knows
#    about movement; each row finds out *which kind of neuron* its unit is.
# 2. **Finetuning.** After that, let everything learn ("gradual unfreezing").
# 3. **From scratch.** The same architecture, without a past: the single-session model.

# %% tags=["parameters"]
seed = 0

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from poyo import ROOT, adapt, checkpoint, config, evaluate, sources, threads, tokens, train

plt.style.use("poyo.style")
params = config.load()
threads.use(params.threads)
scopes = ["poyo_mp", "poyo_1"]  # one source of data, all sources
pretrained = {
    name: checkpoint.load(ROOT / "runs/pretrain" / f"{name}-{seed}" / "model.pt")
    for name in [*scopes, *params.adapt.transfer]
}
corpus = sources.load_corpus(ROOT / "runs/data")
columns = {column: corpus[column] for column in sources.COLUMNS if column in corpus}

# %% [markdown]
# ## 5.1 What learns
#
# In unit identification a session of $U$ units has $(U + 1) \cdot D$ numbers to find, a row for
# each unit and one for the session (each table also has a row 0 for "none", which no token uses).

# %%
example = corpus["T-CO"][0]
model = adapt.adopt(pretrained["poyo_mp"], [example], seed=seed).model
train.freeze(model, True)
learns = sum(p[1:].numel() for p in model.parameters() if p.requires_grad)
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
def learn(start, recording, method, name=""):
    """Adapt a model to one session, in place. Returns its test trials decoded, and its curve."""
    session = tokens.prepare(recording, start.units, start.sessions)
    network = start.model.to(train.device())
    history = train.train(
        network,
        [session],
        getattr(params.adapt, method),
        params.windows,
        size=start.size,
        seed=seed,
        label=f"{name} {method}, {recording.session_id}, seed {seed}",
    )
    latents = tokens.latents(start.size, params.windows)
    domain = evaluate.fitting(session, "test", params.windows)
    return evaluate.decode(network, latents, session, domain, params.windows), history


# %%
decoded, scores, curves = {}, [], []
for column, recordings in columns.items():
    for recording in recordings:
        start = adapt.scratch([recording], params.size, seed=seed)
        runs = {"single_session": learn(start, recording, "single_session")}
        for name in scopes:
            start = adapt.adopt(pretrained[name], [recording], seed=seed)
            for method in ("unit_identification", "finetune"):  # one goes on where the other ended
                runs[f"{name}_{method}"] = learn(start, recording, method, name)
        for method, (result, history) in runs.items():
            row = {"column": column, "session_id": recording.session_id, "method": method}
            decoded[recording.session_id, method] = result
            scores.append(row | {"r2": round(result.r2, 4)})
            curves += [row | point for point in history]
scores, curves = pd.DataFrame(scores), pd.DataFrame(curves)
scores.pivot_table(index=["column", "session_id"], columns="method", values="r2", sort=False)

# %% [markdown]
# *R² of the test trials.* The first three columns of the paper's Table 2 ask increasingly hard
# questions: the same animal on a new day, a new animal, a new animal in a less stereotyped task.
# The last two change the rig: more units, behaviour at 1 kHz, and a task (a maze) or a way of
# recording that only `poyo_1` has met.
#
# ## 5.3 How fast
#
# A frozen network has little to find out, so it gets there in few steps; from scratch the whole
# decoder must be discovered from minutes of one session.

# %%
fig, axes = plt.subplots(1, len(columns), figsize=(1.9 * len(columns), 2.4), sharey=True)
for ax, column in zip(axes, columns):
    for i, method in enumerate(["single_session", "poyo_mp_unit_identification"]):
        part = curves[(curves.column == column) & (curves.method == method)]
        mean = part.groupby("step")["valid_r2"].mean()
        ax.plot(mean.index, mean, marker="o", ms=3, color=f"C{i}", label=method.replace("_", " "))
    ax.set(title=column, xlabel="gradient step", ylim=(-0.1, 1))
axes[0].set_ylabel("validation R²")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# *Mean validation R² over the sessions of each column, against gradient steps.*
#
# ## 5.4 Few labels
#
# Labelled trials cost an animal's patience. Here only some trials of a session are there to learn
# from, a few to all; validation and test trials stay. A larger number holds the trials of a
# smaller one. (First seed only: it is the sessions that differ.)

# %%
few = []
for column in params.adapt.few if seed == params.seeds[0] else []:
    for recording in columns[column]:
        for trials in params.adapt.trials:
            try:
                short = adapt.few_trials(recording, trials, params.windows.length, seed)
            except ValueError as error:  # the session is shorter
                print(error)
                continue
            fresh = adapt.adopt(pretrained["poyo_mp"], [short], seed=seed)
            scratch = adapt.scratch([short], params.size, seed=seed)
            for start, method in ((fresh, "unit_identification"), (scratch, "single_session")):
                result, _ = learn(start, short, method, f"{trials} trials")
                name = method if method == "single_session" else f"poyo_mp_{method}"
                few.append(
                    {"column": column, "session_id": short.session_id, "method": name,
                     "trials": trials, "r2": round(result.r2, 4)}
                )  # fmt: skip
few = pd.DataFrame(few, columns=["column", "session_id", "method", "trials", "r2"]).astype(
    {"r2": float}
)
few.pivot_table(index=["column", "method"], columns="trials", values="r2", sort=False).round(3)

# %% [markdown]
# *Test R² by number of labelled trials, mean over the sessions of a column.*
#
# ## 5.5 Across tasks, and from fewer sessions
#
# What does a model that has seen one task know about another? Networks pretrained on center-out
# (`co`) or random-target sessions (`rt`) only identify the units of sessions of other tasks. And
# one that has seen a third of the sessions, as long (`third`), meets all of them.

# %%
transfer = []
for name, asked in params.adapt.transfer.items():
    for column in asked:
        for recording in columns.get(column, []):
            start = adapt.adopt(pretrained[name], [recording], seed=seed)
            result, _ = learn(start, recording, "unit_identification", name)
            transfer.append(
                {"column": column, "session_id": recording.session_id,
                 "method": f"{name}_unit_identification", "r2": round(result.r2, 4)}
            )  # fmt: skip
transfer = pd.DataFrame(transfer)
transfer.pivot_table(index="column", columns="method", values="r2", sort=False).round(3)

# %% [markdown]
# *Test R² after unit identification of these networks, mean over sessions.*
#
# ## 5.6 What it looks like
#
# The velocity in test trials of one session of the new animal, decoded after unit identification.

# %%
best = decoded[example.session_id, "poyo_mp_unit_identification"]
rows = np.arange(min(600, len(best.times)))
gaps = np.flatnonzero(np.diff(best.times[rows]) > 0.1) + 1
fig, axes = plt.subplots(2, 1, figsize=(6.8, 2.8), sharex=True, sharey=True)
seconds = np.arange(len(rows)) * np.median(np.diff(best.times))
for i, (ax, name) in enumerate(zip(axes, "xy")):
    ax.plot(seconds, best.target[rows, i], color="0.6", lw=2, label="hand")
    ax.plot(seconds, best.prediction[rows, i], color="C0", label="decoded")
    for gap in gaps:
        ax.axvline(seconds[gap], color="0.85", lw=0.8)
    ax.set_ylabel(f"{name} ({sources.readout_of(example).unit})")
axes[0].legend(loc="upper right", ncols=2)
axes[1].set_xlabel("test trials one after the other (s)")
plt.show()

# %% [markdown]
# *True and decoded velocity; vertical lines part the trials.*

# %%
folder = ROOT / "runs/adapt" / str(seed)
folder.mkdir(parents=True, exist_ok=True)
scores = pd.concat([scores, transfer])
for name, table in {"scores": scores, "curves": curves, "few": few}.items():
    table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
