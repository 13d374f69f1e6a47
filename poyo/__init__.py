"""POYO: population decoding from spikes with a PerceiverIO over time.

A companion to Azabou et al., "A Unified, Scalable Framework for Neural Population Decoding"
(NeurIPS 2023). Read the modules in the order of the paper: `data.recording` and `data.sources`,
`tokens` (every spike is a token), `model` (PerceiverIO with rotary time), `train`, `adapt`,
`evaluate`. Letters used in every docstring and shape comment:

    B batch   N input tokens   L latents   Q output queries   D width   H heads   K head width
    U units   T times          S spikes

Times are seconds (float), rates hertz, velocities in the recording's own unit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the repository: params.yaml, runs/

__version__ = "0.1.0"
__all__ = ["ROOT", "__version__", "replacing"]


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Write a file whole or not at all: yields a scratch path, renamed onto `path` on success; a
    kill or a full disk in the middle leaves the previous file as it was. Raises OSError, which
    names the file, where it cannot be written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        with open(scratch, "rb+") as file:
            os.fsync(file.fileno())  # a power cut must not leave the new name without its bytes
        os.replace(scratch, path)
    except (OSError, RuntimeError) as error:  # the latter is torch's where a disk is full
        hint = "" if isinstance(error, OSError) else "; is the disk full?"
        what = f"{path} could not be written, what was there before still is"
        raise OSError(f"{what}: {error}{hint}") from error
    finally:
        scratch.unlink(missing_ok=True)
