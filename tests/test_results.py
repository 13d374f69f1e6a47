"""From scores to tables: averages, pairs and intervals."""

import numpy as np
import pandas as pd
import pytest

from poyo import paper, results, sources


@pytest.fixture
def scores() -> pd.DataFrame:
    """Two sessions per column, two seeds; the filter has one run, seeds of the others differ."""
    rows = []
    for column in sources.COLUMNS:
        for day, level in enumerate((0.5, 0.7)):
            base = {"column": column, "session_id": f"{column}{day}"}
            rows.append(base | {"method": "wiener", "r2": level, "seed": 0})
            for method in list(paper.METHODS)[1:]:
                for seed, extra in enumerate((0.1, 0.3)):
                    rows.append(base | {"method": method, "r2": level + extra, "seed": seed})
    return pd.DataFrame(rows)


def test_table2_averages_seeds_then_sessions(scores):
    table = results.table2(scores).set_index(["column", "method"])
    assert len(table) == len(sources.COLUMNS) * len(paper.METHODS)
    cell = table.loc["T-CO", "poyo_mp_finetune"]
    assert cell.r2 == pytest.approx(0.8) and cell.r2_std == pytest.approx(0.1)
    assert (cell.sessions, cell.seeds) == (2, 2)
    assert cell.paper_r2 == paper.TABLE_2["poyo_mp_finetune"]["T-CO"][0]
    assert table.loc["C-CO", "wiener"].seeds == 1


def test_a_method_that_was_not_tried_on_a_column_has_no_row(scores):
    some = scores[(scores.column == "NLB-Maze") | (scores.method != "gru")]
    table = results.table2(some)
    assert list(table[table.method == "gru"].column) == ["NLB-Maze"]


def test_a_gain_is_paired_within_sessions(scores):
    gain = results.gain(scores[scores.column == "T-CO"], "poyo_mp_finetune", "wiener")
    assert gain.mean == pytest.approx(0.2) and gain.n == 2
    assert gain.low == pytest.approx(0.2) and gain.high == pytest.approx(0.2)  # alike in both


def test_a_gain_over_a_method_that_did_not_run_is_nothing(scores):
    gain = results.gain(scores, "poyo_mp_finetune", "oracle")
    assert gain.n == 0 and np.isnan(gain.mean)
    assert gain.verdict == "not resolved at this scale"


def test_an_interval_widens_with_the_spread_and_narrows_with_sessions():
    def width(differences):
        found = results.estimate(differences)
        assert found.mean == pytest.approx(np.mean(differences))
        assert found.low < found.mean < found.high
        return found.high - found.low

    assert width([0.1, 0.2]) > width([0.1, 0.2] * 4)
    assert width([0.0, 0.3]) > width([0.1, 0.2])


def test_an_interval_is_that_of_students_t():
    found = results.estimate([1.0, 2.0, 3.0, np.nan])
    assert found.n == 3 and found.mean == 2
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5)


@pytest.mark.parametrize(
    "values, verdict",
    [
        ([0.1, 0.11, 0.12], "supported"),
        ([-0.1, -0.11, -0.12], "contradicted"),
        ([-0.1, 0.1, 0.2], "not resolved at this scale"),
        ([0.5], "not resolved at this scale"),  # one session claims nothing
    ],
)
def test_a_verdict_follows_from_the_interval(values, verdict):
    assert results.estimate(values).verdict == verdict


def test_tasks_are_read_from_names():
    names = ["a_center_out_reaching", "b_random_target_reaching", "c_maze", "indy_20160407_02"]
    assert list(results.task_of(pd.Series(names))) == ["CO", "RT", "maze", "other"]


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


def test_every_claim_has_its_evidence():
    for claim, evidence, _ in paper.CLAIMS.values():
        assert claim and evidence
    assert set(paper.TABLE_2) <= set(paper.METHODS)
