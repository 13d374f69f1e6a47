"""Files of laboratories, written here as their tools write them: MATLAB, NWB, Phy."""

import sys
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from poyo import ROOT
from poyo.data import nwb
from poyo.data.intervals import contains
from poyo.data.matlab import tree
from poyo.data.readers import read
from poyo.data.recording import Recording, RecordingError

RNG = np.random.default_rng(0)
WIDTH, T, U = 0.05, 400, 5
TIMES = np.arange(T) * WIDTH
COUNTS = RNG.poisson(0.5, (T, U))
COUNTS[:, 3] = 0  # silent, and still a unit
POSITION = np.stack([np.sin(TIMES), np.cos(TIMES)], -1)
EMG = RNG.standard_normal((T, 3))
TRIALS = np.stack([np.arange(0, 20, 2.0), np.arange(0, 20, 2.0) + 1.5], -1)  # 10 of them
REWARDED = np.arange(10) % 5 != 4  # 8 of them
TRAINS = [np.sort(RNG.uniform(-0.5, 20, 40 + u)) for u in range(U)]
VERSIONS = ["5", "7.3"]


# --- MATLAB: text is str or an array of str, a cell array a list, a struct a dict --------------


def save5(path, content):
    def put(value):
        if isinstance(value, dict):
            return {name: put(one) for name, one in value.items()}
        if isinstance(value, list) and isinstance(value[0], dict):  # an array of structs
            rows = np.empty((1, len(value)), dtype=[(name, object) for name in value[0]])
            for i, one in enumerate(value):
                rows[0, i] = tuple(put(one[name]) for name in one)
            return rows
        if isinstance(value, list):
            cells = np.empty((1, len(value)), dtype=object)
            for i, one in enumerate(value):
                cells[0, i] = put(one)
            return cells
        return value

    savemat(path, put(content))


