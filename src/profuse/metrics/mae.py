"""Mean absolute error."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns

__all__ = ["MeanAbsoluteError"]


class MeanAbsoluteError(Metric):
    """The mean over rows and targets of |y - p|."""

    name = "mae"
    label = "mean absolute error"
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "target units"
    tasks = ("regression",)
    chooses_epochs = True
    quantile = 0.5

    def score(self, y: Array, p: Array) -> float:
        y, p = columns(y, p)
        return float(np.abs(y - p).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        y, p = columns(y, p)
        return np.asarray(np.abs(y - p).mean(1))
