"""Words -> durations in seconds: `1 days 02:03:04`, `02:03:04`, `10:30`, `10:30 PM`, `P1DT2H`.

A clock of two parts can be hours and minutes or minutes and seconds: that is decided for a column, not for a cell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

import numpy as np

from profuse.schema import DurationReading

__all__ = ["DURATION_READINGS", "duration_reading", "read_duration"]

DURATION_READINGS: tuple[DurationReading, ...] = get_args(DurationReading)

_CLOCK = r"(?P<clock>[+-]?\d{1,4}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)(?:\s?(?P<half>[ap])\.?m\.?)?"
_WORD = re.compile(r"(?P<sign>-)?(?:(?P<days>\d+)\s?days?(?:,?\s)?)?(?:" + _CLOCK + ")?", re.IGNORECASE)
_ISO = re.compile(
    r"(?P<sign>-)?P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?"
)  # fmt: skip
_ISO_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}


def duration_reading(words: Sequence[str]) -> DurationReading | None:
    """Returns how most of `words` are written, None where most of them are no durations."""
    long = [not np.isnan(read_duration(word, "duration")) for word in words]
    short = [not np.isnan(read_duration(w, "hours:minutes")) for w, known in zip(words, long, strict=True) if not known]
    if sum(long) + sum(short) <= 0.5 * len(words):
        return None
    return "hours:minutes" if sum(short) > sum(long) else "duration"


def read_duration(word: str, reading: DurationReading, *, plain: bool = False) -> float:
    """Returns seconds, NaN where `word` is no duration; `plain`: a number counts as seconds."""
    if plain and re.fullmatch(r"[-+]?\d+(\.\d*)?", word):
        return float(word)
    iso = _ISO.fullmatch(word)
    if iso:
        total = sum(float((iso[k] or "0").replace(",", ".")) * n for k, n in _ISO_SECONDS.items())
        return -total if iso["sign"] else total
    match = _WORD.fullmatch(word)
    if match is None or not (match["days"] or match["clock"]):
        return np.nan
    days, clock = 86_400.0 * int(match["days"] or 0), 0.0
    if match["clock"]:
        clock = _clock(match["clock"], match["half"], reading, alone=match["days"] is None)
    if not match["sign"]:
        return days + clock
    # pandas writes a minute less than nothing as -1 days +23:59:00
    return clock - days if (match["clock"] or "").startswith("+") else -days - clock


def _clock(clock: str, half: str | None, reading: DurationReading, *, alone: bool) -> float:
    sign = -1.0 if clock[0] == "-" else 1.0
    parts = [float(part.replace(",", ".")) for part in clock.lstrip("+-").split(":")]
    if any(part >= 60 for part in parts[1:]) or (half is not None and not 1 <= parts[0] <= 12):
        return np.nan
    if half is not None:
        parts[0] = parts[0] % 12 + 12 * (half.lower() == "p")
    elif len(parts) == 2 and alone:
        if reading == "duration":
            return np.nan  # which two they are is not known
        if reading == "minutes:seconds":
            parts = [0.0, *parts]
    return sign * sum(part * unit for part, unit in zip(parts, (3600.0, 60.0, 1.0), strict=False))
