"""The corpus of the paper's size: made once, the same again, and read without much memory."""

import numpy as np
import pandas as pd
import pytest

from poyo import ROOT
from poyo.data.recording import Recording
from poyo.decoder import Decoder
from poyo.study import plotting, profile, scale

SMALL = {"units": (4, 5), "minutes": 0.5}


def test_a_corpus_is_made_up_as_the_papers():
    assert sum(n for *_, n in scale.POYO_1) == 158
    assert sum(n for _, source, _, n in scale.POYO_1 if source == "odoherty") == 44
    assert scale.evenly([*range(158)], 10)[::9] == [0, 157] and scale.evenly([1, 2], 3) == [1, 2]


def test_a_file_that_is_there_is_not_made_again_and_one_that_is_gone_comes_back_alike(tmp_path):
    files = scale.build(tmp_path, sessions=3, **SMALL)
    kept, lost, _ = files
    before, made = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    assert scale.build(tmp_path, sessions=3, **SMALL) == files
    assert lost.read_bytes() == before and kept.stat().st_mtime_ns == made
    recordings = [Recording.load(path) for path in files]
    assert len({one.session_id for one in recordings}) == 3
    assert {one.brainset for one in recordings} == {"sim-perich", "sim-churchland"}


@pytest.fixture
def training(easy, training, tmp_path):
    """Of a decoder of two sessions on disk, one of them large."""
    for name, seconds in (("a", 2000.0), ("b", 60.0)):
        easy(name, seconds=seconds, units=20).save(tmp_path / f"{name}.h5")
    recordings = [Recording.load(tmp_path / f"{name}.h5") for name in "ab"]
    decoder = Decoder.new(recordings, size="smoke")
    return scale.Training(decoder, recordings, training)


def test_speed_and_needs_are_measured(training):
    rate, memory = training.learning(2)
    assert rate > 0 and memory > 0 and training.reading(8) > 0
    assert training.operations(2) == pytest.approx(training.operations(4), rel=0.3)
    assert training.agreement(half=True) == (0, 0)  # of this machine with itself


def test_the_first_seconds_of_a_split_are_part_of_it(simulated):
    short = scale.shortened(simulated, 5.0)
    for split in ("valid", "test"):
        first, whole = short.splits[split], simulated.splits[split]
        assert np.array_equal(first[:, 0], whole[: len(first), 0])
        assert (first[:, 1] <= whole[: len(first), 1]).all()
        assert np.diff(first[:-1]).sum() < 5 <= np.diff(whole[: len(first)]).sum()
    assert np.array_equal(short.splits["train"], simulated.splits["train"])


def test_the_values_of_other_machines_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "FIGURES", tmp_path)
    scale.record([("training", scale.OURS, 1000.0, "windows/s")], "one GPU")
    scale.record([("training", scale.OURS, 3.0, "windows/s"), ("gone", "", 1.0, "")], "2 cores")
    measured = scale.record([("training", scale.OURS, 4.0, "windows/s")], "2 cores")
    assert [*measured.machine] == ["one GPU", "2 cores"] and [*measured.value] == [1000, 4]
    assert [*pd.read_csv(tmp_path / "data/scale.csv").value] == [1000, 4]
    row = "| training, our settings | 1,000 windows/s | 4 windows/s |"
    assert row in scale.table(measured, "laptop")
    models = profile.load(ROOT / "profiles/paper.yaml").models
    hours = 97_000 * 1024 / 1000 / 3600
    assert f"1,000 windows/s | {hours:.3g} |" in scale.cost(measured, models)
    assert "POYO-1" in (tmp_path / "tables/cost.md").read_text()
    assert scale.cost(measured[measured.machine == "2 cores"], models).startswith("no GPU")
