"""Recordings of the paper that `brainsets prepare` does not make: Flint's and the benchmark's.
Their published files become files of the brainsets layout, split as the field's pipelines do:

    python -m poyo.data.convert RAW runs/brainsets

Anywhere under RAW lie Flint_2012_e1.mat … e5.mat (CRCNS, the DREAM collection) and the files of
DANDI 000128 (MC_Maze) and 000129 (MC_RTT). Not for: files of one's own (`readers`)."""

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat

from .intervals import intervals, subtract, union
from .recording import CO, MAZE, RT, Recording, RecordingError, Splits, require

SEED = 42  # of every split below, that of the field's pipelines
WINDOW = 1.0  # s: what is decoded at once
MM = {"mm": 1.0, "m": 1e3, "meters": 1e3}  # in the unit that a series of NWB declares
# what the velocity is called in the benchmark: series, task, name of the recording
NLB = {"hand_vel": ("hand", MAZE, "mc_maze"), "finger_vel": ("finger", RT, "mc_rtt")}


def shuffled(pairs: np.ndarray, shares: tuple[float, ...]) -> list[np.ndarray]:
    """Divide intervals (n, 2) at random into parts of these shares, each sorted.
    As torch_brain's `Interval.split`: sizes are rounded, the largest part takes what remains, and
    `numpy.random.default_rng(42).permutation` says which interval goes where."""
    sizes = [round(share * len(pairs)) for share in shares]
    largest = int(np.argmax(sizes))
    sizes[largest] += len(pairs) - sum(sizes)
    order = np.random.default_rng(SEED).permutation(len(pairs))
    return [intervals(pairs[rows]) for rows in np.split(order, np.cumsum(sizes)[:-1])]


def flint(path: Path) -> Recording:
    """A session of Flint et al. 2012 (Flint_2012_e?.mat), of the file's first subject.
    The hand's velocity (T, 2) in m/s at 100 Hz, within trials only: a trial runs from its first
    sample to its last, and the domain is the trials. 70/10/20 of them train/valid/test."""
    trials = loadmat(path)["Subject"].flat[0]["Trial"].ravel()
    times, velocity, each, units = [], [], [], []
    for trial in trials:
        times.append(trial["Time"][:, 0].astype(np.float64))
        velocity.append(trial["HandVel"][:, :2])
        for unit, neuron in enumerate(trial["Neuron"].ravel()):
            each.append(neuron["Spike"].ravel().astype(np.float64))
            units.append(np.full(len(each[-1]), unit))
    spans = np.array([(some.min(), some.max()) for some in times])
    spikes, rows = np.concatenate(each), np.concatenate(units)
    order = np.argsort(spikes, kind="stable")
    return Recording(
        session_id=f"monkey_c_{path.stem.rpartition('_')[2]}_reaching", subject="monkey_c",
        brainset="flint_slutzky_accurate_2012", task=CO, spike_times=spikes[order],
        spike_units=rows[order],
        unit_ids=np.array([f"unit_{i}" for i in range(trials[0]["Neuron"].size)]),
        behavior={"hand": {"timestamps": np.concatenate(times), "vel": np.concatenate(velocity)}},
        domain=intervals(spans),
        splits=dict(zip(("train", "valid", "test"), shuffled(spans, (0.7, 0.1, 0.2)))),
        intervals={"trials": intervals(spans)},
    )  # fmt: skip


