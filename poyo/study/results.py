"""From many runs to the small files in git (`python -m poyo collect`), and from those to what may
be said: the one place for estimates, intervals, tests and verdicts. Not for: drawing."""

import json
import warnings
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .. import ROOT, replacing
from . import paper
from .plotting import FIGURES, csv
from .profile import TABLE_2, Params

ALPHA = 0.05  # the share of wrong verdicts that is put up with, in a family of claims
TWO_LOOKS = 0.0294  # for each of two looks at the same claims, to keep it at that (Pocock 1977)
MARGIN = 0.02  # of R²: what is no further below is "as good as"
NULL_CONTROLS = ("jitter 1 ms", "bins of 5 ms")  # ablations that take next to nothing away
NOT_RESOLVED = "not resolved at this scale"
ALL, THIRD = "all sessions", "a third of them"  # what a decoder of 14_replicate was pretrained on
SHIFTED = "finetuned from shifted sessions"
AS_GOOD = ("unit id > single",)  # claims of being as good, not of being better
HELD_OUT = {  # of Table 2, by what 14_replicate calls it
    "single_session": "from_scratch",
    "poyo_mp_unit_identification": "unit_identification",
    "poyo_mp_finetune": "finetune",
    "third_unit_identification": f"unit_identification of {THIRD}",
}
NEW_ANIMAL = ("T-CO", "T-RT")  # columns
CONTROL = "control"  # pretraining on sessions whose spikes were shifted cannot help
# claim: on which sessions, and the two methods whose difference of test R² it is about
PRIMARY = {
    "unmatched neurons": ("known sessions", ALL, "wiener"),
    "multi > single": ("known sessions", ALL, "single_session"),
    "better than networks on counts": ("new sessions", "finetune", "mlp"),
    "unit id > wiener": ("new animal", "unit_identification", "wiener"),
    "unit id > single": ("new animal", "unit_identification", "from_scratch"),
    "finetune > single": ("new sessions", "finetune", "from_scratch"),
    "few labels": ("few labelled trials", "unit_identification", "from_scratch"),
    "more data": ("new sessions", "unit_identification", f"unit_identification of {THIRD}"),
    CONTROL: ("new animal", SHIFTED, "from_scratch"),
}
METHODS = {  # in the order of tables and figures, and their colours
    "unchanged_wiener": ("Wiener filter of an earlier day", "0.75"),
    "wiener": ("Wiener filter", "0.5"),
    "mlp": ("MLP", "C4"),
    "gru": ("GRU", "C3"),
    "from_scratch": ("POYO from scratch", "C1"),
    "same_units": ("POYO, embeddings of the same units", "C5"),
    "unit_identification": ("POYO, unit identification", "C2"),
    "same_units_identification": ("the same, from the embeddings of the same units", "C5"),
    "finetune": ("POYO, finetuned", "C0"),
}
NAMES = {  # of these methods, for readers
    ALL: "POYO of all sessions",
    "single_session": "POYO of the session alone",
    "wiener": "Wiener filter",
    "mlp": "MLP",
    "unit_identification": "unit identification",
    "finetune": "finetuned POYO",
    "from_scratch": "POYO from scratch",
    f"unit_identification of {THIRD}": f"the same after {THIRD}",
    SHIFTED: "finetuned after shifted spikes",
}
TESTED = {c: f"{where}: {NAMES[a]} minus {NAMES[b]}" for c, (where, a, b) in PRIMARY.items()}


class Estimate(NamedTuple):
    """A mean over n units of replication, its 95 % interval, and p of a mean of zero."""

    mean: float
    low: float
    high: float
    n: int
    p: float

    def __str__(self) -> str:
        interval = f" [{self.low:+.3f}, {self.high:+.3f}]" if self.n > 1 else ""
        return f"{self.mean:+.3f}{interval}"


class Test(NamedTuple):
    """What values say of a claim ("supported" or "contradicted"), and p of that by chance."""

    estimate: Estimate
    says: str
    p: float


def _t_test(values: np.ndarray, against: float):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # values without any spread
        return stats.ttest_1samp(values, against)


def estimate(values) -> Estimate:
    """Mean of one number per unit of replication, with Student's 95 % interval and p.
    Average over seeds first: sessions, not seeds, are what a lab samples. nan are left out; a
    single value has neither interval nor p."""
    values = pd.Series(values, dtype=float).dropna().to_numpy()
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