def save73(path, content):
    """As MATLAB does: HDF5 behind 512 bytes, columns first, cells and arrays of structs as
    references, a class with everything but the fields of an array of structs."""
    with h5py.File(path, "w", userblock_size=512) as file:
        heap = file.create_group("#refs#")

        def refer(values):
            made = [put(heap, f"r{len(heap)}", one).ref for one in values]
            return np.array(made, dtype=h5py.ref_dtype)[:, None]

        def put(parent, name, value):
            if isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict)):
                node, kind = parent.create_group(name), "struct"
                for key in value if isinstance(value, dict) else value[0]:
                    if isinstance(value, dict):
                        put(node, key, value[key])
                    else:
                        node[key] = refer([row[key] for row in value])
            elif isinstance(value, list):
                node, kind = parent.create_dataset(name, data=refer(value)), "cell"
            elif np.asarray(value).dtype.kind == "U":
                rows = np.atleast_1d(value)
                codes = [list(map(ord, row.ljust(rows.dtype.itemsize // 4))) for row in rows]
                node, kind = parent.create_dataset(name, data=np.array(codes, "u2").T), "char"
            elif np.size(value) == 0:
                node, kind = parent.create_dataset(name, data=np.zeros(2, "u8")), "double"
                node.attrs["MATLAB_empty"] = np.uint8(1)
            else:
                values = np.atleast_2d(value)
                kind = {"f": "double", "b": "logical"}.get(values.dtype.kind, values.dtype.name)
                values = values.astype("u1") if kind == "logical" else values
                node = parent.create_dataset(name, data=values.T)
            node.attrs["MATLAB_class"] = np.bytes_(kind)
            return node

        for name, value in content.items():
            put(file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.fixture(params=VERSIONS)
def save(tmp_path, request):
    def write(name, content):
        path = tmp_path / f"{name}.mat"
        (save5 if request.param == "5" else save73)(path, content)
        return path

    return write


def same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) or np.asarray(one).dtype.kind == "O":
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")


def binned(recording: Recording, edges: np.ndarray) -> np.ndarray:
    """(T, U) counts of its spikes."""
    rows = [recording.spike_times[recording.spike_units == u] for u in range(U)]
    return np.stack([np.histogram(times, edges)[0] for times in rows], -1)


def target_of(recording: Recording) -> np.ndarray:
    return recording.series(recording.target)[1]


def test_both_versions_of_matlab_are_read_alike(tmp_path):
    everything = {"s": XDS | {"none": np.empty((0, 0)), "flag": True}, "t": trial_data(), "c": 1.0}
    save5(tmp_path / "5.mat", everything)
    save73(tmp_path / "73.mat", everything)
    assert same(tree(tmp_path / "5.mat"), tree(tmp_path / "73.mat"))


def test_plain_arrays(save):
    content = {"counts": COUNTS, "bin_starts": TIMES, "velocity": POSITION, "grip": EMG[:, 0]}
    content |= {"unit_ids": [f"ch{u}" for u in range(U)], "trials": TRIALS, "comment": "ours"}
    for one in (content, {"session": content}):  # a struct of them, too
        recording = read(save("jango_20131209", one))
        assert (recording.subject, recording.session_id) == ("jango", "jango_20131209")
        assert recording.unit_ids.tolist() == ["ch0", "ch1", "ch2", "ch3", "ch4"]
        np.testing.assert_array_equal(target_of(recording), POSITION)
        np.testing.assert_array_equal(binned(recording, np.append(TIMES, 20)), COUNTS)
        np.testing.assert_array_equal(recording.intervals["trials"], TRIALS)
    with pytest.raises(RecordingError, match=r"of grip \(400,\); velocity \(400, 2\)$"):
        read(save("a", content), target="force")


def test_a_cell_of_spike_times_per_unit(save):
    trains = [*TRAINS[:2], np.empty(0), TRAINS[2][:1]]  # one of them silent, one of a single spike
    content = {"spike_times": trains, "times": TIMES, "position": POSITION}
    found = read(save("cells", content), target="position", unit="cm")
    assert found.unit_ids.tolist() == ["1", "2", "3", "4"], "as MATLAB counts"
    for row, train in enumerate(trains):
        np.testing.assert_array_equal(found.spike_times[found.spike_units == row], train)
    named = read(save("named", content | {"unit_ids": ["a", "b", "c", "d"]}), target="position")
    assert named.unit_ids.tolist() == ["a", "b", "c", "d"]
    for wrong, message in (
        ({"unit_ids": ["a", "b"]}, "2 unit_ids for 4 cells of spike_times"),
        ({"spike_times": [TRAINS[0], "none"]}, "spike_times of unit 2 must be numbers"),
    ):
        with pytest.raises(RecordingError, match=message):
            read(save("wrong", content | wrong), target="position")


def test_a_target_may_have_a_clock_of_its_own(save):
    fast = np.arange(0, 20, 0.01)
    content = {"counts": COUNTS, "bin_starts": TIMES, "times": fast, "force": np.sin(fast)}
    times, values = read(save("a", content), target="force").series("behavior.force")
    np.testing.assert_array_equal(times, fast)
    np.testing.assert_array_equal(values[:, 0], np.sin(fast))


def test_a_gap_of_the_clock_is_a_gap_of_the_domain(save):
    starts = TIMES + np.where(np.arange(T) < 150, 0, 0.2)
    content = {"counts": COUNTS, "bin_starts": starts, "velocity": POSITION}
    recording = read(save("a", content))
    np.testing.assert_allclose(recording.domain, [[0, 7.5], [7.7, 20.2]])
    times = np.where(TIMES < 10, TIMES, TIMES + 0.3)  # beside spikes, only a long gap counts
    content = {"spike_times": TIMES, "spike_units": np.arange(T) % 3, "velocity": POSITION}
    assert len(read(save("b", content | {"times": times})).domain) == 1
    assert len(read(save("c", content | {"times": times + 2 * (TIMES >= 10)})).domain) == 2


def test_trials_outside_are_left_out_with_a_warning(save):
    content = {"counts": COUNTS, "bin_starts": TIMES, "velocity": POSITION, "trials": TRIALS + 5}
    with pytest.warns(UserWarning, match="3 of 10 trials lie outside"):
        recording = read(save("a", content))
    np.testing.assert_array_equal(recording.intervals["trials"], TRIALS[:7] + 5)
    with pytest.raises(RecordingError, match=r"10 of 10 trials lie outside.*in seconds"):
        read(save("a", content | {"trials": TRIALS * 1000 + 1e5}))


# --- the Miller laboratory ---------------------------------------------------------------------

TABLE = np.zeros((10, 9))
TABLE[:, 0], TABLE[:, 7], TABLE[:, 8] = *TRIALS.T, np.where(REWARDED, 82, 65)
BINNED = {
    "timeframe": TIMES.astype(np.float32),
    "meta": {"filename": "Spike_WF_001", "lab": 1.0},
    "spikeratedata": (COUNTS / WIDTH).astype(np.float32),
    "spikeguide": np.array([f"ee{c:03}u0" for c in range(1, U + 1)]),
    "cursorposbin": POSITION,
    "cursorposlabels": np.array(["x_pos", "y_pos"]),
    "emgdatabin": EMG,
    "emgguide": np.array(["FCR", "ECR2 ", "FDP"]),
    "trialtable": TABLE,
    "words": np.ones((7, 2)),
}


@pytest.mark.parametrize("variable", ["binnedData", "train_data"])
@pytest.mark.parametrize("values", ["Hz", "counts"])
def test_binned_data(save, variable, values):
    lab = BINNED | ({} if values == "Hz" else {"spikeratedata": COUNTS.astype(np.uint16)})
    recording = read(save("Spike_08-17", {variable: lab, "x": 1.0}), target="cursorposbin", seed=2)
    assert (recording.subject, recording.session_id) == ("Spike", "Spike_08-17")
    assert recording.unit_ids.tolist() == [f"elec{c}/unit0" for c in range(1, U + 1)]
    starts = BINNED["timeframe"].astype(np.float64)
    np.testing.assert_array_equal(binned(recording, np.append(starts, 20.1)), COUNTS)
    times, values = recording.series("behavior.cursorposbin")
    np.testing.assert_array_equal(times, starts)
    np.testing.assert_array_equal(values, POSITION)
    np.testing.assert_array_equal(recording.intervals["trials"], TRIALS[REWARDED])
    np.testing.assert_allclose(recording.domain, [[0, 20]], atol=1e-3)


def test_binned_data_names_units_alike_in_every_version(save):
    ids = np.stack([np.arange(1, U + 1), np.zeros(U, int)], -1).astype(np.uint8)
    recording = read(save("a", {"binnedData": BINNED | {"neuronIDs": ids}}), target="emgdatabin")
    assert recording.unit_ids.tolist() == [f"elec{c}/unit0" for c in range(1, U + 1)]
    np.testing.assert_array_equal(target_of(recording), EMG)


def test_binned_data_says_what_is_there(save):
    path = save("a", {"binnedData": BINNED})
    there = r"cursorposbin \(400, 2\): x_pos, y_pos; emgdatabin \(400, 3\): FCR, ECR2, FDP$"
    with pytest.raises(RecordingError, match=f"a.mat: which is to be decoded.*{there}"):
        read(path)
    with pytest.raises(RecordingError, match=f"'forcedatabin' is not there; .*{there}"):
        read(path, target="forcedatabin")
    names = {"counts": "spikeratedata", "bin_starts": "timeframe"}  # overrule what is known
    assert read(path, target="emgdatabin", names=names).unit_ids.tolist() == list("01234")


def test_binned_data_without_rewarded_trials_is_split_in_time(save):
    table = np.where(TABLE == 82, 70, TABLE)
    with pytest.warns(UserWarning, match="trialtable has no 82"):
        recording = read(save("a", {"d": BINNED | {"trialtable": table}}), target="emgdatabin")
    assert recording.splits["test"].tolist() == [[pytest.approx(16), pytest.approx(20, abs=1e-3)]]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"spikeratedata": COUNTS + 0.4}, "a.mat: spikeratedata holds neither .*smoothed.*counts"),
        ({"spikeratedata": np.empty((0, 0))}, "a.mat: spikeratedata holds .*empty"),
    ],
)
def test_binned_data_without_counts_is_refused(save, change, message):
    with pytest.raises(RecordingError, match=message):
        read(save("a", {"binnedData": BINNED | change}), target="cursorposbin")


