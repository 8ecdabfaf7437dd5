"""Support vector regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._machines import Machine, Rows, best_machine
from profuse.schema import Task

__all__ = ["SupportVectors"]


class SupportVectors(ClassicalModel):
    """Support vector regression with a Gaussian kernel: least absolute errors, up to 5,000 training rows.

    Penalty, width and scaling are walked one at a time, as absolute errors on validation rows prefer. Where features
    tell nothing it predicts the median: a few large targets, which draw means to any place, do not move it.

    Reference:
        Drucker, Burges, Kaufman, Smola, Vapnik, Support Vector Regression Machines (1996).
    """

    weighted: ClassVar[bool] = True
    scales: ClassVar[bool] = True
    widest: ClassVar[int] = 600

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.machine: Machine | None = None

    @classmethod
    def not_for(cls, task: Task) -> str:
        return "" if task == "regression" else "it learns numbers only"

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        rows = Rows(problem.x, problem.target, problem.codes, self.task, self.n_outputs, problem.weights)
        _, fit = best_machine(rows, ((problem.train_rows, problem.choosing_rows),), "tube")
        self.machine = fit(problem.train_rows)
        valid = self.predict(problem.x[problem.valid_rows])
        if refit:
            self.machine = fit(problem.known_rows)
        return valid

    def predict(self, x: Any) -> np.ndarray:
        assert self.machine is not None
        return self.machine.scores(x)

    @property
    def n_parameters(self) -> int:
        return 0 if self.machine is None else int(self.machine.weights.size + self.machine.offset.size)

    def state(self) -> dict[str, Any]:
        assert self.machine is not None
        return self.machine.state()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.machine = Machine.from_state(state, n_outputs)
        return made
