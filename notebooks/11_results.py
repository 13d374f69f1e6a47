# %% [markdown]
# # 11. Results
#
# Every table and every claim, from the small files in `figures/data` that `dvc repro` collected.
# Nothing is trained here. Which corpus the numbers come from stands under each of them: **on the
# simulated default they are not the paper's results and cannot be compared with them in height**,
# only in order.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from poyo import config, paper, plotting, results, sources

plt.style.use("poyo.style")
params = config.load()
corpus = {"simulated": "simulated cortex"}.get(params.data.corpus, params.data.corpus)
names = ("scores", "table2", "scaling", "efficiency", "ablations", "embeddings", "search")
data = {name: pd.read_csv(plotting.FIGURES / f"data/{name}.csv") for name in names}
scores, table2 = data["scores"], data["table2"]
where = f"{corpus}, profile `{params.profile}`, {len(params.seeds)} seed(s)"

# %% [markdown]
# ## 11.1 Table 2: decoding held-out sessions
#
# R² of the velocity on test trials, mean ± standard deviation over the sessions of a column (each
# session first averaged over seeds). In brackets what the paper reports for the same row and the
# column of the same role, on its recordings.

# %%
columns = [column for column in sources.COLUMNS if column in set(table2.column)]
rows = []
for method, name in paper.METHODS.items():
    row = {"method": name}
    for column in columns:
        cell = table2[(table2.method == method) & (table2.column == column)]
        n = table2[table2.column == column].sessions.max()
        text = "".join(f"{c.r2:.3f} ± {c.r2_std:.3f}" for c in cell.itertuples())
        reported = paper.TABLE_2.get(method, {}).get(column)
        row[f"{column} ({n})"] = text + (f" [{reported[0]:.3f}]" if reported else "")
    rows.append(row)
caption = (
    f"*R² on {where}; in brackets the paper's numbers on its own recordings. "
    + "; ".join(f"{column}: {sources.COLUMNS[column]}" for column in columns)
    + ".*"
)
Markdown(plotting.markdown(rows, "table2", caption))

# %%
fig, axes = plt.subplots(1, len(columns), figsize=(7.4, 3.0), sharey=True)
shown = [m for m in paper.METHODS if m in set(table2.method)]
palette = {m: "C0" if "finetune" in m else "C2" if "unit" in m else "0.75" for m in shown}
palette["single_session"] = "C1"
for ax, column in zip(axes, columns):
    for y, method in enumerate(shown[::-1]):
        part = scores[(scores.column == column) & (scores.method == method)]
        if len(part):
            ax.barh(y, part.groupby("session_id").r2.mean().mean(), 0.7, color=palette[method])
            ax.plot(part.r2, [y] * len(part), "o", color="0.2", ms=2.5, mfc="none", mew=0.6)
    ax.set(title=column, yticks=range(len(shown)), xlim=(0, 1), xlabel="test R²")
axes[0].set_yticklabels([paper.METHODS[m] for m in shown[::-1]])
plotting.save(fig, "table2")
plt.show()

# %% [markdown]
# *Bars: mean over sessions and seeds; circles: every session and seed.*
#
# Every row but the Wiener filter could try equally many configurations on the first session of a
# column. How much hung on the choice: R² on the **validation** trials, worst to best. Where the
# two are far apart, a finer grid might still find more.

# %%
search = data["search"].groupby(["method", "role"], sort=False).valid_r2.agg(["min", "max"])
span = search.apply(lambda row: f"{row['min']:.3f} to {row['max']:.3f}", axis=1).unstack()
span = span.loc[[m for m in paper.METHODS if m in span.index], columns].fillna("")
span.rename(index=paper.METHODS)

# %% [markdown]
# *All configurations and what they gave are in `figures/data/search.csv`.*
#
# ## 11.2 The pretrained model on its own sessions

# %%
table = scores[scores.column == "pretrain"].pivot_table(
    index="session_id", columns="method", values="r2"
)
task = results.task_of(table.index.to_series()).to_numpy()
fig, ax = plt.subplots(figsize=(3.2, 3))
for color, (kind, name) in enumerate(
    {"CO": "center-out", "RT": "random target", "maze": "maze"}.items()
):
    part = table[task == kind]
    ax.plot(part.wiener, part.poyo_1, "o", ms=4, color=f"C{color}", label=name)
