"""A short version of faults.py: a strike or two at a notebook, in the middle."""

import random

import faults


def test_what_was_struck_and_begun_again_ends_with_the_same_bytes(tmp_path):
    what, how = "notebook", "SIGTERM"
    alone, folder = (faults.prepared(tmp_path / name) for name in ("alone", "struck"))
    seconds = faults.ended(what, alone)
    facts = faults.struck(what, how, folder, random.Random(1), seconds)
    assert facts["strikes"] and not facts["left"]
    assert faults.outcome(folder) == faults.outcome(alone)
