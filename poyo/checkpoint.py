"""Models on disk: weights, both vocabularies, size and where they came from, in one file."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from . import replacing
from .model import POYO
from .vocabulary import Vocabulary


class CheckpointError(ValueError):
    """The file is not a checkpoint that can be read; the message says why and the cure."""


@dataclass(kw_only=True)
class Checkpoint:
    """A model with what it needs to decode: its size by name and the names of its rows.

    about: how it came to be (config, seed, step), free to the writer.
    """

    model: POYO
    size: str
    units: Vocabulary
    sessions: Vocabulary
    about: dict = field(default_factory=dict)


def write(path: Path | str, content: dict) -> None:
    """torch.save, whole or not at all: a kill or a full disk leaves the previous file."""
    with replacing(path) as scratch, open(scratch, "wb") as file:
        torch.save(content, file)  # given a path, torch would write its name into the file


def read(path: Path | str) -> dict:
    """torch.load of plain data only. Raises CheckpointError on a missing or damaged file."""
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; `dvc repro` makes it")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a checksum does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is not a readable checkpoint (truncated or another format?): {reason}; "
            "delete it and run `dvc repro` again"
        ) from error


def save(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint."""
    write(
        path,
        {
            "model": checkpoint.model.state_dict(),
            "size": checkpoint.size,
            "units": checkpoint.units.names,
            "sessions": checkpoint.sessions.names,
            "about": checkpoint.about,
        },
    )


def load(path: Path | str) -> Checkpoint:
    """Read a checkpoint, its model in evaluation mode on the CPU."""
    content = read(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a POYO checkpoint but a {type(content).__name__}")
    missing = [k for k in ("model", "size", "units", "sessions", "about") if k not in content]
    if missing:
        raise CheckpointError(f"{path} is not a POYO checkpoint, it lacks {', '.join(missing)}")
    units, sessions = Vocabulary(content["units"]), Vocabulary(content["sessions"])
    outputs = content["model"]["readout.weight"].shape[0]
    model = POYO(size=content["size"], units=len(units), sessions=len(sessions), outputs=outputs)
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit a {content['size']} model: {error}") from error
    return Checkpoint(
        model=model.eval(),
        size=content["size"],
        units=units,
        sessions=sessions,
        about=content["about"],
    )
