"""From many runs to the small files in git, and from those to what may be said: the one place
for estimates, intervals, tests and verdicts.

    python -m poyo collect          runs, figures/data/pretrain -> figures/data, metrics.json

The list of runs comes from params.yaml, never from what happens to lie in runs/. Not for: drawing.
"""

import json
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .. import ROOT, replacing
from . import paper
from .plotting import FIGURES, csv
from .profile import TABLE_2, Params

ALPHA = 0.05  # the share of wrong verdicts that is put up with, in a family of claims
MARGIN = 0.02  # of R²: what is closer is "as good as"
NULL_CONTROLS = ("jitter 1 ms", "bins of 5 ms")  # ablations that take next to nothing away
NOT_RESOLVED = "not resolved at this scale"


# --- estimates and tests --------------------------------------------------------------------


class Estimate(NamedTuple):
    """A mean over n units of replication, its 95 % interval, and p of a mean of zero."""

    mean: float
    low: float
    high: float
    n: int
    p: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


class Test(NamedTuple):
    """What values say of a claim ("supported" or "contradicted"), and p of them saying so by
    chance alone."""

    estimate: Estimate
    says: str
    p: float


def _t_test(values: np.ndarray, against: float, alternative: str = "two-sided"):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # values without any spread
        return stats.ttest_1samp(values, against, alternative=alternative)


def _finite(values) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return values[np.isfinite(values)]


def estimate(values) -> Estimate:
    """Mean of one number per unit of replication, with Student's 95 % interval and p.

    Average over seeds first: sessions, not seeds, are what a lab samples. nan are left out; a
    single value has neither interval nor p.
    """
    values = _finite(values)
    n, mean = len(values), float(values.mean()) if len(values) else np.nan
    if n < 2:
        return Estimate(mean, np.nan, np.nan, n, np.nan)
    test = _t_test(values, 0.0)
    low, high = test.confidence_interval(0.95)
    return Estimate(mean, float(low), float(high), n, float(test.pvalue))


def gain(scores: pd.DataFrame, better: str, worse: str, by: str = "method") -> pd.Series:
    """Paired difference of R² in each session (seeds averaged first): the rows where `by` is
    `better` minus `worse`; empty where one of them did not run."""
    table = scores.pivot_table(index="session_id", columns=by, values="r2")
    if better not in table or worse not in table:
        return pd.Series(dtype=float)
    return (table[better] - table[worse]).dropna()


def greater(values) -> Test:
    """Are the values above zero? Two-sided, so that the opposite may be found, too."""
    found = estimate(values)
    return Test(found, "supported" if found.mean > 0 else "contradicted", found.p)


def equivalent(values, margin: float = MARGIN) -> Test:
    """Are the values within `margin` of zero? Two one-sided tests (Schuirmann 1987).

    Where the mean itself lies outside, the test is whether it differs from the margin it passed.
    """
    found, values = estimate(values), _finite(values)
    if found.n < 2:
        return Test(found, "supported", np.nan)
    if abs(found.mean) < margin:
        sides = ((-margin, "greater"), (margin, "less"))
        return Test(found, "supported", max(float(_t_test(values, *s).pvalue) for s in sides))
    p = float(_t_test(values, np.copysign(margin, found.mean)).pvalue)
    return Test(found, "contradicted", p)


