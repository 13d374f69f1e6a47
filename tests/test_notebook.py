"""Stages made of notebooks: what counts as code, what a run leaves behind, what a page may say."""

import base64
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from poyo import ROOT
from poyo import __main__ as command
from poyo.__main__ import main
from poyo.config import ConfigError
from poyo.study import notebook, profile
from poyo.study.notebook import NotebookError, code, render, run

DEMO = """\
# %% [markdown]
# # Demo
# Words about the demo.

# %% tags=["parameters"]
rate = 0.1  # per step
steps = 3
size = "a=b"
session = None
title = ""
names = {}
flag = False
bins = [1]
path = ""

# %%
import os
import sys

import matplotlib.pyplot as plt
import pandas as pd

# %% [markdown]
# More words.

# %%
def square(x):
    return x * x
# %% [markdown]
# Words with no blank line around them.
# %%
for step in range(3):
    print("loss", square(step), flush=True)
    print("step", step, "took 0.123 s", file=sys.stderr, flush=True)
left_open = open("left_open", "w")
left_open.write("all of it")
print({"a", "b", "c", "d", "e", "f"}, "leak" in globals())
os.system("echo from a child");

# %%
[rate, steps, size, session, title, names, flag, bins, path]

# %%
plt.plot([1, 2, 3]);

# %%
pd.DataFrame({"R2": [0.5, 0.75]}, index=["ours", "paper"])
"""

PARAMETERS = {
    "rate": ("-1e-05", -1e-05),
    "steps": ("7", 7),
    "size": ("5M", "5M"),
    "session": ("2013-10-03", "2013-10-03"),
    "title": ("Real recordings: two days", "Real recordings: two days"),
    "names": ("{spikes: ap}", {"spikes": "ap"}),
    "flag": ("true", True),
    "bins": ("[0.5, no, null]", [0.5, "no", None]),
    "path": ("data/monday.npz", "data/monday.npz"),
}
"""Name: what is typed, what the notebook gets."""


