"""Balanced accuracy: the mean over classes of the share that is right."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric

__all__ = ["BalancedAccuracy"]


class BalancedAccuracy(Metric):
    """The mean over the classes among the rows of the share of a class's rows that are right (its recall)."""

    name = "balanced_accuracy"
    label = "balanced accuracy"
    tasks = ("binary", "multiclass")
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        count = np.bincount(y)
        recall = np.bincount(y, p.argmax(1) == y)[count > 0] / count[count > 0]
        return float(recall.mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns `B + n / (K n_k) sqrt(n_k / (n_k - 1)) (right_i - recall_k)` for a row of class k, of K classes.

        The counts n_k are held fixed; the root makes the variance within a class unbiased, which a class of a few rows
        needs. One of a single row says nothing of how its rows vary.
        """
        right, count = np.asarray(p.argmax(1) == y, dtype=np.float64), np.bincount(y)
        with np.errstate(invalid="ignore"):
            recall = np.bincount(y, right) / count  # of a class without a row, which no row asks for
        weight = len(y) / (np.sum(count > 0) * np.sqrt(count[y] * np.maximum(count[y] - 1.0, 1.0)))
        return np.asarray(self.score(y, p) + weight * (right - recall[y]))
