"""Pinball loss of the .9 quantile."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns

__all__ = ["Pinball"]


class Pinball(Metric):
    """The mean over rows and targets of `max(q (y - p), (1 - q) (p - y))`, q = .9: too low costs nine times as much.

    It is the least where p is the q quantile of what y may be. Of another q: a subclass with a `quantile` and a `name`,
    `register("metric", "pinball_20", Pinball20)`.

    Reference:
        Koenker, Bassett, "Regression Quantiles", Econometrica 46 (1978).
    """

    name = "pinball"
    label = "pinball loss at .9"
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "target units"
    tasks = ("regression",)
    quantile = 0.9

    def score(self, y: Array, p: Array) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        assert self.quantile is not None
        y, p = columns(y, p)
        return np.asarray(np.maximum(self.quantile * (y - p), (self.quantile - 1) * (y - p)).mean(1))