def write(root: Path, name: str, text: str) -> Path:
    path = root / "notebooks" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The demo run twice, as `typed` and as `called`, by a person with settings of their own."""
    root, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    write(root, "demo", DEMO)
    (root / "params.yaml").write_text("profile: smoke\n")
    (root / "data").mkdir()
    (root / "data/monday.npz").touch()
    kernel = home / "jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    startup = home / "ipython/profile_default/startup/leak.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("leak = 1\n")
    terminal = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(terminal):
        patch.setattr(command, "ROOT", root)
        patch.chdir(home)
        for key, value in {
            "JUPYTER_DATA_DIR": str(home / "jupyter"),
            "JUPYTER_PREFER_ENV_PATH": "0",
            "IPYTHONDIR": str(home / "ipython"),
            "PYTHONSTARTUP": str(startup),
            "MPLBACKEND": "agg",
        }.items():
            patch.setenv(key, value)
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)  # a kernel that sees it captures less
        assert main(["code", "demo"]) == 0
        typed = [text for name, (text, _) in PARAMETERS.items() for text in (name, text)]
        assert main(["run", "demo", "--as", "typed", "-p", *typed[:4], "-p", *typed[4:]]) == 0
        run("demo", "called", {name: value for name, (_, value) in PARAMETERS.items()}, root)
    (root / "terminal").write_text(terminal.getvalue())
    return root


@pytest.fixture
def root(executed, tmp_path):
    return shutil.copytree(executed, tmp_path / "root")


def add_output(root: Path, *outputs: dict) -> None:
    """Put outputs in place of those of the last cell of the run `typed`."""
    path = root / "runs/notebooks/typed.ipynb"
    nb = json.loads(path.read_text())
    nb["cells"][-1]["outputs"] = outputs
    path.write_text(json.dumps(nb))


def stdout(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text}


def display(**data: str) -> dict:
    data = {kind.replace("_", "/", 1): text for kind, text in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def test_the_code_of_a_notebook_is_its_code_cells(root):
    folder = code("demo", root)
    text = (folder / "cells.py").read_text()
    assert folder == root / "runs/code/demo" and "ords" not in text
    assert '# %% tags=["parameters"]\nrate = 0.1  # per step\n' in text
    assert len(re.findall("^# %%", text, re.M)) == len(re.findall("^# %%( tags.*)?$", DEMO, re.M))


@pytest.mark.parametrize(
    "prose",
    [
        DEMO.replace("Words", "Better words"),
        DEMO.replace("# %%\nplt", "# %% [markdown]\n# A cell more.\n\n\n\n# %%\nplt"),
        DEMO.replace("\n# %% [markdown]\n# More words.\n", ""),
        DEMO.replace("# %% [markdown]\n# Words with no blank line around them.\n", ""),
        DEMO.replace("# More words.", '"""\nMore $x$ words.\n"""\n\n'),
        "# %% [raw]\n# raw\n\n" + DEMO + "\n\n\n# %%\n",
    ],
)
def test_prose_is_not_code(root, prose):
    before = files(code("demo", root))
    assert prose != DEMO
    write(root, "demo", prose)
    assert files(code("demo", root)) == before


@pytest.mark.parametrize("part", ["# per step", "steps = 3", 'tags=["parameters"]'])
def test_a_comment_a_value_and_a_tag_are_code(root, part):
    before = files(code("demo", root))
    write(root, "demo", DEMO.replace(part, part.swapcase()))
    assert files(code("demo", root)) != before


def test_the_code_of_a_notebook_has_that_of_the_modules_it_imports(root):
    for name in ("__init__", "named", "reached", "other"):
        (root / "poyo").mkdir(exist_ok=True)
        (root / f"poyo/{name}.py").write_text(f'"""Words."""\n{name} = 1  # words\n')
    (root / "poyo/named.py").write_text("def late():\n    from .reached import reached\n")
    write(root, "demo", DEMO + "\n# %%\n%time print(1)\nfrom poyo import named\n")
    text = (code("demo", root) / "modules.py").read_text()
    names = re.findall("^# (.*)$", text, re.M)
    assert names == ["poyo", "poyo.named", "poyo.reached"] and "ords" not in text
    write(root, "demo", "# %%\nx = 1\n\n# %%\n1 +\n")
    with pytest.raises(NotebookError, match=r"notebooks/demo.py: invalid syntax .*: `1 \+"):
        code("demo", root)


def test_two_runs_give_the_same_page(root):
    page = render("demo", "typed", root).read_bytes()
    assert render("demo", "called", root).read_bytes() == page
    assert page.endswith(b"}\n")
    nb = json.loads(page)
    assert nb["metadata"] == notebook.METADATA
    assert [cell["id"] for cell in nb["cells"]] == [f"cell-{i:02d}" for i in range(1, 13)]
    counts = [c["execution_count"] for c in nb["cells"] if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    banner = "".join(nb["cells"][0]["source"])
    assert "`notebooks/demo.py`" in banner and "**smoke**" in banner and "\n" not in banner


def test_a_page_shows_text_figures_and_tables(root):
    cells = json.loads(render("demo", "typed", root).read_text())["cells"]
    narrative, values, figure, table = [cell["outputs"] for cell in cells[-4:]]
    assert [o["name"] for o in narrative] == ["stdout"]
    assert "".join(narrative[0]["text"][:3]) == "loss 0\nloss 1\nloss 4\n"
    assert narrative[0]["text"][3].endswith("} False\n"), "no start-up file had a say"
    assert len(narrative[0]["text"]) == 4, "and no child process"
    assert set(figure[0]["data"]) == {"image/png", "text/plain"}
    assert set(table[0]["data"]) == {"text/html", "text/plain"}
    assert values[0]["execution_count"] == cells[-3]["execution_count"]


def test_the_picture_of_a_page_looks_as_it_was_drawn(root):
    page = render("demo", "typed", root)
    pictures = []
    for path in (page, root / "runs/notebooks/typed.ipynb"):
        (output,) = json.loads(path.read_text())["cells"][-2]["outputs"]
        data = base64.b64decode(output["data"]["image/png"])
        pictures.append((len(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)))
    (small, shown), (large, drawn) = pictures
    assert small < 0.6 * large
    assert shown.shape == drawn.shape and np.abs(shown - drawn).mean() < 0.5


def test_parameters_arrive_with_their_types_and_are_shown(root):
    cells = json.loads(render("demo", "typed", root).read_text())["cells"]
    expected = {name: value for name, (_, value) in PARAMETERS.items()}
    assert eval("".join(cells[-3]["outputs"][0]["data"]["text/plain"])) == [*expected.values()]
    tags = [cell["metadata"].get("tags") for cell in cells[:5]]
    assert tags == [None, None, ["parameters"], ["injected-parameters"], None]
    shown: dict = {}
    exec("".join(cells[3]["source"]), {}, shown)
    assert shown == expected
    assert "".join(cells[3]["source"]).splitlines()[:4:3] == ["# Parameters", "size = '5M'"]


def test_progress_goes_to_the_terminal_and_nothing_else_does(executed):
    lines = (executed / "terminal").read_text().splitlines()
    assert lines == [f"step {i} took 0.123 s" for i in range(3)] * 2


def test_the_executed_notebook_is_moved_from_scratch(executed):
    assert {p.name for p in executed.glob("runs/notebooks/*")} == {"typed.ipynb", "called.ipynb"}
    assert not [*executed.glob("runs/scratch/*.ipynb")]


def test_what_a_cell_left_open_is_written(executed):
    assert (executed / "left_open").read_text() == "all of it"


def test_new_prose_reaches_the_page_without_a_run(root):
    before = render("demo", "typed", root).read_text()
    write(root, "demo", DEMO.replace("More words", "New words"))
    code("demo", root)
    after = render("demo", "typed", root).read_text()
    assert after == before.replace("More words", "New words") != before


def test_new_code_is_not_shown_with_old_outputs(root):
    page = render("demo", "typed", root)
    page.unlink()
    for text in (DEMO.replace("x * x", "x * x * x"), DEMO + "\n# %%\nrate\n"):
        write(root, "demo", text)
        code("demo", root)
        with pytest.raises(NotebookError, match=r"other code.*again"):
            render("demo", "typed", root)
    assert not page.exists()


def test_a_run_leaves_the_same_bytes(root):
    paths = [root / f"runs/notebooks/{key}.ipynb" for key in ("typed", "called")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    for word in ('papermill"', "iopub", "duration", "took 0.123 s\\n", str(root.parent)):
        assert word not in paths[0].read_text()


def test_the_pieces_of_a_stream_are_joined(root, monkeypatch):
    noise = {"output_type": "stream", "name": "stderr", "text": "50%"}
    kept = []
    for pieces in (["ab\nc"], ["a", noise, "b\n", "c"], [noise, "ab", noise, "\nc", noise]):

        def chopped(scratch, parameters, title, pieces=pieces):
            nb = nbformat.read(scratch, as_version=4)
            outputs = [stdout(piece) if isinstance(piece, str) else piece for piece in pieces]
            nb.cells[-1].outputs = [nbformat.from_dict(o) for o in [*outputs, display(), *outputs]]
            for cell in nb.cells:
                cell.metadata.papermill = {}
            return nb

        monkeypatch.setattr(notebook, "_execute", chopped)
        kept.append(run("demo", root=root).read_bytes())
    assert kept[0] == kept[1] == kept[2] and b"50%" not in kept[0]
    assert len(json.loads(kept[0])["cells"][-1]["outputs"]) == 3


def test_a_page_keeps_one_form_of_each_output(root, monkeypatch):
    monkeypatch.setattr(notebook, "_small", str)
    add_output(
        root,
        display(
            image_png=f"+{tempfile.gettempdir()}/",
            text_html="<b>",
            text_plain="a",
            **{"image_svg+xml": "<svg>"},
        ),
        display(text_html="<b>b</b>", text_plain="b", application_json="{}"),
        display(text_plain="ratio 3/4, and/or, https://x.org/home/page, ./tmp/x at 0"),
    )
    outputs = json.loads(render("demo", "typed", root).read_text())["cells"][-1]["outputs"]
    kinds = [sorted(output["data"]) for output in outputs]
    assert kinds == [["image/png", "text/plain"], ["text/html", "text/plain"], ["text/plain"]]


@pytest.mark.parametrize(
    "output, complaint",
    [
        (display(text_plain="<Model at 0x7f00>"), " at 0x|at 0x7f00"),
        (stdout(f"saved {Path.home()}/runs"), "`/"),
        (stdout("saved '/home/someone/runs'"), "`/home/someone`"),
        (display(text_html=f"<a href='{tempfile.gettempdir()}/x'>"), "`/"),
        (display(text_html='<table id="T_0a1b2">'), "T_0a1b2"),
        (display(text_plain="x", **{"application_vnd.jupyter.widget-view+json": "{}"}), "widget"),
        ({"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}, "E: v"),
        (display(text_html="A" * 400_000), r"more than 300; .*`pd.DataFrame.*\(400 kB\)"),
    ],
)
def test_a_page_refuses_what_would_change_or_weigh(root, output, complaint):
    add_output(root, output)
    with pytest.raises(NotebookError, match=complaint) as caught:
        render("demo", "typed", root)
    assert "pd.DataFrame({" in str(caught.value), "names the cell"
    assert not (root / "notebooks/rendered").exists()


def test_a_page_refuses_where_the_repository_lies(root):
    add_output(root, stdout(f"in {root}, "))
    with pytest.raises(NotebookError, match=re.escape("`/")):
        render("demo", "typed", root)


def test_a_page_refuses_a_parameter_that_says_where_something_lies(root):
    path = root / "runs/notebooks/typed.ipynb"
    path.write_text(path.read_text().replace("path = 'data/", f"path = '{Path.home()}/data/"))
    with pytest.raises(NotebookError, match=r"# Parameters.* shows `/"):
        render("demo", "typed", root)


def test_a_page_may_have_another_name_than_its_source(root, monkeypatch):
    monkeypatch.setattr(command, "ROOT", root)
    assert main(["render", "demo", "--from", "typed", "--as", "frozen"]) == 0
    pages = root / "notebooks/rendered"
    assert [path.name for path in pages.iterdir()] == ["frozen.ipynb"]
    page = (pages / "frozen.ipynb").read_bytes()
    assert page == render("demo", "typed", root).read_bytes() and b"notebooks/demo.py" in page
    assert main(["render", "demo", "--from", "typed", "--as", "../demo"]) == 1


@pytest.fixture
def run_from(root, monkeypatch):
    """Type `run demo -p ...` standing in a folder of the repository's; -> what the kernel gets."""

    def typed(folder: str, *pairs: str) -> dict:
        got: dict = {}

        def execute(scratch, parameters, title):
            got.update(parameters)
            nb = nbformat.read(scratch, as_version=4)
            for cell in nb.cells:
                cell.metadata.papermill = {}
            return nb

        monkeypatch.setattr(notebook, "_execute", execute)
        (root / folder).mkdir(exist_ok=True, parents=True)
        monkeypatch.chdir(root / folder)
        return got if main(["run", "demo", "-p", *pairs]) == 0 else {}

    monkeypatch.setattr(command, "ROOT", root)
    return typed


