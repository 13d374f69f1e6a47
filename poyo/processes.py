"""Processes that end in order: with the one that started them, when they are asked to, and never
two at the same work. A kill, a closed terminal or a scheduler's limit comes without notice; what
is left of it must neither go on computing nor be in the way of the next run."""

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None  # type: ignore[assignment] # and every use asks for it

POLL = 0.5  # s between looks at the parent
GRACE = 10.0  # s to save what there is, once the parent has ended
ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@functools.cache  # one watch, however many tasks a worker is given
def end_with(parent: int) -> None:
    """End this process as soon as `parent`, the id of the one that started it, has ended: it is
    asked to (see `asked_to_end`), then made to. A kill -9 leaves a parent no time to say so."""

    def watch():
        while os.getppid() == parent:
            time.sleep(POLL)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_tidily() -> None:
    """Have the signals that ask this process to end raise SystemExit, so that all it has begun is
    left as after an error. One that is ignored, as with nohup, stays so."""

    for one in ENDS:
        if signal.getsignal(one) is signal.SIG_DFL:
            signal.signal(one, lambda number, _: leave([number]))


@contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """Signals that ask this process to end, Ctrl-C among them, go into the list yielded, so that
    what is at work comes to a point where it can be left; `leave` it there. They are passed on to
    the workers of a pool. A second Ctrl-C ends at once. Outside the main thread, which is what
    gets signals, the list stays empty."""
    asked: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, *ENDS) if main}
    before = {one: way for one, way in before.items() if way != signal.SIG_IGN}  # nohup

    def note(number: int, frame) -> None:
        if number in asked and callable(way := before[number]):
            way(number, frame)
        asked.append(number)
        for worker in multiprocessing.active_children():
            worker.terminate()

    for one in before:
        signal.signal(one, note)
    try:
        yield asked
    finally:
        for one, way in before.items():
            signal.signal(one, way or signal.SIG_DFL)


def leave(asked: list[int]) -> NoReturn:
    """End as the first of these signals would have it."""
    raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])


@contextmanager
def locked(path: Path, busy: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path`, as long as this process lives at most. While another one holds
    it, wait; if it does not end soon, call `busy` with its process id, which may raise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        patience = time.monotonic() + POLL + GRACE  # one whose parent ended may take so long
        while fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(POLL / 5)
                if time.monotonic() > patience:
                    file.seek(0)
                    busy(file.read())
                    patience = float("inf")
            except OSError:
                break  # a file system without locks
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
