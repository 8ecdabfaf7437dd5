"""A metric."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from profuse.metrics import Metric
from profuse.schema import Task

__all__ = ["Margin"]


class Margin(Metric):
    """The mean over rows of 1 - p of the true class + the largest p of another."""

    name = "margin"
    label = "margin"
    higher_is_better = False
    range = (0.0, 2.0)
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        true = np.eye(p.shape[1], dtype=bool)[y]
        return np.asarray(1 - p[true] + np.where(true, 0.0, p).max(1))
