"""A skewed target is learned as it is and on its logarithm; the mean of both is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score

from profuse.classical import ClassicalModel, Problem, classical, fit_classical, fittable, restored
from profuse.classical._moved import Moved
from profuse.classical._scales import BothScales, all_skewed_from, factor_of, skewed_from
from profuse.metrics import metric

N = 900
TRAIN, VALID, NEW = np.arange(400), np.arange(400, 550), np.arange(550, N)
NAMES = [name for name in fittable() if classical(name).scales]


def products(seed: int = 0, n_outputs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Numbers whose effects multiply: mean 1.9, standard deviation 2.6 or so."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 5))
    effects = rng.normal(0.0, 0.4, (5, n_outputs))
    return x, np.exp(x @ effects + 0.3 * rng.normal(size=(N, n_outputs)))


def standardised(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the target, and where 0 lies in it."""
    mean, std = y[TRAIN].mean(0), y[TRAIN].std(0)
    return (y - mean) / std, -mean / std


def fitted(name: str, x: np.ndarray, y: np.ndarray, **more: Any) -> Any:
    return fit_classical(name, {"table": x}, y, TRAIN, VALID, "regression", y.shape[1], **more)


def test_boosting_and_trees_learn_on_both_scales() -> None:
    assert {"extra_trees", "gradient_boosting"} <= set(NAMES) <= {*fittable()} - {"linear", "trivial", "yardstick"}


@pytest.mark.parametrize("name", NAMES)
def test_where_effects_multiply_both_scales_tell_more_than_one(name: str) -> None:
    gains = []
    for seed in range(3):
        x, raw = products(seed)
        y, zero = standardised(raw)
        both, plain = fitted(name, x, y, zero=zero), fitted(name, x, y)
        assert isinstance(both.model, BothScales)
        gains.append(r2_score(y[NEW], both.predict(x[NEW])) - r2_score(y[NEW], plain.predict(x[NEW])))
    assert np.mean(gains) > 0.01


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("refit", [False, True])
def test_it_is_the_mean_of_a_fit_and_of_one_of_logarithms(name: str, refit: bool) -> None:
    x, raw = products(n_outputs=2)
    y, zero = standardised(raw)
    fit = fitted(name, x, y, zero=zero, refit=refit)
    plain = fitted(name, x, y, refit=refit)
    logs = np.log(y - zero)
    mean, std = logs[TRAIN].mean(0), logs[TRAIN].std(0)
    curved = fitted(name, x, (logs - mean) / std, refit=refit)
    assert isinstance(fit.model, BothScales)
    for said, ours, other in (
        (fit.valid_prediction, plain.valid_prediction, curved.valid_prediction),
        (fit.predict(x[NEW]), plain.predict(x[NEW]), curved.predict(x[NEW])),
    ):
        up = np.exp(np.clip(other * std + mean, logs[TRAIN].min(0), logs[TRAIN].max(0)))
        np.testing.assert_allclose(said, 0.5 * (ours + fit.model.factor * up + zero), rtol=1e-9, atol=1e-12)
    up = 2 * fit.valid_prediction - plain.valid_prediction - zero  # of validation rows the least squares
    left = y[VALID] - zero - up
    np.testing.assert_allclose((left * up).mean(0), 0.0, atol=1e-9)
    again = restored(name, fit.model.state(), "regression", 2)
    np.testing.assert_array_equal(again.predict(x[NEW]), fit.predict(x[NEW]))
    assert again.n_parameters == fit.n_parameters == plain.n_parameters + curved.n_parameters + 2


def problem(y: np.ndarray, zero: np.ndarray | None, **more: Any) -> Problem:
    return Problem(np.zeros((len(y), 1)), y, TRAIN, VALID, np.arange(0), zero=zero, **more)


