"""Between DVC and papermill: what a notebook is, as a stage of the graph.

    python -m poyo.notebook code NAME                   notebooks/NAME.py -> runs/code/NAME.py
    python -m poyo.notebook run NAME [--as KEY] [-p key value ...]  -> runs/notebooks/KEY.ipynb
    python -m poyo.notebook render NAME [--from KEY]        -> notebooks/rendered/NAME.ipynb

The source is a percent script without outputs. Stages depend on its code cells alone and execute
those, so an edit of the prose re-trains nothing and still reaches the page. What is kept of a run
holds nothing that differs between two runs (times, random ids, progress), neither the page in git
nor the executed notebook whose hash is in dvc.lock: `dvc repro -f` leaves no git diff.
"""

import argparse
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

from poyo import ROOT

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


class NotebookError(Exception):
    """What the person at the terminal can mend; `main` prints it as one message."""


def code(name: str, root: Path = ROOT) -> Path:
    """Write the code cells of notebooks/NAME.py, with their tags, to runs/code/NAME.py.

    Comments inside a code cell are code.
    """
    path = root / "runs/code" / f"{name}.py"
    _write(path, _code_text(_source(name, root)))
    return path


def run(
    name: str,
    key: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    root: Path = ROOT,
) -> Path:
    """Execute runs/code/NAME.py with papermill, into runs/notebooks/KEY.ipynb (by default NAME).

    The kernel is that of the running interpreter and works in `root`; what it prints is passed on
    as it comes. Until the last cell is done, and after a failure, the notebook lies at
    runs/scratch/KEY.running.ipynb, so what runs/notebooks holds is always whole.
    """
    import nbformat

    source, path = _source(name, root), root / "runs/code" / f"{name}.py"
    if not path.is_file():
        raise NotebookError(f"no runs/code/{name}.py: `python -m poyo.notebook code {name}` first")
    if _code_text(source) != path.read_text(encoding="utf-8"):
        print(f"note: runs/code/{name}.py is older than the notebook", file=sys.stderr)

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
    profile = _yaml(params.read_text(encoding="utf-8")) if params.is_file() else None
    # Relative, so that no output or message tells where the repository lies.
    scratch = Path("runs/scratch") / f"{key or name}.running.ipynb"
    output = root / "runs/notebooks" / f"{key or name}.ipynb"
    nb.metadata = METADATA
    _write(root / scratch, nbformat.writes(nb))
    resumed = root / "runs/scratch" / (key or name)
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


def _source(name: str, root: Path) -> Path:
    path = root / "notebooks" / f"{name}.py"
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


def _yaml(text: str) -> Any:
    """YAML 1.2, by the reader DVC has for params.yaml: 1e-05 is a number there, `no` a word."""
    from ruamel.yaml import YAML, YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise NotebookError(f"not YAML: {text!r}") from None
    return text if isinstance(value, date) else value  # 2013-10-03 is the name of a session


@contextlib.contextmanager
def _kernel_environment(root: Path, resumed: Path) -> Iterator[None]:
    """Keep a person's own settings from changing a result."""
    before = dict(os.environ)
    os.environ.update(
        JUPYTER_PREFER_ENV_PATH="1",  # this interpreter's kernel, not its namesake in ~
        IPYTHONDIR=str(root / "runs/scratch/ipython"),  # no start-up files, no figure format
        PYTHONSTARTUP="",
        POYO_SCRATCH=str(resumed),  # where `poyo.train` keeps what an interrupted run resumes from
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


def main(argv: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m poyo.notebook", None, __doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("code", "run", "render"):
        commands.add_parser(command).add_argument("name", help="of a file notebooks/NAME.py")
    executed = {"dest": "key", "metavar": "KEY", "help": "the name of the executed notebook"}
    commands.choices["run"].add_argument("--as", **executed)
    commands.choices["render"].add_argument("--from", **executed)
    # The rest of the line is parameters: argparse would take -1e-3 for an option.
    rest = {"nargs": argparse.REMAINDER, "default": [], "help": "key value ...; comes last"}
    commands.choices["run"].add_argument("-p", dest="pairs", metavar="...", **rest)
    args = parser.parse_args(argv)
    try:
        if args.command == "code":
            code(args.name, ROOT)
        elif args.command == "render":
            render(args.name, args.key, ROOT)
        else:
            pairs = [text for text in args.pairs if text != "-p"]
            if len(pairs) % 2:
                raise NotebookError(f"-p takes pairs of a key and a value, not {pairs}")
            run(args.name, args.key, dict(zip(pairs[::2], map(_yaml, pairs[1::2]))), ROOT)
    except NotebookError as error:
        print(f"{parser.prog} {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
