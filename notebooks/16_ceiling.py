# %% [markdown]
# # 16. The ceiling
#
# > **Question.** How much better could the held-out sessions be decoded at all?\
# > **In the paper:** no counterpart.\
# > **Cost** on two CPU cores: fifteen minutes, when asked for.
#
# This is asked of the species of `evidence.claims` ([14_replicate](14_replicate.ipynb)), of the
# session in which the new animal of each reaches to random targets. Two levels are measured above
# every method. The first is what a decoder reaches when *labels* are plentiful: a session of two
# minutes says only so much about how its units are tuned, but the simulator can record the same
# units for hours, so here decoders learn from 4, 16 and 64 times the trials, and are tested on the
# same ones as before. The second is what a decoder reaches without *noise*: it reads the rates of
# the units themselves, as spikes without any chance in them.
#
# Between a decoder of one session alone and the first of these levels lies what pretraining can
# win. What share of that distance it covers is the last number of this page.
#
# The page is slow, so it runs when asked, after the replicates: `dvc repro -f -s asked@ceiling`.

# %% tags=["parameters"]
times = [4, 16, 64]  # as many trials; the MLP learns from each, the others from most
poyo_steps = 700
network_steps = 1200

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
recipes = lab.in_one_round(params.your_lab, {"from_scratch": poyo_steps})
how = lab.How(setup.size, params.windows, params.wiener, params.baselines, recipes)
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
    seed, even = session["seed"], NOISELESS * noiseless
    long = replicates.more(session, k, setup.test_minutes, noiseless=even)
    if method == lab.SCRATCH:
        decoder = lab.from_scratch(long, how, seed=seed, where=f"{k} times {long.session_id}")
        (r2,) = decoder.score([long], "test").values()
    else:
        config, rest = networks[method].tried[0], (longer, params.windows)
        r2 = baselines.fit(method, lab.prepared(long), config, *rest, seed=seed)[1].r2
    return {"species": seed, "session": long.session_id, "times": k, "method": method,
            "noiseless": noiseless, "r2": round(r2, 4)}  # fmt: skip


sessions = [replicates.plan(species, setup)["new animal"][-1] for species in setup.claims]
most = times[-1]
kinds = [(most, lab.SCRATCH, False), (most, "gru", False), (most, "mlp", True)]
kinds += [(k, "mlp", False) for k in times[::-1]]
jobs = [(one, *kind) for kind in kinds for one in sessions]
ceiling = pd.DataFrame(threads.processes(decoded, jobs)).assign(profile=params.profile)
plotting.csv(ceiling.sort_values(["species", "session", "noiseless", "times"]), "ceiling")
means = ceiling.groupby(["noiseless", "times", "method"]).r2.mean()
plotting.table(means.unstack("method"))

# %% [markdown]
# *Mean test R² over species.*

# %%
new = results.evidence(params.data.corpus, params.evidence.claims)
new = new[new.session.isin(ceiling.session) & (new.trials == "all")]
once = new.groupby(["method", "unit"]).r2.mean().groupby("method").mean()
names = lab.NAMES
fig, ax = plt.subplots(figsize=(5.4, 3.0))
for method in ("mlp", "gru", lab.SCRATCH):
    found = means[False].unstack("method")[method]
    found.loc[1] = once.get(method)  # the GRU is not in the replicates
    ax.plot(
        found.sort_index().dropna(), "o-", ms=4, color=lab.METHODS[method][1], label=names[method]
    )
for method in ("unit_identification", "finetune"):
    ax.plot(1, once[method], "D", ms=5, color=lab.METHODS[method][1], label=names[method])
ax.axhline(means[True].max(), color="0.5", ls="--", lw=0.8, label="MLP on rates without noise")
ax.set_xscale("log", base=2)
ax.set_xticks([1, *times], [f"{k} x" for k in (1, *times)])
ax.set(xlabel="labelled trials of the session", ylabel="test R²")
fig.legend(loc="outside right center")
plt.show()

# %% [markdown]
# *Mean over species. Diamonds: pretrained on the known animals, then adapted to the session's own
# trials.*
#
# ## What we found

# %%
top, start = results.limit(ceiling), once[lab.SCRATCH]
print(f"limit of labels {top.mean():.2f}; from scratch on the session's own trials {start:.2f}")

# %% [markdown]
# What lies between is the way that pretraining could cover. What share of it it does cover is in
# section 11.5 of [11_results](11_results.ipynb), which is computed anew whenever the replicates
# are. The limit is a lower bound: trained for more steps, the decoders might use so many trials
# better, and then the share would be smaller still.
#
# What stays open is how long the way is in real sessions: there nobody has 64 times the labelled
# trials of the same units.
#
# Next: [17_cortex](17_cortex.ipynb) puts the simulated cortex beside real ones.
