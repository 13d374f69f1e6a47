"""CPU threads that take whole windows, so that no result depends on how many there are, and
processes that take whole trainings.
torch's own threads split every operation: at POYO's sizes they mostly wait for each other, and
another number of them gives other last digits. Here a batch is cut into chunks of windows, each
thread computes some of them alone, and what they give is put together in the chunks' order."""

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import joblib
import torch
import torch.distributed as dist

from .processes import asked_to_end, end_with, leave

CHUNK = 8, 16  # windows, fewest and most: enough to hide Python, few enough to stay in the cache
GPU_CHUNK = 128  # windows: what the official recipe gives each GPU

_pool: ThreadPoolExecutor | None = None
_count = 0  # its threads


def use(n: int) -> None:
    """Compute on n CPU threads from now on; the default is torch's number of them."""
    global _pool, _count
    if n < 1:
        raise ValueError(f"threads: {n}; at least 1 is needed")
    torch.set_num_threads(1)
    sys.setswitchinterval(1e-4)  # s; a thread back from torch waits less for another's Python
    _count = n
    _pool = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))


def count() -> int:
    """How many threads there are."""
    if _pool is None:
        use(torch.get_num_threads())
    return _count


def run(function: Callable, items: Iterable) -> list:
    """[function(item) for item in items], on the threads; the first error is raised."""
    count()
    return list(_pool.map(function, items))  # type: ignore[union-attr] # count() made it


def processes(function: Callable, items: Iterable) -> list:
    """As `run`, with a process for each thread there would be: for whole trainings, which as
    threads wait for each other's Python. Of fewer items each has several threads. One after the
    other on a GPU, and where this process is one of several that train together. A worker ends
    with this process, however that ends."""
    items, parent = list(items), os.getpid()
    apart = not torch.cuda.is_available() and not dist.is_torchelastic_launched()
    workers = min(count(), len(items)) if apart else 1
    if workers <= 1:
        return [function(item) for item in items]
    share = count() // workers

    def alone(item):
        if os.getpid() != parent:
            end_with(parent)
        use(share)
        return function(item)

    pool = joblib.Parallel(workers, batch_size=1)
    with asked_to_end() as asked:
        try:
            return pool(joblib.delayed(alone)(item) for item in items)
        except BaseException:  # of a worker, if they were asked to end
            if asked:
                leave(asked)
            raise


def chunks(n: int, device: torch.device) -> list[slice]:
    """Cut n windows into chunks for `run`, on a CPU two at least where n allows."""
    size = min(max(n // 2, CHUNK[0]), CHUNK[1]) if device.type == "cpu" else GPU_CHUNK
    return [slice(i, i + size) for i in range(0, n, size)]
