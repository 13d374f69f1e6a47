"""Between DVC and papermill: what a notebook is, as a stage of the graph.

    python -m poyo.notebook code NAME                          notebooks/NAME.py -> runs/code/NAME.py
    python -m poyo.notebook run NAME [--as KEY] [-p key value ...]    -> runs/notebooks/KEY.ipynb
    python -m poyo.notebook render NAME [--from KEY]          -> notebooks/rendered/NAME.ipynb

The source is a percent script, without outputs. Stages depend on, and execute, its code cells
alone, so an edit of the prose re-trains nothing and still reaches the page. The page holds nothing
that differs between two runs (times, ids, paths, progress), so `dvc repro -f` leaves no git diff.
"""

import argparse
import ast
import contextlib
import difflib
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from poyo import ROOT

MAX_BYTES = 300_000
"""A page larger than this is slow to open on GitHub, and every change of it stays in git."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""Forced: sources name no kernel, and a page must not tell whose Python ran it."""

LAYOUT = ("cell_marker", "lines_to_next_cell", "lines_to_end_of_cell_marker", "skipline")
"""How jupytext remembers the blank lines of a script: prose moves them, so they are dropped."""


TEXT = ("text/plain", "text/markdown", "text/latex")


class NotebookError(Exception):
    """What the person at the terminal can mend; `main` prints it as one message."""


