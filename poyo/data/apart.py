"""Reading in a process of its own: a damaged file can end it, fill its memory or keep it busy for
good, as HDF5 and `loadmat` believe what a file says. Not for: files that this package made."""

import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .recording import RecordingError

LIMIT = 300.0  # s for one file
_START = "import sys; sys.path[:] = {!r}; from poyo.data import apart; apart.serve()"
_lock = threading.Lock()
_workers: dict[int, Any] = {}  # process id -> its worker: it is not shared after a fork


def run(function: Callable, path: Path, *arguments) -> Any:
    """function(path, *arguments) in the other process; its warnings are given here. Raises
    RecordingError with what the function raised, or where the process died."""
    with _lock:
        worker: Any = _workers.get(os.getpid())
        if worker is None or worker.poll() is not None:
            command, pipe = [sys.executable, "-c", _START.format(sys.path)], subprocess.PIPE
            worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
            _workers[os.getpid()] = worker
        clock = threading.Timer(LIMIT, worker.kill)
        clock.start()
        try:
            pickle.dump((os.getcwd(), function, path, *arguments), worker.stdin)
            worker.stdin.flush()
            found, error, said = pickle.load(worker.stdout)
        except BaseException as failed:  # of Ctrl-C, too: its answer would be taken for the next
            worker.kill()
            worker.wait()
            if not isinstance(failed, (EOFError, OSError, pickle.UnpicklingError)):
                raise
            died = f"what reads it died, was out of memory or took more than {LIMIT:g} s"
            raise RecordingError(f"{path} cannot be read: {died}; is it damaged?") from failed
        finally:
            clock.cancel()
    for line in said:
        warnings.warn(line, stacklevel=3)
    if error is not None:
        raise RecordingError(error)
    return found


def serve() -> None:
    """The other process: it answers until nobody can ask any more."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    if os.name == "posix":  # half the memory at most, in which files that are mapped do not count
        import resource

        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]  # -1 is none
        resource.setrlimit(resource.RLIMIT_DATA, (min(memory // 2, hard % 2**63), hard))
    while asked.peek(1):
        here, function, *arguments = pickle.load(asked)
        found = error = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                os.chdir(here)
                found = function(*arguments)
            except Exception as raised:
                error = str(raised) or f"{arguments[0]} cannot be read: {raised!r}"
        said = [str(one.message) for one in caught if one.category is UserWarning]
        pickle.dump((found, error, said), answers, protocol=5)
        answers.flush()
