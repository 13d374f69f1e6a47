"""The walls of the package: three floors, arrows that only go down, none of them too large."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

from poyo import ROOT

PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "poyo").rglob("*.py")
}
FLOORS = "data", "method", "study"


def floor(module: str) -> str | None:
    """None for `poyo` itself, on which all of them stand."""
    _, *parts = module.split(".")
    if not parts:
        return None
    if parts[0] in ("data", "study"):
        return parts[0]
    return "study" if parts == ["__main__"] else "method"  # the verbs of the notebooks


def imports(module: str) -> set[str]:
    """The modules of the package that one imports, wherever in its text."""
    path, found = PATHS[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names} & PATHS.keys()
            found |= names or {base}
    return found & PATHS.keys()


ARROWS = {module: imports(module) for module in PATHS}


def test_arrows_are_seen():
    assert {"poyo.decoder", "poyo.optim", "poyo.data.recording"} <= ARROWS["poyo.train"]
    assert "poyo" in ARROWS["poyo.resume"] and "poyo.resume" not in ARROWS["poyo.resume"]


def test_arrows_go_from_study_to_method_to_data():
    up = [
        f"{module} -> {other}"
        for module, others in ARROWS.items()
        for other in others
        if floor(other)
        and (not floor(module) or FLOORS.index(floor(module)) < FLOORS.index(floor(other)))
    ]
    assert not up


def test_no_arrows_make_a_circle():
    order = list(TopologicalSorter(ARROWS).static_order())  # raises CycleError, which names it
    assert len(order) == len(PATHS)


def test_importing_a_floor_imports_nothing_above_it():
    data, method = ([m for m in PATHS if floor(m) in (None, one)] for one in FLOORS[:2])
    first, second = (f"import {', '.join(some)}; print(*sys.modules)" for some in (data, method))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {first}; {second}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    after_data, after_method = (set(line.split()) for line in done.stdout.splitlines())
    assert set(data) == after_data & PATHS.keys() and "torch" not in after_data
    assert {*data, *method} == after_method & PATHS.keys()


def test_the_floors_stay_small():
    lines = {module: len(path.read_text().splitlines()) for module, path in PATHS.items()}
    sizes = {name: [n for module, n in lines.items() if floor(module) == name] for name in FLOORS}
    assert (
        len(sizes["method"]) <= 21 and sum(sizes["method"]) <= 2760
    )  # with examples in docstrings
    # of the data floor 900 lines are other laboratories' file formats
    most = {"data": 2875, "study": 2965}
    assert all(sum(sizes[name]) <= n for name, n in most.items()), sizes
