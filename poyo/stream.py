"""Decoding while the spikes arrive: every few milliseconds, with the numbers of the model offline.

    spikes -> push ┐
                   ├-> the window [now - length, now) -> behaviour
    clock -> decode┘

What does not change from one update to the next is computed once."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from .data.recording import COARSE
from .decoder import Decoder
from .model import POYO
from .tokens import END, SPIKE, START
from .vocabulary import VocabularyError

# spikes that may wait, and that a window may have, two minutes of 100 units: neither a pause nor
# noise must fill the memory
MOST = 2**18
SPIKES = np.dtype([("time", np.float64), ("unit", np.int64)])


class Stream:
    """One session decoded in time; push spikes as they come, decode when a value is needed.
    decoder: its model is put into evaluation mode and not changed; after training it further, make
    a new stream. session_id: one of its sessions, with all units the vocabulary has of it; a
    silent one is still heard by its START and END tokens. at: (Q,) seconds before `now`, in
    0..length, at which to decode: at 0 nothing that followed is known yet, at a larger one the
    model sees what followed, and the value comes that much later.
    unknown, late, jumps count spikes of units the session does not have; spikes let go before any
    update, as their window was over (or the clock jumped, or they were too many); and jumps of the
    clock. One thread at a time.
    Raises VocabularyError for a session the model does not know, ValueError for `at`, TypeError
    for a model that is not POYO's chain of tokens, latents and queries."""

    def __init__(self, decoder: Decoder, session_id: str, *, at: Sequence[float] = (0.0,)):
        names, self.length = _unit_names(decoder, session_id), decoder.windows.length
        if len(at) == 0 or not all(0 <= t <= self.length for t in at):
            raise ValueError(f"at: seconds before now in 0..{self.length}, got {list(at)}")
        if not isinstance(decoder.model, POYO):
            raise TypeError(f"a stream needs a POYO, not a {type(decoder.model).__name__}")
        ids = np.array([name[len(session_id) + 1 :] for name in names])
        order = np.argsort(ids)
        self.unit_ids = ids[order]  # (U,) sorted, to be searched
        self._readout = decoder.readouts[session_id]
        self.unknown = self.late = self.jumps = 0
        self._named: set[str] = set()  # unknown units that were warned about
        self._now: float | None = None
        self._window = self._waiting = np.empty(0, SPIKES)  # took part in the last update; not yet
        self._prepare(decoder, session_id, decoder.units.rows(names)[order], at)

    @torch.no_grad()
    def _prepare(self, decoder, session_id, rows, at) -> None:
        """Compute what stays the same from update to update; rows: (U,) of the units."""
        model = self._model = decoder.model.eval()
        device, units = next(model.parameters()).device, len(rows)
        rows = torch.from_numpy(rows).to(device)
        types = torch.tensor([START, END, SPIKE], device=device).repeat_interleave(units)
        self._table = model.token_keys_values(rows.repeat(3), types)  # (3U, 2HK)
        self._ends = torch.arange(2 * units, device=device)  # rows of the START and END tokens
        edges = torch.tensor([0.0, self.length], device=device)
        self._ends_time = edges.repeat_interleave(units)  # (2U,)
        self._latents = model.latent_emb(model.latent_index)  # (L, D)
        self._latent_time = model.rotary_emb(model.latent_timestamps)  # (L, K/4)
        self._session = torch.from_numpy(decoder.sessions.rows([session_id])).to(device)
        self._output_timestamps = torch.tensor([[self.length - t for t in at]], device=device)
        self._output_mask = torch.ones_like(self._output_timestamps, dtype=torch.bool)

    @property
    def held(self) -> int:
        """Spikes in memory: those of the last window and those that have not been due yet."""
        return len(self._window) + len(self._waiting)

    def push(self, times: ArrayLike, units: ArrayLike) -> None:
        """Take in spikes at `times` (S,), seconds on the recording's clock, of `units` (S,), ids.
        In any order: late ones count from the next update on if they are in its window, early ones
        wait until they are due. Spikes of units the session does not have are left out, with one
        warning per unit. Raises ValueError, before anything is taken in, on NaN or infinite times,
        on single floats too large to tell milliseconds apart, and on differing lengths."""
        given = np.asarray(times)
        times, units = np.asarray(times, dtype=np.float64), np.asarray(units, dtype=str)
        if times.ndim != 1 or times.shape != units.shape:
            got = f"got times {times.shape}, units {units.shape}"
            raise ValueError(f"one unit per spike time, please: {got}")
        if not np.isfinite(times).all():
            bad = np.sum(~np.isfinite(times))
            raise ValueError(f"{bad} of {len(times)} spike times are NaN or infinite")
        if given.dtype.kind == "f" and (np.spacing(np.abs(given)) > COARSE).any():
            step = f"{given.dtype} of this size differ by {np.spacing(np.abs(given).max()):g} s"
            raise ValueError(f"spike times {step}; give float64, or count from a later moment")
        unit = np.searchsorted(self.unit_ids, units).clip(max=len(self.unit_ids) - 1)
        known = self.unit_ids[unit] == units
        spikes = np.empty(int(known.sum()), SPIKES)
        spikes["time"], spikes["unit"] = times[known], unit[known]
        self._waiting = np.concatenate([self._waiting, spikes])
        if len(self._waiting) > MOST:
            self._let_the_oldest_go()
        if len(spikes) < len(times):
            self._leave_out(units[~known])

    def decode(self, now: float) -> np.ndarray:
        """Behaviour (Q, D), in the recording's unit, at `now - at` from the last window of spikes.
        The window is [now - length, now), the numbers are those of the model offline. A clock that
        goes backwards empties the memory, spikes pushed before this call included; one that leaps
        by more than a window leaves all it held behind. Both warn. Raises ValueError where `now`
        is not finite."""
        if not np.isfinite(now):
            raise ValueError(f"now is {now}; the clock must be finite, in seconds")
        self._tick(float(now))
        start = float(now) - self.length
        spikes, device = self._advance(start), self._table.device
        time = torch.from_numpy((spikes["time"] - start).astype(np.float32)).to(device)
        unit = torch.from_numpy(spikes["unit"]).to(device)
        model, latent_time = self._model, self._latent_time
        with torch.inference_mode():
            rows = torch.cat([self._ends, len(self._ends) + unit])  # (N,), N = 2U + n
            token_time = model.rotary_emb(torch.cat([self._ends_time, time]))  # (N, K/4)
            tokens = F.embedding(rows, self._table)  # (N, 2HK), a copy: it may be overwritten
            z = model.encode(self._latents, latent_time, tokens, token_time, [len(rows)])
            z = model.process(z, latent_time)  # (1, L, D)
            queries = (self._session, self._output_timestamps, self._output_mask)
            decoded = model.decode(z, latent_time, *queries).double().cpu().numpy()
        return self._readout.restore(decoded)

    def _advance(self, start: float) -> np.ndarray:
        """Move the window to [start, start + length): its spikes; those before it are let go."""
        # rounded like `tokens.tokenize` does, so that a spike on the edge is on the same side
        time, end = self._waiting["time"], start + self.length
        kept = self._window[self._window["time"] >= start]
        new = self._waiting[(time >= start) & (time < end)]
        self.late += int((time < start).sum())
        self._window, self._waiting = np.concatenate([kept, new]), self._waiting[time >= end]
        if len(self._window) > MOST:
            order = np.argpartition(self._window["time"], -MOST)
            self.late += int((order[:-MOST] >= len(kept)).sum())  # the others took part before
            self._window = self._window[order[-MOST:]]
            what = f"more than {MOST} spikes are in one window: the oldest are forgotten"
            warnings.warn(f"{what}; look for noise taken for spikes", stacklevel=3)
        return self._window

    def _tick(self, now: float) -> None:
        """Set the clock, and say where it jumped."""
        before, self._now = self._now, now
        if before is None or before <= now <= before + self.length:
            return
        self.jumps += 1
        if now < before:
            self.late += len(self._waiting)
            self._window = self._waiting = np.empty(0, SPIKES)
            what = "backwards, all spikes so far are forgotten"
        else:
            what = f"forwards by more than the window of {self.length} s"
        warnings.warn(f"the clock jumped from {before} s to {now} s: {what}", stacklevel=3)

    def _let_the_oldest_go(self) -> None:
        """Keep the newer half of what may wait: half, so that it is not done at every push."""
        rest = np.argpartition(self._waiting["time"], -(MOST // 2))[-(MOST // 2) :]
        self.late += len(self._waiting) - len(rest)
        self._waiting = self._waiting[rest]
        what = f"more than {MOST} spikes wait for their update: the oldest are forgotten"
        warnings.warn(f"{what}; call decode in time, or push less far ahead", stacklevel=3)

    def _leave_out(self, units: np.ndarray) -> None:
        """Count the spikes of unknown units (S,), and name the units not named before."""
        self.unknown += len(units)
        new = sorted(set(units.tolist()) - self._named)
        self._named.update(new)
        if new:
            names = ", ".join(new[:8]) + (f" and {len(new) - 8} more" if len(new) > 8 else "")
            what = f"not among the {len(self.unit_ids)} units the model knows of this session"
            warnings.warn(f"{what}: {names}; their spikes are left out", stacklevel=3)


def _unit_names(decoder: Decoder, session_id: str) -> list[str]:
    """The session's names in the vocabulary of units. Raises VocabularyError if there is none."""
    known = decoder.sessions.names[1:]
    prefix = f"{session_id}/"
    others = tuple(f"{other}/" for other in known if other.startswith(prefix))
    names = [name for name in decoder.units.names if name.startswith(prefix)]
    names = [name for name in names if not name.startswith(others)]  # of "a", not of "a/b"
    if session_id not in known or not names:
        what = f"the model has no session {session_id!r} with units to decode"
        raise VocabularyError(f"{what}; it knows {', '.join(map(repr, known)) or 'none'}")
    return names
