"""A metric."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from profuse.metrics import Metric
from profuse.schema import Task

__all__ = ["Brier"]


class Brier(Metric):
    """The mean over rows of the sum over classes of (p - y)^2."""

    name = "brier"
    label = "Brier score"
    higher_is_better = False
    range = (0.0, 2.0)
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.asarray(((p - np.eye(p.shape[1])[y]) ** 2).sum(1))
