"""Metrics against scikit-learn; row contributions against the jackknife and a bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from profuse.errors import DataError, ShapeError
from profuse.metrics import (
    log_error_scores,
    measure,
    metric,
    metrics_for,
    primary_metric,
    row_scores,
    rows_of_half_the_spread,
)
from profuse.schema import Task


def _classes(n_rows: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.append(np.arange(n_classes), rng.integers(0, n_classes, n_rows - n_classes))
    raw = np.round(rng.random((n_rows, n_classes)), 1) + 0.05 + 0.6 * (y[:, None] == np.arange(n_classes))  # with ties
    return y, raw / raw.sum(1, keepdims=True)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_class_metrics_equal_scikit_learn(n_classes: int) -> None:
    y, p = _classes(120, n_classes)
    found = measure("multiclass" if n_classes > 2 else "binary", y, p)
    hard, one_hot = p.argmax(1), np.eye(n_classes)[y]
    assert found.notes == ()
    assert found.values["accuracy"] == pytest.approx(sk.accuracy_score(y, hard))
    assert found.values["macro_f1"] == pytest.approx(sk.f1_score(y, hard, average="macro"))
    assert found.values["log_loss"] == pytest.approx(sk.log_loss(y, p), rel=1e-6)
    each = [sk.roc_auc_score(one_hot[:, k], p[:, k]) for k in range(1 if n_classes == 2 else 0, n_classes)]
    assert found.values["auroc"] == pytest.approx(np.mean(each))


def test_binary_auroc_is_that_of_the_second_column() -> None:
    y, p = _classes(80, 2)
    assert measure("binary", y, p).values["auroc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))


def test_multilabel_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random((90, 5)) < 0.3).astype(int)
    p = np.round(np.clip(0.5 * y + 0.6 * rng.random((90, 5)), 0, 1), 2)
    found, hard = measure("multilabel", y, p), (p >= 0.5).astype(int)
    assert found.values["macro_f1"] == pytest.approx(sk.f1_score(y, hard, average="macro"))
    assert found.values["micro_f1"] == pytest.approx(sk.f1_score(y, hard, average="micro"))
    assert found.values["exact_match"] == pytest.approx(sk.accuracy_score(y, hard))
    assert found.values["average_precision"] == pytest.approx(sk.average_precision_score(y, p, average="macro"))


@pytest.mark.parametrize("n_targets", [1, 3])
def test_regression_metrics_equal_scikit_learn(n_targets: int) -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(5, 3, (60, n_targets))
    p = y + rng.normal(0, 1, y.shape)
    found = measure("regression", y[:, 0] if n_targets == 1 else y, p).values
    assert found["r2"] == pytest.approx(sk.r2_score(y, p))
    assert found["mse"] == pytest.approx(sk.mean_squared_error(y, p))
    assert found["rmse"] == pytest.approx(np.sqrt(sk.mean_squared_error(y, p)))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, p))
    assert found["pinball"] == pytest.approx(sk.mean_pinball_loss(y, p, alpha=0.9))


def test_a_metric_called_alone_does_not_broadcast_rows_against_rows() -> None:
    y = np.arange(4.0)
    for each in metrics_for("regression"):
        assert each(y, y[:, None] + 1.0) == pytest.approx(each(y[:, None], y[:, None] + 1.0))


def test_calibration_error_is_the_gap_of_a_constant_forecast() -> None:
    y = np.array([0] * 6 + [1] * 4)
    p = np.tile([0.9, 0.1], (10, 1))
    assert measure("binary", y, p).values["ece"] == pytest.approx(0.3)


def test_a_class_without_a_row_is_left_out_and_told() -> None:
    y, p = np.array([0, 0, 1, 1]), np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    found = measure("multiclass", y, p, classes=["cat", "dog", "eel"])
    assert found.values["auroc"] == pytest.approx(1.0)
    assert found.values["macro_f1"] == pytest.approx(sk.f1_score(y, p.argmax(1), average="macro"))
    assert len(found.notes) == 1
    assert "1 class of 3 without a row among these 4 (eel)" in found.notes[0]


def test_what_is_not_defined_is_left_out_and_told_never_nan() -> None:
    found = measure("binary", np.zeros(3, int), np.tile([0.8, 0.2], (3, 1)))
    assert "auroc" not in found.values
    assert any("auroc: at least two classes" in n for n in found.notes)
    constant = measure("regression", np.ones(3), np.zeros(3))
    assert "r2" not in constant.values
    assert constant.values["mse"] == 1.0
    assert any("must vary" in n for n in constant.notes)
    assert all(np.isfinite(v) for m in (found, constant) for v in m.values.values())


@pytest.mark.parametrize(
    ("task", "y", "p", "error", "message"),
    [
        ("multiclass", [0, 3], [[1.0, 0, 0], [0, 1, 0]], ShapeError, "class codes must be 0 to 2"),
        ("multiclass", [0, 1], [[0.5, 0.1, 0], [0, 1, 0]], DataError, "must sum to 1; got one off by 0.4"),
        ("binary", [0, 1], [[np.nan, 1], [0, 1]], DataError, "1 of 2 predicted rows that are not"),
        ("binary", [0, 1], [0.2, 0.8], ShapeError, r"got y_true=\(2,\), prediction=\(2,\)"),
        ("regression", [1.0, np.inf], [1.0, 2.0], DataError, "and 1 such targets"),
        ("multilabel", [[0, 1]], [[0.5]], ShapeError, "y_true and prediction of a multilabel task"),
    ],
)
def test_wrong_input_raises_a_message_that_tells_what_is_wrong(
    task: Task, y: list[Any], p: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure(task, np.array(y), np.array(p))


def _example(task: str, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if task == "regression":
        y = rng.normal(0, 2, (n_rows, 2))
        return y, y + rng.normal(0, 1, y.shape)
    if task == "multilabel":
        y = (rng.random((n_rows, 4)) < 0.4).astype(int)
        return y, np.clip(0.5 * y + 0.7 * rng.random(y.shape), 0, 1)
    return _classes(n_rows, 3, seed)


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_row_contributions_have_the_primary_metric_as_their_mean(task: Task) -> None:
    y, p = _example(task, 200, 3)
    assert row_scores(task, y, p).mean() == pytest.approx(measure(task, y, p).values[primary_metric(task).name])


@pytest.mark.parametrize("n_targets", [1, 2])
def test_log_errors_are_the_jackknife_of_the_logarithm_row_by_row(n_targets: int) -> None:
    """Oracle: R2 of scikit-learn's, with each row left out in turn."""
    rng = np.random.default_rng(5)
    y = rng.lognormal(size=(25, n_targets))
    p = y * (1 + 0.3 * rng.normal(size=y.shape))
    whole = np.log(1 - sk.r2_score(y, p))
    without = np.array([np.log(1 - sk.r2_score(y[k], p[k])) for k in ~np.eye(25, dtype=bool)])
    found = log_error_scores(y, p)
    assert found.mean() == pytest.approx(whole)
    assert found == pytest.approx(whole + 24 * (without.mean() - without))