def test_a_path_counts_from_where_one_stands_or_from_the_repository(root, run_from):
    outside = root.parent / "tuesday.npz"
    outside.touch()
    for folder in (".", "data", "../elsewhere"):
        assert run_from(folder, "path", "data/monday.npz") == {"path": "data/monday.npz"}
    assert run_from("data", "path", "monday.npz") == {"path": "data/monday.npz"}
    assert run_from("../elsewhere", "path", "../root/data") == {"path": "data"}
    for typed in ("../tuesday.npz", str(outside)):
        assert run_from("data/..", "path", typed) == {"path": str(outside.resolve())}
    assert run_from("../elsewhere", "path", "") == {"path": ""}
    assert run_from("data", "size", "monday.npz") == {"size": "monday.npz"}, "not called a path"
    (root / "20131003").mkdir()
    assert run_from("data", "path", "20131003") == {"path": "20131003"}, "neither date nor number"


def test_a_path_that_is_not_there_stops_before_anything_starts(root, run_from, capsys):
    for path, said in {
        "monda.npz": "monda.npz, neither here nor in",
        "/no/x.npz": "/no/x",
    }.items():
        assert not run_from("data", "path", path)
        (line,) = capsys.readouterr().err.splitlines()
        assert f"path: there is no {said}" in line
    assert not (root / "runs/notebooks/demo.ipynb").exists()


