"""EWMA, HAR and GARCH against simulated truth, plain loops and lstsq; nothing looks at the target's day or later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import volatility
from not_none import not_none
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.stats import norm
from volatility import CHANNELS, Garch, features, fit_garch, forecasts, read_returns

from profuse.datasets import load
from profuse.datasets.stocks import FLOOR, SECTORS, ewma_score
from profuse.errors import DataError

TRUTH = Garch(mean=4e-4, omega=1e-5, alpha=0.12, beta=0.80, start=1.25e-4)
LEAD, N_TRAIN, N_VALID, N_TEST = 40, 400, 80, 100
SPLIT = np.repeat(["train", "valid", "test"], [N_TRAIN, N_VALID, N_TEST])
NAMES = ["train_mean", "ewma", "har", "garch", "garch_raw"]
MODELS = NAMES[1:]


def simulate(model: Garch, n_days: int, seed: int) -> np.ndarray:
    """Returns of a GARCH(1,1), day by day as its definition reads."""
    noise = np.random.default_rng(seed).standard_normal(n_days)
    variance, returns = model.start, np.empty(n_days)
    for t in range(n_days):
        shock = np.sqrt(variance) * noise[t]
        returns[t] = model.mean + shock
        variance = model.omega + model.alpha * shock**2 + model.beta * variance
    return returns


def target_of(returns: np.ndarray, log: bool) -> np.ndarray:
    """The target of `stocks`, after its definition."""
    raw = returns[LEAD:] ** 2
    raw = np.log(raw + FLOOR) if log else raw
    return np.asarray(raw / raw[:N_TRAIN].std())


def predictions(returns: np.ndarray, log: bool) -> dict[str, np.ndarray]:
    return forecasts(returns, target_of(returns, log), SPLIT, log=log)


@pytest.fixture(scope="module")
def returns() -> np.ndarray:
    return simulate(TRUTH, LEAD + len(SPLIT), seed=1)


# GARCH


def test_a_long_series_gives_back_the_parameters_that_made_it() -> None:
    found = fit_garch(simulate(TRUTH, 20_000, seed=0))
    assert found.alpha == pytest.approx(TRUTH.alpha, abs=0.02)
    assert found.beta == pytest.approx(TRUTH.beta, abs=0.03)
    assert found.omega == pytest.approx(TRUTH.omega, rel=0.2)
    assert found.mean == pytest.approx(TRUTH.mean, abs=4 * np.sqrt(1.25e-4 / 20_000))


@pytest.mark.parametrize("seed", range(4))
def test_no_parameters_are_likelier_than_the_estimate(seed: int) -> None:
    sample = simulate(TRUTH, 700, seed)
    found = fit_garch(sample)
    best = found.log_likelihood(sample)
    truth = replace(TRUTH, mean=found.mean, start=found.start)
    assert best >= truth.log_likelihood(sample)
    rng = np.random.default_rng(seed)
    for _ in range(500):
        total, share = rng.uniform(0, 1, 2)
        omega = found.start * 10 ** rng.uniform(-4, 0.3)
        other = replace(found, omega=omega, alpha=total * share, beta=total * (1 - share))
        assert best >= other.log_likelihood(sample)
        near = replace(found, omega=found.omega * rng.uniform(0.9, 1.1), alpha=found.alpha * rng.uniform(0.9, 1.1))
        assert best >= near.log_likelihood(sample)


def test_variances_and_likelihood_are_those_of_a_plain_loop(returns: np.ndarray) -> None:
    expected, variance, likelihood = [], TRUTH.start, 0.0
    for value in returns:
        expected.append(variance)
        likelihood += norm.logpdf(value, TRUTH.mean, np.sqrt(variance))
        variance = TRUTH.omega + TRUTH.alpha * (value - TRUTH.mean) ** 2 + TRUTH.beta * variance
    np.testing.assert_allclose(TRUTH.variances(returns), [*expected, variance], rtol=1e-12)
    assert TRUTH.log_likelihood(returns) == pytest.approx(likelihood, rel=1e-12)


def test_the_gradient_of_the_search_is_that_of_finite_differences(returns: np.ndarray) -> None:
    squares = (returns - returns.mean()) ** 2 / returns.var()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        point = np.array([rng.uniform(-4, 0), rng.uniform(0.1, 0.95), rng.uniform(0.1, 0.9)])
        slopes = approx_fprime(point, lambda x: volatility._loss(x, squares)[0], 1e-7)
        np.testing.assert_allclose(volatility._loss(point, squares)[1], slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["independent", "arch", "integrated", "two levels", "heavy tails"])
def test_the_estimate_is_stationary_whatever_made_the_returns(kind: str) -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(800)
    sample = {
        "independent": noise,
        "arch": simulate(Garch(0.0, 0.5, 0.5, 0.0, 1.0), 800, 3),
        "integrated": simulate(Garch(0.0, 0.01, 0.1, 0.9, 1.0), 800, 3),
        "two levels": noise * np.repeat([0.2, 3.0], 400),
        "heavy tails": rng.standard_t(2.5, 800),
    }[kind]
    found = fit_garch(sample * 0.01)
    assert found.omega > 0
    assert found.alpha >= 0
    assert found.beta >= 0
    assert found.alpha + found.beta < 1
    if kind == "arch":
        assert found.beta < 0.15
        assert found.alpha > 0.3


def test_the_unit_of_the_returns_does_not_matter_to_the_estimate(returns: np.ndarray) -> None:
    found, scaled = fit_garch(returns), fit_garch(returns * 37.0)
    assert (scaled.alpha, scaled.beta) == pytest.approx((found.alpha, found.beta), abs=1e-4)
    assert scaled.omega == pytest.approx(37.0**2 * found.omega, rel=1e-3)


# forecasts


@pytest.mark.parametrize("log", [False, True])
def test_each_reference_predicts_every_row(returns: np.ndarray, log: bool) -> None:
    found = predictions(returns, log)
    assert list(found) == NAMES
    for values in found.values():
        assert values.shape == SPLIT.shape
        assert np.isfinite(values).all()


@pytest.mark.parametrize("log", [False, True])
def test_returns_of_the_targets_day_and_later_change_no_prediction(returns: np.ndarray, log: bool) -> None:
    first = N_TRAIN + N_VALID + 30
    changed = returns.copy()
    changed[LEAD + first :] = np.random.default_rng(5).normal(0, 0.05, len(returns) - LEAD - first)
    before, after = predictions(returns, log), predictions(changed, log)
    for name in NAMES:
        np.testing.assert_array_equal(before[name][: first + 1], after[name][: first + 1])
    for name in MODELS:  # and what a day brings is used the day after
        assert (before[name][first + 1 :] != after[name][first + 1 :]).all()


@pytest.mark.parametrize("log", [False, True])
def test_only_the_decay_of_ewma_is_chosen_on_valid(returns: np.ndarray, log: bool) -> None:
    changed = returns.copy()
    changed[LEAD + N_TRAIN :] = np.random.default_rng(6).normal(0, 0.05, N_VALID + N_TEST)
    before, after = predictions(returns, log), predictions(changed, log)
    for name in ("train_mean", "har", "garch", "garch_raw"):
        np.testing.assert_array_equal(before[name][: N_TRAIN + 1], after[name][: N_TRAIN + 1])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_mean_and_ewma_have_the_scores_of_the_data_set(log: bool, seed: int) -> None:
    sample = simulate(TRUTH, LEAD + len(SPLIT), seed)
    target = target_of(sample, log)
    mean, ewma, _ = ewma_score(sample**2, target, SPLIT, log=log)
    found = forecasts(sample, target, SPLIT, log=log)
    test = SPLIT == "test"
    assert ((found["train_mean"] - target)[test] ** 2).mean() == pytest.approx(mean, rel=1e-9)
    assert ((found["ewma"] - target)[test] ** 2).mean() == pytest.approx(ewma, rel=1e-9)


@pytest.mark.parametrize("log", [False, True])
def test_har_is_the_regression_on_means_of_a_day_a_week_and_a_month(returns: np.ndarray, log: bool) -> None:
    target = target_of(returns, log)
    rows = []
    for day in range(LEAD, len(returns)):
        means = [np.mean(returns[day - n : day] ** 2) for n in (1, 5, 22)]
        rows.append([1.0, *(np.log(mean + FLOOR) if log else mean for mean in means)])
    weights = np.linalg.lstsq(np.array(rows)[:N_TRAIN], target[:N_TRAIN])[0]
    np.testing.assert_allclose(predictions(returns, log)["har"], np.array(rows) @ weights, rtol=1e-8)


@pytest.mark.parametrize("log", [False, True])
def test_garch_is_the_filter_of_the_training_estimate_mapped_by_least_squares(returns: np.ndarray, log: bool) -> None:
    target = target_of(returns, log)
    model = fit_garch(returns[: LEAD + N_TRAIN])
    ahead = np.array([model.variances(returns[:day])[-1] for day in range(LEAD, len(returns))])
    seen = np.log(ahead) if log else ahead
    slope, offset = np.polyfit(seen[:N_TRAIN], target[:N_TRAIN], 1)
    np.testing.assert_allclose(predictions(returns, log)["garch"], offset + slope * seen, rtol=1e-8)


@pytest.mark.parametrize("log", [False, True])
def test_raw_garch_is_the_expectation_of_the_target(returns: np.ndarray, log: bool) -> None:
    model = fit_garch(returns[: LEAD + N_TRAIN])
    raw = returns[LEAD : LEAD + N_TRAIN] ** 2
    unit = (np.log(raw + FLOOR) if log else raw).std()
    found = predictions(returns, log)["garch_raw"]
    for row in (0, N_TRAIN, len(SPLIT) - 1):
        spread = np.sqrt(model.variances(returns[: LEAD + row])[-1])

        def weighed(r: float, spread: float = spread) -> float:
            return float((np.log(r**2 + FLOOR) if log else r**2) * norm.pdf(r, model.mean, spread))

        expected = sum(quad(weighed, low, low + spread, limit=200)[0] for low in np.arange(-10, 10) * spread)
        assert found[row] * unit == pytest.approx(expected, rel=1e-6)


def test_garch_beats_the_training_mean_on_what_garch_made() -> None:
    sample = simulate(replace(TRUTH, alpha=0.3, beta=0.65, omega=5e-6), LEAD + len(SPLIT), seed=8)
    target = target_of(sample, log=True)
    error = {k: ((v - target)[SPLIT == "test"] ** 2).mean() for k, v in predictions(sample, log=True).items()}
    assert all(error[name] < error["train_mean"] for name in ("ewma", "har", "garch"))


@pytest.mark.parametrize("log", [False, True])
def test_returns_of_one_size_give_a_flat_forecast(log: bool) -> None:
    signs = np.random.default_rng(9).permutation(np.repeat([-1.0, 1.0], (LEAD + N_TRAIN) // 2))
    sample = 0.01 * np.concatenate([signs, np.random.default_rng(10).choice([-1.0, 1.0], N_VALID + N_TEST)])
    raw = sample[LEAD:] ** 2
    level = np.log(1e-4 + FLOOR) if log else 1e-4
    target = (np.log(raw + FLOOR) if log else raw) / abs(level)
    found = forecasts(sample, target, SPLIT, log=log)
    for name in ("train_mean", "ewma", "har", "garch"):
        np.testing.assert_allclose(found[name], np.sign(level), rtol=1e-6)
    np.testing.assert_allclose(fit_garch(sample[: LEAD + N_TRAIN]).variances(sample), 1e-4, rtol=1e-3)


def test_independent_returns_give_a_nearly_flat_forecast() -> None:
    sample = np.random.default_rng(11).normal(0, 0.01, 8000)
    variances = fit_garch(sample).variances(sample)
    assert variances.std() < 0.05 * variances.mean()
    assert variances.mean() == pytest.approx(1e-4, rel=0.05)


# features


def test_features_are_the_measures_of_volatility_up_to_that_day(returns: np.ndarray) -> None:
    found = features(returns, unit=0.013)
    assert found.shape == (len(returns), len(CHANNELS))
    for day in (0, 3, 4, 21, 22, 300, len(returns) - 1):
        past = returns[: day + 1]
        weights = 0.94 ** np.arange(day + 1)[::-1]
        expected = [
            past[-1],
            abs(past[-1]),
            np.sqrt(np.mean(past[-5:] ** 2)),
            np.sqrt(np.mean(past[-22:] ** 2)),
            np.sqrt(np.average(past**2, weights=weights)),
        ]
        np.testing.assert_allclose(found[day] * 0.013, expected, rtol=1e-10)


@pytest.mark.parametrize("day", [1, 10, 200])
def test_later_returns_change_no_feature(returns: np.ndarray, day: int) -> None:
    changed = returns.copy()
    changed[day:] = np.random.default_rng(day).normal(0, 0.05, len(returns) - day)
    before, after = features(returns, 0.01), features(changed, 0.01)
    np.testing.assert_array_equal(before[:day], after[:day])
    assert (before[day] != after[day]).all()


# errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, y, s: (r[20:], y, s), "must have 22 days before the first target; got .600,.*Pass earlier days"),
        (lambda r, y, s: (r, y, s[1:]), r"must have 22 days .* got \(620,\), \(580,\), \(579,\)"),
        (lambda r, y, s: (np.where(r == r[7], np.nan, r), y, s), "must be finite; got n_not_finite=1. Leave out"),
        (lambda r, y, s: (r, y, s[::-1]), r"split must be train, then valid, then test; got parts=\['test', 'valid'"),
        (lambda r, y, s: (np.roll(r, 1), y, s), "target must be the squared returns of its days .* log=False. Pass"),
        (lambda r, y, s: (r, np.log(y + FLOOR), s), "target must be the squared returns of its days"),
        (lambda r, y, s: (r * 0, y, s), "the returns must be finite and move; got variance=0.0. Leave out"),
    ],
)
def test_arguments_that_do_not_fit_together_are_told(returns: np.ndarray, change: Any, message: str) -> None:
    # the first change leaves 20 days before the first target
    with pytest.raises(DataError, match=message):
        forecasts(*change(returns, target_of(returns, log=False), SPLIT), log=False)


@pytest.mark.parametrize("unit", [0.0, -1.0, np.nan])
def test_features_need_a_unit_above_0(returns: np.ndarray, unit: float) -> None:
    with pytest.raises(DataError, match="unit must be above 0; got unit=.*Pass"):
        features(returns, unit)


def test_a_search_that_does_not_arrive_is_told(monkeypatch: pytest.MonkeyPatch, returns: np.ndarray) -> None:
    # a slope of the wrong sign: no step along it lowers the loss
    monkeypatch.setattr(volatility, "_loss", lambda x, squares: (float(x.sum()), -np.ones(3)))
    with pytest.raises(DataError, match="the search for the greatest likelihood must arrive; got message=.*Fit on"):
        fit_garch(returns)


# the real data


@pytest.mark.parametrize("scale", ["", "-log"])
@pytest.mark.parametrize("sector", SECTORS)
def test_on_stocks_the_references_have_the_scores_of_its_notes(real_data: Path, sector: str, scale: str) -> None:
    data = load("stocks", variant=sector + scale, root=real_data)
    returns, target = read_returns(sector, real_data), not_none(data.target)
    found = forecasts(returns[:, 0], target, not_none(data.split), log=scale == "-log")
    test = data.split == "test"
    error = {name: ((values - target)[test] ** 2).mean() for name, values in found.items()}
    words = data.notes[0].replace(",", "").split()
    assert error["train_mean"] == pytest.approx(float(words[words.index("mean") + 1]), abs=5.1e-4)
    assert error["ewma"] == pytest.approx(float(words[words.index("EWMA") + 1]), abs=5.1e-4)
    assert error["garch"] < error["train_mean"]


@pytest.mark.parametrize("sector", SECTORS)
def test_the_windows_of_stocks_are_made_of_the_returns_read(real_data: Path, sector: str) -> None:
    data = load("stocks", variant=sector, root=real_data)
    returns = read_returns(sector, real_data)
    n_train = int(np.count_nonzero(data.split == "train"))
    for share, part in zip(returns.T, data.modalities.values(), strict=True):
        unit = share[: 100 + n_train].std()
        for row in (0, n_train, len(data) - 1):
            np.testing.assert_allclose(part.values[row, :, 0], share[row : row + 100] / unit, rtol=1e-5, atol=1e-6)
