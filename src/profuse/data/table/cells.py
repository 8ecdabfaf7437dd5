"""Columns of one modality -> `ModalityData`: words to numbers, files to arrays, empty cells to "missing".

An empty cell is a missing value; what cannot be read is an error with its row, or is skipped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData, object_array
from profuse.data.media import to_numbers
from profuse.data.media.columns import pictures, series, sounds
from profuse.data.table.lists import ShortenedListError, is_list_text, parse_list
from profuse.data.table.number_format import written_numbers
from profuse.data.table.spellings import merged
from profuse.data.table.times import parse_durations, parse_times
from profuse.data.table.values import is_missing, words
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError, MissingDependencyError
from profuse.schema import ColumnKind, DurationReading, Modality, OnBadFile, TimeReading

__all__ = ["Cells", "as_truth", "object_array"]

_REMEDY = (
    "Correct the file or the cell, or go on with on_bad_file='skip' (--on-bad-file skip): it then counts as missing."
)


@dataclass
class Cells:
    """Reads the columns of a table into modalities; what it counted stands in `notes`.

    Attributes:
        frame: The table, rows numbered from 0.
        base_dir: Paths in cells are relative to it.
        on_bad_file: "raise", or "skip": a file or list that cannot be read counts as missing.
        rates: Samples a second of audio modalities, where they are fixed already.
        dates: How times and durations are written, by column, where it is fixed already.
        ranges: Levels of black and white in pictures of more than 8 bits, by column, where they are fixed already.
        spellings: Columns of words in which blanks and case do not count.
        numbers: How columns write numbers, where that is not plain.
        notes: What was counted.
    """

    frame: pd.DataFrame
    base_dir: Path
    on_bad_file: OnBadFile = "raise"
    rates: dict[str, int] = field(default_factory=dict)
    dates: dict[str, TimeReading] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    spellings: Collection[str] = ()
    numbers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _remarks: dict[str, list[int]] = field(default_factory=dict, init=False)
    _row: int = field(default=0, init=False)

    def modality(self, name: str, modality: Modality, kinds: dict[str, ColumnKind]) -> ModalityData:
        """Returns the modality `name` of all rows."""
        columns, rate, levels = list(modality.columns), None, None
        if modality.kind == "table":
            values: Any = pd.DataFrame({c: self._table_column(c, kinds[c]) for c in columns})
            present = values.notna().to_numpy().any(axis=1)
        elif modality.kind == "vector":
            values, present = self._vector(columns)
        elif modality.kind == "text":
            values, present = self._text(columns[0])
        elif modality.kind == "image":
            values, present, levels = pictures(self, columns[0])
        elif modality.kind == "audio":
            values, present, rate = sounds(self, name, columns[0])
        else:
            values, present = series(self, columns[0])
        return ModalityData(
            modality.kind or "table",
            values,
            present,
            rate,
            levels,
            preprocess=modality.preprocess,
            encoder=modality.encoder,
        )

    def _table_column(self, name: str, kind: ColumnKind) -> pd.Series:
        cells = self.frame[name]
        if kind == "numeric":
            return self._numbers(name)
        if kind == "timestamp":
            return self._times(name)
        if isinstance(cells.dtype, pd.CategoricalDtype) and cells.dtype.ordered:
            return cells
        return pd.Series(words(merged(cells) if name in self.spellings else cells), dtype=object)

    def _numbers(self, name: str) -> pd.Series:
        cells = self.frame[name]
        if pd.api.types.is_timedelta64_dtype(cells.dtype):
            numbers: pd.Series = cells.dt.total_seconds()
        elif self.dates.get(name) in get_args(DurationReading):
            numbers = self._durations(name, cast(DurationReading, self.dates[name]))
        elif pd.api.types.is_numeric_dtype(cells.dtype) or pd.api.types.is_bool_dtype(cells.dtype):
            numbers = pd.Series(cells.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            values, lost = written_numbers(name, as_truth(cells), self.numbers.get(name))
            numbers = pd.Series(values)
            no_words = np.array([not isinstance(v, str) for v in cells], dtype=bool)
            lost = np.union1d(lost, np.flatnonzero(numbers.isna() & no_words & ~_empty(cells)))
            if len(lost):
                self.notes.append(
                    f"Column {name!r}: {tell_rows(lost)} hold no number "
                    f"({tell_values(_distinct(cells.iloc[lost]), n=3)}) and count as missing."
                )
        infinite = np.flatnonzero(np.isinf(numbers))
        if len(infinite):
            raise DataError(
                f"column {name!r}: numbers must be finite; infinite in {tell_rows(infinite)}. Empty these cells "
                "if they mean 'missing', or correct them."
            )
        return numbers

    def _durations(self, name: str, reading: DurationReading) -> pd.Series:
        cells = self.frame[name]
        seconds = pd.Series(parse_durations(cells, reading))
        lost = np.flatnonzero(seconds.isna() & ~_empty(cells))
        if len(lost):
            self.notes.append(
                f"Column {name!r}: {tell_rows(lost)} hold no duration "
                f"({tell_values(_distinct(cells.iloc[lost]), n=3)}) and count as missing."
            )
        return seconds

    def _times(self, name: str) -> pd.Series:
        cells = self.frame[name]
        times = parse_times(cells, self.dates.get(name)).times
        lost = np.flatnonzero(times.isna() & ~_empty(cells))
        if len(lost):
            self.notes.append(
                f"Column {name!r}: {tell_rows(lost)} hold no time ({tell_values(_distinct(cells.iloc[lost]), n=3)}) "
                "and count as missing."
            )
        return times

    def _text(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        values = [_joined(v) for v in words(self.frame[name])]
        present = np.array([v is not None and bool(v.strip()) for v in values])
        return object_array([v if p else "" for v, p in zip(values, present, strict=True)]), present

    def _vector(self, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
        first = self.frame[columns[0]]
        if len(columns) > 1 or pd.api.types.is_numeric_dtype(first.dtype):
            values = np.stack([self._numbers(c).to_numpy(dtype=np.float64) for c in columns], axis=1)
            return values, ~np.isnan(values).all(axis=1)
        found = self.each(columns[0], to_numbers, "vectors")
        widths = Counter(v.shape for v in found if v is not None)
        shape = widths.most_common(1)[0][0] if widths else (1,)
        others = [i for i, v in enumerate(found) if v is not None and v.shape != shape]
        if others or len(shape) != 1:
            told = found[others[0]].shape if others else shape
            raise DataError(
                f"column {columns[0]!r}: vectors must be lists of one length, here {shape[0]}; got shape {told} in "
                f"{tell_rows(others or [0])}. Correct them, or set the kind to series."
            )
        values = np.full((len(found), shape[0]), np.nan)
        for i, v in enumerate(found):
            if v is not None:
                values[i] = v
        self.check_finite(columns[0], np.isinf(values).any(axis=1))
        return values, ~np.isnan(values).all(axis=1)

    def check_finite(self, name: str, infinite: np.ndarray) -> None:
        if infinite.any():
            raise DataError(
                f"column {name!r}: numbers must be finite; infinite in {tell_rows(np.flatnonzero(infinite))}. "
                "Write null if it means 'missing', or correct them."
            )

    def path(self, cell: str) -> Path:
        """Returns the path that `cell` tells."""
        return self.base_dir / cell.strip()

    def tell(self, remark: str) -> None:
        """Counts `remark`, a sentence, for the row that `each` reads."""
        self._remarks.setdefault(remark, []).append(self._row)

    def each(self, name: str, read: Callable[[Any], Any], what: str) -> list[Any]:
        """Returns `read(cell)` for each cell, None where it is empty or, on request, cannot be read."""
        cells, empty = self.frame[name].to_numpy(dtype=object), _empty(self.frame[name])
        out: list[Any] = [None] * len(cells)
        bad: list[int] = []
        first = ""
        for i, cell in enumerate(cells):
            if empty[i]:
                continue
            self._row = i
            try:
                out[i] = read(cell)
            except MissingDependencyError:
                raise
            except DataError as error:
                told = repr(cell if len(str(cell)) <= 80 else f"{str(cell)[:77]}...")
                if self.on_bad_file == "raise":
                    place = f" in {str(self.base_dir)!r}" if isinstance(cell, str) and cell.lstrip()[:1] != "[" else ""
                    raise DataError(
                        f"row {i} (counted from 0), column {name!r}: {what} must be readable; got {told}{place}: "
                        f"{error}. {_REMEDY}"
                    ) from error
                first = first or f"{told}: {error}"
                bad.append(i)
        if bad:
            self.notes.append(
                f"Column {name!r}: {tell_rows(bad)} could not be read and count as missing (the first: {first})."
            )
        self.notes += [f"Column {name!r}, {tell_rows(rows)}: {remark}." for remark, rows in self._remarks.items()]
        self._remarks.clear()
        return out


def as_truth(cells: pd.Series) -> pd.Series:
    """Returns the words true and false, as a CSV file holds booleans, as booleans; a column of others as it is."""
    found = cells.astype("str").str.lower().map({"true": True, "false": False})
    return found if bool((found.notna() | cells.isna()).all()) else cells


def _distinct(cells: pd.Series) -> list[Any]:
    """Returns the different cells in order, lists too."""
    return list({repr(cell): cell for cell in cells}.values())


def _empty(cells: pd.Series) -> np.ndarray:
    if cells.dtype != object and not isinstance(cells.dtype, pd.StringDtype):
        return cells.isna().to_numpy(dtype=bool)
    return np.array([is_missing(v) for v in cells], dtype=bool)


def _joined(value: Any) -> str | None:
    """Returns a text cell; a list of words, or the text of one, is its words."""
    if isinstance(value, str) and is_list_text(value):
        try:
            items = parse_list(value)
        except ShortenedListError:
            raise
        except DataError:  # words in brackets
            return value
        value = items if all(isinstance(w, str) for w in items) else value
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    return value if value is None or isinstance(value, str) else ", ".join(map(str, value))
