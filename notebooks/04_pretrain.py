# %% [markdown]
# # 4. Pretraining: one model for every session
#
# A classical decoder belongs to one session: its weights are tied to that day's neurons, in that
# day's order. POYO's network is tied to none. All that knows about *which* neurons were recorded
# are the rows of the unit embedding, one per neuron; attention, feed-forwards and readout are
# shared by every animal, day and task. So one model can be trained on all sessions at once, and
# whatever is common to them (how motor cortex turns spikes into movement) has to go into the
# shared part.
#
# This notebook trains that model on the sessions whose role is `pretrain` and leaves the held-out
# ones for [05_adapt](05_adapt.ipynb). It is the same loop for every corpus and size: change a
# number in `params.yaml` under `pretrain` and run `dvc repro`.

# %% tags=["parameters"]
seed = 0

# %%
import matplotlib.pyplot as plt
import pandas as pd

from poyo import ROOT, adapt, checkpoint, config, evaluate, sources, threads, tokens, train

plt.style.use("poyo.style")
params = config.load()
threads.use(params.threads)

# %% [markdown]
# ## 4.1 The sessions
#
# Every session gets a row in the session vocabulary and every unit one in the unit vocabulary.
# Nothing aligns units across days: neuron 12 of Monday and neuron 12 of Tuesday are two names.

# %%
recordings = sources.load_corpus(ROOT / "runs/data")["pretrain"]
start = adapt.scratch(recordings, params.size, seed=seed)
sessions = [tokens.prepare(r, start.units, start.sessions) for r in recordings]
print(f"{len(sessions)} sessions, {len(start.units) - 1} units")
print(f"{sum(r.duration for r in recordings) / 60:.0f} minutes of recording")

# %%
model = start.model.to(train.device())
embeddings = model.unit_emb.weight.numel() + model.session_emb.weight.numel()
total = sum(p.numel() for p in model.parameters())
print(f"size {params.size}: {total - embeddings:,} shared parameters")
print(f"and {embeddings:,} in the embeddings of units and sessions")

# %% [markdown]
# ## 4.2 The training run
#
# Each step takes random 1-second windows from all sessions at once, drops some units at random
# from each (so that the decoder leans on no single neuron) and minimises the weighted squared
# error of the decoded velocity: reaches count five times, waiting counts a tenth.
#
# Paper: LAMB at a learning rate proportional to the batch, constant for half of 1,000 epochs, then
# a cosine. Here, in the `laptop` profile: Muon for the network's matrices and AdamW for the rest,
# with a short rise and a cosine, because on a small budget the constant phase is spent on a
# plateau. `optimizer: lamb` brings the paper's back.

# %%
history = train.train(
    model,
    sessions,
    params.pretrain,
    params.windows,
    size=params.size,
    seed=seed,
    label=f"pretrain, seed {seed}",
)
history = pd.DataFrame(history)
history.tail(3)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.4))
left.plot(history["step"], history["loss"], marker="o", ms=3)
left.set(xlabel="gradient step", ylabel="weighted squared error", ylim=(0, None))
right.plot(history["step"], history["valid_r2"], marker="o", ms=3, color="C1")
right.set(xlabel="gradient step", ylabel="validation R²", ylim=(min(0, right.get_ylim()[0]), 1))
plt.show()

# %% [markdown]
# *Training loss (left) and mean R² over the sessions' validation trials (right).*
#
# ## 4.3 How well it decodes the trials it has not seen
#
# The test trials of the same sessions. Overlapping windows are decoded and averaged where they
# overlap; R² is taken over all evaluated samples of a session (the reaches in center-out).

# %%
latents = tokens.latents(params.size, params.windows)
r2 = evaluate.scores(model, latents, sessions, "test", params.windows)
scores = pd.DataFrame(
    [
        {"session_id": r.session_id, "units": len(r.unit_ids), "r2": r2[r.session_id]}
        for r in recordings
    ]
).round(4)
print(f"mean test R² over {len(scores)} sessions: {scores['r2'].mean():.3f}")
scores

# %% [markdown]
# ## 4.4 What is kept
#
# The weights with both vocabularies: a checkpoint knows the name of every row it has. Besides it,
# the learning curve and the table above, which [11_results](11_results.ipynb) collects.

# %%
folder = ROOT / "runs/pretrain" / str(seed)
start.model = model.cpu()
start.about = {"params": config.to_dict(params), "seed": seed}
checkpoint.save(folder / "model.pt", start)
history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
scores.to_csv(folder / "scores.csv", index=False, lineterminator="\n")
