"""Log loss."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric

__all__ = ["LogLoss"]


class LogLoss(Metric):
    """The mean over rows of -log of the true class's probability, at least the float32 epsilon."""

    name = "log_loss"
    label = "log loss"
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "nats"
    tasks = ("binary", "multiclass")

    def score(self, y: Array, p: Array) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        p = np.clip(p / p.sum(1, keepdims=True), np.finfo(np.float32).eps, 1.0)
        return np.asarray(-np.log(p[np.arange(len(y)), y]))
