# %% [markdown]
# # 7. Scaling, and what adapting costs
#
# > **Question.** Do a larger model and more sessions decode better, and what does a new session
# > cost?\
# > **In the paper:** Figures 3 and 4.\
# > **Cost** on two CPU cores: less than a minute; it reads what other pages computed.
#
# The paper's Figures 3 and 4, from the small files in `figures/data`; nothing is trained here.
# Two questions. Does a larger model, or one that saw more sessions, decode better? And how many
# gradient steps and how many labelled trials does a new session cost?

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from poyo.study import paper, plotting, profile, results

plt.style.use("poyo.study.style")
params = profile.load()
scaling = pd.read_csv(plotting.FIGURES / "data/scaling.csv")
efficiency = pd.read_csv(plotting.FIGURES / "data/efficiency.csv")
species = params.evidence.claims + params.evidence.more
evidence = results.evidence(params.data.corpus, species)
n = evidence.unit.nunique()
units = f"{n} species" if params.data.corpus == "simulated" else f"{n} sessions"
print(f"replicates: {units}")

# %% [markdown]
# ## 7.1 Size and data (Figure 3)
#
# Models are compared on the test trials of sessions that all of those compared have been trained
# on, so a difference is one of the model, never one of the sessions. The sizes are models of all
# sessions of one source, on the one species of the other pages. The amounts of data come from the
# replicates, repetitions of the whole experiment on newly simulated species
# ([14_replicate](14_replicate.ipynb)): a model of one session, of a third of the sessions, and of
# all of them. The last two are trained for equally many steps.

# %%
by = ["model", "task", "session_id"]
values = {name: (name, "mean") for name in ("r2", "parameters")}
means = scaling.groupby(by, as_index=False, sort=False).agg(**values)  # over seeds
means["task"] = means.task.map(paper.TASKS)
sizes = results.by_size(scaling)
print(f"small to large: {', '.join(sizes)}")
known = evidence[evidence.role == "pretraining"]
amounts = [m for m in ("single_session", results.THIRD, results.ALL) if m in set(known.method)]
shared = known[known.method.isin(amounts)].pivot_table(
    index=["unit", "session"], columns="method", values="r2"
)[amounts]
shared = shared.dropna().groupby("unit").mean()  # sessions that all amounts have in common
shared.rename_axis(units.split()[-1]).round(3)

# %% [markdown]
# *Test R² by the amount of data, a row per species.*

# %%
colors = {"CO": "C0", "RT": "C2"}
fig, axes = plt.subplots(2, 2, figsize=(6.4, 4.8), sharey="row")


def points(ax, x, found, color):
    """Means at x with the intervals of what differs between the models."""
    mean, low, high = np.array([estimate[:3] for estimate in found.values()]).T
    spread = np.nan_to_num([mean - low, high - mean])
    ax.errorbar(x, mean, yerr=spread, fmt="o-", ms=4, capsize=2, color=color)


for task, color in colors.items():
    part = means[means.model.isin(sizes) & (means.task == task)]
    if len(part):
        found = results.within(part)
        at = part.groupby("model").parameters.mean()
        order = [size for size in sizes if size in found]
        points(axes[0, 0], at[order], {size: found[size] for size in order}, color)
parameters = means[means.model.isin(sizes)].groupby("model").parameters.mean().sort_values()
axes[0, 0].set_xscale("log")
axes[0, 0].set_xticks(parameters, [f"{value / 1e3:.0f} k" for value in parameters])
axes[0, 0].minorticks_off()
long = shared.rename_axis("session_id").stack().rename("r2").reset_index()
axes[0, 1].plot(shared.to_numpy().T, color="0.8", lw=0.8, zorder=0)  # a line per unit
points(axes[0, 1], range(len(amounts)), results.within(long, "method"), "0.2")
short = {"single_session": "one session", results.THIRD: "a third", results.ALL: "all"}
axes[0, 1].set_xticks(range(len(amounts)), [short[name] for name in amounts])
axes[0, 0].set(title="ours: size", xlabel="shared parameters", ylabel="test R²")
axes[0, 1].set(title=f"ours: data, {units}", xlabel="pretrained on")
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
# *Above: our models. Dots are means. Bars are 95 % intervals of the differences between models,
# not of the level: what a session (left) or a species (right, a grey line each) has in common over
# all models has been subtracted. Below: the paper's values, read off its figure; lower right,
# random target only. The two rows come from different recordings, so their heights cannot be
# compared.*
#
# Mind the budget: all multi-session models are trained for the same number of steps, so a model of
# a third of the sessions sees each of them three times as often, and a larger one is further from
# the end of its training. The paper trains each for 1,000 epochs of its own data, so there more
# data also means more steps.
#
# ## 7.2 What a new session costs (Figure 4)
#
# Held-out sessions. Left: validation R² against gradient steps; finetuning goes on where unit
# identification ends. Right: test R² against the number of labelled trials to learn from.

# %%
STEPS = ["single_session", "poyo_mp_unit_identification", "poyo_mp_finetune"]
TRIALS = ["wiener", "mlp", "from_scratch", "unit_identification", "finetune"]
steps = efficiency[efficiency.cost == "steps"]
fig, axes = plt.subplots(1, 2, figsize=(6.8, 3.0), sharey=True)


def curve(ax, table, color, start=0):
    """Columns of R² against the index, their mean, and its interval over columns."""
    ax.plot(table.index + start, table, color=color, lw=0.5, alpha=0.4)
    table = table.dropna()  # a mean over the same ones everywhere
    found = np.array([results.estimate(row)[:3] for row in table.to_numpy()])
    ax.plot(table.index + start, found[:, 0], "o-", ms=3, color=color)
    ax.fill_between(table.index + start, *found[:, 1:].T, color=color, alpha=0.2, lw=0)


