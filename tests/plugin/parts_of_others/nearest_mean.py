"""A classical model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from profuse.classical import ClassicalModel, Problem
from profuse.schema import Task

__all__ = ["NearestMean"]


class NearestMean(ClassicalModel):
    """Classes: softmax of -|x - mean of the class|^2 / 2; other tasks: the mean of the target."""

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.means = np.zeros((n_outputs, 0))
        self.mean = np.zeros(n_outputs)

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        valid = self._learn(problem, problem.train_rows).predict(problem.x[problem.valid_rows])
        if refit:
            self._learn(problem, problem.known_rows)
        return valid

    def _learn(self, problem: Problem, rows: np.ndarray) -> Self:
        x, y = np.nan_to_num(problem.x[rows]), problem.target[rows]
        if y.ndim == 1:
            empty = np.full(x.shape[1], 1e6)  # far from all rows
            self.means = np.stack([x[y == k].mean(0) if (y == k).any() else empty for k in range(self.n_outputs)])
        else:
            self.mean = y.mean(0)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        if self.task not in ("binary", "multiclass"):
            return np.tile(self.mean, (len(x), 1))
        logits = -((np.nan_to_num(x)[:, None] - self.means) ** 2).sum(2) / 2
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True))

    @property
    def n_parameters(self) -> int:
        return int(self.means.size + self.mean.size)

    def state(self) -> dict[str, Any]:
        return {"means": self.means, "mean": self.mean}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.means, made.mean = np.asarray(state["means"]), np.asarray(state["mean"])
        return made
