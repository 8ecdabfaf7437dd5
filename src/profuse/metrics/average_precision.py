"""Average precision."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._mean_over import mean_over, one_against_rest

__all__ = ["AveragePrecision"]


class AveragePrecision(Metric):
    """The mean over labels (classes) of `sum over thresholds (recall gained) x precision`; of two classes the second.

    That is the area under the precision-recall steps (PR AUC); rows of one score are one threshold.
    """

    name = "average_precision"
    label = "average precision"
    tasks = ("binary", "multiclass", "multilabel")
    second_class = True

    def score(self, y: Array, p: Array) -> float:
        return float(mean_over(*one_against_rest(y, p), _precision, self.name))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns `AP + n/P (y_i (G_i - AP) + sum over j (y_i - G_j) y_j / N_j)`, the mean over labels or classes.

        P rows have a 1; N_j rows score at least as high as row j, and the share G_j of them has a 1; the sum is over
        the rows that score no higher than i. That is the metric plus the row's influence value (the infinitesimal
        jackknife), by two cumulative sums along the sorted scores.
        """
        return mean_over(*one_against_rest(y, p), _influence, self.name)


def _precision(y: Array, score: Array) -> Array:
    """Average precision of one column."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(y[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(y) - 1)
    gained = np.diff(hits[last], prepend=0)
    return np.asarray((gained * hits[last] / (last + 1)).sum() / hits[-1])


def _influence(y: Array, score: Array) -> Array:
    """What each row of one column contributes."""
    _, level = np.unique(score, return_inverse=True)
    ones, rows = np.bincount(level, y), np.bincount(level)
    at_least, ones_at_least = np.cumsum(rows[::-1])[::-1], np.cumsum(ones[::-1])[::-1]
    precision = ones_at_least / at_least
    weight = ones / at_least
    whole = (ones * precision).sum() / ones.sum()
    share, taken = np.cumsum(weight)[level], np.cumsum(weight * precision)[level]
    return np.asarray(whole + len(y) / ones.sum() * (y * (precision[level] - whole) + y * share - taken))
