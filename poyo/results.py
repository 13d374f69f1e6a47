"""From many runs to the small files in git that tables and figures are drawn from.

    python -m poyo.results          runs/**/*.csv -> figures/data/*.csv, figures/metrics.json

The list of runs comes from params.yaml, never from what happens to lie in runs/.
"""

import json
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from . import ROOT, config, paper, replacing
from .plotting import FIGURES, csv
from .sources import COLUMNS

SCOPES = ("poyo_mp", "poyo_1")  # the models of Table 2
SCALING = ("single", "third", "shallow", "poyo_mp", "deep", "rt")  # those of the scaling figure


class Estimate(NamedTuple):
    """A mean over n sessions and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> str:
        """What the interval allows to say about "greater than zero"."""
        if self.low > 0:
            return "supported"
        return "contradicted" if self.high < 0 else "not resolved at this scale"


def estimate(values) -> Estimate:
    """Mean of one number per session, with Student's 95 % interval over the sessions.

    Average over seeds first: sessions, not seeds, are what a lab samples. nan are left out; the
    interval of a single session is nan.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    half = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5 if n > 1 else np.nan
    mean = float(values.mean())
    return Estimate(mean, mean - half, mean + half, n)


def gain(scores: pd.DataFrame, better: str, worse: str, by: str = "method") -> Estimate:
    """Paired difference of R² within sessions: the rows where `by` is `better` minus `worse`."""
    table = scores.pivot_table(index="session_id", columns=by, values="r2")
    if better not in table or worse not in table:
        return estimate([])
    return estimate(table[better] - table[worse])


def task_of(session_ids: pd.Series) -> pd.Series:
    """ "CO", "RT" or "maze", from the session's name."""
    found = session_ids.str.extract("(center_out|random_target|maze)", expand=False)
    return found.map({"center_out": "CO", "random_target": "RT", "maze": "maze"}).fillna("other")


# --- collecting -----------------------------------------------------------------------------


def collect(params: config.Params) -> None:
    """Gather the runs into the files of figures/data and the headline metrics."""

    def read(name: str, **columns) -> pd.DataFrame:
        """A file of runs/ with columns added."""
        return pd.read_csv(ROOT / "runs" / f"{name}.csv").assign(**columns)

    models = {name: read(f"pretrain/{name}/scores", model=name) for name in params.runs}
    sessions = [
        read("baselines/scores").rename(columns={"role": "column"}),
        *(models[name].assign(column="pretrain", method=name) for name in SCOPES),
        read("adapt/scores"),
    ]
    scores = pd.concat(sessions)[["column", "session_id", "method", "seed", "r2"]]
    csv(scores, "scores")
    csv(table2(scores), "table2")
    scaling = pd.concat([models[name] for name in SCALING if name in models])
    sizes = {name: row.size for name, row in params.models.items()}
    scaling = scaling.assign(size=scaling.model.map(sizes), task=task_of(scaling.session_id))
    csv(scaling, "scaling")
    csv(efficiency(read("adapt/curves"), read("adapt/few"), scores), "efficiency")
    csv(read("ablations/scores"), "ablations")
    csv(pd.concat([read("baselines/search"), read("adapt/search")]), "search")
    with replacing(FIGURES / "metrics.json") as scratch:
        scratch.write_text(json.dumps(headline(scores), indent=2) + "\n")


def efficiency(curves: pd.DataFrame, few: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """R² of held-out sessions by what adapting cost: gradient steps (validation R²) or labelled
    trials (test R²; all of them: trials 0)."""
    steps = curves.rename(columns={"step": "x", "valid_r2": "r2"}).assign(cost="steps")
    all_trials = scores[scores.column.isin(few.column) & scores.method.isin(few.method)]
    trials = pd.concat([few.rename(columns={"trials": "x"}), all_trials.assign(x=0)])
    both = pd.concat([steps, trials.assign(cost="trials")])
    return both[["cost", "column", "session_id", "method", "seed", "x", "r2"]]


def table2(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per column and method: r2 is the mean over sessions of the mean over seeds.

    r2_std is over the sessions, as in the paper; sessions and seeds are how many there are.
    Methods that were not tried on a column have no row.
    """
    rows = []
    for column in COLUMNS:
        for method in paper.METHODS:
            part = scores[(scores.column == column) & (scores.method == method)]
            if part.empty:
                continue
            per_session = part.groupby("session_id")["r2"].mean()
            rows.append(
                {
                    "column": column,
                    "method": method,
                    "r2": per_session.mean(),
                    "r2_std": per_session.std(ddof=0),
                    "sessions": len(per_session),
                    "seeds": part["seed"].nunique(),
                    "paper_r2": paper.TABLE_2.get(method, {}).get(column, (np.nan,))[0],
                }
            )
    return pd.DataFrame(rows)


def headline(scores: pd.DataFrame) -> dict[str, float]:
    """The few numbers to compare between experiments: mean R² by column and method."""
    means = scores.groupby(["column", "method"], sort=False)["r2"].mean()
    return {f"{column}.{method}.r2": round(r2, 4) for (column, method), r2 in means.items()}


if __name__ == "__main__":
    collect(config.load())
