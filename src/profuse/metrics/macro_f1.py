"""Macro F1: the mean over classes, or labels."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._f1 import f1, f1_rows

__all__ = ["MacroF1"]


class MacroF1(Metric):
    """The mean over classes (labels) of F1; one that neither the rows nor the predictions hold is not counted."""

    name = "macro_f1"
    label = "macro F1"
    tasks = ("binary", "multiclass", "multilabel")
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        return f1(*_labels(y, p))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns, the mean over classes or labels, `F1 + (a_i - F1 b_i) / mean b`, with `a = 2 tp`, `b = 2 tp + fp +
        fn`: the metric plus the row's influence value, so that the variance of their mean is the delta method's.
        """
        return f1_rows(*_labels(y, p))


def _labels(y: Array, p: Array) -> tuple[Array, Array]:
    """Returns what is true and what is predicted, bool `[row, label]`."""
    if y.ndim == 2:
        return y, p >= 0.5
    columns = np.arange(p.shape[1])
    return y[:, None] == columns, p.argmax(1)[:, None] == columns
