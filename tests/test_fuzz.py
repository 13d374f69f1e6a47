"""Damaged files and strange arrays: each is read whole, or an error names it, never anything else.
A long run, with its counts: POYO_FUZZ=4000 python -m pytest -p no:xdist -s tests/test_fuzz.py"""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import savemat
from test_formats import save73, write_nwb

from poyo.data import apart
from poyo.data.intervals import dilate, subtract, union
from poyo.data.readers import read
from poyo.data.recording import Recording, RecordingError
from poyo.decoder import Decoder
from poyo.resume import CheckpointError

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


def save_pt(path: Path) -> None:
    session = Recording.from_arrays(*OWN.values(), session_id="fine", **MORE)
    Decoder.new([session], size="smoke").save(path)


def save_phy(name: str) -> Callable[[Path], None]:
    """A folder of Phy around the file `name`, which is the one to be damaged."""

    def save(path: Path) -> None:
        units = OWN["spike_units"]
        files = {
            "spike_times.npy": np.uint64(3e4 * OWN["spike_times"]),
            "spike_clusters.npy": units,
        }
        for other, values in files.items():
            np.save(path.parent / other, values)
        (path.parent / "params.py").write_text("dtype = 'int16'\nsample_rate = 30000.\n")
        table = "cluster_id\tch\tgroup\n0\t4\tgood\n1\t5\tmua\n2\t6\tgood\n"
        (path.parent / "cluster_info.tsv").write_text(table)
        np.savez(path.parent / "behavior.npz", times=TIMES, velocity=OWN["velocity"], **MORE)
        path.write_bytes((path.parent / name).read_bytes())

    return save


PHY = "spike_times.npy spike_clusters.npy params.py cluster_info.tsv behavior.npz".split()
WRITERS = {
    "pt": save_pt,
    **{f"phy/{name}": save_phy(name) for name in PHY},
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
            if path.suffix == ".pt":
                Decoder.load(path).model.unit_emb.weight.sum().item()
                return "read"
            one = read(path, target="cursor_vel" if path.suffix == ".nwb" else "")
        replace(one)  # checks it
        assert {*one.splits} == {"train", "valid", "test"} and len(one.splits["test"])
        assert one.series(one.target)[1].dtype.kind in "fiu"
        return "read"
    except (CheckpointError, RecordingError) as error:
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
    if kind.startswith("phy/"):  # a folder is read, one file in it is damaged
        fine, path = tmp_path / "fine", tmp_path / Path(kind).name
    WRITERS[kind](fine)
    whole = tmp_path if kind.startswith("phy/") else path
    path.write_bytes(fine.read_bytes())
    assert outcome(whole) == "read"
    monkeypatch.setattr(apart, "LIMIT", 2.5)  # what reads it has started
    found, strange = Counter(), {}
    for seed in range(CASES if kind != "nwb" else max(10, CASES // 10)):  # slow
        path.write_bytes(damaged(fine.read_bytes(), np.random.default_rng(seed)))
        what = outcome(whole)
        found[what] += 1
        if what not in ("read", "refused", "given up"):
            strange[seed] = what
    print(f"\n{kind}: {dict(found)}")
    assert not strange


# --- strange arrays ---------------------------------------------------------------------------

FINE = OWN | MORE
ODD = [np.nan, np.inf, -np.inf, 1e300, -1e300, 1e9, -1e9, -3.0, 0.0, 0.5]
TYPES = "bool int8 uint8 int32 uint64 float16 float32 float64 complex128 U3 S2 O M8[s]".split()
FIELDS = "Object arrays|spike|unit|times|target|velocity|trials|domain|behaviour"
strange = hypothesis.settings(
    max_examples=5 * CASES,
    derandomize="POYO_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=[*hypothesis.HealthCheck],
)


def changed(draw, values: np.ndarray) -> np.ndarray:
    """An array of another structure, or of the same one with something wrong in it."""
    values = np.array(values)
    n, at = len(values), draw(st.integers(0, len(values) - 1))
    ways = {
        "another": lambda: draw(
            arrays.arrays(
                draw(st.sampled_from(TYPES[:-2])), arrays.array_shapes(min_dims=0, min_side=0)
            )
        ),
        "type": lambda: values.astype(draw(st.sampled_from(TYPES))),
        "backwards": lambda: values[::-1],
        "transposed": lambda: values.T,
        "column": lambda: values[:, None],
        "row": lambda: values[None],
        "shorter": lambda: values[:at],
        "one": lambda: values[at],
        "twice": lambda: np.concatenate([values, values]),
        "constant": lambda: np.broadcast_to(values[at], values.shape),
        "odd": lambda: np.where(np.arange(n * values[0].size).reshape(values.shape) == at,
                                draw(st.sampled_from(ODD)), values),
        "scaled": lambda: values * draw(st.sampled_from([0, -1, 1e-3, 1e3, 1e12, 1e300])),
        "shifted": lambda: values + draw(st.sampled_from([-1e6, -10.0, 15.0, 1e6, 1e15])),
        "lists": lambda: np.array([None, *map(list, np.atleast_1d(values[:3, None]))], object),
    }  # fmt: skip
    return ways[draw(st.sampled_from([*ways]))]()


def session(draw) -> dict[str, np.ndarray]:
    names = st.lists(st.sampled_from([*FINE]), min_size=1, max_size=2, unique=True)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = FINE | {name: changed(draw, FINE[name]) for name in draw(names)}
    return whole if draw(st.booleans()) else {k: v for k, v in whole.items() if k != "trials"}


def check(one: Recording, given: dict) -> None:
    """What every part of the package takes for granted of a recording."""
    replace(one)  # its own checks
    stamps, values = one.series(one.target)
    assert np.isfinite(stamps).all() and (np.diff(stamps) >= 0).all()
    assert np.isfinite(one.spike_times).all() and (np.diff(one.spike_times) >= 0).all()
    assert len(one.spike_times) == np.size(given["spike_times"]) and len(stamps) == len(values)
    assert one.spike_units.min() >= 0 and one.spike_units.max() < len(one.unit_ids)
    assert {*one.splits} == {"train", "valid", "test"}
    union_of = [union(pairs) for pairs in one.splits.values()]
    assert len(union_of[2]) and not any(
        len(subtract(a, dilate(one.domain, 0.2))) for a in union_of
    )
    total = sum(np.diff(a).sum() for a in union_of)
    np.testing.assert_allclose(np.diff(union(*union_of)).sum(), total)  # they share no second


@strange
@hypothesis.given(st.data())
def test_strange_arrays_are_a_recording_or_refused(data):
    given = session(data.draw)
    spikes, units, times, target, *trials = given.values()
    more = {"trials": trials[0]} if trials else {}
    try:
        one = Recording.from_arrays(spikes, units, times, target, session_id="odd", **more)
    except RecordingError as error:
        assert re.search(FIELDS, str(error)), error
    else:
        check(one, given)


@strange
@hypothesis.given(st.data())
def test_strange_arrays_in_a_file_are_a_recording_or_refused(tmp_path_factory, data):
    given = session(data.draw)
    path = tmp_path_factory.getbasetemp() / "odd.npz"
    np.savez(path, **given)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = read(path)
    except RecordingError as error:
        assert str(path) in str(error) and re.search(FIELDS, str(error)), error
    else:
        check(one, given)
