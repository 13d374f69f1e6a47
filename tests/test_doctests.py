"""The examples in docstrings print what they say."""

import doctest
from importlib import import_module

import pytest

from poyo import ROOT

FILES = [path for path in (ROOT / "poyo").rglob("*.py") if "\n    >>> " in path.read_text()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples(path):
    module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
