"""The paper's recordings without their archives: for each of its six sources a small raw file of
the published schema goes through the real preparation (torch_brain's pipelines, or
`poyo.data.convert` for what they lack) and our loader, and is compared number by number. And the
session lists, scales, loss weights and masks are those of the paper."""

import importlib.util
import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
import torch_brain
from pynwb import TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from scipy.io import savemat
from sklearn.model_selection import train_test_split
from torch_brain.data import Interval

from poyo.data import convert, corpus, sources
from poyo.data.intervals import contains, dilate, intervals, subtract, union
from poyo.data.recording import CO, MAZE, RT, Recording, RecordingError
from poyo.tokens import tokenize

PIPELINES = Path(torch_brain.__file__).parent / "pipeline/brainsets-pipelines"
RNG = np.random.default_rng(0)


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    """An empty folder, as a relative path: pipelines look for "CO" and "test" in the whole path of
    a file, and pytest's folders have them."""
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    return Path("raw")


def pipeline(brainset: str, path: Path) -> Recording:
    """What torch_brain's pipeline makes of a raw file, through our loader. Only the download is
    left out."""
    spec = importlib.util.spec_from_file_location(brainset, PIPELINES / brainset / "pipeline.py")
    module = sys.modules.get(brainset)
    if module is None:
        module = sys.modules[brainset] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    out = Path("processed")
    out.mkdir()
    arguments = Namespace(redownload=False, reprocess=False)
    module.Pipeline(raw_dir=path.parent, processed_dir=out, args=arguments).process(path)
    (made,) = out.iterdir()
    recording = Recording.load(made)
    assert (made.stem, recording.brainset) == (recording.session_id, brainset)
    return recording


# --- comparing --------------------------------------------------------------------------------


def units_of(recording: Recording) -> dict[str, np.ndarray]:
    """Unit id -> its spike times."""
    times, rows = np.asarray(recording.spike_times), np.asarray(recording.spike_units)
    return {str(name): times[rows == i] for i, name in enumerate(recording.unit_ids)}


def check_spikes(recording: Recording, expected: dict[str, np.ndarray]) -> None:
    found = units_of(recording)
    assert list(found) == list(expected)
    for name, times in expected.items():
        np.testing.assert_allclose(found[name], times, rtol=0, atol=1e-9, err_msg=name)


def check_intervals(recording: Recording, atol=1e-9, **expected: np.ndarray) -> None:
    """Sets of time, whether joined or not; a double underscore stands for a dot."""
    spans = recording.intervals | {"domain": recording.domain}
    spans |= {f"{name}_domain": pairs for name, pairs in recording.splits.items()}
    for name, pairs in expected.items():
        name = name.replace("__", ".")
        a, b = union(spans[name]), union(intervals(pairs))
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name)