RAW = np.arange(0, 20, 0.002)
XDS = {
    "meta": {"monkey": "Jango", "dateTime": "2015/7/30 12:00"},
    "bin_width": WIDTH,
    "time_frame": (TIMES + 0.03)[:, None],
    "has_EMG": 1.0,
    "has_force": 0.0,
    "has_cursor": 0.0,  # which is wrong, as in some of their files
    "spike_counts": COUNTS.astype(np.float64),
    "spikes": [train[:, None] for train in TRAINS],
    "unit_names": [f"elec{c}_1" for c in (3, 5, 6, 6, 9)],
    "EMG": EMG,
    "EMG_names": ["EMG_FCR", "EMG_ECR", "EMG_FDP"],
    "raw_EMG": np.stack([np.sin(RAW), np.cos(RAW)], -1),
    "raw_EMG_time_frame": RAW[:, None],
    "curs_p": POSITION,
    "trial_start_time": TRIALS[:, :1],
    "trial_end_time": np.where(np.arange(10) == 0, np.nan, TRIALS[:, 1])[:, None],
    "trial_gocue_time": TRIALS[:, :1] + 0.2,
    "trial_result": np.where(REWARDED, "R", "A"),
    "trial_info_table_header": ["number", "result"],
    "trial_info_table": [1.0, "R"],
}


