"""Files of tensors, and what a training continues from after it was interrupted.
The resume file lies outside every DVC output. Its name is a hash of all that determines the run,
so a changed run never continues from the state of another."""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import CodeType

import torch

from . import ROOT, replacing
from .closure import code_of
from .config import EmbeddingRecipe, Windows
from .data.recording import release
from .distributed import rank
from .model import Network
from .tokens import Session

PIECE = 1 << 20  # rows read at once
KEPT = 7 * 86400.0  # s that a resume file of interactive work is kept after it was last written
PLAIN = bool, int, float, complex, str, bytes, tuple, type(None)


class CheckpointError(ValueError):
    """The file holds no tensors that can be read; the message says why and the cure."""


def write(path: Path | str, content: dict) -> None:
    """torch.save, whole or not at all: a kill or a full disk leaves the previous file.
    Of processes that train together the first one writes."""
    if rank():
        return
    with replacing(path) as scratch, open(scratch, "wb") as file:
        torch.save(content, file)  # given a path, torch would write its name into the file


def read(path: Path | str) -> dict:
    """torch.load of plain data only. Raises CheckpointError on a missing or damaged file."""
    path = Path(path)
    if not path.exists():
        where = "" if path.is_absolute() else f" in {Path.cwd()}, from where it is looked for"
        cure = "`dvc repro` makes those of this repository"
        raise CheckpointError(f"{path} does not exist{where}; {cure}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
            if any(part.compress_type for part in archive.infolist()):
                raise zipfile.BadZipFile("it is compressed, so of unknown size")
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a checksum does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        what = f"{path} is not readable (truncated, or another format?): {reason}"
        raise CheckpointError(f"{what}; delete it and make it again") from error


def scratch_dir() -> Path:
    """Where resume files lie: a stage's are cleared when it has ended, others after a while."""
    if "POYO_SCRATCH" in os.environ:
        return Path(os.environ["POYO_SCRATCH"])
    # where the package is installed alone, ROOT is no place to write to
    base = ROOT if (ROOT / "notebooks").is_dir() else Path.cwd()
    folder = base / "runs/scratch/interactive"
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # another process cleans up, too
            if time.time() - path.stat().st_mtime > KEPT:
                path.unlink()
    return folder


def path_of(
    model: Network, sessions: list[Session], recipe: EmbeddingRecipe, windows: Windows, seed: int
) -> Path:
    """The resume file of a run, named by all that determines it: settings, seed, data, first
    weights, and the code that trains. Of layers of one's own, which may be typed in a notebook,
    that is all methods, and the plain values and functions that they name."""
    names = [type(recipe).__name__, type(model).__name__, torch.__version__]
    facts = json.dumps([*names, asdict(recipe), asdict(windows), seed], sort_keys=True)
    digest = hashlib.sha256(facts.encode())
    digest.update(code_of("poyo.train", type(model).__module__).encode())
    known: set[int] = set()
    for module in model.modules():
        for kind in type(module).__mro__:
            if _own(kind):
                for fact in _facts(vars(kind) | vars(module), known):
                    digest.update(fact.encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    for session in sessions:
        recording = session.recording
        named = f"{session.id} {session.readout} {session.row} {session.delimiters}"
        digest.update(named.encode() + session.unit_rows.tobytes())
        arrays = recording.spike_times, recording.spike_units, session.times, session.target
        for array in arrays:
            digest.update(f"{array.dtype} {array.shape}".encode())
            for i in range(0, len(array), PIECE):  # a corpus need not fit in the memory
                digest.update(array[i : i + PIECE].tobytes())
        release()
        for name, spans in sorted((recording.splits | recording.intervals).items()):
            digest.update(name.encode() + spans.tobytes())
    return scratch_dir() / f"{digest.hexdigest()[:16]}.pt"


def _own(thing) -> bool:
    """Whether a class or function is neither of this package nor of torch or Python."""
    return not f"{thing.__module__}.".startswith(("poyo.", "torch.", "builtins."))


def _facts(named: dict, known: set[int]) -> Iterator[str]:
    """What the methods and plain values in a namespace say, and those of its module that the
    methods name, each once."""
    for name, thing in sorted(named.items()):
        function = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
        code = getattr(function, "__code__", None)
        if isinstance(thing, PLAIN) and name != "training" and not name.startswith("__"):
            yield f"{name} {thing!r}"
        elif isinstance(code, CodeType) and _own(function) and id(code) not in known:
            known.add(id(code))
            text, names = _text(code)
            yield f"{name} {text}"
            there = function.__globals__
            yield from _facts({n: there[n] for n in names if n in there}, known)


def _text(code: CodeType) -> tuple[str, set[str]]:
    """What code does, wherever it stands, and the names that it uses."""
    inner = [_text(one) for one in code.co_consts if isinstance(one, CodeType)]
    # the parts of a set come in another order in another process
    rest = [sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c) for c in code.co_consts
            if not isinstance(c, CodeType)]  # fmt: skip
    names = {*code.co_names}.union(*(names for _, names in inner))
    own = code.co_names, code.co_varnames, code.co_freevars
    return f"{code.co_code.hex()} {own} {rest} {[text for text, _ in inner]}", names
