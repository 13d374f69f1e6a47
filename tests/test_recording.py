"""Intervals against brute force, splits, a session's way to disk and back, bad input."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from poyo.data import layout
from poyo.data import recording as module
from poyo.data.intervals import contains, dilate, intervals, subtract, union
from poyo.data.recording import (
    Recording,
    RecordingError,
    split_around,
    split_in_time,
    split_trials,
)
from poyo.data.sources import CENTER_OUT, Readout, readout_of

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


def test_training_stays_away_from_held_out_blocks_however_long_the_gap():
    blocks = intervals([10.0, 40.0], [20.0, 50.0])
    splits = split_around(intervals(0.0, 60.0), blocks[:1], blocks[1:])
    np.testing.assert_array_equal(splits["train"], [[0, 9], [21, 39], [51, 60]])
    np.testing.assert_array_equal(splits["valid"], blocks[:1])
    np.testing.assert_array_equal(splits["test"], blocks[1:])


def test_the_seed_of_a_split_decides():
    domain, trials = trials_of(50)
    one, same, other = (split_trials(domain, trials, seed=s)["test"] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_four_trials_are_too_few():
    with pytest.raises(RecordingError, match=r"4 valid trials .* 5 are needed"):
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
    for name in ("session_id", "subject", "brainset", "task", "target", "unit"):
        assert getattr(back, name) == getattr(simulated, name)
    assert back.task == "center_out_reaching"


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
    original, calls = getattr(layout, culprit), []

    def full_disk(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:  # something has been written by then
            raise OSError(28, "No space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(layout, culprit, full_disk)
    with pytest.raises(OSError, match="No space"):
        replace(simulated, spike_times=simulated.spike_times + 0.5).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_files_of_brainsets_have_their_task_in_the_sessions_name(simulated, tmp_path):
    path = tmp_path / "s.h5"
    for name, task in [
        ("c_20131003_center_out_reaching", "center_out_reaching"),
        ("t_20130820_random_target_reaching", "random_target_reaching"),
        ("jenkins_20090912_maze", "maze"),
        ("indy_20160407_02", ""),
    ]:
        replace(simulated, session_id=name, task="elsewhere").save(path)
        assert Recording.load(path).task == "elsewhere"  # what a file says goes before its name
        with h5py.File(path, "a") as file:
            del file["poyo"]
        there = Recording.load(path)
        assert (there.task, there.target, there.unit) == (task, "", "")


def test_nested_intervals_come_back_and_only_series_are_behaviour(simulated, tmp_path):
    simulated.save(tmp_path / "s.h5")
    back = Recording.load(tmp_path / "s.h5")
    assert set(back.intervals) == set(simulated.intervals)
    assert any("." in name for name in back.intervals)
    assert set(back.behavior) == {"cursor"}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_fields_own_package_opens_a_target_of_any_dimension(tmp_path, dims):
    torch_brain = pytest.importorskip("torch_brain.datasets")
    force = np.random.default_rng(0).standard_normal((200, dims))
    recording = own(target=force, name="force", unit="N")
    recording.save(tmp_path / "mine.h5")
    back = Recording.load(tmp_path / "mine.h5")
    assert (back.target, back.unit, back.task) == ("behavior.force", "N", "")
    np.testing.assert_array_equal(back.series(back.target)[1], force)

    class Spiking(torch_brain.SpikingDatasetMixin, torch_brain.Dataset):
        spiking_dataset_mixin_uniquify_unit_ids = True

    dataset = Spiking(tmp_path)
    data = dataset.get_recording("mine")
    assert (data.poyo.target, data.poyo.unit, data.poyo.task) == ("behavior.force", "N", "")
    window = dataset[torch_brain.DatasetIndex("mine", 3.0, 4.0)]
    np.testing.assert_array_equal(window.behavior.force, force[(TIMES >= 3.0) & (TIMES < 4.0)])


# --- one's own data ---------------------------------------------------------------------------

SPIKES = np.array([0.1, 0.2, 0.3, 0.4])
UNITS = np.array([0, 1, 0, 1])
TIMES = np.arange(0, 20, 0.1)
VELOCITY = np.stack([np.sin(TIMES), np.cos(TIMES)], -1)


def own(spikes=SPIKES, units=UNITS, times=TIMES, target=VELOCITY, **more) -> Recording:
    return Recording.from_arrays(spikes, units, times, target, session_id="mine", **more)


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


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_any_number_of_dimensions_can_be_the_target(dims):
    values = np.random.default_rng(0).standard_normal((200, dims))
    recording = own(target=values, name="force", unit="N")
    assert (recording.target, recording.unit) == ("behavior.force", "N")
    times, there = recording.series(recording.target)
    np.testing.assert_array_equal(times, TIMES)
    np.testing.assert_array_equal(there, values)


def test_one_column_may_be_flat():
    np.testing.assert_array_equal(
        own(target=VELOCITY[:, 0]).behavior["behavior"]["velocity"], VELOCITY[:, :1]
    )
    recording = replace(own(), behavior={"cursor": {"timestamps": TIMES, "x": TIMES}}, target="")
    assert recording.series("cursor.x")[1].shape == (200, 1)


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


def test_the_target_of_a_bin_is_at_its_centre():
    np.testing.assert_allclose(binned().behavior["behavior"]["timestamps"], BINS + 0.01)


def test_spikes_fall_anywhere_in_their_bin_by_seed():
    one, same, other = binned(seed=1), binned(seed=1), binned(seed=2)
    np.testing.assert_array_equal(one.spike_times, same.spike_times)
    assert not np.array_equal(one.spike_times, other.spike_times)
    within = (one.spike_times - BINS[0]) % 0.02 / 0.02
    assert abs(within.mean() - 0.5) < 0.05
    assert within.std() > 0.25


@pytest.mark.parametrize("width", [0.0, -0.02, np.nan])
def test_bins_have_a_width(width):
    with pytest.raises(RecordingError, match="bins of a width"):
        Recording.from_binned(COUNTS, BINS, width, HAND, session_id="bins")


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
        ({"target": VELOCITY[:5]}, "'mine': behavior.velocity has 5 rows for 200 .*one row"),
        ({"target": VELOCITY.T}, "'mine': behavior.velocity has 2 rows .*transpose"),
        ({"target": VELOCITY[:, :0]}, r"'mine': the target must be \(T, D\).*got \(200, 0\)"),
        ({"target": VELOCITY[None]}, r"must be \(T, D\).*got \(1, 200, 2\)"),
        ({"name": "hand.vel"}, "cannot be called 'hand.vel'; name it in letters"),
        ({"name": "timestamps"}, "cannot be called 'timestamps'"),
        ({"trials": [[0, 1, 2]] * 5}, r"trials must be \(n, 2\) rows of start < end, in s"),
        ({"trials": [[2, 1]] * 5}, r"trials must be \(n, 2\) rows of start < end"),
        ({"trials": [[1, np.nan]] * 5}, r"trials must be \(n, 2\) rows of start < end"),
        ({"spikes": SPIKES[:0], "units": UNITS[:0]}, "'mine' has no unit: .*drop it"),
        ({"times": TIMES[:0], "target": VELOCITY[:0]}, "'mine' has no behaviour sample"),
    ],
)
def test_bad_arrays_are_named_with_the_cure(arguments, message):
    with pytest.raises(RecordingError, match=message):
        own(**arguments)


EPOCH = 1.7e9  # s, a clock of our day


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"spikes": SPIKES + EPOCH}, "no spike lies in it.*put both on one clock"),
        (
            {"spikes": np.arange(201.0), "units": np.zeros(201)},
            "only 20 of 201 spikes lie in the span of the behaviour: spikes run from 0 to 200 s, "
            "the behaviour from 0 to 19.9 s; give both in seconds on one clock",
        ),
        ({"times": TIMES * 1e9}, "its domain spans .* days; are the times in seconds"),
        ({"times": np.append(TIMES[:-1], EPOCH)}, "its domain spans .* none of them astray"),
        (
            {"times": (TIMES + EPOCH).astype(np.float32).astype(np.float64)},
            "most behaviour times repeat.*single prec",
        ),
        (
            {
                "spikes": (np.arange(400) + EPOCH).astype(np.float32).astype(np.float64),
                "units": np.zeros(400),
                "times": TIMES + EPOCH,
            },
            "only .* different times for 400 spikes.*single precision",
        ),
        ({"times": np.repeat(TIMES[:100], 2)}, "most behaviour times repeat the one before"),
        ({"spikes": np.eye(2)}, r"spike times must be \(n,\)"),
        ({"spikes": SPIKES.astype(str)}, "spike times must be numbers, found <U"),
        ({"units": with_nan(UNITS)}, "the unit of 1 spikes is NaN or .*; remove them"),
        ({"units": [None, *UNITS[1:]]}, "spike units must be all numbers or all names: object"),
        ({"trials": [[i, i + 1] for i in range(90, 120)]}, "trials reach beyond its domain; drop"),
        ({"domain": [0, np.inf]}, "the domain must be"),
        ({"domain": [0, 1, 2, 3]}, "the domain must be"),
        ({"trials": np.ones((2, 30))}, r"trials must be .*found \(2, 30\)"),
        ({"trials": [[1, 2]] * 9}, "9 trials overlap so much that none is left to validate"),
    ],
)
def test_what_would_be_wrong_in_silence_is_refused(arguments, message):
    with pytest.raises(RecordingError, match=message):
        own(**arguments)


LATE = 20_000.0  # s, where single floats differ by 2 ms; before 16384 s by one at most


@pytest.mark.parametrize("late, fine", [(8_200.0, True), (LATE, False), (-LATE, False)])
@pytest.mark.parametrize("which", ["spike times", "behaviour times"])
def test_single_floats_must_tell_milliseconds_apart(which, late, fine):
    spikes, times = SPIKES + late, TIMES + late
    if which == "spike times":
        spikes = spikes.astype(np.float32)
    else:
        times = times.astype(np.float32)
    if fine:
        own(spikes=spikes, times=times)
    else:
        message = f"'mine': {which} are float32, .* differ by 0.00195 s; keep them in float64"
        with pytest.raises(RecordingError, match=message):
            own(spikes=spikes, times=times)


@pytest.mark.parametrize("name", ["spikes", "behavior"])
def test_a_file_with_single_floats_too_large_is_refused(name, tmp_path):
    path = tmp_path / "s.h5"
    own(spikes=SPIKES + LATE, times=TIMES + LATE).save(path)
    with h5py.File(path, "a") as file:
        times = file[f"{name}/timestamps"][:]
        del file[f"{name}/timestamps"]
        file[f"{name}/timestamps"] = times.astype(np.float32)
    with pytest.raises(RecordingError, match=r"s\.h5: .* times.* are float32, .*keep them in"):
        Recording.load(path)


def test_a_tenth_of_the_spikes_in_the_behaviour_is_enough():
    spikes = np.arange(200.0)
    assert len(own(spikes=spikes, units=np.zeros(200)).spike_times) == 200
    own(spikes=spikes[:100], units=np.zeros(100), domain=[0, 5])  # a part that was chosen


def test_columns_are_times_and_whole_floats_are_units():
    one = own(spikes=SPIKES[:, None], units=UNITS[:, None] * 1.0, times=TIMES[:, None])
    assert one.spike_times.shape == (4,) and one.unit_ids.tolist() == ["0", "1"]
    np.testing.assert_array_equal(one.behavior["behavior"]["timestamps"], TIMES)


def test_trials_that_overlap_or_repeat_leak_nothing_into_the_test():
    domain, trials = trials_of(30)
    for some in (np.concatenate([trials, trials]), trials + np.array([0.0, 3.0])):
        splits = split_trials(domain, intervals(some), seed=0)
        times = np.random.default_rng(0).uniform(*domain[0], 5000)
        valid, test, train = (contains(splits[name], times) for name in ("valid", "test", "train"))
        assert valid.any() and not (valid & test).any() and not (train & (valid | test)).any()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a\\b", "a\nb"])
def test_names_cannot_leave_the_folder(name):
    for key in ("session_id", "brainset"):
        with pytest.raises(RecordingError, match="must do as the name of a file"):
            replace(own(), **{key: name})


@pytest.mark.parametrize(
    "width, factor, message",
    [(20.0, 1, "bins of 20 s that begin every 0.02 s"), (0.02, 1000, "that begin every 20 s"),
     (0.02, 0, "bin starts are there twice")],
)  # fmt: skip
def test_bins_and_their_width_are_in_seconds(width, factor, message):
    with pytest.raises(RecordingError, match=message):
        Recording.from_binned(COUNTS, BINS * factor, width, HAND, session_id="bins")


def test_impossible_counts_are_refused_before_memory_is_taken():
    with pytest.raises(RecordingError, match=r"1e\+09 spikes of a unit in a bin of 0.02 s"):
        binned(np.where(COUNTS == COUNTS.max(), 10**9, COUNTS))


def test_a_gap_between_bins_is_a_gap_of_the_domain():
    starts = BINS + 5.0 * (np.arange(500) >= 200)
    one = Recording.from_binned(COUNTS, starts, 0.02, HAND, session_id="bins")
    np.testing.assert_allclose(one.domain, [[3, 7], [12, 18]])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"spike_units": np.array([0, 1, 2, 1])}, r"rows 0\.\.1 of unit_ids, found 0\.\.2"),
        ({"spike_units": np.array([0, 1, -1, 1])}, r"rows 0\.\.1 of unit_ids, found -1\.\.1"),
        ({"unit_ids": np.array(["a", "a"])}, "unit ids are not unique; make them so"),
        ({"domain": np.empty((0, 2))}, r"domain is empty; give \[start, end\) in seconds"),
        ({"behavior": {"hand": {"vel": VELOCITY}}}, "'hand' has no 'timestamps'"),
        ({"target": "hand.vel"}, "has no 'hand.vel' to decode; it has .*behavior.velocity"),
        ({"target": "behavior.vel"}, "has no 'behavior.vel' to decode"),
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
    with pytest.raises(
        RecordingError, match=r"s\.h5 cannot be read, it is damaged or not .*save it again"
    ):
        Recording.load(path)


def test_a_file_that_is_no_hdf5_says_so(tmp_path):
    path = tmp_path / "notes.h5"
    path.write_text("time,unit\n0.1,3\n")
    with pytest.raises(RecordingError, match=r"notes\.h5 cannot be read"):
        Recording.load(path)


@pytest.mark.parametrize("kind", ["link", "storage", "virtual", "declared"])
def test_data_that_is_not_in_the_file_is_refused(simulated, tmp_path, kind):
    path, other = tmp_path / "s.h5", tmp_path / "other.h5"
    simulated.save(path)
    simulated.save(other)
    n, name = len(simulated.spike_times), "timestamps"
    with h5py.File(path, "a") as file:
        del file["spikes/timestamps"]
        if kind == "link":
            file["spikes/timestamps"] = h5py.ExternalLink(other, "spikes/timestamps")
        elif kind == "storage":
            file["spikes"].create_dataset(name, (n,), "f8", external=[(str(other), 0, 8 * n)])
        elif kind == "virtual":
            there = h5py.VirtualLayout((n,), "f8")
            there[:] = h5py.VirtualSource(other, "spikes/timestamps", (n,))
            file["spikes"].create_virtual_dataset(name, there)
        else:
            big = {"chunks": (2**20,), "compression": "gzip"}
            file["spikes"].create_dataset(name, (3 * 10**9,), "f8", **big)
    message = "to be 22.4 GiB, of 0 bytes" if kind == "declared" else "lies in another file; copy"
    with pytest.raises(
        RecordingError, match=rf"s\.h5 cannot be read.*spikes/timestamps.*{message}"
    ):
        Recording.load(path)


def test_a_damaged_body_names_the_file(simulated, tmp_path):
    path = tmp_path / "s.h5"
    for change in ("del file['domain/end']", "file['units/more/x'] = 1",
                   "file['cursor'].attrs['object'] = 3", "file['cursor/gain'] = 2.0"):  # fmt: skip
        simulated.save(path)
        with h5py.File(path, "a") as file:
            exec(change, {"file": file})
        with pytest.raises(RecordingError, match=r"s\.h5"):
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


# --- how a session is read out ----------------------------------------------------------------


def test_ones_own_target_is_read_out_over_its_mean_and_std_in_training():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 3)) * [1.0, 20.0, 0.01] + [5.0, 0.0, -2.0]
    values[150:] += 1e3  # neither validation nor test has a say
    values[5, 1] = np.nan
    recording = own(target=values, name="force", unit="N")
    readout = readout_of(recording)
    assert (readout.target, readout.unit, readout.quantity) == ("behavior.force", "N", "force")
    rows = contains(recording.splits["train"], TIMES) & np.isfinite(values).all(1)
    np.testing.assert_allclose(readout.offset, values[rows].mean(0))
    np.testing.assert_allclose(readout.scale, values[rows].std(0))
    unit = readout.normalize(values[rows])
    np.testing.assert_allclose(unit.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(unit.std(0), 1)
    np.testing.assert_allclose(readout.restore(unit), values[rows])


def test_a_readout_is_undone_with_numbers_and_with_one_for_each_dimension():
    values = np.random.default_rng(0).standard_normal((4, 7, 2))
    for scale, offset in [(20.0, 0.0), ((2.0, 3.0), (1.0, -1.0)), (2.0, (1.0, 0.5))]:
        readout = Readout(scale=scale, offset=offset, unit="cm/s")
        there = readout.normalize(values)
        np.testing.assert_allclose(readout.restore(there), values)
        np.testing.assert_allclose(there[..., 1], (values[..., 1] - np.ravel(offset)[-1])
                                   / np.ravel(scale)[-1])  # fmt: skip


@pytest.mark.parametrize(
    "target, quantity",
    [("cursor.vel", "velocity"), ("hand.pos", "position"), ("hand.acc", "acceleration"),
     ("behavior.velocity", "velocity"), ("behavior.force", "force")],
)  # fmt: skip
def test_what_is_decoded_has_a_name(target, quantity):
    assert Readout(target=target, scale=1.0, unit="").quantity == quantity


def test_a_readout_is_the_same_from_memory_and_from_disk(tmp_path):
    recording = own(unit="cm/s")
    recording.save(tmp_path / "mine.h5")
    back = Recording.load(tmp_path / "mine.h5")
    assert not back.series(back.target)[1].flags.writeable  # mapped
    assert readout_of(back) == readout_of(recording)


def test_a_brainset_and_its_task_have_their_readout(simulated):
    assert readout_of(simulated) is CENTER_OUT
    assert readout_of(replace(simulated, target="cursor.vel")) is CENTER_OUT
    other = replace(simulated, session_id="any_name", task="random_target_reaching")
    assert readout_of(other).evaluate == "movement_phases.random_period"


def test_another_target_of_a_brainset_keeps_its_weights_and_evaluation(simulated):
    readout = readout_of(replace(simulated, target="cursor.pos", unit="cm"))
    assert (readout.target, readout.unit, readout.quantity) == ("cursor.pos", "cm", "position")
    assert (readout.weights, readout.evaluate) == (CENTER_OUT.weights, CENTER_OUT.evaluate)
    assert len(readout.scale) == len(readout.offset) == 2


def test_what_cannot_be_read_out_says_why():
    flat = np.stack([np.sin(TIMES), np.ones(200)], -1)
    late = np.where(TIMES[:, None] < 15, np.nan, VELOCITY)
    for recording, message in [
        (own(target=flat), "column 1 of behavior.velocity does not vary .*leave it out"),
        (own(target=late), "behavior.velocity has no finite sample in the train split"),
        (replace(own(), target=""), "'mine': what is decoded from brainset 'own'.*target="),
        (
            replace(own(), target="", brainset="sim-perich", task="maze"),
            "'sim-perich', task 'maze'",
        ),
        (replace(own(), target="", brainset="sim-odoherty"), "has no 'cursor.vel' to decode"),
    ]:
        with pytest.raises(RecordingError, match=message):
            readout_of(recording)
