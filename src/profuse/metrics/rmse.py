"""Root mean squared error."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns

__all__ = ["RootMeanSquaredError"]


class RootMeanSquaredError(Metric):
    """The root of the mean over rows and targets of (y - p)^2."""

    name = "rmse"
    label = "root mean squared error"
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "target units"
    tasks = ("regression",)

    def score(self, y: Array, p: Array) -> float:
        y, p = columns(y, p)
        return float(np.sqrt(((y - p) ** 2).mean()))
