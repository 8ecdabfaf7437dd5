"""Cells of new rows whose category training has not seen: counted by column; nothing else in a column is an error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.table.spellings import plain_spelling
from profuse.data.table.values import match, words
from profuse.data.wording import tell_values
from profuse.errors import DataError

__all__ = ["Unseen", "add_unseen", "new_share", "unseen_cells", "unseen_notes"]

_NEARLY_ALL = 0.9
_FEWEST = 10
_OFTEN_NEW = 0.5


@dataclass(frozen=True)
class Unseen:
    """What one column of new rows holds of categories that training has not seen.

    Attributes:
        column: Its name.
        n_filled: Cells that are not empty.
        n_unseen: Those of them whose category is new.
        words: The new categories.
        known: Those of training.
        expected: The share of new cells to be expected: that of training's categories that stand in one cell only, of
            all cells (Good and Turing's estimate).
    """

    column: str
    n_filled: int
    n_unseen: int
    words: tuple[str, ...]
    known: tuple[str, ...]
    expected: float

    @classmethod
    def of(cls, column: str, cells: np.ndarray, known: Sequence[str], expected: float) -> Unseen:
        """Returns what `cells` (words, None where they are missing) hold that is not in `known`."""
        index, found = pd.factorize(cells)
        new = match(list(found), known) < 0 if known else np.zeros(len(found), dtype=bool)
        n_unseen = int(new[index[index >= 0]].sum())
        names = tuple(str(w) for w in np.asarray(found)[new])
        return cls(column, int((index >= 0).sum()), n_unseen, names, tuple(known), expected)

    def and_in(self, other: Unseen) -> Unseen:
        """Returns what the rows of both hold, of one column."""
        words = tuple(dict.fromkeys((*self.words, *other.words)))
        n_filled, n_unseen = self.n_filled + other.n_filled, self.n_unseen + other.n_unseen
        return replace(self, n_filled=n_filled, n_unseen=n_unseen, words=words)


def add_unseen(known: dict[str, Unseen], more: Iterable[Unseen]) -> None:
    """Adds what further rows hold to what is `known`, by column."""
    for column in more:
        before = known.get(column.column)
        known[column.column] = column if before is None else before.and_in(column)


def new_share(cells: np.ndarray) -> float:
    """Returns the share of cells whose word stands in no other one."""
    counts = pd.Series(cells).value_counts()
    return float((counts == 1).sum() / max(1, counts.sum()))


def unseen_cells(train: Dataset, test: Dataset) -> list[Unseen]:
    """Returns for each column of categories what the test rows hold that the training rows have not."""
    results = []
    for name, data in train.modalities.items():
        for column in () if data.frame is None else data.frame:
            cells = data.values[column]
            if cells.dtype == object or isinstance(cells.dtype, pd.CategoricalDtype):
                known = words(cells)
                distinct = [w for w in dict.fromkeys(known) if w is not None]
                new = words(test.modalities[name].values[column])
                results.append(Unseen.of(str(column), new, distinct, new_share(known)))
    return results


def unseen_notes(found: Iterable[Unseen], accepted: Collection[str] = ()) -> list[str]:
    """Returns a note for each column that holds new categories.

    Raises:
        DataError: More than 90 % of 10 filled cells or more are new in a column in which training had most of its
            categories several times, and it is not in `accepted`: it is coded otherwise than in training.
    """
    notes = []
    for column in found:
        if column.n_unseen == 0:
            continue
        cells = f"{column.n_unseen} of {column.n_filled} filled cells hold categories that training has not seen"
        message = f"column {column.column!r}: {cells}: {tell_values(column.words, n=3)}"
        plain = {plain_spelling(w): w for w in column.known}
        near = [f"{w!r} is like {plain[plain_spelling(w)]!r}" for w in column.words if plain_spelling(w) in plain]
        hint = f" ({'; '.join(near[:2])} but for blanks or case)" if near else ""
        share = column.n_unseen / column.n_filled
        alarming = column.n_filled >= _FEWEST and share > _NEARLY_ALL and column.expected <= _OFTEN_NEW
        if alarming and column.column not in accepted:
            raise DataError(
                f"{message}{hint}; training had {tell_values(column.known, n=3)}. Code them as in training. If they "
                f"are new indeed, say so: new_categories: [{column.column}] in the schema, or --new-categories on the "
                "command line; or empty these cells."
            )
        notes.append(f"{message[0].upper()}{message[1:]}{hint}. They count as unseen, not as missing.")
    return notes
