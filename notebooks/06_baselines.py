# %% [markdown]
# # 6. The other decoders
#
# > **Question.** What would a laboratory use otherwise, and how well does it decode the same
# > trials?\
# > **In the paper:** the other rows of Table 2.\
# > **Cost** on two CPU cores: two minutes.
#
# A new decoder is worth its cost only if it beats what a lab would otherwise use. These are the
# other rows of the paper's Table 2. All of them see the same train split under the same loss
# weights as POYO and are scored on the same samples of the same test trials:
#
# | method | what it is |
# |---|---|
# | `wiener` | ridge regression from the square roots of counts, half a second before and after |
# | `mlp` | the same counts through two hidden layers |
# | `gru` | a recurrent network that reads a second of counts in both directions |
# | `ndt` | Neural Data Transformer: guesses hidden bins of activity; then a linear readout |
# | `ndt_supervised` | the same transformer, trained to decode |
# | `eit` | Embedded Interaction Transformer: along each neuron's time, then across neurons |
# | `lfads` | a generator network explains the spikes by a few factors; then a linear readout |
#
# The Wiener filter counts spikes in bins of 50 ms, all others in bins of 20 ms. `ndt` and `lfads`
# learn the activity without behaviour, from the train split; only their readout sees it: the same
# ridge regression as the Wiener filter's.

# %%
import pandas as pd
from IPython.display import Markdown

from poyo import ROOT, threads, tokens, vocabulary
from poyo.data import sources
from poyo.study import baselines, plotting, profile

params = profile.load()
threads.use(params.threads)
corpus = sources.load_corpus(ROOT / "runs/data")

# %% [markdown]
# ## 6.1 Choosing fairly
#
# A network has many settings, and the one whose settings were searched for longest tends to win.
# So every network, POYO's too, could try equally many configurations, on other simulated species
# than this one ([15_tuning](15_tuning.ipynb)). The one that was chosen there is used here for
# every session. Page 15 also says how much is lost by not choosing anew. No session of this page
# was looked at.
#
# The same rule holds within a training, POYO's and everyone's: every so many steps, and after the
# last, a network is validated, and the weights that were best are kept. Best means the highest R²
# on the validation trials; for `ndt` and `lfads`, which see no behaviour, the lowest loss of what
# they do learn.
#
# As in the paper, networks are fitted to held-out sessions only, and the last four methods to the
# sessions of the Neural Latents Benchmark (columns `NLB-...`) only.


# %%
def networks(role):
    """The networks that a column is decoded with."""
    if role == "pretrain":
        return []
    return [m for m in baselines.NETWORKS if m in ("mlp", "gru") or role.startswith("NLB")]


# %%
common, first = (params.baselines, params.windows), params.seeds[0]
flat = []
for role, recordings in corpus.items():
    units, names = vocabulary.units_and_sessions(recordings)
    for recording in recordings:
        readout = sources.readout_of(recording)
        flat.append((role, tokens.prepare(recording, readout, units, names)))


def filtered(job):
    """The test split by the Wiener filter."""
    return baselines.wiener(job[1], params.wiener, params.windows)


def fitted(job):
    """The test split by a network."""
    _, session, method, seed = job
    config = baselines.configurations(method, params.baselines, first)[0]
    return baselines.fit(method, session, config, *common, seed=seed)[1]


jobs = [
    (role, session, method, seed)
    for role, session in flat
    for method in networks(role)
    for seed in params.seeds
]
filters = threads.run(filtered, flat)
results = [((*one, "wiener", first), decoded) for one, decoded in zip(flat, filters)]
results += zip(jobs, threads.processes(fitted, jobs))
scores = [
    {
        "role": role,
        "session_id": session.id,
        "task": session.recording.task,
        "method": method,
        "seed": seed,
        "r2": decoded.r2,
    }
    for (role, session, method, seed), decoded in results
]
scores = pd.DataFrame(scores).round(4)
table = scores.pivot_table(index="method", columns="role", values="r2", sort=False)
plotting.table(table)

# %% [markdown]
# *R² on test trials, mean over sessions and seeds. `ndt`, `eit` and `lfads` are small networks
# like the published ones, trained for hundreds of steps instead of tens of thousands: their ranks
# say nothing of the originals.*
# Where the MLP or the GRU is better than the Wiener filter, a nonlinear map helps, or their
# narrower bins do; this page does not separate the two (the [exercises](19_exercises.ipynb) try
# other bins in one session). As they are fitted here, and in the paper, none of these methods sees
# another session. Some have versions that do (LFADS with stitching, later NDTs), which are not
# compared.

# %%
folder = ROOT / "runs/baselines"
folder.mkdir(parents=True, exist_ok=True)
scores.to_csv(folder / "scores.csv", index=False, lineterminator="\n")

# %% [markdown]
# ## What we found

# %%
best = table.drop(columns="pretrain", errors="ignore")
lines = [f"- **{role}**: {r2.idxmax()} with {r2.max():.2f}; Wiener filter {r2['wiener']:.2f}."
         for role, r2 in best.items()]  # fmt: skip
Markdown("\n".join(lines))

# %% [markdown]
# What POYO has on the same held-out trials is in section 5.2 of [05_adapt](05_adapt.ipynb), and
# beside these methods in section 11.1 of [11_results](11_results.ipynb). The column `pretrain` is
# the mean over all pretraining sessions, so it cannot be compared with the mean on page 04, which
# is over those of `poyo_mp`. In the one maze session that [20_budgets](20_budgets.ipynb) is about,
# with many times the steps and the data, all of the last four but the LFADS-like one come near the
# Wiener filter or pass it.
#
# Next: [07_scaling](07_scaling.ipynb) asks what more parameters, sessions, steps and labels bring.
