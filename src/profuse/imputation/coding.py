"""The cells of the modality that is filled -> numbers of mean 0 and variance 1, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData
from profuse.imputation.blocks import SAME, Block
from profuse.schema import ColumnKind, Modality

__all__ = ["Coding", "Part", "complete", "parts_of"]


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


class Coding:
    """Fitted to training rows: numbers are standardised, a category is a column for each of its words.

    Kinds that cannot be made again of numbers (text, sound, pictures, series, times) are described by the numbers of
    their preprocessor, which serve to measure, and their cells are copied.

    Args:
        modality: What the schema says of it.
        kinds: The kinds of columns.
        data: The rows to learn from; all of them complete.

    Attributes:
        parts: One for each column.
    """

    def __init__(self, modality: Modality, kinds: Mapping[str, ColumnKind], data: ModalityData) -> None:
        self._kind = data.kind
        self._block = Block(data) if data.kind not in ("table", "vector") else None
        self.parts = parts_of(modality, kinds, data)
        raw = self._raw(data)
        self._mean, std = raw.mean(0), raw.std(0)
        for part in self.parts:
            if part.kind == "category":  # one unit for all words: a rare one must not rule
                std[part.start : part.stop] = np.sqrt((std[part.start : part.stop] ** 2).mean())
        self._std = np.where(std > SAME * np.abs(raw).max(0), std, 1.0)

    @property
    def is_category(self) -> np.ndarray:
        """Bool `[number]`: which numbers stand for a category."""
        found = np.zeros(len(self._mean), dtype=bool)
        for part in self.parts:
            found[part.start : part.stop] = part.kind == "category"
        return found

    def encode(self, data: ModalityData) -> np.ndarray:
        """Returns `[row, number]`; 0, the mean, where a cell is missing."""
        return np.asarray(np.nan_to_num((self._raw(data) - self._mean) / self._std, nan=0.0))

    def values(self, part: Part, numbers: np.ndarray) -> np.ndarray:
        """Returns `[..., row]` numbers or words, or `[..., row, channel]` of a list, for `[..., row, number]`."""
        raw = (numbers * self._std + self._mean)[..., part.start : part.stop]
        if part.kind == "category":
            words: np.ndarray = np.array(part.words, dtype=object)[raw.argmax(-1)]
            return words
        found: np.ndarray = raw if part.kind == "list" else raw[..., 0]
        return found

    def _raw(self, data: ModalityData) -> np.ndarray:
        if self._block is not None:
            return self._block(data)
        if self._kind == "vector":
            return np.asarray(data.values, dtype=np.float64)
        columns = [_numbers(part, data.values[part.column]) for part in self.parts if part.kind != "cell"]
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(data), 0))


def _numbers(part: Part, cells: pd.Series) -> np.ndarray:
    if part.kind == "category":
        words = cells.to_numpy(dtype=object)
        known = cells.notna().to_numpy()
        code = {word: i for i, word in enumerate(part.words)}
        found = np.full((len(cells), len(part.words)), np.nan)
        for i in np.flatnonzero(known):
            found[i] = np.arange(len(part.words)) == code.get(str(words[i]), -1)
        return found
    if pd.api.types.is_timedelta64_dtype(cells.dtype):
        return np.asarray(cells.dt.total_seconds().to_numpy(np.float64)[:, None])
    return cells.to_numpy(dtype=np.float64, na_value=np.nan)[:, None]


def parts_of(modality: Modality, kinds: Mapping[str, ColumnKind], data: ModalityData) -> tuple[Part, ...]:
    """Returns a part for each column of the modality; the words of categories are those of `data`."""
    columns = modality.columns
    if data.kind not in ("table", "vector"):
        return (Part(columns[0], "cell"),)
    if data.kind == "vector":
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


def complete(data: ModalityData) -> np.ndarray:
    """Returns which rows have all their cells, bool `[row]`."""
    if data.kind == "table":
        return np.asarray(data.values.notna().to_numpy().all(1))
    return data.present & ~np.isnan(data.values).any(1) if data.kind == "vector" else data.present
