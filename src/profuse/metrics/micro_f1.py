"""Micro F1: of all labels at once."""

from __future__ import annotations

from profuse.metrics._base import Array, Metric
from profuse.metrics._f1 import f1

__all__ = ["MicroF1"]


class MicroF1(Metric):
    """F1 of all labels of all rows together."""

    name = "micro_f1"
    label = "micro F1"
    tasks = ("multilabel",)

    def score(self, y: Array, p: Array) -> float:
        return f1(y, p >= 0.5, micro=True)
