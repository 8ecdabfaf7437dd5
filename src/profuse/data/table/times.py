"""Columns of words, numbers and objects -> times and durations, read as it was decided on all cells in training.

Times are held to the microsecond, in the years 1 to 9999. A column has one reading (`Schema.dates`): it is decided
once, by all cells, and then holds for each cell by itself, so that a row alone is read as in its table.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from profuse.data.table.date_words import ORDERS, read_date
from profuse.data.table.durations import read_duration
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import DateOrder, DurationReading, EpochUnit, TimeReading

__all__ = [
    "CENTURIES",
    "NUMBER",
    "Reading",
    "given_times",
    "in_range",
    "instants",
    "parse_durations",
    "parse_times",
    "tidy",
    "time_words",
]

UNITS: dict[EpochUnit, Decimal] = {
    "seconds": Decimal(10**6),
    "milliseconds": Decimal(10**3),
    "microseconds": Decimal(1),
    "nanoseconds": Decimal("1e-3"),
}
_LEAST: dict[EpochUnit, float] = {"seconds": 1e8, "milliseconds": 1e11, "microseconds": 1e14, "nanoseconds": 1e17}
_SHORT = (4, 6, 8, 12, 14)  # digits of 2024, 202405, 20240531, with 1400, with 140030
_FIRST, _LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_ISO = r"(?:[1-9]\d{3}|0[1-9]\d{2}|00[1-9]\d|000[1-9])-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?"
CENTURIES = "years of two digits are 1969 to 2068"


@dataclass(frozen=True)
class Reading:
    """How a column of times is read.

    Attributes:
        order: Kept in `Schema.dates`.
        times: The cells as times, NaT where they are none; durations in seconds, NaN where they are none.
        told: What is to be told of it beside the order.
    """

    order: TimeReading
    times: pd.Series
    told: str = ""

    @property
    def kind(self) -> Literal["numeric", "timestamp"]:
        return "numeric" if self.order in get_args(DurationReading) else "timestamp"

    @property
    def reason(self) -> str:
        if self.kind == "numeric":
            return f"durations, in seconds{self.told}"
        return f"{'times' if self.order in UNITS else 'dates'}, read as {self.order}{self.told}"


def parse_times(cells: pd.Series, order: TimeReading | None = None) -> Reading:
    """Returns the cells, whatever they are, as times: with a zone if they tell one, to the microsecond.

    Dates in `ORDERS` and in the shapes of `profuse.data.table.date_words`, numbers since 1970, 20240531, Python's and
    NumPy's dates. Where the `order` is known, each cell is read by it, or as a date that has but one meaning, whatever
    stands in the others; else the column decides, and has to.

    Raises:
        DataError: More than one order fits; there are some times with and some without a zone; numbers of which the
            unit is not known; or, where `order` is to be found, cells that are no times among those that are.
    """
    name = cells.name
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return Reading(order or "year-month-day", in_range(cells))
    objects, words = _parts_of(cells)
    found, zoned = np.full(len(cells), np.datetime64("NaT", "us")), np.zeros(len(cells), dtype=bool)
    decided, told, zone = order or "year-month-day", "", None
    if len(words):
        decided, told = _read_words(name, words, order, found, zoned)
    if len(objects):
        zone = _read_objects(objects, found, zoned)
    known = ~np.isnat(found)
    if (zoned & known).any() and not (zoned | ~known).all():
        rows = np.flatnonzero(known & (zoned if zoned.sum() <= 0.5 * known.sum() else ~zoned))
        raise DataError(
            f"column {name!r}: times must all have a zone or none of them; got both, the rarer in {tell_rows(rows)}: "
            f"{tell_values(cells.iloc[rows[:3]].map(_shown))}. Write them all with an offset (+02:00), or all without."
        )
    times = pd.Series(found, index=cells.index, name=name)
    if zoned.any():
        alone = zone is not None and not len(words)
        times = times.dt.tz_localize("UTC")
        times = times.dt.tz_convert(zone) if alone else times
        told = (told or "") if alone else f" in UTC{told}"
    return Reading(decided, times, told)


def parse_durations(cells: pd.Series, reading: DurationReading) -> np.ndarray:
    """Returns words as seconds, NaN where they are none; a plain number counts as seconds."""
    seconds = np.full(len(cells), np.nan)
    for row, word in _parts_of(cells)[1].items():
        seconds[row] = read_duration(word, reading, plain=True)
    return seconds


def time_words(cells: pd.Series) -> list[str]:
    """Returns the distinct words and numbers of a column, as `parse_times` and `parse_durations` see them."""
    return list(dict.fromkeys(_parts_of(cells)[1].values()))


def instants(times: pd.Series) -> np.ndarray:
    """Returns times as `datetime64[us]`, in UTC where they have a zone."""
    plain = times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz is not None else times
    return plain.to_numpy(dtype="datetime64[us]")


def given_times(values: np.ndarray) -> np.ndarray:
    """Returns times that stand beside a table, one a row, as what sorts by time; numbers and other labels as they are.

    Raises:
        DataError: Some are times and others are not; or see `parse_times`.
    """
    if values.ndim != 1 or values.dtype.kind not in "MOSU":
        return values
    cells = pd.Series(values if values.dtype.kind == "M" else values.astype(object), name="times")
    if values.dtype.kind != "M":
        words, plain = time_words(cells), cells.map(lambda v: isinstance(v, str | datetime.date | np.datetime64))
        if not plain.any() or (words and all(NUMBER.fullmatch(w) or read_date(w) is None for w in words)):
            return values
    result = instants(parse_times(cells).times)
    lost = np.flatnonzero(np.isnat(result) & cells.notna().to_numpy())
    if len(lost):
        raise DataError(
            f"times: they must all be times; no time in {tell_rows(lost)}: {tell_values(cells.iloc[lost[:3]])}. "
            "Correct them."
        )
    return result


def in_range(times: pd.Series) -> pd.Series:
    """Returns a column of times to the microsecond.

    Raises:
        DataError: A year is beyond 1 to 9999.
    """
    plain = (times.dt.tz_convert("UTC").dt.tz_localize(None) if times.dt.tz is not None else times).to_numpy()
    unit = np.datetime_data(plain.dtype)[0]
    if unit in ("s", "ms", "us"):
        wrong = np.flatnonzero((plain < _FIRST.astype(plain.dtype)) | (plain > _LAST.astype(plain.dtype)))
        if len(wrong):
            raise DataError(
                f"column {times.name!r}: times must lie in the years 1 to 9999; got {plain[wrong[0]]} in "
                f"{tell_rows(wrong)}. Correct them, or empty these cells if they mean 'none'."
            )
    return pd.Series(times.dt.as_unit("us"))


def tidy(word: str) -> str:
    return " ".join(word.split())


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _parts_of(cells: pd.Series) -> tuple[dict[int, Any], dict[int, str]]:
    """Returns, by row, the cells that are dates already, and the words and numbers, as words; the rest is no time."""
    if pd.api.types.is_bool_dtype(cells.dtype):
        return {}, {}
    objects: dict[int, Any] = {}
    words: dict[int, str] = {}
    for row, value in enumerate(cells.to_numpy(dtype=object)):
        if isinstance(value, str):
            word = tidy(value)
            if word:
                words[row] = word
        elif value is None or value is pd.NaT or value is pd.NA or value != value:
            continue
        elif isinstance(value, datetime.date | np.datetime64):
            objects[row] = value
        elif isinstance(value, float | np.floating):
            words[row] = str(int(value)) if float(value).is_integer() else repr(float(value))
        elif not isinstance(value, bool | np.bool_) and hasattr(value, "__int__"):
            words[row] = str(value)
    return objects, words


def _read_objects(objects: dict[int, Any], found: np.ndarray, zoned: np.ndarray) -> datetime.tzinfo | None:
    """Reads dates of Python, pandas and NumPy into `found`; returns their zone where all have the same one."""
    zones: dict[str, datetime.tzinfo] = {}
    for row, value in objects.items():
        if isinstance(value, np.datetime64):
            time = pd.Series(value[None] if value.ndim else np.array([value]))
            found[row] = in_range(time).to_numpy()[0]
            continue
        zone = value.tzinfo if isinstance(value, datetime.datetime) else None
        if zone is not None:
            zones[str(zone)] = zone
            zoned[row] = True
        if isinstance(value, pd.Timestamp):
            found[row] = instants(in_range(pd.Series([value])))[0]
        elif isinstance(value, datetime.datetime):
            offset = value.utcoffset() or datetime.timedelta()
            found[row] = np.datetime64(value.replace(tzinfo=None), "us") - np.timedelta64(offset, "us")
        else:
            found[row] = np.datetime64(value, "us")
    return next(iter(zones.values())) if len(zones) == 1 else None


def _read_words(
    name: object, words: dict[int, str], order: TimeReading | None, found: np.ndarray, zoned: np.ndarray
) -> tuple[TimeReading, str]:
    """Reads words into `found` and `zoned`; returns by which order, and what is to be told of it."""
    codes, distinct = pd.factorize(np.array(list(words.values()), dtype=object))
    digits = np.array([NUMBER.fullmatch(word) is not None for word in distinct])
    if order is None and digits.mean() > 0.5:
        order = _order_of_numbers(name, distinct[digits])
    rows, meanings = np.fromiter(words, dtype=np.int64), _meanings(distinct, digits)
    if order is None:
        order = _decided(name, meanings, distinct, rows[np.unique(codes, return_index=True)[1]])
    times = meanings.times[ORDERS.index(order) if order in ORDERS else 0]
    short = bool((meanings.short & ~np.isnat(times)).any())
    times[digits] = _since_1970(distinct[digits], order) if order in UNITS else _short_dates(distinct[digits])
    found[rows] = times[codes]
    zoned[rows] = meanings.zoned[codes]
    return order, f"; {CENTURIES}" if short else ""


@dataclass(frozen=True)
class _Meanings:
    """What each of some words can mean: `times[order, word]`, NaT where it is no time; and as `DateWord` tells."""

    times: np.ndarray
    zoned: np.ndarray
    ordered: np.ndarray
    short: np.ndarray


def _meanings(words: np.ndarray, digits: np.ndarray) -> _Meanings:
    """Returns what `words` can mean; nothing where they are nothing but `digits`."""
    times = np.full((len(ORDERS), len(words)), np.datetime64("NaT", "us"))
    zoned, ordered, short = (np.zeros(len(words), dtype=bool) for _ in range(3))
    plain = pd.Series(words, dtype="str")
    iso = plain.str.fullmatch(_ISO).to_numpy(dtype=bool)
    if iso.any():  # most columns are nothing else, and pandas reads these fast
        read = pd.to_datetime(plain[iso], format="ISO8601", errors="coerce")
        times[:, iso] = read.to_numpy(dtype="datetime64[us]")
    for i in np.flatnonzero(~iso & ~digits):
        word = read_date(words[i])
        if word is not None:
            times[:, i] = np.array(["NaT" if time is None else time for time in word.times], dtype="datetime64[us]")
            zoned[i], ordered[i], short[i] = word.zoned, word.ordered, word.short
    return _Meanings(times, zoned, ordered, short)


def _decided(name: object, found: _Meanings, words: np.ndarray, rows: np.ndarray) -> DateOrder:
    """Returns the order that reads most of the distinct words.

    Raises:
        DataError: Several read equally many of those that depend on it.
    """
    if not found.ordered.any():
        return "year-month-day"
    reads, words, rows = ~np.isnat(found.times[:, found.ordered]), words[found.ordered], rows[found.ordered]
    counts: dict[DateOrder, int] = dict(zip(ORDERS, reads.sum(axis=1).tolist(), strict=True))
    fitting = [order for order, n in counts.items() if n == max(counts.values())]
    if len(fitting) > 1 and not any("-" in word for word in words):
        fitting = [order for order in fitting if order != "year-month-day"]  # 24/05/31 is rare, 24-05-31 is not
    if len(fitting) > 1:
        all_fit = max(counts.values()) == len(words)
        both = reads[[ORDERS.index(order) for order in fitting]].all(axis=0)
        wrong = both if all_fit else ~both
        why = " and ".join(fitting) if all_fit else "no order together"
        raise DataError(
            f"column {name!r}: the order of the parts of dates must be known; got {tell_values(words[wrong][:3])} in "
            f"{tell_rows(rows[wrong])}, which fit {why}. Say which in dates of the "
            f"schema, as dates: {{{name}: {fitting[-1]}}}; or write them as 2024-05-31; or set its kind: "
            "category."
        )
    return fitting[0]


def _order_of_numbers(name: object, words: Sequence[str]) -> TimeReading:
    """Returns how most of the numbers are times: as 20240531, or by the unit in which they lie after 1973."""
    sizes = np.abs(np.array(words, dtype=np.float64))
    if (~np.isnat(_short_dates(words))).mean() > 0.5:
        return "year-month-day"
    bounds = [*_LEAST.values(), 1e20]
    counts = [int(((sizes >= low) & (sizes < high)).sum()) for low, high in pairwise(bounds)]
    unit = list(_LEAST)[int(np.argmax(counts))]
    if 2 * max(counts) <= len(words):
        raise DataError(
            f"column {name!r}: numbers taken as times must be seconds, milliseconds, microseconds or nanoseconds since "
            f"1970, or dates as 20240531; got {np.median(sizes):g} in the middle. Set its kind to numeric; say the "
            f"unit in dates of the schema, as dates: {{{name}: seconds}}; or write dates as 2024-05-31."
        )
    return unit


def _since_1970(words: Sequence[str], unit: EpochUnit) -> np.ndarray:
    """Returns numbers in `unit` since 1970 as times, NaT where they are beyond the years 1 to 9999."""
    micro = np.array([float(Decimal(word) * UNITS[unit]) for word in words], dtype=np.float64)
    inside = (micro >= _FIRST.astype(np.int64)) & (micro <= _LAST.astype(np.int64))
    times = np.where(inside, micro, 0).round().astype(np.int64).astype("datetime64[us]")
    times[~inside] = np.datetime64("NaT")
    return times


def _short_dates(words: Sequence[str]) -> np.ndarray:
    """Returns 20240531, 202405 and 2024 as times, NaT where a number is none of them."""
    times = np.full(len(words), np.datetime64("NaT", "us"))
    for i, word in enumerate(words):
        read = (
            read_date(word if len(word) > 6 else f"{word}0101"[:8])
            if word.isdecimal() and len(word) in _SHORT
            else None
        )
        if read is not None and 1500 <= int(word[:4]) < 3000:
            times[i] = np.datetime64(read.times[0], "us")
    return times
