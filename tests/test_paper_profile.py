"""The profile `paper` on miniature files of its public sessions: a few of every role, two steps a
training. It shows that the graph runs on them and that its tables have every row and column; its
numbers mean nothing."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from poyo import ROOT
from poyo.config import read_yaml
from poyo.data.recording import CO, MAZE, RT
from poyo.data.simulate import simulate
from poyo.study import paper, results

PERICH, FLINT = "perich_miller_population_2018", "flint_slutzky_accurate_2012"
NLB = "pei_pandarinath_nlb_2021"
SESSIONS = [  # role, brainset, session, animal, what it is simulated as, task, minutes, series
    ("pretrain", PERICH, "c_20131003_center_out_reaching", "c", "perich", CO, 0.5, "cursor"),
    ("pretrain", PERICH, "c_20131009_random_target_reaching", "c", "perich", RT, 0.5, "cursor"),
    ("pretrain", PERICH, "m_20140203_center_out_reaching", "m", "perich", CO, 0.5, "cursor"),
    ("pretrain", "odoherty_sabes_nonhuman_2017", "indy_20160407_02", "indy", "odoherty", RT, 0.5,
     "cursor"),
    ("pretrain", "churchland_shenoy_neural_2012", "jenkins_20090912_maze", "jenkins", "churchland",
     MAZE, 0.5, "cursor"),
    ("pretrain", FLINT, "monkey_c_e1_reaching", "monkey_c", "perich", CO, 0.5, "hand"),
    ("C-CO", PERICH, "c_20161013_center_out_reaching", "c", "perich", CO, 0.5, "cursor"),
    ("T-CO", PERICH, "t_20130819_center_out_reaching", "t", "perich", CO, 0.7, "cursor"),
    ("T-RT", PERICH, "t_20130820_random_target_reaching", "t", "perich", RT, 0.7, "cursor"),
    ("NLB-Maze", NLB, "jenkins_mc_maze", "jenkins", "nlb", MAZE, 0.5, "hand"),
    ("NLB-RTT", NLB, "indy_mc_rtt", "indy", "nlb", RT, 0.5, "finger"),
]  # fmt: skip
SMALL = {  # instead of the profile's
    "steps": 2, "budget": 2, "eval_every": 2, "batch_size": 2, "size": "smoke", "width": 8,
    "candidates": 1, "threads": 1,
}  # fmt: skip
LARGE = "mp_depth12"  # the model of the size of the paper, 11.8M; no session is met with it

# A notebook is a plain script, too: one after the other in one process, torch is imported once.
RUN = """
import sys
from pathlib import Path
import matplotlib.pyplot as plt
from poyo.__main__ import main
for stage in sys.argv[1:]:
    name, _, model = stage.partition("@")
    if not name[0].isdigit():
        assert main([name]) == 0
        continue
    text = Path(f"notebooks/{name}.py").read_text()
    text = text.replace('model = "poyo_mp"', f"model = {model or 'poyo_mp'!r}")
    print("---", stage, flush=True)
    exec(compile(text, name, "exec"), {"__name__": "__main__"})
    plt.close("all")
