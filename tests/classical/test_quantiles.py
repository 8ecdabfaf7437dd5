"""Where a metric asks for a quantile of numbers, that is what classical models predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from profuse.classical import Problem, classical, fit_classical, fittable, fittable_to, restored
from profuse.classical._machines import Rows, Setting, _Fitter, best_machine
from profuse.classical._moved import Moved, quantile_of
from profuse.errors import ConfigError
from profuse.metrics import metric
from profuse.metrics.pinball import Pinball

N = 1200
TRAIN, VALID, NEW = np.arange(500), np.arange(500, 700), np.arange(700, N)


def skewed(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, and a target whose spread is six times as large where the third is above 0."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 4))
    spread = np.where(x[:, 2] > 0, 1.2, 0.2)
    return x, np.exp(0.8 * x[:, 0] + spread * rng.normal(size=N))[:, None]


def below(y: np.ndarray, p: np.ndarray) -> float:
    return float((y <= p).mean())


def pinball(q: float) -> Pinball:
    class Asked(Pinball):
        quantile = q

    return Asked()


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_quantile_is_that_of_numpy(q: float, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 40):
        values, weights = rng.integers(0, 9, (n, 2)).astype(float), rng.integers(1, 5, n).astype(float)
        got = quantile_of(values, q, weights if weighted else None)
        more: dict[str, Any] = {"weights": weights} if weighted else {}
        for j in (0, 1):
            assert got[j] == np.quantile(values[:, j], q, method="inverted_cdf", **more)


@pytest.mark.parametrize("name", fittable())
@pytest.mark.parametrize("asked", ["mae", "pinball"])
@pytest.mark.parametrize("refit", [False, True])
def test_every_model_predicts_the_quantile(name: str, asked: str, refit: bool) -> None:
    x, y = skewed()
    how: dict[str, Any] = {"train_rows": TRAIN, "valid_rows": VALID, "task": "regression", "n_outputs": 1}
    plain = fit_classical(name, {"table": x}, y, **how, refit=refit)
    of = metric(asked)
    assert of.quantile is not None
    fit = fit_classical(name, {"table": x}, y, **how, refit=refit, metric=of)
    new = fit.predict(x[NEW])
    assert abs(below(y[NEW], new) - of.quantile) < 0.08
    assert abs(below(y[VALID], fit.valid_prediction) - of.quantile) < 0.08
    if name != "support_vectors" or asked != "mae":  # which has least absolute errors always
        assert of(y[NEW], new) < of(y[NEW], plain.predict(x[NEW]))
    again = restored(name, fit.model.state(), "regression", 1)
    np.testing.assert_array_equal(again.predict(x[NEW]), new)
    assert again.n_parameters == fit.n_parameters


@pytest.mark.parametrize("name", ["gradient_boosting", "lightgbm"])
def test_boosting_learns_the_mean_where_that_tells_more(name: str) -> None:
    """Of errors of one shape everywhere a squared error may tell more of the median than its own loss does."""
    if name not in fittable():
        pytest.skip(f"the package {name} is not installed (extra trees)")
    how: dict[str, Any] = {"train_rows": TRAIN, "valid_rows": VALID, "task": "regression", "n_outputs": 1}
    of, alike = metric("mae"), []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(N, 3))
        y = (x[:, :1] + x[:, 1:2] ** 2) + rng.normal(size=(N, 1))
        mean = fit_classical(name, {"table": x}, y, **how)
        fit = fit_classical(name, {"table": x}, y, **how, metric=of)
        assert isinstance(fit.model, Moved)
        left = y[VALID] - mean.valid_prediction
        assert of(y[VALID], fit.valid_prediction) <= np.abs(left - np.median(left)).mean() + 1e-3
        alike.append(np.allclose(fit.valid_prediction - fit.model.by, mean.valid_prediction))
        refitted = fit_classical(name, {"table": x}, y, **how, metric=of, refit=True)
        again = fit_classical(name, {"table": x}, y, **how, refit=True).predict(x[NEW])
        assert isinstance(refitted.model, Moved)
        assert np.allclose(refitted.predict(x[NEW]) - refitted.model.by, again) == alike[-1]
    assert {*alike} == {True, False}


@pytest.mark.parametrize("name", ["gradient_boosting", "lightgbm"])
def test_boosting_learns_where_the_quantile_is_further_away(name: str) -> None:
    if name not in fittable():
        pytest.skip(f"the package {name} is not installed (extra trees)")
    x, y = skewed()
    apart = {}
    for each in (name, "linear"):  # which moves all rows alike
        fit = fit_classical(each, {"table": x}, y, TRAIN, VALID, "regression", 1, metric=metric("pinball"))
        new, wide = fit.predict(x[NEW]), x[NEW, 2] > 0
        apart[each] = below(y[NEW][~wide], new[~wide]) - below(y[NEW][wide], new[wide])
    assert apart[name] < 0.08 < 0.12 < apart["linear"]


def test_a_model_of_means_is_moved_by_what_its_validation_rows_ask_for() -> None:
    x, y = skewed()
    weights = np.random.default_rng(1).integers(0, 4, N).astype(float)
    made = [
        fit_classical("extra_trees", {"table": x}, y, TRAIN, VALID, "regression", 1, weights=weights, metric=of)
        for of in (None, metric("pinball"))
    ]
    left, counts = (y[VALID] - made[0].valid_prediction)[:, 0], weights[VALID]
    by = np.quantile(left[counts > 0], 0.9, method="inverted_cdf", weights=counts[counts > 0])
    moved = made[1].model
    assert isinstance(moved, Moved)
    assert moved.by.item() == pytest.approx(by)
    np.testing.assert_allclose(made[1].predict(x), made[0].predict(x) + by)
    np.testing.assert_allclose(made[1].valid_prediction, made[0].valid_prediction + by)


def test_without_validation_rows_that_count_nothing_is_moved() -> None:
    x, y = skewed()
    rows = np.arange(N)
    weights = np.where(rows < 500, 1.0, 0.0)
    model = Moved(classical("linear")("regression", 1))
    problem = Problem(x, y, TRAIN, VALID, rows[:0], metric=metric("mae"), weights=weights)
    with pytest.raises(ValueError, match="0 sample"):  # as without: something must choose the penalty
        model.fit(problem, settings={}, seed=0, refit=False)
    assert model.by == 0


@pytest.mark.parametrize("by", [np.array(["a"]), np.zeros(2), np.array([np.nan]), np.zeros(1, dtype=int)])
def test_a_damaged_state_is_refused(by: np.ndarray) -> None:
    x, y = skewed()
    fit = fit_classical("linear", {"table": x}, y, TRAIN, VALID, "regression", 1, metric=metric("mae"))
    with pytest.raises(ValueError, match="by must be 1 finite"):
        restored("linear", {**fit.model.state(), "by": by}, "regression", 1)


def test_on_the_logarithm_the_factor_is_the_quantile_of_ratios() -> None:
    rng, rows = np.random.default_rng(0), np.arange(9000)
    x = rng.normal(size=(9000, 2))
    y = np.exp(x[:, 0] + 0.5 * rng.normal(size=9000))[:, None]  # its q quantile is exp(x + z_q / 2)
    train, valid, new = np.split(rows, 3)
    of = metric("pinball")
    fit = fit_classical("linear", {"table": x}, y, train, valid, "regression", 1, metric=of, zero=np.zeros(1))
    assert isinstance(fit.model, Moved)
    inner: Any = fit.model.model
    assert inner.estimators[0][-1].factor == pytest.approx(np.exp(1.2816 / 2), rel=0.05)
    assert of(y[new], fit.predict(x[new])) < 1.03 * of(y[new], np.exp(x[new, :1] + 1.2816 / 2))


@pytest.mark.parametrize("q", [0.2, 0.8])
def test_the_penalty_is_that_with_the_least_pinball_loss(q: float) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(90, 12))
    y = (x[:, 0] + rng.standard_t(2, 90))[:, None]
    train, valid = np.arange(50), np.arange(50, 90)
    fit = fit_classical("linear", {"table": x}, y, train, valid, "regression", 1, metric=pinball(q))
    z = StandardScaler().fit(x[train]).transform(x)
    losses = {}
    for alpha in 1 / 10.0 ** np.arange(-4, 3):
        left = y[valid, 0] - Ridge(alpha=alpha).fit(z[train], y[train, 0]).predict(z[valid])
        left = left - np.quantile(left, q, method="inverted_cdf")
        losses[alpha] = np.maximum(q * left, (q - 1) * left).mean()
    best = min(losses, key=losses.__getitem__)
    assert isinstance(fit.model, Moved)
    chosen: Any = fit.model.model
    assert chosen.estimators[0][-1].alpha == pytest.approx(best)


@pytest.mark.parametrize("weighted", [False, True])
def test_support_vectors_are_those_of_scikit_learn(weighted: bool) -> None:
    x, y = skewed()
    weights = np.random.default_rng(2).uniform(0.2, 2.0, N) if weighted else None
    rows = Rows(x, np.concatenate([y, -3 * y], axis=1), np.zeros(0, dtype=int), "regression", 2, weights)
    machine = _Fitter(rows, TRAIN)(Setting("tube", "each", 0.5, 1.3))
    z = machine.encoding(x)
    for j, column in enumerate(rows.y.T):
        counts = None if weights is None else weights[TRAIN]
        middle = np.average(column[TRAIN], weights=counts)
        unit = np.sqrt(np.average((column[TRAIN] - middle) ** 2, weights=counts))
        oracle = SVR(gamma=machine.width, C=2.0, epsilon=0.05)
        oracle.fit(z[TRAIN], column[TRAIN] / unit, counts)
        np.testing.assert_allclose(machine.scores(x)[:, j], unit * oracle.predict(z), atol=0.02 * unit)
    assert machine.support is not None
    assert len(machine.support) < len(TRAIN)


def test_far_targets_do_not_draw_support_vectors_away() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(N, 3)), rng.normal(size=(N, 1))
    clean = y.copy()
    y[rng.permutation(500)[:10]] += 400.0
    y = (y - y[TRAIN].mean()) / y[TRAIN].std()
    unit = y[NEW].std() / clean[NEW].std()  # of what is not far
    robust, mean = (
        fit_classical(n, {"table": x}, y, TRAIN, VALID, "regression", 1).predict(x[NEW])
        for n in ("support_vectors", "trivial")
    )
    assert np.abs(robust - np.median(y[NEW])).mean() < unit
    assert np.abs(mean - np.median(y[NEW])).min() > 5 * unit


def test_classes_are_not_for_support_vectors() -> None:
    x, y = skewed()
    assert "support_vectors" not in fittable_to("binary")[0]
    assert "support_vectors" in fittable_to("regression")[0]
    assert fittable_to("binary")[1] == {}  # ours are not told of where they do not belong
    with pytest.raises(ConfigError, match="support_vectors: the model must be for a binary target; it learns numbers"):
        fit_classical("support_vectors", {"table": x}, (y[:, 0] > 1).astype(int), TRAIN, VALID, "binary", 2)


def test_support_vectors_are_chosen_by_absolute_errors() -> None:
    x, y = skewed()
    rows = Rows(x, y, np.zeros(0, dtype=int), "regression", 1)
    choice, fit = best_machine(rows, ((TRAIN, VALID),), "tube")
    left = np.abs(y[VALID] - fit(TRAIN).scores(x[VALID])).mean()
    assert choice.error == pytest.approx(left)
    for factor in (0.1, 10.0):
        other = _Fitter(rows, TRAIN)(choice.setting._replace(penalty=factor * choice.setting.penalty))
        assert np.abs(y[VALID] - other.scores(x[VALID])).mean() >= left
