"""What code rests on: which modules it reaches, and what of their text counts."""

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from poyo import ROOT, closure

MODULES = {
    "poyo/__init__.py": '"""Words."""\nROOT = 1\n',
    "poyo/leaf.py": "leaf = 1\n",
    "poyo/train.py": "from . import ROOT\n",
    "poyo/late.py": "def f():\n    if True:\n        from poyo.train import fit\n",
    "poyo/data/__init__.py": "from .io import read\n",
    "poyo/data/io.py": "import numpy\n",
    "poyo/study/__init__.py": "",
    "poyo/study/deep/__init__.py": "from ...leaf import leaf\n",
    "poyo/study/deep/end.py": "from .. import page\nfrom . import nothing\n",
    "poyo/study/page.py": "from ..late import f\n",
    "poyo/study/style.mplstyle": "# words\nfont.size: 9\n\n",
    "poyo/study/facts.yaml": "# words\nfont.size: 9\n\n",
    "other/__init__.py": "import poyo.leaf\n",
}
"""A package, and another that is never reached."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def reached(*starts: str | Path, root: Path = ROOT) -> list[str]:
    return re.findall("^# (.+)$", closure.code_of(*starts, root=root), re.M)


def of_script(root: Path, text: str) -> str:
    (root / "cells.py").write_text(text)
    return closure.code_of(root / "cells.py", root=root)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("import poyo", "poyo"),
        ("import poyo.leaf as l, numpy.random", "poyo poyo.leaf"),
        ("from poyo import ROOT, leaf, train", "poyo poyo.leaf poyo.train"),
        ("from poyo.leaf import leaf", "poyo poyo.leaf"),
        ("def f():\n    from poyo import late", "poyo poyo.late poyo.train"),
        ("from poyo.data import io", "poyo poyo.data poyo.data.io"),
        ("import poyo.data.io", "poyo poyo.data poyo.data.io"),
        ("from poyo.data import read", "poyo poyo.data poyo.data.io"),
        ("from poyo.data import *", "poyo poyo.data poyo.data.io"),
        ("from poyo.study import page", "poyo poyo.late poyo.study poyo.study.page poyo.train"),
        (
            "import poyo.study.deep.end",
            "poyo poyo.late poyo.leaf poyo.study poyo.study.deep poyo.study.deep.end "
            "poyo.study.page poyo.train",
        ),
        ("use('poyo.study.style')", "poyo.study.style.mplstyle"),
        ("read(ROOT / 'poyo/study/facts.yaml')", "poyo.study.facts.yaml"),
        ("print('poyo.train', 'poyo.study.style ', 'poyo/train.py', 'poyo/x.yaml')", ""),
        ("import poyonomics, other, os.path\nfrom numpy import poyo", ""),
        ("# import poyo\n'import poyo'", ""),
    ],
)
def test_every_way_to_import_reaches_what_it_runs(root, line, expected):
    assert re.findall("^# (.+)$", of_script(root, line + "\n"), re.M) == expected.split()


def test_modules_count_by_name_and_what_is_unknown_is_an_error(root):
    assert reached("poyo.late", "poyo.leaf", root=root) == [
        "poyo", "poyo.late", "poyo.leaf", "poyo.train",
    ]  # fmt: skip
    assert closure.code_of("poyo.leaf", root=root) == "# poyo\nROOT = 1\n# poyo.leaf\nleaf = 1\n"
    with pytest.raises(ModuleNotFoundError, match="trian"):
        closure.code_of("poyo.trian", root=root)
    (root / "poyo/leaf.py").write_text("leaf = = 1\n")
    with pytest.raises(SyntaxError, match=r"poyo.leaf, line 1"):
        closure.code_of("poyo.leaf", root=root)


def test_a_module_outside_of_the_package_counts_with_what_it_imports_of_it(root, monkeypatch):
    """A model class of one's own, in a file or in a notebook, which is a module without one."""
    mine = "def f():  # words\n    from poyo.leaf import leaf\n"
    (root / "mine.py").write_text(mine)
    monkeypatch.syspath_prepend(root)
    text = closure.code_of("mine", "poyo.train", root=root)
    assert text.startswith("# mine\n" + mine.replace("  # words", "") + "# poyo\n")
    assert reached("mine", "poyo.train", root=root) == ["mine", "poyo", "poyo.leaf", "poyo.train"]
    monkeypatch.setitem(sys.modules, "cell", type(sys)("cell"))
    assert closure.code_of("cell", root=root) == "# cell\n\n"


