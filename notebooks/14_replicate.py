# %% [markdown]
# # 14. One replicate of the evidence
#
# > **Question.** What do one simulated species and all that was trained on it say to each claim?\
# > **In the paper:** its four questions, asked anew of every species.\
# > **Cost** on two CPU cores: some four minutes for each species.
#
# A claim about a method needs more than one corpus: two trainings on the same simulated animals
# share everything that was peculiar to those animals. So the claims of
# [11_results](11_results.ipynb) rest on *replicates*. In each of them everything is drawn anew:
# the species (what its cortex computes), its animals, their days and units, and the first weights
# of every network. This page is one replicate, from the simulator to its scores; the graph runs it
# for every seed in `evidence.claims` of `params.yaml`, and for those in `evidence.more` when what
# they rest on has changed since their results were committed.
#
# Nothing is chosen here. Recipes, budgets and the size of the corpus were chosen on other species,
# `evidence.development`, before a claim was looked at.

# %% tags=["parameters"]
species = 1

# %%
from functools import partial
from itertools import chain

import pandas as pd

from poyo import threads
from poyo.study import lab, plotting, profile, replicates, results

params = profile.load()
threads.use(params.threads)
setup = params.evidence
rest = params.your_lab, params.windows, params.wiener, params.baselines
how = replicates.how(setup, *rest)
wrong = replicates.how(setup, *rest, pretrain=setup.control_steps)
few = replicates.how(setup, *rest, from_scratch=setup.few_steps)

# %% [markdown]
# ## 14.1 The species
#
# Three animals are known, two of them by two tasks. Held out are a later day of one of them and an
# animal that no network has seen, in both tasks. A known session has three minutes to learn from,
# a held-out one has two, and each has three more of the same units to be scored on: the few test
# trials of so short a session say little of it.

# %%
corpus = replicates.simulate_species(species, setup)
pd.DataFrame(
    [
        {"role": role, "session": one.session_id, "units": len(one.unit_ids),
         "spikes per second": round(len(one.spike_times) / one.duration),
         "trials": len(one.intervals["trials"])}
        for role, recordings in corpus.items()
        for one in recordings
    ]
)  # fmt: skip

# %% [markdown]
# ## 14.2 Pretraining
#
# One decoder over all known sessions, one over a third of them, trained for as many steps, and two
# of a single session each. All are compared on sessions that they all have seen: what do more
# sessions add? And a control: one over all sessions, the spikes of each shifted by a minute or so
# against its behaviour. It can have learned nothing that is true, and is trained for fewer steps.

# %%
old, third = corpus["pretraining"], corpus["pretraining"][::3]
false = [replicates.shifted(one, species) for one in old]
jobs = {results.ALL: (old, how), results.THIRD: (third, how)}
jobs |= {one.session_id: ([one], how) for one in third[:2]}
jobs |= {results.SHIFTED: (false, wrong)}


def trained(job):
    """A decoder of one session, or of several."""
    some, how = job
    if len(some) == 1:
        return lab.from_scratch(some[0], how, seed=species)
    return lab.pretrain(some, how, seed=species)[0]


decoders = dict(zip(jobs, threads.processes(trained, jobs.values())))
knowing = {name: decoder for name, decoder in decoders.items() if name != results.SHIFTED}

# %% [markdown]
# ## 14.3 A new day and a new animal

# %%
new = [*corpus["new day"], *corpus["new animal"]]
networks = {"mlp": params.baselines.mlp.tried[0]}
cells = [(one, n, species) for n in ("all", *setup.trials) for one in new]


def control(job, how):
    """Finetuning of the decoder that learned nothing: its row."""
    return [row | {"method": results.SHIFTED} for row in lab.adapted(job, how)[-1:]]


jobs = [  # what, how, and of what: the long ones first
    *[(lab.meet, how if cell[1] == "all" else few, (*cell, decoders[results.ALL], (), None))
      for cell in cells],
    *[(control, how, (one, "all", species, decoders[results.SHIFTED], (), None))
      for one in corpus["new animal"]],
    *[(lab.meet_fewer, how, (one, species, decoders[results.THIRD], results.THIRD))
      for one in new],
    *[(partial(lab.yardsticks, configurations=networks), how, cell) for cell in cells],
    *[(replicates.own, how, (one, knowing)) for one in third],
]  # fmt: skip


def rows_of(job):
    """The rows of a job: a session by some methods."""
    function, how, what = job
    return function(what, how)


rows = [*chain(*threads.processes(rows_of, jobs))]
role = {one.session_id: role for role, some in corpus.items() for one in some}
scores = pd.DataFrame(rows).assign(species=species)
scores.insert(0, "role", scores.session.map(role))
plotting.csv(
    scores[["species", "role", "session", "method", "trials", "r2"]], f"replicates/{species}"
)
by = ["role", "trials"]
plotting.table(scores.pivot_table(index="method", columns=by, values="r2", sort=False))

# %% [markdown]
# *Mean test R² over the sessions of a role, by the number of labelled trials.*
#
# ## What we found
#
# What this one species says to each claim: a difference of test R², paired within sessions and
# averaged over them. Above zero the claim holds in this species; for the last row, the control, it
# must not.

# %%
found = results.measures(scores)
plotting.table(found.rename(results.TESTED).to_frame("difference of test R²"))

# %% [markdown]
# One species decides nothing: whether a difference would be found in others, too, only others can
# say. That stays open here.
#
# Next: [11_results](11_results.ipynb) puts the species together and judges the claims.
