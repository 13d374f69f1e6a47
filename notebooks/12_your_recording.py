# %% [markdown]
# # 12. Your own recording
#
# > **Question.** How well can my own recording be decoded, and how do I use the decoder?\
# > **In the paper:** the single-session model of Table 2.\
# > **Cost** on two CPU cores: a minute on the example.
#
# One recording in, a decoder and its score out: the same tokens, model and training as everywhere
# else. As rendered here it runs on a small simulated session. On yours:
#
#     python -m poyo code 12_your_recording
#     python -m poyo run 12_your_recording --as mine \
#         -p path jango_20150730.mat target position unit cm
#
# The last lines on the terminal are the answer, where the decoder lies and how it is loaded; this
# page with your data is `runs/notebooks/mine.ipynb`. What can be said after `-p`:
#
# - `path`: the recording, see below; `target`: what is to be decoded in it; `unit`: of the target;
# - `names`: what its arrays are called, where that is not as below, such as
#   `names "{counts: spikes, bin_starts: time}"`;
# - `decoder`: a decoder to start from instead of from scratch, a file that this package saved or
#   a checkpoint of the authors (`.ckpt`). Where a recording is short it is usually the better
#   start; with all trials of a day it was not, on real recordings ([13_real](13_real.ipynb));
# - `same_units_as`: sessions which that decoder knows and in which a unit of the same name is the
#   same channel, such as `same_units_as "[friday, sunday]"`: the new day's units start from the
#   mean of the embeddings that they had there;
# - `seed`: of the first weights and of the draws.
#
# **Velocity is a default, not a must.** Anything that varies along time can be decoded: position,
# force, the activity of several muscles, in one column or several. What can be read:
#
# - `.npz` or `.mat` (of any version, 7.3 too) with spikes: `spike_times` (S,) in seconds, sorted,
#   `spike_units` (S,) any labels, `times` (T,) in seconds and the target (T, D). In `.mat`,
#   `spike_times` may be a cell array instead, a cell for each unit, without `spike_units`;
# - `.npz` or `.mat` with binned counts: `counts` (T, U), `bin_starts` (T,) in seconds and the
#   target (T, D);
# - `.mat` of a laboratory: `binnedData`, XDS or `trial_data`. The target is a field of it, such as
#   `cursorposbin`, `curs_v` or `vel`;
# - `.nwb`, which needs `pip install -e ".[nwb]"`. The target is a series, such as `cursor_vel`;
# - a folder of Phy or Kilosort, with the target and its `times` in `behavior.npz` or
#   `behavior.mat` beside the spikes. What was called noise by hand is left out;
# - `.h5` in the brainsets layout (what `brainsets prepare` writes). The target is a series and a
#   field, such as `cursor.pos`.
#
# If there are trials, `trials` (n, 2) are their starts and ends in seconds; `unit_ids` (U,) are
# names of the units, such as those of channels. If the target is not said or not found, the
# message lists what is in the file. So in MATLAB a recording is
#
#     spike_times = {...};  % a cell for each of U channels: its spike times, s
#     times = ...; position = ...;  % (T,1) in s, on the clock of the spikes, and (T,2)
#     save('jango_20150730.mat', 'spike_times', 'times', 'position')
#
# Blackrock's `.nev` is not read. With NPMK, `NEV = openNEV(file)`, then
# `spike_times = double(NEV.Data.Spikes.TimeStamp(:)) / double(NEV.MetaTags.SampleRes)` and
# `spike_units = NEV.Data.Spikes.Electrode(:)` are what is needed.

# %% tags=["parameters"]
path = ""
target = ""
unit = ""
names = {}
decoder = ""
same_units_as = []
seed = 0

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from poyo import ROOT, adapt, official, threads
from poyo.data import health, readers
from poyo.data.linear import linear_fit
from poyo.data.recording import Recording, require
from poyo.data.simulate import simulate
from poyo.data.sources import readout_of
from poyo.decoder import Decoder
from poyo.evaluate import r2_score
from poyo.stream import Stream
from poyo.study import baselines, lab, profile
from poyo.train import say

plt.style.use("poyo.study.style")
params = profile.load()
threads.use(params.threads)
place = ROOT / "runs/your_recording"
size = params.size if path else params.evidence.size  # the simulated session has few units
if same_units_as and not decoder:
    raise ValueError("same_units_as are sessions of a given decoder: say `decoder`, too")
if isinstance(same_units_as, str):
    same_units_as = [same_units_as]

