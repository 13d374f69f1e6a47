"""Recordings from a folder of Phy or Kilosort, with behavior.npz or behavior.mat put beside it.
Not for: sorting, or judging units beyond what was said of them by hand."""

import ast
import csv
from pathlib import Path

import numpy as np

from . import arrays
from .contents import Contents, by_channel, in_order
from .recording import RecordingError, require


def contents(folder: Path, names: dict[str, str], target: str) -> Contents:
    """spike_times.npy, in samples; spike_clusters.npy or spike_templates.npy; params.py with
    sample_rate; cluster_group.tsv or cluster_info.tsv if there are any: what is called noise is
    dropped. behavior: times (T,) s on the clock of the spikes, the target, optionally trials."""
    names_of = [folder / f"spike_{kind}.npy" for kind in ("clusters", "templates")]
    of_clusters = next((path for path in names_of if path.exists()), names_of[0])
    files = folder / "spike_times.npy", of_clusters
    samples, clusters = (np.ravel(arrays.load(path)) for path in files)
    told = f"{folder}: {len(samples)} spike_times for {len(clusters)} in {of_clusters.name}"
    require(len(samples) == len(clusters), f"{told}; export both again")
    group, channel = _table(folder, "group"), _table(folder, "ch")
    kept = [one for one in np.unique(clusters).tolist() if group.get(one) != "noise"]
    spikes = np.isin(clusters, kept)
    seconds = samples[spikes] / _sample_rate(folder / "params.py")
    beside = [folder / f"behavior{suffix}" for suffix in (".npz", ".mat")]
    there = [path for path in beside if path.exists()]
    cure = "save the times (T,) in s and the array to decode there, and trials (n, 2) if any"
    require(there, f"{folder} has no behavior.npz and no behavior.mat; {cure}")
    content = arrays.load(there[0])
    if all(one in channel for one in kept):
        ids = by_channel(f"ch{channel[one]}" for one in kept)
    else:
        ids = [f"cluster{one}" for one in kept]
    return Contents(
        path=folder,
        spikes=in_order(seconds, np.searchsorted(kept, clusters[spikes])),
        unit_ids=ids,
        **arrays.behaviour(content, there[0], names, target),
    )


def _table(folder: Path, column: str) -> dict[int, str]:
    """What the tables say in a column, by cluster; cluster_group, set by hand, comes last."""
    found = {}
    for name in ("cluster_info.tsv", "cluster_group.tsv"):
        if (folder / name).exists():
            with (folder / name).open(newline="") as file:
                for row in csv.DictReader(file, delimiter="\t"):
                    if row.get(column):
                        found[int(row.get("cluster_id") or row["id"])] = row[column]
    return found


def _sample_rate(path: Path) -> float:
    """sample_rate of params.py, which is read as text: a data file is never executed."""
    require(path.exists(), f"{path} is not there; it says `sample_rate = 30000.`, in Hz")
    try:
        for line in ast.parse(path.read_text()).body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "sample_rate":
                return float(ast.literal_eval(line.value))
    except (SyntaxError, ValueError, TypeError) as error:
        cure = "write sample_rate as a number, in Hz"
        raise RecordingError(f"{path} cannot be read: {error}; {cure}") from error
    raise RecordingError(f"{path} has no sample_rate; add `sample_rate = 30000.`, in Hz")
