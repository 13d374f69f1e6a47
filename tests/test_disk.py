"""A disk that fills up: what was there stays, and the error says which file and why."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = "a.pt", "a.png", "data/a.csv", "tables/a.md", "a.ipynb"
SCRIPT = """
import json, resource, signal
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
}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
said = {}
for name in write:
    try:
        write[name]()
    except OSError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder in which each kind of file was to be written anew, and what was said of each."""
    folder = tmp_path_factory.mktemp("full")
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("previous")
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_the_previous_file_and_names_it(full, name):
    folder, said = full
    assert said[name].startswith(f"{name} could not be written, what was there before still is")
    assert "File too large" in said[name] or "disk full?" in said[name]
    assert (folder / name).read_text() == "previous"


def test_a_full_disk_is_left_with_nothing_more_on_it(full):
    folder, _ = full
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*NAMES}
