# %% [markdown]
# # 8. What the embeddings learned
#
# > **Question.** What has the network found out about each neuron and each session by itself?\
# > **In the paper:** Figure 5.\
# > **Cost** on two CPU cores: less than a minute.
#
# The network is `poyo_1` of [04_pretrain](04_pretrain.ipynb), with all its sessions and units.
# All that POYO knows about *which* neurons were recorded, and in which session, are two tables of
# learned vectors: one embedding for each unit and one for each session. Nobody tells it where a
# unit sits, what it is tuned to, or which sessions belong to the same animal. This is the paper's
# Figure 5, and one step further: in simulated cortex the truth about every unit is known, so we
# can ask whether it can be read from the embedding. (Which spikes the network attends to, over
# time and units, is in [03_model](03_model.ipynb), section 3.8.)

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from poyo import ROOT
from poyo.data import sources
from poyo.decoder import Decoder
from poyo.study import paper, plotting, profile, results

plt.style.use("poyo.study.style")
params = profile.load()
recordings = {r.session_id: r for r in sources.load_corpus(ROOT / "runs/data")["pretrain"]}
folder = ROOT / "runs/pretrain/poyo_1"
decoders = {seed: Decoder.load(folder / f"decoder-{seed}.pt") for seed in params.seeds}
first = decoders[params.seeds[0]]


def rows_of(embedding, rows):
    """Rows (n, D) of an embedding of units or sessions."""
    return embedding.weight.detach().double().numpy()[rows]


# %% [markdown]
# ## 8.1 Sessions

# %%
names = first.sessions.names[1:]  # the first row stands for no session
vectors = rows_of(first.model.session_emb, first.sessions.rows(names))
session_pca = PCA(2, svd_solver="full")
pcs = session_pca.fit_transform(vectors)
distance = pairwise_distances(vectors)
np.fill_diagonal(distance, np.inf)
tasks = pd.Series([recordings[name].task for name in names])
sessions = pd.DataFrame(
    {
        "session_id": names,
        "subject": [recordings[name].subject for name in names],
        "source": [recordings[name].brainset for name in names],
        "task": tasks.map(paper.TASKS).fillna("other"),
        "pc1": pcs[:, 0],
        "pc2": pcs[:, 1],
        "neighbour": [names[i] for i in distance.argmin(1)],
    }
)
plotting.csv(sessions, "embedding_sessions")
near = {column: results.alike(sessions, column).mean() for column in ("task", "subject", "source")}
pd.DataFrame(near).T.rename(columns={"alike": "nearest neighbour"}).round(2)

# %% [markdown]
# *How often the nearest of the other sessions (in all dimensions) is of the same task, animal or
# source of data; chance is that of a session drawn at random.*
#
# ## 8.2 Units
#
# The vector of each unit is compared with the simulation's truth: the direction of movement for
# which the unit fires most, how long its rate precedes the movement, its mean rate, how deep its
# tuning is (as a share of that rate), its cortical area. A ridge regression reads them from the
# embeddings. It is trained on some sessions and scored on others, so that nothing that is true of
# one session alone can help.


# %%
def unit_table(decoder):
    """Rows (n, D) of all units of a decoder's simulated sessions, and what is true of them."""
    known = [recordings[name] for name in decoder.sessions.names[1:]]
    known = [recording for recording in known if "preferred_direction" in recording.units]
    facts = [pd.DataFrame(r.units).assign(session_id=r.session_id) for r in known]
    units = decoder.units.rows(name for recording in known for name in recording.unit_names)
    facts = pd.concat([pd.DataFrame(), *facts], ignore_index=True)
    return rows_of(decoder.model.unit_emb, units), facts


def read_out(model, x, y, session):
    """What a linear model reads from rows (n, D) of sessions that it was not trained on."""
    folds = GroupKFold(min(5, session.nunique()))
    model = make_pipeline(StandardScaler(), model.set_params(alpha=0.01 * len(x)))
    return cross_val_predict(model, x, y, groups=session, cv=folds)


def circle(angle):
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def legible(x, facts):
    """What can be read from rows, per session: R² or, for areas, the share right minus chance."""
    session = facts.session_id
    targets = {
        "preferred direction": circle(facts.preferred_direction),
        "lead (s)": facts[["lag_s"]].to_numpy(),
        "log rate": np.log(facts[["rate_hz"]].to_numpy() + 0.1),
        "tuning depth": facts[["tuning_depth"]].to_numpy(),
    }
    found = {}
    for name, y in targets.items():
        guess = read_out(Ridge(), x, y, session).reshape(y.shape)
        wrong, spread = (((y - other) ** 2).sum(1) for other in (guess, y.mean(0)))
        sums = pd.DataFrame({"wrong": wrong, "spread": spread}).groupby(session).sum()
        found[name] = 1 - sums.wrong / sums.spread
    right = read_out(RidgeClassifier(), x, facts.area, session) == facts.area
    chance = facts.area.value_counts(normalize=True).max()
    found["area (right minus most common)"] = right.groupby(session).mean() - chance
    return pd.DataFrame(found)


