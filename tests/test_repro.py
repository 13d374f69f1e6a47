"""The graph as a user runs it: `dvc repro` under the smoke profile, in a copy of this tree."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import faults
import pandas as pd
import pytest
from test_processes import until

from poyo import ROOT, replacing
from poyo.config import read_yaml
from poyo.study import paper


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of the repository with the smoke profile, its graph run once."""
    folder = faults.copied(tmp_path_factory.mktemp("clone") / "repository")
    repro(folder)
    return folder


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder, env=faults.environment(folder), capture_output=True, text=True, timeout=1800,
    )  # fmt: skip


def repro(folder: Path, *arguments: str) -> set[str]:
    """The stages that `dvc repro` ran, neither skipped nor taken from its cache."""
    done = dvc(folder, "repro", *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return ran(done)


def ran(done: subprocess.CompletedProcess) -> set[str]:
    return set(re.findall("^Running stage '(.+)':", done.stdout, re.M))


@contextmanager
def graph(folder: Path) -> Iterator:
    """What DVC knows of a folder, without a process for each question."""
    from dvc.repo import Repo  # takes a second, also where other files are tested

    with chdir(folder), Repo() as known:
        yield known


def stale(folder: Path) -> set[str]:
    """Stages that `dvc repro` would look at again."""
    with graph(folder) as known:
        return set(known.status())


def commit(folder: Path, stage: str) -> None:
    """Take what lies there for what the stage would read and write."""
    with graph(folder) as known:
        known.commit(stage, force=True)


def test_a_second_repro_does_nothing(clone):
    assert stale(clone) == set()
    assert repro(clone) == set()


def test_the_committed_lock_holds_no_stage_that_the_graph_lacks():
    """DVC never forgets one, and reads and writes the whole file for each stage."""
    with graph(ROOT) as known:
        assert {*read_yaml(ROOT / "dvc.lock")["stages"]} <= {s.name for s in known.index.stages}


def test_the_graph_leaves_tables_figures_and_pages(clone):
    table = pd.read_csv(clone / "figures/data/table2.csv")
    assert list(table) == ["column", "method", "r2", "r2_std", "sessions", "seeds", "paper_r2"]
    assert set(table["column"]) == set(paper.COLUMNS) and table["r2"].notna().all()
    assert set(table["method"]) == set(paper.METHODS), "every method has run"
    claims = pd.read_csv(clone / "figures/data/claims.csv")
    columns = "claim estimate low high n p p_holm verdict detectable".split()
    assert list(claims) == columns and (claims.n == 2).all()
    assert all(
        isinstance(v, float)
        for v in json.loads((clone / "figures/metrics.json").read_text()).values()
    )
    asked = {"10_speed", *read_yaml(clone / "dvc.yaml")["stages"]["asked"]["foreach"].values()}
    pages = {page.stem for page in (ROOT / "notebooks").glob("[0-9]*.py")}
    for page in pages - asked:
        text = (clone / f"notebooks/rendered/{page}.ipynb").read_text()
        assert "profile **smoke**" in text and "error" not in json.loads(text)["metadata"]


@pytest.mark.parametrize("folder", ["as committed", "smoke"])
def test_pages_and_figures_are_small(clone, folder):
    root = ROOT if folder == "as committed" else clone
    for path in (root / "figures").rglob("*.png"):
        assert path.stat().st_size <= 200_000, path
    for path in (root / "notebooks/rendered").glob("*.ipynb"):
        assert path.stat().st_size <= 300_000, path


def test_forcing_stages_changes_no_byte_whatever_was_left_over(clone):
    """Simulating, adapting and drawing again, beside files of a model that is no longer in `runs`
    and of a person's own experiments: dvc.lock holds a hash of every output."""
    before = (clone / "dvc.lock").read_text()
    for name in ("pretrain/old/decoder-0.pt", "pretrain/poyo_1.bak", "your_recording/monday.pt"):
        file = clone / "runs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("weights")
    assert stale(clone) == set()
    stages = ["data", "adapt", "collect", "embeddings", "results"]
    assert repro(clone, "-f", "-s", *stages) == set(stages)
    assert (clone / "dvc.lock").read_text() == before


def test_two_repros_at_once_and_a_killed_one_do_no_harm(clone, tmp_path):
    """The second is refused; after a kill -9 the next goes on, and ends as if undisturbed: a
    model that was trained again has the same bytes."""
    folder = faults.without("pretrain@co", clone, tmp_path / "struck")
    first = faults.begun("repro", folder)
    until((folder / "runs/scratch/04_pretrain-co.running.ipynb").exists)
    second = dvc(folder, "repro", "pretrain@co")
    assert second.returncode != 0 and not ran(second)
    assert f"is busy, it is being blocked by:\n  (PID {first.pid})" in second.stderr
    faults.strike(first, "SIGKILL")
    faults.ended("repro", folder)
    assert faults.outcome(folder) == faults.outcome(clone) and not faults.left(folder)


def test_a_prose_edit_trains_nothing(clone):
    page = clone / "notebooks/04_pretrain.py"
    text = page.read_text()
    assert "one model for every session" in text
    page.write_text(text.replace("one model for every session", "one model for all", 1))
    assert repro(clone) == {"code", "render@04_pretrain"}
    assert "one model for all" in (clone / "notebooks/rendered/04_pretrain.ipynb").read_text()


def test_an_edit_of_docstrings_and_comments_anywhere_trains_nothing(clone):
    for path in (clone / "poyo").rglob("*.py"):
        text = re.sub(r'^( *""")(?=\w)', r"\1Other words. ", path.read_text(), flags=re.M)
        text = re.sub(
            r"^( *)(?=(def|return|class) )", r"\1# another comment\n\n\1", text, flags=re.M
        )
        path.write_text(f"# another comment\n\n{text}\n# the end")
    for path in (clone / "poyo").rglob("*.mplstyle"):
        path.write_text("# another comment\n\n" + path.read_text())
    before = {path: path.read_bytes() for path in (clone / "runs/notebooks").iterdir()}
    assert repro(clone) == {"params", "collect", "code"}
    assert before == {path: path.read_bytes() for path in (clone / "runs/notebooks").iterdir()}


def test_an_import_makes_its_own_dependency(clone):
    results, extra = clone / "poyo/study/results.py", clone / "poyo/extra.py"
    before = results.read_text()
    results.write_text(f"{before}\nfrom .. import extra\n")
    extra.write_text("value = 1\n")
    assert repro(clone, "-s", "code") == {"code"}
    assert {"scaling"} == stale(clone) & {"scaling", "baselines"}
    assert "value = 1\n" in (clone / "runs/code/07_scaling/modules.py").read_text()
    extra.unlink()
    results.write_text(before)
    repro(clone, "-s", "code")  # or what it gave before
    assert stale(clone) == set()


@pytest.mark.parametrize(
    "old, new, stages",
    [
        ("\n  trials: [2, 5]", "\n  trials: [2, 4]", {"adapt"}),
        ("\nthreads: 1 ", "\nthreads: 2 ", set()),
        (
            "  co: {scope: co, share: 1.0", "  co: {scope: co, share: 0.9",
            {"pretrain@co", "collect"},
        ),
    ],
)  # fmt: skip
def test_a_parameter_re_runs_what_depends_on_it_and_nothing_else(clone, old, new, stages):
    params = clone / "params.yaml"
    before = params.read_text()
    assert old in before
    params.write_text(before.replace(old, new, 1))
    assert stale(clone) == {"params", *stages}
    params.write_text(before)


def test_a_public_file_that_was_replaced_is_noticed(clone):
    root = clone / read_yaml(clone / "params.yaml")["data"]["root"]
    assert [*root.iterdir()] == [], "the graph makes it, so that it can depend on it"
    for text in ("one", "two"):  # of the same size
        with replacing(root / "session.h5") as scratch:
            scratch.write_text(text)
        assert stale(clone) == {"data"}
        commit(clone, "data")
        assert stale(clone) == set()
    (root / "session.h5").unlink()
    commit(clone, "data")


def test_an_unknown_key_stops_before_anything_runs(clone):
    params = clone / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("  batch_size: 8", "  batchsize: 8", 1))
    done = dvc(clone, "repro")
    params.write_text(before)
    assert done.returncode != 0
    assert "batchsize" in done.stderr and "did you mean batch_size?" in done.stderr
    assert ran(done) == {"params"}
