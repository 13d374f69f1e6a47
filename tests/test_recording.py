"""Intervals against brute force, splits, a session's way to disk and back, bad input."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from poyo import recording as module
from poyo.intervals import contains, dilate, intervals, subtract, union
from poyo.recording import Recording, RecordingError, read, split_in_time, split_trials

GRID = np.arange(-32, 193) / 16  # twice as fine as the edges of `scatter`, so edges are on it


def scatter(rng: np.random.Generator) -> np.ndarray:
    """0 to 7 intervals with edges at multiples of 1/8: they overlap, touch, nest, repeat."""
    start = rng.integers(0, 64, rng.integers(0, 8)) / 8
    return intervals(start, start + rng.integers(0, 20, len(start)) / 8)


def inside(pairs: np.ndarray) -> np.ndarray:
    return np.array([any(a <= t < b for a, b in pairs) for t in GRID])


def arrays(recording: Recording) -> dict[str, np.ndarray]:
    """Everything in a recording, flat."""
    flat = {
        "spike_times": recording.spike_times,
        "spike_units": recording.spike_units,
        "unit_ids": recording.unit_ids,
        "domain": recording.domain,
    }
    for name, series in recording.behavior.items():
        flat |= {f"{name}.{key}": values for key, values in series.items()}
    for part in ("units", "splits", "intervals"):
        flat |= {f"{part} {key}": value for key, value in getattr(recording, part).items()}
    return flat


# --- interval algebra -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_interval_algebra_is_that_of_sets(seed):
    rng = np.random.default_rng(seed)
    a, b = scatter(rng), scatter(rng)
    for result, expected in [
        (union(a, b), inside(a) | inside(b)),
        (subtract(a, b), inside(a) & ~inside(b)),
        (dilate(a, 0.5), inside([(p - 0.5, q + 0.5) for p, q in a])),
    ]:
        np.testing.assert_array_equal(inside(result), expected)
        np.testing.assert_array_equal(contains(result, GRID), expected)
        assert (result[:, 1] > result[:, 0]).all()
        assert (result[1:, 0] > result[:-1, 1]).all(), "sorted, apart"


def test_contains_takes_overlapping_intervals():
    rng = np.random.default_rng(0)
    for _ in range(30):
        pairs = scatter(rng)
        np.testing.assert_array_equal(contains(pairs, GRID), inside(pairs))


def test_intervals_reads_one_pair_two_arrays_or_rows_and_sorts():
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(intervals(1, 2), rows[:1])
    np.testing.assert_array_equal(intervals([3, 1], [4, 2]), rows)
    np.testing.assert_array_equal(intervals(rows[::-1]), rows)


# --- splits -----------------------------------------------------------------------------------


def trials_of(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A domain and n trials of 1 to 3 s in it, up to 2 s apart."""
    rng = np.random.default_rng(seed)
    start = np.cumsum(rng.uniform(3.0, 5.0, n))
    trials = intervals(start, start + rng.uniform(1.0, 3.0, n))
    return intervals(0, trials.max() + 3), trials


@pytest.mark.parametrize("n, valid, test", [(5, 1, 1), (10, 1, 2), (100, 10, 20)])
def test_a_tenth_of_the_trials_validates_and_a_fifth_tests(n, valid, test):
    domain, trials = trials_of(n)
    splits = split_trials(domain, trials, seed=3)
    held = {tuple(row) for name in ("valid", "test") for row in splits[name]}
    assert (len(splits["valid"]), len(splits["test"]), len(held)) == (valid, test, valid + test)
    assert held < {tuple(row) for row in trials}


def test_train_is_all_that_is_a_second_away_from_held_out_trials():
    domain, trials = trials_of(50)
    splits = split_trials(domain, trials, seed=0)
    held = np.concatenate([splits["valid"], splits["test"]])
    times = np.random.default_rng(1).uniform(*domain[0], 5000)
    away = np.maximum(held[:, 0] - times[:, None], times[:, None] - held[:, 1]).min(1)
    np.testing.assert_array_equal(contains(splits["train"], times), away >= 1.0)


