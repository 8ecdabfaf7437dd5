"""Estimators of scikit-learn as classical models: how they are given, what they get, how they are kept, what fails."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import profuse
from profuse import from_tensors, register
from profuse.classical import CLASSICAL, ClassicalModel, Problem, classical, restored
from profuse.classical._own import OwnEstimator
from profuse.classical._trees import check_trees
from profuse.classical.own import asked_members, model_of
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, ProfuseError, UnknownNameError
from profuse.schema import Task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]
QUICK: dict[str, Any] = {
    "seeds": 1, "rounds": (), "singles": (), "train": {"epochs": 1}, "model": {"width": 8}, "n_jobs": 1,
    "retrain_without": False,
}  # fmt: skip


def problem(task: Task = "binary", n: int = 80, *, missing: bool = True) -> Problem:
    """Three numbers, one of them with gaps, and a category that is told by its code."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    x[:, 3] = rng.integers(0, 5, n)
    signal = x[:, 0] + 2.0 * (x[:, 3] == 2)
    target: np.ndarray = {
        "binary": (signal > 0.5).astype(int),
        "multiclass": np.digitize(signal, [-0.3, 1.0]),
        "multilabel": np.stack([signal > 0.5, x[:, 1] > 0], axis=1).astype(int),
        "regression": np.stack([signal, x[:, 1]], axis=1),
    }[task]
    if missing:
        x[::5, 1] = np.nan
    rows = np.arange(n)
    return Problem(x, target, rows[: n - 20], rows[n - 20 :], np.array([3]))


def fitted(value: object, task: Task = "binary", *, of: Problem | None = None, seed: int = 0) -> ClassicalModel:
    register("classical", "mine", value)
    of = of or problem(task)
    n_outputs = of.target.shape[1] if of.target.ndim > 1 else int(of.target.max()) + 1
    model = classical("mine")(task, n_outputs)
    model.fit(of, settings={}, seed=seed, refit=True)
    return model


def known(n: int = 120) -> Dataset:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    return from_tensors({"a": a, "b": b}, (a[:, 0] + b[:, 0] > 0).astype(int), presence={"b": rng.random(n) > 0.2})


def for_any_task(task: str) -> Any:
    """Whatever is learned."""
    return KNeighborsRegressor() if task == "regression" else KNeighborsClassifier()


def without_arguments(neighbours: int = 3) -> Any:
    return KNeighborsClassifier(neighbours)