def test_xds(save):
    recording = read(save("a", {"xds": XDS}), target="curs_p")
    assert recording.subject == "Jango"
    assert recording.unit_ids.tolist() == "elec3_1 elec5_1 elec6_1 elec6_1#2 elec9_1".split()
    for u, train in enumerate(TRAINS):  # spike times rather than counts
        np.testing.assert_array_equal(recording.spike_times[recording.spike_units == u], train)
    times, values = recording.series(recording.target)
    np.testing.assert_array_equal(times, TIMES + 0.03)
    np.testing.assert_array_equal(values, POSITION)
    rewarded = REWARDED & (np.arange(10) > 0)  # the first has no end
    np.testing.assert_array_equal(recording.intervals["trials"], TRIALS[rewarded])
    np.testing.assert_allclose(recording.domain, [[0.03, 19.98]])


def test_xds_of_counts_has_bins_around_its_times(save):
    xds = {name: value for name, value in XDS.items() if name != "spikes"}
    recording = read(save("a", {"xds": xds}), target="EMG")
    edges = np.append(TIMES + 0.005, 20.005)
    np.testing.assert_array_equal(binned(recording, edges), COUNTS)
    np.testing.assert_array_equal(recording.series(recording.target)[0], TIMES + 0.03)


def test_xds_has_series_at_two_rates(save):
    path = save("a", {"xds": XDS})
    times, values = read(path, target="raw_EMG").series("behavior.raw_EMG")
    np.testing.assert_array_equal(times, RAW)
    np.testing.assert_array_equal(values, XDS["raw_EMG"])
    there = r"EMG \(400, 3\): EMG_FCR, EMG_ECR, EMG_FDP; curs_p \(400, 2\); raw_EMG \(10000, 2\)$"
    with pytest.raises(RecordingError, match=there):
        read(path)


def test_xds_of_one_unit_at_the_top_of_the_file(save):
    """MATLAB's save('-struct'); a cell array of one is read as what is in it."""
    one = XDS | {"spikes": XDS["spikes"][:1], "unit_names": ["elec7"], "trial_result": "R" * 10}
    recording = read(save("a", one | {"EMG_names": np.empty((0, 0))}), target="EMG")
    assert recording.unit_ids.tolist() == ["elec7"]
    np.testing.assert_array_equal(recording.spike_times, TRAINS[0])
    assert len(recording.intervals["trials"]) == 9


def test_xds_that_is_not_complete_says_so(save):
    xds = {name: value for name, value in XDS.items() if name != "trial_end_time"}
    with pytest.raises(RecordingError, match=r"a\.mat cannot be read.*trial_end_time.*save it"):
        read(save("a", {"xds": xds}), target="EMG")
    with pytest.raises(RecordingError, match="5 names for 4 cells of spikes"):
        read(save("b", {"xds": XDS | {"spikes": XDS["spikes"][1:]}}), target="EMG")


def test_a_gap_of_xds_is_a_gap_of_the_domain(save):
    times = XDS["time_frame"] + 0.4 * (TIMES[:, None] >= 8)
    domain = read(save("a", {"xds": XDS | {"time_frame": times}}), target="curs_p").domain
    np.testing.assert_allclose(domain, [[0.03, 8.005], [8.405, 20.38]])


LENGTHS = 12, 20, 31, 20, 1, 20, 20, 17, 20


def trial_data():
    ends = np.cumsum(LENGTHS)
    parts = [slice(end - n, end) for end, n in zip(ends, LENGTHS)]
    return [
        {
            "monkey": "Chewie",
            "date": "09-15-2016",
            "trial_id": float(i),
            "result": "F" if i == 2 else "R",
            "bin_size": WIDTH,
            "idx_goCueTime": 7.0,
            "target_direction": 0.1 * i,
            "M1_unit_guide": np.array([[1, 1], [1, 2], [7, 1]]),
            "M1_spikes": COUNTS[part, :3],
            "PMd_spikes": COUNTS[part, 3:],
            "vel": POSITION[part],
            "force": EMG[part, 0],
        }
        for i, part in enumerate(parts)
    ]


