"""Faults at random moments: what is started again must end with the bytes of what was left alone.

    python tests/faults.py 20    strikes so many times, each fault in turn, and prints a table

A `stage` is a notebook that trains two decoders in a pool, as 04_pretrain does; a `training` is
one of them in a process of its own. Columns: rounds; signals that met it alive; rounds that went
on from a kept state; processes left behind; rounds that ended with the same files to the byte."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

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
STAGE = """
import sys
from pathlib import Path
from poyo import __main__ as command
command.ROOT = Path.cwd()
sys.exit(command.main(["run", "one"]))
"""
TRAINING = CELL.partition("# %%\nthreads")[0] + "one(0)\n"
FAULTS = [(what, how) for how in ("SIGKILL", "SIGTERM") for what in ("training", "stage")]


def prepared(folder: Path) -> Path:
    """A repository of one notebook and one session."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "notebooks/one.py").write_text(CELL)
    notebook.code("one", folder)
    simulate(animal="sim-c", day=1, **SIZE).save(folder / "monday.h5")
    return folder


def begun(what: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", STAGE if what == "stage" else TRAINING]
    environment = os.environ | {"POYO_SCRATCH": str(folder / "runs/scratch/training")}
    with log(folder).open("a") as said:  # not a pipe, which ends with the last of its processes
        more = {"stdout": subprocess.DEVNULL, "stderr": said}
        return subprocess.Popen(command, cwd=folder, env=environment, **more)


def log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def ended(what: str, folder: Path) -> float:
    """Begin a run, let it end, and tell how many seconds it took."""
    began = time.monotonic()
    assert begun(what, folder).wait() == 0, log(folder).read_text()
    return time.monotonic() - began


def outcome(folder: Path) -> dict[str, bytes]:
    """What a run has made, and whatever else it left in its folder outside of the scratch; but
    not how long it took."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    apart = "runs/scratch/", "runs/seconds/"
    return {n: p.read_bytes() for n, p in names.items() if not n.startswith(apart)}


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
        process.send_signal(getattr(signal, how))
        process.wait()
    ended(what, folder)
    facts["resumed"] = int("resumed at step" in log(folder).read_text())
    facts["left"] = left(folder)
    return facts


def main(times: int) -> int:
    found = {fault: Counter() for fault in FAULTS}
    with tempfile.TemporaryDirectory() as place:
        alone = {what: prepared(Path(place, what)) for what in ("training", "stage")}
        seconds = {what: ended(what, folder) for what, folder in alone.items()}
        for i in range(times):
            what, how = fault = FAULTS[i % len(FAULTS)]
            folder = prepared(Path(place, str(i)))
            facts = struck(what, how, folder, random.Random(i), seconds[what])
            facts["same"] = int(outcome(folder) == outcome(alone[what]))
            found[fault] += facts
            print(i, *fault, dict(facts), file=sys.stderr, flush=True)
    columns = "times", "strikes", "resumed", "left", "same"
    print(f"| fault | {' | '.join(columns)} |\n|{'---|' * 6}")
    for (what, how), n in found.items():
        print(f"| {how} of a {what} | {' | '.join(str(n[name]) for name in columns)} |")
    return sum(n["times"] - n["same"] + n["left"] for n in found.values())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
