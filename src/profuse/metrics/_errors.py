"""Errors of numbers, `[row, target]`."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array

__all__ = ["columns", "root_rows", "squares"]


def columns(*arrays: Array) -> tuple[Array, ...]:
    """`[row]` as `[row, 1]`: else `[row] - [row, 1]` would be a square."""
    return tuple(a[:, None] if a.ndim == 1 else a for a in arrays)


def squares(y: Array, p: Array) -> tuple[Array, Array]:
    """(y - mean y)^2 and (y - p)^2 in units of the largest deviation, whose square may be no float64."""
    apart = y - y.mean(0)
    unit = np.abs(apart).max(0)
    return (apart / unit) ** 2, ((y - p) / unit) ** 2


def root_rows(squared: Array) -> Array:
    """Returns `R + (e_i - R^2) / 2R`, `[row]`, of squared errors `[row, target]`: the root of their mean, linear."""
    each = squared.mean(1)
    root = float(np.sqrt(each.mean()))
    return np.asarray(root + (each - each.mean()) / (2 * root) if root > 0 else np.zeros(len(each)))
