"""What the rows of a laboratory's experiment say (13_your_lab): questions and their verdicts, the
figure, and what to use. Not for: training what is scored (`lab`)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import results
from .lab import FEWER, METHODS, NAMES, SCRATCH

ONE = "one session: no interval"  # instead of a verdict
FEW = 20  # labelled trials: what counts as few in the claims
NEAR = 0.01  # of R²: what is no further from the best is as good in the advice


def saved(rows: pd.DataFrame) -> pd.Series:
    """Per session: the binary logarithm of how many times as many labelled trials training from
    scratch needs for the R² of unit identification with the fewest trials tried; where it never
    gets there, as if all trials were just enough, which is too little. rows: with `labels`."""
    found = {}
    for session, one in rows.groupby("session"):
        means = one.pivot_table(index="labels", columns="method", values="r2").sort_index()
        labels = np.log2(means.index.to_numpy(dtype=float))
        goal = means["unit_identification"].iloc[0]
        scratch = means["from_scratch"].cummax().to_numpy()  # more labels hurt by chance only
        found[session] = np.interp(goal, scratch, labels) - labels[0]
    return pd.Series(found, dtype=float)


def by_days(pairs: pd.DataFrame) -> pd.DataFrame:
    """What decodes without any label, by the days between: mean R² and its interval over held-out
    sessions, as text. pairs: session, method, days, r2."""
    edges = [-np.inf, 30, 60, np.inf]
    span = pd.cut(pairs.days, edges, labels=["30 or fewer", "31 to 60", "more than 60"])
    rows = pairs.assign(days=span).groupby(["days", "method", "session"], observed=True).r2.mean()

    def text(r2: pd.Series) -> str:
        found = results.estimate(r2)
        interval = f" [{found.low:.2f}, {found.high:.2f}]" if found.n > 1 else ""
        return f"{found.mean:.2f}{interval}, {found.n} session{'s' * (found.n > 1)}"

    table = rows.groupby(["days", "method"], observed=True).agg(text).unstack(fill_value="")
    return table[[method for method in METHODS if method in table]].rename(columns=NAMES)


def fading(pairs: pd.DataFrame, method: str) -> pd.Series:
    """Per held-out session: the R² that a method without labels loses in 30 days between it and
    the earlier day, by a straight line through them. pairs: as in `by_days`."""
    found = {}
    for session, one in pairs[pairs.method == method].groupby("session"):
        means = one.groupby("days").r2.mean()
        if len(means) > 1:
            found[session] = -30 * np.polyfit(means.index, means, 1)[0]
    return pd.Series(found, dtype=float)


def claims(
    rows: pd.DataFrame, known: list[str], counts: dict[str, int], pairs: pd.DataFrame
) -> pd.DataFrame:
    """The verdicts on what a laboratory asks, one family, as `results.judge`: differences of R².
    rows: session, animal, method, trials, seed, r2. known: the animals that pretraining saw;
    counts: how many labelled trials a held-out session has; pairs: as in `by_days`, or empty.
    What has no data is not asked; what has one session is shown, and no part of the family."""
    labels = rows.trials.where(rows.trials != "all", rows.session.map(counts))
    rows = rows.assign(labels=labels.astype(float))
    new = ~rows.animal.isin(known)
    at_most = (rows.labels <= FEW) & (rows.labels > 0) & (rows.trials != "all")
    every, none = rows.trials == "all", rows.trials == 0
    unit_id, first = "unit_identification", "one decoder of all days - a Wiener filter of the day"
    mlp = "one decoder of all days - an MLP of the day"
    asked = {first: (rows, "pretrained", "wiener"), mlp: (rows, "pretrained", "mlp")}
    for who, of in (("new day", ~new), ("new animal", new)):
        few, short = f"{who}, {FEW} labelled trials or fewer", rows[of & at_most]
        whole, full = f"{who}, all trials", rows[of & every]
        asked |= {
            f"{few}: unit identification - from scratch": (short, unit_id, SCRATCH),
            f"{few}: unit identification - MLP": (short, unit_id, "mlp"),
            f"{whole}: finetuned - from scratch": (full, "finetune", SCRATCH),
            f"{whole}: finetuned - MLP": (full, "finetune", "mlp"),
        }
    fewer = [m for m in rows.method.unique() if m.startswith(FEWER)]
    for method in fewer:
        name = f"all trials: all days - {method.removeprefix(FEWER)}, unit identification"
        asked[name] = (rows[every], unit_id, method)
    of_day = rows[rows.session.isin(rows[none].session) & every & (rows.method == "wiener")]
    asked |= {
        "drift: a Wiener filter of the day - one of the last day": (
            pd.concat([of_day, rows[none]]), "wiener", "unchanged_wiener"
        ),
        "no label: embeddings of the same units - Wiener filter of the last day": (
            rows[none], "same_units", "unchanged_wiener"
        ),
    }  # fmt: skip
    tests = {}
    for name, (part, better, worse) in asked.items():
        renamed = part.rename(columns={"session": "session_id"})
        tests[name] = results.greater(results.gain(renamed, better, worse))
    if at_most.any():
        met = rows[(at_most | every) & rows.session.isin(rows[at_most].session)]
        name = "doublings of labelled trials that unit identification saves"
        tests[name] = results.greater(saved(met))
    if len(pairs):
        name = "no label: R² lost in 30 more days between, embeddings of the same units"
        tests[name] = results.greater(fading(pairs, "same_units"))
    judged = results.judge({name: test for name, test in tests.items() if test.estimate.n > 1})
    single = results.judge({name: test for name, test in tests.items() if test.estimate.n == 1})
    table = pd.concat([judged, single.assign(verdict=ONE)])
    return table.loc[[name for name in tests if name in table.index]]


def panels(rows: pd.DataFrame, sessions: list[str], trials: list) -> Figure:
    """A panel per held-out session: R² by labelled trials, the mean over seeds with its range."""
    columns = min(len(sessions), 3)
    shape = -(-len(sessions) // columns), columns
    size = (1.2 + 2.1 * columns, 0.7 + 2.0 * shape[0])
    fig, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey=True, squeeze=False)
    place = {n: i for i, n in enumerate(trials)}
    shown = [m for m in METHODS if m in set(rows.method)]
    for ax in axes.flat[len(sessions) :]:
        ax.axis("off")
    for ax, session in zip(axes.flat, sessions):
        for method in shown:
            part = rows[(rows.session == session) & (rows.method == method)]
            if part.empty:
                continue
            seeds = part.groupby("trials").r2.agg(["mean", "min", "max"]).clip(lower=0)
            seeds = seeds.loc[[n for n in trials if n in seeds.index]]
            x = [place[n] for n in seeds.index]
            name, color = METHODS[method]
            fill = color if max(x) > place.get(0, -1) else "w"  # hollow: no label used
            ax.plot(x, seeds["mean"], "o-", ms=3.5, color=color, mfc=fill, label=name)
            ax.vlines(x, seeds["min"], seeds["max"], color=color, lw=0.8)
        ax.set(title=session, ylim=(-0.03, 1), xticks=list(place.values()), xticklabels=trials)
    for ax in axes[:, 0]:
        ax.set_ylabel("test R²")
    for ax in axes.flat[max(0, len(sessions) - columns) : len(sessions)]:  # none below
        ax.set_xlabel("labelled trials")
        ax.tick_params(labelbottom=True)
    pairs = [pair for ax in axes.flat for pair in zip(*ax.get_legend_handles_labels())]
    names = {label: line for line, label in pairs}
    fig.legend(names.values(), names.keys(), loc="outside lower center", ncols=2)
    return fig


def advice(rows: pd.DataFrame) -> str:
    """What to use for each `kind` of held-out session by the number of labelled trials, a line
    each: the method with the highest mean test R², and those within NEAR of it. Where fewer labels
    were decoded better, the line says so. Only methods that all sessions of the kind have are
    compared, so that all means are over the same ones."""
    names = NAMES | {"same_units_identification": "POYO, unit identification from the same units"}
    labels = {0: "without any label", "all": "with all labelled trials"}
    rows, lines = rows[rows.method.isin(METHODS)], []
    for kind, of_kind in rows.groupby("kind", sort=False):
        before, so_far, of = "", -np.inf, set[str]()
        parts = dict([*of_kind.groupby("trials", sort=False)])
        for trials in sorted(parts, key=lambda t: np.inf if t == "all" else t):
            table = parts[trials].pivot_table(index="session", columns="method", values="r2")
            means = table.dropna(axis=1).mean().sort_values(ascending=False)
            best, r2 = means.index[0], means.iloc[0]
            near = [m for m in means.index[1:] if r2 - means[m] < NEAR]
            amount = labels.get(trials, f"with {trials} labelled trials")
            text = f"{names[best]} (test R² {r2:.2f}"
            others = [m for m in ("from_scratch", "wiener") if m in means and m != best]
            text += "".join(f", {names[m]} {means[m]:.2f}" for m in others) + ")"
            text += f"; {' and '.join(names[m] for m in near)} is as good" if near else ""
            if r2 < so_far - NEAR and {*table.index} == of:
                do = f"do as {before} (test R² {so_far:.2f})"
                text = f"{do}; of what learns from these, best is {text}"
            else:
                text, before, so_far, of = f"use {text}", amount, r2, {*table.index}
            who = f"{str(kind).capitalize()} ({len(table)} session{'s' * (len(table) > 1)})"
            lines.append(f"{who}, {amount}: {text}.")
    return "\n".join(lines)
