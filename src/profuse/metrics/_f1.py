"""F1 = 2 tp / (2 tp + fp + fn), which macro and micro F1 share."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array

__all__ = ["f1", "f1_parts"]


def f1_parts(y: Array, hit: Array) -> tuple[Array, Array]:
    """Returns `2 tp` and `2 tp + fp + fn`, `[row, label]`."""
    y = y.astype(bool)
    twice = 2.0 * (y & hit)
    return twice, twice + (y ^ hit)


def f1(y: Array, hit: Array, *, micro: bool = False) -> float:
    """Returns F1, the mean over labels, or of all labels at once; `hit` is what was predicted, bool `[row, label]`."""
    twice, total = f1_parts(y, hit)
    a, b = (twice.sum(), total.sum()) if micro else (twice.sum(0), total.sum(0))
    known = b > 0  # neither in the rows nor predicted: F1 is 0/0, and the class is not counted
    if not np.any(known):
        raise DataError("f1: at least one label must be set or predicted; got none. The score is left out.")
    return float(np.mean(a[known] / b[known]))