def check_readout(recording, prepared, target, scale, weights, evaluate) -> None:
    """That a batch holds the target over `scale`, the product of the weights of the intervals, and
    that R² is taken in `evaluate`. weights: name -> weight."""
    (session,) = prepared(recording)
    series, _, name = target.partition(".")
    times, values = (np.asarray(recording.behavior[series][key]) for key in ("timestamps", name))
    expected = np.ones(len(times))
    for interval, weight in weights.items():
        expected[contains(recording.intervals[interval], times)] *= weight
    assert {*expected} >= {*weights.values(), 1.0}, "every weight has a sample here"
    np.testing.assert_allclose(session.weights(times), expected, rtol=1e-6)
    inside = contains(recording.intervals[evaluate], times) if evaluate else np.ones(len(times))
    np.testing.assert_array_equal(session.evaluated(times), inside)
    starts = np.array([split[0, 0] for split in recording.splits.values()])
    batch = tokenize([session], np.zeros(len(starts), dtype=int), starts, 1.0)
    for i, start in enumerate(starts):
        rows = (times >= start) & (times < start + 1.0)
        finite = np.isfinite(values[rows]).all(1)
        n = rows.sum()
        assert n > 50
        np.testing.assert_array_equal(batch["output_mask"][i, :n], finite)
        found = batch["target"][i, :n].numpy()[finite] * scale
        np.testing.assert_allclose(found, values[rows][finite], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(batch["weight"][i, :n], expected[rows] * finite, rtol=1e-6)


def by_rule(pairs: np.ndarray, shares: list[float]) -> list[np.ndarray]:
    """The parts that torch_brain's `Interval.split` makes with seed 42."""
    whole = Interval(start=pairs[:, 0].copy(), end=pairs[:, 1].copy())
    parts = whole.split(shares, shuffle=True, random_seed=42)
    return [np.stack([part.start, part.end], -1) for part in parts]


# --- writing the published schemas ------------------------------------------------------------


def wave(times: np.ndarray, size: float) -> np.ndarray:
    """(T, 2) a smooth path of amplitude `size`."""
    return size * np.stack([np.sin(1.7 * times), np.cos(1.1 * times)], -1)


def spiking(n: int, end: float, start: float = 0.0) -> list[np.ndarray]:
    """Spike times of n units."""
    return [np.sort(RNG.uniform(start, end, 30 + 5 * i)) for i in range(n)]


def nwb(subject: str, date: str, units: list[np.ndarray], observed=None) -> pynwb.NWBFile:
    """A file of NWB with units (the spike times of each) on every other electrode of two arrays;
    observed: (n, 2), when they were recorded."""
    start = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
    file = pynwb.NWBFile("a session", f"{subject}-{date}", start)
    facts = {"subject_id": subject, "species": "Macaca mulatta", "sex": "M", "age": "P5Y"}
    file.subject = pynwb.file.Subject(**facts)
    device = file.create_device("array")
    groups = [file.create_electrode_group(n, "array", "cortex", device) for n in ("M1", "PMd")]
    for i in range(2 * len(units)):
        file.add_electrode(group=groups[i % 2], location=groups[i % 2].name)
    for i, times in enumerate(units):
        file.add_unit(spike_times=times, electrodes=[2 * i + i % 2], obs_intervals=observed)
    file.create_processing_module("behavior", "what the animal does")
    return file


def add_trials(file: pynwb.NWBFile, start, stop, **columns) -> None:
    for name in columns:
        file.add_trial_column(name, name)
    for i in range(len(start)):
        more = {name: values[i] for name, values in columns.items()}
        file.add_trial(start_time=start[i], stop_time=stop[i], **more)


def write(file: pynwb.NWBFile, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def nwb_ids(n: int) -> list[str]:
    """The ids of the units of `nwb`."""
    return [
        f"group_{'M1' if i % 2 == 0 else 'PMd'}/elec{2 * i + i % 2}/unit_{i}" for i in range(n)
    ]


# --- Perich & Miller (DANDI 000688) -----------------------------------------------------------


def perich(path: Path, subject: str, date: str, trials: dict) -> tuple[Path, list, dict]:
    """110 s at 100 Hz in cm: too fast for 0.1 s at 60 s, out of the workspace for 0.5 s at 70."""
    units, times = spiking(4, 110.0), np.arange(11_000) / 100
    pos, vel, acc = wave(times, 8.0), wave(times, 30.0), wave(times, 400.0)
    acc[6000:6010, 0] = 2000.0
    pos[7000:7050, 1] = -11.0
    file = nwb(subject, date, units)
    behavior = file.processing["behavior"]
    series = {"data": pos, "timestamps": times, "reference_frame": "centre", "unit": "cm"}
    behavior.add(Position(SpatialSeries(name="cursor_pos", **series), name="Position"))
    for name, key, data in (("Velocity", "cursor_vel", vel), ("Acceleration", "cursor_acc", acc)):
        one = TimeSeries(name=key, data=data, timestamps=times, unit="cm/s")
        behavior.add(BehavioralTimeSeries(one, name=name))
    add_trials(file, **trials)
    truth = {"timestamps": times, "pos": pos, "vel": vel, "acc": acc}
    return write(file, path), units, truth


def split_of_perich(domain: np.ndarray, valid_trials: np.ndarray) -> dict[str, np.ndarray]:
    """70/10/20 by scikit-learn with seed 42; train is the rest but for a second around."""
    rest, test = train_test_split(np.arange(len(valid_trials)), test_size=0.2, random_state=42)
    _, valid = train_test_split(rest, test_size=0.125, random_state=42)
    held_out = valid_trials[np.r_[valid, test]]
    return {
        "train_domain": subtract(domain, dilate(held_out, 1.0)),
        "valid_domain": valid_trials[valid],
        "test_domain": valid_trials[test],
    }


def test_perich_center_out(raw, prepared):
    start = 4.0 + 5.0 * np.arange(20)
    start[15:] += 3.0  # trial 14 lasts 8 s, too long
    on, go, stop = start + 0.5, start + 1.5, start + 3.0
    on[9] = np.nan  # aborted before there was a target
    result, target = np.array(["R"] * 20, dtype=object), np.arange(20.0) % 8
    result[[3, 9, 12]], target[6] = ["F", "A", "I"], np.nan
    columns = {"target_on_time": on, "go_cue_time": go, "result": result, "target_id": target}
    path, units, truth = perich(
        raw / "sub-C/sub-C_ses-CO-20161013_behavior+ecephys.nwb",
        "C", "20161013", {"start": start, "stop": stop, **columns},
    )  # fmt: skip
    made = pipeline("perich_miller_population_2018", path)
    assert made.session_id == "c_20161013_center_out_reaching"
    assert (made.subject, made.task) == ("c", CO)
    check_spikes(made, dict(zip(nwb_ids(4), units)))
    for key, values in truth.items():
        np.testing.assert_array_equal(made.behavior["cursor"][key], values)
    # a trial lasts from its target to the next; the ninth's, which has none, is a second after
    # the stop of the eighth
    edges = np.append(on, min(stop[-1] + 1.0, 110.0))
    edges[9] = stop[8] + 1.0
    spans = np.stack([edges[:-1], edges[1:]], -1)
    good = np.ones(20, dtype=bool)
    good[[3, 6, 9, 12, 14]] = False
    outliers = made.intervals["cursor_outlier_segments"]
    np.testing.assert_allclose(outliers, [[60.0, 60.1], [68.5, 72.0]], atol=0.021)
    phases = {
        "hold_period": np.stack([on, go], -1)[good],
        "reach_period": np.stack([go, stop], -1)[good],
        "return_period": np.stack([stop, edges[1:]], -1)[good],
        "invalid": spans[~good],
    }
    phases["random_period"] = subtract(made.domain, np.concatenate([*phases.values()]))
    phases = {f"movement_phases__{k}": subtract(v, outliers) for k, v in phases.items()}
    check_intervals(made, domain=[[0.0, 109.99]], trials=spans, **phases, atol=1e-6)
    check_intervals(made, **split_of_perich(made.domain, spans[good]))
    weights = {"hold_period": 0.1, "reach_period": 5.0, "return_period": 1.0, "invalid": 0.1}
    weights = {f"movement_phases.{k}": v for k, v in weights.items()}
    weights["cursor_outlier_segments"] = 0.0
    check_readout(made, prepared, "cursor.vel", 20.0, weights, "movement_phases.reach_period")


def test_perich_random_target(raw, prepared):
    start = 3.0 + 7.0 * np.arange(15)
    stop = start + 5.0
    go = start[:, None] + [0.5, 1.5, 2.5, 3.5]
    go[2] = np.nan
    result, attempted = np.array(["R"] * 15, dtype=object), np.full(15, 4)
    result[2], attempted[5], stop[8] = "A", 3, start[8] + 1.5
    columns = {"go_cue_time_array": go, "result": result, "num_attempted": attempted}
    path, units, truth = perich(
        raw / "sub-T/sub-T_ses-RT-20130820_behavior+ecephys.nwb",
        "T", "20130820", {"start": start, "stop": stop, **columns},
    )  # fmt: skip
    made = pipeline("perich_miller_population_2018", path)
    assert made.session_id == "t_20130820_random_target_reaching"
    assert (made.subject, made.task) == ("t", RT)
    check_spikes(made, dict(zip(nwb_ids(4), units)))
    np.testing.assert_array_equal(made.behavior["cursor"]["vel"], truth["vel"])
    spans, outliers = np.stack([start, stop], -1), made.intervals["cursor_outlier_segments"]
    hold = np.stack([start, go[:, 0]], -1)[np.arange(15) != 2]
    check_intervals(
        made,
        trials=spans,
        movement_phases__hold_period=subtract(hold, outliers),
        movement_phases__random_period=subtract(made.domain, np.concatenate([hold, outliers])),
        **split_of_perich(made.domain, np.delete(spans, [2, 5, 8], 0)),
    )
    weights = {"movement_phases.hold_period": 0.1, "cursor_outlier_segments": 0.0}
    check_readout(made, prepared, "cursor.vel", 20.0, weights, "movement_phases.random_period")


# --- O'Doherty, Makin & Sabes (Zenodo 3854034) --------------------------------------------------


def odoherty(path: Path, pos: np.ndarray) -> tuple[dict, np.ndarray]:
    """MATLAB 7.3: cells are references; slot 0 of a channel is the unsorted hash, an empty cell is
    two zeros. pos: (T, 2) mm at 250 Hz. Returns the units and the times."""
    times = 500.0 + np.arange(len(pos)) * 0.004
    units, cells = {}, [[None] * 3 for _ in range(3)]
    for slot, channel in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0)]:
        found = np.sort(RNG.uniform(times[0], times[-1], 40 + 10 * slot))
        area = ("M1 001", "M1 002", "S1 001")[channel]
        units[f"{area}/{'unsorted' if slot == 0 else f'sorted_{slot:02}'}"] = found
        cells[slot][channel] = found
    with h5py.File(path, "w") as file:
        cell = file.create_group("#refs#")

        def refer(name: str, data: np.ndarray) -> h5py.Reference:
            return cell.create_dataset(name, data=data).ref

        for key in ("spikes", "wf"):
            table = file.create_dataset(key, (3, 3), dtype=h5py.ref_dtype)
            for slot, row in enumerate(cells):
                for channel, found in enumerate(row):
                    data = np.zeros(2, dtype=np.uint64)
                    if found is not None:
                        shape = (1, len(found)) if key == "spikes" else (48, len(found))
                        data = found[None] if key == "spikes" else np.ones(shape)
                    table[slot, channel] = refer(f"{key}{slot}{channel}", data)
        names = file.create_dataset("chan_names", (1, 3), dtype=h5py.ref_dtype)
        for i, name in enumerate(("M1 001", "M1 002", "S1 001")):
            codes = np.array([[ord(letter)] for letter in name], dtype=np.uint16)
            names[0, i] = refer(f"name{i}", codes)
        file["t"], file["cursor_pos"], file["target_pos"] = times[None], pos.T, pos.T
        file["finger_pos"] = np.stack([0 * pos[:, 0], -pos[:, 0] / 10, -pos[:, 1] / 10])
    return units, times


