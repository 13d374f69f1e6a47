"""From scores to tables and verdicts: averages, pairs, tests, against worked examples."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from poyo.config import ConfigError
from poyo.study import paper, plotting, profile, results

SLEEP = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
"""Student (1908): hours of sleep gained by L- over D-hyoscyamine, ten patients."""


@pytest.fixture
def scores() -> pd.DataFrame:
    """Two sessions per column, two seeds; the filter has one run, seeds of the others differ."""
    rows = []
    for column in paper.COLUMNS:
        for day, level in enumerate((0.5, 0.7)):
            base = {"column": column, "session_id": f"{column}{day}", "task": "maze"}
            rows.append(base | {"method": "wiener", "r2": level, "seed": 0})
            for method in list(paper.METHODS)[1:]:
                for seed, extra in enumerate((0.1, 0.3)):
                    rows.append(base | {"method": method, "r2": level + extra, "seed": seed})
    return pd.DataFrame(rows)


def trained(model, r2, *, parameters=100, scope="mp", share=1.0, alone=False, **more):
    """Rows of scaling.csv: a model's R² on sessions s0, s1, ..."""
    row = {"model": model, "scope": scope, "share": share, "alone": alone, "seed": 0}
    row |= {"parameters": parameters, "spikes": 1000, "task": "maze"} | more
    return [row | {"session_id": f"s{i}", "r2": value} for i, value in enumerate(r2)]


@pytest.fixture
def scaling() -> pd.DataFrame:
    """Models whose names say nothing; 100 parameters are POYO-mp's."""
    return pd.DataFrame(
        trained("deep", [0.5, 0.6], parameters=50)
        + trained("poyo_mp", [0.6, 0.8])
        + trained("shallow", [0.7, 0.7], parameters=900)
        + trained("some", [0.5, 0.4], share=0.33)
        + trained("each", [0.3, 0.2], share=0.33, alone=True)
        + trained("poyo_1", [0.9, 0.9], scope="poyo_1")
    )


# --- estimates and tests ----------------------------------------------------------------------


def test_an_estimate_is_students():
    """By hand: mean 2.33, standard error 2.002249 / sqrt(10) = 0.633167, so t = 3.679916 of 9
    degrees of freedom, p = 0.005076, and the interval is 2.33 ± 2.262157 * 0.633167."""
    found = results.estimate([*SLEEP, np.nan])
    assert found.n == 10 and found.mean == pytest.approx(2.33)
    assert found.low == pytest.approx(0.8976775) and found.high == pytest.approx(3.7623225)
    assert found.p == pytest.approx(0.005076, abs=1e-6)


def test_an_interval_of_three_by_hand():
    found = results.estimate([1.0, 2.0, 3.0])
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5)
    # t of 2 degrees has a closed distribution: p = 1 - t / sqrt(2 + t²)
    t = 2 * 3**0.5
    assert found.p == pytest.approx(1 - t / (2 + t**2) ** 0.5)


def test_one_value_has_no_interval_and_none_no_mean():
    one, none = results.estimate([0.5]), results.estimate([np.nan])
    assert (one.mean, one.n) == (0.5, 1) and np.isnan([one.low, one.high, one.p]).all()
    assert none.n == 0 and np.isnan(none.mean)
    assert str(results.estimate(SLEEP)) == "+2.330 [+0.898, +3.762]"


def test_values_without_spread_do_not_warn(recwarn):
    assert results.estimate([0.2, 0.2])[:3] == pytest.approx((0.2, 0.2, 0.2))
    assert np.isnan(results.estimate([0.0, 0.0]).p)
    assert results.greater([0.0, 0.0], margin=0.02).p == 0
    assert not recwarn


@pytest.mark.parametrize(
    "values, verdict",
    [
        ([0.1, 0.11, 0.12], "supported"),
        ([-0.1, -0.11, -0.12], "contradicted"),
        ([-0.1, 0.1, 0.2], results.NOT_RESOLVED),
        ([0.5], results.NOT_RESOLVED),  # one session claims nothing
        ([], results.NOT_RESOLVED),
    ],
)
def test_a_lone_verdict_follows_from_the_interval(values, verdict):
    assert results.judge({"one": results.greater(values)}).verdict["one"] == verdict


