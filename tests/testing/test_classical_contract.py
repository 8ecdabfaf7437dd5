"""The contract of classical models: models by checks, and for each check a broken one that it must reject."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR

from profuse.classical import CLASSICAL, ClassicalModel, Problem, classical, fittable
from profuse.errors import ConfigError
from profuse.schema import Task
from profuse.testing import CLASSICAL_CHECKS, ContractError, check_classical

pytestmark = pytest.mark.usefixtures("few_classical")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "check"), list(product(CLASSICAL.builtin, CLASSICAL_CHECKS)))
def test_the_model_keeps_the_contract(name: str, check: str) -> None:
    if name not in fittable():
        pytest.skip(f"the package {classical(name).package} is not installed")
    check_classical(classical(name), checks=[check])


def for_any_task(task: Task) -> Any:
    return SVR() if task == "regression" else SVC()


@pytest.mark.slow
@pytest.mark.parametrize("value", [for_any_task, KNeighborsClassifier(), KNeighborsRegressor])
def test_an_estimator_keeps_it(value: object) -> None:
    check_classical(value)


class Honest(ClassicalModel):
    """The weighted mean of the targets of the 9 rows that are nearest by the first number, if they have it."""

    weighted: ClassVar[bool] = True

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        self.learn(problem, problem.train_rows)
        valid = self.predict(np.asarray(problem.x)[problem.valid_rows])
        if refit:
            self.learn(problem, problem.known_rows)
        return valid

    def learn(self, problem: Problem, rows: np.ndarray) -> None:
        y = problem.target[rows]
        self.x = np.nan_to_num(np.asarray(problem.x)[rows, 0])
        self.y = np.eye(self.n_outputs)[y] if self.task in ("binary", "multiclass") else np.asarray(y, dtype=float)
        weights = problem.weights_of(rows)
        self.w = np.ones(len(rows)) if weights is None else weights

    def predict(self, x: Any) -> np.ndarray:
        near = np.abs(np.nan_to_num(x[:, 0])[:, None] - self.x).argsort(axis=1)[:, :9]
        w = self.w[near][..., None]
        return np.asarray((self.y[near] * w).sum(1) / w.sum(1))

    @property
    def n_parameters(self) -> int:
        return int(self.x.size)

    def state(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y, "w": self.w}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.x, made.y, made.w = state["x"], state["y"], state["w"]
        return made


class SaysNothing(Honest):
    trials: ClassVar[Any] = ()


class IsNoProbability(Honest):
    """Twice what it should."""

    def predict(self, x: Any) -> np.ndarray:
        return np.asarray(2.0 * super().predict(x))


class AnswersTheMean(Honest):
    """Whatever is asked."""

    def predict(self, x: Any) -> np.ndarray:
        return np.tile(self.y.mean(0), (len(x), 1))


class LetsNaNThrough(Honest):
    """A missing number makes a missing answer."""

    def predict(self, x: Any) -> np.ndarray:
        return np.asarray(super().predict(x) + 0.0 * x[:, [0]])


class LooksAside(Honest):
    """It centres the rows that it is given."""

    def predict(self, x: Any) -> np.ndarray:
        return super().predict(x - np.nanmean(x, axis=0))


class DrawsOutsideOfTheSeed(Honest):
    """It learns from rows that it draws anew each time."""

    draws = np.random.default_rng(0)

    def learn(self, problem: Problem, rows: np.ndarray) -> None:
        super().learn(problem, self.draws.choice(rows, len(rows)))


class KnowsTheAnswers(Honest):
    """It predicts validation rows after it has learned from them."""

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        super().fit(problem, settings=settings, seed=seed, refit=refit)
        return self.predict(np.asarray(problem.x)[problem.valid_rows])


class ForgetsItsWeights(Honest):
    """Its state lacks what it has learned of rows."""

    def state(self) -> dict[str, Any]:
        return {**super().state(), "y": self.y[::-1]}


class KeepsAnObject(Honest):
    """Its state is no plain data."""

    def state(self) -> dict[str, Any]:
        return {**super().state(), "problem": object()}


class CountsTheClasses(Honest):
    """It has as many outputs as training rows have classes."""

    def learn(self, problem: Problem, rows: np.ndarray) -> None:
        super().learn(problem, rows)
        if self.task in ("binary", "multiclass"):
            self.y = self.y[:, np.unique(problem.target[rows])]


class TakesAllAlike(Honest):
    """It says that it learns with weights."""

    def learn(self, problem: Problem, rows: np.ndarray) -> None:
        super().learn(problem, rows)
        self.w = np.ones(len(rows))


class StaysAtTheMean(Honest):
    """It says that it predicts quantiles."""

    quantiles: ClassVar[bool] = True


class Fills(Honest):
    """It fills in what is missing where it stands."""

    def learn(self, problem: Problem, rows: np.ndarray) -> None:
        np.nan_to_num(problem.x, copy=False)
        super().learn(problem, rows)


BROKEN: dict[str, type[ClassicalModel]] = {
    "declared": SaysNothing,
    "outputs_are_predictions": IsNoProbability,
    "learns": AnswersTheMean,
    "missing_accepted": LetsNaNThrough,
    "rows_independent": LooksAside,
    "deterministic": DrawsOutsideOfTheSeed,
    "refit_comes_after": KnowsTheAnswers,
    "state_survives": ForgetsItsWeights,
    "absent_class_is_known": CountsTheClasses,
    "weights_count": TakesAllAlike,
    "quantile_learned": StaysAtTheMean,
    "inputs_left_alone": Fills,
}


def test_every_check_has_something_broken_that_it_must_reject() -> None:
    assert set(BROKEN) == set(CLASSICAL_CHECKS)


@pytest.mark.parametrize("check", CLASSICAL_CHECKS)
def test_the_check_rejects_the_broken_model_and_passes_the_honest_one(check: str) -> None:
    with pytest.raises(ContractError, match=f"^{BROKEN[check].__name__}, {check}: "):
        check_classical(BROKEN[check], checks=[check])
    check_classical(Honest, checks=[check])


def test_a_state_that_is_no_plain_data_is_rejected() -> None:
    with pytest.raises(
        ContractError, match=r"state\(\)\['problem'\] must be a JSON value or an array of numbers; got obj"
    ):
        check_classical(KeepsAnObject, checks=["state_survives"])


def test_what_is_no_model_is_told() -> None:
    with pytest.raises(ConfigError, match="must be a class that inherits from ClassicalModel, or an estimator; got 3"):
        check_classical(3)