@pytest.mark.parametrize("pause", [False, True])
def test_odoherty(raw, prepared, pause):
    seconds = np.arange(87_500) * 0.004  # 350 s: ten blocks of 35
    pos = wave(seconds, 60.0)
    if pause:
        pos[(seconds >= 117) & (seconds < 129)] = pos[29_250]  # in the fourth block
    path = raw / "indy_20160407_02.mat"
    units, times = odoherty(path, pos)
    made = pipeline("odoherty_sabes_nonhuman_2017", path)
    assert (made.session_id, made.subject, made.task) == ("indy_20160407_02", "indy", "")
    check_spikes(made, units)
    cursor = made.behavior["cursor"]
    np.testing.assert_allclose(cursor["timestamps"], times, rtol=0, atol=1e-6)
    np.testing.assert_allclose(cursor["vel"], np.gradient(pos, times, axis=0), atol=1e-6)
    assert np.abs(cursor["vel"]).max() > 90, "mm/s"
    edges = np.linspace(times[0], times[-1] + 0.004, 11)
    blocks = np.stack([edges[:-1], edges[1:]], -1)
    if not pause:
        for name, part in zip(("train", "valid", "test"), by_rule(blocks, [0.8, 0.1, 0.1])):
            check_intervals(made, **{f"{name}_domain": part}, atol=0.005)
    else:  # the block with the pause trains, and so do seven of the nine without
        still = made.intervals["no_movement_segments"]
        np.testing.assert_allclose(still, [[617.0, 629.0]], atol=0.01)
        train = made.splits["train"]
        assert contains(train, np.array([616.0, 630.0])).all()
        assert not contains(train, np.array([618.0, 628.0])).any()
        held_out = [made.splits[name] for name in ("valid", "test")]
        everything = union(train, *held_out)
        np.testing.assert_allclose(everything, subtract(made.domain, still), atol=0.005)
        for pairs in held_out:
            (row,) = np.flatnonzero(np.abs(blocks - pairs).max(1) < 0.005)
            assert row != 3
    check_readout(made, prepared, "cursor.vel", 200.0, {}, None)


