"""The classical model of one modality alone: chosen by rows that it may see, as strong as scikit-learn's, and saved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from profuse.classical import ClassicalFit, fit_classical
from profuse.classical._base import Problem
from profuse.classical._machines import Rows, Setting, _Fitter
from profuse.classical.gradient_boosting import GradientBoosting
from profuse.classical.yardstick import Yardstick
from profuse.metrics import measure, metric
from profuse.schema import Task

TASKS: dict[Task, Any] = {
    "binary": lambda s: (s[:, 0] > 0).astype(int),
    "multiclass": lambda s: s.argmax(1),
    "multilabel": lambda s: (s > 0).astype(int),
    "regression": lambda s: s[:, :2],
}
OUTPUTS = {"binary": 2, "multiclass": 3, "multilabel": 3, "regression": 2}


def problem(task: Task, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    scores = np.stack([x[:, 0] * x[:, 1], np.sin(2 * x[:, 2]), x[:, 3]], axis=1) + 0.05 * rng.normal(size=(n, 3))
    return x, TASKS[task](scores)


def fit(task: Task, x: Any, y: np.ndarray, **options: Any) -> ClassicalFit:
    n = len(y)
    rows = np.arange(n)
    split = rows[: n // 2], rows[n // 2 : n * 3 // 4]
    return fit_classical("yardstick", {"m": x}, y, *split, task, OUTPUTS[task], **options)


def score(task: Task, made: ClassicalFit, x: Any, y: np.ndarray) -> float:
    test = np.arange(len(y) * 3 // 4, len(y))
    values = measure(task, y[test], made.predict(x[test])).values
    return values["r2" if task == "regression" else "accuracy" if task != "multilabel" else "micro_f1"]


@pytest.mark.parametrize(
    ("task", "least"), [("binary", 0.85), ("multiclass", 0.8), ("multilabel", 0.85), ("regression", 0.8)]
)
def test_it_learns_what_no_linear_model_can(task: Task, least: float) -> None:
    x, y = problem(task)
    assert score(task, fit(task, x, y, refit=True), x, y) > least


@pytest.mark.slow
def test_on_digits_it_is_level_with_a_support_vector_machine() -> None:
    x, y = load_digits(return_X_y=True)
    x, y, rows = x[:900], y[:900], np.arange(900)
    made = fit_classical("yardstick", {"m": x}, y, rows[:480], rows[480:600], "multiclass", 10, refit=True)
    machine = make_pipeline(StandardScaler(), SVC(C=10)).fit(x[:600], y[:600])
    assert (made.predict(x[600:]).argmax(1) == y[600:]).mean() > machine.score(x[600:], y[600:]) - 0.015


def test_rows_that_are_neither_training_nor_validation_change_nothing() -> None:
    x, y = problem("multiclass")
    test = np.arange(len(y) * 3 // 4, len(y))
    other_x, other_y = x.copy(), y.copy()
    other_x[test] = 1e3 * np.random.default_rng(1).normal(size=(len(test), 4))
    other_y[test] = 0
    asked = np.random.default_rng(2).normal(size=(20, 4))
    one, other = fit("multiclass", x, y, refit=True), fit("multiclass", other_x, other_y, refit=True)
    np.testing.assert_array_equal(one.predict(asked), other.predict(asked))


def test_the_metric_that_counts_chooses() -> None:
    x, y = problem("binary")
    by = {name: fit("binary", x, y, metric=metric(name)).model.choice for name in ("accuracy", "auroc", "brier")}
    plain = fit("binary", x, y).model.choice
    assert by["accuracy"] == plain
    assert by["brier"] is not None
    assert 0 < by["brier"][0] < 0.5  # the smaller, the better
    assert by["auroc"] is not None
    assert plain is not None
    assert -1 <= by["auroc"][0] < plain[0]


def test_validation_rows_are_predicted_before_they_are_learned_from() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(240, 30)), rng.integers(0, 2, 240)  # nothing to learn
    made = fit("binary", x, y, refit=True)
    valid = np.arange(120, 180)
    assert 0.3 < (made.valid_prediction.argmax(1) == y[valid]).mean() < 0.7


def test_inner_folds_choose_where_they_are_given_and_hold_their_rows_out() -> None:
    x, y = problem("binary", 200)
    known = np.arange(150)
    inner = [(known[a], known[b]) for a, b in KFold(5, shuffle=True, random_state=0).split(known)]
    made = fit("binary", x, y, folds=inner)
    assert made.model.choice is not None
    assert made.model.choice[0] < -0.8
    noise = np.random.default_rng(0).integers(0, 2, 200)  # folds that saw their rows would be right nearly always
    chance = fit("binary", x, noise, folds=inner).model.choice
    assert chance is not None
    assert -0.72 < chance[0] < -0.4


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sparsely", [False, True])
def test_what_is_restored_from_its_state_predicts_the_same(task: Task, sparsely: bool) -> None:
    x, y = problem(task, 160)
    given = sparse.csr_matrix(np.maximum(x, 0)) if sparsely else x
    made = fit(task, given, y).model
    state = made.state()
    json.dumps(_without_arrays(state))
    again = Yardstick.from_state(state, task, OUTPUTS[task])
    np.testing.assert_array_equal(again.predict(given), made.predict(given))
    assert again.n_parameters == made.n_parameters > 0


def _without_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_arrays(v) for k, v in value.items()}
    return None if isinstance(value, np.ndarray) else value


def test_a_state_that_does_not_fit_is_refused() -> None:
    x, y = problem("regression", 160)
    state = fit("regression", x, y).model.state()
    with pytest.raises(ValueError, match="model must be one of"):
        Yardstick.from_state({**state, "model": "pickle"}, "regression", 2)
    if state["model"] == "machine":
        with pytest.raises(ValueError, match="weights must be of 3 outputs"):
            Yardstick.from_state(state, "regression", 3)


def test_missing_numbers_and_categories_are_read() -> None:
    rng = np.random.default_rng(0)
    n = 400
    town, number = rng.integers(0, 5, n).astype(float), rng.normal(size=n)
    effect = np.array([2.0, -1.0, 0.5, -2.0, 1.0])[town.astype(int)]
    missing = rng.random(n) < 0.2
    y = effect + np.where(missing, 2.0, number)
    x = np.stack([town, np.where(missing, np.nan, number)], axis=1)
    y = ((y - y.mean()) / y.std())[:, None]
    made = fit_classical(
        "yardstick", {"m": x}, y, np.arange(200), np.arange(200, 300), "regression", 1, categories={"m": (True, False)}
    )
    assert measure("regression", y[300:], made.predict(x[300:])).values["r2"] > 0.9
    new = x[300:].copy()
    new[:, 0] = 7  # a town of which nothing is known
    assert np.isfinite(made.predict(new)).all()


def test_a_class_that_training_lacks_and_a_label_that_is_always_the_same_have_finite_probabilities() -> None:
    x, y = problem("multiclass", 120)
    y = np.where(y == 2, 0, y)
    p = fit("multiclass", x, y).predict(x)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p[:, 2] < 0.5).all()
    x, labels = problem("multilabel", 120)
    labels[:, 1] = 1
    assert (fit("multilabel", x, labels).predict(x)[:, 1] > 0.5).all()


def test_least_squares_are_those_of_scikit_learn() -> None:
    from profuse.classical._machines import Rows, Setting, _Fitter

    x, y = problem("regression", 120)
    train = np.arange(80)
    z = StandardScaler().fit(x[train]).transform(x)
    rows = Rows(x, y, np.zeros(0, dtype=int), "regression", 2)
    center = y[train].mean(0)
    for used in (train, train[:3]):  # by features, and by rows where these are fewer
        line = _Fitter(rows, used)(Setting("line", "each", 0.5))
        of = StandardScaler().fit(x[used]).transform(x)
        unit, level = 0.5 * np.square(of[used]).sum() / len(used), y[used].mean(0)
        oracle = Ridge(alpha=unit, fit_intercept=False).fit(of[used], y[used] - level)
        np.testing.assert_allclose(line.scores(x), oracle.predict(of.clip(-10, 10)) + level, rtol=1e-4, atol=1e-4)
    gauss = _Fitter(rows, train)(Setting("gauss", "each", 0.1, 1.0))
    kernel = KernelRidge(alpha=0.1, kernel="rbf", gamma=gauss.width).fit(z[train], y[train] - center)
    np.testing.assert_allclose(gauss.scores(x), kernel.predict(z) + center, rtol=1e-4, atol=1e-4)
    distances = np.square(z[train][:, None] - z[train]).sum(2)
    assert gauss.width == pytest.approx(1 / distances.mean(), rel=1e-4)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_margins_are_those_of_a_linear_support_vector_machine(task: Task) -> None:
    from profuse.classical._machines import Rows, Setting, _Fitter

    x, y = problem(task, 120)
    z, train = sparse.csr_matrix(np.maximum(x, 0)), np.arange(80)
    rows = Rows(z, y, np.zeros(0, dtype=int), task, OUTPUTS[task])
    scores = _Fitter(rows, train)(Setting("margin", "each", 0.5)).scores(z)
    columns = y.T if task == "multilabel" else [y]
    said = [LinearSVC(C=2.0, random_state=0).fit(z[train], column[train]).decision_function(z) for column in columns]
    oracle = (
        said[0] if task == "multiclass" else np.stack(said if task == "multilabel" else [0 * said[0], *said], axis=1)
    )
    np.testing.assert_allclose(scores, oracle, atol=1e-3)


def test_a_coarse_optimum_is_no_warning_of_the_user() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40)) * np.logspace(0, 6, 40)
    y = (x[:, 0] > 0).astype(int)
    fit("binary", sparse.csr_matrix(x), y)  # warnings are errors in tests


def test_levels_beside_numbers_that_follow_from_them_are_solved_with_any_penalty() -> None:
    """In single precision their Gram matrix has no inverse: its sums round more than a small penalty adds."""
    rng = np.random.default_rng(0)
    n = 12_000
    codes = np.minimum(rng.geometric(0.2, size=(n, 4)), 15)
    known = np.concatenate([rng.normal(size=(15, 4))[codes - 1, np.arange(4)] for _ in range(3)], axis=1)
    x = np.concatenate([codes, known], axis=1).astype(float)
    rows = Rows(x, known[:, :1], np.arange(4), "regression", 1)
    fitter = _Fitter(rows, np.arange(n))
    for penalty in (1e-5, 1e-4, 1e-3, 1e-2):
        made = fitter(Setting("line", "each", penalty))
        np.testing.assert_allclose(made.scores(x[:50]), known[:50, :1], atol=0.05)


def test_boosting_learns_from_a_fold_that_lacks_a_column() -> None:
    x, y = problem("binary", n=80)
    x = np.insert(x, 1, np.nan, axis=1)
    x[70, 1] = 1.0  # a row that is held out
    made = GradientBoosting("binary", 2)
    part = Problem(x, y, np.arange(60), np.arange(60, 80), np.zeros(0, dtype=np.intp))
    made.fit(part, settings=GradientBoosting.trials[0], seed=0, refit=False)
    plain = GradientBoosting("binary", 2)
    plain.fit(replace(part, x=np.delete(x, 1, axis=1)), settings=GradientBoosting.trials[0], seed=0, refit=False)
    np.testing.assert_allclose(made.predict(x), plain.predict(np.delete(x, 1, axis=1)))
    again = GradientBoosting.from_state(made.state(), "binary", 2)
    np.testing.assert_array_equal(again.predict(x), made.predict(x))


def test_where_a_quantile_is_asked_for_the_best_is_that_whose_moved_predictions_are() -> None:
    """A mean says little of the median of a skewed target: by absolute errors a constant would be better."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 3))
    y = np.exp(x[:, :1] + 1.5 * rng.normal(size=(900, 1)))
    train, valid, new = np.split(np.arange(900), 3)
    of = metric("mae")
    fit = fit_classical("yardstick", {"x": x}, y, train, valid, "regression", 1, metric=of)
    constant = np.full((300, 1), np.median(y[np.r_[train, valid]]))
    assert of(y[new], fit.predict(x[new])) < 0.95 * of(y[new], constant)
    left = y[valid] - fit.valid_prediction
    assert fit.model.choice is not None
    assert fit.model.choice[0] == pytest.approx(np.abs(left - np.median(left)).mean() / 2, rel=0.02)