# %% [markdown]
# ## 12.1 Read it
#
# Without `trials` the session is split in time: the last 20 % are test, the 10 % before them
# validation; with them 70 % of the trials are for training, 10 % validation and 20 % test. Counts
# say nothing about where in its bin a spike fell, so each is placed at random inside it.
# `Recording.from_arrays` and `Recording.from_binned` do the same from arrays in memory.

# %%
if not path:
    one = simulate(
        animal="sim-own", day=1, task="random_target_reaching", minutes=params.data.minutes,
        units=params.data.units, seed=seed,
    )  # fmt: skip
    cursor = one.behavior["cursor"]
    path = place / "my-session.h5"
    Recording.from_arrays(
        one.spike_times, one.spike_units, cursor["timestamps"], cursor["vel"],
        unit="cm/s", session_id=path.stem,
    ).save(path)  # fmt: skip
recording = readers.read(path, target=target, unit=unit, names=names, seed=seed)
readout = readout_of(recording)
times, values = recording.series(readout.target)
D = values.shape[1]
rate = len(recording.spike_times) / recording.duration
print(f"{recording.session_id}: {recording.duration:.0f} s, {len(recording.unit_ids)} units")
print(f"{len(recording.spike_times):,} spikes, {rate:.0f} a second")
print(f"to decode: {readout.quantity} ({readout.unit}), {len(times):,} samples, D = {D}")
file = place / f"{recording.session_id.replace('/', '_')}.pt"
if file.exists():  # it is replaced by a decoder of the same units and target only
    before = Decoder.load(file)
    own = before.quantity == readout.quantity and {*recording.unit_names} <= {*before.units.names}
    cure = "move it, or give this recording another name"
    require(own, f"{file} decodes another target or other units; {cure}")

# %% [markdown]
# Look before you train. What would spoil hours of training is looked for in a second: times in
# milliseconds, arrays that lie on their side, channels that are silent or fall silent, a target
# that is stuck, that has another clock than the spikes, or in which a linear filter on spike
# counts finds nothing:

# %%
looked_at = replace(recording, target=readout.target)
strange = health.no_seconds(looked_at)
require(not strange, f"{recording.session_id}: {strange}")
fit = linear_fit(looked_at)
trouble = [f"trouble: {line}" for line in health.trouble(looked_at, fit)]
fine = f"nothing looks strange; a quick linear filter has a validation R² of {fit.r2:.2f}"
print(*trouble or [fine], sep="\n")


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
axes[0].plot(recording.spike_times[spikes], recording.spike_units[spikes], "|", ms=3, color="0.2")
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
# A new decoder learns from the train split of this recording alone, in rounds, until the R² on the
# validation split no longer rises. A decoder that was given keeps what it knows: first only what
# stands for the new units and the new session is learned (unit identification), then everything
# (finetuning). Progress goes to the terminal: the longest that it can take, then step, loss,
# validation R², windows per second, time left. If it is stopped, run it again: it continues.

# %%
if decoder:
    known = (Decoder.load_official if decoder.endswith(".ckpt") else Decoder.load)(decoder)
    trained = known.adopt([recording], seed=seed, same_units_as=same_units_as)
    recipes = params.your_lab
    begin = recipes.same_units_identification if same_units_as else recipes.unit_identification
    plan = [begin, recipes.finetune]
    steps = plan[0].steps + plan[1].budget
    print(f"sessions that the given decoder knows: {len(known.sessions) - 1}")
    if official.seen(known.sessions.names, [recording.session_id]):
        print("this recording is one of them, so its score says nothing about a new day")
    if same_units_as:
        (r2,) = trained.score([recording]).values()
        print(f"before any training on the new day: test R² {r2:.3f}")
else:
    trained = Decoder.new([recording], size=size, windows=params.windows, seed=seed)
    steps = params.your_recording.budget
minutes = lab.cost(trained, [recording], params.your_recording) * steps / 60
say(f"training takes up to about {max(1, minutes):.0f} min ({steps} steps)")

# %%
if decoder:
    history = adapt.identify_units(trained, [recording], plan[0], seed=seed)
    finetuning = adapt.to_plateau(trained, [recording], plan[1], seed=seed, label="finetuning")
    history += [row | {"step": row["step"] + plan[0].steps} for row in finetuning]
else:
    how = {"seed": seed, "label": "your recording"}
    history = adapt.to_plateau(trained, [recording], params.your_recording, **how)
pd.DataFrame(history).astype({"step": int}).set_index("step")

