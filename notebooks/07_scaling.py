# %% [markdown]
# # 7. Scaling, and what adapting costs
#
# The paper's Figures 3 and 4, from the small files in `figures/data`; nothing is trained here.
# Two questions. Does a larger model, or one that saw more sessions, decode better? And how many
# gradient steps and how many labelled trials does a new session cost?
#
# A point of the figures is a row of `models` in `params.yaml` whose name stands in `runs`: add
# one, and `dvc repro` trains that point alone. Several at a time:
#
#     dvc stage list --name-only pretrain | xargs -P 2 -I{} dvc --wait-for-lock repro -q -s {}

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from poyo import config, paper, plotting, results, sources

plt.style.use("poyo.style")
params = config.load()
corpus = {"simulated": "simulated cortex"}.get(params.data.corpus, params.data.corpus)
scaling = pd.read_csv(plotting.FIGURES / "data/scaling.csv")
efficiency = pd.read_csv(plotting.FIGURES / "data/efficiency.csv")

# %% [markdown]
# ## 7.1 Size and data (Figure 3)
#
# Every model is scored on the test trials of the sessions that *all* of them have been trained on
# (the single-session control has a model for each of these). So a difference is one of the model,
# never one of the sessions.

# %%
common = set.intersection(*(
    set(scaling[scaling.model == model].session_id) for model in ("single", "third", "poyo_mp")
))  # fmt: skip
shared = scaling[scaling.session_id.isin(common)]
means = shared.groupby(["model", "task", "session_id"], as_index=False, sort=False).agg(
    r2=("r2", "mean"), parameters=("parameters", "mean"), spikes=("spikes", "mean")
)
means.groupby(["model", "task"], sort=False).agg(
    parameters=("parameters", "mean"), spikes=("spikes", "mean"), r2=("r2", "mean")
).round({"parameters": 0, "spikes": 0, "r2": 3}).astype({"parameters": int, "spikes": int})

# %% [markdown]
# *Mean test R² over these sessions (each first averaged over seeds), shared parameters, and spikes
# in the training split.*


# %%
def points(ax, models, x, task, color):
    """Mean R² of models over the sessions of a task, with its 95 % interval over sessions."""
    found = []
    for model in models:
        part = means[(means.model == model) & (means.task == task)]
        if len(part):
            found.append((part[x].mean(), *results.estimate(part.r2)[:3]))
    found = np.array(sorted(found)).reshape(-1, 4)
    spread = np.abs(found[:, 2:].T - found[:, 1])
    ax.errorbar(found[:, 0], found[:, 1], yerr=spread, fmt="o-", ms=4, capsize=2, color=color)


by_size, by_data = ["shallow", "poyo_mp", "deep"], ["single", "third", "poyo_mp"]
fig, axes = plt.subplots(2, 3, figsize=(7.2, 4.4), sharey="row")
for ax, task in zip(axes[0], ("CO", "RT")):
    points(ax, by_size, "parameters", task, "C0")
    points(ax, ["single"], "parameters", task, "C1")
    ax.set(title=f"{task}, ours", xscale="log", xlabel="shared parameters")
axes[0, 0].set_ylabel("test R²")
for color, task in (("C0", "CO"), ("C2", "RT")):
    points(axes[0, 2], by_data, "spikes", task, color)
axes[0, 2].set(title="data, ours", xscale="log", xlabel="training spikes")
theirs = pd.DataFrame(
    paper.SCALING, columns=["task", "model", "parameters", "tokens", "r2"]
).astype({"tokens": float})
for ax, task in zip(axes[1], ("CO", "RT")):
    multi = theirs[(theirs.task == task) & theirs.model.isin(["shallow", "middle", "deep"])]
    single = theirs[(theirs.task == task) & (theirs.model == "single")]
    ax.plot(multi.parameters, multi.r2, "o-", ms=4, color="C0", label="multi-session")
    ax.plot(single.parameters, single.r2, "o", ms=4, color="C1", label="single-session")
    ax.set(title=f"{task}, the paper", xscale="log", xlabel="parameters")
    ax.set(ylim=(0.82, 0.97))
axes[1, 0].set_ylabel("test R²")
axes[1, 0].legend(loc="lower right")
tokens = theirs[(theirs.task == "RT") & theirs.model.isin(["single", "rt", "shallow"])]
axes[1, 2].plot(tokens.tokens, tokens.r2, "o-", ms=4, color="C2", label="RT")
axes[1, 2].plot([], [], "o-", ms=4, color="C0", label="CO (ours only)")
axes[1, 2].set(title="data, the paper", xscale="log", xlabel="training tokens")
axes[1, 2].legend(loc="lower right")
plotting.save(fig, "scaling")
plt.show()

# %% [markdown]
# *Above: ours (bars: 95 % interval over sessions); below: what the paper shows, read off its
# figure. Blue: multi-session models of three depths; orange: the single-session control. Right:
# one session, a third of them, all. The two rows are of different data and are not comparable in
# height.*
#
# A law: the unexplained share of the variance, $1 - R^2$, as a power of the size or of the
# training spikes, fitted within each session; its exponent is averaged over sessions.