@pytest.mark.parametrize(
    ("y", "p"),
    [
        ([1.0], [2.0]),
        ([1.0, 2.0], [1.5, 1.5]),
        ([1.0, 2.0, 4.0], [1.0, 2.0, 4.0]),
        ([0.0, 0.0, 0.0, 3.0], [0.1, 0.0, 0.2, 1.0]),
        ([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]),
    ],
)
def test_log_errors_are_not_finite_where_r2_is_one_or_hangs_on_a_row(y: list[float], p: list[float]) -> None:
    assert not np.isfinite(log_error_scores(np.array(y), np.array(p))).all()


@pytest.mark.parametrize(
    ("y", "rows"), [([-1.0, 1.0, -1.0, 1.0], 2), ([0.0, 0.0, 0.0, 100.0], 1), ([[0.0, 1], [1, 1], [0, 1], [1, 9]], 1)]
)
def test_rows_of_half_the_spread_are_counted_from_the_largest(y: list[Any], rows: int) -> None:
    assert rows_of_half_the_spread(np.array(y)) == rows


def test_what_two_methods_differ_by_in_a_row_are_their_squared_errors_alone() -> None:
    rng = np.random.default_rng(6)
    y = rng.lognormal(size=30)
    a, b = (y * (1 + 0.3 * rng.normal(size=30)) for _ in range(2))
    apart = row_scores("regression", y, a) - row_scores("regression", y, b)
    assert apart == pytest.approx(((y - b) ** 2 - (y - a) ** 2) / y.var())


def test_row_contributions_of_labels_agree_with_the_jackknife() -> None:
    task: Task = "multilabel"
    y, p = _example(task, 400, 4)
    name, n = primary_metric(task).name, len(y)
    whole = measure(task, y, p).values[name]
    keep = ~np.eye(n, dtype=bool)
    pseudo = np.array([n * whole - (n - 1) * measure(task, y[k], p[k]).values[name] for k in keep])
    assert row_scores(task, y, p) == pytest.approx(pseudo, abs=0.03 * (1 + np.ptp(pseudo)))
    assert np.corrcoef(row_scores(task, y, p), pseudo)[0, 1] > 0.999


@pytest.mark.parametrize("unit", [1e-300, 1e-161, 1.0, 1e140])
def test_r2_has_no_unit(unit: float) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    p = y + 0.5 * rng.normal(size=50)
    assert measure("regression", y * unit, p * unit).values["r2"] == pytest.approx(sk.r2_score(y, p))
    np.testing.assert_allclose(row_scores("regression", y * unit, p * unit), row_scores("regression", y, p))


def test_the_pinball_loss_is_the_least_at_the_quantile() -> None:
    y = np.random.default_rng(0).exponential(size=(2_000, 1))
    tried = np.quantile(y, [0.5, 0.8, 0.9, 0.95])
    losses = [measure("regression", y, np.full_like(y, q)).values["pinball"] for q in tried]
    assert int(np.argmin(losses)) == 2


def test_at_which_answer_a_metric_is_best_is_said_in_words() -> None:
    assert {name: metric(name).aim for name in ("r2", "mse", "mae", "pinball")} == {
        "r2": "the mean", "mse": "the mean", "mae": "the median", "pinball": "the .9 quantile",
    }  # fmt: skip
