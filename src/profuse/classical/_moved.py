"""Predictions of numbers, moved to a quantile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.data.features import Matrix
from profuse.schema import Task

__all__ = ["Moved", "moved_loss", "quantile_of"]


def quantile_of(values: np.ndarray, q: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the smallest of `values[row, target]` that at least a share q of rows, by their weights, is not above."""
    order = np.argsort(values, axis=0, kind="stable")
    counts = np.ones(len(values)) if weights is None else weights
    shares = np.cumsum(counts[order], axis=0)
    first = (shares < q * shares[-1] * (1 - 1e-12)).sum(0)
    return np.asarray(np.take_along_axis(np.take_along_axis(values, order, 0), first[None], 0)[0])


def moved_loss(left: np.ndarray, q: float, weights: np.ndarray | None = None) -> float:
    """Returns the mean pinball loss of errors `left[row, target]`, target less prediction, moved to the quantile q."""
    left = left - quantile_of(left, q, weights)
    return float(np.average(np.maximum(q * left, (q - 1) * left).mean(1), weights=weights))


class Moved(ClassicalModel):
    """A model of means, whose predictions are moved by a constant for each target.

    Of what it predicts for validation rows the constant makes the quantile that `Problem.quantile` asks for: as many
    targets as that are below.

    Args:
        model: Fitted or to be fitted.

    Attributes:
        kind: What a state says that is of this class, whatever the model's name.
        by: `[target]`, added to what the model predicts.
    """

    kind: ClassVar[str] = "moved"

    def __init__(self, model: ClassicalModel) -> None:
        super().__init__(model.task, model.n_outputs)
        self.model = model
        self.by = np.zeros(model.n_outputs)

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        assert problem.quantile is not None
        valid = self.model.fit(problem, settings=settings, seed=seed, refit=refit)
        self.choice = self.model.choice
        counts = np.isin(problem.valid_rows, problem.choosing_rows)
        if counts.any():
            left = (problem.target[problem.valid_rows] - valid)[counts]
            self.by = quantile_of(left, problem.quantile, problem.weights_of(problem.choosing_rows))
        return valid + self.by

    def predict(self, x: Matrix) -> np.ndarray:
        return self.model.predict(x) + self.by

    @property
    def of_logarithms(self) -> bool:
        return self.model.of_logarithms

    @property
    def n_parameters(self) -> int:
        return self.model.n_parameters + self.n_outputs

    def state(self) -> dict[str, Any]:
        return {"of": self.kind, "by": self.by, "model": self.model.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        """Returns what predicts as the one whose `state` this is, but for its "model", which is restored already."""
        made, by = cls(state["model"]), np.asarray(state["by"])
        if by.shape != (n_outputs,) or by.dtype.kind != "f" or not np.isfinite(by).all():
            raise ValueError(f"by must be {n_outputs} finite numbers; got {by.dtype}{list(by.shape)}")
        made.by = by
        return made