tables = {seed: unit_table(decoder) for seed, decoder in decoders.items()}
x, facts = tables[params.seeds[0]]
legend = pd.DataFrame(columns=["quantity", "mean", "low", "high", "n"])
if facts.empty:
    print("the truth about units is known for simulated sessions only")
    read, units = legend, pd.DataFrame(columns=["session_id", "pc1", "pc2"])
else:
    by_seed = [legible(*table) for table in tables.values()]
    per_session = sum(by_seed) / len(by_seed)
    found = [(name, *results.estimate(values)) for name, values in per_session.items()]
    read = pd.DataFrame(found, columns=[*legend, "p"])[[*legend]]
    unit_pca = PCA(2, svd_solver="full")
    pcs = unit_pca.fit_transform(x)
    units = facts.assign(pc1=pcs[:, 0], pc2=pcs[:, 1])
plotting.csv(read, "embedding_readout")
plotting.csv(units, "embedding_units")
read.round(3)

# %% [markdown]
# *How well a linear readout of a unit's vector tells a property of the unit, in sessions that it
# was not trained on: R², where 0 is no better than the mean; for the area, the share that is right
# minus the share of the most common area. Mean over sessions and seeds, 95 % interval over
# sessions.*

# %%
fig, axes = plt.subplots(1, 3, figsize=(7.4, 3.3))
for color, (subject, some) in enumerate(sessions.groupby("subject", sort=False)):
    for task, part in some.groupby("task", sort=False):
        axes[0].plot(part.pc1, part.pc2, {"CO": "o", "RT": "s", "maze": "^"}.get(task, "D"),
                     ms=5, color=f"C{color}", label=f"{subject}, {task}")  # fmt: skip
axes[0].set(title="sessions", xticks=[], yticks=[])


def name_components(ax, pca):
    shares = pca.explained_variance_ratio_
    ax.set(xlabel=f"PC 1 ({shares[0]:.0%})", ylabel=f"PC 2 ({shares[1]:.0%})")


name_components(axes[0], session_pca)
fig.legend(fontsize=7, loc="outside lower left", ncols=4, handletextpad=0.2)
if not facts.empty:
    angle = facts.preferred_direction.to_numpy()
    shown = axes[1].scatter(
        units.pc1, units.pc2, s=5, c=angle, cmap=sns.color_palette("husl", as_cmap=True)
    )
    axes[1].set(title="units", xticks=[], yticks=[])
    name_components(axes[1], unit_pca)
    ticks = {"ticks": [-np.pi, 0, np.pi], "labels": ["-π", "0", "π"]}
    bar = fig.colorbar(shown, ax=axes[1], location="bottom", label="preferred direction (rad)")
    bar.set_ticks(**ticks)
    guess = read_out(Ridge(), x, circle(angle), facts.session_id)
    axes[2].plot(angle, np.arctan2(guess[:, 1], guess[:, 0]), ".", ms=2, color="C0")
    axes[2].plot([-np.pi, np.pi], [-np.pi, np.pi], color="0.7", lw=0.8)
    axes[2].set_xticks(**ticks), axes[2].set_yticks(**ticks)
    axes[2].set(
        title="read from the embedding",
        xlabel="true direction (rad)",
        ylabel="read direction (rad)",
    )
plotting.save(fig, "embeddings")
plt.show()

# %% [markdown]
# *Left: session embeddings, colour: animal, marker: task (o center-out, □ random target, △ maze).
# Middle: unit embeddings, coloured by the direction the unit prefers. Right: the preferred
# direction read linearly from the embedding of a unit, sessions held out. First seed.*
#
# ## What we found

# %%
lines = [
    f"- The nearest other session is of the same {column} in {shares['alike']:.0%} of the cases, "
    f"where chance has {shares['chance']:.0%}."
    for column, shares in near.items()
]
lines += [
    f"- A unit's vector {'tells' if row.low > 0 else 'does not tell'} its "
    f"{row.quantity.split(' (')[0]}: {'R² ' * (row.quantity[:4] != 'area')}{row.mean:.2f} "
    f"[{row.low:.2f}, {row.high:.2f}]."
    for row in read.itertuples()
]
Markdown("\n".join(lines))

# %% [markdown]
# Only sim-perich has several animals and both tasks. The two other sources have one animal and one
# task each, so their sessions count as right for task, animal and source alike: whether a vector
# follows the task or the animal is decided by the sessions of sim-perich.
#
# "Tells" means that the interval lies above zero: a little, where R² is low. For the area the
# number is the share that is right above that of the most common area. A unit's lead follows from
# its area almost entirely, so these two are one finding. What a vector "does not tell" was not
# found by a linear readout; it may be in it otherwise. What stays open is whether vectors learned
# from real recordings tell as much: of real units the truth is not known.
#
# Next: [09_ablations](09_ablations.ipynb) takes one part of the model away at a time.
