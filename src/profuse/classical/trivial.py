"""The trivial guess: what is most frequent, or the mean or another quantile, whatever the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._moved import quantile_of
from profuse.schema import Task

__all__ = ["Trivial"]


class Trivial(ClassicalModel):
    """Class frequencies, label frequencies, or the mean, or the quantile that the metric asks for, by rows' weights.

    It has nothing to overfit, so it always learns from training and validation rows together.
    """

    role: ClassVar[Literal["classical", "trivial", "single"]] = "trivial"
    weighted: ClassVar[bool] = True
    quantiles: ClassVar[bool] = True

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.guess = np.zeros(n_outputs)

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        self.guess = self._guess(problem, problem.train_rows)
        valid = self.predict(problem.x[problem.valid_rows])
        self.guess = self._guess(problem, problem.known_rows)
        return valid

    def _guess(self, problem: Problem, rows: np.ndarray) -> np.ndarray:
        y, weights = problem.target[rows], problem.weights_of(rows)
        if self.task in ("binary", "multiclass"):
            counts = np.bincount(y, weights, minlength=self.n_outputs)
            return np.asarray(counts / (len(y) if weights is None else counts.sum()))
        return np.average(y, 0, weights) if problem.quantile is None else quantile_of(y, problem.quantile, weights)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.guess, (len(x), 1))

    @property
    def n_parameters(self) -> int:
        return self.n_outputs

    def state(self) -> dict[str, Any]:
        return {"guess": self.guess}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made, guess = cls(task, n_outputs), np.asarray(state["guess"])
        if guess.shape != (n_outputs,) or guess.dtype.kind != "f" or not np.isfinite(guess).all():
            raise ValueError(f"guess must be {n_outputs} finite numbers; got {guess.dtype}{list(guess.shape)}")
        made.guess = guess
        return made