def test_logarithms_are_taken_of_a_skewed_target_that_is_never_below_0() -> None:
    _, raw = products()
    y, zero = standardised(raw)
    assert skewed_from(problem(y, zero), y[:, 0]) == zero.item()
    assert skewed_from(problem(y, None), y[:, 0]) is None
    flat, zero_of_flat = standardised(np.random.default_rng(0).uniform(1, 2, (N, 1)))
    assert skewed_from(problem(flat, zero_of_flat), flat[:, 0]) is None
    for rows in (TRAIN, VALID):  # rows to learn from at some time; others are not looked at
        some = y.copy()
        some[rows[0]] = zero - 0.1
        assert skewed_from(problem(some, zero), some[:, 0], zeros=True) is None
    some = y.copy()
    some[NEW] = zero - 0.1
    assert skewed_from(problem(some, zero), some[:, 0]) == zero.item()


def test_counts_are_taken_from_minus_1() -> None:
    raw = np.random.default_rng(0).negative_binomial(1, 0.3, (N, 1)).astype(float)
    y, zero = standardised(raw)
    std = raw[TRAIN].std()
    assert skewed_from(problem(y, zero), y[:, 0]) is None
    found = skewed_from(problem(y, zero), y[:, 0], zeros=True)
    assert found == pytest.approx(zero.item() - 1 / std)


def test_a_column_that_is_not_skewed_keeps_all_on_their_own_scale() -> None:
    x, raw = products(n_outputs=2)
    raw[:, 1] = x[:, 0]
    y, zero = standardised(raw)
    assert all_skewed_from(problem(y, zero)) is None
    assert not isinstance(fitted("extra_trees", x, y, zero=zero).model, BothScales)
    assert all_skewed_from(problem(y[:, :1], zero[:1])) == zero[:1]
    assert not isinstance(fitted("linear", x, y[:, :1], zero=zero[:1]).model, BothScales)


def test_a_fit_that_is_far_better_on_its_own_scale_stands_alone() -> None:
    x, _ = products()
    raw = np.maximum(10 * x[:, :1], 1.0) ** 2  # of half of the rows the smallest, of which logarithms make much
    raw[TRAIN] *= np.random.default_rng(0).choice([0.2, 5.0], (len(TRAIN), 1))
    raw[TRAIN] += 1e-3
    y, zero = standardised(raw)
    fit, plain = (fitted("support_vectors", x, y, zero=z) for z in (zero, None))
    assert isinstance(fit.model, BothScales)
    assert fit.model.curved is None
    np.testing.assert_array_equal(fit.predict(x), plain.predict(x))
    np.testing.assert_array_equal(fit.valid_prediction, plain.valid_prediction)
    again = restored("support_vectors", fit.model.state(), "regression", 1)
    np.testing.assert_array_equal(again.predict(x), plain.predict(x))
    assert again.n_parameters == fit.n_parameters == plain.n_parameters


class Fixed(ClassicalModel):
    """Says the same, whatever it is fitted to."""

    def __init__(self, said: np.ndarray) -> None:
        super().__init__("regression", 1)
        self.said = said

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        return self.said

    predict = n_parameters = state = from_state = None  # type: ignore[assignment]


@pytest.mark.parametrize(("ratio", "alone"), [(0.96, False), (0.92, False), (0.87, True), (0.8, True)])
def test_the_first_stands_alone_below_nine_tenths_of_the_loss(ratio: float, alone: bool) -> None:
    _, raw = products()
    raw[VALID] = np.sort(raw[TRAIN], axis=0)[100:250]  # within the range of what was learned
    y, zero = standardised(raw)
    true = y[VALID] - zero
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(np.column_stack([true, rng.normal(size=(len(VALID), 2))]))
    left = 0.01 * q[:, 1:2]  # both errors are orthogonal, so the mean's is a quarter of their sum
    other = q[:, 2:] * 0.01 * np.sqrt(4 / ratio - 1)
    logs = np.log(y - zero)
    mean, std = logs[TRAIN].mean(0), logs[TRAIN].std(0)
    model = BothScales(Fixed(y[VALID] + left), Fixed((np.log(true + other) - mean) / std), zero)
    valid = model.fit(problem(y, zero), settings={}, seed=0, refit=False)
    assert (model.curved is None) == alone
    if alone:
        np.testing.assert_array_equal(valid, y[VALID] + left)