def test_as_good_as_is_not_far_below():
    """By hand: mean 0.005 and standard error 0.005 of five values, 4 degrees of freedom; the
    margin at -0.02 is 5 errors away, P(|t| > 5) = 0.007490; -0.01 is 3, P(|t| > 3) = 0.039942."""
    values = 0.005 + 0.005 * np.array([-2, -1, 0, 1, 2]) * (5 / 2.5) ** 0.5
    assert np.std(values, ddof=1) / 5**0.5 == pytest.approx(0.005)
    test = results.greater(values, margin=0.02)
    assert test.says == "supported" and test.p == pytest.approx(0.007490, abs=1e-6)
    assert results.greater(values, margin=0.01).p == pytest.approx(0.039942, abs=1e-6)
    assert results.greater(values).p > 0.3, "which is not being better"


def test_what_may_be_anything_is_not_as_good_as():
    wide = results.judge({"one": results.greater([-0.3, 0.3, -0.1, 0.1], 0.02)})
    assert wide.verdict["one"] == results.NOT_RESOLVED
    worse = results.greater([-0.1, -0.11, -0.12], 0.02)
    assert worse.says == "contradicted"
    # 0.09 beyond the margin at a standard error of 0.01 / sqrt(3)
    t = 0.09 / (0.01 / 3**0.5)
    assert worse.p == pytest.approx(1 - t / (2 + t**2) ** 0.5)


def test_holm_by_hand():
    # sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04; none falls below the last
    assert results.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert results.holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    # a test that could not be made was one of the tests meant to be made
    assert results.holm([0.02, np.nan]) == pytest.approx([0.04, np.nan], nan_ok=True)


def test_a_family_is_judged_as_one():
    """Each of three tests alone has p = 0.03; together none is resolved."""
    one = results.Test(results.estimate(SLEEP), "supported", 0.03)
    assert results.judge({"a": one}).verdict["a"] == "supported"
    table = results.judge({"a": one, "b": one, "c": one._replace(p=0.001)})
    assert list(table) == ["estimate", "low", "high", "n", "p", "p_holm", "verdict"]
    assert table.p_holm.tolist() == pytest.approx([0.06, 0.06, 0.003])
    assert table.verdict.tolist() == [results.NOT_RESOLVED] * 2 + ["supported"]


def test_a_gain_is_paired_within_sessions(scores):
    gain = results.gain(scores[scores.column == "T-CO"], "poyo_mp_finetune", "wiener")
    assert gain.to_dict() == pytest.approx({"T-CO0": 0.2, "T-CO1": 0.2})  # alike in both
    assert len(results.gain(scores, "poyo_mp_finetune", "oracle")) == 0


# --- what the pages ask -----------------------------------------------------------------------


def test_an_ablation_counts_beyond_the_null_controls_only():
    def rows(variant, *r2):
        return [{"variant": variant, "session_id": i, "r2": v} for i, v in enumerate(r2)]

    full = np.array([0.5, 0.6, 0.7])
    spread = np.array([-0.001, 0.0, 0.001])
    table, luck = results.ablations(
        pd.DataFrame(
            rows("all of it", *full)
            + rows("jitter 1 ms", *full + 0.01 + spread)
            + rows("bins of 5 ms", *full - 0.03 + spread)
            + rows("little", *full - 0.02 + spread)
            + rows("much", *full - 0.1 + spread)
            + rows("mixed", 0.9, 0.1, 0.4)
            + rows("gained", *full + 0.05 + spread)
        )
    )
    assert luck == pytest.approx(0.03)
    verdicts = table.verdict.to_dict()
    assert verdicts.pop("all of it") == "" and table.gain["all of it"] is None
    assert table.r2["all of it"] == pytest.approx(0.6) and table.sessions["much"] == 3
    assert {v for v, verdict in verdicts.items() if verdict == "worse"} == {"much"}
    assert {v for v, verdict in verdicts.items() if verdict == "better"} == {"gained"}


def test_the_level_of_a_session_is_no_difference_between_models():
    """Sessions far apart, models a constant 0.1 apart: the interval has no width."""
    found = results.within(pd.DataFrame(trained("a", [0.2, 0.8]) + trained("b", [0.3, 0.9])))
    assert found["a"][:3] == pytest.approx((0.5, 0.5, 0.5))
    assert found["b"].mean == pytest.approx(0.6)


