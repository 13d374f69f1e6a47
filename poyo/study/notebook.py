"""Between DVC and papermill: what a notebook is, as a stage of the graph (see `poyo.__main__`).

The source is a percent script without outputs. Stages depend on its code cells and on what these
import, both without prose, and execute the cells, so an edit of the prose re-trains nothing and
still reaches the page. What is kept of a run holds nothing that differs between two runs (times,
random ids, progress), neither the page in git nor the executed notebook whose hash is in dvc.lock:
`dvc repro -f` leaves no git diff.
"""

import ast
import contextlib
import difflib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from .. import ROOT, closure
from ..config import ConfigError, read_yaml

MAX_BYTES = 300_000
"""A larger page is slow to open on GitHub, and every version of it stays in git."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""Forced: a source names no kernel, and a page does not tell whose Python ran it."""

LAYOUT = ("cell_marker", "lines_to_next_cell", "lines_to_end_of_cell_marker", "skipline")
"""Where jupytext keeps the blank lines of a script; they move with the prose, so they go."""

TEXT = ("text/plain", "text/markdown", "text/latex")


class NotebookError(ConfigError):
    """What the person at the terminal can mend, in one message."""


def code(name: str, root: Path = ROOT) -> Path:
    """Write what a run of notebooks/NAME.py rests on, and return its folder runs/code/NAME.

    cells.py: the code cells with their tags; comments inside them are code. modules.py: the
    modules of the package that they import, directly or not, without comments and docstrings.
    """
    source, folder = _source(name, root), root / "runs/code" / name
    _write(folder / "cells.py", _code_text(source))
    try:
        _write(folder / "modules.py", closure.code_of(folder / "cells.py", root=root))
    except SyntaxError as error:
        raise NotebookError(f"notebooks/{name}.py: {error}: `{error.text}`") from None
    return folder


