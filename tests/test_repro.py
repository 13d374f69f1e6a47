"""The graph as a user runs it: `dvc repro` under the smoke profile, in a copy of this tree."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from poyo import ROOT, paper, sources


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of the repository with the smoke profile, its graph run once."""
    folder = tmp_path_factory.mktemp("clone") / "repository"
    ignored = shutil.ignore_patterns("runs", ".git", ".venv", "*.egg-info", "__pycache__", "tmp")
    shutil.copytree(ROOT, folder, ignore=ignored)
    shutil.rmtree(folder / ".dvc/cache", ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    shutil.copy(folder / "profiles/smoke.yaml", folder / "params.yaml")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    done = dvc(folder, "repro")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def stale(folder: Path) -> set[str]:
    """Stages that `dvc repro` would look at again."""
    return set(json.loads(dvc(folder, "status", "--json").stdout))


def test_a_second_repro_does_nothing(clone):
    assert stale(clone) == set()
    assert "Running stage" not in dvc(clone, "repro").stdout


def test_the_graph_leaves_tables_figures_and_pages(clone):
    table = pd.read_csv(clone / "figures/data/table2.csv")
    assert list(table) == ["column", "method", "r2", "r2_std", "sessions", "seeds", "paper_r2"]
    assert set(table["column"]) == set(sources.COLUMNS) and table["r2"].notna().all()
    assert set(table["method"]) == set(paper.METHODS), "every method has run"
    claims = pd.read_csv(clone / "figures/data/claims.csv")
    assert list(claims) == ["claim", "estimate", "low", "high", "verdict", "notebook"]
    assert list(claims["claim"]) == list(paper.CLAIMS)
    assert all(
        isinstance(v, float)
        for v in json.loads((clone / "figures/metrics.json").read_text()).values()
    )
    for page in (ROOT / "notebooks").glob("[0-9]*.py"):
        text = (clone / f"notebooks/rendered/{page.stem}.ipynb").read_text()
        assert "profile **smoke**" in text and "error" not in json.loads(text)["metadata"]


@pytest.mark.parametrize("folder", ["as committed", "smoke"])
def test_pages_and_figures_are_small(clone, folder):
    root = ROOT if folder == "as committed" else clone
    for path in (root / "figures").rglob("*.png"):
        assert path.stat().st_size <= 200_000, path
    for path in (root / "notebooks/rendered").glob("*.ipynb"):
        assert path.stat().st_size <= 300_000, path


def test_forcing_stages_changes_no_byte(clone):
    """Simulating, training, adapting and drawing again: dvc.lock holds a hash of every output."""
    before = (clone / "dvc.lock").read_text()
    stages = ["data", "pretrain@poyo_mp", "adapt", "baselines", "ablations", "collect"]
    stages += ["tour", "scaling", "embeddings", "results"]
    done = dvc(clone, "repro", "-f", "-s", *stages)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (clone / "dvc.lock").read_text() == before


def test_a_prose_edit_trains_nothing(clone):
    page = clone / "notebooks/04_pretrain.py"
    page.write_text(
        page.read_text().replace("one model for every session", "one model for all", 1)
    )
    done = dvc(clone, "repro")
    ran = {
        line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")
    }
    assert ran == {"code@04_pretrain", "render@04_pretrain"}
    assert "one model for all" in (clone / "notebooks/rendered/04_pretrain.ipynb").read_text()


def test_a_parameter_re_runs_what_depends_on_it_and_nothing_else(clone):
    params = clone / "params.yaml"
    before = params.read_text()
    tree = yaml.safe_load(before)
    tree["adapt"]["finetune"]["lr"] = 5e-4
    params.write_text(yaml.safe_dump(tree))
    assert stale(clone) == {"params", "adapt"}
    params.write_text(before)
    assert stale(clone) == set()


def test_an_unknown_key_stops_before_anything_runs(clone):
    params = clone / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("  batch_size: 8", "  batchsize: 8", 1))
    done = dvc(clone, "repro")
    params.write_text(before)
    assert done.returncode != 0
    assert "batchsize" in done.stderr and "did you mean batch_size?" in done.stderr
    ran = [line for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'params':"]