ax.plot([0, 1], [0, 1], color="0.7", lw=0.8)
ax.set(xlabel="Wiener filter, test R²", ylabel="one POYO for all (poyo_1), test R²")
ax.set(xlim=(0.3, 1), ylim=(0.3, 1), aspect="equal")
ax.legend(loc="lower right")
plotting.save(fig, "pretraining")
plt.show()

# %% [markdown]
# *One point per pretraining session (mean over seeds); above the line POYO is better.*
#
# ## 11.3 Ablations
#
# What each part of the model is worth on a small budget ([09_ablations](09_ablations.ipynb)): the
# difference of test R² to the full model, paired within sessions. Jitter of 1 ms and bins of 5 ms
# take next to nothing away, so what they change is the luck of a training run, which an interval
# over sessions does not hold: a difference no larger than theirs (the larger of both) is not one.

# %%
ablations = data["ablations"]
order = list(dict.fromkeys(ablations.variant))
full, rows = order[0], []
found = {v: results.gain(ablations, v, full, by="variant") for v in order[1:]}
luck = max(abs(found[variant].mean) for variant in ("jitter 1 ms", "bins of 5 ms"))
for variant in order:
    level = results.estimate(
        ablations[ablations.variant == variant].groupby("session_id").r2.mean()
    )
    row = {"variant": variant, f"test R² ({level.n} sessions)": f"{level.mean:.3f}"}
    if variant != full:
        d = found[variant]
        row["minus full"] = f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        clear = abs(d.mean) > luck and (d.low > 0 or d.high < 0)
        row["verdict"] = ("better" if d.mean > 0 else "worse") if clear else "not resolved"
    else:
        row |= {"minus full": "", "verdict": ""}
    rows.append(row)
caption = (
    f"*Each variant trained from scratch alike, {where}; differences: mean [95 % interval over "
    f"sessions, seeds averaged first]; no verdict on differences up to {luck:.3f}.*"
)
Markdown(plotting.markdown(rows, "ablations", caption))

# %%
fig, ax = plt.subplots(figsize=(4.6, 0.24 * len(found) + 0.8))
y = np.arange(len(found))[::-1]
means = np.array([d.mean for d in found.values()])
spread = np.array([[d.mean - d.low, d.high - d.mean] for d in found.values()]).T
ax.errorbar(means, y, xerr=np.nan_to_num(spread), fmt="o", ms=4, capsize=2)
ax.axvline(0, color="0.7", lw=0.8)
ax.set(yticks=y, yticklabels=list(found), xlabel="test R² minus that of the full model")
plotting.save(fig, "ablations")
plt.show()

# %% [markdown]
# *Mean paired difference and 95 % interval over sessions.*
#
# ## 11.4 Across tasks, and from fewer sessions
#
# Unit identification by networks that have seen one task only, or a third of the sessions.

# %%
rows = []
for column in columns:
    row = {"column": column}
    part = scores[scores.column == column]
    for name in ("single_session", "co_unit_identification", "rt_unit_identification",
                 "third_unit_identification", "poyo_mp_unit_identification",
                 "poyo_1_unit_identification"):  # fmt: skip
        level = results.estimate(part[part.method == name].groupby("session_id").r2.mean())
        row[name.replace("_", " ")] = f"{level.mean:.3f}" if level.n else ""
    rows.append(row)
pd.DataFrame(rows).set_index("column")

# %% [markdown]
# *Mean test R². `co`: pretrained on center-out sessions, `rt`: on random-target sessions, `third`:
# on a third of those of `poyo_mp`, for as many steps.*
#
# ## 11.5 Every claim
#
# The paper's claims and questions, each as one number that is above zero if the claim holds here:
# a paired difference within sessions, seeds averaged first, with a 95 % interval over sessions.
# The verdict is computed from the interval.

# %%
held_out = scores[scores.column != "pretrain"]
own = scores[scores.column == "pretrain"]
new_animal = held_out[held_out.column.isin(["T-CO", "T-RT"])]
scaling, efficiency = data["scaling"], data["efficiency"]
steps = efficiency[efficiency.cost == "steps"]
trials = efficiency[(efficiency.cost == "trials") & efficiency.x.between(1, 20)]


