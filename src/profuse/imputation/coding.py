"""The cells of the modality that is filled -> numbers of mean 0 and variance 1, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData
from profuse.errors import DataError
from profuse.imputation.blocks import SAME, Block
from profuse.kinds import KINDS, kind_named
from profuse.schema import ColumnKind, Modality, Schema

__all__ = ["Coding", "Part", "Target", "kinds_to_fill", "known_cells", "parts_of"]


@dataclass(frozen=True)
class Part:
    """One column, and which numbers stand for it.

    Attributes:
        column: Its name in the table.
        kind: "number", "category", "list" (a vector in one column), or "cell": its cells can only be copied.
        start: The first of its numbers.
        stop: Behind the last of its numbers.
        words: The categories, in the order of their numbers.
    """

    column: str
    kind: Literal["number", "category", "list", "cell"]
    start: int = 0
    stop: int = 0
    words: tuple[str, ...] = ()

    @property
    def numbers(self) -> slice:
        """Which numbers stand for it."""
        return slice(self.start, self.stop)


@dataclass(frozen=True, eq=False)
class Target:
    """What rows hold of the modality that is filled.

    Attributes:
        numbers: `[row, number]`; NaN where it is not known.
        known: Bool `[row, part]`: which cells are there; a vector in one column, if all its numbers are.
        parts: Its columns.
    """

    numbers: np.ndarray
    known: np.ndarray
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def known_numbers(self) -> np.ndarray:
        """Bool `[row, number]`."""
        return np.asarray(~np.isnan(self.numbers))

    @property
    def is_category(self) -> np.ndarray:
        """Bool `[number]`: which numbers stand for a category."""
        flags = np.zeros(self.numbers.shape[1], dtype=bool)
        for part in self.categories:
            flags[part.numbers] = True
        return flags

    @property
    def categories(self) -> tuple[Part, ...]:
        """The columns of words."""
        return tuple(part for part in self.parts if part.kind == "category")

    def rows(self, index: np.ndarray) -> Target:
        """Returns the rows `index`."""
        return Target(self.numbers[index], self.known[index], self.parts)

    def without(self, hidden: np.ndarray) -> Target:
        """Returns the same without the numbers in `hidden`, bool `[row, number]`."""
        known = self.known.copy()
        for i, part in enumerate(self.parts):
            cells = hidden[:, part.numbers]
            known[:, i] &= ~(cells.any(1) if cells.shape[1] else hidden.all(1))
        return Target(np.where(hidden, np.nan, self.numbers), known, self.parts)


class Coding:
    """Fitted to training rows: numbers are standardised, a category is a column for each of its words.

    Kinds that cannot be made again of numbers (text, sound, pictures, series, times) are described by the numbers of
    their preprocessor, which serve to measure, and their cells are copied.

    Args:
        modality: What the schema says of it.
        kinds: The kinds of columns.
        data: The rows to learn from. Each column is known in one of them at least.

    Attributes:
        parts: One for each column.
    """

    def __init__(self, modality: Modality, kinds: Mapping[str, ColumnKind], data: ModalityData) -> None:
        self._block = None if kind_named(data.kind).is_numbers else Block(data)
        self.parts = parts_of(modality, kinds, data)
        self._width = data.values.shape[1] if self._block is None and data.frame is None else 0
        raw = self._raw(data)
        if self._block is not None:  # what its cells are measured by
            self.parts = (replace(self.parts[0], stop=raw.shape[1]),)
        self._mean, std = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0)
        for part in self.parts:
            if part.kind == "category":  # one unit for all words: a rare one must not rule
                std[part.numbers] = np.sqrt((std[part.numbers] ** 2).mean())
        self._std = np.where(std > SAME * np.nanmax(np.abs(raw), axis=0, initial=0.0), std, 1.0)

    @property
    def copies(self) -> bool:
        """Whether its numbers only describe cells, which cannot be made of them."""
        return self._block is not None

    def encode(self, data: ModalityData) -> Target:
        """Returns what the rows of `data` hold."""
        raw = self.held(data)
        return Target((raw - self._mean) / self._std, known_cells(self.parts, data), self.parts)

    def check(self, data: ModalityData) -> None:
        """Checks that vectors are as long as those that were learned from.

        Raises:
            DataError: They are not.
        """
        if self._other_width(data) and data.present.any():
            raise DataError(
                f"Imputer: the vectors of {self.parts[0].column!r} must be as long as in training, {self._width}; "
                f"got {data.values.shape[1]}. Correct them."
            )

    def held(self, data: ModalityData) -> np.ndarray:
        """Returns the numbers of the rows in their own unit, `[row, number]`; NaN where a cell is missing.

        Raises:
            DataError: Vectors are not as long as those that were learned from.
        """
        self.check(data)
        if self._other_width(data):
            data = replace(data, values=np.full((len(data), self._width), np.nan))
        raw = self._raw(data)
        raw[~data.present] = np.nan
        return raw

    def spread(self, part: Part, deviation: np.ndarray) -> np.ndarray:
        """Returns standard deviations `[row, number]` in the unit of the column, `[row, number of the part]`."""
        return np.asarray((deviation * self._std)[:, part.numbers])

    def word_codes(self, part: Part) -> np.ndarray:
        """Returns the numbers that stand for each word of a category, `[word, number of the part]`."""
        return np.asarray((np.eye(len(part.words)) - self._mean[part.numbers]) / self._std[part.numbers])

    def shares(self, part: Part, numbers: np.ndarray) -> np.ndarray:
        """Returns what `[..., row, number]` says of each word of a category, `[..., row, word]`."""
        return np.asarray((numbers * self._std + self._mean)[..., part.numbers])

    def values(self, part: Part, numbers: np.ndarray) -> np.ndarray:
        """Returns `[..., row]` numbers or words, or `[..., row, channel]` of a list, for `[..., row, number]`."""
        raw = (numbers * self._std + self._mean)[..., part.numbers]
        if part.kind == "category":
            # rounded: of equally probable words the first, whatever the last digits are
            words: np.ndarray = np.array(part.words, dtype=object)[raw.round(9).argmax(-1)]
            return words
        result: np.ndarray = raw if part.kind == "list" else raw[..., 0]
        return result

    def _other_width(self, data: ModalityData) -> bool:
        """Returns whether the rows are vectors of another length than those that were learned from."""
        return self._width > 0 and bool(data.values.shape[1] != self._width)

    def _raw(self, data: ModalityData) -> np.ndarray:
        if self._block is not None:
            return np.where(data.present[:, None], self._block(data).values, np.nan)
        if data.frame is None:
            return np.array(data.values, dtype=np.float64)
        columns = [_numbers(part, data.values[part.column]) for part in self.parts if part.kind != "cell"]
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(data), 0))


def _numbers(part: Part, cells: pd.Series) -> np.ndarray:
    if part.kind == "category":
        words = cells.to_numpy(dtype=object)
        known = cells.notna().to_numpy()
        code = {word: i for i, word in enumerate(part.words)}
        result = np.full((len(cells), len(part.words)), np.nan)
        for i in np.flatnonzero(known):
            result[i] = np.arange(len(part.words)) == code.get(str(words[i]), -1)
        return result
    if pd.api.types.is_timedelta64_dtype(cells.dtype):
        return np.asarray(cells.dt.total_seconds().to_numpy(np.float64)[:, None])
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)[:, None]


def kinds_to_fill(frame: pd.DataFrame, schema: Schema) -> dict[str, ColumnKind]:
    """Returns the kinds of columns; one number in a cell that the schema calls a vector is filled as a number."""
    single = {str(c) for c, dtype in frame.dtypes.items() if pd.api.types.is_numeric_dtype(dtype)}
    return {
        column: "numeric" if column in single and kind in KINDS and kind_named(kind).is_numbers else kind
        for column, kind in schema.columns.items()
    }


def parts_of(modality: Modality, kinds: Mapping[str, ColumnKind], data: ModalityData) -> tuple[Part, ...]:
    """Returns a part for each column of the modality; the words of categories are those of `data`."""
    columns = modality.columns
    if not kind_named(data.kind).is_numbers:
        return (Part(columns[0], "cell"),)
    if data.frame is None:
        if len(columns) > 1:
            return tuple(Part(c, "number", i, i + 1) for i, c in enumerate(columns))
        return (Part(columns[0], "number" if kinds[columns[0]] == "numeric" else "list", 0, data.values.shape[1]),)
    parts: list[Part] = []
    start = 0
    for column in columns:
        if kinds[column] == "numeric":
            parts.append(Part(column, "number", start, start + 1))
        elif kinds[column] == "category":
            words = tuple(sorted({str(w) for w in data.values[column].dropna()}))
            parts.append(Part(column, "category", start, start + len(words), words))
        else:
            parts.append(Part(column, "cell", start, start))
        start = parts[-1].stop
    return tuple(parts)


def known_cells(parts: tuple[Part, ...], data: ModalityData) -> np.ndarray:
    """Returns which cells are there, bool `[row, part]`; a vector in one column is if all its numbers are."""
    if data.frame is not None:
        return np.stack([data.frame[part.column].notna().to_numpy() for part in parts], axis=1)
    if not kind_named(data.kind).is_numbers:
        return data.present[:, None]
    there = ~np.isnan(data.values) & data.present[:, None]
    return np.stack([there[:, part.numbers].all(1) for part in parts], axis=1)
