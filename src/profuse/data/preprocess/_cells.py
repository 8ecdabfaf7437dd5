"""Cells of a table, whatever their type, as numbers, names or times; missing cells found, wrong ones told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd

from profuse.data.table.times import parse_times
from profuse.data.table.values import is_list, word, words
from profuse.errors import DataError

__all__ = [
    "CYCLES",
    "LARGEST",
    "categories",
    "clock_columns",
    "days",
    "factorize",
    "kind",
    "numbers",
    "times_of",
    "zone_of",
]

_WHO = "TablePreprocessor"
LARGEST = 1e150  # differences and squares of larger numbers overflow float64
_DAY = pd.Timedelta(days=1)
# cycle -> its period in days and the position within it, in days
CYCLES: dict[str, tuple[float, Callable[[pd.Series], pd.Series]]] = {
    "year": (365.2425, lambda t: t.dt.day_of_year - 1 + _clock(t)),
    "week": (7.0, lambda t: t.dt.day_of_week + _clock(t)),
    "day": (1.0, lambda t: _clock(t)),
}


def kind(name: str, cells: pd.Series) -> Literal["numeric", "category", "timestamp"]:
    types = pd.api.types
    if types.is_complex_dtype(cells.dtype):
        raise DataError(f"{_WHO}: column {name!r} must be real; got dtype={cells.dtype}. Give its parts as columns.")
    if isinstance(cells.dtype, pd.CategoricalDtype) or types.is_bool_dtype(cells.dtype):
        return "category"
    if types.is_datetime64_any_dtype(cells.dtype):
        return "timestamp"
    if types.is_numeric_dtype(cells.dtype) or types.is_timedelta64_dtype(cells.dtype):
        return "numeric"
    result = types.infer_dtype(cells, skipna=True)
    if result in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "numeric"
    return "timestamp" if result in ("datetime", "datetime64", "date") else "category"


def numbers(cells: pd.Series) -> np.ndarray:
    """Returns float64, NaN = missing; a duration counts in seconds."""
    if pd.api.types.is_timedelta64_dtype(cells.dtype):
        seconds: np.ndarray = cells.dt.total_seconds().to_numpy(np.float64)
        return seconds
    x: np.ndarray
    if pd.api.types.is_numeric_dtype(cells.dtype):
        x = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        x = np.array([_float(cells.name, row, v) for row, v in cells.items()], dtype=np.float64)
    if np.isinf(x).any():
        row = cells.index[np.isinf(x)][0]
        raise DataError(
            f"{_WHO}: numbers must be finite; got {x[np.isinf(x)][0]} in column {cells.name!r}, row {row} "
            f"({int(np.isinf(x).sum())} such cells). Make them NaN if they mean 'missing'."
        )
    held: np.ndarray = np.clip(x, -LARGEST, LARGEST)
    return held


def _float(name: object, row: object, value: Any) -> float:
    try:
        return np.nan if pd.isna(value) else float(value)
    except (TypeError, ValueError):
        raise DataError(
            f"{_WHO}: column {name!r} held numbers in train and must do so here; got {value!r} in row {row}. "
            "Make it NaN if it means 'missing'."
        ) from None


def factorize(name: str, cells: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Returns for each cell an index into the list of words, -1 = missing."""
    result = words(cells)
    if any(is_list(v) for v in result):
        odd = next(type(v).__name__ for v in result if is_list(v))
        raise DataError(
            f"{_WHO}: cells of column {name!r} must be numbers, words or times; got type={odd}. "
            "Give lists as a modality of kind series or vector."
        )
    index, names = pd.factorize(result)
    return index, list(names)


def categories(name: str, cells: pd.Series) -> tuple[str, ...]:
    _, found = factorize(name, cells)
    if isinstance(cells.dtype, pd.CategoricalDtype) and cells.dtype.ordered:
        seen = set(found)
        return tuple(key for key in map(word, cells.dtype.categories) if key in seen)
    return tuple(sorted(set(found), key=_by_value))


def _by_value(key: str) -> tuple[bool, float, str]:
    try:
        return (False, float(key), key)
    except ValueError:
        return (True, 0.0, key)


def times_of(name: str, cells: pd.Series, zone: str | None) -> pd.Series:
    """Returns the column as time stamps without a zone, on the clock of `zone`, if train had one."""
    if pd.api.types.is_numeric_dtype(cells.dtype) and cells.notna().any():
        raise DataError(
            f"{_WHO}: column {name!r} held times in train and must do so here; got dtype={cells.dtype} (numbers are no "
            "times). Write times as ISO 8601."
        )
    times = parse_times(cells.rename(name), "year-month-day").times
    lost = np.flatnonzero(times.isna() & cells.notna())
    if len(lost):
        raise DataError(
            f"{_WHO}: column {name!r} held times in train and must do so here; got {cells.iloc[lost[0]]!r}. Write "
            "times as ISO 8601."
        )
    zoned = times.dt.tz is not None
    if zoned != (zone is not None) and times.notna().any():
        here, train = ("a zone", "none") if zoned else ("none", f"the zone {zone}")
        raise DataError(
            f"{_WHO}: times of column {name!r} must have a zone if they had one in train, and none otherwise; got "
            f"{here} here, and {train} in train. Write them with an offset (+02:00), or without, as in train."
        )
    return times.dt.tz_convert(zone).dt.tz_localize(None) if zoned else times


def zone_of(name: str, cells: pd.Series) -> str | None:
    """Returns the zone of the column's times, None where they have none."""
    zone = parse_times(cells.rename(name), "year-month-day").times.dt.tz
    return None if zone is None else str(zone)


def _clock(times: pd.Series) -> pd.Series:
    fraction: pd.Series = (times - times.dt.normalize()) / _DAY
    return fraction


def days(times: pd.Series) -> np.ndarray:
    """Returns days since 1970."""
    return ((times - pd.Timestamp(0).as_unit("us")) / _DAY).to_numpy(np.float64)


def clock_columns(times: pd.Series, cycles: tuple[str, ...]) -> list[np.ndarray]:
    columns = [days(times)]
    for cycle in cycles:
        period, at = CYCLES[cycle]
        angle = 2.0 * np.pi * at(times).to_numpy(np.float64) / period
        columns += [np.sin(angle).round(9), np.cos(angle).round(9)]  # sin(pi) is 0, not 1e-16: no false bins
    return columns