# %%
def exponent(models, x, task):
    """Power of 1 - R² in x: slope in the logarithms, per session; mean and interval."""
    part = means[means.model.isin(models) & (means.task == task) & (means.r2 < 1)]
    slopes = [
        np.polyfit(np.log(one[x]), np.log(1 - one.r2), 1)[0]
        for _, one in part.groupby("session_id")
        if one[x].nunique() > 1
    ]
    return results.estimate(slopes)


rows = []
for name, models, x in (("parameters", by_size, "parameters"), ("spikes", by_data, "spikes")):
    for task in ("CO", "RT"):
        law = exponent(models, x, task)
        rows.append(
            {"1 - R² falls with": name, "task": task, "sessions": law.n,
             "exponent": f"{law.mean:+.3f} [{law.low:+.3f}, {law.high:+.3f}]",
             "more is better": "yes" if law.high < 0 else "no" if law.low > 0 else "open"}
        )  # fmt: skip
pd.DataFrame(rows)

# %% [markdown]
# *Exponents with their 95 % interval over sessions; negative: more is better.*
#
# ## 7.2 What a new session costs (Figure 4)
#
# Held-out sessions. Left: validation R² against gradient steps; finetuning goes on where unit
# identification ends. Right: test R² against the number of labelled trials to learn from.

# %%
NAMES = {
    "single_session": ("from scratch", "C1"),
    "poyo_mp_unit_identification": ("unit identification", "C2"),
    "poyo_mp_finetune": ("finetuning", "C0"),
}
columns = [c for c in sources.COLUMNS if c in set(efficiency.column)]
few = [c for c in columns if ((efficiency.column == c) & (efficiency.cost == "trials")).any()]
fig, axes = plt.subplots(2, max(3, len(columns[:3])), figsize=(7.2, 4.6), sharey=True)
fig.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
for ax in axes.flat:
    ax.set(ylim=(-0.1, 1))


def curve(ax, part, color, start=0):
    """Mean over sessions (seeds averaged first) against x, with its interval."""
    sessions = part.pivot_table(index="x", columns="session_id", values="r2")
    found = np.array([results.estimate(row)[:3] for row in sessions.to_numpy()])
    ax.plot(sessions.index + start, found[:, 0], "o-", ms=3, color=color)
    ax.fill_between(sessions.index + start, *found[:, 1:].T, color=color, alpha=0.2, lw=0)


for ax, column in zip(axes[0], columns):
    part = efficiency[(efficiency.column == column) & (efficiency.cost == "steps")]
    ends = part.groupby("method")["x"].max()
    for method, (_, color) in NAMES.items():
        start = ends["poyo_mp_unit_identification"] if method == "poyo_mp_finetune" else 0
        curve(ax, part[part.method == method], color, start)
    ax.set(title=sources.COLUMNS[column].replace(", ", "\n", 1), xlabel="gradient step")
for ax, column in zip(axes[1], few):
    part = efficiency[(efficiency.column == column) & (efficiency.cost == "trials")]
    for method in part.method.unique():
        color = NAMES[method][1]
        curve(ax, part[(part.method == method) & (part.x > 0)], color)
        full = results.estimate(
            part[(part.method == method) & (part.x == 0)].groupby("session_id")["r2"].mean()
        ).mean
        ax.axhline(full, color=color, lw=0.8, ls=":")
    ax.set(title=sources.COLUMNS[column].replace(", ", "\n", 1), xlabel="labelled trials")
    ax.set(xscale="log", xticks=params.adapt.trials, xticklabels=params.adapt.trials)
    ax.minorticks_off()
for ax in axes[1, len(few) :]:
    ax.axis("off")
axes[0, 0].set_ylabel("validation R²")
axes[1, 0].set_ylabel("test R²")
handles = [plt.Line2D([], [], color=color, label=name) for name, color in NAMES.values()]
fig.legend(handles=handles, loc="lower center", ncols=3)
plotting.save(fig, "efficiency")
plt.show()

# %% [markdown]
# *Lines: mean over sessions (seeds averaged first), shaded: 95 % interval over sessions; dotted:
# with all training trials.*
#
# The paper's own curves, from the interactive figure on the authors' page: unit identification of
# two sessions by POYO-1.

# %%
fig, ax = plt.subplots(figsize=(3.6, 2.2))
for session, r2 in paper.UNIT_IDENTIFICATION.items():
    ax.plot(list(r2), list(r2.values()), "o-", ms=3, label=session)
ax.set(xlabel="gradient step", ylabel="test R²", ylim=(-0.1, 1))
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# *As the paper reports; not ours.*

# %%
rows = []
for column in few:
    part = efficiency[(efficiency.column == column) & (efficiency.cost == "trials")]
    for trials, some in part[part.x > 0].groupby("x"):
        g = results.gain(some, "poyo_mp_unit_identification", "single_session")
        rows.append(
            {"column": column, "labelled trials": trials, "sessions": g.n,
             "unit identification minus scratch": f"{g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}]"}
        )  # fmt: skip
pd.DataFrame(rows)

# %% [markdown]
# *Paired differences of test R², 95 % interval over sessions.*
