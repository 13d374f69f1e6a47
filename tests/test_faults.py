"""A short version of faults.py: a strike at a notebook, in the middle."""

import faults
from test_processes import until

from poyo import train


def test_what_was_struck_and_begun_again_ends_with_the_same_bytes(tmp_path, monkeypatch):
    folder, alone = faults.prepared(tmp_path / "struck"), tmp_path / "alone"
    before, scratch = faults.outcome(folder), folder / "runs/scratch/one"
    process = faults.begun("notebook", folder)
    until(lambda: [*scratch.glob("*.pt")])  # a training has kept a step
    assert process.poll() is None and not [*folder.glob("*.pt")]
    faults.strike(process, "SIGTERM")
    faults.ended("notebook", folder)
    assert "resumed at step" in faults.log(folder).read_text() and not faults.left(folder)

    alone.mkdir()
    (alone / "monday.h5").write_bytes(before["monday.h5"])
    monkeypatch.chdir(alone)
    monkeypatch.setattr(train, "SAVE_EVERY", train.SAVE_EVERY)  # which the cell changes
    exec(f"{faults.TRAINING}one(1)\n", {"__name__": "__main__"})
    expected = before | faults.outcome(alone)
    found = faults.outcome(folder)
    assert {name: found[name] for name in expected} == expected
    assert found.keys() - expected.keys() == {"runs/notebooks/one.ipynb"}
