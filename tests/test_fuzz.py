"""Damaged files: each is a recording or an error that names it, never anything else, nor a hang.
A long run, with its counts: POYO_FUZZ=4000 python -m pytest -p no:xdist -s tests/test_fuzz.py"""

import os
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from test_formats import save73, write_nwb

from poyo.data import apart
from poyo.data.readers import read
from poyo.data.recording import Recording, RecordingError

CASES = int(os.environ.get("POYO_FUZZ", 60))  # of each format
TIMES = np.arange(0, 20, 0.1)
RNG = np.random.default_rng(0)
OWN = {
    "spike_times": np.sort(RNG.uniform(0, 20, 50)),
    "spike_units": RNG.integers(0, 3, 50),
    "times": TIMES,
    "velocity": np.stack([np.sin(TIMES), np.cos(TIMES)], -1),
}
MORE = {"trials": np.stack([np.arange(0, 18, 2.0), np.arange(0, 18, 2.0) + 1.5], -1)}


def save_h5(path: Path) -> None:
    Recording.from_arrays(*OWN.values(), session_id="fine", **MORE).save(path)


WRITERS = {
    "h5": save_h5,
    "npz": lambda path: np.savez(path, **OWN, **MORE),
    "mat": lambda path: savemat(path, {"session": OWN | MORE}),
    "compressed.mat": lambda path: savemat(path, OWN | MORE, do_compression=True),
    "v73.mat": lambda path: save73(path, {"session": OWN | MORE | {"unit_ids": ["a", "b", "c"]}}),
    "nwb": write_nwb,
}


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Cut off in one case of five, else with up to eight bytes changed, half of them early on."""
    if rng.random() < 0.2:
        return whole[: rng.integers(len(whole))]
    content = bytearray(whole)
    for _ in range(rng.integers(1, 9)):
        at = rng.integers(len(whole) if rng.random() < 0.5 else min(len(whole), 4096))
        flipped = content[at] ^ (1 << rng.integers(8))
        content[at] = flipped if rng.random() < 0.5 else rng.integers(256)
    return bytes(content)


def outcome(path: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = read(path, target="cursor_vel" if path.suffix == ".nwb" else "")
        replace(one)  # checks it
        assert {*one.splits} == {"train", "valid", "test"} and len(one.splits["test"])
        assert one.series(one.target)[1].dtype.kind in "fiu"
        return "read"
    except RecordingError as error:
        if str(path) not in str(error):
            return f"an error that does not name the file: {error}"
        return "given up" if "what reads it died" in str(error) else "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_file_is_read_or_refused(tmp_path, monkeypatch, kind):
    if kind == "nwb":
        pytest.importorskip("pynwb")
    monkeypatch.setattr(apart, "LIMIT", 5.0)
    fine, path = tmp_path / f"fine.{kind}", tmp_path / f"damaged.{kind}"
    WRITERS[kind](fine)
    assert outcome(fine) == "read"
    found, strange = Counter(), {}
    for seed in range(CASES if kind != "nwb" else max(10, CASES // 10)):  # slow
        path.write_bytes(damaged(fine.read_bytes(), np.random.default_rng(seed)))
        what = outcome(path)
        found[what] += 1
        if what not in ("read", "refused", "given up"):
            strange[seed] = what
    print(f"\n{kind}: {dict(found)}")
    assert not strange