# --- Churchland & Shenoy (DANDI 000070) -------------------------------------------------------


def churchland(path: Path, restart: bool) -> tuple[Path, dict, np.ndarray]:
    """Twelve trials of 3 s at 1 kHz in mm with gaps between them, in which nothing is recorded.
    restart: the clock of the file starts again with trial 8. Returns also what is expected on the
    clock that never does: units, and by trial the times of the file's behaviour."""
    start = 1.0 + 4.0 * np.arange(12)
    raw_start = start - 30.0 * (restart & (np.arange(12) >= 8))
    if restart:  # a minute after the end of the trial before
        start[8:] = raw_start[8:] - raw_start[8] + start[7] + 3.0 + 60.0
    shift = start - raw_start
    each = np.arange(3000) / 1000
    times = (raw_start[:, None] + each).ravel()
    offsets = [np.sort(RNG.uniform(0.01, 2.9, (12, 4 + i))) for i in range(3)]
    spikes = [(raw_start[:, None] + some).ravel() for some in offsets]
    pos = wave(times, 90.0)
    file = nwb("Jenkins", "20090912", spikes, np.stack([raw_start, raw_start + 3.0], -1))
    series = [
        SpatialSeries(name=n, data=p, timestamps=times, reference_frame="screen", unit="mm")
        for n, p in (("Cursor", pos), ("Hand", pos + 5.0), ("Eye", 0 * pos))
    ]
    file.processing["behavior"].add(Position(series, name="Position"))
    add_trials(
        file, raw_start, raw_start + 3.0,
        target_presentation_time=raw_start + 0.3, go_cue_time=raw_start + 1.0,
        move_begins_time=raw_start + 1.25, move_ends_time=raw_start + 2.0,
        discard_trial=(np.arange(12) == 2).astype(float),
        task_success=(np.arange(12) != 5).astype(float),
    )  # fmt: skip
    ids = [f"group_{'PMd' if i % 2 else 'M1'}/elec{i}" for i in range(3)]
    units = {name: (start[:, None] + some).ravel() for name, some in zip(ids, offsets)}
    expected = {"start": start, "times": (times.reshape(12, -1) + shift[:, None]), "pos": pos}
    return write(file, path), units, expected


