# %% [markdown]
# # 19. Exercises
#
# > **Question.** Do you know what the model will do before it does it?\
# > **In the paper:** sections 2 and 3.\
# > **Cost** on two CPU cores: less than a minute, once a network is pretrained.
#
# One or two questions for each of the pages 0 to 8. Write down what you expect before you look at
# what the code prints. On the site the answers are folded up; on GitHub they stand open below each
# cell, so there read `notebooks/19_exercises.py`, which has none. Why it is so is folded up, too.
# All of it uses the pretrained network and one session of an animal that it has never seen. In
# JupyterLab, change a number and run it again.

# %% tags=["parameters"]
seed = 0

# %%
from dataclasses import replace

import numpy as np

from poyo import ROOT, adapt, threads, tokens
from poyo.data import sources
from poyo.decoder import Decoder
from poyo.study import baselines, lab, profile

params = profile.load()
threads.use(params.threads)
corpus = sources.load_corpus(ROOT / "runs/data")
recording = max(corpus["T-CO"], key=lambda one: len(one.unit_ids))
pretrained = Decoder.load(ROOT / f"runs/pretrain/poyo_mp/decoder-{seed}.pt")
rng = np.random.default_rng(seed)


def identified(recording, steps):
    """A decoder that has learned the vectors of the session's units in so many steps."""
    decoder = pretrained.adopt([recording], seed=seed)
    recipe = replace(params.adapt.unit_identification, steps=steps, eval_every=steps)
    adapt.identify_units(decoder, [recording], recipe, seed=seed, label=f"{steps} steps")
    return decoder


def with_spikes(times, units):
    """The session with other spikes."""
    order = np.argsort(times, kind="stable")
    return replace(recording, spike_times=times[order], spike_units=units[order])


# %% [markdown]
# ## To page 0: how many steps
#
# **Unit identification had 80 steps there. How good is it after 10, after 40, after 160?**

# %% tags=["hide-output"]
decoders = {steps: identified(recording, steps) for steps in (10, 40, 160)}
for steps, decoder in decoders.items():
    print(f"{steps:3} steps: test R² {decoder.decode(recording, 'test').r2:.2f}")
decoder = decoders[160]

# %% [markdown]
# <details><summary>Why?</summary>
#
# The network is frozen, and each unit has one short vector to find. Vectors start at random
# and have a way to go, so ten steps are too few; but a hundred or so do what took the network
# hundreds, on all sessions. (Each of the three is a training of its own: its rate rises, and falls
# to nothing at its last step.)
#
# </details>
#
# ## To page 1: what makes a session easy
#
# **Over the sessions that the network was trained on: does R² go with the number of units, or
# with the number of trials?**

# %% tags=["hide-output"]
own = [one for one in corpus["pretrain"] if one.session_id in pretrained.sessions.names]
r2 = [*pretrained.score(own, "test").values()]
about = {
    "units": [len(one.unit_ids) for one in own],
    "trials": [len(one.intervals["trials"]) for one in own],
    "spikes": [len(one.spike_times) for one in own],
}
for name, values in about.items():
    found = np.corrcoef(values, r2)[0, 1]
    print(f"correlation of test R² with the number of {name}: {found:+.2f}")
found = np.corrcoef(about["units"], about["spikes"])[0, 1]
print(f"of the number of units with that of spikes: {found:+.2f}")
print(f"({len(own)} sessions, R² {min(r2):.2f} to {max(r2):.2f})")

# %% [markdown]
# <details><summary>Why?</summary>
#
# Look at the number of sessions before you believe any of them. With so few, a correlation
# has to be well above 0.6 to mean anything, and what goes with one of the three may be due to
# another of them. So these sessions cannot say what makes one easy.
#
# </details>
#
# ## To page 2: a silent unit
#
# **The busiest unit is silenced: all its spikes are taken out. How many tokens does it still have
# in a window of one second: none, or some?**

# %% tags=["hide-output"]
busiest = np.bincount(recording.spike_units).argmax()
kept = recording.spike_units != busiest
silent = with_spikes(recording.spike_times[kept], recording.spike_units[kept])
start = recording.splits["test"][:1, 0]
for name, one in (("as recorded", recording), ("silenced", silent)):
    window = tokens.tokenize([decoder.session(one)], np.array([0]), start, 1.0)
    mine = window["input_unit_index"] == decoder.session(one).unit_rows[busiest]
    print(f"{name}: {int((mine & window['input_mask']).sum())} tokens of that unit in the window")
