"""Average precision."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._mean_over import mean_over

__all__ = ["AveragePrecision"]


class AveragePrecision(Metric):
    """The mean over labels of the area under the precision-recall steps."""

    name = "average_precision"
    label = "average precision"
    tasks = ("multilabel",)

    def score(self, y: Array, p: Array) -> float:
        return mean_over(y.astype(bool), p, _precision, self.name)


def _precision(y: Array, score: Array) -> float:
    """Average precision: sum over thresholds of (recall gained) x precision; ties are one threshold."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(y[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(y) - 1)
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / hits[-1])
