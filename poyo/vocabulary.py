"""Names to embedding rows: units ("session/unit") and sessions.

A model decodes only names it has rows for. Adapting to new sessions is: extend or replace the
vocabulary, carry the rows that stay, draw the new ones, learn.
"""

import difflib
from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

from .recording import Recording

NA = "NA"  # row 0: no unit, no session; also what padding points at


class VocabularyError(KeyError):
    """A name is unknown or stands twice; the message names it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Vocabulary:
    """Names in row order, `NA` first. Immutable: every change returns a new vocabulary."""

    def __init__(self, names: Iterable[str] = ()):
        names = [name for name in names if name != NA]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise VocabularyError(
                f"{len(twice)} names stand twice, among them {twice[0]!r}; give every session of "
                "the corpus its own session_id"
            )
        self.names = [NA, *names]
        self._row = {name: row for row, name in enumerate(self.names)}

    def __len__(self) -> int:
        """Rows of the embedding table, `NA` included."""
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.names == other.names

    def rows(self, names: Iterable[str]) -> np.ndarray:
        """(n,) int64 rows of the names. Raises VocabularyError naming the first unknown one."""
        try:
            return np.array([self._row[name] for name in names], dtype=np.int64)
        except KeyError as error:
            close = difflib.get_close_matches(error.args[0], self.names, 1, 0.4)
            hint = f" (closest: {close[0]!r})" if close else ""
            raise VocabularyError(
                f"{error.args[0]!r} is not in the vocabulary of {len(self) - 1} names{hint}; "
                "add its session with Vocabulary.extend and adapt the model to it"
            ) from None

    def extend(self, names: Iterable[str]) -> "Vocabulary":
        """New names after the old. A name already there is an error."""
        return Vocabulary([*self.names, *names])

    def keep(self, names: Iterable[str]) -> "Vocabulary":
        """Only these names, in this order: drops and reorders. Unknown names are an error."""
        names = list(names)
        self.rows(names)
        return Vocabulary(names)

    def drop(self, names: Iterable[str]) -> "Vocabulary":
        """All but these names. Unknown names are an error."""
        gone = list(names)
        self.rows(gone)
        return Vocabulary(set_minus(self.names, gone))


def set_minus(names: list[str], gone: list[str]) -> list[str]:
    gone_set = set(gone)
    return [name for name in names if name not in gone_set]


def units_and_sessions(recordings: Iterable[Recording]) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of units and of sessions of a corpus."""
    recordings = list(recordings)
    units = Vocabulary(name for recording in recordings for name in recording.unit_names)
    return units, Vocabulary(recording.session_id for recording in recordings)


def transfer(
    weight: torch.Tensor, old: Vocabulary, new: Vocabulary, generator: torch.Generator
) -> torch.Tensor:
    """Rows for `new` from the table `weight` (len(old), D): kept by name, else drawn N(0, 0.02²).

    Returns (len(new), D).
    """
    rows = torch.empty(len(new), weight.shape[1]).normal_(std=0.02, generator=generator)
    shared = [name for name in new.names if name in old]
    rows[new.rows(shared)] = weight.detach()[old.rows(shared)].to(rows)
    return rows
