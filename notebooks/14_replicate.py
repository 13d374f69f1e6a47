# %% [markdown]
# # 14. One replicate of the evidence
#
# A claim about a method needs more than one corpus: two trainings on the same simulated animals
# share everything that was peculiar to those animals. So the claims of
# [11_results](11_results.ipynb) rest on *replicates*. In each of them everything is drawn anew:
# the species (what its cortex computes), its animals, their days and units, and the first weights
# of every network. This page is one replicate, from the simulator to its scores; the graph runs it
# for every seed in `evidence.claims` of `params.yaml`.
#
# Nothing is chosen here. Recipes, budgets and the size of the corpus were chosen on other species,
# `evidence.development`, before a claim was looked at.

# %% tags=["parameters"]
species = 1

# %%
from dataclasses import replace
from functools import partial
from itertools import chain

import pandas as pd

from poyo import threads
from poyo.study import lab, plotting, profile, replicates, results

params = profile.load()
threads.use(params.threads)
setup = params.evidence
recipes = lab.limited(params.your_lab, setup.budgets)
few = lab.How(params.size, params.windows, params.wiener, params.baselines, recipes)
# from scratch, few labels and all of them are learned best at different rates
alone = replace(recipes.from_scratch, lr=setup.from_scratch_lr)
how = few._replace(recipes=replace(recipes, from_scratch=alone))


def all_of(function, jobs, how=how, **more):
    """The rows of many jobs, in several processes."""
    return [*chain(*threads.processes(partial(function, how=how, **more), jobs))]


# %% [markdown]
# ## 14.1 The species
#
# Three animals are known, two of them by two tasks. Held out are a later day of one of them and an
# animal that no network has seen, in both tasks.

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
# One decoder over all known sessions, one over every third of them with as many steps, and one for
# each of two sessions alone: what do more sessions add, for those that all have seen? And a
# control: one over all sessions, the spikes of each shifted by a minute or so against its
# behaviour. It can have learned nothing that is true.

# %%
old, third = corpus["pretraining"], corpus["pretraining"][::3]
false = [replicates.shifted(one, species) for one in old]
jobs = {results.ALL: old, results.THIRD: third, results.SHIFTED: false}
jobs |= {one.session_id: [one] for one in third[:2]}


def trained(some):
    """A decoder of one session, or of several."""
    if len(some) == 1:
        return lab.from_scratch(some[0], how, seed=species)
    return lab.pretrain(some, how, seed=species)[0]


decoders = dict(zip(jobs, threads.processes(trained, jobs.values())))
knowing = {name: decoder for name, decoder in decoders.items() if name != results.SHIFTED}
rows = all_of(replicates.own, [(one, knowing) for one in third])

# %% [markdown]
# ## 14.3 A new day and a new animal

# %%
new = [*corpus["new day"], *corpus["new animal"]]
networks = {"mlp": params.baselines.mlp.tried[0]}
cells = [(one, n, species) for one in new for n in (*setup.trials, "all")]
rows += all_of(lab.yardsticks, cells, configurations=networks)
jobs = [(*cell, decoders[results.ALL], (), None) for cell in cells]
rows += all_of(lab.meet, [job for job in jobs if job[1] != "all"], few)
rows += all_of(lab.meet, [job for job in jobs if job[1] == "all"])
jobs = [(one, species, decoders[results.THIRD], results.THIRD) for one in new]
rows += all_of(lab.meet_fewer, jobs)
jobs = [(one, "all", species, decoders[results.SHIFTED], (), None) for one in corpus["new animal"]]
control = [row for row in all_of(lab.adapted, jobs) if row["method"] == "finetune"]
rows += [row | {"method": results.SHIFTED} for row in control]
role = {one.session_id: role for role, some in corpus.items() for one in some}
scores = pd.DataFrame(rows).assign(species=species)
scores.insert(0, "role", scores.session.map(role))
plotting.csv(
    scores[["species", "role", "session", "method", "trials", "r2"]], f"replicates/{species}"
)
scores.pivot_table(index="method", columns=["role", "trials"], values="r2", sort=False).round(3)

# %% [markdown]
# *Mean test R² over the sessions of a role, by the number of labelled trials.*
#
# ## 14.4 What it says to each claim

# %%
results.measures(scores).round(3)