def test_trial_data(save):
    recording = read(save("Chewie_CO", {"trial_data": trial_data()}), target="vel", unit="cm/s")
    assert (recording.subject, recording.unit) == ("Chewie", "cm/s")
    channels = ["M1/elec1/unit1", "M1/elec1/unit2", "M1/elec7/unit1", "PMd/0", "PMd/1"]
    assert recording.unit_ids.tolist() == channels
    lengths = np.array([n for n in LENGTHS if n > 1])  # the trial of one bin is left out
    np.testing.assert_allclose(np.diff(recording.domain)[:, 0], lengths * WIDTH)
    assert (recording.domain[1:, 0] - recording.domain[:-1, 1] > 5).all()  # no window bridges two
    np.testing.assert_allclose(recording.intervals["trials"], np.delete(recording.domain, 2, 0))
    part = np.arange(sum(LENGTHS)) != sum(LENGTHS[:4])
    times, values = recording.series("behavior.vel")
    np.testing.assert_array_equal(values, POSITION[: len(part)][part])
    assert contains(recording.domain, times).all()
    assert contains(recording.domain, recording.spike_times).all()
    counts = [binned(recording, np.linspace(*d, n + 1)) for d, n in zip(recording.domain, lengths)]
    np.testing.assert_array_equal(np.concatenate(counts), COUNTS[: len(part)][part])


def test_trial_data_says_what_is_there(save):
    with pytest.raises(RecordingError, match=r"a.mat: .* of force \(160, 1\); vel \(160, 2\)$"):
        read(save("a", {"trial_data": trial_data()}))
    rates = [trial | {"M1_spikes": trial["M1_spikes"] * 0.3} for trial in trial_data()]
    with pytest.raises(RecordingError, match=r"a.mat: M1_spikes holds no counts: smoothed"):
        read(save("a", {"td": rates}), target="vel")


def test_what_is_read_can_be_saved(save, tmp_path):
    recording = read(save("Chewie_CO", {"trial_data": trial_data()}), target="vel", unit="cm/s")
    recording.save(tmp_path / "a.h5")
    again = read(tmp_path / "a.h5")
    assert (again.subject, again.target, again.unit) == ("Chewie", "behavior.vel", "cm/s")
    for name in ("spike_times", "spike_units", "unit_ids", "domain"):
        np.testing.assert_array_equal(getattr(again, name), getattr(recording, name))


# --- Neurodata Without Borders -----------------------------------------------------------------


def write_nwb(path, *, electrodes=True, units=True, heard=None, success=REWARDED):
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.behavior import Position, SpatialSeries
    from pynwb.ecephys import ElectricalSeries
    from pynwb.file import Subject

    file = NWBFile("one", "a session", datetime(2020, 1, 1, tzinfo=UTC), session_id="CO-2020")
    file.subject = Subject(subject_id="C", species="Macaca mulatta")
    group = file.create_electrode_group("array", "Utah", "M1", file.create_device("array"))
    for channel in (3, 5, 6):
        file.add_electrode(id=channel, location="M1", group=group)
    for u, train in enumerate(TRAINS if units else []):
        more = {"electrodes": [(0, 1, 2, 2, 1)[u]]} if electrodes else {}
        more |= {"obs_intervals": heard} if heard is not None else {}
        file.add_unit(id=40 + u, spike_times=train, **more)
    file.add_trial_column("success", "of the trial")
    for (start, end), good in zip(TRIALS, success):
        file.add_trial(start_time=start, stop_time=end, success=bool(good))
    behavior = file.create_processing_module("behavior", "what the hand did")
    clock, regular = {"timestamps": TIMES}, {"rate": 20.0, "starting_time": 1.0}
    kept = {"reference_frame": "screen", "data": 100 * POSITION + 50}
    kept |= {"unit": "m/s", "conversion": 0.01, "offset": -0.5}
    velocity = SpatialSeries(name="cursor_vel", **kept, **clock)
    behavior.add(Position(name="Velocity", spatial_series=[velocity]))
    behavior.add(TimeSeries(name="grip", data=EMG[:, 0], unit="n.a.", **regular))
    file.add_acquisition(TimeSeries(name="grip", data=EMG, unit="N", **clock))
    region = file.create_electrode_table_region([0, 1, 2], "all")
    file.add_acquisition(ElectricalSeries(name="raw", data=EMG, electrodes=region, rate=20.0))
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


