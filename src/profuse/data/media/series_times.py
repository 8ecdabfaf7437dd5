"""Time stamps in the lines of a series: dates with the year first, as seconds since the earliest."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

import numpy as np

from profuse.data.media.source import Tell
from profuse.errors import DataError

__all__ = ["are_stamps", "in_order", "seconds_of"]

_STAMP = re.compile(
    r"\d{4}([-/])\d{2}\1\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?", re.ASCII
)


def are_stamps(cells: Sequence[str]) -> bool:
    """Tells whether all cells are dates, or dates and times, that begin with a year of four digits: `2024-05-31 14:00`.

    Args:
        cells: At least one.
    """
    return all(_STAMP.fullmatch(cell) for cell in cells)


def seconds_of(cells: Sequence[str], lines: Sequence[int], tell: Tell) -> np.ndarray:
    """Returns float64 `[step]` seconds since the earliest stamp; a time without a zone is in UTC.

    Args:
        cells: Stamps; "" where one is missing: it is put evenly between its neighbours, and told.
        lines: The number of each one's line, for messages.
        tell: Called with what could be doubted.

    Raises:
        DataError: There is no such date.
    """
    times = np.full(len(cells), np.nan)
    for i, (cell, line) in enumerate(zip(cells, lines, strict=True)):
        if cell:
            try:
                time = datetime.datetime.fromisoformat(cell.replace("/", "-").replace(" Z", "Z").replace(",", "."))
            except ValueError as error:
                raise DataError(f"line {line}: a time stamp must be a date; got {cell[:40]!r} ({error})") from error
            zoned = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
            times[i] = (zoned - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds()
    known = ~np.isnan(times)
    if not known.all():
        if (np.diff(times[known]) < 0).any():
            raise DataError(
                f"line {lines[int(np.argmin(known))]}: a series whose time stamps are in no order must have all of them"
            )
        tell(f"{int((~known).sum())} time stamps of the series are missing: taken as evenly spaced")
        steps = np.arange(len(times))
        times = np.interp(steps, steps[known], times[known])
    return np.asarray(times - times.min())


def in_order(times: np.ndarray, tell: Tell) -> np.ndarray:
    """Returns the order of the steps in time, `[step]`; equal times stay as they stand."""
    order = np.argsort(times, kind="stable")
    if (np.diff(times) < 0).any():
        tell("the time stamps of the series are in no order; its steps were put in theirs")
    return order
