"""Mean squared error."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns

__all__ = ["MeanSquaredError"]


class MeanSquaredError(Metric):
    """The mean over rows and targets of (y - p)^2."""

    name = "mse"
    label = "mean squared error"
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "squared target units"
    tasks = ("regression",)

    def score(self, y: Array, p: Array) -> float:
        y, p = columns(y, p)
        return float(((y - p) ** 2).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        y, p = columns(y, p)
        return np.asarray(((y - p) ** 2).mean(1))
