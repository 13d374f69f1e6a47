"""12_your_recording as a laboratory runs it: a file of its own, from a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from poyo import ROOT, threads
from poyo.data.recording import RecordingError
from poyo.data.simulate import simulate
from poyo.decoder import Decoder

PAGE = "page: runs/notebooks/{}.ipynb (paths are those in {})"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """repository/, with almost nothing to compute, beside monkey/ with two days of one array."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "poyo", place / "repository/poyo")
    shutil.copytree(ROOT / "notebooks", place / "repository/notebooks")
    shutil.copy(ROOT / "profiles/smoke.yaml", place / "repository/params.yaml")
    (place / "monkey").mkdir()
    task = {"task": "center_out_reaching", "minutes": 1.0, "units": (8, 12), "seed": 0}
    one = simulate(animal="sim-own", day=1, **task)
    cursor = one.behavior["cursor"]
    arrays = {"spike_times": one.spike_times, "spike_units": one.spike_units}
    arrays |= {"times": cursor["timestamps"], "position": cursor["pos"]}
    for day in ("monday", "tuesday"):
        np.savez(place / f"monkey/{day}.npz", **arrays)
    assert typed(place, "code", "12_your_recording") == ["0"]
    return place


def typed(place: Path, *arguments: str) -> list[str]:
    """The lines on the terminal of someone who stands in monkey/, after them the exit status."""
    environment = os.environ | {"PYTHONPATH": str(place / "repository")}
    done = subprocess.run(
        [sys.executable, "-m", "poyo", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=place / "monkey", env=environment,
    )  # fmt: skip
    return [*done.stdout.splitlines(), str(done.returncode)]


@pytest.fixture(scope="module")
def monday(place) -> list[str]:
    what = ["-p", "path", "monday.npz", "target", "position", "unit", "cm"]
    return typed(place, "run", "12_your_recording", "--as", "mine", *what)


def test_the_last_lines_are_the_answer_and_how_to_go_on(place, monday):
    answer, in_time, decoder, first, second, page, status = monday[-7:]
    assert status == "0", monday
    assert answer.startswith("position: POYO test R² ") and ", Wiener filter " in answer
    assert in_time.startswith("POYO in time, from the spikes of the second before each moment: ")
    assert decoder == "decoder: runs/your_recording/monday.pt; in Python:"
    assert page == PAGE.format("mine", place / "repository")
    assert first.strip() == "from poyo.decoder import Decoder"
    path = second.split('"')[1]
    assert second.strip() == f'decoder = Decoder.load("{path}")'
    decoder = Decoder.load(place / "repository" / path)
    assert decoder.sessions.names[1:] == ["monday"] and decoder.quantity == "position"


def test_what_it_is_what_is_wrong_and_what_it_costs_is_said_before_it_starts(monday):
    first = next(i for i, line in enumerate(monday) if line.startswith("your recording, from"))
    before = "\n".join(monday[:first])
    assert "to decode: position (cm), " in before and ", D = 2" in before
    assert "trouble: only 60 s are recorded" in before
    assert "training takes up to about 1 min (8 steps)" in monday[first - 1]


def test_another_day_starts_from_a_given_decoder(place, monday):
    what = ["-p", "path", "tuesday.npz", "target", "position", "same_units_as", "[monday]"]
    given = ["decoder", "runs/your_recording/monday.pt"]  # not in monkey/
    lines = typed(place, "run", "12_your_recording", "--as", "next", *what, *given)
    text = "\n".join(lines)
    assert "sessions that the given decoder knows: 1\nbefore any training on the new day: " in text
    assert "unit identification: step 2/2" in text
    assert "finetuning, from step 0: step 2/2" in text
    assert lines[-5:-4] == ["decoder: runs/your_recording/tuesday.pt; in Python:"]
    assert lines[-2:] == [PAGE.format("next", place / "repository"), "0"]
    decoder = Decoder.load(place / "repository/runs/your_recording/tuesday.pt")
    assert decoder.sessions.names[1:] == ["tuesday"]
    page = (place / "repository/runs/notebooks/next.ipynb").read_text()
    assert "decoder = 'runs/your_recording/monday.pt'" in page


def test_a_decoder_of_other_units_is_not_lost(place, monday):
    arrays = dict(np.load(place / "monkey/monday.npz"))
    arrays["spike_units"] += 100
    (place / "monkey/other").mkdir()
    np.savez(place / "monkey/other/monday.npz", **arrays)
    decoder = place / "repository/runs/your_recording/monday.pt"
    before = decoder.read_bytes()
    what = ["-p", "path", "other/monday.npz", "target", "position"]
    *lines, status = typed(place, "run", "12_your_recording", "--as", "other", *what)
    assert status == "1" and "decodes another target or other units" in "\n".join(lines)
    assert decoder.read_bytes() == before


def test_times_that_are_no_seconds_end_the_page_before_it_trains(place, tmp_path):
    """Its cells as a script, up to there."""
    arrays = dict(np.load(place / "monkey/monday.npz"))
    late = {key: 1000 * arrays[key] for key in ("spike_times", "times")}
    np.savez(tmp_path / "in-milliseconds.npz", **arrays | late)
    text = (ROOT / "notebooks/12_your_recording.py").read_text().split("# ## 12.2 Train")[0]
    given = f"path, target = {str(tmp_path / 'in-milliseconds.npz')!r}, 'position'"
    text = text.replace("\nseed = 0\n", f"\nseed = 0\n{given}\n")
    with plt.rc_context(), pytest.raises(RecordingError, match="divide milliseconds"):
        exec(text, {"__name__": "__main__"})
    threads.use(1)
