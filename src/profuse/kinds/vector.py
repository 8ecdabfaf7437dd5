"""Vectors: numbered columns of numbers, or lists of one length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from profuse.data.arrays import floats, no_fit
from profuse.data.media import to_numbers
from profuse.data.wording import counted, tell_rows
from profuse.errors import DataError
from profuse.kinds import CellReader, Given, Kind, ModalityData, Unit
from profuse.kinds._units import stretches
from profuse.kinds.noise.numbers import VECTORS

__all__ = ["VECTOR", "VectorKind"]

_MOST_CHANNELS = 2000  # that the target is held against


class VectorKind(Kind):
    """An array `[row, channel]` of floats; NaN is a missing number, a row of them a missing vector."""

    name = "vector"
    noun = "vectors"
    preprocessor = "vector"
    feature_sets = ("vector",)
    columns: ClassVar[Literal["one", "numbered", "any"]] = "numbered"
    is_numbers = True
    corruptions = VECTORS
    usual = ("white", "shuffled")

    def check(self, value: Any) -> np.ndarray:
        return np.asarray(value, dtype=np.float64)

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column = columns[0]
        if len(columns) > 1 or pd.api.types.is_numeric_dtype(cells.frame[column].dtype):
            values = np.stack([cells.column(c, "numeric").to_numpy(dtype=np.float64) for c in columns], axis=1)
            return ModalityData(self.name, values, ~np.isnan(values).all(axis=1))
        result = cells.each(column, to_numbers, self.noun)
        widths = Counter(v.shape for v in result if v is not None)
        shape = widths.most_common(1)[0][0] if widths else (1,)
        others = [i for i, v in enumerate(result) if v is not None and v.shape != shape]
        if others or len(shape) != 1:
            got = result[others[0]].shape if others else shape
            raise DataError(
                f"column {column!r}: vectors must be lists of one length, here {shape[0]}; got shape {got} in "
                f"{tell_rows(others or [0])}. Correct them, or set the kind to series."
            )
        values = np.full((len(result), shape[0]), np.nan)
        for i, v in enumerate(result):
            if v is not None:
                values[i] = v
        cells.check_finite(column, np.isinf(values).any(axis=1))
        return ModalityData(self.name, values, ~np.isnan(values).all(axis=1))

    def read_arrays(self, given: Given) -> ModalityData:
        name, values = given.name, given.values
        if not isinstance(values, np.ndarray):
            shape = np.shape(next((v for v, p in zip(values, given.present, strict=True) if p), 0.0))
            if len(shape) > 1:
                raise no_fit(name, self.name, (len(values), *shape))
            rows = np.full((len(values), *(shape or (1,))), np.nan)
            for i, value in given.rows:
                if np.shape(value) != shape:
                    raise DataError(
                        f"modality {name!r}: all vectors must be of one length, {shape}; got {np.shape(value)} in "
                        f"row {counted(i)} (counted from 0). Set kinds to series if they are steps."
                    )
                try:
                    rows[i] = value
                except (TypeError, ValueError):
                    raise DataError(
                        f"modality {name!r}: vectors must hold numbers; got {value!r:.60} in row {counted(i)} "
                        "(counted from 0). Correct it, or set kinds."
                    ) from None
            values = rows
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2:
            raise no_fit(name, self.name, values.shape)
        numbers = floats(name, values, given.present)
        return ModalityData(self.name, numbers, given.present & ~np.isnan(numbers).all(axis=1))

    def concatenate(self, name: str, first: ModalityData, second: ModalityData) -> ModalityData:
        a, b = first.values, second.values
        if not second.present.any():
            b = np.full((len(second), a.shape[1]), np.nan)
        elif a.shape[1] != b.shape[1]:
            raise DataError(
                f"modality {name!r}: vectors must be of one length in both tables; got {a.shape[1]} and "
                f"{b.shape[1]}. Correct the second table."
            )
        return super().concatenate(name, first, replace(second, values=b))

    def cells(self, data: ModalityData) -> pd.DataFrame:
        values = np.where(data.present[:, None], np.asarray(data.values, dtype=np.float64), np.nan)
        return pd.DataFrame(values, columns=[f"number {j}" for j in range(values.shape[1])])

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Numbers; neighbours together where there are more than `most`. `where` is (start, stop)."""
        values = np.atleast_1d(data.values[row])
        return [
            Unit(f"number {a} = {values[a]:.6g}" if b == a + 1 else f"numbers {a} to {b - 1}", (a, b))
            for a, b in stretches(len(values), most)
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Makes numbers missing."""
        copies = super().keep(data, row, units, kept)
        values = np.array(copies.values, dtype=np.float64 if copies.values.dtype.kind != "f" else None)
        for unit, there in zip(units, kept.T, strict=True):
            values[~there, int(unit.where[0]) : int(unit.where[1])] = np.nan
        return replace(copies, values=values)

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        values = np.asarray(data.values, dtype=np.float64)
        for j in range(min(values.shape[1], _MOST_CHANNELS)):
            column = np.where(data.present, values[:, j], np.nan)
            yield (repr(name) if values.shape[1] == 1 else f"{name!r}, channel {j}"), column, False

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        """Which numbers are missing."""
        return [[row.tobytes() for row in np.isnan(np.asarray(data.values, dtype=np.float64))]]

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        return np.asarray(data.values, dtype=np.float64).reshape(len(data), -1)


VECTOR = VectorKind()
