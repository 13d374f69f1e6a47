"""The examples of .github/CONTRIBUTING.md: each is short, and does what it says."""

import re
from dataclasses import replace

import pytest

from poyo import ROOT
from poyo.data import sources
from poyo.decoder import Decoder
from poyo.model import SIZES
from poyo.study import ablations
from poyo.train import fit

TEXT = (ROOT / ".github/CONTRIBUTING.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def done():
    """What the examples define, after they have run."""
    known, readouts, variants = {}, dict(sources.READOUTS), dict(ablations.VARIANTS)
    for example in EXAMPLES:
        exec(compile(example, "CONTRIBUTING.md", "exec"), known)
    yield known
    for table, before in ((sources.READOUTS, readouts), (ablations.VARIANTS, variants)):
        table.clear()
        table.update(before)


def test_each_addition_is_short():
    assert len(EXAMPLES) == TEXT.count("## A new ")
    assert all(len(example.splitlines()) < 40 for example in EXAMPLES)


def test_the_backbone_learns_the_target_of_the_dataset(done, learning, windows, tmp_path):
    session, kind = done["session"], {"model": done["Recurrent"]}
    decoder = Decoder.new([session], size="smoke", windows=windows, **kind)
    fit(decoder, [session], replace(learning, steps=60))
    decoder.save(tmp_path / "own.pt")
    back = Decoder.load(tmp_path / "own.pt", **kind)
    assert back.score([session]) == decoder.score([session])
    assert back.score([session])[session.session_id] > 0.2
    assert back.adopt([session]).decode(session).prediction.shape[1] == 1  # the speed


def test_the_ablation_runs_beside_the_others(done, easy, learning, windows):
    recording = easy()
    full = ablations.Setup(
        recordings=[recording], size=SIZES["smoke"], windows=windows,
        recipe=replace(learning, steps=2, eval_every=2), seed=0,
    )  # fmt: skip
    assert [*ablations.run("quiet units alone", full)] == [recording.session_id]
    (quiet,) = ablations.VARIANTS["quiet units alone"](full).recordings
    assert 0 < len(quiet.spike_times) < 0.6 * len(recording.spike_times)
