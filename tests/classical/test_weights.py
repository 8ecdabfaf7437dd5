"""Weights of rows in classical models: what they are worth is told by rows that stand there twice, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import recall_score

from profuse.classical import ClassicalModel, Problem, ScikitModel, classical, fit_classical, fittable, fittable_to
from profuse.classical._encoding import Encoding
from profuse.classical._machines import Kind, Rows, Setting, _Fitter, error_of
from profuse.classical.trivial import Trivial
from profuse.errors import ConfigError
from profuse.registry import register
from profuse.schema import Task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]

N = 240
TRAIN, VALID, NEW = np.arange(120), np.arange(120, 180), np.arange(180, N)
OUTPUTS: Mapping[Task, int] = {"binary": 2, "multiclass": 3, "multilabel": 2, "regression": 2}
NAMES = fittable()
CASES = [(name, task) for task in OUTPUTS for name in fittable_to(task)[0]]
"""Models, and the tasks that they can learn."""
TASKS = dict.fromkeys(("margin", "logistic"), ("binary", "multiclass", "multilabel")) | {"tube": ("regression",)}
"""Of machines that are of classes, or of numbers, only."""


def rows(task: Task = "binary") -> tuple[np.ndarray, np.ndarray]:
    """Five numbers, some missing, and a target."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 5))
    score = np.sin(2 * x[:, 0]) + x[:, 1] + 0.5 * rng.normal(size=N)
    x[rng.random(x.shape) < 0.05] = np.nan
    if task in ("binary", "multiclass"):
        return x, np.digitize(score, [0.3] if task == "binary" else [-0.5, 0.7])
    both = np.stack([score, -score + x[:, 2].clip(-1, 1)], axis=1)
    both = np.nan_to_num(both)
    return x, (both > 0.2).astype(np.float32) if task == "multilabel" else both


def said(
    name: str,
    x: Any,
    y: np.ndarray,
    task: Task = "binary",
    weights: np.ndarray | None = None,
    train: np.ndarray = TRAIN,
    valid: np.ndarray = VALID,
    **more: Any,
) -> np.ndarray:
    """Returns what the model predicts of new rows, learned anew with validation rows."""
    options = {"refit": True, **more}
    return fit_classical(name, {"x": x}, y, train, valid, task, OUTPUTS[task], weights=weights, **options).predict(
        x[NEW]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), CASES)
@pytest.mark.parametrize("refit", [False, True])
def test_a_weight_of_0_leaves_the_row_out(name: str, task: Task, refit: bool) -> None:
    x, y = rows(task)
    weights = np.where(np.arange(N) % 5 == 1, 0.0, 1.0)
    kept = [r[weights[r] > 0] for r in (TRAIN, VALID)]
    left_out = said(name, x, y, task, train=kept[0], valid=kept[1], refit=refit)
    np.testing.assert_allclose(said(name, x, y, task, weights, refit=refit), left_out, rtol=1e-5, atol=1e-6)
    assert np.abs(said(name, x, y, task, refit=refit) - left_out).max() > 1e-4


@pytest.mark.parametrize("task", OUTPUTS)
@pytest.mark.parametrize("name", ["linear", "trivial"])
def test_a_weight_of_2_of_all_rows_is_all_rows_twice(name: str, task: Task) -> None:
    """Strengths are sums over rows, so that this says that weights are taken as numbers of rows."""
    x, y = rows(task)
    twice = [np.repeat(r, 2) for r in (TRAIN, VALID)]
    repeated = said(name, x, y, task, train=twice[0], valid=twice[1])
    np.testing.assert_allclose(said(name, x, y, task, np.full(N, 2.0)), repeated, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("weights", [np.full(N, 2.0), np.where(np.arange(N) % 5 == 1, 0.0, 1.0)], ids=["two", "none"])
def test_so_it_is_of_a_target_that_is_learned_on_the_logarithm(weights: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3))
    y = np.exp(np.stack([x[:, 0] + x[:, 1], x[:, 2]], axis=1) + 0.3 * rng.normal(size=(N, 2)))
    fits = []
    for w in (None, weights):
        train, valid = (r if w is not None else np.repeat(r, weights[r].astype(int)) for r in (TRAIN, VALID))
        fits.append(
            fit_classical("linear", {"x": x}, y, train, valid, "regression", 2, weights=w, refit=True, zero=np.zeros(2))
        )
    assert all("OnLogarithm" in repr(fit.model.estimators) for fit in fits if isinstance(fit.model, ScikitModel))
    np.testing.assert_allclose(fits[1].predict(x[NEW]), fits[0].predict(x[NEW]), rtol=1e-6)