@pytest.mark.parametrize("restart", [False, True])
def test_churchland(raw, prepared, restart):
    name = "sub-Jenkins/sub-Jenkins_ses-20090912_behavior+ecephys.nwb"
    path, units, expected = churchland(raw / name, restart)
    made = pipeline("churchland_shenoy_neural_2012", path)
    assert (made.session_id, made.task) == ("jenkins_20090912_maze", MAZE)
    assert made.subject == "jenkins"
    check_spikes(made, units)
    cursor, times = made.behavior["cursor"], expected["times"]
    np.testing.assert_allclose(cursor["timestamps"], times.ravel(), atol=1e-9)
    pos = expected["pos"].reshape(12, 3000, 2)
    vel = np.concatenate([np.gradient(p, t, axis=0) for p, t in zip(pos, times)])
    np.testing.assert_allclose(cursor["vel"], vel, atol=1e-5)
    assert np.abs(vel).max() > 140, "mm/s"
    start, good = expected["start"], ~np.isin(np.arange(12), [2, 5])
    trials = np.stack([start, start + 3.0], -1)
    phase = lambda a, b: np.stack([start + a, start + b], -1)[good]  # noqa: E731
    train, valid, test = by_rule(trials[good], [0.7, 0.1, 0.2])
    check_intervals(
        made,
        trials=trials,
        domain=trials,
        movement_phases__hold_period=phase(0.3, 1.0),
        movement_phases__reach_period=phase(1.25, 2.0),
        movement_phases__return_period=phase(2.0, 3.0),
        train_domain=np.concatenate([train, trials[~good]]),  # failed trials are trained on
        valid_domain=valid,
        test_domain=test,
    )
    weights = {"hold_period": 0.1, "reach_period": 5.0, "return_period": 1.0}
    weights = {f"movement_phases.{k}": v for k, v in weights.items()}
    check_readout(made, prepared, "cursor.vel", 800.0, weights, None)


# --- Flint & Slutzky (CRCNS) --------------------------------------------------------------------


def test_flint(raw, prepared):
    """MATLAB 5: structs of structs of cells."""
    trials = np.zeros((20, 1), dtype=[(n, object) for n in ("Time", "HandVel", "Neuron")])
    units, times, velocity = {f"unit_{i}": [] for i in range(3)}, [], []
    for i in range(20):
        t = 10.0 + 3.0 * i + np.arange(201) / 100
        v = np.c_[wave(t, 0.5), np.full(len(t), 9.0)]  # the third column is not decoded
        neurons = np.zeros((3, 1), dtype=[("Spike", object)])
        for j in range(3):
            found = np.sort(RNG.uniform(t[0], t[-1], 5 + j)) if (i, j) != (0, 1) else np.zeros(0)
            neurons[j, 0]["Spike"] = found[:, None] if len(found) else np.zeros((0, 0))
            units[f"unit_{j}"].append(found)
        trials[i, 0]["Time"], trials[i, 0]["HandVel"] = t[:, None], v
        trials[i, 0]["Neuron"] = neurons
        times.append(t)
        velocity.append(v[:, :2])
    subject = np.zeros((1, 2), dtype=[("Trial", object)])
    subject[0, 0]["Trial"], subject[0, 1]["Trial"] = trials, trials[:3]  # the first one counts
    savemat(raw / "Flint_2012_e1.mat", {"Subject": subject})
    convert.main([str(raw), "out"])
    made = Recording.load("out/flint_slutzky_accurate_2012/monkey_c_e1_reaching.h5")
    assert (made.session_id, made.subject) == ("monkey_c_e1_reaching", "monkey_c")
    check_spikes(made, {name: np.concatenate(some) for name, some in units.items()})
    hand = made.behavior["hand"]
    np.testing.assert_array_equal(hand["timestamps"], np.concatenate(times))
    np.testing.assert_array_equal(hand["vel"], np.concatenate(velocity))
    spans = np.array([(t[0], t[-1]) for t in times])
    parts = dict(
        zip(("train_domain", "valid_domain", "test_domain"), by_rule(spans, [0.7, 0.1, 0.2]))
    )
    assert [len(part) for part in parts.values()] == [14, 2, 4]
    check_intervals(made, domain=spans, trials=spans, **parts)
    check_readout(made, prepared, "hand.vel", 0.4, {}, None)


# --- Neural Latents Benchmark (DANDI 000128, 000129) --------------------------------------------


def benchmark(path, subject, date, trials, observed, series, lost=()) -> tuple[Path, list, dict]:
    """series: name -> (values, with timestamps or without). lost: rows that are missing or NaN.
    Stored in mm with the conversion to m, as the published files."""
    units = spiking(5, observed[-1, 1], observed[0, 0])
    file = nwb(subject, date, units, observed)
    for name, (times, values) in series.items():
        unit = "m/s" if name.endswith("vel") else "m"
        kept = np.delete(np.arange(len(times)), lost)
        clock = {"timestamps": times[kept]}
        data = values[kept]
        if name.startswith("finger"):  # one rate and NaN
            clock, data = {"starting_time": times[0], "rate": 1000.0}, values.copy()
            data[list(lost)] = np.nan
        one = TimeSeries(name=name, data=data, unit=unit, conversion=0.001, **clock)
        file.processing["behavior"].add(one)
    add_trials(file, **trials)
    return write(file, path), units


