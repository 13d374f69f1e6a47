"""The site: `pip install -e ".[site]" && sphinx-build notebooks runs/site`.

Sphinx reads this file. No page is executed; what the site adds to them is in pages.py."""

import re
import shutil
import sys
from importlib.metadata import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
import pages
from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

TEXT_ALONE = "poyo.__main__", "poyo.study.bench"  # not imported: a command; needs [test]

project = html_title = "POYO, notebook first"
html_theme = "furo"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_copy_source = html_show_copyright = False
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # of outputs: their tables, too
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"
myst_enable_extensions = ["dollarmath", "attrs_block"]
myst_heading_anchors = 3
default_role = "literal"  # `name` in a docstring
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # torch's say nothing here
# MathJax is one file of a package, so that no page asks another host for anything
(mathjax,) = (f for f in files("sphinx-mathjax-offline") if f.name == "tex-svg-full.js")
mathjax_path = mathjax.name
html_static_path = [str(mathjax.locate()), "site.css"]
html_css_files = ["site.css"]


def begin(app) -> None:
    """Draw the graph and write notebooks/modules: a page per module, and their table."""
    pages.draw(ROOT / "runs/graph.svg")
    folder = ROOT / "notebooks/modules"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    table = "# The package\n\n| module | what it is |\n|---|---|\n"
    for name, text in pages.modules().items():
        about = f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"
        if name in TEXT_ALONE:
            about = f"```text\n{text}\n```\n"
        (folder / f"{name}.md").write_text(f"# {name}\n\n{about}")
        first = re.split(r"(?<=[.:])\s", text)[0].rstrip(".:").replace("\n", " ")
        table += f"| [{name}]({name}.md) | {first} |\n"
    (folder / "index.md").write_text(f"{table}\n```{{toctree}}\n:hidden:\n:glob:\n\npoyo*\n```\n")


def docstring(app, what, name, thing, options, lines: list[str]) -> None:
    """Ours are plain text: a star is a star, and what is set in is shown as it stands."""
    shown: list[str] = []
    for line in lines:
        if not line.startswith(" "):
            line = line.replace("*", r"\*")
        elif shown and not shown[-1]:
            shown += ["::", ""]
        shown.append(line)
    lines[:] = shown


def signature(app, what, name, thing, options, arguments: str | None, returns) -> tuple | None:
    """numpy's ArrayLike by its name, not as the seven types that it stands for."""
    spelt = stringify_annotation(ArrayLike, "smart")
    return (arguments.replace(spelt, "ArrayLike"), returns) if arguments else None


def read(app, name: str, source: list[str]) -> None:
    app.env.note_dependency(pages.__file__)
    if name.startswith("rendered/"):
        app.env.note_dependency(str(ROOT / "dvc.lock"))
        source[0] = pages.page(source[0], name.removeprefix("rendered/"))
    elif name == "index":
        app.env.note_dependency(str(ROOT / "README.md"))
        source[0] = pages.readme() + source[0]
    elif name == "experiments":
        app.env.note_dependency(str(ROOT / "params.yaml"))
        source[0] = source[0].replace("<!-- knobs -->", pages.knobs())
        source[0] = source[0].replace("<!-- recipes -->", pages.recipes())


def setup(app) -> None:
    app.connect("builder-inited", begin)
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