def nlb(path: Path) -> Recording:
    """MC_Maze or MC_RTT of the Neural Latents Benchmark (NWB, `…desc-train_behavior+ecephys`).
    All units, also those that the benchmark holds out. Position and velocity (T, 2) of the hand or
    the finger in mm and mm/s at 1 kHz; NaN stays NaN, it counts nowhere. Of the trials "train" is
    split 80/20 into train and valid, "val" is the test; the benchmark's own test has no behaviour.
    The maze is scored in "nlb_eval_intervals", 50 ms before a movement's onset to 650 ms after."""
    with h5py.File(path) as file:
        behavior, trials = file["processing/behavior"], file["intervals/trials"]
        units, electrodes = file["units"], file["general/extracellular_ephys/electrodes"]
        found = [name for name in NLB if name in behavior]
        require(len(found) == 1, f"{path} has neither of {', '.join(NLB)}: {sorted(behavior)}")
        series, task, title = NLB[found[0]]
        times, vel = _series(behavior[found[0]])
        _, pos = _series(behavior[f"{series}_pos"])
        # trials of MC_RTT follow each other without a gap but for the last digits of their times
        pairs = np.stack([trials["start_time"][()], trials["stop_time"][()]], -1).round(6)
        split = trials["split"].asstr()[()]
        spans = {"trials": intervals(pairs)}
        if task == MAZE:
            onset = trials["move_onset_time"][()]
            onset = onset[np.isfinite(onset)]
            spans["nlb_eval_intervals"] = intervals(onset - 0.05, onset + 0.65)
        spikes, ends = units["spike_times"][()], units["spike_times_index"][()].astype(int)
        rows = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        observed = units["obs_intervals"][: units["obs_intervals_index"][0]]  # of the first unit
        group, at = electrodes["group_name"].asstr()[()], units["electrodes"][()]  # one of each
        subject = file["general/subject/subject_id"].asstr()[()].lower()
    train, valid = shuffled(pairs[split == "train"], (0.8, 0.2))
    splits = {"train": train, "valid": valid, "test": intervals(pairs[split == "val"])}
    order = np.argsort(spikes, kind="stable")
    return Recording(
        session_id=f"{subject}_{title}", subject=subject, brainset="pei_pandarinath_nlb_2021",
        task=task, spike_times=spikes[order], spike_units=rows[order],
        unit_ids=np.array([f"group_{group[e]}/elec{e}/unit_{i}" for i, e in enumerate(at)]),
        behavior={series: {"timestamps": times, "pos": pos, "vel": vel}},
        domain=union(observed.round(6)),
        # Paper: trials as the benchmark cuts them. Here: those of 0.6 s are joined or grown to 1,
        # as no window of a second fits in one.
        splits=widened(splits) if task == RT else splits, intervals=spans,
    )  # fmt: skip


def widened(splits: Splits) -> Splits:
    """The splits of trials of 0.6 s that follow each other, in intervals that a window fits in.
    Neighbours are joined; a held-out interval shorter than a window grows about its middle; train
    gives way to both that are held out, and valid to test."""
    test, valid = (
        union(pairs + np.maximum(0, WINDOW - np.diff(pairs)) / 2 * [-1, 1])
        for pairs in (union(splits["test"]), union(splits["valid"]))
    )
    valid = subtract(valid, test)
    valid = valid[np.diff(valid)[:, 0] > WINDOW - 1e-6]
    return {"train": subtract(splits["train"], union(valid, test)), "valid": valid, "test": test}


def _series(group: h5py.Group) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and the first two columns (T, 2), in mm or mm/s, of a TimeSeries of NWB."""
    unit = group["data"].attrs["unit"].partition("/")[0]  # m of m/s
    require(unit in MM, f"{group.name} is in {unit!r}, not one of {', '.join(MM)}")
    scale = MM[unit] * group["data"].attrs.get("conversion", 1.0)  # stored x conversion = declared
    values = group["data"][:, :2] * scale
    if "timestamps" in group:
        return group["timestamps"][()], values
    start = group["starting_time"]
    return start[()] + np.arange(len(values)) / start.attrs["rate"], values


BENCHMARK = "sub-Jenkins_ses-full_desc-train*.nwb", "sub-Indy*_desc-train*.nwb"
FILES = {"Flint_2012_e?.mat": flint} | dict.fromkeys(BENCHMARK, nlb)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m poyo.data.convert")
    parser.add_argument("raw", type=Path, help="folder of the published files")
    parser.add_argument("out", type=Path, help="data.root of params.yaml: runs/brainsets")
    folders = parser.parse_args(arguments)
    found = [(path, make) for name, make in FILES.items() for path in folders.raw.rglob(name)]
    require(len(found) > 0, f"there is none of {', '.join(FILES)} under {folders.raw}")
    for path, make in sorted(found, key=lambda pair: pair[0]):
        recording = make(path)
        out = folders.out / recording.brainset / f"{recording.session_id}.h5"
        recording.save(out)
        print(f"{path.name} -> {out}: {len(recording.unit_ids)} units, {recording.duration:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except RecordingError as error:
        sys.exit(str(error))