frozen = steps[steps.method == "poyo_mp_unit_identification"]["x"].max()
for method in STEPS:
    table = steps[steps.method == method].pivot_table(index="x", columns="session_id", values="r2")
    color = results.METHODS[results.HELD_OUT[method]][1]
    curve(axes[0], table, color, frozen if method == "poyo_mp_finetune" else 0)
end = axes[0].get_xlim()[1]
for r2 in paper.UNIT_IDENTIFICATION.values():
    axes[0].plot(list(r2), list(r2.values()), "--", color="k", lw=1)
met = evidence[evidence.role != "pretraining"]
trials = [*dict.fromkeys(n for n in met.trials if n != "all"), "all"]
for i, method in enumerate(TRIALS):
    table = met[met.method == method].pivot_table(index="trials", columns="unit", values="r2")
    table = table.reindex(trials)  # on recordings some methods are met with all trials only
    found = np.array([results.estimate(table.loc[n])[:3] for n in trials])
    x, spread = np.arange(len(trials)) + 0.04 * (i - 2), np.abs(found[:, 1:].T - found[:, 0])
    label, color = results.METHODS[method]
    look = {"fmt": "o-", "ms": 3, "capsize": 2, "color": color, "label": label}
    axes[1].errorbar(x, found[:, 0], yerr=np.nan_to_num(spread), **look)
axes[0].set(xlabel="gradient step", ylabel="R²", xlim=(0, end), ylim=(-0.1, 1))
axes[0].set_title(f"validation, {steps.session_id.nunique()} held-out sessions")
axes[1].set_title(f"test, {units}")
axes[1].set_xticks(range(len(trials)), trials)
axes[1].set(xlabel="labelled trials to learn from", ylabel="R²")
axes[1].tick_params(labelleft=True)
axes[1].plot([], "--", color="k", lw=1, label="unit identification, the paper's two (test)")
fig.legend(loc="outside lower center", ncols=3)
plotting.save(fig, "efficiency")
plt.show()

# %% [markdown]
# *Left, thin: every session of the one species of the other pages (seeds averaged); thick: their
# mean, shaded: its 95 % interval; dashed: what the authors' web page shows of two held-out
# sessions to which POYO-1 was adapted; values below the axis are cut off. Right: mean over the
# replicates, the held-out sessions of each averaged, and its 95 % interval; methods stand side by
# side so that they can be told apart.*

# %%
rows = []
for n in trials:
    some = met[met.trials == n].rename(columns={"session": "session_id"})
    pairs = [("unit_identification", worse) for worse in ("from_scratch", "mlp", "wiener")]
    for better, worse in [*pairs, ("finetune", "from_scratch")]:
        by_unit = some.groupby("unit")
        gain = by_unit.apply(
            lambda one, pair=(better, worse): results.gain(one, *pair).mean(),
            include_groups=False,
        )
        names = [results.METHODS[method][0] for method in (better, worse)]
        rows.append(
            {"labelled trials": n, "what minus what": " minus ".join(names),
             "ahead": f"{(gain > 0).sum()} of {gain.count()}",
             "difference of test R²": str(results.estimate(gain))}
        )  # fmt: skip
pd.DataFrame(rows).set_index("labelled trials")

# %% [markdown]
# *Paired differences of test R², with their 95 % interval over the replicates. What may
# be claimed of them stands in [11_results](11_results.ipynb).*
#
# ## What we found

# %%
lines, level = [], means[means.model.isin(sizes)].groupby("model").r2.mean()
if len(sizes) > 1:
    small, large = sizes[0], sizes[-1]
    times = parameters.max() / parameters.min()
    lines.append(
        f"- **Size.** With {times:.0f} times the shared parameters test R² goes from "
        f"{level[small]:.2f} to {level[large]:.2f} on the sessions of one species, with "
        f"{scaling.seed.nunique()} seed(s) and equally many steps."
    )
if len(amounts) > 1:
    more = results.estimate(shared[amounts[-1]] - shared[amounts[0]])
    names = [name.replace("_", " ") for name in amounts]
    lines.append(f"- **Data.** {names[-1]} minus {names[0]}: {more}, over {units}.")
if results.THIRD in amounts and results.ALL in amounts:
    more = results.estimate(shared[results.ALL] - shared[results.THIRD])
    lines.append(f"- The same for all sessions minus a third of them: {more}.")
margin = results.reached(steps)
lines.append(
    f"- **Steps.** In {(margin >= 0).sum()} of {margin.count()} held-out sessions the {frozen} "
    "steps of unit identification reach 90 % of what finetuning has in the end, on validation."
)
Markdown("\n".join(lines))

# %% [markdown]
# With few labelled trials unit identification is far ahead of training from scratch, with all of
# them a little. But from scratch is a weak opponent with few trials: the table above has the MLP
# and the Wiener filter of the same trials beside it. The two differences under **Data** are on
# sessions that the models were trained on; what more sessions bring for new ones is among the
# claims of [11_results](11_results.ipynb).
#
# In the paper's Figure 3, too, larger models and more data decode better. What stays open is
# whether the effect of size holds on other species and with other numbers of steps.
#
# To add a size, add an entry to `models` in `params.yaml` and its name to `runs`; `dvc repro` then
# trains that model alone. Another seed in `evidence.claims` runs one more replicate.
#
# Next: [08_embeddings](08_embeddings.ipynb) shows what was learned about neurons and sessions.
