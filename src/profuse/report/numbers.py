"""How numbers are written: scores, gains, durations, counts."""

from __future__ import annotations

import math

__all__ = [
    "amount",
    "count",
    "difference",
    "duration",
    "four",
    "interval",
    "p_value",
    "rate",
    "score",
    "short",
    "tick",
    "time_left",
    "times",
    "unit",
]

PERCENT = ("accuracy", "exact_match")
SHARE = "accuracy"
"""A share of rows is written as this metric is."""
MINUS = "\N{MINUS SIGN}"


def score(value: float, metric: str) -> str:
    """`0.9412` -> "94.1 %" for shares of rows, "0.941" for all else; `59348.2` -> "59,350"."""
    if not math.isfinite(value):
        return "unknown"
    if metric in PERCENT:
        return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
    return (MINUS if value < 0 and _is_seen(value) else "") + _size(value)


def difference(value: float, metric: str, *, sign: bool = True, unit: bool = True) -> str:
    """`0.083` -> "+8.3 points" for shares of rows, "+0.083" for all else; `59348.2` -> "+59,350"."""
    if not math.isfinite(value):
        return "unknown"
    share = metric in PERCENT
    text = f"{abs(100 * value):.1f}" if share else _size(value)
    seen = float(text) != 0 if share else _is_seen(value)
    mark = MINUS if value < 0 and seen else "+" if sign and seen else ""
    words = ("\N{NO-BREAK SPACE}point" if text == "1.0" else "\N{NO-BREAK SPACE}points") if share and unit else ""
    return f"{mark}{text}{words}"


def _size(value: float) -> str:
    """Three decimals below 100, four significant digits from there on: of errors in the units of a target."""
    size = abs(value)
    return f"{size:.3f}" if size < 100 else _large(float(f"{size:.4g}"))


def _large(size: float) -> str:
    return f"{size:,.1f}" if size < 1000 else f"{size:,.0f}" if size < 1e9 else f"{size:g}"


def _is_seen(value: float) -> bool:
    """Whether three decimals show that a number is not 0."""
    return float(f"{abs(value):.3f}") != 0


def interval(low: float, high: float, metric: str, *, of_difference: bool = False) -> str:
    """Two ends: "93.2 to 95.0 %"."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "not known"
    if of_difference:
        return f"{difference(low, metric, unit=False)} to {difference(high, metric, unit=False)}"
    first = score(low, metric).removesuffix("\N{NO-BREAK SPACE}%")
    return f"{first} to {score(high, metric)}"


def duration(seconds: float | None) -> str:
    """`86.2` -> "86 s", `300` -> "5.0 min"; a dash where it is not known."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 0.095:
        return f"{1000 * seconds:.0f}\N{NO-BREAK SPACE}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}\N{NO-BREAK SPACE}s"
    if seconds < 120:
        return f"{seconds:.0f}\N{NO-BREAK SPACE}s"
    if seconds < 7200:
        return f"{seconds / 60:.1f}\N{NO-BREAK SPACE}min"
    return f"{seconds / 3600:.1f}\N{NO-BREAK SPACE}h"


def time_left(seconds: float, *, at_most: bool = False) -> str:
    """`86.2` -> "about 86 s left", or "86 s left at most"; "nearly done" below a second."""
    if seconds < 1:
        return "nearly done"
    return f"{duration(seconds)} left at most" if at_most else f"about {duration(seconds)} left"


def count(value: float) -> str:
    """`1234567` -> "1.23 M", `48200` -> "48.2 k", `812` -> "812"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}\N{NO-BREAK SPACE}{letter}"
    return f"{value:,.0f}"


def four(value: float, *, sign: bool = False) -> str:
    """`-0.01234` -> "−0.0123": four decimals, as answers to questions have; `59348.2` -> "59,350"."""
    if 100 <= abs(value) < math.inf:
        return (MINUS if value < 0 else "+" if sign else "") + _size(value)
    return f"{value:{'+' if sign else ''}.4f}".replace("-", MINUS)


def tick(value: float) -> str:
    """What stands at a mark of an axis: `-0.5` -> "−0.5", `1250000` -> "1,250,000"."""
    return f"{value:,.9g}".replace("-", MINUS)


def short(value: int) -> str:
    """`812` -> "812", `12345` -> "12k": where there is room for four characters."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.1f}{letter}" if value < 9.95 * size else f"{value / size:.0f}{letter}"
    return str(value)


def amount(value: float, *, sign: bool = False) -> str:
    """Three significant digits of a number in the units of a target: `1234.5` -> "1,230", `-0.01234` -> "−0.0123"."""
    if not math.isfinite(value):
        return "unknown"
    size = abs(float(f"{value:.3g}"))
    text = f"{size:,.0f}" if 100 <= size < 1e9 else f"{size:g}"
    return (MINUS if value < 0 and size else "+" if sign and size else "") + text


def rate(value: float | None) -> str:
    """Rows a second; a dash where it was not measured."""
    return count(float(f"{value:.2g}")) if value else "\N{EN DASH}"


def times(ratio: float) -> str:
    """`1.83` -> "1.8 times", `12.4` -> "12 times"."""
    return f"{ratio:.1f} times" if ratio < 9.95 else f"{ratio:,.0f} times"


def p_value(p: float | None) -> str:
    """`0.0004` -> "< .001", `0.034` -> ".034"."""
    if p is None:
        return "\N{EN DASH}"
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.9995 else "1"


def unit(metric: str, label: str) -> str:
    """Returns what follows a difference: "" for points, which say it themselves, the metric's label for all else."""
    return "" if metric in PERCENT else f" {label}"
