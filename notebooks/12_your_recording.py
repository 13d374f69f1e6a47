# %% [markdown]
# # 12. Your own recording
#
# One file in, a decoder and its score out: the same tokens, model and training as everywhere
# else. As rendered here it runs on a small simulated session. On yours:
#
#     python -m poyo.notebook code 12_your_recording
#     python -m poyo.notebook run 12_your_recording --as mine -p path /data/monday.npz
#
# and open `runs/notebooks/mine.ipynb`. The file may be
#
# - `.h5` in the brainsets layout (what `brainsets prepare` writes),
# - `.npz` or `.mat` with spikes: `spike_times` (S,) seconds and sorted, `spike_units` (S,) any
#   labels, `times` (T,) seconds, `velocity` (T, 2), and if you have them `position` (T, 2) and
#   `trials` (n, 2),
# - `.npz` or `.mat` with binned counts: `counts` (T, U), `bin_starts` (T,), `velocity` (T, 2).
#
# If your arrays are called otherwise, say so:
# `-p names "{counts: spikes, bin_starts: time, velocity: handVel}"`. The training recipe is
# `own` in `params.yaml`.

# %% tags=["parameters"]
path = ""
names = {}
seed = 0

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from poyo import adapt, baselines, config, evaluate, threads, tokens, train
from poyo.recording import Recording, read
from poyo.simulate import simulate

plt.style.use("poyo.style")
params = config.load()
threads.use(params.threads)

# %% [markdown]
# ## 12.1 Read it
#
# `Recording.from_arrays` and `Recording.from_binned` do the same from arrays in memory. Without
# `trials` the session is split in time: the last 20 % are test, the 10 % before them validation.
# Counts say nothing about where in its bin a spike fell, so each is placed at random inside it.

# %%
if path:
    recording = read(path, names, seed=seed)
else:
    one = simulate(
        animal="sim-own", day=1, task="random_target_reaching", minutes=params.data.minutes,
        units=params.data.units, seed=seed,
    )  # fmt: skip
    cursor = one.behavior["cursor"]
    recording = Recording.from_arrays(
        one.spike_times, one.spike_units, cursor["timestamps"], cursor["vel"],
        session_id="my-session",
    )  # fmt: skip
print(f"{recording.session_id}: {recording.duration:.0f} s, {len(recording.unit_ids)} units")
rate = len(recording.spike_times) / recording.duration
print(f"{len(recording.spike_times):,} spikes, {rate:.0f} a second")

# %% [markdown]
# Look before you train: are spikes there throughout, does the velocity look like a hand?

# %%
start = adapt.scratch([recording], params.size, seed=seed)
session = tokens.prepare(recording, start.units, start.sessions)
middle = session.times[len(session.times) // 2]
shown = (recording.spike_times >= middle) & (recording.spike_times < middle + 10)
rows = (session.times >= middle) & (session.times < middle + 10)
fig, (raster, velocity) = plt.subplots(2, 1, figsize=(6.8, 3.4), sharex=True, height_ratios=[2, 1])
raster.plot(recording.spike_times[shown], recording.spike_units[shown], ",", color="0.2")
raster.set(ylabel="unit")
velocity.plot(session.times[rows], session.target[rows], label=["x", "y"])
velocity.set(xlabel="time (s)", ylabel="velocity")
velocity.legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2)
plt.show()

# %% [markdown]
# *Ten seconds from the middle of the recording.*
#
# ## 12.2 The yardstick
#
# A Wiener filter on the same splits and samples (see [06_baselines](06_baselines.ipynb)).

# %%
filtered = baselines.wiener(session, params.wiener, params.windows)
print(f"Wiener filter: test R² {filtered.r2:.3f}")

# %% [markdown]
# ## 12.3 Train
#
# Progress goes to the terminal: step, loss, validation R², windows per second, time left. If it
# is killed, run it again: it continues.

# %%
model = start.model.to(train.device())
history = train.train(
    model,
    [session],
    params.own,
    params.windows,
    size=params.size,
    seed=seed,
    label="your recording",
)
pd.DataFrame(history).tail(3)

# %% [markdown]
# ## 12.4 The result

# %%
latents = tokens.latents(params.size, params.windows)
domain = evaluate.fitting(session, "test", params.windows)
decoded = evaluate.decode(model, latents, session, domain, params.windows)
pd.DataFrame({"decoder": ["Wiener filter", "POYO"], "test R²": [filtered.r2, decoded.r2]}).round(3)

# %%
rows = np.flatnonzero(decoded.times < decoded.times[0] + 15)
fig, axes = plt.subplots(2, 1, figsize=(6.8, 3), sharex=True)
for i, (ax, name) in enumerate(zip(axes, "xy")):
    ax.plot(decoded.times[rows], decoded.target[rows, i], color="0.6", lw=2, label="hand")
    ax.plot(decoded.times[rows], decoded.prediction[rows, i], color="C0", label="POYO")
    ax.set_ylabel(f"velocity {name}")
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2)
axes[1].set_xlabel("time (s)")
plt.show()

# %% [markdown]
# *True and decoded velocity in the first seconds of the test split.*
#
# If POYO is not above the filter: look at the validation R² along the way. Still rising at the
# end: more `own.steps`. Falling: more `own.dropout`, or fewer steps. Little data: start from a
# pretrained model instead, as in [05_adapt](05_adapt.ipynb).