@pytest.mark.parametrize("q", [None, 0.5, 0.9])
def test_the_factor_is_the_best_of_many(q: float | None) -> None:
    rng = np.random.default_rng(0)
    up, counts = rng.lognormal(size=400), rng.integers(0, 3, 400).astype(float)
    true = up * rng.lognormal(0.2, 0.3, size=400)

    def loss(factor: float) -> float:
        left = true - factor * up
        each = left**2 if q is None else np.maximum(q * left, (q - 1) * left)
        return float(counts @ each)

    found = factor_of(up, true, counts, q)
    assert loss(found) <= min(loss(f) for f in np.linspace(0.5, 2.0, 301)) + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_a_quantile_is_asked_of_both(name: str) -> None:
    x, raw = products()
    y, zero = standardised(raw)
    weights = np.where(np.arange(N) % 5, 1.0, 0.0)
    fit = fitted(name, x, y, zero=zero, metric=metric("pinball"), weights=weights)
    assert isinstance(fit.model, BothScales)
    assert isinstance(fit.model.plain, Moved)
    counts = weights[VALID] > 0
    curved = 2 * fit.valid_prediction - fit.model.plain.predict(x[VALID])
    assert (y[VALID][counts] <= curved[counts] + 1e-12).mean() == pytest.approx(0.9, abs=0.1)
    assert (y[NEW] <= fit.predict(x[NEW])).mean() == pytest.approx(0.9, abs=0.08)
    again = restored(name, fit.model.state(), "regression", 1)
    np.testing.assert_array_equal(again.predict(x[NEW]), fit.predict(x[NEW]))


def test_the_factor_is_that_of_weighted_rows() -> None:
    x, raw = products()
    y, zero = standardised(raw)
    weights = np.random.default_rng(0).integers(0, 4, N).astype(float)
    how: dict[str, Any] = {"weights": weights}
    fit, plain = fitted("extra_trees", x, y, zero=zero, **how), fitted("extra_trees", x, y, **how)
    assert isinstance(fit.model, BothScales)
    assert fit.model.curved is not None
    up = 2 * fit.valid_prediction - plain.valid_prediction - zero
    left = weights[VALID] @ ((y[VALID] - zero - up) * up)
    np.testing.assert_allclose(left, 0.0, atol=1e-9 * len(VALID))


def test_nothing_of_a_far_row_is_predicted_beyond_the_targets() -> None:
    x, raw = products()
    y, zero = standardised(raw)
    model = fitted("extra_trees", x, y, zero=zero).model
    model.curved.predict = lambda x: np.full((len(x), 1), 1e6)
    top = model.factor * (y[TRAIN].max() - zero) + zero
    np.testing.assert_allclose(2 * model.predict(x[NEW]) - model.plain.predict(x[NEW]), top[None].repeat(len(NEW), 0))


@pytest.mark.parametrize(
    "damage", [{"factor": np.ones(2)}, {"factor": np.array([np.nan])}, {"scale": np.zeros((4, 1))}, {"scale": "a"}]
)
def test_a_damaged_state_is_refused(damage: dict[str, Any]) -> None:
    x, raw = products()
    y, zero = standardised(raw)
    state = fitted("extra_trees", x, y, zero=zero).model.state()
    with pytest.raises(ValueError, match=f"^{next(iter(damage))} must be"):
        restored("extra_trees", {**state, **damage}, "regression", 1)


def test_models_tell_whether_they_have_learned_a_logarithm() -> None:
    x, raw = products()
    y, zero = standardised(raw)
    for name in (NAMES[0], "linear"):
        assert fitted(name, x, y, zero=zero).model.of_logarithms
        assert not fitted(name, x, y).model.of_logarithms
    around = Moved(fitted(NAMES[0], x, y, zero=zero).model)
    assert around.of_logarithms
    alone = fitted(NAMES[0], x, y, zero=zero).model
    alone.curved = None
    assert not alone.of_logarithms
