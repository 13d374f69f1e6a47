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

from poyo.study import paper, plotting, profile, results

plt.style.use("poyo.study.style")
params = profile.load()
scaling = pd.read_csv(plotting.FIGURES / "data/scaling.csv")
efficiency = pd.read_csv(plotting.FIGURES / "data/efficiency.csv")

# %% [markdown]
# ## 7.1 Size and data (Figure 3)
#
# Models are compared on the test trials of the sessions that all of those compared have been
# trained on: all of one source for the sizes, a third of them for the amounts of data (the
# single-session control has a model for each of these). So a difference is one of the model, never
# one of the sessions. Which model is larger, or saw more, is read from its number of parameters
# and its sessions, not from its name.

# %%
by = ["model", "task", "session_id"]
values = {name: (name, "mean") for name in ("r2", "parameters", "spikes")}
means = scaling.groupby(by, as_index=False, sort=False).agg(**values)  # over seeds
means["task"] = means.task.map(paper.TASKS)
by_size, by_data = results.by_size(scaling), results.by_data(scaling)
print(f"small to large: {', '.join(by_size)}; little to much data: {', '.join(by_data)}")
seen = means[means.model.isin(by_data)].groupby("session_id").model.nunique()
shared = means[means.session_id.isin(seen[seen == len(by_data)].index)]
shared.groupby(["model", "task"], sort=False)[["parameters", "spikes", "r2"]].mean().round(3)

# %% [markdown]
# *On the sessions that all amounts of data have in common: shared parameters, spikes in the
# training split, mean test R² (seeds averaged first).*


# %%
def points(ax, models, x, color, task):
    """Models against x on one task, with the intervals of what differs between them."""
    part = means[means.model.isin(models) & (means.task == task)]
    at = shared[shared.model.isin(models) & (shared.task == task)].groupby("model")[x].mean()
    found = np.array(sorted((at[model], *e[:3]) for model, e in results.within(part).items()))
    spread = np.abs(found[:, 2:].T - found[:, 1])
    ax.errorbar(found[:, 0], found[:, 1], yerr=spread, fmt="o-", ms=4, capsize=2, color=color)
    ax.set_xscale("log")
    ax.set_xticks(found[:, 0], [f"{value / 1e3:.0f} k" for value in found[:, 0]])
    ax.minorticks_off()


colors = {"CO": "C0", "RT": "C2"}
fig, axes = plt.subplots(2, 2, figsize=(6.4, 4.8), sharey="row")
for task, color in colors.items():
    points(axes[0, 0], by_size, "parameters", color, task)
    points(axes[0, 1], by_data, "spikes", color, task)
axes[0, 0].set(title="ours: size", xlabel="shared parameters", ylabel="test R²")
axes[0, 1].set(title="ours: one session, a third, all", xlabel="training spikes")
names = ["task", "sessions", "parameters", "tokens", "r2"]
theirs = pd.DataFrame(paper.SCALING, columns=names).astype({"tokens": float})
for task, color in colors.items():
    part = theirs[theirs.task == task]
    multi, single = part[part.sessions == "all"], part[part.sessions == "one"]
    axes[1, 0].plot(multi.parameters, multi.r2, "o-", ms=4, color=color)
    axes[1, 0].plot(single.parameters, single.r2, "o", ms=5, mfc="none", color=color)
small = theirs[theirs.tokens.notna() & (theirs.parameters == theirs.parameters.min())]
axes[1, 1].plot(small.tokens, small.r2, "o-", ms=4, color=colors["RT"])
for ax, ticks in zip(axes[1], ([3.8e6, 7.4e6, 13e6], [1.2e6, 26e6, 134e6])):
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick / 1e6:g} M" for tick in ticks])
    ax.minorticks_off()
axes[1, 0].set(title="the paper: size", xlabel="parameters", ylabel="test R²")
axes[1, 1].set(title="the paper: one session, all RT, all", xlabel="training tokens")
handles = [plt.Line2D([], [], marker="o", color=c, label=task) for task, c in colors.items()]
handles += [plt.Line2D([], [], marker="o", mfc="none", ls="", color="0.3", label="single-session")]
axes[1, 0].legend(handles=handles, loc="center right", bbox_to_anchor=(1, 0.58))
plotting.save(fig, "scaling")
plt.show()

