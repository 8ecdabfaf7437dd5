"""Exact match of label sets."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric

__all__ = ["ExactMatch"]


class ExactMatch(Metric):
    """The share of rows of which every label is right."""

    name = "exact_match"
    label = "exact match"
    proportion = True
    tasks = ("multilabel",)
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        return np.asarray(((p >= 0.5) == y.astype(bool)).all(1), dtype=np.float64)
