"""What a piece of code rests on: the modules of this package that it imports, directly or not.
Without comments, docstrings and blank lines, so that an edit of these re-runs no stage and starts
no training anew. Imports count wherever they stand; nothing is run to find them."""

import ast
import functools
import io
import re
import tokenize
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

from . import ROOT

DATA = ".mplstyle", ".yaml"  # files that code reads; what is in them counts, too


def code_of(*starts: str | Path, root: Path = ROOT) -> str:
    """The code of all modules reached, each under its name, sorted; Python 3.11 to 3.14 agree.
    A start is a module's name ("poyo.train"; one outside of the package counts, too, by its name
    alone if it has no file) or the path of a file that itself does not. Raises ImportError."""
    files, texts, seen = {}, {}, set[str]()
    for file in (root / "poyo").rglob("*.*"):
        name = file.relative_to(root).as_posix().replace("/", ".")
        files[re.sub(r"(\.__init__)?\.py$", "", name)] = file
    modules = {start for start in starts if isinstance(start, str)}
    scripts = [start for start in starts if isinstance(start, Path)]
    todo = modules.union(*(_imports(p.read_text(encoding="utf-8"), p.name) for p in scripts))
    for name in modules - files.keys():
        files[name] = Path(getattr(import_module(name), "__file__", None) or "")
    while todo := todo - seen:
        seen.add(name := todo.pop())
        todo |= set() if name.endswith(DATA) else {name.rpartition(".")[0]}  # its package
        if path := files.get(name):
            text = path.read_text(encoding="utf-8") if path.suffix in (".py", *DATA) else ""
            if path.suffix == ".py":
                todo |= _imports(text, name + ".__init__" * (path.stem == "__init__"))
            texts[name] = f"# {name}\n{_bare(text, path.suffix)}\n"
    return "".join(texts[name] for name in sorted(texts))


@functools.cache
def _imports(text: str, name: str) -> frozenset[str]:
    """What a file may import; "poyo.study.style" names a style sheet, "poyo/a.yaml" its data."""
    found = set()
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), name.rpartition(".")[0])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {f"{node.value}.mplstyle"} if node.value.startswith("poyo.") else set()
            found |= {n.replace("/", ".") for n in re.findall(r"^poyo/.+\.yaml$", node.value)}
    return frozenset(found)


@functools.cache
def _bare(text: str, suffix: str) -> str:
    if suffix in DATA:
        return re.sub(r"^\s*(#.*)?\n", "", text, flags=re.M)
    rows, cuts = text.encode().splitlines(), list[tuple]()  # (row, byte, row, byte), rows from 1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL):  # NL: a blank row, too
            row, end = token.start[0], len(rows[token.start[0] - 1])
            cuts.append((row, end - len(token.string.strip("\n").encode()), row, end))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            cuts.append((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset))
    for top, left, bottom, right in sorted(cuts, reverse=True):
        rest = rows[top - 1][:left].rstrip() + rows[bottom - 1][right:]
        rows[top - 1 : bottom] = [rest] if rest else []
    return b"\n".join(rows).decode()
