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
# 2. **Finetuning.** The same for some steps, then let everything learn ("gradual unfreezing").
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
pretrained = checkpoint.load(ROOT / "runs/pretrain" / str(seed) / "model.pt")
corpus = sources.load_corpus(ROOT / "runs/data")
columns = {column: title for column, title in sources.COLUMNS.items() if column in corpus}
latents = tokens.latents(params.size, params.windows)

# %% [markdown]
# ## 5.1 What learns
#
# In unit identification a session of $U$ units has $(U + 1) \cdot D$ numbers to find, a row for
# each unit and one for the session (each table also has a row 0 for "none", which no token uses).

# %%
example = corpus["T-CO"][0]
model = adapt.adopt(pretrained, [example], seed=seed).model
train.freeze(model, True)
learns = sum(p[1:].numel() for p in model.parameters() if p.requires_grad)
total = sum(p.numel() for p in model.parameters())
assert learns == (len(example.unit_ids) + 1) * model.unit_emb.embedding_dim
print(f"{example.session_id}: {len(example.unit_ids)} units")
print(f"{learns:,} of {total:,} parameters learn ({100 * learns / total:.1f} %)")

# %% [markdown]
# ## 5.2 Every held-out session, three ways
#
# Same windows, same splits, same labelled trials for all three. Validation trials are looked at
# along the way, test trials once, at the end.


# %%
def learn(recording, method):
    """Adapt to one session. Returns its test trials decoded, and the learning curve."""
    if method == "single_session":
        start = adapt.scratch([recording], params.size, seed=seed)
    else:
        start = adapt.adopt(pretrained, [recording], seed=seed)
    session = tokens.prepare(recording, start.units, start.sessions)
    model = start.model.to(train.device())
    label = f"{method}, {recording.session_id}, seed {seed}"
    training = getattr(params.adapt, method)
    history = train.train(
        model, [session], training, params.windows, size=params.size, seed=seed, label=label
    )
    domain = evaluate.fitting(session, "test", params.windows)
    return evaluate.decode(model, latents, session, domain, params.windows), history


# %%
decoded, scores, curves = {}, [], []
for column in columns:
    for recording in corpus[column]:
        for method in ("unit_identification", "finetune", "single_session"):
            row = {"column": column, "session_id": recording.session_id, "method": method}
            result, history = learn(recording, method)
            decoded[recording.session_id, method] = result
            scores.append(row | {"r2": round(result.r2, 4)})
            curves += [row | point for point in history]
scores, curves = pd.DataFrame(scores), pd.DataFrame(curves)
scores.pivot_table(index=["column", "session_id"], columns="method", values="r2")

# %% [markdown]
# *R² of the test trials.* The columns ask increasingly hard questions: the same animal on a
# new day, a new animal, a new animal in a less stereotyped task. The last two are known animals on
# a new rig.
#
# ## 5.3 How fast
#
# A frozen network has little to find out, so it gets there in few steps; from scratch the whole
# decoder must be discovered from two minutes of one session.

# %%
fig, axes = plt.subplots(1, len(columns), figsize=(6.8, 2.4), sharey=True)
for ax, (column, title) in zip(axes, columns.items()):
    for i, (method, part) in enumerate(curves[curves.column == column].groupby("method")):
        mean = part.groupby("step")["valid_r2"].mean()
        ax.plot(mean.index, mean, marker="o", ms=3, color=f"C{i}", label=method.replace("_", " "))
    ax.set(title=title.replace(", ", "\n"), xlabel="gradient step", ylim=(-0.1, 1))
axes[0].set_ylabel("validation R²")
axes[-1].legend(loc="lower right")
plt.show()

# %% [markdown]
# *Mean validation R² over the sessions of each column, against gradient steps.*
#
# ## 5.4 What it looks like
#
# The velocity in test trials of one session of the new animal, decoded after unit identification.

# %%
best = decoded[example.session_id, "unit_identification"]
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
scores.to_csv(folder / "scores.csv", index=False, lineterminator="\n")
curves.to_csv(folder / "curves.csv", index=False, lineterminator="\n")