def test_the_last_line_says_where_the_page_lies(root, run_from, capsys):
    run_from(".", "steps", "3")
    assert capsys.readouterr().out == "page: runs/notebooks/demo.ipynb\n"
    run_from("data", "steps", "3")
    line = f"page: runs/notebooks/demo.ipynb (paths are those in {root})\n"
    assert capsys.readouterr().out == line


def test_an_unknown_parameter_stops_before_anything_starts(root, monkeypatch, capsys):
    monkeypatch.setattr(command, "ROOT", root)
    monkeypatch.setattr(notebook, "_execute", lambda *_: pytest.fail("started"))
    before = files(root)
    assert main(["run", "demo", "-p", "steps", "5", "step", "3"]) == 1
    error = capsys.readouterr().err
    assert "no parameter 'step' (did you mean 'steps'?)" in error
    assert "rate, steps, size, session, title, names, flag, bins, path" in error
    write(root, "plain", "# %%\nrate = 1\n")
    code("plain", root)
    with pytest.raises(NotebookError, match="declares: none"):
        run("plain", parameters={"rate": 2}, root=root)
    assert main(["run", "demo", "-p", "steps"]) == 1 and "pairs" in capsys.readouterr().err
    assert main(["run", "demo", "-p", "steps", "{3"]) == 1 and "YAML" in capsys.readouterr().err
    after = files(root)
    assert before == {path: after[path] for path in before}
    created = {str(path.relative_to(root)) for path in after.keys() - before.keys()}
    new = {"notebooks/plain.py", "runs/code/plain/cells.py", "runs/code/plain/modules.py"}
    assert created == new


