"""Columns of a series that are no measurements: a clock, and the two that a pen writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["along", "durations", "find_clock", "find_path", "usual_step"]

_SAMPLE = 500  # rows that are looked at
_CORNERS = 32  # points of a path whose turns are measured


def _looked_at(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    there = [row for row in rows if len(row) > 2]
    return there[:: max(1, len(there) // _SAMPLE)]


def find_clock(rows: Sequence[np.ndarray]) -> int | None:
    """Returns the first channel that is a clock beside others: never falls, and rises at most steps of each row.

    Args:
        rows: Float `[time, channel]`; a clock has no missing number.
    """
    some = _looked_at(rows)
    for channel in range(some[0].shape[1] if some and some[0].shape[1] > 1 else 0):
        steps = [np.diff(row[:, channel]) for row in some]
        # a number of the stroke, or a counter, stands still most of the time
        if all(np.all(d >= 0) and (d > 0).mean() > 0.5 for d in steps):
            return channel
    return None


def usual_step(rows: Sequence[np.ndarray], clock: int) -> tuple[float, bool]:
    """Returns the median duration of a step, and whether nearly all steps of all rows last as long."""
    steps = np.concatenate([np.diff(row[:, clock]) for row in _looked_at(rows)])
    usual = float(np.median(steps[steps > 0]))
    return usual, bool((np.abs(steps - usual) < 0.05 * usual).mean() > 0.98)


def durations(times: np.ndarray, usual: float) -> np.ndarray:
    """Returns `log(dt_t / usual)` of each step, the first as long as the second; at least 1e-3 of a usual one."""
    known = np.isfinite(times)
    if not known.any():
        return np.full(len(times), np.nan)
    t = np.interp(np.arange(len(times)), np.flatnonzero(known), times[known])
    d = np.diff(t, prepend=2 * t[0] - t[min(1, len(t) - 1)])
    logs: np.ndarray = np.log(np.maximum(d / usual, 1e-3))
    return logs


def find_path(rows: Sequence[np.ndarray], clock: int | None) -> tuple[int, int] | None:
    """Returns the two channels of a pen's position, or None.

    They are the only two besides the clock and marks (channels of whole numbers that change at few steps), their ranges
    are alike within a factor of 5, and the way they go turns little from one 32nd to the next. There are marks, or the
    rows differ in length: windows of two sensors have neither. Both are known at half of the steps or more.

    Args:
        rows: Float `[time, channel]`, NaN = missing.
        clock: The channel that is one, if any is.
    """
    some = _looked_at(rows)
    if not some:
        return None
    others = [c for c in range(some[0].shape[1]) if c != clock]
    marks = [c for c in others if _is_mark([row[:, c] for row in some])]
    pair = [c for c in others if c not in marks]
    lengths = np.array([len(row) for row in some])
    if len(pair) != 2 or not (marks or lengths.std() > 0.05 * lengths.mean()):
        return None
    if np.isnan(np.concatenate([row[:, pair] for row in some])).any(1).mean() > 0.5:
        return None  # sensors of several rates, of which hardly a step would be left
    paths = [row[~np.isnan(row).any(1)] for row in (r[:, pair] for r in some)]
    paths = [path for path in paths if len(path) > 2]
    if len(paths) < 0.5 * len(some):
        return None
    x, y = np.median([np.ptp(path, axis=0) for path in paths], axis=0)
    smooth = np.median([_straightness(path) for path in paths])
    return (pair[0], pair[1]) if max(x, y) <= 5 * min(x, y) and smooth > 0.4 else None


def _is_mark(columns: Sequence[np.ndarray]) -> bool:
    numbers = np.concatenate(columns)
    changes = np.concatenate([np.diff(column) != 0 for column in columns])
    whole = bool(np.all(numbers == np.round(numbers)))  # NaN is none
    return whole and (len(np.unique(numbers)) <= 2 or bool(changes.mean() < 0.2))


def _straightness(path: np.ndarray) -> float:
    """The mean cosine between one 32nd of the path and the next: 1 for a line, about 0 or less for noise."""
    d = np.diff(along(path, (0, 1), _CORNERS), axis=0)
    n = np.linalg.norm(d, axis=1)
    both = n[1:] * n[:-1]
    return float(((d[1:] * d[:-1]).sum(1)[both > 0] / both[both > 0]).mean()) if (both > 0).any() else 0.0


def along(row: np.ndarray, pair: tuple[int, int], n_points: int) -> np.ndarray:
    """Returns `[n_points, channel]`: the row at even distances along the way of its channels `pair`, linearly.

    Steps without a position are left out. A way of no length stays where it is.

    Args:
        row: Float `[time, channel]`.
        pair: The channels of the position.
        n_points: Points of the result, the first and the last step among them.
    """
    row = row[~np.isnan(row[:, pair]).any(1)]
    if not len(row):
        return row
    way = np.r_[0.0, np.cumsum(np.hypot(*np.diff(row[:, pair], axis=0).T))]
    at = np.linspace(0.0, way[-1], n_points)
    return np.stack([np.interp(at, way, column) for column in row.T], axis=1)
