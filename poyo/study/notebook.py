"""Between DVC and papermill: what a notebook is, as a stage of the graph (see `poyo.__main__`).

The source is a percent script without outputs. Stages depend on its code cells and on what these
import, both without prose, so an edit of the prose re-trains nothing and still reaches the page.
What is kept of a run, its notebook and its page, holds nothing that differs between two runs
(times, random ids, progress): `dvc repro -f` leaves no git diff."""

import ast
import difflib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import chdir
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

from .. import ROOT, closure, processes, replacing
from ..config import ConfigError, check_name, read_yaml
from .profile import check_clone

# jsonschema, by which nbformat checks a page, would build this grammar of addresses, for seconds
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # it may be none

MAX_BYTES = 300_000  # a larger page is slow to open on GitHub, and all its versions stay in git
METADATA = {  # forced: a source names no kernel, and a page does not tell whose Python ran it
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# where jupytext keeps the blank lines of a script; they move with the prose, so they go
LAYOUT = ("cell_marker", "lines_to_next_cell", "lines_to_end_of_cell_marker", "skipline")
TEXT = ("text/plain", "text/markdown", "text/latex")
INJECTED = "injected-parameters"  # papermill's tag
PATHS = "path", "folder", "decoder", "official"  # parameters that say where something lies
ENVIRONMENT = {  # keeps a person's own settings from changing a result
    "JUPYTER_PREFER_ENV_PATH": "1",  # this interpreter's kernel, not its namesake in ~
    "PYTHONSTARTUP": "",
    "PYTHONHASHSEED": "0",  # the order of a set
    # the kernel ends before joblib has tidied up; its tracker then does, and says so at length
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
# The kernel warns of TCP at every start. What child processes and C libraries print, at any time,
# goes straight to the terminal; captured, it would be on the page and twice on the terminal.
KERNEL = ["--IPKernelApp.log_level=CRITICAL", "--IPKernelApp.capture_fd_output=False"]
FIRST = "--IPKernelApp.exec_lines=__import__"
# nor does it tell of its own tasks that were waiting when it was asked to end
KERNEL += [f"{FIRST}('logging').getLogger('asyncio').setLevel(50)"]
# then it lets go what cells hold, and ends: Python would take torch apart, for a second
KERNEL += [f"{FIRST}('atexit').register(__import__('os')._exit, 0)"]
KERNEL += [f"{FIRST}('atexit').register(get_ipython().atexit_operations)"]


class NotebookError(ConfigError):
    """What the person at the terminal can mend, in one message."""


def code(name: str, root: Path = ROOT) -> Path:
    """Write what a run of notebooks/NAME.py rests on, and return its folder runs/code/NAME.
    cells.py: the code cells with their tags; comments inside them are code. modules.py: the
    modules of the package that they import, directly or not, without comments and docstrings."""
    source, folder = _source(name, root), root / "runs/code" / name
    _write(folder / "cells.py", _code_text(source))
    try:
        _write(folder / "modules.py", closure.code_of(folder / "cells.py", root=root))
    except SyntaxError as error:
        raise NotebookError(f"notebooks/{name}.py: {error}: `{error.text}`") from None
    return folder


def run(name: str, key: str | None = None, parameters: dict | None = None, root=ROOT) -> Path:
    """Execute the cells of runs/code/NAME with papermill, into runs/notebooks/KEY.ipynb (or NAME).
    The kernel is that of the running interpreter and works in `root`; what it prints is passed on
    as it comes, and the last line says where the notebook lies. Until the last cell is done, and
    after a failure, that is runs/scratch/KEY.running.ipynb, so what runs/notebooks holds is always
    whole."""
    source, path = _source(name, root), root / "runs/code" / name / "cells.py"
    key, parameters, params = check_name(key or name), parameters or {}, root / "params.yaml"
    if not path.is_file():
        raise NotebookError(f"no runs/code/{name}: `python -m poyo code {name}` first")
    if _code_text(source) != path.read_text(encoding="utf-8"):
        print(f"note: runs/code/{name} is older than the notebook", file=sys.stderr)
    nb = _read(path)
    # what the cell tagged `parameters` assigns; papermill's own reading misses `x = "a=b"`
    text = "".join([cell.source for cell in nb.cells if _tagged(cell, "parameters")][:1])
    names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
    declared = [node.id for node in names if isinstance(node.ctx, ast.Store)]
    if unknown := [p for p in parameters if p not in declared]:
        close = difflib.get_close_matches(unknown[0], declared, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        known = f"it declares: {', '.join(declared) or 'none'}"
        raise NotebookError(f"notebooks/{name}.py has no parameter {unknown[0]!r}{hint}; {known}")
    parameters = {key: _found(key, value, root) for key, value in parameters.items()}
    profile = str(((read_yaml(params) if params.is_file() else None) or {}).get("profile"))
    # relative, so that no output or message tells where the repository lies
    scratch, resumed = Path("runs/scratch") / f"{key}.running.ipynb", root / "runs/scratch" / key
    places = {
        "IPYTHONDIR": str(root / "runs/scratch/ipython"),  # no start-up files, no figure format
        "POYO_SCRATCH": str(resumed),  # where `poyo.resume` keeps what it resumes from
    }
    if "DVC_STAGE" in os.environ:  # a stage does not outlive its `dvc repro`
        processes.end_with(os.getppid())

    def busy(process: str) -> None:
        raise NotebookError(f"{key} is run by process {process}; wait for it, or end it")

    began = time.monotonic()
    with processes.locked(root / f"runs/scratch/{key}.lock", busy):
        _write(root / scratch, _ipynb(nb))
        with chdir(root), mock.patch.dict(os.environ, ENVIRONMENT | places):
            nb = _execute(scratch, parameters, f"notebooks/{name}.py")
        for cell in nb.cells:
            del cell.metadata["papermill"]
            cell.outputs = _stable(cell.outputs)
            if _tagged(cell, INJECTED):
                # anew, since papermill's own spelling depends on whether `black` is installed
                values = "".join(f"\n{k} = {v!r}" for k, v in parameters.items())
                cell.source = f"# Parameters{values}"
        output = root / "runs/notebooks" / f"{key}.ipynb"
        _write(output, _ipynb(nb, poyo={"profile": profile}))
        (root / scratch).unlink()
        shutil.rmtree(resumed, ignore_errors=True)  # its training runs are finished
        _write(root / "runs/seconds" / key, f"{time.monotonic() - began:.0f}\n")
    there = "" if Path.cwd() == root.resolve() else f" (paths are those in {root})"
    print(f"page: runs/notebooks/{key}.ipynb{there}", flush=True)
    return output


def seconds(root: Path = ROOT) -> Path:
    """Put how long the last run of each notebook took here into figures/data/seconds.csv, for the
    site and the README. It is no output of a stage: it differs from run to run."""
    check_clone(root)
    path, found = root / "figures/data/seconds.csv", {}
    if path.exists():
        found = dict(line.split(",") for line in path.read_text().split()[1:])
    for one in (root / "runs/seconds").glob("*"):
        found[one.name] = one.read_text().strip()
    lines = [f"{key},{value}" for key, value in sorted(found.items())]
    _write(path, "\n".join(["page,seconds", *lines]) + "\n")
    return path


def _found(key: str, value: Any, root: Path) -> Any:
    """What the kernel, which works in `root`, gets for a parameter; most are left as they are.
    A path counts from where one stands or, as in dvc.yaml, from the repository. One inside the
    repository stays relative to it: a page does not tell where that lies."""
    if key not in PATHS or not value or not isinstance(value, str):
        return value
    root = root.resolve()
    places = [Path(os.path.abspath(base / value)) for base in (Path.cwd(), root)]
    path = next((path for path in places if path.exists()), None)
    if path is None:
        where = "" if Path(value).is_absolute() else ", neither here nor in the repository"
        raise NotebookError(f"{key}: there is no {value}{where}")
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _execute(scratch: Path, parameters: dict[str, Any], title: str) -> Any:
    """papermill, in place and without its noise; a failure becomes one message."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    dead = False
    try:
        papermill.execute_notebook(
            scratch, scratch, parameters, progress_bar=False, record_timing=False,
            stdout_file=sys.stdout, stderr_file=sys.stderr, extra_arguments=KERNEL,
            start_timeout=300, iopub_timeout=300,  # s: other stages may keep the cores busy
        )  # fmt: skip
    except papermill.PapermillExecutionError:
        pass  # it is in the outputs, as is a sys.exit(), which papermill takes for success
    except DeadKernelError:
        dead = True
    nb = _read(scratch)  # after an error papermill adds a cell of prose, which has no outputs
    outputs = [(cell, output) for cell in nb.cells for output in cell.get("outputs", [])]
    errors = [(cell, _reason(o)) for cell, o in outputs if o.output_type == "error"]
    if dead:
        began = [cell for cell in nb.cells if cell.metadata.papermill.start_time]
        errors = [(began[-1], "the kernel died (out of memory, or asked to?)")]
    for cell, reason in errors:
        raise NotebookError(f"{title}, {_named(cell)}: {reason}\nexecuted so far: {scratch}")
    return nb


def render(name: str, key: str | None = None, root: Path = ROOT, page: str | None = None) -> Path:
    """Join the present prose of notebooks/NAME.py to the outputs of runs/notebooks/KEY.ipynb.
    The page, notebooks/rendered/PAGE.ipynb (or NAME), has the same bytes whenever it says the
    same."""
    from nbformat.v4 import new_markdown_cell, new_notebook

    nb = _read(_source(name, root))
    path = root / "runs/notebooks" / f"{check_name(key or name)}.ipynb"
    page = f"notebooks/rendered/{check_name(page or name)}.ipynb"
    again = f"run its stage again (`dvc repro`, or `code` and `run` of {name})"
    if not path.is_file():
        raise NotebookError(f"no runs/notebooks/{path.name}: {again}")
    ran = (executed := _read(path)).cells
    own = [cell.source for cell in ran if not _tagged(cell, INJECTED)]
    if own != [cell.source for cell in nb.cells if cell.cell_type == "code"]:
        raise NotebookError(f"notebooks/{name}.py has other code than was executed: {again}")
    banner = f"*Generated from `notebooks/{name}.py` by `dvc repro` (profile "
    banner += f"**{executed.metadata.poyo.profile}**): edit that file, not this one.*"
    cells = [new_markdown_cell(banner)]
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cell.outputs = _shown(ran.pop(0), f"notebooks/{name}.py", root)
        while ran and _tagged(ran[0], INJECTED):
            _shown(ran[0], f"notebooks/{name}.py", root)
            cells.append(ran.pop(0))
    text = _ipynb(new_notebook(cells=cells)) + "\n"
    if (size := len(text.encode())) > MAX_BYTES:
        part, line = max((len(json.dumps(cell)), _named(cell)) for cell in cells)
        large = f"{page} would have {size / 1000:.0f} kB, more than "
        large += f"{MAX_BYTES / 1000:.0f}; its largest is {line} ({part / 1000:.0f} kB)"
        raise NotebookError(large)
    _write(root / page, text)
    return root / page


def _stable(outputs: list[Any]) -> list[Any]:
    """Outputs without what depends on timing."""
    kept: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue  # progress, rates and warnings with paths: they were for the terminal
        if "text" in output and kept and "text" in kept[-1]:
            kept[-1].text += output.text  # a text comes in pieces, cut by the clock
        else:
            kept.append(output)
    return kept


def _shown(cell: Any, title: str, root: Path) -> list[Any]:
    """One form of each output, refusing what differs between runs or between computers, also in
    a parameter."""
    where = f"{title}, {_named(cell)}"
    here = {str(p) for p in (root, root.resolve(), Path.home(), tempfile.gettempdir())} - {"/"}
    places = "|".join([*map(re.escape, sorted(here, key=len)), r"/(?:home|Users)/\w+"])
    # addresses, the random ids of a pandas Styler, and places of this computer
    unstable = rf' at 0x\w*|id="T_[0-9a-f]{{5}}|(?<![\w.])(?:{places})(?!\w)'
    texts = [cell.source] if _tagged(cell, INJECTED) else []
    for output in cell.outputs:
        if output.output_type == "error":
            raise NotebookError(f"{where}: {_reason(output)}")
        texts.append(output.get("text", ""))
        if "data" in output:
            if widget := [kind for kind in output.data if "widget" in kind]:
                raise NotebookError(f"{where}: {widget[0]} is blank on a page; print or plot it")
            forms = {"image/png" if "image/png" in output.data else "text/html", *TEXT}
            output.data = {k: v for k, v in output.data.items() if k in forms}
            output.metadata = {k: v for k, v in output.metadata.items() if k in forms}
            texts += [v for k, v in output.data.items() if k != "image/png"]  # it can spell /tmp
            if picture := output.data.get("image/png"):
                output.data["image/png"] = _small(picture)
    if found := re.search(unstable, "\n".join(texts)):
        message = f"{where} shows `{found[0].strip()}`, which is not the same everywhere: "
        raise NotebookError(f"{message}print a value instead, or end the line with `;`")
    return cell.outputs


def _small(picture: str) -> str:
    """A base64 PNG in its 256 main colours: to the eye the same, in a third of the bytes."""
    from PIL import Image

    image = Image.open(BytesIO(b64decode(picture))).convert("RGB")
    image.quantize(dither=Image.Dither.NONE).save(file := BytesIO(), "png", optimize=True)
    return b64encode(file.getvalue()).decode()


def parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """What is typed after -p: names and, in turn, YAML values or paths."""
    pairs = [text for text in pairs if text != "-p"]
    if wrong := next((text for text in pairs[::2] if not text.isidentifier()), ""):
        cure = "write `-p key value key value`, without =; --as and --from go before -p"
        raise NotebookError(f"{wrong!r} is no key; {cure}")
    if len(pairs) % 2:
        raise NotebookError(f"-p takes pairs of a key and a value; {pairs[-1]!r} has no value")
    found = {}
    for key, text in zip(pairs[::2], pairs[1::2]):
        value = text if key in PATHS else read_yaml(text)  # a folder: 20131003
        # a session, 2013-10-03, and a title, "Real: two days", are not what YAML takes them for
        plain = isinstance(value, date) or (isinstance(value, dict) and text[:1] != "{")
        found[key] = text if plain else value
    return found


def _source(name: str, root: Path) -> Path:
    path = root / "notebooks" / f"{check_name(name)}.py"
    check_clone(root)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.py")))
        raise NotebookError(f"no notebook {name!r}; there are: {known or 'none'}")
    return path


def _read(path: Path) -> Any:
    """A percent script or an .ipynb, without what depends on the space between its cells."""
    import jupytext

    fmt = {"extension": path.suffix, "format_name": "percent"}
    nb = jupytext.reads(path.read_text(encoding="utf-8"), fmt)
    for cell in nb.cells:
        cell.source = cell.source.strip("\n")
        cell.metadata = {k: v for k, v in cell.metadata.items() if k not in LAYOUT}
    nb.cells = [cell for cell in nb.cells if cell.source]
    return nb


def _code_text(source: Path) -> str:
    import jupytext

    nb = _read(source)
    nb.cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    nb.metadata = {"jupytext": {"notebook_metadata_filter": "-all"}}
    return jupytext.writes(nb, fmt="py:percent")


def _ipynb(nb: Any, **metadata: Any) -> str:
    """Without random ids of cells, and counts that skip the cells which only a page has."""
    import nbformat

    count, nb.metadata = 0, METADATA | metadata
    for i, cell in enumerate(nb.cells, start=1):
        cell.id = f"cell-{i:02d}"
        count += cell.cell_type == "code"
        for node in (cell, *cell.get("outputs", [])):
            if "execution_count" in node:
                node.execution_count = count
    return nbformat.writes(nb)


def _write(path: Path, text: str) -> None:
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def _tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _named(cell: Any) -> str:
    return f"cell `{cell.source.splitlines()[0][:70]}`"


def _reason(error: Any) -> str:
    return ": ".join(filter(None, (error.ename, error.evalue)))