def test_the_seed_of_a_split_decides():
    domain, trials = trials_of(50)
    one, same, other = (split_trials(domain, trials, seed=s)["test"] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_four_trials_are_too_few():
    with pytest.raises(RecordingError, match=r"4 valid trials .* at least 5"):
        split_trials(*trials_of(4), seed=0)


def test_chronological_split():
    splits = split_in_time(intervals(100.0, 200.0))
    expected = {"train": (100, 169), "valid": (170, 179), "test": (180, 200)}
    for name, pair in expected.items():
        np.testing.assert_allclose(splits[name], [pair], err_msg=name)


def test_chronological_split_respects_gaps_in_the_recording():
    domain = intervals([0, 50], [40, 100])
    splits = split_in_time(domain)
    np.testing.assert_allclose(splits["train"], [[0, 40], [50, 69]])


# --- disk -------------------------------------------------------------------------------------


def test_a_session_comes_back_from_disk_bit_for_bit(simulated, tmp_path):
    simulated.save(tmp_path / "s.h5")
    back = Recording.load(tmp_path / "s.h5")
    one, two = arrays(simulated), arrays(back)
    assert one.keys() == two.keys()
    for key in one:
        assert one[key].dtype == two[key].dtype, key
        assert one[key].tobytes() == np.ascontiguousarray(two[key]).tobytes(), key
    for name in ("session_id", "subject", "brainset"):
        assert getattr(back, name) == getattr(simulated, name)


def test_saving_twice_gives_the_same_bytes(simulated, tmp_path):
    for name in "ab":
        simulated.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_loaded_arrays_stay_on_disk(simulated, tmp_path):
    simulated.save(tmp_path / "s.h5")
    back = Recording.load(tmp_path / "s.h5")
    for values in (back.spike_times, back.spike_units, back.behavior["cursor"]["vel"]):
        assert not values.flags.owndata and not values.flags.writeable  # the file itself


def test_compressed_arrays_load_too(simulated, tmp_path):
    simulated.save(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "a") as file:
        times = file["spikes/timestamps"][()]
        del file["spikes/timestamps"]
        file["spikes"].create_dataset("timestamps", data=times, compression="gzip")
    np.testing.assert_array_equal(
        Recording.load(tmp_path / "s.h5").spike_times, simulated.spike_times
    )


@pytest.mark.parametrize("culprit", ["write_interval", "write_series"])
def test_a_failing_save_leaves_the_previous_file(simulated, tmp_path, monkeypatch, culprit):
    path = tmp_path / "data" / "s.h5"
    simulated.save(path)
    before = path.read_bytes()
    original, calls = getattr(module, culprit), []

    def full_disk(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:  # something has been written by then
            raise OSError(28, "No space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(module, culprit, full_disk)
    with pytest.raises(OSError, match="No space"):
        replace(simulated, spike_times=simulated.spike_times + 0.5).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- one's own data ---------------------------------------------------------------------------

SPIKES = np.array([0.1, 0.2, 0.3, 0.4])
UNITS = np.array([0, 1, 0, 1])
TIMES = np.arange(0, 20, 0.1)
VELOCITY = np.stack([np.sin(TIMES), np.cos(TIMES)], -1)


def own(spikes=SPIKES, units=UNITS, times=TIMES, velocity=VELOCITY, **more) -> Recording:
    return Recording.from_arrays(spikes, units, times, velocity, session_id="mine", **more)


def test_units_may_be_named_by_strings():
    recording = own(units=np.array(["b", "a", "c", "b"]))
    assert recording.unit_names == ["mine/a", "mine/b", "mine/c"]
    assert recording.unit_ids[recording.spike_units].tolist() == ["b", "a", "c", "b"]


def test_own_trials_are_split_at_random_and_kept():
    trials = intervals(np.arange(0, 20, 2.0), np.arange(0, 20, 2.0) + 1.5)
    recording = own(trials=trials, seed=4)
    np.testing.assert_array_equal(recording.intervals["trials"], trials)
    assert len(recording.splits["test"]) == 2
    same = split_trials(recording.domain, trials, 4)
    np.testing.assert_array_equal(recording.splits["test"], same["test"])


def test_without_trials_the_split_is_in_time():
    splits = own().splits
    assert splits["train"].max() < splits["valid"].min() < splits["test"].min()


def test_domain_may_be_a_plain_pair():
    np.testing.assert_array_equal(own(domain=(0, 20)).domain, [[0, 20]])


BINS = 0.02 * np.arange(500) + 3.0
COUNTS = np.random.default_rng(0).poisson(0.4, (500, 6))
COUNTS[:, [2, 5]] = 0  # silent columns, one of them the last
HAND = np.random.default_rng(1).standard_normal((500, 2))


def binned(counts=COUNTS, **more) -> Recording:
    return Recording.from_binned(counts, BINS, 0.02, HAND, session_id="bins", **more)


def test_binned_counts_are_kept_per_bin_and_unit():
    recording = binned()
    row = np.searchsorted(BINS, recording.spike_times, side="right") - 1
    again = np.zeros_like(COUNTS)
    np.add.at(again, (row, recording.spike_units), 1)
    np.testing.assert_array_equal(again, COUNTS)


def test_silent_columns_are_units():
    assert binned().unit_ids.tolist() == list("012345")


def test_velocity_of_a_bin_is_at_its_centre():
    np.testing.assert_allclose(binned().behavior["cursor"]["timestamps"], BINS + 0.01)


def test_spikes_fall_anywhere_in_their_bin_by_seed():
    one, same, other = binned(seed=1), binned(seed=1), binned(seed=2)
    np.testing.assert_array_equal(one.spike_times, same.spike_times)
    assert not np.array_equal(one.spike_times, other.spike_times)
    within = (one.spike_times - BINS[0]) % 0.02 / 0.02
    assert abs(within.mean() - 0.5) < 0.05
    assert within.std() > 0.25


def test_transposed_counts_say_so():
    with pytest.raises(RecordingError, match=r"\(6, 500\).*transpose"):
        binned(COUNTS.T)


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, 0.5])
def test_counts_must_be_whole_numbers(wrong):
    counts = COUNTS.astype(float)
    counts[3, 1] = wrong
    with pytest.raises(RecordingError, match="whole numbers"):
        binned(counts)


# --- bad input: what is wrong, and the cure ---------------------------------------------------


def with_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(values)) == 1, np.nan, values)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"spikes": with_nan(SPIKES)}, "'mine': spike times hold 1 NaN .*remove"),
        ({"times": with_nan(TIMES)}, "'mine': behaviour times hold 1 NaN .*remove"),
        ({"spikes": SPIKES[::-1]}, "'mine': spike times are not sorted; sort them"),
        ({"times": TIMES[::-1]}, "'mine': behaviour times are not sorted; sort them"),
        ({"units": UNITS[:3]}, "'mine': 4 spike times but 3 spike units; give one unit per"),
        ({"velocity": VELOCITY[:5]}, "'mine': cursor.vel has 5 rows for 200 timestamps"),
        ({"position": VELOCITY[:7]}, "'mine': cursor.pos has 7 rows for 200 timestamps"),
        ({"spikes": SPIKES[:0], "units": UNITS[:0]}, "'mine' has no unit: .*drop it"),
        ({"times": TIMES[:0], "velocity": VELOCITY[:0]}, "'mine' has no behaviour sample"),
    ],
)
def test_bad_arrays_are_named_with_the_cure(arguments, message):
    with pytest.raises(RecordingError, match=message):
        own(**arguments)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"spike_units": np.array([0, 1, 2, 1])}, r"rows 0\.\.1 of unit_ids, found 0\.\.2"),
        ({"spike_units": np.array([0, 1, -1, 1])}, r"rows 0\.\.1 of unit_ids, found -1\.\.1"),
        ({"unit_ids": np.array(["a", "a"])}, "unit ids are not unique; make them so"),
        ({"domain": np.empty((0, 2))}, r"domain is empty; give \[start, end\) in seconds"),
        ({"behavior": {"hand": {"vel": VELOCITY}}}, "'hand' has no 'timestamps'"),
    ],
)
def test_inconsistent_recordings_are_refused(changes, message):
    with pytest.raises(RecordingError, match=f"'mine'.*{message}"):
        replace(own(), **changes)


