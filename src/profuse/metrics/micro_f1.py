"""Micro F1: of all labels at once."""

from __future__ import annotations

from profuse.metrics._base import Array, Metric
from profuse.metrics._f1 import f1, f1_rows

__all__ = ["MicroF1"]


class MicroF1(Metric):
    """F1 of all labels of all rows together."""

    name = "micro_f1"
    label = "micro F1"
    tasks = ("multilabel",)
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        return f1(y, p >= 0.5, micro=True)

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns micro F1 plus each row's influence on it; see `MacroF1.row_scores`."""
        return f1_rows(y, p >= 0.5, micro=True)
