"""Faults at random moments: what is started again must end with the bytes of what was left alone.

    python tests/faults.py 20    strikes so many times, each fault in turn, and prints a table

A `training` is one of one decoder; a `notebook` trains two in a pool, as 04_pretrain does; a
`repro` is `dvc repro` in a copy of this repository under the smoke profile, struck while it
simulates, pretrains, adapts, collects or renders. Ctrl-C reaches all of a terminal's processes,
the other signals only the first. Columns: rounds; signals that met it alive; rounds that went on
from a kept state; how often DVC's own lock file was torn and had to be deleted, which a message of
DVC says; processes left behind; rounds that ended with the same files to the byte."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from poyo import ROOT
from poyo.config import read_yaml
from poyo.data.simulate import simulate
from poyo.study import notebook

SIZE = {"task": "center_out_reaching", "flavour": "perich", "minutes": 1, "units": (10, 14)}
CELL = """\
# %%
import os
from poyo import train, threads
from poyo.config import Recipe, Windows
from poyo.data.recording import Recording
from poyo.decoder import Decoder


def one(seed):
    train.SAVE_EVERY = -1.0  # at every step
    monday = Recording.load("monday.h5")
    decoder = Decoder.new([monday], size="smoke", windows=Windows(), seed=seed)
    recipe = Recipe(steps=60, batch_size=4, unit_dropout=(4, 6, 8), eval_every=20)
    print(train.fit(decoder, [monday], recipe, seed=seed, label=f"decoder {seed}"))
    decoder.save(f"ended-{seed}.pt")


# %%
threads.use(2)
threads.processes(one, [0, 1])
"""
NOTEBOOK = """
import sys
from pathlib import Path
from poyo import __main__ as command
command.ROOT = Path.cwd()
sys.exit(command.main(["run", "one"]))
"""
TRAINING = CELL.partition("# %%\nthreads")[0] + "one(0)\n"
COMMANDS = {what: ["-c", text] for what, text in (("training", TRAINING), ("notebook", NOTEBOOK))}
COMMANDS["repro"] = ["-m", "dvc", "repro", "collect", "render@01_data"]
TORN = "Unable to read RWLock-file"  # DVC writes it in place (its issue 7615)
STAGES = "data", "pretrain@co", "adapt", "collect", "render@01_data"
FAULTS = [(what, how) for how in ("SIGKILL", "SIGTERM", "SIGINT") for what in COMMANDS]


def prepared(folder: Path) -> Path:
    """A repository of one notebook and one session."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks/one.py").write_text(CELL)
    notebook.code("one", folder)
    simulate(animal="sim-c", day=1, **SIZE).save(folder / "monday.h5")
    return folder


