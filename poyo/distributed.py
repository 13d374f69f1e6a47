"""One training in several processes, on one node or many: those that torchrun or `launch` starts.
Each computes whole parts of every batch (`threads.chunks`), seeded as a single process seeds them,
and all add the parts' gradients up in the same order. So on CPUs no byte of a result depends on
how many processes there were."""

import atexit
import functools
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import joblib
import torch
import torch.distributed as dist
from torch import Tensor

from . import threads

RESTARTS = 3  # of all processes, after one of them died
# Unless this is set, torch meets restarted processes in the store of the dead ones, where their
# addresses still stand (pytorch issue 135712): some then hang.
FRESH_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def join() -> None:
    """Meet the other processes, where torchrun or `launch` started this one: by NCCL on GPUs, of
    which each takes its own, by gloo on CPUs. Raises ValueError where a GPU is missing, and after
    a restart that would hang."""
    if dist.is_initialized() or not dist.is_torchelastic_launched():
        return
    again = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
    if again and os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "True":
        cure = " ".join(f"{key}={value}" for key, value in FRESH_STORE.items())
        raise ValueError(f"processes cannot be restarted; set {cure} before torchrun")
    gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    _enough(gpus, local + 1)
    if gpus:
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if gpus else "gloo")
    atexit.register(dist.destroy_process_group)


def _enough(gpus: int, processes: int) -> None:
    if gpus and processes > gpus:
        cure = f"start at most {gpus} on a node (processes, --nproc-per-node)"
        raise ValueError(f"process {gpus + 1} of this node has no GPU, it has {gpus}; {cure}")


def rank() -> int:
    """The number of this process, from 0; the first one alone reads, writes and reports."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(items: list) -> list:
    """The items that this process takes: as many as the others do, or one fewer or more."""
    begin, end = (len(items) * r // size() for r in (rank(), rank() + 1))
    return items[begin:end]


def gather(value) -> list:
    """The value that each process has, in the order of their shares; all must call it."""
    values = [value] * size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def of_first(value):
    """The value that the first process has; all must call it."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]


def add_up(parts: Tensor, rows: list[int]) -> Tensor:
    """The sum (N,) of the rows of all processes' `parts` (k, N), where `rows` has the k of each.
    It is taken row by row, in order, and may overwrite `parts`; all must call it."""
    # Neither DistributedDataParallel nor an all_reduce: their order of adding depends on the
    # number of processes, and the last digits with it. Here each process adds one slice of all
    # rows and hands it to the others, which moves no more bytes where each has one row.
    slices = size()
    if slices == 1:
        return functools.reduce(Tensor.add_, parts)
    length = parts.shape[1]
    parts = torch.nn.functional.pad(parts, (0, -length % slices))
    parts = parts.unflatten(1, (slices, -1)).transpose(0, 1).flatten(0, 1)  # (slices k, N/slices)
    own = parts.new_empty(sum(rows), parts.shape[1])
    dist.all_to_all_single(own, parts, rows, [len(parts) // slices] * slices)
    whole = parts.new_empty(slices * own.shape[1])
    dist.all_gather_single(whole, functools.reduce(Tensor.add_, own))
    return whole[:length]


def launch(function: Callable, items: Iterable, processes: int) -> list:
    """[function(item) for item in items], for whole trainings: each one by so many processes of
    this node or, where that is 1, each by a process of its own, as `threads.processes`. When a
    process dies or raises, all are started again, up to RESTARTS times, and go on from the last
    resume file. Raises RuntimeError after that, ValueError at once where a GPU is missing."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if processes == 1:
        return threads.processes(function, items)
    _enough(torch.cuda.device_count(), processes)
    os.environ.update(FRESH_STORE)
    here: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    # torch never takes its signal handlers back: here it gets a signal that no one sends
    here |= {"run_id": "poyo", "max_restarts": RESTARTS, "signals_to_handle": "SIGUSR2"}
    config = LaunchConfig(1, 1, processes, local_addr="localhost", **here)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work"  # written once, and mapped, not copied, by every process
        joblib.dump((joblib.wrap_non_picklable_objects(function), list(items)), path)
        try:
            results = elastic_launch(config, _work)(path, max(1, threads.count() // processes))
        except ChildFailedError as error:
            which, failure = error.get_first_failure()
            what = f"{processes} processes failed {RESTARTS + 1} times, the last time number"
            raise RuntimeError(f"{what} {which}: {failure.message}") from None
    return pickle.loads(results[0])


def _work(path: Path, count: int) -> bytes | None:
    threads.use(count)
    function, items = joblib.load(path, mmap_mode="r")
    results = [function(item) for item in items]
    return None if rank() else pickle.dumps(results)
