"""Which windows are seen, and how many units of them."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from poyo.data.intervals import intervals
from poyo.sampling import TrainingWindows, WindowError, grid, keep_probabilities, keep_units

DOMAINS = [
    intervals([0, 10], [3.7, 11.0]),  # 3 and 1 windows of a second
    intervals([5, 7, 20], [5.5, 9.0, 24.999]),  # 0, 2 and 4
    intervals(100.25, 105.3),  # 5
]
COUNTS = {(0, 0): 3, (0, 10): 1, (1, 7): 2, (1, 20): 4, (2, 100.25): 5}


def stream(seed=0, length=1.0) -> TrainingWindows:
    return TrainingWindows(DOMAINS, length, seed)


def pairs(part) -> list[tuple[int, float]]:
    return list(zip(*(column.tolist() for column in part)))


# --- training windows -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_windows_lie_inside_their_intervals_floor_of_them_in_each(seed):
    found = Counter()
    for which, start in pairs(stream(seed).epoch(seed)):
        homes = [a for a, b in DOMAINS[which] if a - 1e-9 <= start and start + 1 <= b + 1e-9]
        assert len(homes) == 1, (which, start)
        found[which, homes[0]] += 1
    assert found == COUNTS
    assert len(stream(seed)) == 15


def test_a_window_as_long_as_its_interval_fits():
    starts = TrainingWindows([intervals(0.1, 0.1 + 0.3)], 0.3, 0).epoch(0)[1]
    np.testing.assert_allclose(starts, [0.1])


def test_windows_of_an_interval_do_not_pile_up():
    _, starts = TrainingWindows([intervals(0, 100)], 1.0, 0).epoch(0)
    assert (np.diff(np.sort(starts)[:-1]) > 0.0).all()
    covered = np.unique(np.floor(starts))
    assert len(covered) >= 98


def test_a_step_depends_on_seed_and_step_alone():
    forward = [pairs(stream().batch(step, 4)) for step in range(12)]
    one = stream()
    backward = [pairs(one.batch(step, 4)) for step in reversed(range(12))]
    assert forward == backward[::-1]
    assert forward != [pairs(stream(seed=1).batch(step, 4)) for step in range(12)]


def test_epochs_differ_in_windows_and_order():
    one, two = (pairs(stream().epoch(e)) for e in (0, 1))
    assert set(one) & set(two) == {(0, 10.0)}  # the one with no room to move
    assert [which for which, _ in one] != [which for which, _ in two]


@pytest.mark.parametrize("size", [4, 15, 37])
def test_batches_run_over_epoch_ends_without_repeating_or_losing_windows(size):
    windows = stream()
    seen = [pair for step in range(15) for pair in pairs(windows.batch(step, size))]
    epochs = [pair for e in range(size) for pair in pairs(stream().epoch(e))]
    assert seen == epochs  # 15 steps of `size` are `size` epochs of 15


def test_a_batch_may_be_larger_than_an_epoch():
    which, starts = stream().batch(3, 100)
    assert len(which) == len(starts) == 100


@pytest.mark.parametrize("domains", [[intervals(0, 0.9)], [np.empty((0, 2))], []])
def test_no_window_is_an_error_with_the_cure(domains):
    with pytest.raises(WindowError, match=r"as long as a window \(1\.0 s\).*windows\.length"):
        TrainingWindows(domains, 1.0, 0)


# --- evaluation windows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "interval, expected",
    [
        ((0, 1), [0]),
        ((0, 2), [0, 0.5, 1]),
        ((0, 2.2), [0, 0.5, 1, 1.2]),
        ((7, 8.01), [7, 7.01]),
        ((0, 0.9999996), [0]),  # rounded short: still one window
    ],
)
def test_the_grid_is_regular_and_its_last_window_right_aligned(interval, expected):
    np.testing.assert_allclose(grid(intervals(*interval), 1.0, 0.5), expected, atol=1e-6)


def test_the_grid_covers_all_of_every_interval_and_nothing_else():
    rng = np.random.default_rng(0)
    begin = np.cumsum(rng.uniform(5, 8, 30))
    domain = intervals(begin, begin + rng.uniform(1, 5, 30))
    starts = grid(domain, 1.0, 0.5)
    assert all(any(a - 1e-9 <= s and s + 1 <= b + 1e-9 for a, b in domain) for s in starts)
    for a, b in domain:
        own = starts[(starts >= a - 1e-9) & (starts < b)]
        assert own[0] == pytest.approx(a)
        assert own[-1] + 1 == pytest.approx(b)
        assert (np.diff(own) <= 0.5 + 1e-9).all()


def test_an_interval_shorter_than_a_window_is_named():
    with pytest.raises(WindowError, match=r"\[3\.000, 3\.500\) is shorter"):
        grid(intervals([0, 3], [2, 3.5]), 1.0, 0.5)


def test_no_interval_no_window():
    assert len(grid(np.empty((0, 2)), 1.0, 0.5)) == 0


# --- unit dropout -----------------------------------------------------------------------------


def kept(total: int, triangle, n=300, seed=(0, 2, 0)) -> np.ndarray:
    """How many of `total` units each of n windows keeps."""
    session = SimpleNamespace(unit_rows=np.arange(total))
    masks = keep_units([session], np.zeros(n, dtype=int), triangle, seed)
    assert all(mask.shape == (total,) and mask.dtype == bool for mask in masks)
    return np.array([mask.sum() for mask in masks])


def test_kept_units_are_between_fewest_and_most():
    counts = kept(500, (30, 100, 300))
    assert 30 <= counts.min() < 60
    assert 240 < counts.max() <= 300


def test_a_session_below_the_fewest_keeps_all():
    assert (kept(29, (30, 100, 300)) == 29).all()


def test_a_draw_above_the_session_keeps_all():
    counts = kept(60, (30, 100, 300))
    assert counts.max() == 60
    assert (counts == 60).mean() > 0.5
    assert counts.min() < 60


def test_which_units_are_kept_varies_and_no_unit_is_favoured():
    session = SimpleNamespace(unit_rows=np.arange(40))
    masks = np.array(keep_units([session], np.zeros(2000, dtype=int), (10, 15, 20), (0,)))
    share = masks.mean(0) / masks.mean()
    assert np.abs(share - 1).max() < 0.2


def test_unit_dropout_is_a_function_of_its_seed():
    one, same, other = (kept(500, (30, 100, 300), seed=(0, 2, s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_mode_is_likeliest_by_the_flattened_ratio():
    p = keep_probabilities(30, 100, 300)
    assert p.sum() == pytest.approx(1)
    assert p.argmax() == 70
    ratio = 0.4 * (1 - np.log(0.4)) / (0.1 * (1 - np.log(0.1)))  # 2.3, not 4: see the docstring
    assert p[70] / p[0] == pytest.approx(ratio)
    assert p[70] / p[-1] == pytest.approx(ratio)


@pytest.mark.parametrize("triangle", [(4, 4, 8), (4, 8, 8), (5, 5, 5)])
def test_triangles_may_be_one_sided(triangle):
    counts = kept(100, triangle)
    assert counts.min() == triangle[0]
    assert counts.max() == triangle[2]
