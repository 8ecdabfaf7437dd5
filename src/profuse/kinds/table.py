"""Tables: numbers, categories and times, a column each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from profuse.data.table.cells import Cells
from profuse.data.table.column_kinds import UNUSED, column_kind
from profuse.data.table.infer import plain_names
from profuse.data.table.spellings import letters
from profuse.data.table.values import words
from profuse.errors import DataError
from profuse.kinds import CellReader, Given, Kind, ModalityData, Spec, Unit
from profuse.kinds._units import stretches
from profuse.kinds.noise.cells import CELLS

__all__ = ["TABLE", "TableKind"]


class TableKind(Kind):
    """A DataFrame; a row is there if any of its cells is."""

    name = "table"
    noun = "tables"
    preprocessor = "table"
    feature_sets = ("table", "ranks")
    encoder = "table"
    columns: ClassVar[Literal["one", "numbered", "any"]] = "any"
    is_numbers = True
    corruptions = CELLS
    usual = ("white", "shuffled")

    def check(self, value: Any) -> np.ndarray:
        raise DataError("a table must be given as a whole, as a DataFrame")

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        values = pd.DataFrame({c: cells.column(c, kinds[c]) for c in columns})
        return ModalityData(self.name, values, np.asarray(values.notna().to_numpy().any(axis=1)))

    def read_arrays(self, given: Given) -> ModalityData:
        values = given.values
        frame = plain_names(values if isinstance(values, pd.DataFrame) else pd.DataFrame(values))
        kinds: dict[str, str] = {}
        for column in frame.columns:
            kind, _ = column_kind(column, frame[column])
            number = pd.api.types.is_numeric_dtype(frame[column].dtype)
            if kind not in ("numeric", "timestamp"):
                as_number = number or (kind == UNUSED and not frame[column].notna().any())
                kind = "numeric" if as_number else "category"
            kinds[column] = kind
        data = self.read_cells(Cells(frame, Path()), given.name, tuple(frame.columns), kinds)
        return replace(data, present=data.present & given.present)

    def concatenate(self, name: str, first: ModalityData, second: ModalityData) -> ModalityData:
        values = pd.concat([first.values, second.values], ignore_index=True)
        return replace(first, values=values, present=np.concatenate([first.present, second.present]))

    def describe(self, spec: Spec) -> str:
        n = spec.n_columns or len(spec.cardinalities)
        return f"{n} column{'' if n == 1 else 's'}"

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Cells that are filled; neighbours together where there are more than `most`. `where` are their columns."""
        cells = data.values.iloc[row]
        filled = np.flatnonzero(data.values.iloc[[row]].notna().to_numpy()[0])
        return [
            Unit(", ".join(f"{data.values.columns[j]} = {_said(cells.iloc[j])}" for j in filled[a:b]), (*filled[a:b],))
            for a, b in stretches(len(filled), most)
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Makes cells missing."""
        copies = super().keep(data, row, units, kept)
        frame = copies.values.copy()
        for unit, there in zip(units, kept.T, strict=True):
            for j in map(int, unit.where):
                frame[frame.columns[j]] = frame.iloc[:, j].where(there)
        return replace(copies, values=frame)

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        for column in data.values:
            cells = data.values[column]
            if pd.api.types.is_datetime64_any_dtype(cells.dtype) or pd.api.types.is_timedelta64_dtype(cells.dtype):
                values = cells.astype("int64").to_numpy(np.float64)
                yield repr(column), np.where(cells.isna(), np.nan, values), False
            elif pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_bool_dtype(cells.dtype):
                yield repr(column), cells.to_numpy(dtype=np.float64, na_value=np.nan), False
            else:
                yield repr(column), pd.factorize(words(cells))[0].astype(np.float64), True
            empty = cells.isna().to_numpy()
            if empty.any() and not empty.all():
                yield f"whether {column!r} is filled", empty.astype(np.float64), True

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        """The words of columns of words, and which numbers are missing."""
        return [
            list(data.values[c].isna())
            if _is_number(like.values[c])
            else [None if w is None else letters(w) for w in words(data.values[c])]
            for c in like.values
        ]

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        columns = [data.values[c] for c in like.values if _is_number(like.values[c])]
        made = [
            c.to_numpy(dtype=np.float64, na_value=np.nan)
            if pd.api.types.is_numeric_dtype(c.dtype)
            else np.where(c.isna(), np.nan, c.astype("int64").to_numpy(np.float64))
            for c in columns
        ]
        return np.stack(made, axis=1) if made else np.zeros((len(data), 0))


def _said(value: Any) -> str:
    """Returns a cell in words."""
    if isinstance(value, pd.Timestamp):
        return str(value.date() if value == value.normalize() else value)
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _is_number(cells: pd.Series) -> bool:
    types = pd.api.types
    is_time = types.is_datetime64_any_dtype(cells.dtype) or types.is_timedelta64_dtype(cells.dtype)
    return is_time or (types.is_numeric_dtype(cells.dtype) and not types.is_bool_dtype(cells.dtype))


TABLE = TableKind()
