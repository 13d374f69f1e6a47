"""dvc.yaml against the code: what a stage depends on is what it imports."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from poyo import ROOT

GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, by name."""
    modules = {p.stem for p in (ROOT / "poyo").glob("*.py")} - {"__init__"}
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "") == "poyo"):
            found = [node.module] if node.level and node.module else [a.name for a in node.names]
            names |= set(found) & modules
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("poyo."):
            names.add(node.module.removeprefix("poyo."))
    return names


def closure(path: Path) -> set[str]:
    """Files of the package that a file imports, directly or not."""
    todo, done = imported(path), set()
    while todo:
        name = todo.pop()
        done.add(name)
        todo |= imported(ROOT / "poyo" / f"{name}.py") - done
    return {f"poyo/{name}.py" for name in done}


STAGES = {
    name: match[1]
    for name, stage in GRAPH["stages"].items()
    if (match := re.search(r"poyo\.notebook run (\w+)", str(stage.get("cmd"))))
}
FILES = {stage: f"notebooks/{name}.py" for stage, name in STAGES.items() if stage != "speed"}
FILES["collect"] = "poyo/results.py"


@pytest.mark.parametrize("stage", FILES)
def test_a_stage_depends_on_the_modules_it_imports_and_no_other(stage):
    listed = {dep for dep in GRAPH["stages"][stage]["deps"] if dep.startswith("poyo/")}
    file = FILES[stage]
    own = {file} if file.startswith("poyo/") else set()
    assert listed == closure(ROOT / file) | own


def test_every_notebook_is_run_and_rendered():
    sources = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py")}
    assert sources == set(STAGES.values())
    assert sources - {"10_speed"} == set(GRAPH["vars"][0]["notebooks"])
    assert sources - {"10_speed"} == set(GRAPH["stages"]["render"]["foreach"])
    assert "poyo.notebook render 10_speed" in GRAPH["stages"]["speed"]["cmd"][-1]


def test_only_what_differs_every_time_runs_when_forced_alone():
    """A stage without deps, its outputs in git, is up to date whatever changes."""
    never = {n for n, s in GRAPH["stages"].items() if not s.get("deps") and "do" not in s}
    assert never == {"speed"} and "params" not in GRAPH["stages"]["speed"]


def test_stages_that_write_a_page_record_the_profile_of_its_banner():
    for stage in STAGES:
        assert stage == "speed" or "profile" in GRAPH["stages"][stage]["params"]