def test_nlb_maze(raw, prepared):
    """Our conversion, of the maze of the paper, and the pipeline's of the small one, which has the
    same schema, make the same of a file; numbers of the published pipeline are ours."""
    start = 0.5 + 2.6 * np.arange(20)
    stop, times = start + 2.5, np.arange(53_000) / 1000
    split = np.array(["train"] * 15 + ["val"] * 5, dtype=object)[np.argsort(np.arange(20) % 4)]
    onset = start + 1.4
    trials = {"start": start, "stop": stop, "split": split, "move_onset_time": onset}
    pos, vel = wave(times, 90.0), wave(times, 300.0)
    series = {"hand_pos": (times, pos), "hand_vel": (times, vel), "eye_pos": (times, 0 * pos)}
    lost, spans = [1, 2, 30_000], np.stack([start, stop], -1)
    name = "000128/sub-Jenkins/sub-Jenkins_ses-full_desc-train_behavior+ecephys.nwb"
    path, units = benchmark(raw / name, "Jenkins", "20090925", trials, spans, series, lost)
    convert.main([str(raw), "out"])
    made = Recording.load("out/pei_pandarinath_nlb_2021/jenkins_mc_maze.h5")
    assert (made.session_id, made.subject, made.task) == ("jenkins_mc_maze", "jenkins", MAZE)
    check_spikes(made, dict(zip(nwb_ids(5), units)))
    kept, hand = np.delete(np.arange(len(times)), lost), made.behavior["hand"]
    np.testing.assert_array_equal(hand["timestamps"], times[kept])
    np.testing.assert_allclose(hand["vel"], vel[kept], rtol=1e-12)  # mm/s, as stored
    np.testing.assert_allclose(hand["pos"], pos[kept], rtol=1e-12)
    train, valid = by_rule(spans[split == "train"], [0.8, 0.2])
    assert (len(train), len(valid)) == (12, 3)
    expected = {
        "trials": spans, "domain": spans,
        "nlb_eval_intervals": np.stack([onset - 0.05, onset + 0.65], -1),
        "train_domain": train, "valid_domain": valid, "test_domain": spans[split == "val"],
    }  # fmt: skip
    check_intervals(made, **expected)
    check_readout(made, prepared, "hand.vel", 100.0, {}, "nlb_eval_intervals")

    theirs = pipeline("pei_pandarinath_nlb_2021", path)
    assert (theirs.session_id, theirs.task) == ("jenkins_maze_train", MAZE)
    check_spikes(theirs, units_of(made))
    del expected["domain"]  # there the whole time from the first sample to the last
    check_intervals(theirs, **expected)
    there = theirs.behavior["hand"]  # where samples are missing they put NaN
    np.testing.assert_allclose(there["timestamps"], times, atol=1e-9)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(there["vel"]).any(1)), lost)
    np.testing.assert_allclose(there["vel"][kept], hand["vel"], rtol=1e-12)
    with pytest.warns(UserWarning, match="3 of 53000 samples of hand.vel are NaN"):
        check_readout(theirs, prepared, "hand.vel", 100.0, {}, "nlb_eval_intervals")