def code(name: str, root: Path = ROOT) -> Path:
    """Write the code cells of notebooks/NAME.py, and nothing else of it, to runs/code/NAME.py.

    Cell boundaries and cell metadata (`tags=["parameters"]`) stay. A comment in a code cell is code.
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
    """Execute runs/code/NAME.py with papermill, into runs/notebooks/KEY.ipynb (KEY is NAME if None).

    The kernel is the running interpreter's and works in `root`; what it prints is passed on as it
    comes. Only a run that finished reaches runs/notebooks: until then, and after a failure, the
    notebook is runs/scratch/KEY.running.ipynb.
    """
    import nbformat

    source, path = _source(name, root), root / "runs/code" / f"{name}.py"
    if not path.is_file():
        raise NotebookError(
            f"runs/code/{name}.py is missing: `python -m poyo.notebook code {name}` writes it"
        )
    if _code_text(source) != path.read_text(encoding="utf-8"):
        print(
            f"note: notebooks/{name}.py has newer code than runs/code/{name}.py", file=sys.stderr
        )

    nb = _read(path)
    parameters = dict(parameters or {})
    declared = _declared(nb)
    for unknown in [p for p in parameters if p not in declared]:
        close = difflib.get_close_matches(unknown, declared, n=1)
        raise NotebookError(
            f"notebooks/{name}.py has no parameter {unknown!r}"
            + (f" (did you mean {close[0]!r}?)" if close else "")
            + f"; it declares: {', '.join(declared) or 'none'}"
        )

    nb.metadata = {**METADATA, "poyo": {"profile": _profile(root)}}
    # Relative, so that the executed notebook does not record where the repository lies.
    scratch = Path("runs/scratch") / f"{key or name}.running.ipynb"
    output = root / "runs/notebooks" / f"{key or name}.ipynb"
    _write(root / scratch, nbformat.writes(nb, version=4))
    with contextlib.chdir(root), _kernel_environment(root):
        _execute(scratch, parameters, f"notebooks/{name}.py")
    output.parent.mkdir(parents=True, exist_ok=True)
    os.replace(root / scratch, output)
    return output


def _execute(scratch: Path, parameters: dict[str, Any], title: str) -> None:
    """papermill in place, without its noise; a failure becomes one message."""
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
            start_timeout=300,  # seconds; other stages may be busy on the same cores
            iopub_timeout=300,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # warns of TCP on every start
        )
    except papermill.PapermillExecutionError:
        pass  # the error lies in the outputs, as does a sys.exit(), which papermill lets pass
    except DeadKernelError:
        dead = True

    ran = [c for c in nbformat.read(scratch, as_version=4).cells if c.cell_type == "code"]
    error = [(c, o) for c in ran for o in c.outputs if o.output_type == "error"]
    if dead:
        cell = [c for c in ran if c.metadata.papermill.start_time][-1]
        reason = "the kernel died (out of memory?)"
    elif error:
        cell = error[0][0]
        reason = f"{error[0][1].ename}: {error[0][1].evalue}"
    else:
        return
    raise NotebookError(
        f"{title}, in the cell `{_first_line(cell)}`: {reason}\n(executed so far: {scratch})"
    )


def render(name: str, key: str | None = None, root: Path = ROOT) -> Path:
    """The present prose of notebooks/NAME.py with the outputs of runs/notebooks/KEY.ipynb.

    Writes notebooks/rendered/NAME.ipynb, the page a reader opens; equal inputs give equal bytes.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    nb, executed = _read(_source(name, root)), root / "runs/notebooks" / f"{key or name}.ipynb"
    again = f"run its stage again (`dvc repro`, or `python -m poyo.notebook run {name}`)"
    if not executed.is_file():
        raise NotebookError(f"runs/notebooks/{executed.name} is missing: {again}")
    ran = nbformat.read(executed, as_version=4)
    done = [c for c in ran.cells if c.cell_type == "code"]
    done = [c for c in done if "injected-parameters" not in c.metadata.get("tags", [])]
    if [c.source for c in done] != [c.source for c in nb.cells if c.cell_type == "code"]:
        raise NotebookError(f"notebooks/{name}.py has other code than was executed: {again}")

    cells = [
        new_markdown_cell(
            f"*Generated from `notebooks/{name}.py` by `dvc repro` "
            f"(profile **{ran.metadata.poyo.profile}**): edit that file, not this one.*"
        )
    ]
    values = dict(ran.metadata.papermill.parameters)
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cell.outputs = _outputs(done.pop(0), f"notebooks/{name}.py", root)
        if values and "parameters" in cell.metadata.get("tags", []):
            # Written anew: papermill's own spelling depends on whether `black` is installed.
            lines = ["# Parameters", *(f"{k} = {v!r}" for k, v in sorted(values.items()))]
            tags = {"tags": ["injected-parameters"]}
            cells.append(new_code_cell("\n".join(lines), metadata=tags))
            values = {}

    count = 0
    for i, cell in enumerate(cells, start=1):
        cell.id = f"cell-{i:02d}"
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count

    text = nbformat.writes(new_notebook(cells=cells, metadata=METADATA), version=4) + "\n"
    if len(text.encode()) > MAX_BYTES:
        size, largest = max((len(json.dumps(c)), _first_line(c)) for c in cells)
        raise NotebookError(
            f"notebooks/rendered/{name}.ipynb would have {len(text.encode()) / 1000:.0f} kB, more "
            f"than {MAX_BYTES / 1000:.0f}; the largest cell is `{largest}` ({size / 1000:.0f} kB)"
        )
    path = root / "notebooks/rendered" / f"{name}.ipynb"
    _write(path, text)
    return path


def _outputs(cell: Any, where: str, root: Path) -> list[Any]:
    """The outputs of an executed cell that a page shows, refusing what differs between runs."""
    where = f"{where}, in what the cell `{_first_line(cell)}` shows"
    shown: list[Any] = []
    for output in cell.outputs:
        if output.output_type == "error":
            raise NotebookError(f"{where}: {output.ename}: {output.evalue}")
        if output.output_type != "stream":
            if widget := [mime for mime in output.data if "widget" in mime]:
                raise NotebookError(
                    f"{where}: {widget[0]} stays blank on a page; plot or print it"
                )
            keep = {"image/png" if "image/png" in output.data else "text/html", *TEXT}
            output.data = {k: v for k, v in output.data.items() if k in keep}
            output.metadata = {k: v for k, v in output.metadata.items() if k in keep}
        elif output.name == "stderr":
            continue  # progress, rates and warnings with paths are for the terminal
        elif shown and shown[-1].output_type == "stream":
            shown[-1].text += output.text  # a text comes in pieces that depend on timing
            continue
        shown.append(output)

    for output in shown:
        stream = output.output_type == "stream"
        for text in (
            [output.text] if stream else [v for k, v in output.data.items() if "text" in k]
        ):
            if found := re.search(_unstable(root), text):
                raise NotebookError(f"{where}: `{found[0].strip()}` is not the same in every run")
    return shown