"""
STUDY = "05_adapt", "06_baselines", "09_ablations", "collect"
READ = "07_scaling", "08_embeddings", "11_results", "10_speed"  # which is asked for alone


def miniature(folder: Path, session: tuple) -> None:
    """Simulated cortex in a file that says to be a session of the paper."""
    _, brainset, name, animal, flavour, task, minutes, series = session
    who = {"animal": animal, "day": 1, "task": task, "flavour": flavour}
    made = simulate(**who, minutes=minutes, units=(8, 12))
    (behavior,) = made.behavior.values()
    about = {"brainset": brainset, "session_id": name, "units": {}}
    path = folder / brainset / f"{name}.h5"
    replace(made, **about, behavior={series: behavior}).save(path)
    if brainset not in (FLINT, NLB):  # of brainsets, whose files have the task in the name alone
        with h5py.File(path, "r+") as file:
            del file["poyo"]


def shortened(tree: object) -> object:
    """The profile with SMALL's values, and one configuration where several are tried."""
    if isinstance(tree, list):
        return [shortened(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    rows = {
        key: SMALL[key] if key in SMALL and not isinstance(value, dict) else shortened(value)
        for key, value in tree.items()
    }
    if isinstance(rows.get("tried"), dict):  # of methods, which try their own recipe besides
        rows["tried"] = dict.fromkeys(rows["tried"], ())
    elif "tried" in rows:
        rows["tried"] = rows["tried"][:1]
    return rows


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of the repository with few sessions in its list, after its notebooks have run."""
    folder = tmp_path_factory.mktemp("paper") / "repository"
    for name in ("poyo", "notebooks", "profiles"):
        ignored = shutil.ignore_patterns("__pycache__", "rendered")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "figures/data").mkdir(parents=True)
    # read by pages; made by others when asked, or before
    for asked in ("cortex", "ceiling", "earlier_claims"):
        shutil.copy(ROOT / f"figures/data/{asked}.csv", folder / "figures/data")
    roles: dict = {}
    for session in SESSIONS:
        role, brainset, name, *_ = session
        roles.setdefault(role, {}).setdefault(brainset, []).append(name)
        miniature(folder / "runs/brainsets", session)
    params = shortened(read_yaml(folder / "profiles/paper.yaml"))
    quick = read_yaml(folder / "profiles/smoke.yaml")["speed"]  # else it measures for minutes
    params["speed"] = quick | {"goal": -1e9}  # of R², which any decoder reaches
    params["models"][LARGE]["size"] = read_yaml(ROOT / "profiles/paper.yaml")["size"]
    (folder / "poyo/data/sessions.yaml").write_text(json.dumps(roles))  # JSON is YAML, too
    (folder / "params.yaml").write_text(json.dumps(params))
    stages = ["params", "01_data", *(f"04_pretrain@{name}" for name in params["runs"])]
    environment = os.environ | {"PYTHONPATH": str(folder), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, *stages, *STUDY, *READ],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return folder


def table(clone: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(clone / f"figures/data/{name}.csv")


def test_every_session_is_in_table_1(clone):
    index = pd.read_csv(clone / "runs/data/sessions.csv")
    about = ["role", "brainset", "session_id", "subject", "task"]
    tasks = {"indy_20160407_02": ""}  # not in the name of a file of brainsets
    expected = [[s[0], s[1], s[2], s[3], tasks.get(s[2], s[5])] for s in SESSIONS]
    assert index[about].fillna("").to_numpy().tolist() == expected
    text = (clone / "figures/tables/table1.md").read_text()
    for source in {session[1] for session in SESSIONS} - {NLB}:
        assert f"| poyo_1 | {source} |" in text
    for column in ("NLB-Maze", "NLB-RTT"):
        assert f"| poyo_1 | {NLB} as {column} |" in text


def test_the_models_see_the_sessions_of_their_scope(clone):
    every = {path.stem: pd.read_csv(path) for path in (clone / "figures/data/pretrain").iterdir()}
    assert {name: len(rows) for name, rows in every.items()} == {
        "poyo_mp": 3, "poyo_1": 6, "co": 2, "rt": 1, "mp_depth4": 3, "mp_depth12": 3, "third": 3,
        "single": 3,
    }  # fmt: skip
    pretrain = [session[2] for session in SESSIONS if session[0] == "pretrain"]
    assert set(every["poyo_1"].session_id) == set(pretrain)
    assert set(every["poyo_mp"].session_id) == set(pretrain[:3])
    assert all(np.isfinite(rows.r2).all() for rows in every.values())
    # of the paper's size, without the rows of units and sessions
    assert set(every[LARGE].parameters) == {11_717_378}


def test_table_2_has_every_column_and_method(clone):
    found = table(clone, "table2")
    assert found.r2.notna().all()
    cells = set(zip(found.column, found.method))
    of_benchmark = {"lfads", "ndt", "ndt_supervised", "eit"}  # as in the paper
    assert cells == {
        (column, method)
        for column in paper.COLUMNS
        for method in paper.METHODS
        if column.startswith("NLB") or method not in of_benchmark
    }
    text = (clone / "figures/tables/table2.md").read_text()
    assert all(f"{column} (1)" in text for column in paper.COLUMNS)
    assert "nan" not in text


def test_claims_and_ablations_are_judged(clone):
    claims, ablations = table(clone, "claims"), table(clone, "ablations")
    assert set(claims.claim) == set(results.PRIMARY) - {results.CONTROL}
    assert claims.estimate.notna().all()
    assert ablations.session_id.nunique() == 3 and ablations.r2.notna().all()
    sessions = table(clone, "embedding_sessions")
    assert set(sessions.session_id) == {s[2] for s in SESSIONS if s[0] == "pretrain"}


def test_what_other_models_transfer_to_is_scored(clone):
    asked = read_yaml(clone / "params.yaml")["adapt"]["transfer"]
    scores = table(clone, "scores")
    for model, columns in asked.items():
        part = scores[scores.method == f"{model}_unit_identification"]
        assert set(part.column) == set(columns) and part.r2.notna().all()


def test_the_speed_page_measures_every_leg(clone):
    found = table(clone, "speed")
    legs = [*found.leg.str.replace(r" of \d+ sessions", "", regex=True)]
    assert legs == [
        "files to batches", "update, median", "update, 99th percentile", "decoding",
        "training step", "steps to accuracy", "adapting", "corpus",
    ]  # fmt: skip
    assert (found[["ours", "reference", "ratio"]] > 0).all(axis=None)
    assert (clone / "figures/speed.png").exists()