# %% [markdown]
# *Above: ours, mean over sessions; bars: 95 % interval of what differs between models,
# each session's own level taken out. Below: what the paper shows, read off its figure. The two
# rows are of different data and are not comparable in height.*
#
# Mind the budget: all multi-session models are trained for the same number of steps, so a model of
# a third of the sessions sees each of them three times as often, and a deeper one is further from
# the end of its training. The paper trains each until nothing more happens.
#
# A law: the unexplained share of the variance, $1 - R^2$, as a power of the size or of the
# training spikes, fitted within each session; the power is averaged over sessions.

# %%
laws = {
    (x, task): results.powers(means[means.model.isin(models) & (means.task == task)], x)
    for x, models in (("parameters", by_size), ("spikes", by_data))
    for task in colors
}
found = results.judge({law: results.greater(values) for law, values in laws.items()})
pd.DataFrame(
    [
        {"1 - R² falls with": x, "task": task, "sessions": len(values),
         "by the power": str(results.estimate(values)), "more is better": found.verdict[x, task]}
        for (x, task), values in laws.items()
    ]
)  # fmt: skip

# %% [markdown]
# *Powers with their 95 % interval over sessions; positive: more is better. The verdicts are
# corrected for there being four (Holm).*
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
steps, trials = (efficiency[efficiency.cost == cost] for cost in ("steps", "trials"))
fig, axes = plt.subplots(1, 2, figsize=(6.8, 3.0), sharey=True)


def curve(ax, part, color, start=0):
    """Each session (seeds averaged) against x, their mean, and its interval over sessions."""
    sessions = part.pivot_table(index="x", columns="session_id", values="r2")
    ax.plot(sessions.index + start, sessions, color=color, lw=0.5, alpha=0.5)
    sessions = sessions.dropna()  # a mean over the same sessions everywhere
    found = np.array([results.estimate(row)[:3] for row in sessions.to_numpy()])
    ax.plot(sessions.index + start, found[:, 0], "o-", ms=3, color=color)
    ax.fill_between(sessions.index + start, *found[:, 1:].T, color=color, alpha=0.2, lw=0)


frozen = steps[steps.method == "poyo_mp_unit_identification"]["x"].max()
for method, (_, color) in NAMES.items():
    start = frozen if method == "poyo_mp_finetune" else 0
    curve(axes[0], steps[steps.method == method], color, start)
    part = trials[(trials.method == method) & (trials.x > 0)]
    if len(part):
        curve(axes[1], part, color)
axes[0].set(xlabel="gradient step", ylabel="R²", ylim=(-0.1, 1))
axes[0].set_title(f"validation, {steps.session_id.nunique()} held-out sessions")
axes[1].set_title(f"test, {trials.session_id.nunique()} sessions of a new animal")
axes[1].set_xscale("log")
axes[1].set_xticks(params.adapt.trials, params.adapt.trials)
axes[1].set_xlabel("labelled trials to learn from")
axes[1].minorticks_off()
handles = [plt.Line2D([], [], color=color, label=name) for name, color in NAMES.values()]
axes[0].legend(handles=handles, loc="lower right")
plotting.save(fig, "efficiency")
plt.show()

# %% [markdown]
# *Thin: every session (seeds averaged); thick: their mean, shaded: its 95 % interval. Right: mean
# where all sessions have that many trials.*
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
pair = ("poyo_mp_unit_identification", "single_session")
gains = {n: results.gain(some, *pair) for n, some in trials[trials.x > 0].groupby("x")}
found = results.judge({n: results.greater(gain) for n, gain in gains.items()})
pd.DataFrame(
    [
        {"labelled trials": n, "sessions": len(gain), "of them ahead": (gain > 0).sum(),
         "unit identification minus scratch": str(results.estimate(gain)),
         "verdict": found.verdict[n]}
        for n, gain in gains.items()
    ]
)  # fmt: skip

# %% [markdown]
# *Paired differences of test R², 95 % interval over sessions; ahead: sessions in which unit
# identification is better. The verdicts are corrected for the number of rows (Holm).* Four
# sessions of two tasks are few: where the gain is large in one task and small in the other, the
# interval of their mean holds zero even if all of them gain.