def run(
    name: str,
    key: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    root: Path = ROOT,
) -> Path:
    """Execute the cells of runs/code/NAME with papermill, into runs/notebooks/KEY.ipynb (or NAME).

    The kernel is that of the running interpreter and works in `root`; what it prints is passed on
    as it comes. Until the last cell is done, and after a failure, the notebook lies at
    runs/scratch/KEY.running.ipynb, so what runs/notebooks holds is always whole.
    """
    import nbformat

    source, path = _source(name, root), root / "runs/code" / name / "cells.py"
    key = _checked(key or name)
    if not path.is_file():
        raise NotebookError(f"no runs/code/{name}: `python -m poyo code {name}` first")
    if _code_text(source) != path.read_text(encoding="utf-8"):
        print(f"note: runs/code/{name} is older than the notebook", file=sys.stderr)

    nb, parameters = _read(path), dict(parameters or {})
    declared = _declared(nb)
    if unknown := [p for p in parameters if p not in declared]:
        close = difflib.get_close_matches(unknown[0], declared, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise NotebookError(
            f"notebooks/{name}.py has no parameter {unknown[0]!r}{hint}; "
            f"it declares: {', '.join(declared) or 'none'}"
        )

    params = root / "params.yaml"
    profile = read_yaml(params) if params.is_file() else None
    # Relative, so that no output or message tells where the repository lies.
    scratch = Path("runs/scratch") / f"{key}.running.ipynb"
    output, resumed = root / "runs/notebooks" / f"{key}.ipynb", root / "runs/scratch" / key
    nb.metadata = METADATA
    _write(root / scratch, nbformat.writes(nb))
    with contextlib.chdir(root), _kernel_environment(root, resumed):
        nb = _execute(scratch, parameters, f"notebooks/{name}.py")

    nb.metadata = {**METADATA, "poyo": {"profile": str((profile or {}).get("profile"))}}
    for cell in nb.cells:
        del cell.metadata["papermill"]
        cell.outputs = _stable(cell.outputs)
        if _tagged(cell, "injected-parameters"):
            # Anew, since papermill's own spelling depends on whether `black` is installed.
            lines = [f"{k} = {v!r}" for k, v in parameters.items()]
            cell.source = "\n".join(["# Parameters", *lines])
    _number(nb)
    _write(root / scratch, nbformat.writes(nb))
    output.parent.mkdir(parents=True, exist_ok=True)
    os.replace(root / scratch, output)
    shutil.rmtree(resumed, ignore_errors=True)  # its training runs are finished
    return output


def _execute(scratch: Path, parameters: dict[str, Any], title: str) -> Any:
    """papermill, in place and without its noise; a failure becomes one message."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    dead = False
    try:
        papermill.execute_notebook(
            scratch,
            scratch,
            parameters,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            start_timeout=300,  # seconds: other stages may keep the same cores busy
            iopub_timeout=300,
            record_timing=False,
            extra_arguments=[
                "--IPKernelApp.log_level=CRITICAL",  # it warns of TCP at every start
                # What child processes and C libraries print comes when it comes: it goes straight
                # to the terminal. Captured, it would be on the page, and twice on the terminal.
                "--IPKernelApp.capture_fd_output=False",
            ],
        )
    except papermill.PapermillExecutionError:
        pass  # it is in the outputs, as is a sys.exit(), which papermill takes for success
    except DeadKernelError:
        dead = True

    nb = nbformat.read(scratch, as_version=4)
    ran = _code_cells(nb)
    errors = [(c, o.ename, o.evalue) for c in ran for o in c.outputs if o.output_type == "error"]
    if dead:
        cell = [c for c in ran if c.metadata.papermill.start_time][-1]
        reason = "the kernel died (out of memory?)"
    elif errors:
        cell, *what = errors[0]
        reason = ": ".join(filter(None, what))
    else:
        return nb
    raise NotebookError(
        f"{title}, cell `{_first_line(cell)}`: {reason}\nexecuted so far: {scratch}"
    )


def render(name: str, key: str | None = None, root: Path = ROOT) -> Path:
    """Join the present prose of notebooks/NAME.py to the outputs of runs/notebooks/KEY.ipynb.

    The page, notebooks/rendered/NAME.ipynb, has the same bytes whenever it says the same.
    """
    import nbformat
    from nbformat.v4 import new_markdown_cell, new_notebook

    nb, path = _read(_source(name, root)), root / "runs/notebooks" / f"{key or name}.ipynb"
    again = f"run its stage again (`dvc repro`, or `code` and `run` of {name})"
    if not path.is_file():
        raise NotebookError(f"no runs/notebooks/{path.name}: {again}")
    executed = nbformat.read(path, as_version=4)
    ran = [cell for cell in executed.cells if not _tagged(cell, "injected-parameters")]
    if [cell.source for cell in ran] != [cell.source for cell in _code_cells(nb)]:
        raise NotebookError(f"notebooks/{name}.py has other code than was executed: {again}")

    banner = (
        f"*Generated from `notebooks/{name}.py` by `dvc repro` (profile "
        f"**{executed.metadata.poyo.profile}**): edit that file, not this one.*"
    )
    cells, ran = [new_markdown_cell(banner)], executed.cells
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cell.outputs = _shown(ran.pop(0), f"notebooks/{name}.py", root)
        while ran and _tagged(ran[0], "injected-parameters"):
            cells.append(ran.pop(0))
    page = new_notebook(cells=cells, metadata=METADATA)
    _number(page)
    text = nbformat.writes(page) + "\n"
    if (size := len(text.encode())) > MAX_BYTES:
        part, line = max((len(json.dumps(cell)), _first_line(cell)) for cell in cells)
        raise NotebookError(
            f"notebooks/rendered/{name}.ipynb would have {size / 1000:.0f} kB, more than "
            f"{MAX_BYTES / 1000:.0f}; its largest cell is `{line}` ({part / 1000:.0f} kB)"
        )
    path = root / "notebooks/rendered" / f"{name}.ipynb"
    _write(path, text)
    return path


def _stable(outputs: list[Any]) -> list[Any]:
    """Outputs without what depends on timing."""
    kept: list[Any] = []
    for output in outputs:
        stream = output.output_type == "stream"
        if stream and output.name == "stderr":
            continue  # progress, rates and warnings with paths: they were for the terminal
        if stream and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text  # a text comes in pieces, cut by the clock
        else:
            kept.append(output)
    return kept


def _number(nb: Any) -> None:
    """Cells carry random ids, and counts that skip the cells which only a page has."""
    for i, cell in enumerate(nb.cells, start=1):
        cell.id = f"cell-{i:02d}"
    for count, cell in enumerate(_code_cells(nb), start=1):
        for node in (cell, *cell.outputs):
            if "execution_count" in node:
                node.execution_count = count


def _shown(cell: Any, title: str, root: Path) -> list[Any]:
    """One form of each output, refusing what differs between runs or between computers."""
    where = f"{title}, cell `{_first_line(cell)}`"
    for output in cell.outputs:
        if output.output_type == "error":
            raise NotebookError(f"{where}: {output.ename}: {output.evalue}")
        if output.output_type == "stream":
            texts = [output.text]
        else:
            if widget := [kind for kind in output.data if "widget" in kind]:
                raise NotebookError(f"{where}: {widget[0]} is blank on a page; print or plot it")
            forms = {"image/png" if "image/png" in output.data else "text/html", *TEXT}
            output.data = {k: v for k, v in output.data.items() if k in forms}
            output.metadata = {k: v for k, v in output.metadata.items() if k in forms}
            # Not in pictures: their letters can spell /tmp.
            texts = [v for k, v in output.data.items() if k != "image/png"]
        for text in texts:
            if found := re.search(_unstable(root), text):
                raise NotebookError(
                    f"{where} shows `{found[0].strip()}`, which is not the same everywhere: "
                    "print a value instead, or end the line with `;`"
                )
    return cell.outputs


def _unstable(root: Path) -> str:
    """A pattern for addresses, the random ids of a pandas Styler, and places of this computer."""
    here = {str(p) for p in (root, root.resolve(), Path.home(), tempfile.gettempdir())} - {"/"}
    places = "|".join([*map(re.escape, sorted(here, key=len)), r"/(?:home|Users)/\w+"])
    return rf' at 0x\w*|id="T_[0-9a-f]{{5}}|(?<![\w.])(?:{places})(?!\w)'


def parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """What is typed after -p: names and YAML values, in turn."""
    pairs = [text for text in pairs if text != "-p"]
    if len(pairs) % 2:
        raise NotebookError(f"-p takes pairs of a key and a value, not {pairs}")
    values = zip(pairs[1::2], map(read_yaml, pairs[1::2]))
    # 2013-10-03 is the name of a session
    return dict(zip(pairs[::2], [text if isinstance(v, date) else v for text, v in values]))


def _checked(name: str) -> str:
    """A name that stays in its folder."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise NotebookError(f"{name!r} is no name: letters, digits and . _ - are allowed")
    return name


def _source(name: str, root: Path) -> Path:
    path = root / "notebooks" / f"{_checked(name)}.py"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.py")))
        raise NotebookError(f"no notebook {name!r}; there are: {known or 'none'}")
    return path


def _read(path: Path) -> Any:
    """A percent script as a notebook, without what depends on the space between its cells."""
    import jupytext

    nb = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    for cell in nb.cells:
        cell.source = cell.source.strip("\n")
        cell.metadata = {k: v for k, v in cell.metadata.items() if k not in LAYOUT}
    nb.cells = [cell for cell in nb.cells if cell.source]
    return nb


def _code_text(source: Path) -> str:
    import jupytext

    nb = _read(source)
    nb.cells = _code_cells(nb)
    nb.metadata = {"jupytext": {"notebook_metadata_filter": "-all"}}
    return jupytext.writes(nb, fmt="py:percent")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _code_cells(nb: Any) -> list[Any]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def _tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _first_line(cell: Any) -> str:
    return cell.source.partition("\n")[0][:70]


def _declared(nb: Any) -> list[str]:
    """What the cell tagged `parameters` assigns; papermill's own reading misses `x = "a=b"`."""
    tree = ast.parse(
        "".join([cell.source for cell in nb.cells if _tagged(cell, "parameters")][:1])
    )
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [node.id for node in names if isinstance(node.ctx, ast.Store)]


@contextlib.contextmanager
def _kernel_environment(root: Path, resumed: Path) -> Iterator[None]:
    """Keep a person's own settings from changing a result."""
    before = dict(os.environ)
    os.environ.update(
        JUPYTER_PREFER_ENV_PATH="1",  # this interpreter's kernel, not its namesake in ~
        IPYTHONDIR=str(root / "runs/scratch/ipython"),  # no start-up files, no figure format
        PYTHONSTARTUP="",
        POYO_SCRATCH=str(resumed),  # where `poyo.resume` keeps what an interrupted run resumes from
        PYTHONHASHSEED="0",  # the order of a set
        # the kernel ends before joblib has tidied up; its tracker then does, and says so at length
        PYTHONWARNINGS="ignore:resource_tracker:UserWarning",
        MPLBACKEND="module://matplotlib_inline.backend_inline",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
