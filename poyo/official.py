"""Checkpoints of torch_brain's POYO, read and written: the released `poyo_mp.ckpt`, `poyo_1.ckpt`.
They are pickles of PyTorch Lightning. A pickle names functions to be called; here none is: what
it names becomes an inert record, and only weights and vocabularies among these are looked at.
Sizes are those of the weights, so it does not matter what else is in the file, or whether the
packages it mentions are installed. Not for: our own files (`Decoder.load`)."""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import resume
from .attention import HEAD
from .config import Windows
from .data.recording import TASKS
from .data.sources import PUBLIC, READOUTS, Readout
from .model import Size
from .resume import CheckpointError
from .vocabulary import NA

KINDS = {"Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16}
WIDTHS = "unit_emb latent_emb enc_atn.to_q proc_layers.0.0.to_qkv readout".split()
OTHERS = ["rotary_emb.omega", "unit_emb.vocab", "session_emb.vocab"]
LOOKS = {  # names of public sessions without their numbers: one that is not listed looks the same
    re.sub(r"\d+", "#", name): brainset
    for role in PUBLIC.values()
    for brainset, names in role.items()
    for name in names
}


class Inert:
    """Stands for whatever a pickle wants to make or call, and keeps the arguments."""

    name, args = "", tuple[Any, ...]()

    def __new__(cls, *args, **_):
        self = super().__new__(cls)
        self.args = args
        return self

    def __call__(self, *_, **__):
        return self

    __setstate__ = __setitem__ = append = extend = __call__  # the first for its class, too


class Unpickler(pickle.Unpickler):
    """Calls nothing but `OrderedDict` and `Inert`, whatever the file names."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return type("Inert", (Inert,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid):
        return pid  # ("storage", its class, key, where it was, how many numbers)


def read(path: Path | str, readout: Readout | None = None) -> dict:
    """What is in a checkpoint, as `Decoder.save` says it; no code in the file is run.
    Sessions and units are named as recordings name them, without a brainset before them, where
    that is unique. readout: of sessions of unknown brainsets. Raises CheckpointError."""
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; download it from torch_brain's model zoo")
    try:
        with zipfile.ZipFile(path) as archive:  # compares the checksum of what is read
            if any(part.compress_type for part in archive.infolist()):
                raise zipfile.BadZipFile("it is compressed, so of unknown size")
            (index,) = (n for n in archive.namelist() if n.split("/")[1:] == ["data.pkl"])
            found = Unpickler(io.BytesIO(archive.read(index))).load()
            return _content(found, archive, index.removesuffix(".pkl"), path, readout)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        what = f"{path} is not readable (truncated, or another format?): {reason}"
        raise CheckpointError(f"{what}; download it again") from error


def _content(found, archive, folder: str, path: Path, readout: Readout | None) -> dict:
    state = found["state_dict"] if isinstance(found, dict) and "state_dict" in found else {}
    state = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    needed = [f"{name}.weight" for name in WIDTHS] + OTHERS
    if missing := [key for key in needed if key not in state]:
        raise CheckpointError(f"{path} is no POYO of torch_brain, it lacks {', '.join(missing)}")
    units, sessions = (_names(state.pop(f"{name}_emb.vocab")) for name in ("unit", "session"))
    state = {name: _tensor(value, archive, folder) for name, value in state.items()}
    unit, latent, cross, own, out = (state[f"{name}.weight"] for name in WIDTHS)
    if (width := 2 * len(state["rotary_emb.omega"])) != HEAD:
        raise CheckpointError(f"{path} has heads of {width} dims; those of every POYO have {HEAD}")
    layers = {name.split(".")[1] for name in state if name.startswith("proc_layers.")}
    heads = {"cross_heads": len(cross) // HEAD, "self_heads": len(own) // (3 * HEAD)}
    size = Size(dim=unit.shape[1], depth=len(layers), latents_per_step=len(latent), **heads)

    hyper = found.get("hyper_parameters")  # of those, what is plain and of use
    ours, model = (hyper.get(k) if isinstance(hyper, dict) else None for k in ("poyo", "model"))
    if isinstance(ours, dict):  # `write` made it
        windows, readouts = ours["windows"], ours["readouts"]
    else:
        model, times = model if isinstance(model, dict) else {}, ("sequence_length", "latent_step")
        pairs = zip(("length", "latent_step"), map(model.get, times))
        given: dict[str, Any] = {key: t for key, t in pairs if isinstance(t, float)}
        given["eval_step"] = min(Windows.eval_step, given.get("length", Windows.length))
        windows = asdict(Windows(**given))
        rows = [asdict(_readout(name, path, readout)) for name in sessions[1:]]
        prefixes = {re.escape(name[: name.rfind("/") + 1]) for name in sessions}
        before = "|".join(sorted(prefixes, key=len, reverse=True))
        for names in (sessions, units):
            short = [re.sub(f"^({before})", "", name) for name in names]
            names[:] = short if len(set(short)) == len(names) else names
        readouts = dict(zip(sessions[1:], rows))
    what = {"model": state, "class": "POYO", "size": asdict(size), "outputs": len(out)}
    rest = {"units": units, "sessions": sessions, "windows": windows, "readouts": readouts}
    return what | rest | {"about": {"official": path.name}}


def _names(vocab: dict) -> list[str]:
    """In row order. A string of numpy is pickled as its bytes, and these as text."""
    names = sorted(vocab, key=vocab.__getitem__)
    if [vocab[name] for name in names] != list(range(len(names))) or names[:1] != [NA]:
        raise ValueError("a vocabulary does not number its names from NA, 0")
    numpy = {n: n.args[1].args[0].encode("latin1") for n in names if isinstance(n, Inert)}
    return [numpy[name].decode("utf-32-le") if name in numpy else name for name in names]


def _tensor(value: Inert, archive: zipfile.ZipFile, folder: str) -> Tensor:
    if value.name != "torch._utils._rebuild_tensor_v2":
        raise ValueError(f"a weight is made by {value.name}")
    (_, kind, key, _, _), offset, shape, stride, *_ = value.args
    dtype = KINDS[kind.name.removeprefix("torch.").removesuffix("Storage")]
    stored = np.frombuffer(archive.read(f"{folder}/{key}"), np.uint8).copy()
    numbers = torch.from_numpy(stored).view(dtype)
    if (asked := math.prod(shape)) > len(numbers):  # as a stride of 0 has it: more than there is
        raise ValueError(f"a weight of {asked} numbers has {len(numbers)} in the file")
    return numbers.as_strided(shape, stride, offset).float().clone()


def _readout(session: str, path: Path, default: Readout | None) -> Readout:
    *before, name = session.split("/")
    task = next((task for task in TASKS if task in name), "")
    brainsets = [*before, LOOKS.get(re.sub(r"\d+", "#", name), "")]
    known = [READOUTS.get((one, kind)) for one in brainsets for kind in (task, "")]
    if found := next(filter(None, [*known, default]), None):
        return found
    cure = "say Decoder.load_official(path, readout=sources.Readout(...))"
    raise CheckpointError(f"{path}: what is decoded from session {session!r}? {cure}")


def write(path: Path | str, content: dict) -> None:
    """The content of `Decoder.save` as a checkpoint for torch_brain's `POYO.load_pretrained`, from
    which `read` has all of it back but `about`. Whole, or not at all."""
    if content["class"] != "POYO":
        raise ValueError(f"torch_brain has no model {content['class']}, only POYO can be written")
    state = {f"model.{name}": value for name, value in content["model"].items()}
    for name in ("unit", "session"):
        vocab = OrderedDict((one, row) for row, one in enumerate(content[f"{name}s"]))
        state[f"model.{name}_emb.vocab"] = vocab
    model, windows = dict(content["size"]), content["windows"]
    model |= {"num_latents_per_step": model.pop("latents_per_step"), "dim_head": HEAD}
    times = {"sequence_length": windows["length"], "latent_step": windows["latent_step"]}
    model |= {key: float(seconds) for key, seconds in times.items()}
    hyper = {"model": model, "poyo": {"windows": windows, "readouts": content["readouts"]}}
    resume.write(path, {"state_dict": state, "hyper_parameters": hyper, "epoch": 0})


def seen(known: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of the sessions `names` that are among `known`, the ones a decoder was pretrained on
    (`decoder.sessions.names`): as new sessions they prove nothing. The released POYO-mp knows two
    of Table 2's. A brainset before a name does not count, as everyone spells it in another way."""
    known = {name.split("/")[-1] for name in known}
    return [name for name in names if name.split("/")[-1] in known]
