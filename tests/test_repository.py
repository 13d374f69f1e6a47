"""What a visitor of the repository relies on: one set of pins, a README of real results."""

import re
import tomllib

import pytest
import yaml

from poyo import ROOT

README = (ROOT / "README.md").read_text()


def test_conda_users_get_the_same_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = environment["dependencies"][-1]["pip"]
    assert sorted(pip) == sorted(["-e .[test]", *project["dependencies"]])
    assert all("==" in pin for pin in project["dependencies"])


def test_the_commands_of_the_readme_are_there():
    assert "pip install -e . && dvc repro" in README
    assert 'pip install -e ".[test]" && pytest' in README


@pytest.mark.parametrize("name", ["claims", "table2", "speed"])
def test_the_tables_of_the_readme_are_those_the_graph_wrote(name):
    assert (ROOT / f"figures/tables/{name}.md").read_text().strip() in README


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_departure_from_the_paper_is_listed():
    marks = [
        path.stem
        for path in (ROOT / "poyo").glob("*.py")
        for _ in re.findall(r"# Paper: ", path.read_text())
    ]
    listed = README.split("## Departures from the paper")[1].split("\n## ")[0]
    for module in marks:
        assert f"`poyo/{module}.py`" in listed, module
