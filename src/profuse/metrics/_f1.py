"""F1 = 2 tp / (2 tp + fp + fn), which F1 of one class, macro and micro F1 share."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array

__all__ = ["f1", "f1_rows"]


def f1(y: Array, hit: Array, *, micro: bool = False) -> float:
    """Returns F1, the mean over labels, or of all labels at once; `hit` is what was predicted, bool `[row, label]`."""
    twice, total = _parts(y, hit)
    a, b = (twice.sum(), total.sum()) if micro else (twice.sum(0), total.sum(0))
    known = b > 0  # neither in the rows nor predicted: F1 is 0/0, and the class is not counted
    if not np.any(known):
        raise DataError(
            "f1: at least one label must be set or predicted; got none. Give other rows, or name another metric."
        )
    return float(np.mean(a[known] / b[known]))


def f1_rows(y: Array, hit: Array, *, micro: bool = False) -> Array:
    """Returns `F1 + (a_i - F1 b_i) / mean b`, `[row]`, the mean over labels, with `a = 2 tp`, `b = 2 tp + fp + fn`.

    That is F1 plus the row's influence value (the infinitesimal jackknife): the variance of their mean is the delta
    method's.

    Reference:
        Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 6.
    """
    twice, total = _parts(y, hit)
    if micro:
        twice, total = twice.sum(1, keepdims=True), total.sum(1, keepdims=True)
    known = total.mean(0) > 0
    if not known.any():
        raise DataError("row_scores: at least one label must be set or predicted; got none. Use more rows.")
    twice, total = twice[:, known], total[:, known]
    f1_of = twice.mean(0) / total.mean(0)
    return np.asarray((f1_of + (twice - f1_of * total) / total.mean(0)).mean(1))


def _parts(y: Array, hit: Array) -> tuple[Array, Array]:
    """Returns `2 tp` and `2 tp + fp + fn`, `[row, label]`."""
    y = y.astype(bool)
    twice = 2.0 * (y & hit)
    return twice, twice + (y ^ hit)
