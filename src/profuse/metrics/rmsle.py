"""Root mean squared logarithmic error."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns, root_rows

__all__ = ["RootMeanSquaredLogError"]


class RootMeanSquaredLogError(Metric):
    """The root of the mean over rows and targets of `(log(1 + y) - log(1 + max(p, 0)))^2`.

    Targets are at least 0; a prediction below 0 counts as 0, the least that a target can be.
    """

    name = "rmsle"
    label = "root mean squared log error"
    higher_is_better = False
    range = (0.0, float("inf"))
    tasks = ("regression",)
    chooses_epochs = True
    least_target = 0.0

    def score(self, y: Array, p: Array) -> float:
        return float(np.sqrt(_squares(y, p).mean()))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns `R + (e_i - R^2) / 2R`, with e_i the squared error of the logarithms (the delta method)."""
        return root_rows(_squares(y, p))


def _squares(y: Array, p: Array) -> Array:
    y, p = columns(y, p)
    if (y < 0).any():
        raise DataError(f"rmsle: targets must be at least 0; got {y.min():.6g}. Name another metric.")
    return np.asarray((np.log1p(y) - np.log1p(np.maximum(p, 0.0))) ** 2)
