"""A classical model around any estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np

from profuse.classical._base import Problem
from profuse.classical._estimators import dump_estimators, load_estimators
from profuse.classical._prepared import made_for, refusal
from profuse.classical._scikit import ScikitModel
from profuse.classical._trees import check_trees, parts_of
from profuse.data.features import Matrix
from profuse.errors import ProfuseError
from profuse.schema import Task

__all__ = ["OwnEstimator"]

_SHORT = 300


class OwnEstimator(ScikitModel):
    """An estimator of the user's own: one for all classes, or a clone for each label or number.

    Each name has a class that inherits from this one and knows how an estimator is made; what is fitted no longer
    needs it, and is copied and loaded as this class.

    Attributes:
        kind: What a state says that is of this class, whatever its name.
        name: By which it was registered.
        make_estimator: Task -> an estimator, not fitted; None in what was loaded.
        made_of: Classes and functions whose code it hangs on, for `Table.fingerprint`.
        settings: What else it hangs on.
        description: For lists of parts.
        types: What is `trusted`, also of a copy.
    """

    weighted: ClassVar[bool] = True
    kind: ClassVar[str] = "estimators"
    name: str = "estimator"
    make_estimator: ClassVar[Callable[[Task], Any] | None] = None
    made_of: ClassVar[Sequence[object]] = ()
    settings: ClassVar[str] = ""
    description: ClassVar[str] = ""

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.types = tuple(self.trusted)

    @classmethod
    def not_for(cls, task: Task) -> str:
        assert cls.make_estimator is not None
        return refusal(cls.make_estimator, task)

    def make(
        self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, *, settings: Mapping[str, Any], seed: int
    ) -> Any:
        return self._fitted(problem, y, problem.train_rows, seed)

    def refitted(self, estimator: Any, problem: Problem, y: np.ndarray, *, seed: int) -> Any:
        return self._fitted(problem, y, problem.known_rows, seed)

    def _fitted(self, problem: Problem, y: np.ndarray, rows: np.ndarray, seed: int) -> Any:
        from sklearn.dummy import DummyClassifier

        x: Any = problem.x
        make = type(self).make_estimator
        assert make is not None
        weights = problem.weights_of(rows)
        if self.task != "regression" and len(np.unique(y[rows])) < 2:
            return DummyClassifier(strategy="prior").fit(x[rows], y[rows], weights)
        with self._named("fit"):
            estimator = make(self.task)
            fitted = made_for(estimator, self.task, x[rows], y[rows], weights, codes=problem.codes, seed=seed)
        dump_estimators([fitted], self.types, any_of_sklearn=True, name=self.name)  # it could not be kept: told now
        return fitted

    def predict(self, x: Matrix) -> np.ndarray:
        with self._named("predict"):
            prediction = super().predict(x)
            if not np.isfinite(prediction).all():
                raise ValueError("its predictions are no finite numbers")
        return prediction

    @contextmanager
    def _named(self, does: str) -> Iterator[None]:
        """Tells the name where an estimator raises."""
        try:
            yield
        except ProfuseError as error:
            raise ProfuseError(f"{self.name}: {error}") from error
        except Exception as error:  # it is anyone's code
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:_SHORT]}".rstrip(". ")
            raise ProfuseError(
                f"{self.name}: the estimator must {does}; got {told}. Correct it, or leave it out."
            ) from error

    @staticmethod
    def size(estimator: Any) -> int:
        """Numbers in fitted arrays, and nodes of trees."""
        sizes = (
            part.size if isinstance(part, np.ndarray) and part.dtype.kind == "f" else getattr(part, "node_count", 0)
            for part in parts_of(estimator)
        )
        return max(1, int(sum(sizes)))

    @property
    def n_parameters(self) -> int:
        return sum(map(self.size, self.estimators))

    def state(self) -> dict[str, Any]:
        kept = dump_estimators(self.estimators, self.types, any_of_sklearn=True, name=self.name)
        return {"of": self.kind, **kept}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.estimators = made.as_many_as_needed(load_estimators(state, cls.trusted, any_of_sklearn=True))
        check_trees(made.estimators)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied, (self.name, self.types, self.estimators, self.task, self.n_outputs)


def _copied(name: str, trusted: tuple[str, ...], estimators: list[Any], task: Task, n_outputs: int) -> OwnEstimator:
    made = OwnEstimator(task, n_outputs)
    made.name, made.types, made.estimators = name, trusted, estimators
    return made
