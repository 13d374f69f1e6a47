"""A disk that fills up: what was there stays, and the error says which file and why."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, signal, sys
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from poyo import resume
from poyo.study import notebook, plotting

plotting.FIGURES = Path()
table = pd.DataFrame({"x": range(5000)})
figure = Figure()
figure.subplots().plot(table.x, table.x % 17)
write = {
    "a.pt": lambda: resume.write("a.pt", {"x": torch.zeros(10_000)}),
    "a.png": lambda: plotting.save(figure, "a"),
    "data/a.csv": lambda: plotting.csv(table, "a"),
    "tables/a.md": lambda: plotting.markdown([{"x": "y" * 9999}], "a", ""),
    "a.ipynb": lambda: notebook._write(Path("a.ipynb"), "y" * 9999),
}[sys.argv[1]]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write()
"""


@pytest.mark.parametrize("name", ["a.pt", "a.png", "data/a.csv", "tables/a.md", "a.ipynb"])
def test_a_full_disk_leaves_the_previous_file_and_names_it(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("previous")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name], cwd=tmp_path, capture_output=True, text=True
    )
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"OSError: {name} could not be written, what was there before still is")
    assert "File too large" in last or "disk full?" in last
    assert path.read_text() == "previous"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path], "nothing is left over"
