"""Area under the ROC curve."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._mean_over import mean_over, one_against_rest
from profuse.metrics._ranks import mid_ranks

__all__ = ["AUROC"]


class AUROC(Metric):
    """The mean over classes of the area under the ROC curve, one class against the rest; of two, the second alone.

    Of labels it is the mean over labels.
    """

    name = "auroc"
    label = "AUROC"
    tasks = ("binary", "multiclass", "multilabel")

    def score(self, y: Array, p: Array) -> float:
        return float(mean_over(*one_against_rest(y, p), _area, self.name))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns `A + n (V_i - A) / sqrt(n_k (n_k - 1))`, the mean over classes or labels.

        V_i of one of the n_1 rows with a 1 is the share of the n_0 others that score lower, of one of the others the
        share of those with a 1 that score higher; ties count one half. The variance of the mean is DeLong's, of two
        methods too: `S_1 / n_1 + S_0 / n_0`. A single row of a side says nothing of how its rows vary.

        Reference:
            DeLong, DeLong, Clarke-Pearson, Comparing the Areas under Two or More Correlated ROC Curves, Biometrics 44
            (1988). Sun, Xu, Fast Implementation of DeLong's Algorithm, IEEE Signal Processing Letters 21 (2014), ranks.
        """
        return mean_over(*one_against_rest(y, p), _components, self.name)


def _area(y: Array, score: Array) -> Array:
    """AUROC of one 0/1 column by the Mann-Whitney statistic; ties count one half."""
    rank, n_one = mid_ranks(score), int(y.sum())
    return np.asarray((rank[y].sum() - n_one * (n_one + 1) / 2) / (n_one * (len(y) - n_one)))


def _components(y: Array, score: Array) -> Array:
    """DeLong's structural components, scaled and moved so that their mean is the area."""
    n, rank, scores = len(y), mid_ranks(score), np.empty(len(y))
    for side in (y, ~y):
        size = int(side.sum())
        lower = (rank[side] - mid_ranks(score[side])) / (n - size)  # share of the other side that scores lower
        share = lower if side is y else 1 - lower
        area = share.mean()
        scores[side] = area + n / np.sqrt(size * max(size - 1, 1)) * (share - area)
    return scores