# %% [markdown]
# *All validations: gradient steps, loss, and R² on the validation split. The weights that were
# best there are kept.*
#
# ## 12.3 The result
#
# Beside it a Wiener filter, which is ridge regression on spike counts around each
# sample, on the same splits and samples (see [06_baselines](06_baselines.ipynb)). **R²** is one
# minus the residual over the total sum of squares, of each column on the scored samples of the
# test split, then the mean over the columns: 1 is perfect, 0 no better than always giving the
# mean, and below it worse. It is no squared correlation.

# %%
decoded = trained.decode(recording, "test")
filtered = baselines.wiener(trained.session(recording), params.wiener, trained.windows)

# %%
step = np.median(np.diff(decoded.times))
shown = slice(int(15 / step))  # 15 s
at = step * np.arange(len(decoded.times))[shown]
gaps = at[1:][np.diff(decoded.times[shown]) > 1.5 * step]
fig, axes = plt.subplots(
    min(D, 4), 1, figsize=(6.8, 0.8 + 1.1 * min(D, 4)), sharex=True, squeeze=False
)
for i, ax in enumerate(axes[:, 0]):
    ax.fill_between(
        at, 0, 1, where=decoded.evaluated[shown], transform=ax.get_xaxis_transform(),
        color="0.95", lw=0, label="scored",
    )  # fmt: skip
    ax.plot(at, decoded.target[shown, i], color="0.6", lw=2, label="true")
    ax.plot(at, decoded.prediction[shown, i], color="C0", label="POYO")
    ax.vlines(gaps, *ax.get_ylim(), color="0.6", lw=0.8, ls=":")
    ax.set_ylabel(label(i), rotation=0, ha="right", va="center", labelpad=8)
axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 0.95), ncols=3)
axes[-1, 0].set_xlabel("time in the test split (s)")
fig.align_ylabels()
plt.show()

# %% [markdown]
# *True and decoded behaviour in the first seconds of the test split. Its stretches, if there are
# several, are put one after the other; dotted lines part them. Shaded: what counts in R², in your
# recordings all of the test split.*
#
# The decoder is saved. `Decoder.load(file)` reads it ([decoders in
# Python](../decoders.md) takes the decoded values to MATLAB), and `Stream(decoder, session_id)` of
# `poyo.stream` decodes with it while spikes arrive. The R² above is that of offline decoding: POYO
# and the filter both use spikes before and after each sample. `Stream` decodes the present from
# the past second alone; the R² that it has is printed below, too, and is lower. With
# `Stream(..., at=[0.2])` it waits for 0.2 s and sees what followed in that time.
#
# ## What we found

# %%
trained.save(file)
file = file.relative_to(ROOT)


def as_they_come(moments):
    """What is decoded at each of these times (n,) from the spikes of the second before: (n, D)."""
    before = -np.inf
    for now in moments:
        if now - before > trained.windows.length:  # the test split may have gaps
            stream = Stream(trained, recording.session_id)
        begin = max(before, now - trained.windows.length)
        new = slice(*np.searchsorted(recording.spike_times, [begin, now]))
        stream.push(recording.spike_times[new], recording.unit_ids[recording.spike_units[new]])
        yield stream.decode(now)[0]
        before = now


some = np.flatnonzero(decoded.evaluated)[:: max(1, round(0.05 / step))]  # every 50 ms
online = r2_score(decoded.target[some], np.array([*as_they_come(decoded.times[some])]))
print(f"{readout.quantity}: POYO test R² {decoded.r2:.3f}, Wiener filter {filtered.r2:.3f}")
print(f"POYO in time, from the spikes of the second before each moment: {online:.3f}")
print(f"decoder: {file}; in Python:")
print("    from poyo.decoder import Decoder")
print(f'    decoder = Decoder.load("{file}")')

# %%
best, ahead = max(history, key=lambda row: row["valid_r2"]), decoded.r2 - filtered.r2
more = "validation was still rising: give the recipe in `params.yaml` a larger `budget`"
enough = "further rounds brought nothing; a longer first one, `steps`, or more `dropout` may"
Markdown(
    f"- POYO is {abs(ahead):.2f} of R² {'above' if ahead > 0 else 'below'} the Wiener filter.\n"
    f"- Its best weights are those after {best['step']:.0f} of {history[-1]['step']:.0f} steps: "
    f"{more if best is history[-1] else enough}."
)

# %% [markdown]
# With little data, start from a `decoder` that knows other days or animals. What stays open is
# whether this difference is more than chance: one session cannot say.
#
# Next: [13_your_lab](13_your_lab.ipynb) makes one decoder of a whole folder of recordings, and
# asks what it brings.