def test_an_import_adds_its_module_by_itself(root):
    before = of_script(root, "from poyo import train\n")
    (root / "poyo/train.py").write_text(MODULES["poyo/train.py"] + "from .leaf import leaf\n")
    after = of_script(root, "from poyo import train\n")
    assert "leaf = 1" in after and "leaf" not in before
    (root / "poyo/leaf.py").write_text("leaf = 2\n")
    assert "leaf = 2" in of_script(root, "from poyo import train\n")


NASTY = '''\
#!/usr/bin/env python
"""Words ² of

the module."""

x = "# no comment"  # a comment, µ
y = """ü²

  # no comment either
"""  # words

"""Words ² about y."""
z = (  # words

    "a ² '"  # words
    # words
    f"b {x!r:#>4} {y}"

)


class C(  # words
    object,
):
    """ü words"""

    def f(self): """Words."""; return [
        1,

        2,  # words
    ]
'''
BARE = '''\
x = "# no comment"
y = """ü²

  # no comment either
"""
z = (
    "a ² '"
    f"b {x!r:#>4} {y}"
)
class C(
    object,
):
    def f(self):; return [
        1,
        2,
    ]
'''
"""Byte for byte what every Python must make of it."""


def test_comments_docstrings_and_blank_lines_do_not_count(root):
    (root / "poyo/leaf.py").write_text(NASTY)
    text = closure.code_of("poyo.leaf", root=root)
    assert text == "# poyo\nROOT = 1\n# poyo.leaf\n" + BARE
    words = re.sub("[Ww]ords", "Other prose\n\n    ", NASTY.replace("# words", "# Éa"))
    (root / "poyo/leaf.py").write_text(words.replace("#!/usr", "\n\n#!/usr") + "\n\n# the end")
    assert closure.code_of("poyo.leaf", root=root) == text


@pytest.mark.parametrize(
    "old, new",
    [
        ("no comment", "not a comment"),
        ("\n\n  # no", "\n  # no"),
        ("# no comment either\n", ""),
        ("2,", "3,"),
        ("r:#>4", "r:>4"),
        ("object", "int"),
    ],
)
def test_code_and_what_is_inside_of_strings_counts(root, old, new):
    before = closure.code_of("poyo.leaf", root=root)
    for text in (NASTY, NASTY.replace(old, new)):
        (root / "poyo/leaf.py").write_text(text)
        after, before = before, closure.code_of("poyo.leaf", root=root)
        assert after != before


@pytest.mark.parametrize(
    "line, file",
    [
        ("use('poyo.study.style')\n", "poyo/study/style.mplstyle"),
        ("read('poyo/study/facts.yaml')\n", "poyo/study/facts.yaml"),
    ],
)
def test_a_comment_of_a_data_file_does_not_count(root, line, file):
    text = of_script(root, line)
    assert text.endswith(f"# {file.replace('/', '.')}\nfont.size: 9\n\n")
    (root / file).write_text("# prose\n\n  # more\nfont.size: 9\n")
    assert of_script(root, line) == text
    (root / file).write_text("font.size: 8\n")
    assert of_script(root, line) != text


def test_the_papers_numbers_count_where_they_are_shown():
    assert "poyo.study.paper.yaml" in reached(ROOT / "notebooks/11_results.py")


def statements(text: str) -> list[list[str]]:
    """The tokens of each statement that is not only a string."""
    layout = tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER
    found: list[list[str]] = [[]]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            found.append([])
        elif token.type not in layout:
            found[-1].append(token.string)
    return [s for s in found if not all(re.match("(r?[\"']|[.]{3})", part) for part in s)]


@pytest.mark.parametrize("path", sorted((ROOT / "poyo").rglob("*.py")), ids=lambda p: p.stem)
def test_no_code_of_this_package_is_lost(path):
    text = path.read_text(encoding="utf-8")
    assert statements(closure._bare(text, ".py")) == statements(text)


def test_it_is_light_and_sees_what_python_imports():
    """What a fresh interpreter has loaded of the package, read from the source alone."""
    check = "import sys, poyo.closure; print({'torch', 'numpy'} & set(sys.modules)); "
    check += "import poyo.study.results; print(*sorted(m for m in sys.modules if m[:4] == 'poyo'))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    none, loaded = done.stdout.splitlines()
    assert none == "set()"
    assert set(loaded.split()) <= {*reached("poyo.study.results"), "poyo.closure"}
