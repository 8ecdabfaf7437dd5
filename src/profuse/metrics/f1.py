"""F1 of the positive class."""

from __future__ import annotations

from profuse.metrics._base import Array, Metric
from profuse.metrics._f1 import f1, f1_rows

__all__ = ["F1"]


class F1(Metric):
    """`2 tp / (2 tp + fp + fn)` of the second of two classes."""

    name = "f1"
    label = "F1 of the second class"
    tasks = ("binary",)
    second_class = True
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        return f1(y[:, None] == 1, p.argmax(1)[:, None] == 1)

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns F1 plus each row's influence on it; see `MacroF1.row_scores`."""
        return f1_rows(y[:, None] == 1, p.argmax(1)[:, None] == 1)