def test_a_failed_run_is_one_message_and_leaves_the_last_good_one(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    good = tmp_path / "runs/notebooks/best.ipynb"
    good.parent.mkdir(parents=True)
    good.write_text("good")
    divide = "# divide\nimport os\nos.system('echo child >&2')\n1 / 0"
    write(tmp_path, "bad", f"# %%\nx = 1\n\n# %%\n{divide}\n\n# %%\nprint('after')\n")
    assert main(["code", "bad"]) == 0
    assert main(["run", "bad", "--as", "best", "-p"]) == 1
    out, error = capfd.readouterr()
    child, message, place = error.splitlines()
    assert child == "child" and out == ""
    assert "notebooks/bad.py, cell `# divide`: ZeroDivisionError: division by zero" in message
    assert good.read_text() == "good"
    assert place.split()[-1] == "runs/scratch/best.running.ipynb"
    assert "ZeroDivisionError" in (tmp_path / place.split()[-1]).read_text()


@pytest.mark.parametrize(
    "line, reason",
    [("sys.exit()", "SystemExit"), ("os.kill(os.getpid(), 9)", "the kernel died")],
)
def test_a_run_that_stops_early_has_failed(tmp_path, caplog, line, reason):
    write(tmp_path, "early", f"# %%\nimport os, sys\n\n# %%\n{line}\n\n# %%\nx = 1\n")
    code("early", tmp_path)
    with pytest.raises(NotebookError, match=re.escape(f"cell `{line}`: {reason}")):
        run("early", root=tmp_path)
    assert not (tmp_path / "runs/notebooks").exists()
    assert not caplog.records


def test_names_and_order_of_steps(tmp_path):
    write(tmp_path, "one", "# %%\n1\n")
    write(tmp_path, "two", "# %%\n1\n")
    for step in (code, run, render):
        with pytest.raises(NotebookError, match="no notebook 'three'; there are: one, two"):
            step("three", root=tmp_path)
    with pytest.raises(NotebookError, match=r"`python -m poyo code one` first"):
        run("one", root=tmp_path)
    with pytest.raises(NotebookError, match=r"no runs/notebooks/one.ipynb: run its stage"):
        render("one", root=tmp_path)


@pytest.mark.parametrize("verb", ["code one", "run one", "render one", "seconds", "params"])
def test_an_installed_package_has_no_notebooks_and_says_so(tmp_path, monkeypatch, capsys, verb):
    for module in (command, profile):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    assert main(verb.split()) == 1
    said = capsys.readouterr().err
    assert "work from a clone of the repository, installed with `pip install -e .`" in said
    assert str(tmp_path) not in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../one", "a;b", "a b", "/one", "..", "", "a/b", "-p"])
def test_a_name_stays_in_its_folder(tmp_path, monkeypatch, name):
    """A KEY of `..` would have all of runs/ removed as the scratch of a finished run."""
    monkeypatch.setattr(notebook, "_execute", lambda *_: pytest.fail("started"))
    write(tmp_path, "one", "# %%\n1\n")
    code("one", tmp_path)
    for step in (code, run, render):
        with pytest.raises(ConfigError, match="is no name: letters, digits"):
            step(name, root=tmp_path)
    for step in (run, render) if name else ():
        with pytest.raises(ConfigError, match=f"{re.escape(repr(name))} is no name"):
            step("one", name, root=tmp_path)


def test_a_run_of_old_code_is_noticed_and_an_interrupted_one_is_quiet(
    tmp_path, monkeypatch, capsys
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(notebook, "_execute", interrupt)
    write(tmp_path, "one", "# %%\n1\n")
    code("one", tmp_path)
    write(tmp_path, "one", "# %%\n2\n")
    assert main(["run", "one"]) == 130
    note, message = capsys.readouterr().err.splitlines()
    assert "runs/code/one is older" in note and message == "interrupted"


def test_the_command_line_from_anywhere_and_light(tmp_path):
    arguments = [sys.executable, "-m", "poyo", "code", "nothing"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("python -m poyo code: no notebook 'nothing'; there are:")
    assert len(done.stderr.splitlines()) == 1
    heavy = {"torch", "numpy", "papermill", "jupytext", "nbformat"}
    check = "import sys, poyo.__main__, poyo.study.notebook; "
    check += f"sys.exit(str({heavy} & set(sys.modules) or '') or 0)"
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("\nsize: smoke", "\nsize: huge", "size: 'huge' is unknown; known: 1.3M, .*smoke"),
        (", size: smoke", ", size: huge", "models.poyo_mp.size: 'huge' is unknown"),
        ("{scope: mp", "{scope: pm", "models.poyo_mp.scope: 'pm' is unknown; known: poyo_1, mp"),
        ("co: [T-RT", "co: [T-TR", "adapt.transfer.co: 'T-TR' is unknown; known: C-CO, T-CO"),
        ("few: [T-CO", "few: [CO", "adapt.few: 'CO' is unknown"),
        ("corpus: simulated", "corpus: simulatd", "data.corpus: 'simulatd' is unknown"),
        ("  batch_size: 8", "  batchsize: 8", "batchsize.* did you mean batch_size?"),
        ("\nseeds: [0]", "\nseeds: [0", "params.yaml is not valid YAML"),
        ("\nsize: smoke", "\nsize: smoke", ""),
    ],
)
def test_params_are_read_before_anything_runs(tmp_path, monkeypatch, capsys, old, new, message):
    text = (ROOT / "profiles/smoke.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert main(["params"]) == bool(message)
    pattern = f"python -m poyo params: .*{message}" if message else "$"
    assert re.match(pattern, capsys.readouterr().err)
    assert (tmp_path / "runs/params.txt").is_file() == (not message)
