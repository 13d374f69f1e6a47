"""A folder of sessions: what is read, what is left out and why, and which are held out."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from poyo.data import folder as module
from poyo.data.folder import choose, date_of, in_time, scan
from poyo.data.recording import RecordingError

DAYS = "ann_20240105", "ann_20240103", "ben_2024-01-04"


@pytest.fixture(scope="module")
def arrays(easy):
    """What a file holds: (spike_times, spike_units, times, velocity) of four minutes."""

    def make(seed=0, **more):
        one = easy(seconds=240, units=12, seed=seed, **more)
        times, values = one.series(one.target)
        spikes = {"spike_times": one.spike_times, "spike_units": one.spike_units}
        return spikes | {"times": times, "velocity": values}

    return make


@pytest.fixture
def place(tmp_path, arrays):
    """A folder with three good sessions, of two animals."""
    path = tmp_path / "sessions"
    path.mkdir()
    for seed, name in enumerate(DAYS):
        np.savez(path / f"{name}.npz", **arrays(seed))
    return path


def test_good_sessions_come_by_date(place):
    found = scan(place, unit="cm/s")
    names = ["ann_20240103", "ben_2024-01-04", "ann_20240105"]
    assert [one.session_id for one in found.recordings] == names and found.left_out == []
    assert [one.subject for one in found.recordings] == ["ann", "ben", "ann"]
    assert {one.unit for one in found.recordings} == {"cm/s"}
    table = found.table
    assert table.columns.tolist() == module.COLUMNS and table.session.tolist() == names
    assert table.date.tolist() == ["2024-01-03", "2024-01-04", "2024-01-05"]
    assert table.index.tolist() == [f"{name}.npz" for name in names]
    assert table.used.all() and table.units.eq(12).all() and (table["valid R²"] > 0.4).all()
    spikes = [len(one.spike_times) for one in found.recordings]
    np.testing.assert_allclose(table["Hz per unit"], np.array(spikes) / 240 / 12, rtol=1e-3)
    np.testing.assert_allclose(table.minutes, 4, rtol=1e-3)
    assert table.trouble.eq("no trials are given: it is split in time.").all()


def test_sessions_with_trials_say_nothing(place, arrays):
    starts = np.arange(0, 230, 2.0)
    trials = np.stack([starts, starts + 1.5], -1)
    np.savez(place / "cid_20240101.npz", **arrays(7), trials=trials)
    row = scan(place).table.iloc[0]
    assert (row.session, row.trials, row.trouble) == ("cid_20240101", 115, "")


def test_other_files_and_folders_within_are_ignored(place):
    (place / "notes.txt").write_text("fed at ten")
    (place / ".hidden.npz").write_text("")
    (place / "older").mkdir()
    shutil.copy(place / f"{DAYS[0]}.npz", place / "older")
    assert len(scan(place).table) == 3


def test_formats_may_be_mixed_and_animals_of_files_stand(place, easy):
    one = easy("day_x", seconds=240, units=12, subject="Cid", name="velocity")
    one.save(place / "ann_20240102.h5")
    found = scan(place)
    assert found.recordings[0].session_id == "day_x"  # no date comes first
    assert found.recordings[0].subject == "Cid" and len(found.recordings) == 4


def test_a_folder_of_phy_is_a_session(place, arrays, monkeypatch):
    phy = place / "dan_20240109"
    phy.mkdir()
    one = arrays(3)
    np.save(phy / "spike_times.npy", (one["spike_times"] * 30_000).astype(np.int64))
    np.save(phy / "spike_clusters.npy", one["spike_units"])
    (phy / "params.py").write_text("sample_rate = 30000.\n")
    np.savez(phy / "behavior.npz", times=one["times"], velocity=one["velocity"])
    found = scan(place)
    assert found.recordings[-1].session_id == "dan_20240109" and found.left_out == []
    assert (place / "ann_20240101").mkdir() is None and len(scan(place).table) == 4  # not Phy


# --- what is left out ---------------------------------------------------------------------------


def left_out(found, name: str, *words: str) -> None:
    """One file is left out, for a reason with these words; the table says so."""
    ((file, reason),) = found.left_out
    assert file == name and all(word in reason for word in words), found.left_out
    row = found.table.loc[name]
    assert not row.used and row.trouble.startswith(reason)
    assert len(found.recordings) == len(found.table) - 1


@pytest.mark.parametrize("name", ["ann_20240101.npz", "ann_20240101.mat", "ann_20240101.h5"])
def test_a_damaged_file_is_left_out(place, name):
    whole = (place / f"{DAYS[0]}.npz").read_bytes()
    (place / name).write_bytes(whole[: len(whole) // 2])
    left_out(scan(place), name, name)


def test_what_no_reader_expects_is_left_out(place, monkeypatch):
    def broken(path, **options):
        if path.name.startswith("ben"):
            raise MemoryError
        return read(path, **options)

    read = module.read
    monkeypatch.setattr(module, "read", broken)
    left_out(scan(place), "ben_2024-01-04.npz", "MemoryError")


def test_another_target_than_most_is_left_out(place, arrays):
    np.savez(place / "ann_20240110.npz", **arrays(5, dims=3))
    found = scan(place)
    left_out(found, "ann_20240110.npz", "velocity in 3 dimensions", "velocity in 2 dimensions")


def test_a_corrupt_target_is_left_out_unless_kept(place, arrays):
    corrupt = arrays(5)
    corrupt["velocity"] = np.random.default_rng(0).normal(size=corrupt["velocity"].shape)
    np.savez(place / "ann_20240110.npz", **corrupt)
    left_out(
        scan(place), "ann_20240110.npz", "linear filter finds nothing", "keep=['ann_20240110']"
    )
    kept = scan(place, keep=["ann_20240110"])
    assert kept.left_out == [] and len(kept.recordings) == 4
    assert "linear filter finds nothing" in kept.table.loc["ann_20240110.npz", "trouble"]
    with pytest.raises(RecordingError, match="keep: no session is called nope; there are ann_2"):
        scan(place, keep=["nope"])


def test_what_readers_warn_of_is_noted(place, arrays):
    more = arrays(5)
    more["velocity"] = np.c_[more["velocity"], np.ones(len(more["times"]))]
    np.savez(place / "ann_20240110.npz", **more)
    assert "column 2" in scan(place).table.loc["ann_20240110.npz", "trouble"]


def test_rates_unlike_other_days_are_noted(place, arrays):
    for day in (11, 12, 13):
        one = arrays(day)
        some = np.arange(len(one["spike_times"])) % 3 == 0 if day == 13 else slice(None)
        one |= {key: one[key][some] for key in ("spike_times", "spike_units")}
        np.savez(place / f"ann_202401{day}.npz", **one)
    trouble = scan(place).table.set_index("session").trouble
    said = trouble[trouble.str.contains("the rate of the animal's median session")]
    assert said.index.tolist() == ["ann_20240113"] and "0.3 times" in said.iloc[0]


# --- where nothing can go on --------------------------------------------------------------------


def test_folders_with_nothing_to_use(tmp_path, place):
    with pytest.raises(RecordingError, match=r"nowhere is no folder; expected a file \.h5, \.npz"):
        scan(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("")
    with pytest.raises(
        RecordingError, match=r"nothing in .*empty is a recording; expected a file"
    ):
        scan(tmp_path / "empty")
    (tmp_path / "empty/a.npz").write_text("no")
    with pytest.raises(RecordingError, match=r"(?s)none of 1 in .* can be read:.*a\.npz"):
        scan(tmp_path / "empty")
    with pytest.raises(RecordingError, match=r"(?s)none of 3 in .*'force'"):
        scan(place, target="force")


def test_folders_in_which_nothing_is_decodable(tmp_path, arrays):
    one = arrays(0)
    one["velocity"] = np.random.default_rng(0).normal(size=one["velocity"].shape)
    np.savez(tmp_path / "a.npz", **one)
    with pytest.raises(RecordingError, match=r"(?s)none of 1 in .* can be used:.*finds nothing"):
        scan(tmp_path)


def test_two_files_of_one_session(place, arrays):
    savemat(place / f"{DAYS[0]}.mat", arrays(5))
    with pytest.raises(RecordingError, match=f"{DAYS[0]}.mat and {DAYS[0]}.npz are both session"):
        scan(place)


# --- dates, and what is held out ----------------------------------------------------------------


@pytest.mark.parametrize(
    "session, date",
    [
        ("spike_20120910", "2012-09-10"),
        ("sub-x_ses-2012-09-10_b", "2012-09-10"),
        ("20120910", "2012-09-10"),
        ("spike_20121310", ""),
        ("spike_1201209101", ""),
        ("2012-0910", ""),
        ("day2", ""),
    ],
)
def test_dates(session, date):
    assert date_of(session) == date


def test_without_dates_names_are_in_order():
    assert sorted(["day10", "day2", "a_20240102", "a_20240101"], key=in_time) == [
        "day2",
        "day10",
        "a_20240101",
        "a_20240102",
    ]


@pytest.fixture(scope="module")
def lab(easy):
    """Five days of Ann, two of ben, one of Cid, in no order."""
    names = [f"ann_2024010{day}" for day in (3, 1, 5, 2, 4)] + ["ben_20240102", "ben_20240101"]
    short = easy(seconds=20)
    subjects = [name[:3].capitalize() for name in [*names, "cid_1"]]
    return [replace(short, session_id=n, subject=s) for n, s in zip([*names, "cid_1"], subjects)]


@pytest.mark.parametrize(
    "held_out, new",
    [
        (["ann_20240104"], "ann_20240104"),
        ("ann_20240104", "ann_20240104"),
        (["ann_2024010[12]", "cid*"], "cid_1 ann_20240101 ann_20240102"),
        (["animal ANN"], "ann_20240101 ann_20240102 ann_20240103 ann_20240104 ann_20240105"),
        (["last 1"], "cid_1 ben_20240102 ann_20240105"),
        (["last 2", "animal ben"], "cid_1 ben_20240101 ben_20240102 ann_20240104 ann_20240105"),
    ],
)
def test_what_is_held_out(lab, held_out, new):
    old, found = choose(lab, held_out)
    assert sorted(one.session_id for one in found) == sorted(new.split())
    assert len(old) + len(found) == len(lab)
    for part in (old, found):
        assert part == sorted(part, key=lambda one: in_time(one.session_id))


@pytest.mark.parametrize(
    "held_out, message",
    [
        (
            ["dan_1"],
            r"nothing is called 'dan_1'; there are sessions .*ann_20240101.* of animals ann",
        ),
        (["animal dan"], "nothing is called 'animal dan'"),
        (["last 0"], "nothing is called 'last 0'"),
        (["last"], "nothing is called 'last'"),
        ([], "nothing is held out; there are"),
        (["*"], "all sessions are held out, none is left to pretrain on"),
        (["last 9"], "all sessions are held out"),
    ],
)
def test_what_cannot_be_held_out(lab, held_out, message):
    with pytest.raises(RecordingError, match=message):
        choose(lab, held_out)
