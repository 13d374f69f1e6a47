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
# `dvc repro -f -s ceiling`.

# %% tags=["parameters"]
times = [4, 16, 64]
poyo_steps = 1500
network_steps = 2400
methods = ["mlp", "gru", "from_scratch"]

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd

from poyo import threads
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
    species, one, k, method, noiseless = job
    long = replicates.more(one, setup, species, k, noiseless=NOISELESS * noiseless)
    if method == lab.SCRATCH:
        decoder = lab.from_scratch(long, how, seed=species, where=f"{k} times {one.session_id}")
        (r2,) = decoder.score([long], "test").values()
    else:
        config, rest = networks[method].tried[0], (longer, params.windows)
        r2 = baselines.fit(method, lab.prepared(long), config, *rest, seed=species)[1].r2
    return {"species": species, "session": one.session_id, "times": k, "method": method,
            "noiseless": noiseless, "r2": round(r2, 4)}  # fmt: skip


sessions = [
    (species, one)
    for species in setup.claims
    for one in replicates.simulate_species(species, setup)["new animal"]
]
jobs = [(*one, k, method, False) for one in sessions for k in times for method in methods]
jobs += [(*one, times[-1], method, True) for one in sessions for method in networks]
ceiling = pd.DataFrame(threads.processes(decoded, jobs)).assign(profile=params.profile)
plotting.csv(ceiling, "ceiling")
means = ceiling.groupby(["noiseless", "times", "method"], sort=False).r2.mean()
means.unstack("method").round(3)