def holm(p) -> np.ndarray:
    """p values corrected for their number (Holm 1979); a nan counts as a test and stays nan."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(np.nan_to_num(p, nan=1.0), kind="stable")
    steps = np.nan_to_num(p, nan=1.0)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(steps).clip(0, 1) if len(p) else steps
    return np.where(np.isnan(p), np.nan, corrected)


def judge(tests: Mapping[object, Test]) -> pd.DataFrame:
    """The verdicts of a family of tests, a row each: estimate, low, high, n, p, p_holm, verdict.

    A test says what it says where its p, corrected by Holm over the family, is below ALPHA; the
    intervals are each for itself.
    """
    table = pd.DataFrame(
        [[*test.estimate[:4], test.p] for test in tests.values()],
        index=list(tests),
        columns=["estimate", "low", "high", "n", "p"],
    )
    table["p_holm"] = holm(table.p)
    says = [test.says for test in tests.values()]
    table["verdict"] = np.where(table.p_holm < ALPHA, says, NOT_RESOLVED)
    return table


# --- what the pages ask ---------------------------------------------------------------------


def ablations(scores: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """A row per variant: its R², difference to the first variant with interval, and verdict.

    What the null controls change is luck of a training, which an interval over sessions does not
    hold: a verdict needs an interval without zero and a mean beyond theirs, the second result.
    """
    variants = list(dict.fromkeys(scores.variant))
    gains = {v: estimate(gain(scores, v, variants[0], by="variant")) for v in variants[1:]}
    luck = max((abs(gains[v].mean) for v in NULL_CONTROLS if v in gains), default=0.0)
    rows = []
    for variant in variants:
        level = estimate(scores[scores.variant == variant].groupby("session_id").r2.mean())
        row = {"variant": variant, "r2": level.mean, "sessions": level.n}
        row |= {"gain": None, "verdict": ""}
        if variant in gains:
            found = gains[variant]
            clear = abs(found.mean) > luck and (found.low > 0 or found.high < 0)
            verdict = ("better" if found.mean > 0 else "worse") if clear else "not resolved"
            row |= {"gain": found, "verdict": verdict}
        rows.append(row)
    return pd.DataFrame(rows).set_index("variant"), luck


def within(scores: pd.DataFrame, by: str = "model") -> dict[str, Estimate]:
    """Mean R² of each model with the interval of what is left when each session's own level, its
    mean over the models, is taken out: what differs between models, not between sessions."""
    table = scores.pivot_table(index="session_id", columns=by, values="r2", sort=False).dropna()
    level = table.sub(table.mean(axis=1), axis=0) + table.to_numpy().mean()
    return {model: estimate(level[model]) for model in level}


def select(scaling: pd.DataFrame, **wanted) -> list[str]:
    """Names of the models whose columns are as wanted, by parameters, then amount of data."""
    models = scaling.drop_duplicates("model")
    for column, value in wanted.items():
        models = models[models[column] == value]
    models = models.sort_values(["parameters", "alone", "share"], ascending=[True, False, True])
    return list(models.model)


def by_size(scaling: pd.DataFrame) -> list[str]:
    """Models of all sessions of one source, small to large."""
    return select(scaling, scope="mp", share=1.0, alone=False)


def by_data(scaling: pd.DataFrame) -> list[str]:
    """Models of one source and of POYO-mp's size: of one session each, of some, of all."""
    return select(_as_large_as_poyo_mp(scaling), scope="mp")


def _as_large_as_poyo_mp(scaling: pd.DataFrame) -> pd.DataFrame:
    return scaling[scaling.parameters == scaling[scaling.model == "poyo_mp"].parameters.max()]


def powers(scores: pd.DataFrame, x: str) -> pd.Series:
    """The power of x by which 1 - R² falls, per session: minus the slope in the logarithms."""
    means = scores.groupby(["session_id", "model"])[["r2", x]].mean().query("r2 < 1")
    sessions = means.groupby("session_id")
    return pd.Series(
        {
            session: -np.polyfit(np.log(one[x]), np.log(1 - one.r2), 1)[0]
            for session, one in sessions
            if one[x].nunique() > 1
        },
        dtype=float,
    )


def reached(steps: pd.DataFrame, limit: int = 200, share: float = 0.9) -> pd.Series:
    """Per session: unit identification's best validation R² within `limit` steps, minus `share`
    of the finetuned one's last."""
    by = ["session_id", "seed"]
    unit = steps[(steps.method == "poyo_mp_unit_identification") & (steps.x <= limit)]
    tuned = steps[steps.method == "poyo_mp_finetune"].sort_values("x")
    margin = unit.groupby(by).r2.max() - share * tuned.groupby(by).r2.last()
    return margin.groupby("session_id").mean()


