"""Classical models of one's own: compared by name, saved, and loaded with equal predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from known_answers import make_product
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from profuse import compare, register
from profuse.classical import ClassicalModel, Problem, ScikitModel
from profuse.errors import CheckpointError, ConfigError
from profuse.predictor import ClassicalPredictor, load_model
from profuse.schema import Task


class Nearest(ClassicalModel):
    """The class of the nearest known row."""

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        self.x, self.y = np.nan_to_num(problem.x)[problem.train_rows], problem.target[problem.train_rows]
        return self.predict(problem.x[problem.valid_rows])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(
            np.eye(self.n_outputs)[self.y[np.square(np.nan_to_num(x)[:, None] - self.x).sum(2).argmin(1)]]
        )

    @property
    def n_parameters(self) -> int:
        return int(self.x.size)

    def state(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.x, made.y = np.asarray(state["x"]), np.asarray(state["y"])
        return made


class Forest(ScikitModel):
    """A few trees."""

    trusted: ClassVar[Sequence[str]] = (
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._tree.Tree",
        "numpy.int64",
    )

    def make(
        self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, *, settings: Mapping[str, Any], seed: int
    ) -> Any:
        forest = RandomForestClassifier(n_estimators=3, max_depth=3, random_state=seed)
        rows = problem.train_rows
        return make_pipeline(StandardScaler(), forest).fit(np.nan_to_num(problem.x[rows]), y[rows])

    @staticmethod
    def size(estimator: Any) -> int:
        return sum(tree.tree_.node_count for tree in estimator[-1].estimators_)


@pytest.mark.slow
@pytest.mark.usefixtures("few_classical")
@pytest.mark.parametrize("cls", [Nearest, Forest])
def test_it_stands_in_every_comparison_and_is_saved(cls: type[ClassicalModel], tmp_path: Path) -> None:
    register("classical", "mine", cls)
    data = make_product(80)
    found = compare(
        data,
        rounds=(),
        singles=(),
        seeds=1,
        train={"epochs": 1},
        model={"width": 8},
        out=tmp_path / "out",
        n_jobs=1,
        retrain_without=False,
    )
    row = found.summary().row("mine")
    assert row.method.role == "classical"
    predictor = found.predictor("mine")
    assert isinstance(predictor, ClassicalPredictor)
    assert type(predictor.model) is cls
    assert predictor.n_parameters > 0
    predictor.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba(data), predictor.predict_proba(data))


def test_a_type_that_it_does_not_trust_is_refused(tmp_path: Path) -> None:
    class Careless(Forest):
        trusted: ClassVar[Sequence[str]] = ()

    register("classical", "careless", Careless)
    model = Careless("binary", 2)
    x = np.random.default_rng(0).normal(size=(40, 2))
    rows = np.arange(40)
    model.fit(Problem(x, (x[:, 0] > 0).astype(int), rows[:30], rows[30:], rows[:0]), settings={}, seed=0, refit=False)
    with pytest.raises(
        ConfigError, match=r"^Careless: what is fitted must hold types that are loaded again; got .*Tree"
    ):
        model.state()
    model.__class__ = Forest  # type: ignore[assignment]
    with pytest.raises(ValueError, match="must be made of the types that are saved; got "):
        Careless.from_state(model.state(), "binary", 2)


def test_a_class_without_a_method_cannot_be_registered() -> None:
    class Half(ClassicalModel):
        """Lacks all."""

    with pytest.raises(ConfigError, match="without fit, from_state, n_parameters, predict, state"):
        register("classical", "half", Half)


def test_a_saved_one_needs_its_name_where_it_is_loaded(tmp_path: Path) -> None:
    from made_predictors import predictor

    made = predictor("trivial", "binary")
    assert isinstance(made, ClassicalPredictor)
    ClassicalPredictor(**{**vars(made), "name": "gone"}).save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="must be a known name; got classical='gone'"):
        load_model(tmp_path / "m")
