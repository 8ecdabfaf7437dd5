"""Brier score: the squared error of probabilities."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric

__all__ = ["Brier"]


class Brier(Metric):
    """The mean over rows of `1/2 sum over classes (p - o)^2`, with o 1 for the true class, else 0.

    Of two classes that is `(p - o)^2` of the second. Of labels it is the mean over rows and labels of `(p - o)^2`.

    Reference:
        Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review 78 (1950), eq. 2.

    *Differs from the paper*: half of its sum, so that 1 is the worst whatever the number of classes.
    """

    name = "brier"
    label = "Brier score"
    higher_is_better = False
    tasks = ("binary", "multiclass", "multilabel")

    def score(self, y: Array, p: Array) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        if y.ndim == 2:
            return np.asarray(((p - y) ** 2).mean(1))
        return np.asarray(((p - np.eye(p.shape[1])[y]) ** 2).sum(1) / 2)
