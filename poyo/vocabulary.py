"""Names to embedding rows: units ("session/unit") and sessions.
A model decodes only names it has rows for; `Decoder.adopt` gives it those of new sessions."""

import difflib
from collections import Counter
from collections.abc import Iterable

import numpy as np

from .data.recording import Recording

NA = "NA"  # row 0: no unit, no session; also what padding points at


class VocabularyError(KeyError):
    """A name is unknown or stands twice; the message names it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Vocabulary:
    """Names in row order, `NA` first. Immutable.

    >>> known = Vocabulary(["monday/unit 1", "monday/unit 2"])
    >>> len(known), known.rows(["monday/unit 2"]).tolist()
    (3, [2])
    """

    def __init__(self, names: Iterable[str] = ()):
        names = [name for name in names if name != NA]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            cure = "give every session of the corpus its own session_id"
            raise VocabularyError(
                f"{len(twice)} names stand twice, among them {twice[0]!r}; {cure}"
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
            what = f"{error.args[0]!r} is not in the vocabulary of {len(self) - 1} names{hint}"
            cure = "add its session with Decoder.adopt and learn its embeddings"
            raise VocabularyError(f"{what}; {cure}") from None


def units_and_sessions(recordings: list[Recording]) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of units and of sessions of a corpus."""
    if isinstance(recordings, Recording):
        raise TypeError("a list of recordings is needed: [recording] where it is one")
    units = Vocabulary(name for recording in recordings for name in recording.unit_names)
    return units, Vocabulary(recording.session_id for recording in recordings)