def test_nlb_random_target(raw, prepared):
    """Continuous stretches cut into trials of 0.6 s, whose times have float noise."""
    start = np.concatenate([20.0 + 0.6 * np.arange(60), 80.0 + 0.6 * np.arange(60)])
    start, stop = start + 1e-13, start + 0.6 - 1e-13
    split = np.array(["train"] * 120, dtype=object)
    split[[10, 11, 12, 50, 70, 71]], split[119] = "val", "none"
    times = 20.0 + np.arange(96_000) / 1000
    observed = np.array([[20.0, 56.0], [80.0, 116.0]])
    pos, vel = np.c_[wave(times, 60.0), times], wave(times, 150.0)
    series = {"finger_pos": (times, pos), "finger_vel": (times, vel)}
    _, units = benchmark(
        raw / "000129/sub-Indy/sub-Indy_desc-train_behavior+ecephys.nwb",
        "Indy", "20170202", {"start": start, "stop": stop, "split": split}, observed, series,
        lost=range(36_000, 60_000),
    )  # fmt: skip
    convert.main([str(raw), "out"])
    made = Recording.load("out/pei_pandarinath_nlb_2021/indy_mc_rtt.h5")
    assert (made.session_id, made.subject, made.task) == ("indy_mc_rtt", "indy", RT)
    check_spikes(made, dict(zip(nwb_ids(5), units)))
    finger = made.behavior["finger"]
    np.testing.assert_allclose(finger["timestamps"], times, atol=1e-9)
    assert np.isnan(finger["vel"]).any(1).sum() == 24_000
    fine = np.isfinite(finger["vel"]).all(1)
    np.testing.assert_allclose(finger["vel"][fine], vel[fine], rtol=1e-12)
    # three trials are joined; one of 0.6 s grows to a second about its middle, 50.3
    test = np.array([[26.0, 27.8], [49.8, 50.8], [86.0, 87.2]])
    check_intervals(made, domain=observed, test_domain=test)
    _, valid = by_rule(np.stack([start, stop], -1)[split == "train"].round(6), [0.8, 0.2])
    middles, held_out = valid.mean(1), made.splits["valid"]
    assert contains(held_out, middles).mean() > 0.8  # those beside a test trial fall out
    train = made.splits["train"]
    assert not contains(union(train, test), middles[contains(held_out, middles)]).any()
    assert (np.diff(np.concatenate([test, held_out])) >= 1.0 - 1e-6).all()
    a, b, c = (np.diff(made.splits[name]).sum() for name in ("train", "valid", "test"))
    assert np.diff(union(*made.splits.values())).sum() == pytest.approx(a + b + c)
    assert (np.diff(train) >= 1.0).any() and not contains(train, start[split == "none"]).any()
    with pytest.warns(UserWarning, match="24000 of 96000 samples of finger.vel are NaN"):
        check_readout(made, prepared, "finger.vel", 200.0, {}, None)


def test_a_conversion_that_cannot_be_says_so(raw):
    with pytest.raises(RecordingError, match=r"none of Flint_2012_e\?.mat, .* under raw"):
        convert.main([str(raw), "out"])
    times, spans = np.arange(5000) / 1000, np.array([[0.0, 5.0]])
    trials = {"start": [0.0], "stop": [5.0], "split": ["train"]}
    series = {"force": (times, wave(times, 1.0))}
    path, _ = benchmark(raw / "a.nwb", "Han", "20171207", trials, spans, series)
    with pytest.raises(RecordingError, match=r"neither of hand_vel, finger_vel: .*force"):
        convert.nlb(path)
    with h5py.File(path, "r+") as file:
        group = file["processing/behavior"]
        group["hand_vel"] = group["hand_pos"] = group["force"]
        group["force/data"].attrs["unit"] = "furlong/s"
    with pytest.raises(RecordingError, match="is in 'furlong', not one of mm, m"):
        convert.nlb(path)


# --- the paper's lists --------------------------------------------------------------------------


def dates(text: str) -> list[str]:
    """ "201310 03 22" is 20131003 and 20131022."""
    found, month = [], ""
    for word in text.split():
        month = word if len(word) == 6 else month
        found += [month + word] if len(word) == 2 else []
    return found


PERICH = {  # the site of the paper, its list of the sessions of POYO-1; * stood there twice
    (
        "c",
        CO,
    ): """201310 03 22 23 31 201311 01 201312 03 04 19 20 201503 09 11 12 13 19 201506 29 30
        201507 01 03 06 07 08 09 10 13 14 15 16 201511 03 04 06 09 10 12 13 16 17 19 20 201512 01
        201609 09 12 14 15 19 21 29 201610 05 06 07""",
    ("c", RT): "201310 09 10 11 28 29 201312 09 10 12 13 17 18 201503 16 17 18 20",
    ("m", CO): """201402 03 17 18 201403 03 04 06 07 201406 26 27 201409 29 201412 03 201505 11 12
        201506 10 11 12 15 16 17 23 25 26""",
    ("m", RT): "201401 14 15 16 201402 14 21 24",
    ("j", CO): "201604 05 06 07",
}
TWICE = 3, 0, 2, 0, 0  # of the rows of PERICH
ENTRIES = 52, 15, 24, 6, 3
ODOHERTY = {
    "indy": """20160407_02 20160411_01 20160411_02 20160418_01 20160419_01 20160420_01 20160426_01
        20160622_01 20160624_03 20160627_01 20160630_01 20160915_01 20160916_01 20160921_01
        20160927_04 20160927_06 20160930_02 20160930_05 20161005_06 20161006_02 20161007_02
        20161011_03 20161013_03 20161014_04 20161017_02 20161024_03 20161025_04 20161026_03
        20161027_03 20161206_02 20161207_02 20161212_02 20161220_02 20170123_02 20170124_01
        20170127_03 20170131_02""",
    "loco": """20170210_03 20170213_02 20170215_02 20170227_04 20170228_02 20170301_05
        20170302_02""",
}
CHURCHLAND = {
    "nitschke": "200908 12 19 200909 10 20 22",
    "jenkins": "200909 12 16 18 23",
}
HELD_OUT = {
    "C-CO": ("c", CO, "201610 13 21"),
    "T-CO": ("t", CO, "201308 19 21 23 201309 03 05 09"),
    "T-RT": ("t", RT, "201308 20 22 30 201309 04 06 10"),
}