def test_models_are_compared_by_parameters_and_sessions_not_by_name(scaling):
    assert results.by_size(scaling) == ["deep", "poyo_mp", "shallow"]
    assert results.by_data(scaling) == ["each", "some", "poyo_mp"]
    assert results.select(scaling, scope="rt") == []


def test_few_steps_count_up_to_their_limit():
    rows = [
        {"method": f"poyo_mp_{m}", "x": x, "r2": r2, "session_id": "s", "seed": 0}
        for m, x, r2 in [
            ("unit_identification", 100, 0.7),
            ("unit_identification", 200, 0.6),
            ("unit_identification", 300, 0.9),
            ("finetune", 50, 0.95),
            ("finetune", 100, 0.5),
        ]
    ]
    assert results.reached(pd.DataFrame(rows))["s"] == pytest.approx(0.7 - 0.9 * 0.5)


def test_neighbours_are_alike_or_by_chance():
    table = pd.DataFrame(
        {
            "session_id": ["a", "b", "c", "d"],
            "subject": ["x", "x", "y", "y"],
            "task": ["CO", "RT", "CO", "CO"],
            "neighbour": ["b", "c", "d", "c"],
        }
    )
    animal = results.alike(table, "subject")
    assert animal.alike.tolist() == [True, False, True, True]
    assert animal.chance.tolist() == pytest.approx([1 / 3] * 4)
    both = results.alike(table, "subject", "task")
    assert both.alike.tolist() == [False, False, True, True]
    assert both.chance.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3])


def test_the_claims_of_one_species_are_estimated_without_a_verdict(scores, scaling):
    steps = {"cost": "steps", "x": 100, "r2": 0.5, "session_id": "s", "seed": 0, "column": "T-CO"}
    efficiency = pd.DataFrame(
        [steps | {"method": f"poyo_mp_{m}"} for m in ("unit_identification", "finetune")]
    )
    sessions = pd.DataFrame(
        {"session_id": ["a", "b"], "subject": "x", "task": "CO", "neighbour": ["b", "a"]}
    )
    own = scores[scores.column == "T-CO"].assign(column="pretrain")
    own["session_id"] = own.session_id.map({"T-CO0": "s0", "T-CO1": "s1"})
    own = own.replace({"method": {"mlp": "poyo_mp", "gru": "poyo_1"}})
    found = results.exploratory(pd.concat([scores, own]), scaling, efficiency, sessions)
    assert found["deeper"].mean == pytest.approx((0.2 + 0.1) / 2)
    assert found["any source"].n == 0, "all sessions here are POYO-mp's"


# --- replicates -------------------------------------------------------------------------------


