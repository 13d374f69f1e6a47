"""What a visitor of the repository relies on: what is installed, a README of real results."""

import ast
import json
import re
import sys
import tomllib
from itertools import chain

import pandas as pd
import pytest
from packaging.requirements import Requirement

from poyo import ROOT, closure
from poyo.config import read_yaml

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
TEST = [Requirement(text) for text in PROJECT["optional-dependencies"]["test"]]
SITE = [Requirement(text) for text in PROJECT["optional-dependencies"]["site"]]
RUN = {"jupyterlab", "ipykernel", "dvc"}  # programs, not imported
DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "IPython": "ipython",
    "ruamel": "ruamel.yaml",
}
DISTRIBUTIONS["yaml"] = "pyyaml"


def constraints() -> dict[str, str]:
    """Name -> the version this repository was tested with."""
    lines = (ROOT / ".ci/constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def imported(*folders: str) -> set[str]:
    """The distributions that the Python files of these folders import, at whatever depth."""
    names = set()
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    names -= {"poyo", "pages", *sys.stdlib_module_names}
    return {DISTRIBUTIONS.get(name, name) for name in names}


# --- what is installed ------------------------------------------------------------------------


def test_what_is_imported_is_declared_and_nothing_else():
    declared = {requirement.name for requirement in RUNTIME}
    # only tests and the bench install torch_brain, beside which it measures; NWB and the site
    # are extras
    extras = {"torch_brain", "pynwb", "pyyaml", "sphinx"}
    assert imported("poyo", "notebooks") - extras == declared - RUN
    assert "torch_brain" in {requirement.name for requirement in TEST}


def test_the_tested_versions_are_those_declared_and_just_below_the_upper_bound():
    tested = constraints()
    assert sorted(tested) == sorted(requirement.name for requirement in RUNTIME + SITE + TEST)
    for requirement in RUNTIME + SITE + TEST:
        version, bounds = tested[requirement.name], requirement.specifier
        assert version in bounds, requirement.name
        if {bound.operator for bound in bounds} == {"=="}:
            continue
        lower, upper = sorted(bounds, key=lambda bound: bound.operator, reverse=True)
        assert (lower.operator, upper.operator) == (">=", "<"), requirement.name
        major, minor, *_ = (int(part) for part in version.split(".")[:2])
        assert upper.version == f"{major}.{minor + 1}", requirement.name


def test_torch_is_pinned():
    (torch,) = (requirement for requirement in RUNTIME if requirement.name == "torch")
    assert [bound.operator for bound in torch.specifier] == ["=="]


def test_conda_users_get_the_tested_versions():
    environment = read_yaml(ROOT / "environment.yml")
    assert environment["dependencies"][-1]["pip"] == ["-c .ci/constraints.txt", "-e .[test]"]


def test_every_floor_and_the_data_files_are_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {path.parent for path in (ROOT / "poyo").rglob("__init__.py")}
    names = {str(path.relative_to(ROOT)).replace("/", ".") for path in packages}
    assert set(settings["packages"]) == names
    data = [path for suffix in closure.DATA for path in (ROOT / "poyo").rglob(f"*{suffix}")]
    assert {"style.mplstyle", "paper.yaml"} <= {path.name for path in data}
    for path in data:
        package = str(path.parent.relative_to(ROOT)).replace("/", ".")
        assert f"*{path.suffix}" in settings["package-data"][package]


# --- the README -------------------------------------------------------------------------------


def test_the_commands_of_the_readme_are_there():
    assert "pip install -e . && dvc repro" in README
    assert 'pip install -e ".[test]" && pytest' in README
    assert 'pip install -e ".[site]" && sphinx-build notebooks runs/site' in README


def test_the_numbers_of_the_readme_are_those_the_graph_wrote():
    assert (ROOT / "figures/tables/claims.md").read_text().strip() in README
    first = (ROOT / "figures/tables/real.md").read_text().splitlines()[2]
    estimate, low, high, sessions = re.search(
        r"by ([\d.]+) \[([\d.]+), ([\d.]+)\] of test\s+R² over (\d+) days", README
    ).groups()
    assert f"Wiener filter of the day | +{estimate} [+{low}, +{high}] | {sessions} |" in first
    said = README.split("## Real recordings")[1].split("\n## ")[0].split("*\n\n", 1)[1]
    page = json.loads((ROOT / "notebooks/rendered/13_real.ipynb").read_text())
    outputs = json.dumps([cell["outputs"] for cell in page["cells"] if "outputs" in cell])
    known = {f"{float(n):.{d}f}" for n in re.findall(r"-?\d+\.\d+", outputs) for d in (2, 3)}
    known |= {estimate, low, high}
    r2 = set(re.findall(r"(?<![/\d.])0\.\d+", said))
    assert len(r2) > 10 and r2 <= known, r2 - known
    rows = pd.read_csv(ROOT / "figures/data/real.csv")
    known_days = rows[rows.session.isin(rows[rows.method == "pretrained"].session)]
    r2 = known_days.pivot_table(index="session", columns="method", values="r2")
    assert f"ahead on {(r2.mlp > r2.pretrained).sum()} of the {len(r2)}" in said
    five = rows[(rows.trials == "5") & rows.session.str.startswith("spike")]
    best = five.pivot_table(index="session", columns="method", values="r2").idxmax(axis=1)
    assert [*best] == ["same_units_identification"] * 3  # "on each of the three days"
    speed = (ROOT / "figures/tables/speed.md").read_text()
    steps = re.findall(r"\| training step, .*?\*\*([\d.]+)\*\*", speed)
    assert all(2.7 < float(ratio) < 3.3 for ratio in steps)  # "a third of the time"


def test_minutes_counts_and_units_of_the_readme_are_those_that_were_recorded():
    lines = (ROOT / "figures/data/seconds.csv").read_text().split()[1:]
    took = {page: int(seconds) for page, seconds in (line.split(",") for line in lines)}
    asked = {*read_yaml(ROOT / "dvc.yaml")["stages"]["asked"]["foreach"].values(), "10_speed"}
    evidence = read_yaml(ROOT / "params.yaml")["evidence"]
    asked |= {f"14_replicate-{species}" for species in evidence["more"]}
    whole = sum(seconds for page, seconds in took.items() if page not in asked) / 60
    of_all = sum(took[f"14_replicate-{species}"] for species in evidence["claims"]) / 60
    readme = " ".join(README.split())  # wherever its lines break
    said = re.search(r"On two CPU cores all this took (\d+) minutes, (\d+) of them", readme)
    assert whole < int(said[1]) < whole + 8, "pip, and what lies between the pages, come on top"
    assert round(of_all) == int(said[2])
    claims = pd.read_csv(ROOT / "figures/data/claims.csv")
    decided = (~claims.verdict.str.startswith("not") & (claims.claim != "control")).sum()
    words = "None One Two Three Four Five Six Seven Eight".split()
    assert f"{words[decided]} of the eight" in readme
    assert "No claim that one set supports is contradicted by another" in readme
    earlier = pd.read_csv(ROOT / "figures/data/earlier_claims.csv")
    verdicts = pd.concat([earlier, claims]).groupby("claim").verdict.agg(set)
    assert not [c for c, found in verdicts.items() if {"supported", "contradicted"} <= found]
    always = sum(found == {"supported"} for found in verdicts)
    assert f"{words[always]} claims were supported by every set" in readme
    share = re.search(r"finetuning covers (-?\d+) % \[(-?\d+) %, (-?\d+) %\]", readme).groups()
    results = (ROOT / "notebooks/rendered/11_results.ipynb").read_text()
    assert "finetune: {}% [{}%, {}%] of it".format(*share) in results
    for who, pair in {
        "to an MLP": "few labels: unit identification minus MLP",
        "of that filter": "few labels: unit identification minus Wiener filter",
        "of the same trials": "few labels: POYO from scratch minus Wiener filter",
    }.items():
        (mark,) = re.findall(rf"{who} \((.*?)\)", readme)
        assert re.search(rf"{pair}\s+{re.escape(mark)}", results), pair
    scale = pd.read_csv(ROOT / "figures/data/scale.csv")
    units = scale.loc[scale.what == "units", "value"].unique()
    assert [f"{int(n):,} units" in README for n in units] == [True]
    experiments = (ROOT / "notebooks/experiments.md").read_text()
    (own,) = re.findall(r"with half the steps, has ([\d.]+)", experiments)
    assert f"velocity: POYO test R² {own}," in README


@pytest.mark.parametrize("page", ["12_your_recording", "13_your_lab"])
def test_what_the_readme_shows_of_a_run_is_on_its_page(page):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    (block,) = [text for _, text in blocks if f"page: runs/notebooks/{page}.ipynb" in text]
    cells = json.loads((ROOT / f"notebooks/rendered/{page}.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert not [line for line in block.splitlines()[:-1] if line not in printed]


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_departure_from_the_paper_is_listed():
    """Code marks one as `# Paper: … Here: …`, on whatever floor; the README lists its file."""
    listed = README.split("## Departures from the paper")[1].split("\n## ")[0]
    marked = set()
    for path in (ROOT / "poyo").rglob("*.py"):
        text = path.read_text()
        # a comment of one or several lines
        for mark in re.findall(r"# Paper: .*(?:\n *#.*)*", text):
            assert "Here: " in mark, f"{path.name}: says what the paper does, not what we do"
            marked.add(str(path.relative_to(ROOT)))
    assert marked, "nothing departs from the paper?"
    assert marked == set(re.findall(r"`(poyo/[\w/]+\.py)`", listed))
