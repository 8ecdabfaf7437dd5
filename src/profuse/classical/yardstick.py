"""The best of a few tuned classical models on the hand-made features of one modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._machines import Kind, Machine, Rows, best_machine, error_of, outputs_of
from profuse.classical._moved import moved_loss
from profuse.classical.gradient_boosting import GradientBoosting
from profuse.errors import DataError
from profuse.metrics import primary_metric
from profuse.schema import Task

__all__ = ["Yardstick"]

_LOGISTIC, _TREES = 2e6, 5e6  # rows * features * outputs beyond which these would take minutes
_FEW_ROWS = 1_000


class Yardstick(ClassicalModel):
    """Logistic regression, least squares with a linear and a Gaussian kernel, or gradient boosting: the best of them.

    Each has its best penalty (and width, scaling, number of trees). The best is that of the best metric that counts on
    validation rows, or, where they are few, on the rows held out by inner folds; ties by the log loss or squared error.
    Least squares on 0 and 1 stand for support vector machines, whose accuracy they have at a fraction of the price: a
    penalty costs one factorisation, whatever the number of classes. Of sparse features, where a linear support vector
    machine is quick, that takes part too. One factor makes scores probabilities.

    Bounds: the Gaussian kernel compares with at most 5,000 training rows, and 1,000 while settings are chosen; logistic
    regression and gradient boosting take part where rows times features times outputs are at most 2 million and 5
    million; trees take no sparse features.

    Reference:
        Rifkin, Yeo, Poggio, Regularized Least-Squares Classification (2003). Guo et al., On Calibration of Modern
        Neural Networks (2017), section 4.2 (one factor).
    """

    role: ClassVar[Literal["classical", "trivial", "single"]] = "single"
    sparse: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    row: ClassVar[str] = "classical"
    trials: ClassVar[Sequence[Mapping[str, Any]]] = ({"trees": True}, {"trees": False})
    brief: ClassVar[int] = 1

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.chosen: _Machine | GradientBoosting | None = None

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        tried = list(self._tried(problem, seed, trees=settings["trees"]))
        best = min(tried, key=lambda t: t.key)
        self.choice = best.key
        self.chosen = best.fit(False)
        valid = self.chosen.predict(problem.x[problem.valid_rows])
        if refit:
            self.chosen = best.fit(True)
        return valid

    def _tried(self, problem: Problem, seed: int, *, trees: bool) -> Iterator[_Tried]:
        """Yields each of the models that the size allows."""
        x: Any = problem.x
        dense = isinstance(x, np.ndarray)
        rows = Rows(x, problem.target, problem.codes, self.task, self.n_outputs, problem.weights)
        splits = problem.folds or ((problem.train_rows, problem.choosing_rows),)
        held = np.concatenate([h for _, h in splits])
        per_row = x.shape[1] if dense else float(x.getnnz()) / max(1, x.shape[0])
        size = len(problem.known_rows) * per_row * self.n_outputs

        def key(outputs: np.ndarray) -> tuple[float, float]:
            metric = problem.metric or primary_metric(self.task)
            wanted = rows.wanted(held)
            error = error_of(self.task, wanted, outputs, rows.weights_of(held))
            if problem.quantile is not None:  # what is predicted is moved there
                return moved_loss(wanted - outputs, problem.quantile, rows.weights_of(held)), error
            try:
                score = metric(problem.target[held] if self.task != "regression" else wanted, outputs)
            except DataError:  # not defined on these rows: equal targets, say
                score = 0.0
            return (-score if metric.higher_is_better else score), error

        kinds: list[Kind] = ["gauss", "line"] if dense else ["line"]
        if self.task != "regression" and not dense:
            kinds.append("margin")
        if self.task != "regression" and size <= _LOGISTIC:
            kinds.append("logistic")
        for kind in kinds:
            choice, fit = best_machine(rows, splits, kind)
            yield _Tried(key(choice.outputs), lambda known, choice=choice, fit=fit: _Machine(  # type: ignore[misc]
                self.task, fit(problem.known_rows if known else problem.train_rows), choice.sharpness
            ))  # fmt: skip
        if trees and dense and size <= _TREES:
            for settings in GradientBoosting.trials[: 3 if len(problem.known_rows) <= _FEW_ROWS else 1 : 2]:

                def boosted(
                    known: bool, *, of: Problem = problem, how: Mapping[str, Any] = settings
                ) -> GradientBoosting:
                    made = GradientBoosting(self.task, self.n_outputs)
                    made.fit(of, settings=how, seed=seed, refit=known)
                    return made

                parts = [replace(problem, train_rows=learned, valid_rows=out) for learned, out in splits]
                said = [boosted(False, of=part).predict(x[part.valid_rows]) for part in parts]
                yield _Tried(key(np.concatenate(said)), boosted)

    def predict(self, x: np.ndarray) -> np.ndarray:
        assert self.chosen is not None
        return self.chosen.predict(x)

    @property
    def n_parameters(self) -> int:
        return 0 if self.chosen is None else self.chosen.n_parameters

    def state(self) -> dict[str, Any]:
        assert self.chosen is not None
        return {"model": _name_of(self.chosen), "state": self.chosen.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        if state["model"] not in _MODELS:
            raise ValueError(f"model must be one of {sorted(_MODELS)}; got {state['model']!r}")
        made.chosen = _MODELS[state["model"]].from_state(state["state"], task, n_outputs)
        return made


@dataclass(frozen=True)
class _Tried:
    """One of the models.

    Attributes:
        key: The smaller, the better.
        fit: Returns it fitted on training rows (False) or on all known rows (True).
    """

    key: tuple[float, float]
    fit: Callable[[bool], Any]


@dataclass(frozen=True, eq=False)
class _Machine:
    """A machine whose scores become predictions."""

    task: Task
    machine: Machine
    sharpness: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        return outputs_of(self.task, self.machine.scores(x), self.sharpness)

    @property
    def n_parameters(self) -> int:
        return int(self.machine.weights.size + self.machine.offset.size)

    def state(self) -> dict[str, Any]:
        return {"machine": self.machine.state(), "sharpness": self.sharpness}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> _Machine:
        sharpness = float(state["sharpness"])
        if not (np.isfinite(sharpness) and sharpness > 0):
            raise ValueError(f"sharpness must be above 0; got {sharpness}")
        return cls(task, Machine.from_state(state["machine"], n_outputs), sharpness)


_MODELS: dict[str, Any] = {"machine": _Machine, "gradient_boosting": GradientBoosting}


def _name_of(model: object) -> str:
    return next(name for name, cls in _MODELS.items() if isinstance(model, cls))
