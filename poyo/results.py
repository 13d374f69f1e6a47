"""From many runs to the small files in git that tables and figures are drawn from.

    python -m poyo.results          runs/**/scores.csv -> figures/data/*.csv, figures/metrics.json

The list of runs comes from params.yaml, never from what happens to lie in runs/.
"""

import json

import pandas as pd
from scipy import stats

from . import ROOT, config, paper, replacing
from .plotting import FIGURES, csv
from .sources import COLUMNS


def collect(params: config.Params) -> None:
    """Gather the scores of every seed into table2, scores, curves and the headline metrics."""
    runs = ROOT / "runs"
    parts, curves = [], []
    for seed in params.seeds:
        baseline = pd.read_csv(runs / f"baselines/{seed}/scores.csv").assign(seed=seed)
        parts.append(baseline.rename(columns={"role": "column"}))
        pretrained = pd.read_csv(runs / f"pretrain/{seed}/scores.csv")
        pretrained = pretrained.assign(column="pretrain", method="multi_session", seed=seed)
        parts.append(pretrained[["column", "session_id", "method", "r2", "seed"]])
        parts.append(pd.read_csv(runs / f"adapt/{seed}/scores.csv").assign(seed=seed))
        curves.append(pd.read_csv(runs / f"adapt/{seed}/curves.csv").assign(seed=seed))
        history = pd.read_csv(runs / f"pretrain/{seed}/history.csv")
        curves.append(history.assign(column="pretrain", method="multi_session", seed=seed))
    scores = pd.concat(parts, ignore_index=True)
    csv(scores, "scores")
    csv(pd.concat(curves, ignore_index=True), "curves")
    csv(table2(scores), "table2")
    with replacing(FIGURES / "metrics.json") as scratch:
        scratch.write_text(json.dumps(headline(scores), indent=2) + "\n")


def table2(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per column and method: r2 is the mean over sessions of the mean over seeds.

    r2_std is over the sessions, as in the paper; sessions and seeds are how many there are.
    """
    rows = []
    for column in COLUMNS:
        for method in paper.METHODS:
            part = scores[(scores.column == column) & (scores.method == method)]
            per_session = part.groupby("session_id")["r2"].mean()
            rows.append(
                {
                    "column": column,
                    "method": method,
                    "r2": per_session.mean(),
                    "r2_std": per_session.std(ddof=0),
                    "sessions": len(per_session),
                    "seeds": part["seed"].nunique(),
                    "paper_r2": paper.TABLE_2[method][column][0],
                }
            )
    return pd.DataFrame(rows)


def gain(
    scores: pd.DataFrame, columns: list[str], better: str, worse: str
) -> tuple[float, float, float, int]:
    """Mean paired difference of R² over sessions, its 95 % interval, and how many sessions.

    Seeds are averaged within a session first: sessions, not seeds, are what a lab samples. The
    interval is Student's; it is nan for a single session.
    """
    part = scores[scores.column.isin(columns)]
    table = part.pivot_table(index="session_id", columns="method", values="r2")
    difference = (table[better] - table[worse]).dropna().to_numpy()
    n = len(difference)
    half = stats.t.ppf(0.975, n - 1) * difference.std(ddof=1) / n**0.5 if n > 1 else float("nan")
    mean = float(difference.mean())
    return mean, mean - half, mean + half, n


def headline(scores: pd.DataFrame) -> dict[str, float]:
    """The few numbers to compare between experiments: mean R² by column and method."""
    means = scores.groupby(["column", "method"], sort=False)["r2"].mean()
    return {f"{column}.{method}.r2": round(r2, 4) for (column, method), r2 in means.items()}


if __name__ == "__main__":
    collect(config.load())
