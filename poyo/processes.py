"""Processes that end in order: with the one that started them, when they are asked to, and never
two at the same work. A kill, a closed terminal or a scheduler's limit comes without notice; what
is left of it must neither go on computing nor be in the way of the next run."""

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None

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


def end_on_hangup() -> None:
    """Take a closed terminal (SIGHUP) for SIGTERM, unless it is ignored (nohup): libraries tidy up
    on that one only."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


@contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """Signals that ask this process to end go into the list yielded, so that what is at work comes
    to a point where it can be left. Outside the main thread, which gets them, it stays empty."""
    asked: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = {one: signal.getsignal(one) for one in ENDS if main}
    before = {one: way for one, way in before.items() if way != signal.SIG_IGN}  # nohup
    for one in before:
        signal.signal(one, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        for one, way in before.items():
            signal.signal(one, way or signal.SIG_DFL)


@contextmanager
def locked(path: Path, busy: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path`, as long as this process lives at most. While another one holds
    it, wait for that, after calling `busy` with its process id as text, which may raise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            busy(file.read())
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
