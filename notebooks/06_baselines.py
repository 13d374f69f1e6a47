# %% [markdown]
# # 6. The yardstick
#
# A Wiener filter: linear regression from the spike counts around a moment to the velocity at that
# moment. It is what a lab would try first, it needs seconds, and no network is worth its cost
# unless it beats it. Here it sees what POYO sees: half a second to each side in 50 ms bins, the
# same train split under the same loss weights, scored on the same samples of the same test trials.
# Its one free number, the ridge penalty, is chosen on the validation trials.

# %%
import pandas as pd

from poyo import ROOT, baselines, config, sources, tokens, vocabulary

params = config.load()
corpus = sources.load_corpus(ROOT / "runs/data")

# %%
scores = []
for role, recordings in corpus.items():
    units, names = vocabulary.units_and_sessions(recordings)
    for recording in recordings:
        session = tokens.prepare(recording, units, names)
        result = baselines.wiener(session, params.wiener, params.windows)
        scores.append(
            {"role": role, "session_id": recording.session_id, "method": "wiener", "r2": result.r2}
        )
scores = pd.DataFrame(scores).round(4)
scores.groupby("role", sort=False)["r2"].agg(["mean", "std", "count"]).round(3)

# %% [markdown]
# *R² of the Wiener filter on test trials: mean and standard deviation over the sessions of each
# role.* The filter is linear and sees one session; what is left to win is the nonlinearity of the
# neurons and everything that other sessions could have taught.

# %%
folder = ROOT / "runs/baselines"
folder.mkdir(parents=True, exist_ok=True)
scores.to_csv(folder / "scores.csv", index=False, lineterminator="\n")