def greater(values, margin: float = 0.0) -> Test:
    """Are the values above zero or, as good as it, at most `margin` below? Two-sided, so that the
    opposite may be found, too."""
    found = estimate(values)
    values = pd.Series(values, dtype=float).dropna().to_numpy()
    p = float(_t_test(values, -margin).pvalue) if found.n > 1 else np.nan
    return Test(found, "supported" if found.mean > -margin else "contradicted", p)


def holm(p) -> np.ndarray:
    """p values corrected for their number (Holm 1979); a nan counts as a test and stays nan."""
    p = pd.Series(np.asarray(p, dtype=float))
    ordered = p.fillna(1.0).sort_values(kind="stable")
    corrected = (ordered * np.arange(len(p), 0, -1)).cummax().clip(0, 1)
    return corrected.sort_index().where(p.notna()).to_numpy()


def judge(tests: Mapping[Any, Test], alpha: float = ALPHA) -> pd.DataFrame:
    """The verdicts of a family of tests, a row each: estimate, low, high, n, p, p_holm, verdict.
    A test says what it says where p_holm is below alpha; the intervals are each for itself."""
    rows = [[*test.estimate[:4], test.p] for test in tests.values()]
    table = pd.DataFrame(rows, list(tests), ["estimate", "low", "high", "n", "p"])
    table["p_holm"] = holm(table.p)
    says = [test.says for test in tests.values()]
    return table.assign(verdict=np.where(table.p_holm < alpha, says, NOT_RESOLVED))


