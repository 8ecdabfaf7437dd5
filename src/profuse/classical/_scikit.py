"""Models made of estimators of scikit-learn: one for each column of the target."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._estimators import dump_estimators, load_estimators
from profuse.data.features import Matrix
from profuse.schema import Task

__all__ = ["ScikitModel", "weights_for"]


class ScikitModel(ClassicalModel):
    """An estimator of scikit-learn for each label or number, or one for all classes.

    Attributes:
        estimators: Fitted, in the order of the target's columns.
        trusted: Types that a saved one holds besides ours, as "module.Class".
    """

    trusted: ClassVar[Sequence[str]] = ()

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.estimators: list[Any] = []

    @abstractmethod
    def make(
        self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, *, settings: Mapping[str, Any], seed: int
    ) -> Any:
        """Returns an estimator, fitted on the training rows, whose clone learns with what was chosen.

        Args:
            problem: Rows; its `zero` is that of the column.
            y: Their target, one column.
            valid_rows: Those of the validation rows that count, and whose class training rows have too.
            settings: One of `trials`.
            seed: Of all that is drawn.
        """

    @staticmethod
    @abstractmethod
    def size(estimator: Any) -> int:
        """Returns how many numbers an estimator that `make` made has learned."""

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        from sklearn.dummy import DummyClassifier
        from sklearn.exceptions import ConvergenceWarning

        x: Any = problem.x
        rows = problem.train_rows
        weights = problem.weights_of(rows)
        columns = self._columns(problem.target)
        self.estimators = []
        with warnings.catch_warnings():
            # 300 iterations are the same budget for every strength; a coarser optimum is not an error
            warnings.simplefilter("ignore", ConvergenceWarning)
            for j, y in enumerate(columns):
                if self.task != "regression" and len(np.unique(y[rows])) < 2:
                    self.estimators.append(DummyClassifier(strategy="prior").fit(x[rows], y[rows], weights))
                    continue
                valid = problem.choosing_rows
                if self.task != "regression":
                    valid = valid[np.isin(y[valid], y[rows])]
                of = problem if problem.zero is None else replace(problem, zero=problem.zero[[j]])
                self.estimators.append(self.make(of, y, valid, settings=settings, seed=seed))
            prediction = self.predict(x[problem.valid_rows])
            if refit:
                pairs = zip(self.estimators, columns, strict=True)
                self.estimators = [self.refitted(e, problem, y, seed=seed) for e, y in pairs]
        return prediction

    def refitted(self, estimator: Any, problem: Problem, y: np.ndarray, *, seed: int) -> Any:
        """Returns what `make` made, or a constant, fitted anew on all known rows."""
        from sklearn.base import clone

        x: Any = problem.x
        rows = problem.known_rows
        weights = weights_for(estimator, problem.weights_of(rows))
        return clone(estimator).fit(x[rows], y[rows], **weights)

    def _columns(self, target: np.ndarray) -> list[np.ndarray]:
        """One target to fit at a time: estimators take a single one."""
        return [target] if target.ndim == 1 else [target[:, j] for j in range(target.shape[1])]

    def predict(self, x: Matrix) -> np.ndarray:
        if self.task == "regression":
            return np.stack([e.predict(x) for e in self.estimators], axis=1)
        if self.task == "multilabel":
            return np.stack([_positive(e, x) for e in self.estimators], axis=1)
        probabilities = np.zeros((x.shape[0], self.n_outputs))
        probabilities[:, self.estimators[0].classes_.astype(int)] = self.estimators[0].predict_proba(x)
        return probabilities

    @property
    def n_parameters(self) -> int:
        # a constant has no steps
        return sum(self.size(e) if hasattr(e, "steps") else 1 for e in self.estimators)

    def state(self) -> dict[str, Any]:
        return dump_estimators(self.estimators, self.trusted, name=type(self).__name__)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.estimators = made.as_many_as_needed(load_estimators(state, cls.trusted))
        return made

    def as_many_as_needed(self, estimators: list[Any]) -> list[Any]:
        """Returns loaded estimators.

        Raises:
            ValueError: They are too few, or too many, for the task.
        """
        wanted = 1 if self.task in ("binary", "multiclass") else self.n_outputs
        if len(estimators) != wanted:
            raise ValueError(f"estimators must be {wanted}; got {len(estimators)}")
        return estimators


def weights_for(estimator: Any, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns weights of rows as the `fit` of an estimator, or of the last step of a pipeline, takes them."""
    if weights is None:
        return {}
    steps = getattr(estimator, "steps", None)
    return {f"{steps[-1][0]}__sample_weight" if steps else "sample_weight": weights}


def _positive(estimator: Any, x: Matrix) -> np.ndarray:
    """The probability of 1, of a classifier that may have seen a single class."""
    place = np.flatnonzero(estimator.classes_ == 1)
    return estimator.predict_proba(x)[:, place[0]] if len(place) else np.zeros(x.shape[0])
