# %% [markdown]
# # 20. Is it the method, or its budget?
#
# > **Question.** In the columns of the Neural Latents Benchmark, the networks that model a
# > population of units (NDT, EIT, LFADS) decode worse than a Wiener filter here. Are they short of
# > steps, or of data?\
# > **In the paper:** the same columns of Table 2, where they decode better.\
# > **Cost** on two CPU cores: thirteen minutes, when asked for.
#
# [06_baselines](06_baselines.ipynb) trains these networks for some hundreds of steps on five
# minutes of a session, and most of them end below the Wiener filter. The published ones train for
# tens of thousands of steps, on longer sessions. So each is trained here two by two: with the
# steps of that page and with many times as many, on as much of a session and on many times as much
# of it. The longer session has the same units, and all are scored on the same test trials.
#
# The session is of a species that appears in no result (the first of `evidence.development` in
# `params.yaml`): the maze, as in the column NLB-Maze. Each network has the configuration that is
# in use; over a long training its learning rate follows the same curve, stretched.
#
# The page is slow, so it runs when asked: `dvc repro -f -s asked@budgets`.

# %% tags=["parameters"]
steps = 10  # times those of `baselines` in params.yaml
data = 8  # times the minutes of a held-out session

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from poyo import threads
from poyo.data.recording import MAZE
from poyo.study import baselines, lab, plotting, profile, replicates

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)
METHODS = {
    "mlp": "MLP",
    "ndt": "NDT-like, then linear",
    "ndt_supervised": "NDT-like, supervised",
    "eit": "EIT-like",
    "lfads": "LFADS-like, then linear",
}

# %% [markdown]
# ## 20.1 Two by two


# %%
seed = params.evidence.development[0]


def session_of(times):
    """The maze session with so many times its trials to learn from."""
    asked = {"animal": "sim-n", "day": 3, "task": MAZE, "seed": seed, "units": params.data.units}
    asked |= {"minutes": params.data.held_out_minutes, "flavour": "nlb"}
    return lab.prepared(replicates.more(asked, times, params.evidence.test_minutes))


def decoded(job):
    """R² on the test trials by a method with so many times its steps and the session's data."""
    method, longer, more = job
    session, about = session_of(more), {"species": seed, "method": method}
    if method == "wiener":
        r2 = baselines.wiener(session, params.wiener, params.windows).r2
    else:
        recipe = getattr(params.baselines, method)
        long = replace(recipe, steps=longer * recipe.steps)
        budget = replace(params.baselines, **{method: long})
        config = baselines.configurations(method, params.baselines, seed)[0]
        r2 = baselines.fit(method, session, config, budget, params.windows, seed=seed)[1].r2
    return about | {"steps": longer, "data": more, "r2": round(r2, 4)}


kinds = [(longer, more) for longer in (steps, 1) for more in (data, 1)]
jobs = [(method, *kind) for kind in kinds for method in METHODS]
jobs += [("wiener", 1, more) for more in (data, 1)]
found = pd.DataFrame(threads.processes(decoded, jobs))
plotting.csv(found.sort_values([*found][:-1]), "budgets")
by = ["data", "steps"]
r2 = found.pivot_table(index="method", columns=by, values="r2")
plotting.table(r2.loc[["wiener", *METHODS]].rename(index=METHODS | {"wiener": "Wiener filter"}))

# %% [markdown]
# *Test R² by times the data and times the steps of [06_baselines](06_baselines.ipynb).*

# %%
looks = {
    (1, 1): ("o", "w", "as on page 6"),
    (1, steps): ("o", "C0", f"{steps} times the steps"),
    (data, 1): ("s", "w", f"{data} times the data"),
    (data, steps): ("s", "C0", "both"),
}
fig, ax = plt.subplots(figsize=(6.4, 2.8))
for y, method in enumerate([*METHODS][::-1]):
    ax.plot(r2.loc[method].dropna(), [y] * len(looks), color="0.85", zorder=0)
    for kind, (marker, fill, label) in looks.items():
        label = label if y == 0 else None
        ax.plot(r2.loc[method, kind], y, marker, mfc=fill, color="C0", ms=6, ls="", label=label)
for more, style in ((1, ":"), (data, "--")):
    label = "Wiener filter" if more == 1 else f"the same, {data} times the data"
    ax.axvline(r2.loc["wiener", (more, 1)], color="0.5", lw=1, ls=style, label=label)
ax.set(yticks=range(len(METHODS)), yticklabels=[*METHODS.values()][::-1], xlabel="test R²")
fig.legend(loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# *Test R² of one session in the maze.*
#
# ## What we found

# %%
names = {"steps": (1, steps), "data": (data, 1), "both": (data, steps)}
lines = []
for method, name in METHODS.items():
    gains = {what: r2.loc[method, kind] - r2.loc[method, (1, 1)] for what, kind in names.items()}
    ahead = r2.loc[method, (data, steps)] - r2.loc["wiener", (data, 1)]
    lines.append(
        f"- **{name}**: more steps bring {gains['steps']:+.2f}, more data {gains['data']:+.2f}, "
        f"both {gains['both']:+.2f}. With both it is {abs(ahead):.2f} "
        f"{'above' if ahead > 0 else 'below'} the Wiener filter of the same data."
    )
Markdown("\n".join(lines))

# %% [markdown]
# So in this one session, with one training each, NDT and EIT are short of steps first: data alone
# bring them little, and both together bring most. LFADS is short of neither; here it is our small
# version, or its settings.
#
# These networks are small relatives of the published ones: NDT has four to six layers and 50,000
# updates there, EIT two and two layers and 400 epochs, and LFADS a controller and a search over a
# population of trainings. One session says what a budget does, not by how much in general; that
# stays open.
#
# Next: [21_unlike](21_unlike.ipynb) makes new animals less and less like those that are known.