def test_a_nan_far_into_a_long_series_is_found():
    times = np.arange((1 << 22) + 10, dtype=np.float64)
    times[-3] = np.nan
    with pytest.raises(RecordingError, match="hold 1 NaN"):
        module.check_times(times, "spike times")


def test_a_step_back_between_two_pieces_is_found():
    times = np.arange((1 << 22) + 10, dtype=np.float64)
    times[1 << 22 :] -= 5
    with pytest.raises(RecordingError, match="not sorted"):
        module.check_times(times, "spike times")


def test_a_truncated_file_says_so(simulated, tmp_path):
    path = tmp_path / "s.h5"
    simulated.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError, match=r"s\.h5 is not a readable HDF5 file \(truncated"):
        Recording.load(path)


def test_a_file_that_is_no_hdf5_says_so(tmp_path):
    path = tmp_path / "notes.h5"
    path.write_text("time,unit\n0.1,3\n")
    with pytest.raises(RecordingError, match=r"notes\.h5 is not a readable HDF5 file"):
        Recording.load(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(RecordingError, match=r"none\.h5 does not exist"):
        Recording.load(tmp_path / "none.h5")


@pytest.mark.parametrize("group", ["spikes", "units", "domain"])
def test_a_missing_group_is_named_with_the_cure(simulated, tmp_path, group):
    path = tmp_path / "s.h5"
    simulated.save(path)
    with h5py.File(path, "a") as file:
        del file[group]
    with pytest.raises(RecordingError, match=rf"it lacks {group}/\w+.*brainsets prepare"):
        Recording.load(path)


def test_bad_times_in_a_file_are_refused(simulated, tmp_path):
    path = tmp_path / "s.h5"
    simulated.save(path)
    with h5py.File(path, "a") as file:
        file["spikes/timestamps"][5] = np.nan
    with pytest.raises(RecordingError, match="spike times hold 1 NaN"):
        Recording.load(path)


# --- files of one's own -----------------------------------------------------------------------

OWN = {"spike_times": SPIKES, "spike_units": UNITS, "times": TIMES, "velocity": VELOCITY}


def test_npz_and_mat_read_like_from_arrays(tmp_path):
    np.savez(tmp_path / "mine.npz", **OWN)
    savemat(tmp_path / "mine.mat", OWN)
    expected = arrays(own())
    for name in ("mine.npz", "mine.mat"):
        recording = read(tmp_path / name)
        assert recording.session_id == "mine"
        for key, values in arrays(recording).items():
            np.testing.assert_array_equal(values, expected[key], err_msg=f"{name} {key}")


def test_arrays_may_have_other_names_and_time_last(tmp_path):
    path = tmp_path / "bins.npz"
    np.savez(path, spikes=COUNTS.T, bin_starts=BINS, velocity=np.c_[HAND, HAND].T)
    recording, expected = read(path, names={"counts": "spikes"}), binned()
    np.testing.assert_allclose(recording.spike_times, expected.spike_times)
    np.testing.assert_array_equal(recording.behavior["cursor"]["vel"], HAND)


def test_a_missing_array_is_named_with_the_cure(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **{"hand" if key == "velocity" else key: a for key, a in OWN.items()})
    with pytest.raises(RecordingError, match=r"holds hand.*which .* 'velocity'\? .*names="):
        read(path)


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_a_damaged_file_of_ones_own_says_so(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    np.savez(path, **OWN) if suffix == ".npz" else savemat(path, OWN)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"time,unit\n0.1,3\n" * 50, b""):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=f"mine{suffix} cannot be read"):
            read(path)


def test_an_unknown_kind_of_file_says_which_are_known(tmp_path):
    with pytest.raises(RecordingError, match=r"\.h5, \.npz or \.mat"):
        read(tmp_path / "mine.csv")
