# %% [markdown]
# # 9. What each part is for
#
# > **Question.** Which parts of the model does a short training need?\
# > **In the paper:** no table; section 2 describes the parts.\
# > **Cost** on two CPU cores: seventeen minutes, when asked for.
#
# A part of a model earns its place when the model is worse without it. Here POYO is trained
# again and again from scratch, on the same few sessions, the same steps, the same seeds, each time
# with one thing taken away or changed, and decodes the same test trials.
#
# The trainings are short, so read the table with care: it says what helps POYO *learn from little
# in few steps*, on these sessions. It runs when asked, after the corpus has been made:
# `dvc repro -f -s asked@ablations`. A training starts on a plateau, where it decodes hardly more
# than the mean, and a variant that leaves it later ends lower, whatever it would reach in the end.
# With the paper's data and budget some differences may shrink and others grow.

# %%
from dataclasses import replace
from itertools import chain

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from poyo import ROOT, threads
from poyo.data import sources
from poyo.model import SIZES
from poyo.study import ablations, plotting, profile, results

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)

# %% [markdown]
# ## 9.1 The setup all variants share
#
# The first session or sessions of each task of one dataset: few, because the plateau is longer the
# more neurons have to be told apart. Only test trials that the longest context tried (2 s) fits in
# are kept, so that every variant answers for the same samples.

# %%
study = params.ablations
pretrain = sources.load_corpus(ROOT / "runs/data")["pretrain"]
full = ablations.Setup(
    recordings=ablations.few(pretrain, study.sessions),
    size=SIZES[params.models["poyo_mp"].size],
    windows=params.windows,
    recipe=study.recipe,
    seed=params.seeds[0],
)
for recording in full.recordings:
    print(f"{recording.session_id}: {len(recording.unit_ids)} units")
print(f"{study.steps} steps of {study.batch_size} windows for each of {len(ablations.VARIANTS)}")

# %% [markdown]
# ## 9.2 The variants, and what one would expect
#
# - **No delimiters.** Without START and END tokens a silent unit is indistinguishable from one
#   that was not recorded. In a session whose units are always the same, silence can also be told
#   from what is missing, so the loss should be moderate.
# - **Values not rotated.** Rotated queries and keys decide *where* attention looks by time
#   differences. If values turn too, what is read also carries *how long before or after* it lay.
#   Without it, many spikes of a unit at different lags are harder to tell apart.
# - **Sinusoidal time.** Sines and cosines of time are added to tokens, latents and queries, as in
#   the first transformers. Relations in time then have to be learned from absolute times: moving a
#   window by 0.1 s is news to this model and none to the full one.
# - **No unit dropout.** All units in every window. Sessions as small as these lose a unit in few
#   windows anyway ([02_tokens](02_tokens.ipynb), 2.9), so this is nearly the full model, and what
#   it changes is mostly luck, too.
# - **One session row.** All sessions ask with the same query. What differs between them (task,
#   gain, frame) must then come through the unit embeddings, which are each session's own.
# - **Latents**, half and twice as many: how wide the bottleneck is.
# - **Windows** of 0.5 s and of 2 s: how much context. A step has as many windows as before,
#   so longer ones also see more seconds of data. (With as many *seconds*, hence half the windows,
#   a training on 2 s may not leave its plateau in these few steps.)
# - **Jitter and bins.** Spikes are moved by Gaussian noise, or to the middle of a bin, in training
#   and test alike: how much of the precise timing is used.
#
# About the last: **simulated spikes have no secret in their fine timing.** In the simulation a
# unit's rate is given every 10 ms (and linear between), and spikes are drawn from it by a renewal
# process, on no grid. So 1 ms of jitter or bins of 5 ms destroy next to nothing; a difference
# there is the luck of a training run, and so *the yardstick for all other differences*. At 100 ms
# the rates themselves are smeared. Whether real cortex says more in milliseconds cannot be asked
# of this corpus; with `corpus: poyo_mp` the same page asks it.

# %% [markdown]
# ## 9.3 All of them


# %%
def one(job):
    seed, variant = job
    r2 = ablations.run(variant, replace(full, seed=seed))
    about = {"variant": variant, "seed": seed}
    return [about | {"session_id": name, "r2": round(value, 4)} for name, value in r2.items()]


jobs = [(seed, variant) for seed in params.seeds for variant in ablations.VARIANTS]
scores = pd.DataFrame(chain(*threads.processes(one, jobs)))
about = {"corpus": params.data.corpus, "profile": params.profile}
plotting.csv(scores.assign(**about), "ablations")

# %%
table = scores.pivot_table(index="variant", columns="session_id", values="r2")
table = table.loc[[*ablations.VARIANTS], [r.session_id for r in full.recordings]]
difference = table - table.loc["full"]
means = {"mean": table.mean(axis=1), "minus full": difference.mean(axis=1)}
table.rename(columns=lambda name: name.replace("_", " ")).assign(**means).round(3)

# %% [markdown]
# *Test R² of each session (seeds averaged), their mean, and its difference to the full model.*

# %%
shown = difference.drop(index="full")[::-1]
fig, ax = plt.subplots(figsize=(6.5, 3.8))
noise = shown.filter(regex="jitter 1 ms|bins of 5 ms", axis=0).abs().mean(axis=1).max()
ax.axvspan(-noise, noise, color="0.9", lw=0)
ax.axvline(0, color="0.5", lw=0.8)
ax.barh(shown.index, shown.mean(axis=1), color="0.75", height=0.7)
for session in shown:
    ax.plot(shown[session], shown.index, "o", color="C0", ms=3, mfc="none")
ax.set(xlabel="test R² minus that of the full model")
plt.show()

# %% [markdown]
# *Bars: mean over sessions; circles: each session. Grey: by how much 1 ms of jitter or bins of
# 5 ms, which take next to nothing away, changed R² (mean size over sessions, the larger of both).
# That is a rough measure, from two trainings: a difference that is not clearly larger than this
# may well be chance.*
#
# ## What we found
#
# A variant is called worse or better where its mean difference is larger than what these two
# changed and its 95 % interval over sessions holds no zero:

# %%
verdicts, _ = results.ablations(scores)
lines = []
for verdict in ("worse", "better", "not resolved"):
    some = verdicts[verdicts.verdict == verdict]
    said = [f"{row.Index} ({row.gain.mean:+.3f})" for row in some.itertuples()]
    lines.append(f"- **{verdict.capitalize()}**: {', '.join(said) or 'none'}.")
expected = "no delimiters", "values not rotated", "sinusoidal time", "jitter 100 ms"
said = [f"{name}: {verdicts.verdict[name]}" for name in expected]
lines.append(f"- Expected in 9.2 to be worse: {'; '.join(said)}.")
Markdown("\n".join(lines))

# %% [markdown]
# The intervals stand in section 11.3 of [11_results](11_results.ipynb). That a longer window loses
# was not expected; perhaps it takes more steps than there were here. What stays open is what these
# parts are worth after a long training.
#
# Next: [11_results](11_results.ipynb) gathers every table and judges the paper's claims.
