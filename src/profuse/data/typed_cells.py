"""Cells of a table, whatever their type, as numbers, names or times; missing cells found, wrong ones told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from profuse._lookup import nearest
from profuse.data.dataset import ModalityData
from profuse.data.table.times import parse_times
from profuse.data.table.values import is_list, match, word, words
from profuse.data.wording import counted
from profuse.errors import DataError

__all__ = [
    "CYCLES",
    "LARGEST",
    "categories",
    "clock_columns",
    "codes",
    "cycles",
    "days",
    "factorize",
    "first_frame",
    "kind",
    "known_frame",
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
        x = np.array([_float(cells.name, row, v) for row, v in enumerate(cells)], dtype=np.float64)
    if np.isinf(x).any():
        row = int(np.flatnonzero(np.isinf(x))[0])
        raise DataError(
            f"{_WHO}: numbers must be finite; got {x[np.isinf(x)][0]} in column {cells.name!r}, row {counted(row)} "
            f"({int(np.isinf(x).sum())} such cells). Make them NaN if they mean 'missing'."
        )
    held: np.ndarray = np.clip(x, -LARGEST, LARGEST)
    return held


def _float(name: object, row: int, value: Any) -> float:
    try:
        return np.nan if pd.isna(value) else float(value)
    except (TypeError, ValueError):
        raise DataError(
            f"{_WHO}: column {name!r} held numbers in train and must do so here; got {value!r} in row {counted(row)}. "
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


def cycles(times: pd.Series) -> tuple[str, ...]:
    """Returns the cycles of which the times span one whole period and hold more than one phase."""
    day = days(times)
    span = np.nanmax(day) - np.nanmin(day) if not np.isnan(day).all() else 0.0
    return tuple(c for c, (period, at) in CYCLES.items() if span >= period and at(times).round(6).nunique() > 1)


def clock_columns(times: pd.Series, names: tuple[str, ...]) -> list[np.ndarray]:
    columns = [days(times)]
    for cycle in names:
        period, at = CYCLES[cycle]
        angle = 2.0 * np.pi * at(times).to_numpy(np.float64) / period
        columns += [np.sin(angle).round(9), np.cos(angle).round(9)]  # sin(pi) is 0, not 1e-16: no false bins
    return columns


def codes(name: str, known: Sequence[str], cells: pd.Series) -> np.ndarray:
    """Returns 1, 2, ... by the place among `known` categories, 0 = not among them, NaN = missing, as floats."""
    if not known:
        return np.full(len(cells), np.nan)
    index, found = factorize(name, cells)
    by_word: np.ndarray = np.append(match(found, known) + 1.0, np.nan)
    return np.asarray(by_word[index])


def first_frame(data: ModalityData) -> pd.DataFrame:
    """Returns the present rows of a training table.

    Raises:
        DataError: It is no table, or one without columns or rows, or with a column twice.
    """
    frame = _frame(data)
    if frame.shape[1] == 0:
        raise DataError(f"{_WHO}: the table must have at least one column; got 0.")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{_WHO}: column names must differ; got {twice[0]!r} twice. Rename one of them.")
    if not data.present.any():
        raise DataError(f"{_WHO}: at least one training row must be present; got none. Leave the modality out.")
    return frame[data.present]


def known_frame(data: ModalityData, known: Sequence[str]) -> pd.DataFrame:
    """Returns the present rows of a later table, whose columns must be those `known` from training."""
    frame = _frame(data)
    lacking = [name for name in known if name not in frame.columns]
    fitted = set(known)
    unknown = [name for name in frame.columns if name not in fitted]
    if lacking or unknown or frame.columns.has_duplicates:
        near = [f"{u!r} is near {n[0]!r}" for u in unknown if (n := nearest(u, known))]
        raise DataError(
            f"{_WHO}: the columns must be those of train, once each; got lacking={lacking}, unknown={unknown}, "
            f"twice={sorted(set(frame.columns[frame.columns.duplicated()]))}. "
            + (f"({'; '.join(near)}.) " if near else "")
            + "Rename, add or drop columns; a column without values may be all NaN."
        )
    return frame[data.present]


def _frame(data: ModalityData) -> pd.DataFrame:
    if data.frame is None:
        raise DataError(
            f"{_WHO}: it must be given a table; got kind={data.kind!r}, values={type(data.values).__name__}."
        )
    return data.frame.rename(columns=str)
