"""Files of one's own: which array is spikes, which is decoded, and what the errors say."""

import os
import time
import warnings
from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from poyo.data import apart
from poyo.data.readers import read
from poyo.data.recording import Recording, RecordingError
from poyo.data.sources import readout_of

RNG = np.random.default_rng(0)
TIMES = np.arange(0, 20, 0.1)
VELOCITY = np.stack([np.sin(TIMES), np.cos(TIMES)], -1)
FORCE = RNG.standard_normal((200, 3))
SPIKES = {
    "spike_times": np.sort(RNG.uniform(0, 20, 50)),
    "spike_units": RNG.integers(0, 3, 50),
    "times": TIMES,
}
OWN = SPIKES | {"velocity": VELOCITY}
BINS = {"counts": RNG.poisson(0.4, (200, 6)), "bin_starts": TIMES}
FORMATS = [".npz", ".mat"]


def write(folder, content, suffix=".npz"):
    path = folder / f"mine{suffix}"
    np.savez(path, **content) if suffix == ".npz" else savemat(path, content)
    return path


def values(recording: Recording) -> np.ndarray:
    return recording.series(recording.target)[1]


# --- arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_spikes_read_like_from_arrays(tmp_path, suffix):
    there = read(write(tmp_path, OWN, suffix), unit="cm/s")
    here = Recording.from_arrays(*OWN.values(), session_id="mine", unit="cm/s")
    for name in ("session_id", "target", "unit", "brainset"):
        assert getattr(there, name) == getattr(here, name), name
    for name in ("spike_times", "spike_units", "unit_ids", "domain"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)
    np.testing.assert_array_equal(values(there), VELOCITY)
    for name, pairs in here.splits.items():
        np.testing.assert_array_equal(there.splits[name], pairs)


@pytest.mark.parametrize("suffix", FORMATS)
def test_counts_read_like_from_binned_by_seed(tmp_path, suffix):
    path = write(tmp_path, BINS | {"velocity": VELOCITY}, suffix)
    here = Recording.from_binned(*BINS.values(), 0.1, VELOCITY, session_id="mine", seed=3)
    np.testing.assert_allclose(read(path, seed=3).spike_times, here.spike_times)
    assert not np.allclose(read(path, seed=4).spike_times, here.spike_times)
    np.testing.assert_array_equal(values(read(path)), VELOCITY)


@pytest.mark.parametrize("suffix", FORMATS)
def test_arrays_may_have_other_names_and_time_last(tmp_path, suffix):
    content = {"spikes": BINS["counts"].T, "t": TIMES[None], "hand vel": FORCE.T, "velocity": 1.0}
    content = {k.replace(" ", "_") if suffix == ".mat" else k: v for k, v in content.items()}
    target = next(k for k in content if k.startswith("hand"))
    names = {"counts": "spikes", "bin_starts": "t"}
    recording = read(write(tmp_path, content, suffix), names=names, target=target, unit="m/s")
    assert (recording.target, recording.unit) == ("behavior.hand_vel", "m/s")
    np.testing.assert_array_equal(values(recording), FORCE)
    assert recording.unit_ids.tolist() == list("012345")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ["velocity", "target"])
def test_velocity_or_target_is_decoded_where_nothing_is_said(tmp_path, suffix, name):
    recording = read(write(tmp_path, SPIKES | {name: FORCE, "other": VELOCITY}, suffix))
    assert recording.target == f"behavior.{name}"
    np.testing.assert_array_equal(values(recording), FORCE)


@pytest.mark.parametrize("shape", [(200,), (200, 1), (1, 200)])
def test_one_dimension_may_come_in_any_shape(tmp_path, shape):
    recording = read(write(tmp_path, SPIKES | {"grip": FORCE[:, 0].reshape(shape)}), target="grip")
    np.testing.assert_array_equal(values(recording), FORCE[:, :1])
    assert len(readout_of(recording).scale) == 1


