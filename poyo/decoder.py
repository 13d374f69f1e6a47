"""A decoder: a model with all it needs to decode the sessions it knows, in memory or on disk."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from . import evaluate, official, resume, tokens
from .config import Windows
from .data.recording import Recording, RecordingError
from .data.sources import Readout, readout_of
from .model import POYO, SIZES, Network, Size
from .resume import CheckpointError
from .vocabulary import Vocabulary, units_and_sessions

WINDOWS = Windows()  # the default
SPARE = 2**26  # bytes that a model may take besides its weights, for what follows from its windows


@dataclass(kw_only=True)
class Decoder:
    """A model, the names of its rows, the windows it reads, and how each session is read out.

        decoder = Decoder.new([monday], seed=0)
        train.fit(decoder, [monday], recipe, seed=0)
        decoder.score([monday], "test")  # {"monday": R²}

    readouts: by session id; they share a quantity and its number of dims, not the unit or scale.
    about: how it was trained, by the last `train.fit`."""

    model: Network
    units: Vocabulary
    sessions: Vocabulary
    windows: Windows
    readouts: dict[str, Readout]
    about: dict = field(default_factory=dict)

    @classmethod
    def new(
        cls, recordings: list[Recording], *, size="laptop", windows=WINDOWS, seed=0, model=POYO
    ) -> Self:
        """An untrained decoder of these sessions, its weights drawn from `seed`, an int.
        size: a `Size` or a name of model.SIZES. windows: a `Windows`. model: POYO, or a `Network`
        of one's own. Raises RecordingError where the sessions do not share what is decoded,
        ValueError for a size that is unknown.

        >>> from poyo.data.simulate import simulate
        >>> rex = simulate(animal="rex", day=1, task="center_out_reaching", minutes=1.0)
        >>> decoder = Decoder.new([rex], size="smoke")
        >>> decoder.quantity, decoder.decode(rex, "test").prediction.shape[1]
        ('velocity', 2)
        """
        units, sessions = units_and_sessions(recordings)
        readouts = {r.session_id: readout_of(r) for r in recordings}
        outputs = _shared(recordings, readouts)
        if isinstance(size, str) and size not in SIZES:
            raise ValueError(f"size: {size!r} is unknown; known: {', '.join(SIZES)}")
        size = SIZES[size] if isinstance(size, str) else size
        counts = {"units": len(units), "sessions": len(sessions), "outputs": outputs}
        torch.manual_seed(seed)
        network = model(size=size, windows=windows, **counts)
        rest = {"sessions": sessions, "windows": windows, "readouts": readouts}
        return cls(model=network, units=units, **rest)

    def adopt(
        self, recordings: list[Recording], *, seed: int = 0, same_units_as: Sequence[str] = ()
    ) -> Self:
        """A decoder of new sessions with this one's network, which is left as it was.
        Rows of new units and sessions are drawn around the mean of the learned rows, with their
        spread, and are to be learned (`adapt.identify_units`). same_units_as: ids of sessions this
        decoder knows, of the same array: a unit that one of them has, too, by name, starts from
        the mean of its rows there, and the session from the mean of theirs, which may decode
        without any training. Raises RecordingError where the sessions hold something else to
        decode than this decoder's, or no unit recurs; VocabularyError for an unknown session."""
        like = {"size": self.model.size, "windows": self.windows, "model": type(self.model)}
        new = type(self).new(recordings, seed=seed, **like)
        if (new.quantity, new.model.outputs) != (self.quantity, self.model.outputs):
            what = f"holds a {new.quantity} of {new.model.outputs} dims"
            mine = f"this decoder decodes a {self.quantity} of {self.model.outputs}"
            cure = "choose that as the target, or train a new decoder"
            raise RecordingError(f"session {recordings[0].session_id!r} {what}, {mine}; {cure}")
        # Paper: new rows start from N(0, 0.02²). Here: from the distribution of the learned rows,
        # where the frozen network knows what to make of them.
        generator, state = torch.Generator().manual_seed(seed), self.model.state_dict()
        for name in ("unit_emb.weight", "session_emb.weight"):
            learned, shape = state[name].cpu()[1:], new.model.state_dict()[name].shape
            noise = torch.randn(shape, generator=generator)
            state[name] = learned.mean(0) + noise * learned.std(0, correction=0)
        if same_units_as:
            self._copy_rows(state, new, recordings, same_units_as)
        new.model.load_state_dict(state)
        return new

    def _copy_rows(self, state: dict, new: Self, recordings, same_units_as: Sequence[str]) -> None:
        """Put the rows of units and sessions known by name into the `state` of a new decoder."""
        weights, found = self.model.state_dict(), 0
        session = weights["session_emb.weight"][self.sessions.rows(same_units_as)].mean(0)
        for recording in recordings:
            (row,) = new.sessions.rows([recording.session_id])
            state["session_emb.weight"][row] = session
            for unit, row in zip(recording.unit_ids, new.units.rows(recording.unit_names)):
                known = [name for s in same_units_as if (name := f"{s}/{unit}") in self.units]
                if known:
                    mean = weights["unit_emb.weight"][self.units.rows(known)].mean(0)
                    state["unit_emb.weight"][row] = mean
                    found += 1
        if not found:
            what = f"no unit of {', '.join(r.session_id for r in recordings)} recurs by name"
            cure = "leave same_units_as out, and its rows are drawn"
            raise RecordingError(f"{what} in {', '.join(same_units_as)}; {cure}")

    def copy(self) -> Self:
        """The same decoder, to be trained on its own."""
        return copy.deepcopy(self)

    @property
    def quantity(self) -> str:
        """What is decoded, such as "velocity"."""
        return next(iter(self.readouts.values())).quantity

    def session(self, recording: Recording) -> tokens.Session:
        """A recording it knows, ready to be tokenised. Raises VocabularyError for another."""
        (_,) = self.sessions.rows([recording.session_id])
        readout = self.readouts[recording.session_id]
        return tokens.prepare(recording, readout, self.units, self.sessions)

    def decode(self, recording: Recording, split: str = "test") -> evaluate.Decoded:
        """The behaviour in a split ("train", "valid" or "test"), beside the true one: see
        `evaluate.Decoded`; times (T,) in s, target and prediction (T, D) in the recording's unit.
        Only where behaviour was sampled; `poyo.stream` decodes spikes alone. Empty where no window
        fits. Raises VocabularyError for a session that it does not know, RecordingError for a
        split that is not there."""
        session = self.session(recording)
        domain = evaluate.fitting(session, split, self.windows)
        return evaluate.decode(self.model, session, domain, self.windows)

    def score(self, recordings: list[Recording], split: str = "test") -> dict[str, float]:
        """R² of each session in a split, by session id; nan where no window fits into it."""
        sessions = [self.session(recording) for recording in recordings]
        return evaluate.scores(self.model, sessions, split, self.windows)

    def save(self, path: Path | str) -> None:
        """Write it whole, or leave the previous file."""
        resume.write(path, self._content())

    def save_official(self, path: Path | str) -> None:
        """The same as a checkpoint that torch_brain's `POYO.load_pretrained` reads."""
        official.write(path, self._content())

    def _content(self) -> dict:
        model, readouts = self.model, {name: asdict(row) for name, row in self.readouts.items()}
        content: dict[str, Any] = {"model": model.state_dict(), "class": type(model).__name__}
        content |= {"size": asdict(model.size), "outputs": model.outputs}
        content |= {"units": self.units.names, "sessions": self.sessions.names}
        content |= {"windows": asdict(self.windows), "readouts": readouts, "about": self.about}
        return content

    @classmethod
    def load(cls, path: Path | str, model: type[Network] = POYO) -> Self:
        """Read one, its model in evaluation mode on the CPU; no code in the file is run.
        model: the class it was made with, if that is not POYO. Raises CheckpointError."""
        return cls._of(resume.read(path), path, model)

    @classmethod
    def load_official(cls, path: Path | str, readout: Readout | None = None) -> Self:
        """Read a checkpoint of torch_brain's POYO, such as the released ones, to start from with
        `adopt`; no code in the file is run. Before a session is scored, `official.seen` says if it
        was pretrained on. readout: of sessions of a brainset that `sources.READOUTS` lacks; the
        scale of the others stands there. Raises CheckpointError."""
        return cls._of(official.read(path, readout), path, POYO)

    @classmethod
    def _of(cls, content: dict, path: Path | str, model: type[Network]) -> Self:
        keys = "model class size outputs units sessions windows readouts about".split()
        missing = [key for key in keys if not isinstance(content, dict) or key not in content]
        if missing:
            raise CheckpointError(f"{path} is not a decoder, it lacks {', '.join(missing)}")
        if content["class"] != model.__name__:
            was = content["class"]
            cure = f"say Decoder.load(path, model={was})"
            raise CheckpointError(
                f"{path} was made with the model {was}, not {model.__name__}; {cure}"
            )
        try:
            names = {name: Vocabulary(content[name]) for name in ("units", "sessions")}
            windows, size = Windows(**content["windows"]), Size(**content["size"])
            readouts = {name: Readout(**row) for name, row in content["readouts"].items()}
            more = {"size": size, "outputs": content["outputs"], "windows": windows}
            more |= {name: len(rows) for name, rows in names.items()}
            if issubclass(model, POYO):
                _check_memory(model, content["model"], more)
            network = model(**more)
            network.load_state_dict(content["model"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit its own size: {error}") from error
        rest: dict[str, Any] = names | {"windows": windows, "readouts": readouts}
        return cls(model=network.eval(), about=content["about"], **rest)


def _check_memory(model: type[POYO], state: dict, more: dict) -> None:
    """Raise ValueError where a model would take far more memory than its weights in a file do: a
    few bytes of a damaged or a malicious one can name any size."""
    if more["size"].depth > len(state):
        raise ValueError(f"{more['size'].depth} layers, but {len(state)} tensors")
    with torch.device("meta"):  # which only counts
        empty = model(**more)
    tensors = [*empty.parameters(), *empty.buffers()]
    asked = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    held = sum(tensor.untyped_storage().nbytes() for tensor in state.values())
    if asked > 2 * held + SPARE:  # twice: it may hold half precision
        raise ValueError(f"it asks for {asked / 1e6:.0f} MB, but holds {held / 1e6:.3g} MB")


def _shared(recordings: list[Recording], readouts: dict[str, Readout]) -> int:
    """How many dims all sessions have to decode, of one quantity. Raises RecordingError."""
    found: dict[tuple[str, int], str] = {}
    for recording in recordings:
        readout = readouts[recording.session_id]
        dims = recording.series(readout.target)[1].shape[1]
        found.setdefault((readout.quantity, dims), recording.session_id)
    if len(found) != 1:
        kinds = "; ".join(f"{q} of {d} dims ({name!r})" for (q, d), name in found.items())
        these = f"these hold {kinds or 'nothing: there are none'}"
        raise RecordingError(f"the sessions of a decoder must share what is decoded; {these}")
    ((_, dims),) = found
    return dims
