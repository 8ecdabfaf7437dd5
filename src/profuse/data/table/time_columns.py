"""What a column of times or durations is: how its cells are written, found on all of them, and what is odd in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd

from profuse.data.table.date_words import date_shaped, foreign_month, read_date
from profuse.data.table.durations import duration_reading
from profuse.data.table.times import (
    CENTURIES,
    NUMBER,
    Reading,
    instants,
    parse_durations,
    parse_times,
    tidy,
    time_words,
)
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import DurationReading, TimeReading

__all__ = [
    "are_compact_dates",
    "compact_reading",
    "given_kind",
    "kept_readings",
    "time_notes",
    "word_reading",
]

_SHORT = re.compile(r"(?:19|20)\d{6}(?:\d{4}(?:\d{2})?)?")
_FAR_YEARS = 25


def word_reading(words: pd.Series, sample: Sequence[str]) -> Reading | None:
    """Returns how a column of `words` is read if it holds times or durations, None if it does not.

    Args:
        words: All cells of the column, missing ones too.
        sample: Some of its words, none of them blank.

    Raises:
        DataError: Most look like times or durations, but some are none; or more than one reading fits all of them.
    """
    known = [word for w in sample if any(c.isdigit() for c in w) and not NUMBER.fullmatch(word := tidy(w))]
    most = 0.5 * len(sample)
    if len(known) <= most:
        compact = all(_SHORT.fullmatch(tidy(word)) for word in sample) and are_compact_dates(words)
        return compact_reading(words) if compact else None
    if sum(date_shaped(w) or read_date(w) is not None for w in known) > most:
        return _all_times(words)
    foreign = [month for w in known if (month := foreign_month(w))]
    n_read = sum(read_date(w) is not None for w in known)
    if foreign and len(foreign) + n_read > most and len(set(foreign)) <= 24:
        raise DataError(
            f"column {words.name!r}: names of months must be English; got {tell_values(dict.fromkeys(foreign), n=3)}. "
            "Write dates as 2024-05-31; or set its kind in the schema: category, or text."
        )
    result = duration_reading(known)
    return None if result is None else _all_durations(words, result)


def kept_readings(
    frame: pd.DataFrame, kinds: Mapping[str, str], given: Mapping[str, TimeReading]
) -> dict[str, Reading]:
    """Returns the readings of the columns of times and durations, which later tables are read by.

    Args:
        frame: The table.
        kinds: What its columns are taken for.
        given: The readings that the schema says.
    """
    results = {name: _kept_reading(kind, frame[name], given.get(name)) for name, kind in kinds.items()}
    return {name: reading for name, reading in results.items() if reading is not None}


def time_notes(readings: Mapping[str, Reading]) -> list[str]:
    """Tells years of two digits, and times absurdly far from all others."""
    notes = [f"Column {name!r}: {CENTURIES}." for name, reading in readings.items() if CENTURIES in reading.told]
    return notes + [far for r in readings.values() if r.kind == "timestamp" and (far := _far_times(r.times))]


def _kept_reading(kind: str, cells: pd.Series, given: TimeReading | None = None) -> Reading | None:
    if kind == "timestamp":
        return parse_times(cells, given)
    if kind != "numeric":
        return None
    if pd.api.types.is_timedelta64_dtype(cells.dtype):
        return Reading(given or "duration", cells.dt.total_seconds())
    if pd.api.types.is_numeric_dtype(cells.dtype) and given is None:
        return None
    result = cast("DurationReading | None", given) or duration_reading(time_words(cells))
    return None if result is None else Reading(result, pd.Series(parse_durations(cells, result), index=cells.index))


def given_kind(reading: TimeReading) -> tuple[str, str]:
    """Returns the kind of a column of which the schema says how its times are written, and the reason in words."""
    said = Reading(reading, pd.Series(dtype="datetime64[us]"), ", set in the schema")
    return said.kind, said.reason


def are_compact_dates(cells: pd.Series) -> bool:
    """Returns whether all of the column, words or whole numbers, are dates as 20240531 is, of 1900 to 2099."""
    words = time_words(cells)
    return len(words) >= 3 and all(_SHORT.fullmatch(w) and read_date(w) is not None for w in words)


def compact_reading(cells: pd.Series) -> Reading:
    """Returns the reading of a column of words or whole numbers that `are_compact_dates`."""
    reading = parse_times(cells, "year-month-day")
    return replace(reading, told=f", written as 20240531{reading.told}")


def _far_times(times: pd.Series) -> str:
    """Tells times that lie absurdly far from all others (9999-12-31 for "open", 1900-01-01 for "unknown"), or "".

    They are fewer different ones than the others, and the gap between is over 25 years and over twice the span of the
    others.
    """
    result = instants(times)
    rest, far = np.unique(result[~np.isnat(result)]).astype(np.int64), np.zeros(0, dtype=np.int64)
    least = _FAR_YEARS * 365 * 86_400_000_000
    while len(rest) > 3:
        gap = int(np.argmax(np.diff(rest)))
        low, high = rest[: gap + 1], rest[gap + 1 :]
        few, many = (low, high) if len(low) < len(high) else (high, low)
        if len(few) == len(many) or high[0] - low[-1] <= max(least, 2 * (many[-1] - many[0])):
            break
        rest, far = many, np.append(far, few)
    if not len(far):
        return ""
    rows = np.flatnonzero(np.isin(result.astype(np.int64), far))
    days = [str(t.astype("datetime64[us]"))[:10] for t in (*far, rest[0], rest[-1])]
    return (
        f"Column {times.name!r}: times far from all others ({days[-2]} to {days[-1]}) in {tell_rows(rows)}: "
        f"{tell_values(dict.fromkeys(days[:-2]), n=3)}. They are used as they are: empty the cells if they mean "
        "'none', or correct them."
    )


def _all_times(words: pd.Series) -> Reading:
    reading = parse_times(words)
    wrong = np.flatnonzero(reading.times.isna() & words.notna() & (words.str.strip() != ""))
    if len(wrong):
        raise DataError(
            f"column {words.name!r}: cells must be all times or none; no time in {tell_rows(wrong)}: "
            f"{tell_values(words.iloc[wrong[:3]])}. Correct them; or set its kind in the schema: timestamp (what is no "
            "time becomes missing), or category."
        )
    return reading


def _all_durations(words: pd.Series, reading: DurationReading) -> Reading:
    seconds, filled = parse_durations(words, reading), words.notna() & (words.str.strip() != "")
    wrong = np.flatnonzero(np.isnan(seconds) & filled)
    if not len(wrong) and reading == "hours:minutes":  # 3:45 beside 1:02:33
        wrong = np.flatnonzero(
            ~np.isnan(parse_durations(words, "duration")) & ~words.str.strip().str.endswith(("m", "M"))
        )
    if len(wrong):
        raise DataError(
            f"column {words.name!r}: durations must all be written alike, as 02:03:04, 1 days 02:03:04 or 10:30; got "
            f"others in {tell_rows(wrong)}: {tell_values(words.iloc[wrong[:3]])}. Correct them; or say in dates of the "
            "schema whether clocks of two parts are hours:minutes or minutes:seconds; or set its kind: category."
        )
    message = (
        "; hours:minutes (if minutes:seconds is meant, say so in dates of the schema)" if reading != "duration" else ""
    )
    return Reading(reading, pd.Series(seconds, index=words.index), message)