def ablations(scores: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """A row per variant: its R², difference to the first variant with interval, and verdict.
    What the null controls change is luck of a training, which an interval over sessions does not
    hold: a verdict needs an interval without zero and a mean beyond their mean absolute change
    over the sessions, which is the second result."""
    variants = list(dict.fromkeys(scores.variant))
    changes = {v: gain(scores, v, variants[0], by="variant") for v in variants[1:]}
    gains = {variant: estimate(change) for variant, change in changes.items()}
    luck = max((changes[v].abs().mean() for v in NULL_CONTROLS if v in changes), default=0.0)
    rows = []
    for variant in variants:
        levels = scores[scores.variant == variant].groupby("session_id").r2.mean()
        found, verdict = gains.get(variant), ""
        if found:
            clear = abs(found.mean) > luck and (found.low > 0 or found.high < 0)
            verdict = ("better" if found.mean > 0 else "worse") if clear else "not resolved"
        rows.append((levels.mean(), len(levels), found, verdict))
    return pd.DataFrame(rows, variants, ["r2", "sessions", "gain", "verdict"]), luck


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
    order = ["parameters", "alone", "share"]
    return list(models.sort_values(order, ascending=[True, False, True]).model)


def by_size(scaling: pd.DataFrame) -> list[str]:
    """Models of all sessions of one source, small to large."""
    return select(scaling, scope="mp", share=1.0, alone=False)


def by_data(scaling: pd.DataFrame) -> list[str]:
    """Models of one source and of POYO-mp's size: of one session each, of some, of all."""
    return select(_as_large_as_poyo_mp(scaling), scope="mp")


def _as_large_as_poyo_mp(scaling: pd.DataFrame) -> pd.DataFrame:
    return scaling[scaling.parameters == scaling[scaling.model == "poyo_mp"].parameters.max()]


def reached(steps: pd.DataFrame) -> pd.Series:
    """Per session: unit identification's best validation R² within 200 steps, minus nine tenths of
    the finetuned one's last."""
    by = ["session_id", "seed"]
    unit = steps[(steps.method == "poyo_mp_unit_identification") & (steps.x <= 200)]
    tuned = steps[steps.method == "poyo_mp_finetune"].sort_values("x")
    margin = unit.groupby(by).r2.max() - 0.9 * tuned.groupby(by).r2.last()
    return margin.groupby("session_id").mean()


def alike(sessions: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Per session: is its nearest neighbour like it in these columns, and how often any other one
    would be ("alike", "chance")."""
    sessions = sessions.set_index("session_id")
    label = sessions[list(columns)].agg(" ".join, axis=1)
    chance = (label.map(label.value_counts()) - 1) / (len(label) - 1)
    same = label[sessions.neighbour].to_numpy() == label.to_numpy()
    return pd.DataFrame({"alike": same, "chance": chance}, index=label.index)


def evidence(corpus: str, species: Iterable[int]) -> pd.DataFrame:
    """What the primary claims rest on: unit (of replication), role, session, method, trials, r2.
    A unit is a simulated species, of 14_replicate; of recordings, where there is but one cortex,
    a session."""
    folder = FIGURES / "data"
    if corpus == "simulated":
        files = [folder / f"replicates/{seed}.csv" for seed in species]
        return pd.concat(map(pd.read_csv, files)).rename(columns={"species": "unit"})
    names = "scores", "scaling", "efficiency"
    return by_session(*(pd.read_csv(folder / f"{name}.csv") for name in names))


def by_session(scores, scaling, efficiency: pd.DataFrame) -> pd.DataFrame:
    """The rows of `evidence` from a corpus of recordings."""
    held_out, own = scores[scores.column != "pretrain"], scores[scores.column == "pretrain"]
    data = scaling[scaling.model.isin(by_data(scaling))]
    amount = np.where(data.alone, "single_session", np.where(data.share < 1, THIRD, ALL))
    few = efficiency[(efficiency.cost == "trials") & (efficiency.x > 0)]
    parts = [
        own[own.method == "wiener"].assign(role="pretraining"),
        data.assign(role="pretraining", method=amount),
        held_out.replace({"method": HELD_OUT}),
        few.rename(columns={"x": "trials"}).replace({"method": HELD_OUT}),
    ]
    rows = pd.concat(parts).rename(columns={"session_id": "session"})
    rows["trials"] = ["all" if pd.isna(n) or n == "all" else int(n) for n in rows.trials]
    new = np.where(rows.column.isin(NEW_ANIMAL), "new animal", "new day")
    rows = rows.assign(unit=rows.session, role=np.where(rows.role.isna(), new, rows.role))
    return rows[["unit", "role", "session", "method", "trials", "r2"]]


def measures(rows: pd.DataFrame) -> pd.Series:
    """One number for each primary claim and the control, of one unit of replication: what minus
    what in test R² (PRIMARY), sessions averaged. rows: as in `evidence`."""
    rows = rows.rename(columns={"session": "session_id"})
    known, new = rows[rows.role == "pretraining"], rows[rows.role != "pretraining"]
    full, few = new[new.trials == "all"], new[new.trials != "all"]
    parts = {"known sessions": known, "new sessions": full, "few labelled trials": few}
    parts["new animal"] = full[full.role == "new animal"]
    means = {c: gain(parts[where], *pair).mean() for c, (where, *pair) in PRIMARY.items()}
    return pd.Series(means)


def primary(rows: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on the primary claims, one family, and on the control beside it: as `judge`,
    with the difference that as many units of replication would find four times of five
    ("detectable"). rows: as in `evidence`. Simulated species were looked at twice; of recordings,
    looked at once, there is no control."""
    found = rows.groupby("unit").apply(measures, include_groups=False)
    tests = {c: greater(found[c], MARGIN * (c in AS_GOOD)) for c in found}
    control = {CONTROL: tests.pop(CONTROL)}  # only simulated spikes are shifted
    if found[CONTROL].isna().all():
        table = judge(tests)
    else:
        table = pd.concat([judge(tests, TWO_LOOKS), judge(control, TWO_LOOKS)])
    return table.assign(detectable=found.apply(detectable))


def ceiling(profile: str, species: Iterable[int]) -> pd.DataFrame:
    """Test R² of the new animals of the replicates with many times their trials and without noise,
    of 16_ceiling; empty where that was not computed for this profile and all its species."""
    rows = pd.read_csv(FIGURES / "data/ceiling.csv")
    rows = rows[(rows.profile == profile) & rows.species.isin(species)]
    return rows if {*species} == {*rows.species} else rows[:0]


def limit(ceiling: pd.DataFrame, noiseless: bool = False) -> pd.Series:
    """Of each species, the mean R² over sessions by the method that is best with most trials."""
    rows = ceiling[(ceiling.times == ceiling.times.max()) & (ceiling.noiseless == noiseless)]
    table = rows.pivot_table(index="species", columns="method", values="r2")
    return table[table.mean().idxmax()]


def closed(new: pd.DataFrame, limit: pd.Series, method: str) -> Estimate:
    """The share of the way from scratch to the limit that a method covers, over species. new: the
    rows of held-out sessions with all their trials, as of `evidence`."""
    table = new.pivot_table(index="unit", columns="method", values="r2")
    start = table["from_scratch"]
    return estimate((table[method] - start) / (limit.reindex(table.index) - start))


def detectable(values) -> float:
    """The mean that as many values of this spread would show to be other than zero (p < 0.05,
    two-sided) four times of five."""
    values = pd.Series(values, dtype=float).dropna()
    power = stats.t.ppf([0.975, 0.8], len(values) - 1).sum()
    return float(power * values.std() / np.sqrt(len(values)))


def exploratory(scores, scaling, efficiency, sessions: pd.DataFrame) -> dict[str, Estimate]:
    """The other claims of `paper.CLAIMS`, on the one species of the pages: estimates over sessions
    and no verdict, for what one species says may be its own."""
    held_out, own = scores[scores.column != "pretrain"], scores[scores.column == "pretrain"]
    steps = efficiency[efficiency.cost == "steps"]
    known = scaling[scaling.model == "poyo_mp"].session_id
    others = own[~own.session_id.isin(known)]  # sessions of the other sources
    sizes, equal = by_size(scaling), _as_large_as_poyo_mp(scaling)
    one_task = next(iter(select(equal, scope="rt", alone=False)), "")
    rt = scaling[scaling.task == "random_target_reaching"]
    clusters = alike(sessions, "subject", "task")
    unit_id, tuned = "poyo_mp_unit_identification", "poyo_mp_finetune"
    asked = {
        "any source": gain(others, "poyo_1", "wiener"),
        "more sources": gain(held_out, "poyo_1_finetune", tuned),
        "finetune > unit id": gain(held_out, tuned, unit_id),
        "few steps": reached(steps),
        "other task helps": gain(rt, "poyo_mp", one_task, "model"),
        "deeper": gain(scaling, sizes[-1], sizes[0], "model"),
        "sessions cluster": clusters.alike - clusters.chance,
    }
    return {claim: estimate(values) for claim, values in asked.items()}


def collect(params: Params) -> None:
    """Gather the runs that params.yaml lists, whatever else there is, into the files of
    figures/data and the headline metrics."""
    runs, pretrained = ROOT / "runs", {}
    for name in params.runs:
        row = {key: getattr(params.models[name], key) for key in ("scope", "share", "alone")}
        found = pd.read_csv(FIGURES / "data/pretrain" / f"{name}.csv")
        pretrained[name] = found.assign(model=name, **row)
    csv(pd.concat(pretrained.values()), "scaling")
    own = [pretrained[name].assign(column="pretrain", method=name) for name in TABLE_2]
    baselines = pd.read_csv(runs / "baselines/scores.csv").rename(columns={"role": "column"})
    parts = [baselines, *own, pd.read_csv(runs / "adapt/scores.csv")]
    scores = pd.concat(parts)[["column", "session_id", "task", "method", "seed", "r2"]]
    csv(scores, "scores")
    csv(table2(scores), "table2")
    curves, few = (pd.read_csv(runs / "adapt" / name) for name in ("curves.csv", "few.csv"))
    csv(efficiency(curves, few, scores), "efficiency")
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
    r2_std is over the sessions, as in the paper; sessions and seeds are how many there are."""
    rows = []
    for column, method in product(paper.COLUMNS, paper.METHODS):
        part = scores[(scores.column == column) & (scores.method == method)]
        if len(part):
            r2 = part.groupby("session_id").r2.mean()
            reported, _ = paper.TABLE_2.get(method, {}).get(column, (np.nan, None))
            found = r2.mean(), r2.std(ddof=0), len(r2), part.seed.nunique(), reported
            rows.append((column, method, *found))
    names = ["column", "method", "r2", "r2_std", "sessions", "seeds", "paper_r2"]
    return pd.DataFrame(rows, columns=names)


def headline(scores: pd.DataFrame) -> dict[str, float]:
    """The few numbers to compare between experiments: mean R² by column and method."""
    means = scores.groupby(["column", "method"], sort=False)["r2"].mean()
    return {f"{column}.{method}.r2": round(r2, 4) for (column, method), r2 in means.items()}
