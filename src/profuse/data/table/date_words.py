"""One word -> the times that it can mean: the shapes in which people and programs write dates and clocks.

| shape | examples |
|---|---|
| year first | `2024-05-31`, `2024/5/31 14:00`, `20240531`, `2024-05-31T14:00:00.5+02:00`, `2024-May-31` |
| less than a day | `2024-05`, `05/2024`, `May 2024`, `2024-W05`, `2024-Q2`, `Q2 2024`: the day on which it begins |
| month by name, in English | `31 May 2024`, `May 31, 2024`, `Fri, 31 May 2024 14:00:00 GMT`, `31-May-24` |
| day or month first | `31/5/2024`, `5.31.24`: by the order of the parts |

After a whole date a clock may stand, `14:00`, `2:00:30.25 PM`, and after the clock an offset, `Z`, `+02:00`. Years of
two digits are 1969 to 2068.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple, get_args

from profuse.schema import DateOrder

__all__ = ["ORDERS", "DateWord", "date_shaped", "foreign_month", "read_date"]

ORDERS: tuple[DateOrder, ...] = get_args(DateOrder)  # year-month-day is the first

_DAY = 86_400_000_000  # microseconds
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTHS = {name: i for names in (_NAMES, _LONG) for i, name in enumerate(names, start=1)} | {"sept": 9}

_ZONE = r"(?:\s?(?P<zone>Z|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|UTC|GMT))?"
_CLOCK = (
    r"(?:(?:T|,?\s)(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?" + _ZONE + ")?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s)?"
_NAME = r"(?P<name>[^\W\d_]{3,12})\.?"
_DAY_OF_MONTH = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_LIKELY_YEAR = r"(?P<year>(?:1[5-9]|2\d)\d{2})"  # where little else says that it is one


def _compiled(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


_PARTS = _compiled(
    r"(?P<first>\d{1,2})(?P<between>[-/.])\s?(?P<next>\d{1,2})(?P=between)\s?(?P<last>\d{4}|\d{2})" + _CLOCK,
)
_SURE = _compiled(
    _YEAR + r"(?P<between>[-/.])(?P<month>\d{1,2})(?P=between)(?P<day>\d{1,2})" + _CLOCK,
    _YEAR + r"(?P<month>\d{2})(?P<day>\d{2})"
    r"(?:[T ]?(?P<hour>\d{2})(?P<minute>\d{2})(?:(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?" + _ZONE + ")?",
)  # fmt: skip
_BEGINNINGS = _compiled(
    _LIKELY_YEAR + r"[-/](?P<month>\d{1,2})",
    r"(?P<month>\d{1,2})[-/]" + _LIKELY_YEAR,
    _YEAR + r"-?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?",
    _YEAR + r"[-/ ]?Q(?P<quarter>[1-4])",
    r"Q(?P<quarter>[1-4])[-/ ]?" + _YEAR,
)
_NAMED = _compiled(
    _WEEKDAY + _DAY_OF_MONTH + r"[-/. ]?\s?(?:of\s)?" + _NAME + r",?[-/ ]?\s?(?P<year>\d{4}|\d{2})" + _CLOCK,
    _WEEKDAY + _NAME + r"[-/ ]?\s?" + _DAY_OF_MONTH + r",?\s" + _YEAR + _CLOCK,
    _YEAR + r"[-/ ]" + _NAME + r"(?:[-/ ]" + _DAY_OF_MONTH + ")?" + _CLOCK,
    _NAME + r",?[-/ ]" + _YEAR,
    _WEEKDAY + _NAME + r"\s" + _DAY_OF_MONTH + r"\s(?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})" + _ZONE
    + r"\s" + _YEAR,
)  # fmt: skip
_SHAPE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(\D.*)?$", re.DOTALL)
_FOREIGN = re.compile(r"\d{1,2}\.?[-/ ]\s?(?:de\s)?(?P<name>[^\W\d_]{3,12})\.?,?[-/ ]\s?(?:de\s)?[12]\d{3}(?:,?\s.*)?")


class DateWord(NamedTuple):
    """What a word can mean.

    Attributes:
        times: Microseconds since 1970 by the orders in `ORDERS`; None where it is no time by one.
        zoned: Whether it tells its offset from UTC; the times are then in UTC.
        ordered: Whether it depends on the order of its parts.
        short: Whether its year has two digits.
    """

    times: tuple[int | None, ...]
    zoned: bool
    ordered: bool
    short: bool


def date_shaped(word: str) -> bool:
    """Returns whether `word` looks like a date with a year of four digits, be it one or not."""
    return _SHAPE.match(word) is not None


def foreign_month(word: str) -> str | None:
    """Returns what stands where a date has the name of its month, if it is no English name of one."""
    match = _FOREIGN.fullmatch(word)
    return match["name"] if match is not None and match["name"].lower() not in _MONTHS else None


def read_date(word: str) -> DateWord | None:
    """Returns the times that `word`, without blanks at its ends, can mean; None where it is none at all."""
    for pattern in _SURE:
        if match := pattern.fullmatch(word):
            return _sure(match, int(match["month"]), int(match["day"]))
    for pattern in _PARTS:
        if match := pattern.fullmatch(word):
            return _ordered(match)
    for pattern in _NAMED:
        if match := pattern.fullmatch(word):
            month = _MONTHS.get(match["name"].lower())
            day = match.groupdict().get("day")
            return None if month is None else _sure(match, month, int(day or 1))
    for pattern in _BEGINNINGS:
        if match := pattern.fullmatch(word):
            result = match.groupdict()
            if result.get("week"):
                return _week(int(result["year"]), int(result["week"]), int(result["weekday"] or 1))
            month = 3 * int(result["quarter"]) - 2 if result.get("quarter") else int(result["month"])
            return _sure(match, month, 1)
    return None


def _sure(match: re.Match[str], month: int, day: int) -> DateWord | None:
    short = len(match["year"]) == 2
    time = _time(_year(match["year"]), month, day, match.groupdict())
    return None if time is None else DateWord((time,) * 3, bool(match.groupdict().get("zone")), False, short)


def _ordered(match: re.Match[str]) -> DateWord | None:
    first, middle, last, parts = int(match["first"]), int(match["next"]), match["last"], match.groupdict()
    short = len(last) == 2
    year = _year(last)
    by_order = {
        "year-month-day": _time(_year(match["first"]), middle, int(last), parts)
        if short and len(match["first"]) == 2
        else None,
        "month/day/year": _time(year, first, middle, parts),
        "day/month/year": _time(year, middle, first, parts),
    }
    times = tuple(by_order[order] for order in ORDERS)
    return None if all(t is None for t in times) else DateWord(times, bool(match["zone"]), True, short)


def _week(year: int, week: int, weekday: int) -> DateWord | None:
    try:
        day = datetime.date.fromisocalendar(year, week, weekday)
    except ValueError:
        return None
    return DateWord(((day.toordinal() - _EPOCH) * _DAY,) * 3, False, False, False)


def _year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) > 2 else year + (1900 if year >= 69 else 2000)


def _time(year: int, month: int, day: int, parts: dict[str, str | None]) -> int | None:
    try:
        days = datetime.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    clock = clock_time(parts)
    return None if clock is None else days * _DAY + clock - _offset(parts.get("zone"))


def clock_time(parts: dict[str, str | None]) -> int | None:
    """Returns the microseconds since midnight, None where the clock has no such time."""
    hour, minute, second = (int(parts.get(name) or 0) for name in ("hour", "minute", "second"))
    half = parts.get("half")
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    elif parts.get("hour") and not parts.get("minute"):
        return None  # a number behind a date is no clock
    if hour > 23 or minute > 59 or second > 59:
        return None
    fraction = int((parts.get("fraction") or "").ljust(6, "0")[:6])
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction


def _offset(zone: str | None) -> int:
    digits = re.sub(r"\D", "", zone or "")
    if not digits or zone is None:
        return 0
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return (-minutes if "-" in zone else minutes) * 60_000_000
