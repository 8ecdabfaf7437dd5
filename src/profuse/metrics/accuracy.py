"""Accuracy."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric

__all__ = ["Accuracy"]


class Accuracy(Metric):
    """The share of rows whose most probable class is the true one."""

    name = "accuracy"
    label = "accuracy"
    proportion = True
    tasks = ("binary", "multiclass")
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        return float((p.argmax(1) == y).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        return np.asarray(p.argmax(1) == y, dtype=np.float64)