class TestGiven:
    @pytest.mark.parametrize(
        ("value", "task"),
        [
            (KNeighborsClassifier, "binary"),
            (KNeighborsClassifier(3), "multiclass"),
            (for_any_task, "regression"),
            (for_any_task, "multilabel"),
            (without_arguments, "binary"),
            (lambda task="binary": for_any_task(task), "regression"),
        ],
    )
    def test_a_class_an_estimator_or_a_function_makes_a_model(self, value: object, task: Task) -> None:
        of = problem(task)
        model = fitted(value, task)
        prediction = model.predict(of.x)
        assert prediction.shape == (80, model.n_outputs)
        assert np.isfinite(prediction).all()
        if task in ("binary", "multiclass"):
            np.testing.assert_allclose(prediction.sum(1), 1.0)
        assert model.n_parameters > 80

    def test_what_was_given_is_never_fitted(self) -> None:
        given = KNeighborsClassifier()
        fitted(given)
        assert not hasattr(given, "classes_")

    @pytest.mark.parametrize("value", [StandardScaler.__init__.__class__, 3, "text", Path])
    def test_what_is_no_estimator_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError, match="must be|'module:Name'"):
            register("classical", "mine", value)
        assert "mine" not in CLASSICAL

    @pytest.mark.parametrize(
        ("value", "task", "reason"),
        [
            (SVR(), "binary", "SVR, which is no classifier"),
            (SVC, "regression", "SVC, which is no regressor"),
            (make_pipeline(StandardScaler(), Ridge()), "multiclass", "Pipeline, which is no classifier"),
            (lambda task: 3, "binary", "TypeError: <lambda> must return an estimator; got 3"),
            (lambda task: 1 / 0, "binary", "ZeroDivisionError: division by zero"),
        ],
    )
    def test_an_estimator_of_another_task_is_told_before_any_fit(self, value: Any, task: Task, reason: str) -> None:
        with (
            pytest.raises(
                ConfigError, match=f"^fit: member 'm' must be an estimator for a {task} target; got {reason}"
            ),
            asked_members(["m"], {"m": value}, who="fit", task=task),
        ):
            pass
        assert "m" not in CLASSICAL

    @pytest.mark.parametrize(
        ("asked", "error", "message"),
        [
            ("linear=own_models:Forest", ConfigError, "must have a name of its own; got name='linear', which is taken"),
            ("own_models:Florest", UnknownNameError, "got attribute of own_models='Florest'. Did you mean 'Forest'"),
            ("no_such_module:x", ConfigError, "must be importable; got 'no_such_module:x', ModuleNotFoundError"),
            ("broken_models:x", ConfigError, "must be importable; got 'broken_models:x', ZeroDivisionError"),
            ("lineer", UnknownNameError, "got member='lineer'. Did you mean 'linear'"),
            ("a=b=c", ConfigError, "a member must be 'module:attribute', 'name=module:attribute', or a name"),
            ("a b=own_models:Forest", ConfigError, "the name of a classical must be letters, digits"),
            ("own_models:number", ConfigError, "must be a class that inherits from .*, or be an estimator of scikit"),
        ],
    )
    def test_what_cannot_be_a_member_is_told(
        self, asked: str, error: type[Exception], message: str, own_models: Path
    ) -> None:
        (own_models / "broken_models.py").write_text("1 / 0\n", encoding="utf-8")
        before = list(CLASSICAL)
        with pytest.raises(error, match=message), asked_members([asked], who="compare", task="binary"):
            pass
        assert list(CLASSICAL) == before

    def test_members_have_a_name_while_they_take_part(self, own_models: Path) -> None:
        with asked_members(["own_models:Forest", "f=own_models:Forest", "linear"], who="compare", task="binary"):
            assert list(CLASSICAL)[-2:] == ["Forest", "f"]
            with asked_members(["own_models:Forest"], who="compare"):
                pass
            assert "Forest" in CLASSICAL
        assert not {"Forest", "f"} & set(CLASSICAL)

    def test_a_list_of_estimators_without_names_is_refused(self) -> None:
        with pytest.raises(
            ConfigError, match=r"members must be a list of names or of 'module:attribute', or a mapping"
        ):
            profuse.compare(known(), members=[SVC()], **QUICK)


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = "from sklearn.ensemble import RandomForestClassifier as Forest\nnumber = 3\n"
    (tmp_path / "own_models.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return tmp_path


class TestSettings:
    @pytest.mark.parametrize(
        ("value", "other"),
        [
            (SVC(C=1.0), SVC(C=2.0)),
            (make_pipeline(SVC(C=1.0)), make_pipeline(SVC(C=2.0))),
            (make_pipeline(StandardScaler(), SVC()), make_pipeline(RobustScaler(), SVC())),
            (GridSearchCV(SVC(), {"C": [1.0]}), GridSearchCV(SVC(), {"C": [2.0]})),
            (FunctionTransformer(abs), FunctionTransformer(round)),
            (FunctionTransformer(np.tanh), FunctionTransformer(np.sinh)),
        ],
    )
    def test_they_tell_two_estimators_apart_and_are_the_same_in_any_process(self, value: Any, other: Any) -> None:
        one, two = (model_of("m", v).settings for v in (value, other))  # type: ignore[union-attr]
        assert one != two
        assert " at 0x" not in one
        assert model_of("m", clone(value)).settings == one  # type: ignore[union-attr]


class TestRouting:
    def test_missing_numbers_reach_only_those_that_take_them(self) -> None:
        seen: dict[str, np.ndarray] = {}

        class Looks(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            takes_missing = False

            def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
                seen["x"], self.classes_ = x, np.unique(y)
                return self

            def predict_proba(self, x: np.ndarray) -> np.ndarray:
                return np.full((len(x), len(self.classes_)), 1 / len(self.classes_))

            def __sklearn_tags__(self) -> Any:
                tags = super().__sklearn_tags__()
                tags.input_tags.allow_nan = self.takes_missing
                return tags

        class Takes(Looks):
            takes_missing = True

        of = problem()

        def looked(value: object) -> np.ndarray:
            register("classical", "looks", value)
            with pytest.raises(ConfigError, match="must hold types that are loaded again; got .*(Looks|Takes)"):
                classical("looks")("binary", 2).fit(of, settings={}, seed=0, refit=False)
            CLASSICAL.remove("looks")
            return seen["x"]

        np.testing.assert_array_equal(looked(Takes()), of.x[of.train_rows])
        x = looked(Looks())
        assert x.shape == (60, 5 + 3 + 1)  # levels, numbers, and where one was missing
        np.testing.assert_array_equal(x[:, :5].sum(1), 1.0)
        np.testing.assert_allclose(x[:, 5:].mean(0), 0.0, atol=1e-12)
        np.testing.assert_allclose(x[:, 5:].std(0), 1.0)
        x = looked(make_pipeline("passthrough", Looks()))  # its own steps see numbers as they are
        np.testing.assert_array_equal(x[:, 5], of.x[of.train_rows, 0])
        assert np.nanmedian(of.x[of.train_rows, 1]) == x[0, 6]
        x = looked(make_pipeline(SimpleImputer(strategy="constant", fill_value=-7.0), Looks()))
        assert x.shape == (60, 4)
        assert x[0, 1] == -7.0

    @pytest.mark.parametrize("value", [SVC(), LinearSVC(), RidgeClassifier(), make_pipeline(StandardScaler(), SVC())])
    def test_a_classifier_without_probabilities_is_calibrated(self, value: object) -> None:
        of = problem("multiclass", missing=False)
        prediction = fitted(value, "multiclass", of=of).predict(of.x)
        np.testing.assert_allclose(prediction.sum(1), 1.0)
        assert (prediction.argmax(1) == of.target).mean() > 0.5

    def test_one_that_knows_only_when_fitted_is_asked_then(self) -> None:
        model = fitted(StackingClassifier([("nb", GaussianNB())]))
        assert np.isfinite(model.predict(problem().x)).all()

    def test_one_without_any_score_is_refused(self) -> None:
        class Mute(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
            def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
                return self

        with pytest.raises(ProfuseError, match="^mine: a classifier must have predict_proba or .* got Mute, which has"):
            fitted(Mute())

    def test_the_seed_is_every_random_state(self) -> None:
        value = make_pipeline(StandardScaler(), BaggingClassifier(DecisionTreeClassifier(max_features=1), 5))
        first, same, other = (fitted(value, seed=s).predict(problem().x) for s in (1, 1, 2))
        np.testing.assert_array_equal(first, same)
        assert (first != other).any()

    @pytest.mark.parametrize(
        ("value", "task"),
        [
            (LogisticRegression(), "binary"),
            (SVC(), "binary"),
            (GradientBoostingClassifier(n_estimators=20), "multiclass"),
            (make_pipeline(StandardScaler(), Ridge()), "regression"),
        ],
    )
    def test_weights_of_rows_reach_it(self, value: object, task: Task) -> None:
        of = problem(task)
        weights = np.where(of.x[:, 0] > 0, 1.0, 1e-3)
        plain, weighed = (fitted(value, task, of=replace(of, weights=w)).predict(of.x) for w in (None, weights))
        alike = fitted(value, task, of=replace(of, weights=np.ones(80))).predict(of.x)
        np.testing.assert_allclose(alike, plain, atol=1e-6)
        assert np.abs(weighed - plain).max() > 0.05

    @pytest.mark.parametrize(
        ("value", "what"),
        [
            (KNeighborsClassifier(), "KNeighborsClassifier"),
            (make_pipeline(StandardScaler(), KNeighborsClassifier()), "KNeighborsClassifier"),
            (make_pipeline(StandardScaler(), SVC()), "a pipeline without predict_proba"),
        ],
    )
    def test_one_that_takes_no_weights_is_refused_where_there_are_some(self, value: object, what: str) -> None:
        with pytest.raises(ProfuseError, match=f"^mine: rows must count alike, as {what} takes no sample_weight; got"):
            fitted(value, of=replace(problem(), weights=np.ones(80)))

    def test_a_class_that_training_rows_lack_has_probability_0(self) -> None:
        of = problem("multiclass")
        target = np.where(np.isin(np.arange(80), of.train_rows) & (of.target == 2), 0, of.target)
        assert (target == 2).any()
        register("classical", "mine", SVC)
        model = classical("mine")("multiclass", 3)
        model.fit(Problem(of.x, target, of.train_rows, of.valid_rows, of.codes), settings={}, seed=0, refit=False)
        assert (model.predict(of.x)[:, 2] == 0).all()

    def test_what_raises_is_told_in_one_line_with_the_name(self) -> None:
        class Faulty(KNeighborsClassifier):  # type: ignore[misc]
            def fit(self, x: Any, y: Any) -> Any:
                raise RuntimeError("no luck\ntoday.")

        with pytest.raises(
            ProfuseError, match=r"^mine: the estimator must fit; got RuntimeError: no luck today\. Corr"
        ):
            fitted(Faulty)


KEPT: tuple[tuple[Any, Task], ...] = (
    (RandomForestClassifier(10), "binary"),
    (RandomForestRegressor(10), "regression"),
    (GradientBoostingClassifier(n_estimators=5), "multiclass"),
    (HistGradientBoostingClassifier(max_iter=5), "multilabel"),
    (BaggingClassifier(DecisionTreeClassifier(), 5), "binary"),
    (MLPClassifier((8,), max_iter=20), "multiclass"),
    (GaussianProcessClassifier(), "binary"),
    (KNeighborsClassifier(), "multilabel"),
    (SVC(), "multiclass"),
    (SVR(), "regression"),
    (make_pipeline(StandardScaler(), LogisticRegression()), "binary"),
    (GridSearchCV(SVC(), {"C": [1.0, 2.0]}), "binary"),
    (StackingClassifier([("t", DecisionTreeClassifier()), ("nb", GaussianNB())]), "binary"),
)


class TestKept:
    @pytest.mark.parametrize(("value", "task"), KEPT)
    def test_it_predicts_the_same_without_its_name_and_in_a_copy(self, value: Any, task: Task) -> None:
        of = problem(task)
        model = fitted(value, task)
        CLASSICAL.remove("mine")
        for again in (
            restored("mine", model.state(), task, model.n_outputs),
            pickle.loads(pickle.dumps(model)),
            restored("mine", pickle.loads(pickle.dumps(model)).state(), task, model.n_outputs),
        ):
            np.testing.assert_array_equal(again.predict(of.x), model.predict(of.x))
            assert again.n_parameters == model.n_parameters

    def test_a_type_that_could_not_be_loaded_is_refused_while_it_is_fitted(self) -> None:
        with pytest.raises(ConfigError, match=r"^mine: .* loaded again; got sklearn.*KDTree. Use an estimator without"):
            fitted(KNeighborsClassifier(algorithm="kd_tree"))

    def test_a_type_that_is_named_is_kept_and_loaded_where_the_name_is_known(self) -> None:
        def make() -> Any:
            return KNeighborsClassifier(algorithm="kd_tree")

        trusted = ("sklearn.neighbors._kd_tree.KDTree", "sklearn.metrics._dist_metrics.EuclideanDistance64")
        make.trusted = trusted  # type: ignore[attr-defined]
        model = fitted(make)
        again = restored("mine", pickle.loads(pickle.dumps(model)).state(), "binary", 2)
        np.testing.assert_array_equal(again.predict(problem().x), model.predict(problem().x))
        CLASSICAL.remove("mine")
        with pytest.raises(ValueError, match="must be made of the types that are saved; got .*KDTree"):
            restored("mine", model.state(), "binary", 2)

    @pytest.mark.parametrize("value", [RandomForestClassifier(3), GradientBoostingClassifier(n_estimators=3)])
    @pytest.mark.parametrize(("field", "wrong"), [("feature", 10_000), ("left_child", 0), ("right_child", 10_000)])
    def test_trees_that_lead_out_of_bounds_are_refused(self, value: Any, field: str, wrong: int) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(50, 4))
        forest = value.fit(x, x[:, 0] > 0)
        check_trees([make_pipeline("passthrough", forest)])
        tree = np.ravel(forest.estimators_)[0].tree_
        state = tree.__getstate__()
        nodes = state["nodes"].copy()
        nodes[field][np.flatnonzero(nodes["left_child"] != -1)[0]] = wrong
        tree.__setstate__({**state, "nodes": nodes})
        with pytest.raises(ValueError, match="nodes of a tree must lead to later ones, by features that there are"):
            check_trees([make_pipeline("passthrough", forest)])

    def test_a_saved_forest_that_takes_fewer_features_than_its_trees_is_refused(self) -> None:
        model = fitted(RandomForestClassifier(3))
        assert isinstance(model, OwnEstimator)
        model.estimators[0].n_features_in_ = 1
        with pytest.raises(ValueError, match="by features that there are"):
            restored("mine", model.state(), "binary", 2)
