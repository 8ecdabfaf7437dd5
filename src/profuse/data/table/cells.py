"""Columns of one modality -> `ModalityData`: words to numbers, files to arrays, empty cells to "missing".

An empty cell is a missing value; what cannot be read is an error with its row, or is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd

from profuse.data.dataset import ModalityData, object_array
from profuse.data.media import to_numbers
from profuse.data.table.lists import is_list_text
from profuse.data.table.number_format import written_numbers
from profuse.data.table.spellings import merged
from profuse.data.table.times import parse_durations, parse_times
from profuse.data.table.values import is_missing, words
from profuse.data.wording import counted, tell_missing, tell_rows, tell_values
from profuse.errors import DataError, MissingDependencyError
from profuse.kinds import LevelRange, kind_named
from profuse.schema import DurationReading, Modality, OnBadFile, TimeReading

__all__ = ["NOT_ALL_TRUTH", "Cells", "as_truth", "object_array"]

NOT_ALL_TRUTH = "not_all_truth"
"""`frame.attrs` of a piece of a table names by it the columns that hold other words than true and false elsewhere."""

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
    ranges: dict[str, LevelRange] = field(default_factory=dict)
    spellings: Collection[str] = ()
    numbers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _remarks: dict[str, list[int]] = field(default_factory=dict, init=False)
    _row: int = field(default=0, init=False)

    def modality(self, name: str, modality: Modality, kinds: Mapping[str, str]) -> ModalityData:
        """Returns the modality `name` of all rows."""
        data = kind_named(modality.kind or "table").read_cells(self, name, modality.columns, kinds)
        most = modality.max_length
        return replace(data, preprocess=modality.preprocess, encoder=modality.encoder, max_length=most)

    def column(self, name: str, kind: str) -> pd.Series:
        """Returns a column as numbers ("numeric"), times ("timestamp") or words ("category")."""
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
            truth = cells if name in self.frame.attrs.get(NOT_ALL_TRUTH, ()) else as_truth(cells)
            values, lost = written_numbers(name, truth, self.numbers.get(name))
            numbers = pd.Series(values)
            no_words = np.array([not isinstance(v, str) for v in cells], dtype=bool)
            lost = np.union1d(lost, np.flatnonzero(numbers.isna() & no_words & ~_empty(cells)))
            if len(lost):
                self.notes.append(f"Column {name!r}: {tell_missing(lost, f'no number ({_few(cells.iloc[lost])})')}.")
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
            self.notes.append(f"Column {name!r}: {tell_missing(lost, f'no duration ({_few(cells.iloc[lost])})')}.")
        return seconds

    def _times(self, name: str) -> pd.Series:
        cells = self.frame[name]
        times = parse_times(cells, self.dates.get(name)).times
        lost = np.flatnonzero(times.isna() & ~_empty(cells))
        if len(lost):
            self.notes.append(f"Column {name!r}: {tell_missing(lost, f'no time ({_few(cells.iloc[lost])})')}.")
        return times

    def check_finite(self, name: str, infinite: np.ndarray) -> None:
        if infinite.any():
            raise DataError(
                f"column {name!r}: numbers must be finite; infinite in {tell_rows(np.flatnonzero(infinite))}. "
                "Write null if it means 'missing', or correct them."
            )

    def held(self, cell: Any) -> Path | np.ndarray | None:
        """Returns the path that `cell` names, or the numbers that it holds; None for an empty list."""
        if isinstance(cell, str) and not (is_list_text(cell) or cell.lstrip()[:1] == "["):
            return self.path(cell)
        return to_numbers(cell)

    def path(self, cell: str) -> Path:
        """Returns the path that `cell` names."""
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
                        f"row {counted(i)} (counted from 0), column {name!r}: {what} must be readable; got "
                        f"{told}{place}: {error}. {_REMEDY}"
                    ) from error
                first = first or f"{told}: {error}"
                bad.append(i)
        if bad:
            self.notes.append(
                f"Column {name!r}: {tell_rows(bad)} could not be read and count{'s' if len(bad) == 1 else ''} "
                f"as missing (the first: {first})."
            )
        self.notes += [f"Column {name!r}, {tell_rows(rows)}: {remark}." for remark, rows in self._remarks.items()]
        self._remarks.clear()
        return out


def as_truth(cells: pd.Series) -> pd.Series:
    """Returns the words true and false, as a CSV file holds booleans, as booleans; a column of others as it is."""
    result = cells.astype("str").str.lower().map({"true": True, "false": False})
    return result if bool((result.notna() | cells.isna()).all()) else cells


def _few(cells: pd.Series) -> str:
    """Returns the first different cells in words."""
    return tell_values(_distinct(cells), n=3)


def _distinct(cells: pd.Series) -> list[Any]:
    """Returns the different cells in order, lists too."""
    return list({repr(cell): cell for cell in cells}.values())


def _empty(cells: pd.Series) -> np.ndarray:
    if cells.dtype != object and not isinstance(cells.dtype, pd.StringDtype):
        return cells.isna().to_numpy(dtype=bool)
    return np.array([is_missing(v) for v in cells], dtype=bool)