print(f"test R² {decoder.decode(recording).r2:.2f}, silenced {decoder.decode(silent).r2:.2f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# START and END stay. They tell the network that the unit is being recorded and says nothing. Is
# that the same to it as a unit that is not there? Without the tokens of all units the network was,
# after training, no worse that could be seen ([09_ablations](09_ablations.ipynb), "no
# delimiters").
#
# </details>
#
# ## To page 2: who fired does not matter, or does it
#
# **Each spike keeps its time, but is given to a unit drawn at random. And the other way round:
# each unit keeps its number of spikes, but they come at other times of the session.**

# %% tags=["hide-output"]
times, units = recording.spike_times, recording.spike_units
print(f"as recorded:    {decoder.decode(recording).r2:6.2f}")
print(f"units shuffled: {decoder.decode(with_spikes(times, rng.permutation(units))).r2:6.2f}")
print(f"times shuffled: {decoder.decode(with_spikes(times, units[::-1])).r2:6.2f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# A token is *who* and *when*; without either the other says nothing of direction. Below zero is
# worse than the mean: the network then decodes confident movements at the wrong times. (To give
# the units in reversed order is one way of moving each unit's spikes to other times.)
#
# </details>
#
# ## To page 3: late spikes
#
# **All spikes come 50 ms later than they did. Is the decoded velocity as it was, worse, or as good
# but late?**

# %% tags=["hide-output"]
inside = times + 0.05 < recording.domain[-1, 1]
delayed = with_spikes(times[inside] + 0.05, units[inside])
before, after = decoder.decode(recording), decoder.decode(delayed)
step = np.median(np.diff(before.times))
shifts = range(-20, 21)
same = [
    np.corrcoef(before.prediction[40:-40, 0], np.roll(after.prediction[:, 0], -k)[40:-40])[0, 1]
    for k in shifts
]
late = shifts[int(np.argmax(same))] * step
print(f"R² {before.r2:.2f} before, {after.r2:.2f} after")
print(f"the velocity comes {1000 * late:.0f} ms later, and then correlates {max(same):.3f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# Attention sees only differences of time, but latents and queries stay on their grid here,
# so nothing guarantees that the velocity comes exactly as late as the spikes. That it nearly does
# is learned: training windows begin at random times.
#
# </details>
#
# ## To page 4: half an array
#
# **Units are taken away at test time, without any training for that. How many may go?**

# %% tags=["hide-output"]
n = len(recording.unit_ids)
for share in (1.0, 0.75, 0.5, 0.25):
    found = []
    for _ in range(3):
        left = rng.permutation(n)[: round(share * n)]
        some = np.isin(units, left)
        found.append(decoder.decode(with_spikes(times[some], units[some])).r2)
    print(f"{share:4.0%} of the units: test R² {np.mean(found):5.2f} (mean of three draws)")

# %% [markdown]
# <details><summary>Why?</summary>
#
# Each unit brings its own tokens, so those that are left still say something, and R² falls
# gradually: how many may go depends on how much R² one can spare. Unit dropout is meant to soften
# the fall, but in sessions as small as these it hardly acted in training
# ([02_tokens](02_tokens.ipynb), section 2.9). And the units that are gone are still announced by
# START and END tokens: to the network they have fallen silent.
#
# </details>
#
# ## To page 5: whose vector is whose
#
# **The vectors that were learned stay, but are dealt out among the units anew.** What is R² then?

# %% tags=["hide-output"]
mixed = decoder.copy()
rows = mixed.session(recording).unit_rows
weight = mixed.model.unit_emb.weight.data
weight[rows] = weight[rng.permutation(rows)]
print(f"R² {decoder.decode(recording).r2:.2f}, vectors mixed up {mixed.decode(recording).r2:.2f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# All that the network knows of a unit is in its vector. The population as a whole still has
# the right vectors, and that is worth nothing.
#
# </details>
#
# ## To page 6: the bins of a Wiener filter
#
# **The Wiener filter counts spikes in bins of 50 ms. Would 20 ms or 200 ms be better?**

# %% tags=["hide-output"]
session = lab.prepared(recording)
for width in (0.02, 0.05, 0.1, 0.2):
    found = baselines.wiener(session, replace(params.wiener, bin=width), decoder.windows)
    print(f"bins of {1000 * width:3.0f} ms: test R² {found.r2:.2f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# The filter sees half a second to each side whatever the bins are. Narrow bins give it more
# weights to fit from the same trials, which the ridge penalty, chosen on validation trials, can
# make up for; wide bins blur what happens within them.
#
# </details>
#
# ## To page 7: a smaller budget of trials
#
# **Unit identification has 40 steps, and learns from 5 or from 20 labelled trials. What is R²,
# and how does it compare with the 40 steps of the first exercise, which saw all trials?**

# %% tags=["hide-output"]
for trials in params.your_lab.trials[:3:2]:
    short = lab.labelled(recording, trials, decoder.windows.length, seed)
    r2 = identified(short, 40).decode(recording, "test").r2
    print(f"{trials:2} labelled trials: test R² {r2:.2f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# The vectors of a session's units are few numbers, so a few trials go a long way. This is one draw
# of trials in one session: a difference of a few hundredths between twenty trials and all is
# chance. Over twelve species, what five trials are worth to each method is in the right panel of
# [07_scaling](07_scaling.ipynb), section 7.2.
#
# </details>
#
# ## To page 8: the same unit on two days
#
# **Channels keep their names from day to day, though not always their neurons. Do the vectors of
# two days that share a name resemble each other more than others do?**

# %% tags=["hide-output"]
of_one = [one for one in own if one.subject == own[0].subject]
days = of_one[0], of_one[-1]
unit_rows = [pretrained.session(one).unit_rows for one in days]
vectors = [pretrained.model.unit_emb.weight.detach().numpy()[rows] for rows in unit_rows]
centred = [v - np.mean(np.concatenate(vectors), axis=0) for v in vectors]
unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in centred]
cosine = unit[0] @ unit[1].T
names = [list(one.unit_ids) for one in days]
same = np.array([[a == b for b in names[1]] for a in names[0]])
print(f"{' and '.join(one.session_id for one in days)}: {same.sum()} names are in both")
print(f"cosine of vectors: same name {cosine[same].mean():.2f}, others {cosine[~same].mean():.2f}")

# %% [markdown]
# <details><summary>Why?</summary>
#
# Nothing tells the network that the names are the same: each day has vectors of its own. That
# they come out alike means that a vector says what kind of neuron it is. Where the neuron was
# replaced, they should differ, which would pull the mean down.
#
# </details>
#
# Next: [12_your_recording](12_your_recording.ipynb), the same with a recording of your own.
