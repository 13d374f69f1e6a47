# %% [markdown]
# # 16. The ceiling
#
# How well could the sessions of [14_replicate](14_replicate.ipynb) be decoded at all? Two limits
# stand above every method. One is set by the *labels*: a session of three minutes says only so
# much about how its units are tuned. The simulator can record the same units for hours, so here
# decoders learn from 4, 16 and 64 times the trials, and are tested on the same ones as before. The
# other is set by the *noise* of the spikes: here the same decoders read the rates of the units
# themselves, as spikes without any chance in them.
#
# Between a decoder of one session alone and the first of these limits lies what pretraining can
# win. What share of that distance it covers is the last number of this page.
#
# The page is slow and rests on nothing but the simulator and the recipes, so it runs when asked:
# `dvc repro -f -s asked@ceiling`.

# %% tags=["parameters"]
times = [4, 16, 64]  # as many trials; the MLP learns from each, the others from most
poyo_steps = 1500
network_steps = 1200
many = 20  # times the steps, in 16.3

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
setup = params.evidence
recipes = lab.limited(params.your_lab, setup.budgets | {"from_scratch": poyo_steps})
how = lab.How(params.size, params.windows, params.wiener, params.baselines, recipes)
networks = {method: getattr(params.baselines, method) for method in lab.NETWORKS}
longer = {method: replace(grid, steps=network_steps) for method, grid in networks.items()}
longer = replace(params.baselines, **longer)
NOISELESS = 10  # spikes for each that a unit fires, evenly spaced: their counts are its rate

# %% [markdown]
# ## 16.1 More trials, and no noise


# %%
def decoded(job):
    """R² on the test trials of a session by one method, from so many times its trials."""
    session, k, method, noiseless = job
    long, seed = replicates.more(session, k, noiseless=NOISELESS * noiseless), session["seed"]
    if method == lab.SCRATCH:
        decoder = lab.from_scratch(long, how, seed=seed, where=f"{k} times {long.session_id}")
        (r2,) = decoder.score([long], "test").values()
    else:
        config, rest = networks[method].tried[0], (longer, params.windows)
        r2 = baselines.fit(method, lab.prepared(long), config, *rest, seed=seed)[1].r2
    return {"species": seed, "session": long.session_id, "times": k, "method": method,
            "noiseless": noiseless, "r2": round(r2, 4)}  # fmt: skip


plans = [replicates.plan(species, setup) for species in setup.claims]
sessions = [
    one for plan in plans for role, some in plan.items() for one in some if role != "pretraining"
]
most = times[-1]
kinds = [(most, lab.SCRATCH, False), (most, "gru", False), (most, "mlp", True)]
kinds += [(k, "mlp", False) for k in times[::-1]]
jobs = [(one, *kind) for kind in kinds for one in sessions]
ceiling = pd.DataFrame(threads.processes(decoded, jobs)).assign(profile=params.profile)
plotting.csv(ceiling.sort_values(["species", "session", "noiseless", "times"]), "ceiling")
means = ceiling.groupby(["noiseless", "times", "method"]).r2.mean()
means.unstack("method").round(3)

# %% [markdown]
# *Mean test R² over the held-out sessions of all species.*

# %%
new = results.evidence(params.data.corpus, params.evidence.claims)
new = new[(new.role != "pretraining") & (new.trials == "all")]
once = new.groupby(["method", "unit"]).r2.mean().groupby("method").mean()
names, colors = lab.NAMES, {"mlp": "C2", "gru": "C3", lab.SCRATCH: "C4"}
fig, ax = plt.subplots(figsize=(5.4, 3.0))
for method, color in colors.items():
    found = means[False].unstack("method")[method].dropna()
    ax.plot(
        [1, *found.index], [once[method], *found], "o-", ms=4, color=color, label=names[method]
    )
for method, color in (("unit_identification", "C0"), ("finetune", "0.2")):
    ax.plot(1, once[method], "D", ms=5, color=color, label=names[method])
ax.axhline(means[True].max(), color="0.5", ls="--", lw=0.8, label="MLP on rates without noise")
ax.set_xscale("log", base=2)
ax.set_xticks([1, *times], [f"{k} x" for k in (1, *times)])
ax.set(xlabel="labelled trials of the session", ylabel="test R²")
fig.legend(loc="outside right center")
plt.show()

# %% [markdown]
# *Mean over species of the mean over their held-out sessions. Diamonds: pretrained on the known
# animals, then adapted to the session's own trials.*
#
# ## 16.2 What share of the way pretraining covers
#
# The way leads from a POYO that was trained on the session alone to the limit of labels, the best
# of the decoders that had 64 times the trials.

# %%
top = results.limit(ceiling)
for method in ("unit_identification", "finetune"):
    share = results.closed(new, top, method)
    print(f"{names[method]} covers {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}]")

# %% [markdown]
# ## 16.3 Are the benchmark's networks short of steps, or of trials?
#
# In Table 2 of this corpus the NDT, EIT and LFADS stand below the Wiener filter in the maze, where
# in the paper the best of them stands far above it. Their authors train them for tens of thousands
# of steps; here it is some hundreds. So one maze session of a species that is in no result is
# decoded after few and after many steps, from few and from many trials.

# %%
maze = {"animal": "sim-n", "day": 1, "task": MAZE, "flavour": "nlb", "seed": setup.development[0]}
maze |= {"units": params.data.units, "minutes": params.data.held_out_minutes}


def in_the_maze(job):
    """Test R² of a method on the maze session, with so many times its trials and its steps."""
    method, k, steps = job
    session = lab.prepared(replicates.more(maze, k))
    if method == "wiener":
        r2 = baselines.wiener(session, params.wiener, params.windows).r2
    else:
        grid = getattr(params.baselines, method)
        config = baselines.configurations(method, params.baselines, 0)[0]
        grids = {method: replace(grid, steps=steps * grid.steps)}
        rest = replace(params.baselines, **grids), params.windows
        r2 = baselines.fit(method, session, config, *rest, seed=0)[1].r2
    return {"method": method, "trials": f"{k} x", "steps": f"{steps} x", "r2": round(r2, 3)}


slow = ["lfads", "ndt", "ndt_supervised", "eit", "gru", "mlp"]
jobs = [(method, k, n) for n in (many, 1) for k in (10, 1) for method in slow]
found = threads.processes(in_the_maze, [*jobs, ("wiener", 1, 1), ("wiener", 10, 1)])
found = pd.DataFrame(found)
found.pivot_table(index="method", columns=["steps", "trials"], values="r2", sort=False)

# %% [markdown]
# *Test R² of one session, one seed: how the numbers move is what this shows, not their order.*
