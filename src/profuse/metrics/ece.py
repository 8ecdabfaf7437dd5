"""Expected calibration error."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric

__all__ = ["CalibrationError"]


class CalibrationError(Metric):
    """The mean over 15 equal bins of the top probability of |share right - mean probability|, weighted by rows."""

    name = "ece"
    label = "calibration error"
    higher_is_better = False
    tasks = ("binary", "multiclass")

    def score(self, y: Array, p: Array) -> float:
        top, right = p.max(1), p.argmax(1) == y
        bins = np.minimum((top * 15).astype(int), 14)
        gap = np.bincount(bins, right - top, minlength=15)
        return float(np.abs(gap).sum() / len(y))