@pytest.mark.parametrize("transpose", [False, True])
def test_trials_are_split_at_random(tmp_path, transpose):
    trials = np.stack([np.arange(0, 20, 2.0), np.arange(0, 20, 2.0) + 1.5], -1)
    content = OWN | {"trials": trials.T if transpose else trials}
    recording = read(write(tmp_path, content), seed=4)
    np.testing.assert_array_equal(recording.intervals["trials"], trials)
    same = Recording.from_arrays(*OWN.values(), session_id="mine", trials=trials, seed=4)
    np.testing.assert_array_equal(recording.splits["test"], same.splits["test"])


def test_columns_that_do_not_vary_are_left_out_with_a_warning(tmp_path):
    missing = np.full(200, np.nan)
    gaps = np.where(np.arange(200) < 7, np.nan, 3.0)  # constant where it is there
    wide = np.stack([FORCE[:, 0], np.ones(200), FORCE[:, 1], missing, gaps], -1)
    path = write(tmp_path, SPIKES | {"force": wide})
    with pytest.warns(UserWarning, match=r"mine\.npz: force: column 1, 3, 4 .* does not vary"):
        recording = read(path, target="force")
    np.testing.assert_array_equal(values(recording), FORCE[:, :2])
    assert len(readout_of(recording).offset) == 2


def test_columns_that_vary_bring_no_warning(tmp_path):
    holes = np.where(np.arange(200)[:, None] == 7, np.nan, FORCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read(write(tmp_path, SPIKES | {"force": holes}), target="force")
    np.testing.assert_array_equal(values(recording), holes)


# --- the brainsets layout -----------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "mine.h5"
    recording = Recording.from_arrays(*OWN.values(), session_id="mine", unit="cm/s")
    recording.save(path)
    return path


def test_a_saved_recording_says_what_is_decoded(saved):
    recording = read(saved)
    assert (recording.target, recording.unit) == ("behavior.velocity", "cm/s")
    assert read(saved, unit="m/s").unit == "m/s"
    assert read(saved, target="behavior.velocity").unit == "cm/s"


def test_another_series_of_a_file_can_be_the_target(saved):
    with h5py.File(saved, "a") as file:
        file["behavior/pos"] = np.c_[FORCE, np.ones(200)]
        file["behavior/grip"] = FORCE[:, 0]
    with pytest.warns(UserWarning, match="mine: behavior.pos: column 3 .* does not vary"):
        recording = read(saved, target="behavior.pos")
    assert (recording.target, recording.unit) == ("behavior.pos", "")  # the file's is velocity's
    assert readout_of(recording).quantity == "position"
    np.testing.assert_array_equal(values(recording), FORCE)
    np.testing.assert_array_equal(values(read(saved, target="behavior.grip")), FORCE[:, :1])


def test_a_series_that_is_not_there_says_what_is(saved):
    with pytest.raises(
        RecordingError, match=r"'hand.vel' is not there; .* of behavior.velocity \(200, 2\)"
    ):
        read(saved, target="hand.vel")


def test_a_file_that_does_not_say_what_is_decoded_says_what_could_be(tmp_path):
    recording = Recording.from_arrays(*OWN.values(), session_id="mine")
    replace(recording, target="").save(tmp_path / "a.h5")
    with pytest.raises(
        RecordingError, match=r"a\.h5: .* target=... of behavior.velocity \(200, 2"
    ):
        read(tmp_path / "a.h5")
    replace(recording, target="", brainset="sim-odoherty").save(tmp_path / "b.h5")
    assert read(tmp_path / "b.h5").target == ""  # its brainset says it


# --- what is wrong, and the cure ---------------------------------------------------------------


@pytest.mark.parametrize(
    "content, options, message",
    [
        (
            SPIKES | {"hand": VELOCITY},
            {},
            r"which is to be decoded\? Say target=... of hand \(200, 2\)",
        ),
        (OWN, {"target": "force"}, r"'force' is not there; .* of velocity \(200, 2\)"),
        (
            {"velocity": VELOCITY, "t": TIMES},
            {},
            r"holds t \(200,\), velocity .*; which .* 'spike_times'\?",
        ),
        (BINS | {"bin_starts": TIMES}, {"names": {"bin_starts": "t"}}, r"'bin_starts'\? .*names="),
        (OWN, {"names": {"velocity": "hand"}}, "names: velocity is none of .*`target` says"),
        (SPIKES | {"velocity": np.ones((200, 2))}, {}, "velocity does not vary, nothing can be"),
        (
            SPIKES | {"velocity": np.array(["a"] * 200)},
            {},
            r"velocity must be numbers, found <U1 .*not text",
        ),
        (OWN | {"velocity": FORCE[:7]}, {}, "velocity has 7 rows for 200 timestamps"),
        (OWN | {"trials": np.ones((5, 3))}, {}, "trials must be"),
        (
            BINS | {"bin_starts": np.zeros(200), "velocity": VELOCITY},
            {},
            "bin starts are there twice",
        ),
        (SPIKES, {}, "there is nothing in it that could be decoded"),
        (OWN | {"velocity": np.array([{}])}, {}, "holds Python objects; save plain arrays"),
        (OWN | {"times": np.append(TIMES[:-1], np.nan)}, {}, "behaviour times hold 1 NaN"),
    ],
)
def test_bad_files_are_named_with_the_cure(tmp_path, content, options, message):
    with pytest.raises(RecordingError, match=message):
        read(write(tmp_path, content), **options)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_file_says_so(tmp_path, suffix):
    path = write(tmp_path, OWN, suffix)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"time,unit\n0.1,3\n" * 50, b""):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=f"mine{suffix} cannot be read"):
            read(path)