def _unstable(root: Path) -> str:
    """A pattern for addresses, the random ids of a pandas Styler, and where things lie here."""
    here = {str(p) for p in (root, root.resolve(), Path.home(), tempfile.gettempdir())} - {"/"}
    paths = [*map(re.escape, sorted(here, key=len, reverse=True)), r"/(?:home|Users)/\w+"]
    return rf" at 0x\w*|id=\"T_[0-9a-f]{{5}}|(?<![\w.])(?:{'|'.join(paths)})(?!\w)"


def _source(name: str, root: Path) -> Path:
    path = root / "notebooks" / f"{name}.py"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.py"))
        raise NotebookError(f"no notebook {name!r}; there are: {', '.join(known) or 'none'}")
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
    nb.cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    nb.metadata = {"jupytext": {"notebook_metadata_filter": "-all"}}
    return jupytext.writes(nb, fmt="py:percent")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _first_line(cell: Any) -> str:
    return cell.source.partition("\n")[0]


def _declared(nb: Any) -> list[str]:
    """What the cell tagged `parameters` assigns; papermill's own reading misses `x = "a=b"`."""
    cells = [cell.source for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    names = [
        node for node in ast.walk(ast.parse("".join(cells[:1]))) if isinstance(node, ast.Name)
    ]
    return [node.id for node in names if isinstance(node.ctx, ast.Store)]


def _yaml(text: str) -> Any:
    """YAML 1.2 by the reader that DVC has for params.yaml: 1e-05 is a number, `no` a word."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def _value(text: str) -> Any:
    value = _yaml(text)
    return text if isinstance(value, date) else value  # 2013-10-03 names a session


def _profile(root: Path) -> str:
    path = root / "params.yaml"
    return str((_yaml(path.read_text(encoding="utf-8")) or {}).get("profile"))


@contextlib.contextmanager
def _kernel_environment(root: Path) -> Iterator[None]:
    """What a person's own settings would otherwise change in a result."""
    before = dict(os.environ)
    os.environ.update(
        JUPYTER_PREFER_ENV_PATH="1",  # this interpreter's kernel, not one of the same name in ~
        IPYTHONDIR=str(root / "runs/scratch/ipython"),  # no start-up files, no figure format
        PYTHONSTARTUP="",
        PYTHONHASHSEED="0",  # the order of a set
        MPLBACKEND="module://matplotlib_inline.backend_inline",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m poyo.notebook", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("code", "run", "render"):
        commands.add_parser(command).add_argument("name")
    commands.choices["run"].add_argument("--as", dest="key", help="name of the executed notebook")
    commands.choices["run"].add_argument(
        "-p",
        nargs=argparse.REMAINDER,  # the rest of the line: -1e-3 is a value, not an option
        default=[],
        dest="pairs",
        help="parameters, as key value key value ...",
    )
    commands.choices["render"].add_argument("--from", dest="key", help="the executed notebook")
    args = parser.parse_args(argv)
    try:
        if args.command == "code":
            code(args.name, ROOT)
        elif args.command == "render":
            render(args.name, args.key, ROOT)
        else:
            pairs = [p for p in args.pairs if p != "-p"]
            if len(pairs) % 2:
                raise NotebookError(f"-p takes pairs of key and value, got: {' '.join(pairs)}")
            values = map(_value, pairs[1::2])
            run(args.name, args.key, dict(zip(pairs[::2], values)), ROOT)
    except NotebookError as error:
        print(f"{parser.prog} {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
