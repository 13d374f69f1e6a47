# %% [markdown]
# # 6. The yardsticks
#
# A new decoder is worth its cost only if it beats what a lab would otherwise use. These are the
# other rows of the paper's Table 2. All of them see the same train split under the same loss
# weights as POYO and are scored on the same samples of the same test trials:
#
# | method | what it is |
# |---|---|
# | `wiener` | linear regression from the spike counts around a moment |
# | `mlp` | the same counts through two hidden layers |
# | `gru` | a recurrent network that reads a second of counts in both directions |
# | `ndt` | Neural Data Transformer: guesses hidden bins of activity; then a linear readout |
# | `ndt_supervised` | the same transformer, trained to decode |
# | `eit` | Embedded Interaction Transformer: along each neuron's time, then across neurons |
# | `lfads` | a generator network explains the spikes by a few factors; then a linear readout |
#
# All but the Wiener filter count spikes in bins of 20 ms. `ndt` and `lfads` learn the activity
# without behaviour, from the train split; only their readout sees it: the same ridge regression as
# the Wiener filter's.

# %%
from dataclasses import fields

import pandas as pd

from poyo import ROOT, threads, tokens, vocabulary
from poyo.data import sources
from poyo.study import baselines, profile

params = profile.load()
threads.use(params.threads)
corpus = sources.load_corpus(ROOT / "runs/data")
pd.set_option("display.max_rows", 200)

# %% [markdown]
# ## 6.1 Choosing fairly
#
# Networks have dials, and who turns them longer wins. So every network may try equally many
# configurations (`baselines` in `params.yaml`), for LFADS drawn at random as in AutoLFADS. The one
# with the best R² on the **validation** trials is taken. To save time, a column's search is made
# on its first session, and its winner is used for the column's other sessions.
#
# The same rule holds within a training, POYO's and everyone's: every so many steps, and after the
# last, a network is validated, and the weights that were best are kept. Best is the R² on the
# validation trials; for `ndt` and `lfads`, which see no behaviour, the loss of what they do learn.
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
sessions = {}
for role, recordings in corpus.items():
    units, names = vocabulary.units_and_sessions(recordings)
    sessions[role] = [
        tokens.prepare(recording, sources.readout_of(recording), units, names)
        for recording in recordings
    ]
flat = [(role, session) for role, of_role in sessions.items() for session in of_role]
filtered = threads.run(lambda one: baselines.wiener(one[1], params.wiener, params.windows), flat)
results = [
    (role, "wiener", session, first, None, result)
    for (role, session), result in zip(flat, filtered)
]


def search(job):
    """Try all configurations of a method on a session."""
    _, method, session = job
    return baselines.search(method, session, *common, seed=first)


def again(job):
    """Fit one configuration to another session, or with another seed."""
    _, method, session, seed, configuration = job
    return baselines.fit(method, session, configuration, *common, seed=seed)[1]


jobs = [(role, method, some[0]) for role, some in sessions.items() for method in networks(role)]
found = list(zip(jobs, threads.processes(search, jobs)))
jobs = [
    (role, method, session, seed, best)
    for (role, method, searched), (best, _, _) in found
    for seed in params.seeds
    for session in sessions[role]
    if session is not searched or seed != first
]
results += [(*job, first, best, result) for job, (best, result, _) in found]
results += [(*job, result) for job, result in zip(jobs, threads.processes(again, jobs))]
scores = [
    {
        "role": role,
        "session_id": session.id,
        "task": session.recording.task,
        "method": method,
        "seed": seed,
        "r2": result.r2,
    }
    for role, method, session, seed, _, result in results
]
searches = [
    {"role": role, "session_id": session.id, "method": method, **row}
    for (role, method, session), (_, _, tried) in found
    for row in tried
]
scores = pd.DataFrame(scores).round(4)
columns = [field.name for field in fields(profile.LFADSNetwork)]
columns = ["role", "session_id", "method", *columns, "valid_r2"]
searches = pd.DataFrame(searches, columns=columns).round({"valid_r2": 4})
table = scores.pivot_table(index="method", columns="role", values="r2", sort=False)
table.round(3).astype(object).fillna("")

# %% [markdown]
# *R² on test trials, mean over sessions and seeds.* The Wiener filter is linear; what the
# MLP and the GRU win is the nonlinearity of the neurons. What other sessions could have taught is
# left to win for all of them.
#
# ## 6.2 What was tried

# %%
searches.drop(columns="session_id").astype(object).fillna("")

# %% [markdown]
# *The configurations: width of the hidden layers, dropout, learning rate, weight of LFADS's
# divergence, and R² on the validation trials, which chose.*

# %%
folder = ROOT / "runs/baselines"
folder.mkdir(parents=True, exist_ok=True)
scores.to_csv(folder / "scores.csv", index=False, lineterminator="\n")
searches.to_csv(folder / "search.csv", index=False, lineterminator="\n")
