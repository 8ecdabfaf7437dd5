"""Area under the ROC curve."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._mean_over import mean_over

__all__ = ["AUROC"]


class AUROC(Metric):
    """The mean over classes of the area under the ROC curve, one class against the rest; of two, the second alone."""

    name = "auroc"
    label = "AUROC (one class against the rest)"
    tasks = ("binary", "multiclass")

    def score(self, y: Array, p: Array) -> float:
        columns = np.arange(p.shape[1])[-1:] if p.shape[1] == 2 else np.arange(p.shape[1])
        return mean_over(y[:, None] == columns, p[:, columns], _area, self.name)


def _area(y: Array, score: Array) -> float:
    """AUROC of one 0/1 column by the Mann-Whitney statistic; ties count one half."""
    _, code, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[code]
    n_one = int(y.sum())
    return float((rank[y].sum() - n_one * (n_one + 1) / 2) / (n_one * (len(y) - n_one)))