@pytest.mark.parametrize("target", ["behavior/Velocity/cursor_vel", "cursor_vel"])
def test_nwb(tmp_path, target):
    recording = read(write_nwb(tmp_path / "sub-C.nwb"), target=target)
    assert (recording.subject, recording.session_id) == ("C", "CO-2020")
    assert (recording.target, recording.unit) == ("behavior.cursor_vel", "m/s")
    times, values = recording.series(recording.target)
    np.testing.assert_array_equal(times, TIMES)
    np.testing.assert_allclose(values, POSITION)
    channels = ["elec3/unit1", "elec5/unit1", "elec6/unit1", "elec6/unit2", "elec5/unit2"]
    assert recording.unit_ids.tolist() == channels
    for u, train in enumerate(TRAINS):
        np.testing.assert_array_equal(recording.spike_times[recording.spike_units == u], train)
    np.testing.assert_array_equal(recording.intervals["trials"], TRIALS[REWARDED])


@pytest.mark.filterwarnings("ignore:.*trials lie outside")
def test_nwb_says_what_is_there(tmp_path):
    path = write_nwb(tmp_path / "a.nwb", electrodes=False)
    there = r"acquisition/grip \(400, 3\) in N; processing/behavior/Velocity/cursor_vel "
    there += r"\(400, 2\) in m/s; processing/behavior/grip \(400,\)$"
    with pytest.raises(RecordingError, match=f"a.nwb: which is to be decoded.*{there}"):
        read(path)
    with pytest.raises(RecordingError, match=f"'grip' is there more than once; .*{there}"):
        read(path, target="grip")
    recording = read(path, target="behavior/grip", unit="N")
    times, values = recording.series("behavior.grip")
    np.testing.assert_allclose(times, 1 + TIMES)
    np.testing.assert_array_equal(values[:, 0], EMG[:, 0])
    assert recording.unit_ids.tolist() == ["unit40", "unit41", "unit42", "unit43", "unit44"]


@pytest.mark.filterwarnings("ignore:.*trials lie outside")
def test_nwb_is_heard_only_where_it_says(tmp_path):
    heard = np.array([[1.0, 7.0], [9.0, 19.0]])
    recording = read(write_nwb(tmp_path / "a.nwb", heard=heard), target="cursor_vel")
    np.testing.assert_array_equal(recording.domain, heard)


