# %% [markdown]
# # 20. Is it the method, or its budget?
#
# > **Question.** In the maze, the networks that model a population of units (NDT, EIT, LFADS)
# > decode worse than a Wiener filter here. Are they short of steps, or of data?\
# > **In the paper:** the columns of the Neural Latents Benchmark in Table 2, where they decode
# > better.\
# > **Cost** on two CPU cores: some twenty minutes, when asked for.
#
# [06_baselines](06_baselines.ipynb) trains these networks for some hundred steps on five minutes
# of a session, and in the maze most of them end below the Wiener filter. The published ones train
# for tens of thousands of steps, on longer sessions. So each is trained here two by two: with the
# steps of that page and with many times as many, on as much of a session and on many times as
# much of it. The longer session has the same units, and all are scored on the same test trials.
#
# The sessions are of species that appear in no result (`evidence.development` in `params.yaml`):
# the maze, as in the column NLB-Maze. Each network has the configuration that is in use; over a
# long training its learning rate follows the same curve, stretched.
#
# The page is slow, so it runs when asked: `dvc repro -f -s asked@budgets`.

# %% tags=["parameters"]
steps = 10  # times those of `baselines` in params.yaml
data = 8  # times the minutes of a held-out session

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd

from poyo import threads
from poyo.data.recording import MAZE
from poyo.study import baselines, lab, plotting, profile, replicates, results

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
def session_of(seed, times):
    """A maze session of a species, with so many times its trials to learn from."""
    asked = {"animal": "sim-n", "day": 3, "task": MAZE, "seed": seed, "units": params.data.units}
    asked |= {"minutes": params.data.held_out_minutes, "flavour": "nlb"}
    return lab.prepared(replicates.more(asked, times, params.evidence.test_minutes))


def decoded(job):
    """R² on the test trials by a method with so many times its steps and the session's data."""
    seed, method, longer, more = job
    session, about = session_of(seed, more), {"species": seed, "method": method}
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
seeds = params.evidence.development
jobs = [(seed, method, *kind) for kind in kinds for method in METHODS for seed in seeds]
jobs += [(seed, "wiener", 1, more) for more in (data, 1) for seed in seeds]
found = pd.DataFrame(threads.processes(decoded, jobs))
plotting.csv(found.sort_values([*found][:-1]), "budgets")
by = ["data", "steps"]
r2 = found.pivot_table(index="method", columns=by, values="r2")
plotting.table(r2.loc[["wiener", *METHODS]].rename(index=METHODS | {"wiener": "Wiener filter"}))

# %% [markdown]
# *Mean test R² over two species, by times the data and times the steps of
# [06_baselines](06_baselines.ipynb).*

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
# *Mean test R² over two species in the maze.*
#
# ## 20.2 What we found

# %%
pairs = found.pivot(index=["species", "method"], columns=by, values="r2")
for method, name in METHODS.items():
    one = pairs.xs(method, level="method")
    for what, kind in (("steps", (1, steps)), ("data", (data, 1)), ("both", (data, steps))):
        gain = one[kind] - one[1, 1]
        print(f"{name}: {what} bring {results.estimate(gain).mean:+.3f}", end="; ")
    linear = pairs.xs("wiener", level="method")[kind[0], 1]
    ahead = (one[kind] > linear).sum()
    print(f"with both it is above the Wiener filter in {ahead} of {len(one)} species")

# %% [markdown]
# These networks are small relatives of the published ones: NDT has four to six layers and 50,000
# updates there, EIT two and two layers and 400 epochs, and LFADS a controller and a search over a
# population of trainings.
