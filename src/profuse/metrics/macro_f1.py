"""Macro F1: the mean over classes, or labels."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array, Metric
from profuse.metrics._f1 import f1, f1_parts

__all__ = ["MacroF1"]


class MacroF1(Metric):
    """The mean over classes (labels) of F1; one that neither the rows nor the predictions hold is not counted."""

    name = "macro_f1"
    label = "macro F1"
    tasks = ("binary", "multiclass", "multilabel")

    def score(self, y: Array, p: Array) -> float:
        if y.ndim == 2:
            return f1(y, p >= 0.5)
        columns = np.arange(p.shape[1])
        return f1(y[:, None] == columns, p.argmax(1)[:, None] == columns)

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns, for labels, `F1 + (a_i - F1 b_i) / mean b`, with `a = 2 tp`, `b = 2 tp + fp + fn`.

        That is the metric plus the row's influence value (the infinitesimal jackknife): the variance of their mean is
        the delta method's.

        Reference:
            Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 6.
        """
        if y.ndim == 1:
            return super().row_scores(y, p)
        twice_hit, total = f1_parts(y, p >= 0.5)
        known = total.mean(0) > 0
        if not known.any():
            raise DataError("row_scores: at least one label must be set or predicted; got none. Use more rows.")
        twice_hit, total = twice_hit[:, known], total[:, known]
        f1_of = twice_hit.mean(0) / total.mean(0)
        return np.asarray((f1_of + (twice_hit - f1_of * total) / total.mean(0)).mean(1))