@pytest.mark.parametrize("task", OUTPUTS)
def test_a_weight_is_a_number_of_rows_to_the_trivial_answer(task: Task) -> None:
    x, y = rows(task)
    counts = np.random.default_rng(1).integers(0, 4, N)
    again = [np.repeat(r, counts[r]) for r in (TRAIN, VALID)]
    repeated = said("trivial", x, y, task, train=again[0], valid=again[1])
    np.testing.assert_allclose(said("trivial", x, y, task, counts.astype(float)), repeated)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_rows_of_weight_3_are_nearly_those_rows_three_times_to_the_linear_model(kind: str) -> None:
    """Nearly: numbers are scaled, and means put in place of missing ones, by all rows alike."""
    for task in OUTPUTS:
        x, y = rows(task)
        made: Any = sparse.csr_matrix(np.nan_to_num(np.abs(x))) if kind == "sparse" else x
        heavy = np.arange(N) % 2 == 0
        again = [np.repeat(r, np.where(heavy[r], 3, 1)) for r in (TRAIN, VALID)]
        repeated = said("linear", made, y, task, train=again[0], valid=again[1])
        weighted = said("linear", made, y, task, np.where(heavy, 3.0, 1.0))
        plain = said("linear", made, y, task)
        assert np.abs(weighted - repeated).mean() < 0.25 * np.abs(plain - repeated).mean(), task


@pytest.mark.parametrize(
    ("kind", "task"), [(k, t) for k in get_args(Kind) for t in OUTPUTS if t in TASKS.get(k, OUTPUTS)]
)
@pytest.mark.parametrize("wide", [False, True])
def test_a_weight_is_a_number_of_rows_to_each_machine(
    kind: Kind, task: Task, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing, none = np.zeros(0), np.zeros((0, 2))
    same = Encoding(nothing, nothing, np.zeros(0, dtype=np.int64), none)
    monkeypatch.setattr(Encoding, "__call__", lambda self, x: x)  # scaling takes all rows alike
    monkeypatch.setattr(Encoding, "fit", lambda *args: same)
    x, y = rows(task)
    x = np.nan_to_num(x)
    x = np.concatenate([x, np.random.default_rng(2).normal(size=(N, 300))], axis=1) if wide else x
    counts = np.random.default_rng(1).integers(1, 4, N)
    setting, made = Setting(kind, "each", 0.5), []
    for train, weights in ((np.repeat(TRAIN, counts[TRAIN]), None), (TRAIN, counts.astype(float))):
        known = Rows(x, y, TRAIN[:0], task, OUTPUTS[task], weights)
        made.append(_Fitter(known, train)(setting).scores(x[NEW]))
    np.testing.assert_allclose(made[0], made[1], rtol=1e-2, atol=1e-2)
    assert np.abs(made[0] - made[1]).mean() < 1e-3


def test_errors_count_rows_by_their_weights() -> None:
    counts = np.array([1, 3, 2])
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    wanted = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for task in OUTPUTS:
        repeated = error_of(task, wanted.repeat(counts, 0), p.repeat(counts, 0))
        assert error_of(task, wanted, p, counts.astype(float)) == pytest.approx(repeated)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_weights_of_1_are_none(name: str, task: Task) -> None:
    x, y = rows(task)
    np.testing.assert_allclose(said(name, x, y, task, np.ones(N)), said(name, x, y, task), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n, task in CASES if task == "binary" and n != "trivial"])
def test_weights_of_a_rare_class_raise_its_recall(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_200, 4))
    score = x[:, 0] + x[:, 1] + rng.normal(size=1_200)
    y = (score > np.quantile(score, 0.95)).astype(int)
    train, valid, new = np.arange(400), np.arange(400, 600), np.arange(600, 1_200)
    weights = np.where(y == 1, 10.0, 0.5)
    recalls = [
        recall_score(
            y[new],
            fit_classical(name, {"x": x}, y, train, valid, "binary", 2, weights=w, refit=True)
            .predict(x[new])
            .argmax(1),
        )
        for w in (None, weights)
    ]
    assert recalls[1] > recalls[0] + 0.15, recalls


def test_a_model_that_takes_no_weights_says_so() -> None:
    class Mine(Trivial):
        """Counts all alike."""

        weighted: ClassVar[bool] = False

    register("classical", "mine", Mine)
    x, y = rows()
    assert said("mine", x, y).shape == (len(NEW), 2)
    with pytest.raises(ConfigError, match="mine: rows must count alike, as this model takes no weights"):
        said("mine", x, y, weights=np.ones(N))


def test_a_model_takes_none_unless_it_says_so() -> None:
    assert not ClassicalModel.weighted
    assert all(classical(name).weighted for name in NAMES)


def test_what_is_predicted_of_validation_rows_covers_those_of_weight_0() -> None:
    weights = np.where(np.arange(N) % 5 == 1, 0.0, 1.0)
    for name, task in CASES:
        if task in ("binary", "regression"):
            x, y = rows(task)
            fit = fit_classical(name, {"x": x}, y, TRAIN, VALID, task, 2, weights=weights)
            assert fit.valid_prediction.shape == (len(VALID), 2), name


def test_rows_that_count_are_known_to_the_problem() -> None:
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    rows = np.arange(4)
    problem = Problem(np.zeros((4, 1)), rows, rows[:2], rows[2:], rows[:0], weights=weights)
    assert problem.known_rows.tolist() == [0, 1, 3]
    assert problem.choosing_rows.tolist() == [3]
    np.testing.assert_array_equal(problem.weights_of(rows[1:2]), [2.0])
