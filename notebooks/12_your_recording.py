# %% [markdown]
# # 12. Your own recording
#
# One file in, a decoder and its score out: the same tokens, model and training as everywhere
# else. As rendered here it runs on a small simulated session. On yours:
#
#     python -m poyo code 12_your_recording
#     python -m poyo run 12_your_recording --as mine -p path /data/monday.npz
#
# The last lines on the terminal are the result and where the decoder lies; this page with your
# data is `runs/notebooks/mine.ipynb`. The file may be
#
# - `.npz` or `.mat` with spikes: `spike_times` (S,) seconds and sorted, `spike_units` (S,) any
#   labels, `times` (T,) seconds, `velocity` (T, D), and `trials` (n, 2) seconds if there are any,
# - `.npz` or `.mat` with binned counts: `counts` (T, U), `bin_starts` (T,) seconds, `velocity`
#   (T, D), and `trials`,
# - `.h5` in the brainsets layout (what `brainsets prepare` writes).
#
# **Velocity is a default, not a must.** Anything that varies along time can be decoded: position,
# force, several muscles, in D columns. Say what the array is called, and its unit for the axes:
# `-p target force -p unit N`. In an `.h5` file it is a series and a field: `-p target cursor.pos`.
#
# If the other arrays are called otherwise, say so:
# `-p names "{counts: spikes, bin_starts: time}"`. The training recipe is `your_recording` in
# `params.yaml`.

# %% tags=["parameters"]
path = ""
target = ""  # the array to decode; "" is the velocity, in an .h5 file what the file says
unit = ""  # of the target
names = {}  # what arrays are called in the file, where that is not as above
seed = 0

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from poyo import ROOT, adapt, threads
from poyo.data import readers
from poyo.data.recording import Recording
from poyo.data.simulate import simulate
from poyo.data.sources import readout_of
from poyo.study import baselines, profile

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)

# %% [markdown]
# ## 12.1 Read it
#
# `Recording.from_arrays` and `Recording.from_binned` do the same from arrays in memory. Without
# `trials` the session is split in time: the last 20 % are test, the 10 % before them validation.
# Counts say nothing about where in its bin a spike fell, so each is placed at random inside it.

# %%
if path:
    recording = readers.read(path, target=target, unit=unit, names=names, seed=seed)
else:
    one = simulate(
        animal="sim-own", day=1, task="random_target_reaching", minutes=params.data.minutes,
        units=params.data.units, seed=seed,
    )  # fmt: skip
    cursor = one.behavior["cursor"]
    recording = Recording.from_arrays(
        one.spike_times, one.spike_units, cursor["timestamps"], cursor["vel"],
        unit="cm/s", session_id="my-session",
    )  # fmt: skip
readout = readout_of(recording)
times, values = recording.series(readout.target)
D = values.shape[1]
rate = len(recording.spike_times) / recording.duration
print(f"{recording.session_id}: {recording.duration:.0f} s, {len(recording.unit_ids)} units")
print(f"{len(recording.spike_times):,} spikes, {rate:.0f} a second")
print(f"to decode: {len(times):,} samples of {readout.quantity}, D = {D}")

# %% [markdown]
# Look before you train: are spikes there throughout, is the behaviour what you expect?


# %%
def label(column):
    """What an axis shows: the quantity, its column where there are several, and its unit."""
    number = f" {column + 1}" if D > 1 else ""
    return f"{readout.quantity}{number}\n({readout.unit})"


# %%
middle = times[len(times) // 2]
spikes = slice(*np.searchsorted(recording.spike_times, [middle, middle + 10]))
rows = slice(*np.searchsorted(times, [middle, middle + 10]))
fig, axes = plt.subplots(
    1 + min(D, 4), 1, figsize=(6.8, 2.3 + 0.9 * min(D, 4)), sharex=True,
    height_ratios=[2.5] + [1] * min(D, 4),
)  # fmt: skip
axes[0].plot(recording.spike_times[spikes], recording.spike_units[spikes], ",", color="0.2")
axes[0].set(ylabel="unit")
for i, ax in enumerate(axes[1:]):
    ax.plot(times[rows], values[rows, i])
    ax.set_ylabel(label(i), rotation=0, ha="right", va="center", labelpad=8)
axes[-1].set_xlabel("time (s)")
fig.align_ylabels(axes[1:])
plt.show()

# %% [markdown]
# *Ten seconds from the middle of the recording: spikes by unit, and below them what is to be
# decoded (of more than four columns the first four).*
#
# ## 12.2 Train
#
# A new decoder learns from the train split of this recording alone. Progress goes to the terminal:
# step, loss, validation R², windows per second, time left. If it is killed, run it again: it
# continues.

# %%
decoder, history = adapt.from_scratch(
    [recording],
    params.your_recording,
    size=params.size,
    windows=params.windows,
    seed=seed,
    label="your recording",
)
pd.DataFrame(history).tail(3)

# %% [markdown]
# *The last validations: gradient steps, loss, and R² on the validation split. The weights that
# were best there are kept.*
#
# ## 12.3 The result
#
# Beside it the yardstick: a Wiener filter, which is ridge regression on spike counts around each
# sample, on the same splits and samples (see [06_baselines](06_baselines.ipynb)). **R²** is the
# share of the variance that is explained: 1 is perfect, 0 no better than always giving the mean.

# %%
decoded = decoder.decode(recording, "test")
filtered = baselines.wiener(decoder.session(recording), params.wiener, params.windows)

# %%
step = np.median(np.diff(decoded.times))
shown = slice(int(15 / step))  # 15 s
at = step * np.arange(len(decoded.times))[shown]
gaps = at[1:][np.diff(decoded.times[shown]) > 1.5 * step]
fig, axes = plt.subplots(
    min(D, 4), 1, figsize=(6.8, 0.8 + 1.1 * min(D, 4)), sharex=True, squeeze=False
)
for i, ax in enumerate(axes[:, 0]):
    ax.plot(at, decoded.target[shown, i], color="0.6", lw=2, label="true")
    ax.plot(at, decoded.prediction[shown, i], color="C0", label="POYO")
    ax.vlines(gaps, *ax.get_ylim(), color="0.6", lw=0.8, ls=":")
    ax.set_ylabel(label(i), rotation=0, ha="right", va="center", labelpad=8)
axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=2)
axes[-1, 0].set_xlabel("time in the test split (s)")
fig.align_ylabels()
plt.show()

# %% [markdown]
# *True and decoded behaviour in the first seconds of the test split. Its stretches, if there are
# several, are put one after the other; dotted lines part them.*
#
# If POYO is not above the filter, look at the validation R² along the way. If it is still rising
# at the end, give `your_recording` more `steps`; if it falls, more `dropout` or fewer steps. With
# little data, start from a pretrained decoder instead, as in [05_adapt](05_adapt.ipynb).
#
# The decoder of a recording of yours is saved. `Decoder.load(file)` reads it, and
# `Stream(decoder, session_id)` of `poyo.stream` decodes with it while spikes arrive.

# %%
print(f"test R² of the Wiener filter {filtered.r2:.3f}, of POYO {decoded.r2:.3f}")
if path:
    file = ROOT / "runs/your_recording" / f"{recording.session_id}.pt"
    decoder.save(file)
    print(f"the decoder is {file.relative_to(ROOT)}")
