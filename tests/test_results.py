"""From scores to tables: averages, pairs and intervals."""

import numpy as np
import pandas as pd
import pytest

from poyo import paper, results, sources


@pytest.fixture
def scores() -> pd.DataFrame:
    """Two sessions per column, two seeds; the filter has one run, seeds of unit i.d. differ."""
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
    cell = table.loc["T-CO", "finetune"]
    assert cell.r2 == pytest.approx(0.8) and cell.r2_std == pytest.approx(0.1)
    assert (cell.sessions, cell.seeds) == (2, 2)
    assert cell.paper_r2 == paper.TABLE_2["finetune"]["T-CO"][0]
    assert table.loc["C-CO", "wiener"].seeds == 1


def test_a_gain_is_paired_within_sessions(scores):
    mean, low, high, n = results.gain(scores, ["T-CO"], "finetune", "wiener")
    assert mean == pytest.approx(0.2) and n == 2
    assert low == pytest.approx(0.2) and high == pytest.approx(0.2)  # the same in every session


def test_an_interval_widens_with_the_spread_and_narrows_with_sessions():
    def width(differences):
        rows = [
            {"column": "a", "session_id": str(i), "method": method, "r2": r2, "seed": 0}
            for i, d in enumerate(differences)
            for method, r2 in (("better", 0.5 + d), ("worse", 0.5))
        ]
        mean, low, high, _ = results.gain(pd.DataFrame(rows), ["a"], "better", "worse")
        assert mean == pytest.approx(np.mean(differences))
        assert low < mean < high
        return high - low

    assert width([0.1, 0.2]) > width([0.1, 0.2] * 4)
    assert width([0.0, 0.3]) > width([0.1, 0.2])


def test_one_session_claims_nothing(scores):
    one = scores[scores.session_id == "T-CO0"]
    _, low, high, n = results.gain(one, ["T-CO"], "finetune", "wiener")
    assert n == 1 and np.isnan(low) and np.isnan(high)


def test_headline_numbers_are_flat(scores):
    numbers = results.headline(scores)
    assert numbers["T-RT.unit_identification.r2"] == pytest.approx(0.8)
    assert all(isinstance(value, float) for value in numbers.values())