def reached(limit=200, share=0.9):
    """Per session: unit identification's best validation R² within `limit` steps, minus `share`
    of the finetuned one's last."""
    by = ["session_id", "seed"]
    unit = steps[(steps.method == "poyo_mp_unit_identification") & (steps.x <= limit)]
    tuned = steps[steps.method == "poyo_mp_finetune"].sort_values("x")
    margin = unit.groupby(by).r2.max() - share * tuned.groupby(by).r2.last()
    return results.estimate(margin.groupby("session_id").mean())


def alike(columns=("subject", "task")):
    """Per session: is the nearest other session alike, minus chance."""
    sessions = data["embeddings"].query("kind == 'session'").set_index("session_id")
    label = sessions[list(columns)].agg(" ".join, axis=1)
    chance = (label.map(label.value_counts()) - 1) / (len(label) - 1)
    same = label[sessions.neighbour].to_numpy() == label.to_numpy()
    return results.estimate(same - chance)


def scaled(better, worse, task=None):
    part = scaling if task is None else scaling[scaling.task == task]
    return results.gain(part, better, worse, by="model")


unit_id, tuned = "poyo_mp_unit_identification", "poyo_mp_finetune"
other_sources = own[~own.session_id.isin(scaling[scaling.model == "poyo_mp"].session_id)]
measured = {
    "unmatched neurons": (results.gain(own, "poyo_mp", "wiener"), "04_pretrain"),
    "multi > single": (scaled("poyo_mp", "single"), "07_scaling"),
    "better than networks on counts": (
        results.gain(held_out, "poyo_1_finetune", "mlp"), "05_adapt",
    ),
    "any source": (results.gain(other_sources, "poyo_1", "wiener"), "04_pretrain"),
    "more sources": (
        results.gain(held_out, "poyo_1_finetune", "poyo_mp_finetune"), "05_adapt",
    ),
    "unit id > wiener": (results.gain(held_out, unit_id, "wiener"), "05_adapt"),
    "unit id > single": (results.gain(held_out, unit_id, "single_session"), "05_adapt"),
    "finetune > single": (results.gain(held_out, tuned, "single_session"), "05_adapt"),
    "finetune > unit id": (results.gain(held_out, tuned, unit_id), "05_adapt"),
    "few labels": (results.gain(trials, unit_id, "single_session"), "07_scaling"),
    "few steps": (reached(), "07_scaling"),
    "more data": (results.gain(held_out, unit_id, "third_unit_identification"), "05_adapt"),
    "other task helps": (scaled("poyo_mp", "rt", "RT"), "07_scaling"),
    "deeper": (scaled("deep", "shallow"), "07_scaling"),
    "sessions cluster": (alike(), "08_embeddings"),
}  # fmt: skip
claims = pd.DataFrame(
    [
        {"claim": key, "estimate": e.mean, "low": e.low, "high": e.high,
         "verdict": e.verdict, "notebook": notebook}
        for key, (e, notebook) in measured.items()
    ]
)  # fmt: skip
plotting.csv(claims, "claims")
rows = []
for key, (claim, evidence, caveat) in paper.CLAIMS.items():
    e, notebook = measured[key]
    rows.append(
        {
            "claim": claim,
            "the paper's evidence": evidence + (f" (but: {caveat})" if caveat else ""),
            "here": f"{e.mean:+.3f} [{e.low:+.3f}, {e.high:+.3f}], {e.n} sessions",
            "verdict": e.verdict,
            "see": f"{notebook}",
        }
    )
caption = (
    f"*Here: {where}; mean [95 % interval over sessions]. Claims are judged on this corpus; "
    "nothing here is evidence about the paper's own recordings.*"
)
Markdown(plotting.markdown(rows, "claims", caption))

# %% [markdown]
# Where a claim is not resolved or contradicted, mind the budget: the `laptop` profile trains some
# 650 steps on five-minute sessions, in minutes on two cores, the paper for days on eight GPUs. A
# model that is still far from the end of its training cannot show what more data or more depth is
# worth: at the same number of steps, a model of fewer sessions (`third`), or of one task (`rt`),
# has seen each of them more often. The corpus was not tuned to please a row.
