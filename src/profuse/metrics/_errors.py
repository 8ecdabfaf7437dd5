"""Errors of numbers, `[row, target]`."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array

__all__ = ["columns", "squares"]


def columns(*arrays: Array) -> tuple[Array, ...]:
    """`[row]` as `[row, 1]`: else `[row] - [row, 1]` would be a square."""
    return tuple(a[:, None] if a.ndim == 1 else a for a in arrays)


def squares(y: Array, p: Array) -> tuple[Array, Array]:
    """(y - mean y)^2 and (y - p)^2 in units of the largest deviation, whose square may be no float64."""
    apart = y - y.mean(0)
    unit = np.abs(apart).max(0)
    return (apart / unit) ** 2, ((y - p) / unit) ** 2
