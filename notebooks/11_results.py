# %% [markdown]
# # 11. Results
#
# Every table and figure, from the small files in `figures/data` that `dvc repro` collected.
# Nothing is trained here. Which corpus the numbers come from stands under each of them: **on the
# simulated default they are not the paper's results and cannot be compared with them in height**,
# only in order.

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from poyo import config, paper, plotting, results, sources

plt.style.use("poyo.style")
params = config.load()
corpus = {"simulated": "simulated cortex"}.get(params.data.corpus, params.data.corpus)
scores = pd.read_csv(plotting.FIGURES / "data/scores.csv")
curves = pd.read_csv(plotting.FIGURES / "data/curves.csv")
table2 = pd.read_csv(plotting.FIGURES / "data/table2.csv")

# %% [markdown]
# ## 11.1 Table 2: decoding held-out sessions
#
# R² of the velocity on test trials, mean ± standard deviation over the sessions of a column (each
# session first averaged over seeds). In brackets what the paper reports for the same row and the
# column of the same role, on its recordings, with POYO-mp.

# %%
rows = []
for method, name in paper.METHODS.items():
    row = {"method": name}
    for column, title in sources.COLUMNS.items():
        cell = table2[(table2.method == method) & (table2.column == column)].iloc[0]
        ours = f"{cell.r2:.3f} ± {cell.r2_std:.3f}"
        row[f"{column}: {title} ({cell.sessions})"] = f"{ours} [{cell.paper_r2:.3f}]"
    rows.append(row)
caption = (
    f"*R² on {corpus}, profile `{params.profile}`, {len(params.seeds)} seed(s); in brackets the "
    "paper's numbers on its own recordings.*"
)
Markdown(plotting.markdown(rows, "table2", caption))

# %%
fig, axes = plt.subplots(1, 3, figsize=(7, 2.6), sharey=True)
short = ["Wiener", "single\nsession", "unit\nident.", "fine-\ntuned"]
for ax, (column, title) in zip(axes, sources.COLUMNS.items()):
    part = table2[table2.column == column]
    ax.bar(range(4), part.r2, color=["0.75", "C1", "C2", "C0"], width=0.7)
    for i, method in enumerate(paper.METHODS):
        per_session = scores[(scores.column == column) & (scores.method == method)]
        ax.plot([i] * len(per_session), per_session.r2, "o", color="0.2", ms=3, mfc="none")
    ax.set(title=title.replace(", ", "\n", 1), xticks=range(4), xticklabels=short, ylim=(0, 1))
axes[0].set_ylabel("test R² of velocity")
plotting.save(fig, "table2")

# %% [markdown]
# *Bars: mean over sessions and seeds; circles: every session and seed.*
#
# ## 11.2 Is it the pretraining?
#
# Paired differences within sessions, each session averaged over seeds, with a 95 % interval
# (Student's, over sessions). Two sessions of a column say little, so the interval is wide; all
# held-out sessions together say more. A difference is called one only where the interval excludes
# zero.

# %%
held_out = list(sources.COLUMNS)
groups = [[column] for column in held_out] + [held_out]
questions = [
    ("multi_session", "wiener", [["pretrain"]]),
    ("unit_identification", "wiener", groups),
    ("unit_identification", "single_session", groups),
    ("finetune", "unit_identification", groups),
]
rows = []
for better, worse, parts in questions:
    for part in parts:
        mean, low, high, n = results.gain(scores, part, better, worse)
        verdict = "higher" if low > 0 else "lower" if high < 0 else "not resolved"
        rows.append(
            {
                "R² of": better.replace("_", " "),
                "minus": worse.replace("_", " "),
                "sessions": f"{part[0] if len(part) == 1 else 'all held-out'} ({n})",
                "difference": f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]",
                "verdict": verdict,
            }
        )
caption = (
    f"*Paired differences on {corpus}, profile `{params.profile}`, {len(params.seeds)} seed(s): "
    "mean [95 % interval over sessions].*"
)
Markdown(plotting.markdown(rows, "gains", caption))

# %% [markdown]
# ## 11.3 Learning curves on held-out sessions

# %%
fig, axes = plt.subplots(1, 3, figsize=(7, 2.5), sharey=True)
methods = {"unit_identification": "C2", "finetune": "C0", "single_session": "C1"}
for ax, (column, title) in zip(axes, sources.COLUMNS.items()):
    for method, color in methods.items():
        part = curves[(curves.column == column) & (curves.method == method)]
        for _, one in part.groupby(["session_id", "seed"]):
            ax.plot(one.step, one.valid_r2, color=color, lw=0.6, alpha=0.5)
        mean = part.groupby("step")["valid_r2"].mean()
        ax.plot(mean.index, mean, color=color, label=method.replace("_", " "))
    ax.set(title=title.replace(", ", "\n", 1), xlabel="gradient step", ylim=(-0.1, 1))
axes[0].set_ylabel("validation R²")
axes[0].legend(loc="lower right")
plotting.save(fig, "learning_curves")

# %% [markdown]
# *Thin: every session and seed; thick: their mean.*
#
# ## 11.4 The pretrained model on its own sessions

# %%
table = scores[scores.column == "pretrain"].pivot_table(
    index="session_id", columns="method", values="r2"
)
fig, ax = plt.subplots(figsize=(3.2, 3))
for color, kind in (("C0", "center_out"), ("C1", "random_target")):
    part = table[table.index.str.contains(kind)]
    ax.plot(part.wiener, part.multi_session, "o", ms=4, color=color, label=kind.replace("_", "-"))
ax.plot([0, 1], [0, 1], color="0.7", lw=0.8)
ax.set(xlabel="Wiener filter, test R²", ylabel="multi-session POYO, test R²")
ax.set(xlim=(0.3, 1), ylim=(0.3, 1), aspect="equal")
ax.legend(loc="lower right")
plotting.save(fig, "pretraining")

# %% [markdown]
# *One point per pretraining session (mean over seeds); above the line POYO is better.*
