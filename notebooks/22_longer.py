# %% [markdown]
# # 22. From scratch, with more steps
#
# > **Question.** Do the claims about pretraining hold when training from scratch is given more
# > than twice the steps?\
# > **In the paper:** questions 1 and 2; its single-session models are trained to their best.\
# > **Cost** on two CPU cores: some ten minutes, when asked for.
#
# Three claims of [11_results](11_results.ipynb) compare a pretrained network with one that was
# trained from scratch on all labels of a single session. In [14_replicate](14_replicate.ipynb)
# that training has `evidence.budgets.from_scratch` steps, so that six species fit into one
# `dvc repro`. On development species it still became better with more of them. A comparison with
# a network that was trained too little says nothing, so here it is trained anew, on the same
# sessions of the same species, in one round of more than twice the steps; everything it is
# compared with stays as it was, unit identification and finetuning with the steps of that page.
#
# This page was added after the claims had been judged. It can only take something away from them.
# It is slow, so it runs when asked, after the replicates: `dvc repro -f -s asked@longer`.

# %% tags=["parameters"]
steps = 700  # in one round

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from poyo import threads
from poyo.study import lab, plotting, profile, replicates, results

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)
setup = params.evidence
rest = params.your_lab, params.windows, params.wiener, params.baselines
how = replicates.how(setup, *rest)
long = replace(how.recipes.from_scratch, steps=steps, budget=steps)
how = how._replace(recipes=replace(how.recipes, from_scratch=long))

# %% [markdown]
# ## 22.1 The same sessions again
#
# From scratch: every held-out session with all its labels, and of the known sessions the two that
# page 14 trains alone.


# %%
def decoded(job):
    """The row of a session from scratch, as in 14_replicate but with more steps."""
    seed, role, session = job
    one = replicates.more(session, 1, setup.test_minutes)
    (r2,) = lab.from_scratch(one, how, seed=seed).score([one], "test").values()
    method = "single_session" if role == "pretraining" else lab.SCRATCH
    about = {"species": seed, "role": role, "session": one.session_id}
    return about | {"method": method, "trials": "all", "r2": round(r2, 4)}


jobs = []
for seed in setup.claims:
    sessions = replicates.plan(seed, setup)
    sessions["pretraining"] = sessions["pretraining"][::3][:2]
    jobs += [(seed, role, one) for role, some in sessions.items() for one in some]
longer = pd.DataFrame(threads.processes(decoded, jobs))
plotting.csv(longer, "longer")

# %%
before = results.evidence(params.data.corpus, setup.claims)
after = results.longer(before)
names = f"{setup.budgets['from_scratch']} steps", f"{steps} steps"
same = ["unit", "role", "session", "method", "trials"]
pairs = before.merge(longer.rename(columns={"species": "unit"}), on=same)
assert len(pairs) == len(longer), "each stands in for one row of page 14"
pairs = pairs.rename(columns=dict(zip(("r2_x", "r2_y"), names)))
plotting.table(pairs.groupby("role", sort=False)[[*names]].mean().rename_axis("sessions"))

# %% [markdown]
# *Mean test R² from scratch, by the role of the session.*
#
# ## 22.2 The claims again

# %%
judged = {"as judged": results.primary(before)}
judged["from scratch with more steps"] = results.primary(after)
one, two = judged.values()
moved = [c for c in one.index if one.estimate[c] != two.estimate[c] and c != results.CONTROL]
fig, ax = plt.subplots(figsize=(6.2, 2.0))
for shift, (label, table), color in zip((0.12, -0.12), judged.items(), ("0.5", "C0")):
    for y, row in enumerate(table.loc[moved[::-1]].itertuples()):
        ax.plot([row.low, row.high], [y + shift] * 2, color=color, lw=2)
        ax.plot(row.estimate, y + shift, "o", ms=5, color=color, label=label if y == 0 else None)
ax.axvline(0, color="0.6", lw=0.8)
ax.set(yticks=range(len(moved)), yticklabels=[results.TESTED[c] for c in moved[::-1]],
       xlabel="difference of test R²")  # fmt: skip
fig.legend(loc="outside upper center", ncols=2)
plt.show()

# %% [markdown]
# *Mean and 95 % interval over species.*
#
# ## What we found

# %%
lines = []
for claim in moved:
    one, two = (table.loc[claim] for table in judged.values())
    lines.append(
        f"- **{results.TESTED[claim]}**: {results.Estimate(*one.iloc[:5])} as judged "
        f"({one.verdict}), {results.Estimate(*two.iloc[:5])} with {steps} steps from scratch "
        f"({two.verdict}, p = {two.p_holm:.2g} after Holm"
        f"{f'; tested against -{results.MARGIN}' * (claim in results.AS_GOOD)})."
    )
Markdown("\n".join(lines))

# %% [markdown]
# What stays open is whether unit identification and finetuning would gain from more steps, too:
# they were not given any.
#
# Next: [11_results](11_results.ipynb), where these claims are judged.