def test_what_dies_or_hangs_is_given_up_and_the_next_is_read(tmp_path, monkeypatch):
    with pytest.raises(RecordingError, match="cannot be read: what reads it died"):
        apart.run(os._exit, 1)
    assert apart.run(abs, -3) == 3
    monkeypatch.setattr(apart, "LIMIT", 0.5)
    with pytest.raises(RecordingError, match=r"or took more than 0\.5 s; is it damaged\?"):
        apart.run(time.sleep, 600)
    monkeypatch.undo()
    write(tmp_path, OWN)
    monkeypatch.chdir(tmp_path)
    assert read("mine.npz").session_id == "mine"


def taking(size: int) -> int:
    """Memory of that size, which the system gives as it is not written to."""
    return len(bytearray(size))


@pytest.mark.skipif(os.name != "posix", reason="memory can be bounded on POSIX only")
def test_a_file_that_would_fill_the_memory_is_refused():
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with pytest.raises(RecordingError, match="cannot be read: MemoryError"):
        apart.run(taking, int(0.6 * memory))
    assert apart.run(taking, int(0.1 * memory)) > 0


def test_infinite_values_are_called_so(tmp_path):
    wild = np.where(np.arange(200)[:, None] == 7, np.inf, VELOCITY)
    with pytest.raises(RecordingError, match="velocity holds 2 values that are infinite"):
        read(write(tmp_path, OWN | {"velocity": wild}))


def test_splits_that_a_file_lacks_are_made(saved):
    with h5py.File(saved, "a") as file:
        del file["valid_domain"]
    with pytest.raises(RecordingError, match=r"mine\.h5: .*only train, test; save train, valid"):
        read(saved)
    with h5py.File(saved, "a") as file:
        del file["train_domain"], file["test_domain"]
    assert {*read(saved).splits} == {"train", "valid", "test"}


def test_an_unknown_kind_of_file_says_which_are_known(tmp_path):
    with pytest.raises(RecordingError, match=r"\.h5, \.npz, \.mat, \.nwb or a folder"):
        read(tmp_path / "mine.csv")