def species(seed: int, rng: np.random.Generator, **more: float) -> pd.DataFrame:
    """The rows of a replicate: every method at 0.8, those in `more` above it by so much."""
    roles = {"pretraining": ["a", "b"], "new day": ["c"], "new animal": ["d", "e"]}
    unit_id = "unit_identification"
    known = [results.ALL, "wiener", "single_session"]
    met = ["wiener", "mlp", "from_scratch", unit_id, "finetune", f"{unit_id} of {results.THIRD}"]
    rows = [
        {"unit": seed, "role": role, "session": session, "method": method, "trials": trials,
         "r2": 0.8 + more.get(method, 0.0) + 0.001 * rng.standard_normal()}
        for role, sessions in roles.items()
        for session in sessions
        for method in (known if role == "pretraining" else [*met, results.SHIFTED])
        for trials in (["all"] if role == "pretraining" else [5, "all"])
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_claim_rests_on_species_and_not_on_their_sessions(monkeypatch):
    rng = np.random.default_rng(0)
    rows = pd.concat(species(seed, rng, finetune=0.1, wiener=-0.1) for seed in range(6))
    table = results.primary(rows)
    assert {*table.index} == {*paper.CLAIMS} & {*table.index} | {results.CONTROL}
    assert len(table) == 9 and (table.n == 6).all()
    assert table.estimate["finetune > single"] == pytest.approx(0.1, abs=0.01)
    assert table.verdict["finetune > single"] == "supported"
    assert table.verdict["unit id > single"] == "supported", "equal is as good as"
    assert table.verdict["few labels"] == results.NOT_RESOLVED, "equal is not better"
    assert table.verdict[results.CONTROL] == results.NOT_RESOLVED
    assert table.p_holm[results.CONTROL] == table.p[results.CONTROL], "a family of its own"
    again = pd.concat([rows, rows[rows.unit == 0]])  # the same sessions twice
    assert (results.primary(again).n == 6).all()
    worse = pd.concat(species(seed, rng, finetune=-0.1) for seed in range(6))
    assert results.primary(worse).verdict["finetune > single"] == "contradicted"
    monkeypatch.setattr(results, "TWO_LOOKS", 0.0)
    assert (results.primary(rows).verdict == results.NOT_RESOLVED).all(), "species: two looks"
    once = results.primary(rows[rows.method != results.SHIFTED])
    assert (once.verdict != results.NOT_RESOLVED).any(), "recordings are looked at once"


def test_where_there_is_one_cortex_claims_rest_on_sessions(scores, scaling):
    few = {"cost": "trials", "x": 5, "r2": 0.4, "seed": 0, "column": "T-CO"}
    efficiency = pd.DataFrame(
        [few | {"method": f"poyo_mp_{m}", "session_id": "T-CO0"} for m in ("finetune",)]
        + [few | {"method": "single_session", "session_id": "T-CO0", "x": 0}]
    )
    own = scores[scores.column == "T-CO"].assign(column="pretrain")
    own["session_id"] = own.session_id.map({"T-CO0": "s0", "T-CO1": "s1"})
    rows = results.by_session(pd.concat([scores, own]), scaling, efficiency)
    assert {*rows.role} == {"pretraining", "new day", "new animal"}
    assert {*rows[rows.role == "new animal"].session.str[:4]} == {"T-CO", "T-RT"}
    assert rows[rows.trials == 5][["session", "method"]].to_numpy().tolist() == [
        ["T-CO0", "finetune"]
    ], "all trials, 0 in the file, stand in the scores"
    table = results.primary(rows)
    assert table.n["multi > single"] == 2
    assert table.estimate["multi > single"] == pytest.approx(0.45), "0.7 of all, 0.25 of one each"
    assert table.estimate["finetune > single"] == pytest.approx(0.0)
    assert table.n["finetune > single"] == 2 * len(paper.COLUMNS)
    assert results.CONTROL not in table.index, "no one shifted the spikes of recordings"


def test_what_is_detectable_is_found_in_four_cases_of_five():
    rng, n = np.random.default_rng(0), 6
    found = [results.greater(0.01 * rng.standard_normal(n)) for _ in range(50)]
    spread = np.mean([test.estimate.high - test.estimate.mean for test in found])
    reach = results.detectable(np.array([0.01, -0.01] * 3))
    assert spread < reach < 2.5 * spread
    draws = reach + 0.01 * np.sqrt(6 / 5) * rng.standard_normal((1000, n))
    share = np.mean([results.greater(draw).p < 0.05 for draw in draws])
    assert 0.72 < share < 0.88


def test_the_claims_in_the_repository_say_what_their_numbers_say():
    table = pd.read_csv(plotting.FIGURES / "data/claims.csv").set_index("claim")
    resolved = table.p_holm < results.ALPHA
    assert (resolved == (table.verdict != results.NOT_RESOLVED)).all()
    family = table.drop(results.CONTROL)
    assert results.holm(family.p) == pytest.approx(family.p_holm, abs=2e-3, nan_ok=True)


def test_the_verdicts_in_the_repository_can_be_counted_again_without_us():
    """From the committed rows of each species, by hand: no function of `results` is used."""
    folder = plotting.FIGURES / "data"
    asked = {  # claim: role, or both new ones; trials; what minus what
        "unmatched neurons": ("pretraining", "all", "all sessions", "wiener"),
        "multi > single": ("pretraining", "all", "all sessions", "single_session"),
        "better than networks on counts": ("new", "all", "finetune", "mlp"),
        "unit id > wiener": ("new animal", "all", "unit_identification", "wiener"),
        "unit id > single": ("new animal", "all", "unit_identification", "from_scratch"),
        "finetune > single": ("new", "all", "finetune", "from_scratch"),
        "few labels": ("new", "5", "unit_identification", "from_scratch"),
        "more data": (
            "new", "all", "unit_identification", "unit_identification of a third of them"
        ),
    }  # fmt: skip
    says, p = {}, {}
    for claim, (role, trials, better, worse) in asked.items():
        means = []
        for path in sorted((folder / "replicates").glob("*.csv")):
            found = {better: {}, worse: {}}
            for line in path.read_text().splitlines()[1:]:
                _, where, session, method, n, r2 = line.split(",")
                if where.startswith(role) and n == trials and method in found:
                    found[method][session] = float(r2)
            both = found[better].keys() & found[worse].keys()
            means.append(np.mean([found[better][one] - found[worse][one] for one in both]))
        mean, error = np.mean(means), np.std(means, ddof=1) / np.sqrt(len(means))
        mean += 0.02 * (claim == "unit id > single")  # as good as: no more below
        says[claim] = "supported" if mean > 0 else "contradicted"
        p[claim] = 2 * stats.t.sf(abs(mean) / error, len(means) - 1)
    corrected = 0.0
    table = pd.read_csv(folder / "claims.csv").set_index("claim")
    for left, claim in zip(range(len(p), 0, -1), sorted(p, key=p.get)):
        corrected = min(1.0, max(corrected, left * p[claim]))
        verdict = says[claim] if corrected < 0.05 else "not resolved at this scale"
        assert table.verdict[claim] == verdict, claim
        assert table.p_holm[claim] == pytest.approx(corrected, abs=2e-3), claim


def test_a_ceiling_is_the_best_method_with_most_trials_and_a_share_is_of_the_way_to_it():
    rows = [
        {"species": s, "session": "a", "times": k, "method": m, "noiseless": noiseless, "r2": r2}
        for s in (1, 2, 3)
        for k, m, noiseless, r2 in [
            (4, "mlp", False, 0.95), (64, "mlp", False, 0.85), (64, "gru", False, 0.9),
            (64, "mlp", True, 0.99),
        ]
    ]  # fmt: skip
    top = results.limit(pd.DataFrame(rows))
    assert top.to_dict() == {1: 0.9, 2: 0.9, 3: 0.9}
    assert results.limit(pd.DataFrame(rows), noiseless=True)[1] == 0.99
    levels = {"from_scratch": 0.7, "finetune": 0.75}
    new = [{"unit": s, "method": m, "r2": r2} for s in (1, 2, 3) for m, r2 in levels.items()]
    share = results.closed(pd.DataFrame(new), top, "finetune")
    assert share.mean == pytest.approx(0.25) and share.n == 3


def test_who_looks_twice_needs_a_smaller_p():
    test = {"claim": results.Test(results.Estimate(0.1, 0.0, 0.2, 6, 0.04), "supported", 0.04)}
    verdicts = [results.judge(test, alpha).verdict.item() for alpha in (0.05, results.TWO_LOOKS)]
    assert verdicts == ["supported", results.NOT_RESOLVED]


def test_claims_rest_on_species_that_nothing_was_chosen_on():
    params = profile.load()
    files = {int(path.stem) for path in (plotting.FIGURES / "data/replicates").glob("*.csv")}
    assert files == {*params.evidence.claims, *params.evidence.more}
    assert not files & {*params.evidence.development, params.data.seed}


# --- collecting -------------------------------------------------------------------------------


def test_table2_averages_seeds_then_sessions(scores):
    table = results.table2(scores).set_index(["column", "method"])
    assert len(table) == len(paper.COLUMNS) * len(paper.METHODS)
    cell = table.loc["T-CO", "poyo_mp_finetune"]
    assert cell.r2 == pytest.approx(0.8) and cell.r2_std == pytest.approx(0.1)
    assert (cell.sessions, cell.seeds) == (2, 2)
    assert cell.paper_r2 == paper.TABLE_2["poyo_mp_finetune"]["T-CO"][0]
    assert table.loc["C-CO", "wiener"].seeds == 1


def test_a_method_that_was_not_tried_on_a_column_has_no_row(scores):
    some = scores[(scores.column == "NLB-Maze") | (scores.method != "gru")]
    table = results.table2(some)
    assert list(table[table.method == "gru"].column) == ["NLB-Maze"]


def test_efficiency_holds_steps_of_held_out_sessions_and_trials_with_all_of_them(scores):
    base = {"column": "T-CO", "session_id": "T-CO0", "method": "single_session", "seed": 0}
    curves = pd.DataFrame([base | {"step": 50, "valid_r2": 0.2}])
    few = pd.DataFrame([base | {"trials": 5, "r2": 0.1}])
    found = results.efficiency(curves, few, scores)
    steps, trials = (found[found.cost == kind] for kind in ("steps", "trials"))
    assert list(steps.x) == [50] and list(steps.r2) == [0.2]
    assert set(trials.x) == {5, 0} and set(trials.column) == {"T-CO"}
    assert set(trials.method) == {"single_session"}


def test_headline_numbers_are_flat(scores):
    numbers = results.headline(scores)
    assert numbers["T-RT.single_session.r2"] == pytest.approx(0.8)
    assert all(isinstance(value, float) for value in numbers.values())


def test_only_the_runs_listed_are_collected(tmp_path, monkeypatch, scores):
    """What lies in figures/data/pretrain and runs beside them changes nothing."""
    from poyo import ROOT
    from poyo.study import profile

    monkeypatch.setattr(results, "ROOT", tmp_path)
    for module in (results, plotting):
        monkeypatch.setattr(module, "FIGURES", tmp_path / "figures")
    params = profile.load(ROOT / "profiles/smoke.yaml")
    pretrain = tmp_path / "figures/data/pretrain"
    pretrain.mkdir(parents=True)
    run = "session_id,task,seed,r2,parameters,sessions,spikes\ns0,maze,0,0.5,100,1,1000\n"
    for name in (*params.runs, "left_over"):
        (pretrain / f"{name}.csv").write_text(run)
    tables = {
        "adapt/scores": scores, "baselines/scores": scores.rename(columns={"column": "role"}),
        "adapt/curves": scores.assign(step=1, valid_r2=0.1).drop(columns="r2"),
        "adapt/few": scores.assign(trials=5), "ablations/scores": scores,
    }  # fmt: skip
    for name, table in tables.items():
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(tmp_path / f"runs/{name}.csv", index=False)
    results.collect(params)
    scaling = pd.read_csv(tmp_path / "figures/data/scaling.csv")
    assert list(scaling.model) == list(params.runs)
    columns = ["session_id", "task", "seed", "r2", "parameters", "sessions", "spikes"]
    assert list(scaling) == [*columns, "model", "scope", "share", "alone"]
    assert not scaling.alone.any() and {*scaling.share} == {1.0}
    found = pd.read_csv(tmp_path / "figures/data/scores.csv")
    assert list(found) == ["column", "session_id", "task", "method", "seed", "r2"]
    assert set(found[found.column == "pretrain"].method) == {"poyo_mp", "poyo_1"}


def test_small_numbers_keep_their_digits(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "FIGURES", tmp_path)
    plotting.csv(pd.DataFrame({"x": [0.0, 1.23456, 0.00002345678, np.nan]}), "one")
    assert (tmp_path / "data/one.csv").read_text() == 'x\n0.0000\n1.2346\n2.346e-05\n""\n'


def test_every_claim_has_its_evidence():
    for claim, evidence, _ in paper.CLAIMS.values():
        assert claim and evidence
    assert set(paper.TABLE_2) <= set(paper.METHODS)


def test_verdicts_need_neither_recordings_nor_torch():
    code = "import sys, poyo.study.results; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [m for m in done.stdout.split() if m.startswith(("poyo.data", "torch", "h5py"))]


@pytest.mark.parametrize("name", ["../one", "pretrain/../../one", "/tmp/one", "a b", ""])
def test_a_figure_and_a_table_stay_in_their_folder(tmp_path, monkeypatch, name):
    monkeypatch.setattr(plotting, "FIGURES", tmp_path / "figures")
    for write in (plotting.csv, lambda data, name: plotting.markdown([{"a": "b"}], name, "")):
        with pytest.raises(ConfigError, match="is no name: letters, digits"):
            write(pd.DataFrame({"x": [0.0]}), name)
    assert not list(tmp_path.iterdir())