def test_nwb_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(RecordingError, match=r"a.nwb has no units with spike_times"):
        read(write_nwb(tmp_path / "a.nwb", units=False), target="cursor_vel")
    (tmp_path / "b.nwb").write_bytes(b"nothing")
    with pytest.raises(RecordingError, match=r"b.nwb cannot be read"):
        read(tmp_path / "b.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(RecordingError, match=r'pip install -e "\.\[nwb\]"'):
        nwb.read(tmp_path / "a.nwb", "cursor_vel", "", 0)


# --- Phy and Kilosort --------------------------------------------------------------------------

PARAMS = "dat_path = r'raw.dat'\nn_channels_dat = 5\noffset = 0\nsample_rate = 30000.\n"
CLUSTERS = [2, 3, 7, 11, 12]


@pytest.fixture
def phy(tmp_path):
    folder = tmp_path / "rat_monday"
    folder.mkdir()
    rows = np.repeat(np.arange(U), [len(train) for train in TRAINS])
    samples = np.round((np.concatenate(TRAINS) + 1) * 30000).astype(np.uint64)
    order = np.argsort(samples)
    np.save(folder / "spike_times.npy", samples[order, None])
    np.save(folder / "spike_clusters.npy", np.array(CLUSTERS, np.int32)[rows[order]])
    (folder / "params.py").write_text(PARAMS)
    groups = "good", "mua", "noise", "", "good"
    lines = [
        "cluster_id\tch\tgroup",
        *(f"{c}\t{40 + c // 2}\t{g}" for c, g in zip(CLUSTERS, groups)),
    ]
    (folder / "cluster_info.tsv").write_text("\n".join(lines))
    np.savez(folder / "behavior.npz", times=TIMES + 1, speed=EMG[:, 0], trials=TRIALS + 1)
    return folder


def test_phy(phy):
    recording = read(phy, target="speed", unit="cm/s")
    assert (recording.subject, recording.session_id) == ("rat", "rat_monday")
    assert recording.unit_ids.tolist() == ["ch41/unit1", "ch41/unit2", "ch45/unit1", "ch46/unit1"]
    for row, u in enumerate([0, 1, 3, 4]):  # what is called noise is left out
        times = recording.spike_times[recording.spike_units == row]
        np.testing.assert_allclose(times, TRAINS[u] + 1, atol=1 / 30000)
    np.testing.assert_array_equal(target_of(recording), EMG[:, :1])
    np.testing.assert_array_equal(recording.intervals["trials"], TRIALS + 1)


def test_phy_by_hand_and_by_template(phy):
    """cluster_group.tsv overrules; before any sorting by hand there are templates only."""
    (phy / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tnoise\n7\tgood\n")
    assert len(read(phy, target="speed").unit_ids) == 4
    (phy / "spike_clusters.npy").rename(phy / "spike_templates.npy")
    (phy / "cluster_info.tsv").unlink()
    savemat(phy / "behavior.mat", {"t": TIMES + 1, "hand": POSITION.T})
    (phy / "behavior.npz").unlink()
    recording = read(phy, target="hand", names={"times": "t"})
    assert recording.unit_ids.tolist() == ["cluster3", "cluster7", "cluster11", "cluster12"]
    np.testing.assert_array_equal(target_of(recording), POSITION)


def test_phy_executes_nothing(phy):
    """params.py is a program: one that does something is read for its sample_rate all the same."""
    done = phy / "done"
    (phy / "params.py").write_text(f"open({str(done)!r}, 'w')\nsample_rate = 25000\n")
    assert read(phy, target="speed").spike_times[-1] > 21
    (phy / "params.py").write_text(f"sample_rate = len(open({str(done)!r}, 'w').name)")
    with pytest.raises(
        RecordingError, match=r"params.py cannot be read: .*write sample_rate as a"
    ):
        read(phy, target="speed")
    (phy / "params.py").write_text(PARAMS)
    np.savez(phy / "behavior.npz", times=TIMES, speed=np.array([print], dtype=object))
    with pytest.raises(RecordingError, match=r"behavior.npz holds Python objects"):
        read(phy, target="speed")
    assert not done.exists()


@pytest.mark.parametrize(
    "name, message",
    [
        ("params.py", "params.py is not there"),
        ("spike_times.npy", "spike_times.npy does not exist"),
        ("spike_clusters.npy", "spike_clusters.npy does not exist"),
        ("behavior.npz", "no behavior.npz and no behavior.mat"),
    ],
)
def test_phy_says_what_it_lacks(phy, name, message):
    (phy / name).unlink()
    with pytest.raises(RecordingError, match=message):
        read(phy, target="speed")


def test_phy_says_what_is_there(phy):
    with pytest.raises(RecordingError, match=r"rat_monday: .* of speed \(400,\)$"):
        read(phy)
    (phy / "params.py").write_text("dtype = 'int16'")
    with pytest.raises(RecordingError, match="no sample_rate; add"):
        read(phy, target="speed")


# --- the real thing ----------------------------------------------------------------------------

WRIST = ROOT.parent / "shared/recordings/wrist"
PAIRS = {
    "Spike_08-17-12_WF_001": "spike_20120817",
    "Jango_20141203_default_offline_data": "jango_20141203",
}


@pytest.mark.skipif(not WRIST.exists(), reason="no ../shared/recordings/wrist")
@pytest.mark.parametrize("raw, arrays", PAIRS.items())
def test_a_real_file_is_read_like_its_arrays(raw, arrays):
    recording = read(WRIST / f"raw/{raw}.mat", target="cursorposbin", unit="cm")
    own = read(WRIST / f"{arrays}.npz", target="position")
    assert (recording.subject.lower(), len(recording.unit_ids)) == (own.subject, 96)
    here, there = (
        one.spike_times[np.argsort(one.spike_units, kind="stable")] for one in (recording, own)
    )
    np.testing.assert_allclose(here, there, atol=1e-4)  # timeframe of one is in single precision
    np.testing.assert_array_equal(np.bincount(recording.spike_units), np.bincount(own.spike_units))
    np.testing.assert_allclose(target_of(recording), target_of(own), atol=1e-6)
    rewarded = {tuple(trial) for trial in recording.intervals["trials"]}
    assert rewarded <= {tuple(trial) for trial in own.intervals["trials"]}
