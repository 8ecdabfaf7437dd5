"""Robustness and missing rates against closed forms, and on a fitted model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from scipy import stats

from profuse.data.split import Split
from profuse.errors import ConfigError, DataError, ShapeError, UnknownNameError
from profuse.inspect import (
    LEVELS,
    corrupt,
    curve,
    drop_modalities,
    effective,
    missing_curve,
    relative,
    subsets,
    subsets_scores,
)
from profuse.metrics import primary_metric
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.tokens import Raw
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions


def plausible(n_hits: int, n: int, p: float) -> bool:
    return bool(stats.binomtest(int(n_hits), int(n), p).pvalue > 1e-4)


def test_area_of_a_constant_and_of_a_line() -> None:
    assert relative(LEVELS, [0.8] * 11) == pytest.approx(0.8)
    assert relative(LEVELS, [0.9 - 0.5 * p for p in LEVELS]) == pytest.approx(0.65)
    assert relative([0.0, 0.2, 1.0], [1.0, 0.0, 0.0]) == pytest.approx(0.1)  # uneven levels
    assert relative(np.linspace(0, 1, 2001), np.exp(-np.linspace(0, 1, 2001))) == pytest.approx(1 - np.exp(-1))


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_effective_robustness_of_the_reference_is_0_wherever_it_starts(higher_is_better: bool) -> None:
    rng = np.random.default_rng(0)
    f, g = rng.random(11), rng.random(11)
    assert effective(LEVELS, g, g, higher_is_better=higher_is_better) == 0.0
    assert effective(LEVELS, g + 0.37, g, higher_is_better=higher_is_better) == pytest.approx(0.0, abs=1e-12)
    one = effective(LEVELS, f, g, higher_is_better=higher_is_better)
    assert one == pytest.approx(effective(LEVELS, f, g - 1.3, higher_is_better=higher_is_better))
    assert one == pytest.approx(effective(LEVELS, f + 0.6, g, higher_is_better=higher_is_better))


def test_effective_robustness_has_the_sign_of_the_gain() -> None:
    p = np.array(LEVELS)
    robust, reference = 0.9 - 0.2 * p, 0.7 - 0.6 * p
    assert effective(p, robust, reference, higher_is_better=True) == pytest.approx(0.2)  # integral of .4 p
    errors = 1 - robust, 1 - reference
    assert effective(p, *errors, higher_is_better=False) == pytest.approx(0.2)
    assert effective(p, *errors, higher_is_better=True) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative([0.0], [1.0]), "two or more, ascending"),
        (lambda: relative([0.0, 0.0], [1.0, 1.0]), "ascending; got levels=.0.0, 0.0."),
        (lambda: relative([0, 1], [1.0, np.nan]), "finite number for each of 2 levels; got .1.0, nan."),
        (lambda: effective([0, 1], [1.0, 0.5], [1.0], higher_is_better=True), "each of 2 levels; got .1.0."),
        (lambda: effective([0.1, 1], [1, 1], [1, 1], higher_is_better=True), r"must be 0, the clean score; got .*0\.1"),
    ],
)
def test_wrong_curves_are_told(call: Callable[[], float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


@pytest.fixture(scope="module")
def data() -> Prepared:
    rows = np.arange(400)
    return Prepared.make(make_product(400, absent=0.1), Split(rows[:200], rows[200:250], rows[250:]))


@pytest.fixture(scope="module")
def model(data: Prepared) -> NetworkPredictor:
    options = TrainOptions(epochs=15, batch_size=32, refit=False)
    return fit_model(data, ModelOptions(fusion="concat", width=16), options)


ACCURACY = primary_metric("binary")


def plain_score(model: NetworkPredictor, data: Prepared) -> float:
    true = data.target[torch.as_tensor(data.split.test)].numpy()
    return float((model.predict_encoded(data.inputs, data.split.test).argmax(1) == true).mean())


def test_a_curve_starts_at_the_clean_score_and_falls(model: NetworkPredictor, data: Prepared) -> None:
    found = curve(model, data, modalities=("a", "b"), seed=0, metric=ACCURACY)
    assert found.shape == (11,)
    assert found[0] == plain_score(model, data)
    assert found[0] > 0.65
    assert found[-1] < found[0] - 0.1
    again = curve(model, data, modalities=("b", "a"), seed=0, metric=ACCURACY)
    np.testing.assert_array_equal(found, again)


def test_a_curve_scores_the_test_rows_with_noise(model: NetworkPredictor, data: Prepared) -> None:
    inputs = {name: raw.rows(torch.as_tensor(data.split.test)) for name, raw in data.inputs.items()}
    said = model.predict_encoded(corrupt(inputs, data.pipeline.specs, "a", 0.4, seed=5))
    true = data.target[torch.as_tensor(data.split.test)].numpy()
    found = curve(model, data, modalities="a", levels=[0.4], seed=5, metric=lambda y, p: float(p[:, 1] @ y))
    assert found[0] == pytest.approx(float(said[:, 1] @ true))


def test_noise_in_a_modality_that_a_model_does_not_use_changes_nothing(data: Prepared) -> None:
    options = TrainOptions(epochs=1, batch_size=64, refit=False)
    alone = fit_model(data, ModelOptions(fusion="concat", width=8), options, modalities=("a",))

    def said(y: np.ndarray, p: np.ndarray) -> float:
        return float(p[:, 0] @ np.arange(len(p)))

    other = curve(alone, data, modalities="b", levels=(0.0, 0.5, 1.0), seed=0, metric=said)
    own = curve(alone, data, modalities="a", levels=(0.0, 0.5, 1.0), seed=0, metric=said)
    assert len(set(other.tolist())) == 1
    assert len(set(own.tolist())) == 3
    assert own[0] == other[0]


def test_a_score_of_numbers_is_in_the_targets_units() -> None:
    """A model that says 0 in standardised units says the mean of train: its MSE is known."""
    rows = np.arange(200)
    dataset = make_product(task="regression")
    data = Prepared.make(dataset, Split(rows[:120], rows[120:160], rows[160:]))
    mean = float(np.asarray(dataset.target)[:120].mean())
    says_mean: Any = SimpleNamespace(modalities=("a", "b"), predict_encoded=lambda x: np.full((len(x["a"]), 1), mean))
    mse = curve(says_mean, data, modalities="a", levels=[0.5], seed=0, metric=lambda y, p: float(((y - p) ** 2).mean()))
    assert mse[0] == pytest.approx(((np.asarray(dataset.target)[160:] - mean) ** 2).mean(), rel=1e-5)


def test_an_unknown_modality_of_a_curve_is_told(model: NetworkPredictor, data: Prepared) -> None:
    with pytest.raises(UnknownNameError, match="curve: modality must be a known name; got modality='audio'"):
        curve(model, data, modalities="audio", seed=0, metric=ACCURACY)


def test_subsets_are_all_of_a_few_and_the_telling_ones_of_many() -> None:
    assert subsets(["a", "b"]) == [("a",), ("b",), ("a", "b")]
    assert len(set(subsets("abcdef"))) == 63
    many = subsets("abcdefgh")
    assert sorted(map(len, many)) == [1] * 8 + [7] * 8 + [8]
    assert len(set(many)) == 17


def test_subset_scores_are_those_of_absent_modalities(model: NetworkPredictor, data: Prepared) -> None:
    found = subsets_scores(model, data, ACCURACY)
    assert list(found) == [("a",), ("b",), ("a", "b")]
    assert found["a", "b"] == plain_score(model, data)
    gone = Raw(data.inputs["b"].values, torch.zeros_like(data.inputs["b"].mask))
    said = model.predict_encoded({"a": data.inputs["a"], "b": gone}, data.split.test).argmax(1)
    assert found["a",] == float((said == data.target[torch.as_tensor(data.split.test)].numpy()).mean())
    assert found["a",] < found["a", "b"]  # one factor of a product tells nothing


@pytest.mark.parametrize("n_modalities", [2, 3, 5])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_the_missing_rate_is_the_one_asked_for_and_no_row_is_empty(n_modalities: int, rate: float) -> None:
    present = np.ones((6000, n_modalities), dtype=bool)
    kept = drop_modalities(present, rate, seed=0)
    expected = min(rate, 1 - 1 / n_modalities)  # one of M modalities remains
    assert 1 - kept.mean() == pytest.approx(expected, abs=0.01)
    assert kept.any(1).all()
    if rate < 1 - 1 / n_modalities:
        assert kept.mean(0) == pytest.approx(np.full(n_modalities, 1 - rate), abs=0.03)  # all alike


def test_modalities_are_removed_independently() -> None:
    """With q the probability of one removal, a pair stays together with probability (1 - q)^2."""
    kept = drop_modalities(np.ones((20_000, 2), dtype=bool), 0.3, seed=1)
    q = 1 - np.sqrt(1 - 2 * 0.3)  # rate = q - q^2 / 2
    assert plausible(kept.all(1).sum(), 20_000, (1 - q) ** 2)


def test_what_is_absent_counts_as_missing_and_stays_absent() -> None:
    present = np.random.default_rng(0).random((6000, 3)) < 0.8
    for rate in (0.4, 0.6):
        kept = drop_modalities(present, rate, seed=0)
        assert 1 - kept.mean() == pytest.approx(rate, abs=0.01)
        assert not (kept & ~present).any()
        np.testing.assert_array_equal(kept.any(1), present.any(1))
    np.testing.assert_array_equal(drop_modalities(present, 0.1, seed=0), present)  # a fifth is missing already


def test_what_is_missing_at_a_low_rate_is_missing_at_a_higher_one() -> None:
    present = np.ones((500, 4), dtype=bool)
    low, same, high, other = (drop_modalities(present, r, seed=s) for r, s in ((0.2, 0), (0.2, 0), (0.5, 0), (0.2, 1)))
    np.testing.assert_array_equal(low, same)
    assert not (high & ~low).any()
    assert (low != other).any()


@pytest.mark.parametrize(
    ("present", "rate", "seed", "error", "message"),
    [
        (np.ones((3, 2), bool), 1.0, 0, ConfigError, "below 1 and seed at least 0; got rate=1.0, seed=0"),
        (np.ones((3, 2), bool), 0.5, -2, ConfigError, "got rate=0.5, seed=-2"),
        (np.ones((3, 2)), 0.5, 0, ShapeError, r"present must be bool \[row, modality\]; got float64\[3, 2\]"),
        (np.ones(3, bool), 0.5, 0, ShapeError, r"got bool\[3\]"),
    ],
)
def test_wrong_arguments_of_thinned_are_told(
    present: np.ndarray, rate: float, seed: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        drop_modalities(present, rate, seed=seed)


def test_the_missing_curve_tells_the_rate_it_achieved(model: NetworkPredictor, data: Prepared) -> None:
    found = missing_curve(model, data, (0.0, 0.2, 0.4), seed=0, metric=ACCURACY)
    there = np.stack([data.inputs[n].present.numpy()[data.split.test] for n in "ab"])
    assert found.achieved[0] == pytest.approx(1 - there.mean())
    assert found.scores[0] == plain_score(model, data)
    assert found.achieved[1:] == pytest.approx([0.2, 0.4], abs=0.05)
    assert found.scores[2] < found.scores[0]


def test_all_models_meet_the_same_missing_rows(data: Prepared) -> None:
    def seen(names: tuple[str, ...]) -> list[dict[str, np.ndarray]]:
        met: list[dict[str, np.ndarray]] = []

        def record(inputs: dict[str, Raw]) -> np.ndarray:
            met.append({n: inputs[n].present.numpy() for n in names})
            return np.full((len(inputs["a"]), 2), 0.5)

        stub: Any = SimpleNamespace(modalities=names, predict_encoded=record)
        missing_curve(stub, data, (0.3, 0.5), seed=7, metric=ACCURACY)
        return met

    for both, alone in zip(seen(("a", "b")), seen(("a",)), strict=True):
        np.testing.assert_array_equal(both["a"], alone["a"])
        assert not both["a"].all()
