"""dvc.yaml against the code, and the code against its floors: study -> method -> data."""

import ast
import re
from pathlib import Path

import pytest

from poyo import ROOT, closure
from poyo.config import read_yaml

GRAPH = read_yaml(ROOT / "dvc.yaml")
STAGES = GRAPH["stages"]
ASKED = {"speed", "real", "asked"}  # for by name: slow, of one machine, or private recordings
NOTEBOOKS = {
    stage: match[1]
    for stage, entry in STAGES.items()
    if stage not in ASKED and (match := re.search(r"poyo run (\w+)", str(entry.get("cmd"))))
}
"""Stage: the notebook it runs."""


def reached(*starts: str | Path) -> set[str]:
    """Modules that a module or a notebook imports, directly or not."""
    return set(re.findall(r"^# (poyo\S*)$", closure.code_of(*starts), re.M))


PATHS = [path.relative_to(ROOT) for path in sorted((ROOT / "poyo").rglob("*.py"))]
MODULES = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in PATHS]
REACHED = {module: reached(module) & {*MODULES} - {module} for module in MODULES}


def read_params(notebook: str) -> set[str]:
    """What a notebook reads of params.yaml: {"data.corpus", "models", ...}."""
    tree = ast.parse((ROOT / f"notebooks/{notebook}.py").read_text())
    nodes = list(ast.walk(tree))
    inside = [node.value for node in nodes if isinstance(node, ast.Attribute)]
    whole = [n for n in nodes if isinstance(n, ast.Name) and n.id == "params" and n not in inside]
    assert all(isinstance(name.ctx, ast.Store) for name in whole), "params is passed on whole"
    chains = [ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute | ast.Subscript)]
    chains = [re.sub(r"\['(\w+)'\]", r".\1", text).split("[")[0] for text in chains]
    keys = {text.removeprefix("params.") for text in chains if text.startswith("params.")}
    return {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}


def same_branch(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def test_no_module_is_listed_by_hand():
    text = (ROOT / "dvc.yaml").read_text()
    assert len(text.splitlines()) <= 285 and "poyo/" not in text
    whole = {stage for stage, entry in STAGES.items() if "poyo" in entry.get("deps", [])}
    assert whole == {"params", "code", "collect"}, "these take no time"


@pytest.mark.parametrize("stage", NOTEBOOKS)
def test_a_stage_depends_on_its_code_and_on_the_params_and_data_it_reads(stage):
    entry, notebook = STAGES[stage], NOTEBOOKS[stage]
    code = [path for path in entry["deps"] if path.startswith("runs/code")]
    assert code == [f"runs/code/{notebook}"]
    listed = set(entry["params"]) - {"profile"}
    read = read_params(notebook) - {"threads", "processes", "profile"}
    if "models" in {key.split(".")[0] for key in read}:
        read.add("pretrain")  # they inherit from it
    assert not [key for key in read if not any(same_branch(key, one) for one in listed)]
    assert not [one for one in listed if not any(same_branch(key, one) for key in read)]
    source = (ROOT / f"notebooks/{notebook}.py").read_text()
    reads_data = "load_corpus(" in source and "runs/data" not in entry["outs"]
    assert reads_data == ("runs/data" in entry["deps"])


def test_every_notebook_is_run_and_rendered():
    sources = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py")}
    assert STAGES["asked"]["do"]["cmd"] == [
        f"python -m poyo {verb} ${{item}}" for verb in ("code", "run", "render")
    ]
    sources -= {"10_speed", *STAGES["asked"]["foreach"].values()}
    assert sources == set(NOTEBOOKS.values()) == set(STAGES["render"]["foreach"])
    assert sources == set(STAGES["code"]["cmd"].split()[4:])
    assert {f"runs/code/{name}" for name in sources} == set(STAGES["code"]["outs"])
    assert {"poyo", *(f"notebooks/{name}.py" for name in sources)} == set(STAGES["code"]["deps"])
    verbs = {
        stage: [" ".join(cmd.split()[3:7]) for cmd in STAGES[stage]["cmd"]]
        for stage in ASKED - {"asked"}
    }
    assert verbs == {
        "speed": ["code 10_speed", "run 10_speed", "render 10_speed"],
        "real": [
            "code 13_your_lab",
            "run 13_your_lab --as 13_real",
            "render 13_your_lab --from 13_real",
        ],
    }


def test_what_does_not_come_again_alike_runs_when_forced_alone():
    """A stage without deps, its outputs in git, is up to date whatever changes."""
    never = {n for n, s in STAGES.items() if not s.get("do", s).get("deps")}
    assert never == ASKED and not any("params" in STAGES[stage] for stage in ASKED)


def test_stages_that_write_a_page_record_the_profile_of_its_banner():
    assert all("profile" in STAGES[stage]["params"] for stage in NOTEBOOKS)


@pytest.mark.parametrize("stage", ["pretrain", "adapt", "baselines", "replicate"])
def test_dvc_remembers_what_was_trained(stage):
    """An output that is not cached, other than a plot, would keep it out of DVC's run cache."""
    assert all(isinstance(out, str) for out in STAGES[stage]["outs"])


def floor(module: str) -> int:
    folder = module.split(".")[1:2]
    return {"data": 0, "study": 2, "__main__": 2}.get(*folder, 1) if folder else 0


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards_and_in_no_circle(module):
    """study -> method -> data -> poyo; a package counts for what it imports, too."""
    above = {other for other in REACHED[module] if floor(other) > floor(module)}
    assert not above
    assert not {other for other in REACHED[module] if module in REACHED[other]}


@pytest.mark.parametrize(
    "start, never",
    [
        ("poyo.study.baselines", "poyo.attention"),
        ("poyo.study.baselines", "poyo.model"),
        ("poyo.study.results", "poyo.data.recording"),
        ("poyo.study.profile", "poyo.model"),
        ("04_pretrain", "poyo.adapt"),
        ("06_baselines", "poyo.attention"),
        ("11_results", "poyo.data.recording"),
    ],
)
def test_what_has_nothing_to_do_with_each_other_stays_apart(start, never):
    known = reached(ROOT / f"notebooks/{start}.py" if start[0].isdigit() else start)
    assert never in MODULES and never not in known
