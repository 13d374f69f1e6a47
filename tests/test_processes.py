"""Nothing computes on after its parent, and no two processes do the same work at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from poyo import processes, threads
from poyo.data.recording import Recording
from poyo.study import notebook
from poyo.study.notebook import NotebookError

POOL = """
import os, pathlib, sys, time
from poyo import threads

def job(i):
    pathlib.Path(str(os.getpid())).touch()
    time.sleep(60)

threads.use(2)
threads.processes(job, [1, 2])
"""

WATCHED = """
import os, pathlib, sys, time
from poyo import processes
processes.POLL = 0.05
processes.end_with(os.getppid())
with processes.asked_to_end() as asked:
    pathlib.Path("ready").touch()
    while not asked:
        time.sleep(0.05)
pathlib.Path("saved").touch()
"""

RUNS = """
import sys
from pathlib import Path
from poyo import __main__ as command
command.ROOT = Path.cwd()
sys.exit(command.main(["run", "one"]))
"""

CELL = """\
# %%
import os, pathlib, time
pathlib.Path("kernel").write_text(str(os.getpid()))
time.sleep(60)
"""

HOLDS = """
import pathlib, sys, time
from poyo import processes
with processes.locked(pathlib.Path("lock"), print):
    pathlib.Path("ready").touch()
    time.sleep(float(sys.argv[1]))
"""


def until(condition: Callable, seconds: float = 40.0):
    """What the condition gives once it holds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def script(text: str, folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", text, *arguments], cwd=folder)


def alive(pid: int) -> bool:
    """Nobody may be there to bury an orphan, so it can stay as a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_workers_of_a_killed_parent_are_gone_within_seconds(tmp_path):
    parent = script(POOL, tmp_path)
    until(lambda: len([*tmp_path.iterdir()]) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert all(map(alive, workers)) and parent.pid not in workers
    parent.kill()
    parent.wait()
    until(lambda: not any(map(alive, workers)), 5.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU there are no workers")
def test_workers_share_one_copy_of_a_recording(tmp_path):
    """Memory must not grow with their number: joblib writes large arrays once, and they map it."""
    rng = np.random.default_rng(0)
    spikes, times = np.sort(rng.uniform(0, 100, 300_000)), np.arange(0, 100, 0.01)
    units, target = rng.integers(0, 9, len(spikes)), np.sin(times)
    Recording.from_arrays(spikes, units, times, target, session_id="one").save(tmp_path / "one.h5")
    one = Recording.load(tmp_path / "one.h5")
    other = replace(one, splits={})
    threads.use(2)
    found = threads.processes(lambda _: [r.spike_times.filename for r in (one, other)], [1, 2])
    assert len({*found[0], *found[1]}) == 1


def test_an_orphan_may_save_what_it_has(tmp_path):
    between = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WATCHED!r}])"
    parent = script(between, tmp_path)
    until((tmp_path / "ready").exists)
    parent.kill()
    parent.wait()
    until((tmp_path / "saved").exists, 5.0)


def test_a_lock_is_waited_for_and_goes_with_its_process(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 0.0)
    monkeypatch.setattr(processes, "POLL", 0.1)
    holder, said = script(HOLDS, tmp_path, "60"), []

    def busy(process: str) -> None:
        said.append(int(process))
        holder.send_signal(signal.SIGKILL)

    until((tmp_path / "ready").exists)
    with processes.locked(tmp_path / "lock", busy):
        assert said == [holder.pid]
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    holder.wait()
    with processes.locked(tmp_path / "lock", pytest.fail):
        pass


def test_one_that_is_about_to_end_is_waited_for_without_a_word(tmp_path):
    holder = script(HOLDS, tmp_path, "0.5")  # s; a stage may outlive a killed `dvc repro`
    until((tmp_path / "ready").exists)
    with processes.locked(tmp_path / "lock", pytest.fail):
        assert holder.wait() == 0


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        processes.end_tidily()
        with processes.asked_to_end() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert asked == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# --- notebooks --------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path):
    """A notebook in the middle of a cell, run by a child of "dvc": that, and the kernel's id."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/one.py").write_text(CELL)
    notebook.code("one", tmp_path)
    stage = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {RUNS!r}])"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_STAGE", "one")
        parent = script(stage, tmp_path)
    until((tmp_path / "kernel").exists)
    yield parent, until(lambda: int((tmp_path / "kernel").read_text() or 0))
    parent.kill()
    parent.wait()


def test_a_stage_is_gone_within_seconds_after_its_dvc(running):
    parent, kernel = running
    (stage,) = psutil.Process(parent.pid).children()
    assert kernel in [child.pid for child in stage.children()]
    parent.kill()
    parent.wait()
    until(lambda: not alive(stage.pid) and not alive(kernel), 15.0)


def test_a_run_that_is_asked_to_end_takes_its_kernel_along(running):
    parent, kernel = running
    (stage,) = psutil.Process(parent.pid).children()
    os.kill(stage.pid, signal.SIGTERM)
    until(lambda: not alive(stage.pid), 15.0)
    assert not alive(kernel)


def test_a_notebook_is_not_run_twice_at_a_time(running, tmp_path, monkeypatch):
    parent, kernel = running
    (stage,) = psutil.Process(parent.pid).children()
    monkeypatch.setattr(processes, "GRACE", 0.0)
    scratch = (tmp_path / "runs/scratch/one.running.ipynb").stat()
    with pytest.raises(NotebookError, match=f"one is run by process {stage.pid}; wait for it"):
        notebook.run("one", root=tmp_path)
    assert (tmp_path / "runs/scratch/one.running.ipynb").stat() == scratch and alive(kernel)
