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

from poyo.study import paper, plotting, profile, results

plt.style.use("poyo.study.style")
params = profile.load()
corpus = {"simulated": "simulated cortex"}.get(params.data.corpus, params.data.corpus)
names = ("scores", "table2", "scaling", "efficiency", "ablations", "search")
data = {
    name: pd.read_csv(plotting.FIGURES / f"data/{name}.csv")
    for name in (*names, "embedding_sessions")
}
scores, table2 = data["scores"], data["table2"]
where = f"{corpus}, profile `{params.profile}`, {len(params.seeds)} seed(s)"

# %% [markdown]
# ## 11.1 Table 2: decoding held-out sessions
#
# R² of the velocity on test trials, mean ± standard deviation over the sessions of a column (each
# session first averaged over seeds). In brackets what the paper reports for the same row and the
# column of the same role, on its recordings.

# %%
columns = [column for column in paper.COLUMNS if column in set(table2.column)]
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
    + "; ".join(f"{column}: {paper.COLUMNS[column]}" for column in columns)
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
    index=["task", "session_id"], columns="method", values="r2"
)
fig, ax = plt.subplots(figsize=(3.2, 3))
for color, task in enumerate(paper.TASKS):
    part = table[table.index.get_level_values("task") == task]
    name = task.removesuffix("_reaching").replace("_", "-")
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
# The intervals are each for itself, and there are many rows: one or the other verdict may be due
# to chance.

# %%
ablations, luck = results.ablations(data["ablations"])
rows = [
    {
        "variant": row.Index,
        f"test R² ({row.sessions} sessions)": f"{row.r2:.3f}",
        "minus full": "" if row.gain is None else str(row.gain),
        "verdict": row.verdict,
    }
    for row in ablations.itertuples()
]
caption = (
    f"*Each variant trained from scratch alike, {where}; differences: mean [95 % interval over "
    f"sessions, seeds averaged first]; no verdict on differences up to {luck:.3f}.*"
)
Markdown(plotting.markdown(rows, "ablations", caption))

# %%
gains = ablations.gain.dropna()
fig, ax = plt.subplots(figsize=(4.6, 0.24 * len(gains) + 0.8))
y = np.arange(len(gains))[::-1]
means, low, high = np.array([gain[:3] for gain in gains]).T
ax.errorbar(means, y, xerr=np.nan_to_num([means - low, high - means]), fmt="o", ms=4, capsize=2)
ax.axvline(0, color="0.7", lw=0.8)
ax.set(yticks=y, yticklabels=list(gains.index), xlabel="test R² minus that of the full model")
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
# "As good as" is another question: there the difference has to lie within 0.02 of zero (two
# one-sided tests). With so many claims some would seem to hold by chance alone, so the verdicts
# are computed from p values that are corrected for the number of claims (Holm). An interval that
# leaves out zero is then not always enough.

# %%
claims = results.claims(
    scores, data["scaling"], data["efficiency"], data["embedding_sessions"]
).rename_axis("claim")
order = ["estimate", "low", "high", "n", "p", "p_holm", "verdict", "notebook"]
plotting.csv(claims[order].reset_index(), "claims")
rows = []
for key, (claim, evidence, caveat) in paper.CLAIMS.items():
    found = claims.loc[key]
    rows.append(
        {
            "claim": claim,
            "the paper's evidence": evidence + (f" (but: {caveat})" if caveat else ""),
            "here": f"{results.Estimate(*found.iloc[:5])}, {found.n} sessions",
            "verdict": f"{found.verdict} (p = {found.p_holm:.2g})",
            "see": found.notebook,
        }
    )
caption = (
    f"*Here: {where}; mean [95 % interval over sessions], p after Holm's correction for "
    f"{len(claims)} claims. Claims are judged on this corpus; nothing here is evidence about the "
    "paper's own recordings.*"
)
Markdown(plotting.markdown(rows, "claims", caption))

# %% [markdown]
# Where a claim is not resolved or contradicted, mind the budget: the `laptop` profile trains some
# 650 steps on five-minute sessions, in minutes on two cores, the paper for days on eight GPUs. A
# model that is still far from the end of its training cannot show what more data or more depth is
# worth: at the same number of steps, a model of fewer sessions (`third`), or of one task (`rt`),
# has seen each of them more often. The corpus was not tuned to please a row.