def alike(sessions: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Per session: is its nearest neighbour like it in these columns, and how often any other one
    would be ("alike", "chance")."""
    sessions = sessions.set_index("session_id")
    label = sessions[list(columns)].agg(" ".join, axis=1)
    chance = (label.map(label.value_counts()) - 1) / (len(label) - 1)
    same = label[sessions.neighbour].to_numpy() == label.to_numpy()
    return pd.DataFrame({"alike": same, "chance": chance}, index=label.index)


def claims(
    scores: pd.DataFrame, scaling: pd.DataFrame, efficiency: pd.DataFrame, sessions: pd.DataFrame
) -> pd.DataFrame:
    """The verdicts on `paper.CLAIMS`, one family: as `judge`, with the notebook to see."""
    held_out, own = scores[scores.column != "pretrain"], scores[scores.column == "pretrain"]
    steps = efficiency[efficiency.cost == "steps"]
    trials = efficiency[(efficiency.cost == "trials") & efficiency.x.between(1, 20)]
    known = scaling[scaling.model == "poyo_mp"].session_id
    others = own[~own.session_id.isin(known)]  # sessions of the other sources
    sizes, equal = by_size(scaling), _as_large_as_poyo_mp(scaling)
    single = next(iter(select(equal, scope="mp", alone=True)), "")
    less = next(iter(select(equal, scope="mp", alone=False)))
    one_task = next(iter(select(equal, scope="rt", alone=False)), "")
    random_target = scaling[scaling.task == "random_target_reaching"]
    clusters = alike(sessions, "subject", "task")
    unit_id, tuned = "poyo_mp_unit_identification", "poyo_mp_finetune"
    tests = {
        "unmatched neurons": ("04_pretrain", greater(gain(own, "poyo_mp", "wiener"))),
        "multi > single": ("07_scaling", greater(gain(scaling, "poyo_mp", single, "model"))),
        "better than networks on counts": (
            "05_adapt", greater(gain(held_out, "poyo_1_finetune", "mlp")),
        ),
        "any source": ("04_pretrain", greater(gain(others, "poyo_1", "wiener"))),
        "more sources": ("05_adapt", greater(gain(held_out, "poyo_1_finetune", tuned))),
        "unit id > wiener": ("05_adapt", greater(gain(held_out, unit_id, "wiener"))),
        "unit id > single": ("05_adapt", equivalent(gain(held_out, unit_id, "single_session"))),
        "finetune > single": ("05_adapt", greater(gain(held_out, tuned, "single_session"))),
        "finetune > unit id": ("05_adapt", greater(gain(held_out, tuned, unit_id))),
        "few labels": ("07_scaling", greater(gain(trials, unit_id, "single_session"))),
        "few steps": ("07_scaling", greater(reached(steps))),
        "more data": (
            "05_adapt", greater(gain(held_out, unit_id, f"{less}_unit_identification")),
        ),
        "other task helps": (
            "07_scaling", greater(gain(random_target, "poyo_mp", one_task, "model")),
        ),
        "deeper": ("07_scaling", greater(gain(scaling, sizes[-1], sizes[0], "model"))),
        "sessions cluster": ("08_embeddings", greater(clusters.alike - clusters.chance)),
    }  # fmt: skip
    table = judge({claim: test for claim, (_, test) in tests.items()})
    return table.assign(notebook=[notebook for notebook, _ in tests.values()])


# --- collecting -----------------------------------------------------------------------------


def collect(params: Params) -> None:
    """Gather the runs into the files of figures/data and the headline metrics."""

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(ROOT / "runs" / f"{name}.csv")

    pretrained = {
        name: pd.read_csv(FIGURES / "data/pretrain" / f"{name}.csv").assign(model=name)
        for name in params.runs
    }
    what = ("scope", "share", "alone")
    rows = {name: {k: getattr(params.models[name], k) for k in what} for name in params.runs}
    csv(pd.concat([pretrained[name].assign(**row) for name, row in rows.items()]), "scaling")
    parts = [
        read("baselines/scores").rename(columns={"role": "column"}),
        *(pretrained[name].assign(column="pretrain", method=name) for name in TABLE_2),
        read("adapt/scores"),
    ]
    scores = pd.concat(parts)[["column", "session_id", "task", "method", "seed", "r2"]]
    csv(scores, "scores")
    csv(table2(scores), "table2")
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
    for column in paper.COLUMNS:
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