def copied(folder: Path) -> Path:
    """This tree with the smoke profile; nothing of its graph has run."""
    ignored = shutil.ignore_patterns("runs", ".git", ".venv", "*.egg-info", "__pycache__", "tmp")
    shutil.copytree(ROOT, folder, ignore=ignored)
    shutil.rmtree(folder / ".dvc/cache", ignore_errors=True)
    lock = read_yaml(folder / "dvc.lock")
    asked = "real", "speed", "asked@"  # for by name: they run as little as for a user
    lock["stages"] = {s: entry for s, entry in lock["stages"].items() if s.startswith(asked)}
    (folder / "dvc.lock").write_text(json.dumps(lock))
    shutil.copy(folder / "profiles/smoke.yaml", folder / "params.yaml")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def without(stage: str, finished: Path, folder: Path) -> Path:
    """A copy of a repository whose graph has run in which one stage has not, and DVC remembers
    nothing of it."""
    shutil.copytree(finished, folder)
    lock = read_yaml(folder / "dvc.lock")
    for out in lock["stages"].pop(stage)["outs"]:
        path = folder / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "dvc.lock").write_text(json.dumps(lock))
    shutil.rmtree(folder / ".dvc/cache/runs")
    forget = [sys.executable, "-m", "dvc", "gc", "-q", "-w", "-f"]
    subprocess.run(forget, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """In which a repository's own package is imported, by this Python."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1", "PATH": paths}


def begun(what: str, folder: Path) -> subprocess.Popen:
    own = {"POYO_SCRATCH": str(folder / "runs/scratch/training")}
    own |= environment(folder) if what == "repro" else {}
    with log(folder).open("a") as said:  # not a pipe, which ends with the last of its processes
        more = {"stdout": subprocess.DEVNULL, "stderr": said, "start_new_session": True}
        command = [sys.executable, *COMMANDS[what]]
        return subprocess.Popen(command, cwd=folder, env=os.environ | own, **more)


def strike(process: subprocess.Popen, how: str) -> None:
    """Send a signal as it comes: Ctrl-C to all processes of a terminal."""
    send = os.killpg if how == "SIGINT" else os.kill
    send(process.pid, getattr(signal, how))
    process.wait()


def log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def ended(what: str, folder: Path) -> float:
    """Begin a run, let it end, and tell how many seconds it took."""
    began = time.monotonic()
    while begun(what, folder).wait():
        said = log(folder).read_text()
        assert TORN in said[-500:], said
        (folder / ".dvc/tmp/rwlock").unlink()
    return time.monotonic() - began


def outcome(folder: Path) -> dict[str, bytes]:
    """What a run has made, and whatever else it left in its folder outside of the scratch; but
    not how long it took, nor the order in which DVC records stages."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    apart = "runs/scratch/", "runs/seconds/", ".git/", ".dvc/"
    kept = {n: p for n, p in names.items() if not n.startswith(apart) and p.suffix != ".pyc"}
    found = {name: path.read_bytes() for name, path in kept.items()}
    if "dvc.lock" in found:
        found["dvc.lock"] = json.dumps(read_yaml(kept["dvc.lock"]), sort_keys=True).encode()
    return found


def left(folder: Path) -> int:
    """Processes that still work in a folder some seconds after the last run there."""
    deadline = time.monotonic() + 20
    while found := [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(folder)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return len(found)


def struck(what: str, how: str, folder: Path, dice: random.Random, seconds: float) -> Counter:
    """Strike a run once or twice at random moments of its `seconds`, begin again at once each
    time, and let the last one end."""
    facts: Counter = Counter(times=1)
    for _ in range(dice.randint(1, 2)):
        process = begun(what, folder)
        time.sleep(dice.uniform(0.1, 1.0) * seconds)
        facts["strikes"] += process.poll() is None
        if process.poll() is None:
            strike(process, how)
    ended(what, folder)
    said = log(folder).read_text()
    facts["resumed"] = int("resumed at step" in said)
    facts["torn"] = said.count(TORN)
    facts["left"] = left(folder)
    return facts


def main(times: int) -> int:
    found = {fault: Counter() for fault in FAULTS}
    with tempfile.TemporaryDirectory() as place:
        finished = copied(Path(place, "finished"))
        print(f"the graph once, {ended('repro', finished):.0f} s", file=sys.stderr, flush=True)

        def fresh(what: str, name: str) -> Path:
            folder = Path(place, name)
            return prepared(folder) if what in COMMANDS else without(what, finished, folder)

        alone, seconds = {}, {}
        for what in ("training", "notebook", *STAGES):
            alone[what] = fresh(what, what)
            seconds[what] = ended(what if what in COMMANDS else "repro", alone[what])
        for i in range(times):
            what, how = fault = FAULTS[i % len(FAULTS)]
            at = STAGES[i // len(COMMANDS) % len(STAGES)] if what == "repro" else what
            folder = fresh(at, str(i))
            facts = struck(what, how, folder, random.Random(i), seconds[at])
            facts["same"] = int(outcome(folder) == outcome(alone[at]))
            found[fault] += facts
            print(i, how, at, dict(facts), file=sys.stderr, flush=True)
    columns = "times", "strikes", "resumed", "torn", "left", "same"
    print(f"| fault | {' | '.join(columns)} |\n|{'---|' * 7}")
    for (what, how), n in found.items():
        print(f"| {how} of a {what} | {' | '.join(str(n[name]) for name in columns)} |")
    return sum(n["times"] - n["same"] + n["left"] for n in found.values())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
