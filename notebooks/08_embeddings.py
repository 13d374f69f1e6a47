# %% [markdown]
# # 8. What the embeddings learned
#
# All that POYO knows about *which* neurons it hears, and in which session, are two tables of
# vectors: a row per unit and a row per session. Nobody tells it where a unit sits, what it is
# tuned to, or which sessions belong to the same animal. This is the paper's Figure 5, and one step
# further: in simulated cortex the truth about every unit is known, so we can ask whether it can be
# read from the row. (Which spikes the network attends to, over time and units, is in
# [03_model](03_model.ipynb), section 3.8.)

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from poyo import ROOT, checkpoint, config, plotting, sources
from poyo.results import estimate, task_of

plt.style.use("poyo.style")
params = config.load()
recordings = {r.session_id: r for r in sources.load_corpus(ROOT / "runs/data")["pretrain"]}
trained = {s: checkpoint.load(ROOT / f"runs/pretrain/poyo_1/model-{s}.pt") for s in params.seeds}
first = trained[params.seeds[0]]


# %%
def components(x, n=2):
    """Principal components of rows (m, D): (m, n), and the share of variance of each."""
    x = x - x.mean(0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return u[:, :n] * s[:n], s[:n] ** 2 / (s**2).sum()


# %% [markdown]
# ## 8.1 Sessions

# %%
names = first.sessions.names[1:]
vectors = first.model.session_emb.weight.detach().numpy()[1:]
pcs, explained = components(vectors)
distance = np.linalg.norm(vectors[:, None] - vectors, axis=-1) + np.diag(
    np.full(len(names), np.inf)
)
sessions = pd.DataFrame(
    {
        "kind": "session",
        "session_id": names,
        "subject": [recordings[name].subject for name in names],
        "source": [recordings[name].brainset for name in names],
        "task": task_of(pd.Series(names)).to_numpy(),
        "pc1": pcs[:, 0],
        "pc2": pcs[:, 1],
        "neighbour": [names[i] for i in distance.argmin(1)],
    }
)


def share_alike(column):
    """How often a session's nearest neighbour is like it, and how often any other one would be."""
    value = sessions.set_index("session_id")[column]
    alike = value[sessions.neighbour].to_numpy() == value[sessions.session_id].to_numpy()
    counts = value.map(value.value_counts())
    return alike.mean(), ((counts - 1) / (len(value) - 1)).mean()


pd.DataFrame(
    [
        {"alike in": column, "nearest neighbour": found, "chance": chance}
        for column in ("task", "subject", "source")
        for found, chance in [share_alike(column)]
    ]
).round(2)

# %% [markdown]
# *How often the nearest of the other sessions (in all dimensions) is of the same task, animal or
# source of data; chance is that of a session drawn at random.*
#
# ## 8.2 Units
#
# Each row is compared with the simulation's truth: the direction of movement for which the unit
# fires most, how long its rate precedes the movement, its mean rate, its cortical area. A ridge
# regression reads them from the rows; it is trained on some sessions and scored on others, so that
# nothing about a session's own frame can help.


# %%
def unit_table(one):
    """Rows (n, D) of all units of a checkpoint's simulated sessions, and what is true of them."""
    rows, facts = [], []
    for name in one.sessions.names[1:]:
        recording = recordings[name]
        if "preferred_direction" not in recording.units:
            continue
        rows.append(
            one.model.unit_emb.weight.detach().numpy()[one.units.rows(recording.unit_names)]
        )
        facts.append(pd.DataFrame(recording.units).assign(session_id=name))
    return (np.concatenate(rows), pd.concat(facts, ignore_index=True)) if rows else (None, None)


def read_out(x, y, session, folds=5, penalty=1.0):
    """Predictions (n, C) of y (n, C) from x (n, D) by ridge; sessions are held out together."""
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    codes = pd.factorize(session)[0] % folds
    out = np.empty_like(y, dtype=float)
    for fold in range(folds):
        train = codes != fold
        if train.all() or not train.any():
            return np.full_like(y, np.nan, dtype=float)
        a, mean = x[train], y[train].mean(0)
        weights = np.linalg.solve(a.T @ a + penalty * len(a) * 0.01 * np.eye(x.shape[1]),
                                  a.T @ (y[train] - mean))  # fmt: skip
        out[~train] = x[~train] @ weights + mean
    return out


def legible(x, facts):
    """What can be read from rows, per session: R² or, for areas, the share right minus chance."""
    direction = facts.preferred_direction.to_numpy()
    targets = {
        "preferred direction": np.stack([np.cos(direction), np.sin(direction)], -1),
        "lead (s)": facts[["lag_s"]].to_numpy(),
        "log rate": np.log(facts[["rate_hz"]].to_numpy() + 0.1),
        "tuning depth": facts[["tuning_depth"]].to_numpy(),
    }
    found = {}
    for name, y in targets.items():
        guess = read_out(x, y, facts.session_id)
        wrong, spread = (((y - other) ** 2).sum(1) for other in (guess, y.mean(0)))
        sums = pd.DataFrame({"wrong": wrong, "spread": spread}).groupby(facts.session_id).sum()
        found[name] = 1 - sums.wrong / sums.spread
    areas = pd.get_dummies(facts.area).astype(float)
    guess = read_out(x, areas.to_numpy(), facts.session_id)
    right = areas.columns[np.nan_to_num(guess).argmax(1)] == facts.area
    chance = facts.area.value_counts(normalize=True).max()
    found["area (right minus most common)"] = (
        pd.Series(right).groupby(facts.session_id).mean() - chance
    )
    return pd.DataFrame(found)


tables = {s: unit_table(one) for s, one in trained.items()}
x, facts = tables[params.seeds[0]]
if facts is None:
    print("the truth about units is known for simulated sessions only")
    read = pd.DataFrame(columns=["quantity", "mean", "low", "high", "n"])
else:
    by_seed = [legible(*table) for table in tables.values()]
    per_session = sum(by_seed) / len(by_seed)
    read = pd.DataFrame(
        [{"quantity": name, **estimate(values)._asdict()} for name, values in per_session.items()]
    )
read.round(3)

# %% [markdown]
# *R² of what a linear readout of a unit's row says about the unit, in sessions it was not trained
# on: mean over sessions and seeds, 95 % interval over sessions. 0 is what knowing nothing gives.*

# %%
fig, axes = plt.subplots(1, 3, figsize=(7.4, 3.3))
for color, (subject, some) in enumerate(sessions.groupby("subject", sort=False)):
    for task, part in some.groupby("task", sort=False):
        axes[0].plot(part.pc1, part.pc2, {"CO": "o", "RT": "s", "maze": "^"}.get(task, "D"),
                     ms=5, color=f"C{color}", label=f"{subject}, {task}")  # fmt: skip
axes[0].set(title="sessions", xticks=[], yticks=[])
axes[0].set(xlabel=f"PC 1 ({explained[0]:.0%})", ylabel=f"PC 2 ({explained[1]:.0%})")
fig.legend(fontsize=7, loc="outside lower left", ncols=4, handletextpad=0.2)
units = pd.DataFrame()
if facts is not None:
    pcs, explained = components(x)
    units = facts.assign(kind="unit", pc1=pcs[:, 0], pc2=pcs[:, 1])
    shown = axes[1].scatter(
        pcs[:, 0], pcs[:, 1], s=5, c=facts.preferred_direction, cmap="twilight"
    )
    axes[1].set(title="units", xticks=[], yticks=[])
    axes[1].set(xlabel=f"PC 1 ({explained[0]:.0%})", ylabel=f"PC 2 ({explained[1]:.0%})")
    bar = fig.colorbar(shown, ax=axes[1], ticks=[-3.14, 0, 3.14], label="preferred direction")
    bar.ax.set_yticklabels(["-π", "0", "π"])
    angle = facts.preferred_direction.to_numpy()
    guess = read_out(x, np.stack([np.cos(angle), np.sin(angle)], -1), facts.session_id)
    axes[2].plot(angle, np.arctan2(guess[:, 1], guess[:, 0]), ".", ms=2, color="C0")
    axes[2].plot([-np.pi, np.pi], [-np.pi, np.pi], color="0.7", lw=0.8)
    ticks = {"ticks": [-np.pi, 0, np.pi], "labels": ["-π", "0", "π"]}
    axes[2].set_xticks(**ticks), axes[2].set_yticks(**ticks)
    axes[2].set(title="read from the row", xlabel="true direction", ylabel="read direction")
plotting.save(fig, "embeddings")
plt.show()

# %% [markdown]
# *Left: session embeddings, colour: animal, marker: task (o center-out, □ random target, △ maze).
# Middle: unit embeddings, coloured by the direction the unit prefers. Right: the preferred
# direction read linearly from the row of a unit, sessions held out. First seed.*

# %%
read = read.rename(columns={"quantity": "session_id", "mean": "r2"}).assign(kind="readout")
plotting.csv(pd.concat([sessions, units, read.drop(columns="n")], ignore_index=True), "embeddings")