def test_the_sessions_are_those_of_the_paper():
    pretrain = sources.PUBLIC["pretrain"]
    assert list(pretrain) == [
        "perich_miller_population_2018", "odoherty_sabes_nonhuman_2017",
        "churchland_shenoy_neural_2012", "flint_slutzky_accurate_2012",
    ]  # fmt: skip
    perich, odoherty, churchland, flint = pretrain.values()
    assert perich == [
        f"{a}_{day}_{task}" for (a, task), text in PERICH.items() for day in dates(text)
    ]
    counts = [len(dates(text)) for text in PERICH.values()]
    assert tuple(np.add(counts, TWICE)) == ENTRIES
    assert (sum(ENTRIES), sum(counts), len(set(perich))) == (100, 95, 95)
    assert odoherty == [f"{a}_{day}" for a, text in ODOHERTY.items() for day in text.split()]
    assert churchland == [f"{a}_{d}_maze" for a, text in CHURCHLAND.items() for d in dates(text)]
    assert flint == [f"monkey_c_e{i}_reaching" for i in range(1, 6)]
    assert (len(odoherty), len(churchland), len(flint)) == (44, 9, 5)
    assert sum(ENTRIES) + 44 + 9 + 5 == 158


def test_held_out_sessions_are_those_of_the_columns_of_table_2():
    held_out = {role: some for role, some in sources.PUBLIC.items() if role != "pretrain"}
    assert held_out == {
        role: {"perich_miller_population_2018": [f"{a}_{day}_{task}" for day in dates(text)]}
        for role, (a, task, text) in HELD_OUT.items()
    } | {
        "NLB-Maze": {"pei_pandarinath_nlb_2021": ["jenkins_mc_maze"]},
        "NLB-RTT": {"pei_pandarinath_nlb_2021": ["indy_mc_rtt"]},
    }
    names = [name for some in sources.PUBLIC.values() for each in some.values() for name in each]
    assert len(names) == len(set(names)) == 153 + 16, "no session is in two roles"
    # the benchmark's recordings, of 2009-09-25 and 2017-02-02, are of no day that is trained on
    assert not [name for name in names if "20090925" in name or "20170202" in name]


def test_scales_weights_and_masks_are_the_papers():
    phase = lambda **some: {f"movement_phases.{k}": v for k, v in some.items()}  # noqa: E731
    outlier = {"cursor_outlier_segments": 0.0}
    reaching = phase(hold_period=0.1, reach_period=5.0)
    table = {  # target, divided by, unit, weights that are not 1, where R² is taken
        ("perich_miller_population_2018", CO): (
            "cursor.vel", 20.0, "cm/s", reaching | phase(invalid=0.1) | outlier, "reach_period",
        ),
        ("perich_miller_population_2018", RT): (
            "cursor.vel", 20.0, "cm/s", phase(hold_period=0.1) | outlier, "random_period",
        ),
        ("odoherty_sabes_nonhuman_2017", ""): ("cursor.vel", 200.0, "mm/s", {}, None),
        ("churchland_shenoy_neural_2012", ""): ("cursor.vel", 800.0, "mm/s", reaching, None),
        ("flint_slutzky_accurate_2012", ""): ("hand.vel", 0.4, "m/s", {}, None),
        ("pei_pandarinath_nlb_2021", MAZE): ("hand.vel", 100.0, "mm/s", {}, "nlb_eval_intervals"),
        ("pei_pandarinath_nlb_2021", RT): ("finger.vel", 200.0, "mm/s", {}, None),
    }  # fmt: skip
    found = {key: row for key, row in sources.READOUTS.items() if not key[0].startswith("sim-")}
    assert found.keys() == table.keys()
    for key, (target, scale, unit, weights, evaluate) in table.items():
        row = found[key]
        assert (row.target, row.scale, row.offset, row.unit) == (target, scale, 0.0, unit), key
        assert dict(row.weights) == weights, key
        assert (row.evaluate or "").rpartition(".")[2] == (evaluate or ""), key


def test_the_profile_of_the_paper_asks_for_all_of_them(tmp_path):
    data = {
        "corpus": "poyo_1", "root": str(tmp_path), "seed": 0, "days": 1, "held_out_days": 1,
        "minutes": 1.0, "held_out_minutes": 1.0, "units": (8, 12),
    }  # fmt: skip
    with pytest.raises(RecordingError, match=r"169 of 169 files of poyo_1 are missing.*prepare"):
        corpus.build(tmp_path, **data)
    with pytest.raises(RecordingError, match="109 of 109 files of poyo_mp"):
        corpus.build(tmp_path, **data | {"corpus": "poyo_mp"})
