"""`class_weight` and `sample_weight` of the estimators, as scikit-learn's tools and users give them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import has_fit_parameter

from profuse import FusionClassifier, FusionRegressor, from_tensors
from profuse.errors import ConfigError, DataError, UnknownNameError

N = 120
QUICK: dict[str, Any] = {"epochs": 3, "width": 8, "members": 1}


@pytest.fixture(scope="module")
def X() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"size": rng.normal(size=N), "colour": rng.choice(["red", "blue"], N)})


@pytest.fixture(scope="module")
def y(X: pd.DataFrame) -> np.ndarray:
    risk = X["size"] + np.random.default_rng(1).normal(size=N)
    return np.where(risk > np.quantile(risk, 0.8), "ill", "well")


def probability(model: FusionClassifier, X: pd.DataFrame) -> np.ndarray:
    return model.predict_proba(X)[:, model.classes_.tolist().index("ill")]


@pytest.mark.slow
def test_a_class_of_more_weight_is_more_probable(X: pd.DataFrame, y: np.ndarray) -> None:
    asked = (None, {"ill": 3.0}, {"ill": 9.0})
    means = [probability(FusionClassifier(class_weight=w, **QUICK).fit(X, y), X).mean() for w in asked]
    assert means[0] + 0.05 < means[1] < means[2] - 0.05


@pytest.mark.slow
def test_numbers_and_truth_name_classes(X: pd.DataFrame, y: np.ndarray) -> None:
    by_name = FusionClassifier(class_weight={"ill": 3.0}, **QUICK).fit(X, y).predict_proba(X)
    pairs: list[tuple[Any, Any]] = [(0, 7), (np.int64(0), np.int64(7)), (False, True)]  # sorted alike
    for of_ill, of_well in pairs:
        labels = np.where(y == "ill", of_ill, of_well)
        model = FusionClassifier(class_weight={of_ill: 3.0}, **QUICK).fit(X, labels)
        np.testing.assert_allclose(model.predict_proba(X), by_name, atol=1e-6)


def test_saved_and_copied_it_is_the_same(X: pd.DataFrame, y: np.ndarray, tmp_path: Path) -> None:
    model = FusionClassifier(class_weight={"ill": 3.0}, **QUICK).fit(X, y)
    assert clone(model).class_weight == {"ill": 3.0}
    model.save(tmp_path / "model")
    again = FusionClassifier.load(tmp_path / "model")
    assert again.class_weight == {"ill": 3.0}
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.slow
def test_scikit_learn_sees_that_rows_may_be_weighted_and_gives_their_part_to_each_fold(
    X: pd.DataFrame, y: np.ndarray
) -> None:
    assert has_fit_parameter(FusionClassifier(), "sample_weight")
    assert has_fit_parameter(FusionRegressor(), "sample_weight")
    weights = np.where(y == "ill", 5.0, 1.0)
    search = GridSearchCV(FusionClassifier(**QUICK), {"width": [4, 8]}, cv=2).fit(X, y, sample_weight=weights)
    assert search.predict(X).shape == (N,)
    calibrated = CalibratedClassifierCV(FusionClassifier(**QUICK), cv=2).fit(X, y, sample_weight=weights)
    assert calibrated.predict_proba(X).shape == (N, 2)


@pytest.mark.slow
def test_weights_of_rows_come_in_any_form(X: pd.DataFrame, y: np.ndarray) -> None:
    weights = np.where(y == "ill", 4.0, 1.0)
    first = FusionClassifier(**QUICK).fit(X, y, sample_weight=weights)
    kinds: list[Any] = [list, pd.Series, torch.as_tensor]
    for kind in kinds:
        other = FusionClassifier(**QUICK).fit(X, y, sample_weight=kind(weights))
        np.testing.assert_array_equal(other.predict_proba(X), first.predict_proba(X))
    assert probability(first, X).mean() > probability(FusionClassifier(**QUICK).fit(X, y), X).mean() + 0.02


@pytest.mark.slow
def test_a_regression_follows_the_rows_of_weight(X: pd.DataFrame) -> None:
    """Half of the rows say 0, half say 10: what is predicted of all lies nearer to those that count."""
    high = np.arange(N) % 2
    arrays = {"a": np.random.default_rng(2).normal(size=(N, 2)) * 0.01}
    quick = {**QUICK, "epochs": 15, "encoder_options": {"a": {"linear_path": False}}}
    means = []
    for weight in (0.2, 5.0):
        weights = np.where(high == 1, weight, 1.0)
        means.append(FusionRegressor(**quick).fit(arrays, 10.0 * high, sample_weight=weights).predict(arrays).mean())
    assert means[0] < 4.5 < 5.5 < means[1]


def test_rows_that_are_not_learned_from_have_weights_too(y: np.ndarray) -> None:
    """Official test rows take theirs with them."""
    rng = np.random.default_rng(3)
    arrays = {"a": rng.normal(size=(N, 2))}
    part = np.where(np.arange(N) % 4 == 0, "test", "train")
    whole = replace(from_tensors(arrays, y), split=part.astype(object))
    weights = np.where(y == "ill", 4.0, 1.0)
    rest = part == "train"
    there = {"a": arrays["a"][rest]}
    with pytest.warns(match="official test rows are not learned from"):
        one = FusionClassifier(**QUICK).fit(whole, sample_weight=weights)
    two = FusionClassifier(**QUICK).fit(from_tensors(there, y[rest]), sample_weight=weights[rest])
    np.testing.assert_array_equal(one.predict_proba(there), two.predict_proba(there))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(N - 1), "FusionClassifier: sample_weight must be one number for each of 120 rows; got shape"),
        (np.ones((N, 1)), "sample_weight must be one number for each of 120 rows"),
        (["heavy"] * N, "sample_weight must be one number for each of 120 rows"),
        (
            -np.ones(N),
            "FusionClassifier: sample_weight must be finite numbers of at least 0; got -1 first, in 120 rows",
        ),
    ],
)
def test_what_are_no_weights_is_told(X: pd.DataFrame, y: np.ndarray, weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FusionClassifier(**QUICK).fit(X, y, sample_weight=weights)


def test_weights_in_another_order_of_labels_are_told(X: pd.DataFrame, y: np.ndarray) -> None:
    weights = pd.Series(np.ones(N), index=X.index[::-1])
    with pytest.raises(DataError, match="X and sample_weight must be in the same order"):
        FusionClassifier(**QUICK).fit(X, y, sample_weight=weights)


def test_a_class_that_is_none_and_a_target_without_classes_are_told(X: pd.DataFrame, y: np.ndarray) -> None:
    with pytest.raises(UnknownNameError, match="class_weight: class must be .*'il'.*Did you mean 'ill'"):
        FusionClassifier(class_weight={"il": 2.0}, **QUICK).fit(X, y)
    with pytest.raises(ConfigError, match="class_weight must go with a target of classes"):
        FusionRegressor(class_weight="balanced", **QUICK).fit(X, X["size"])
    with pytest.raises(ConfigError, match="class_weight must be 'balanced', or"):
        FusionClassifier(class_weight="even", **QUICK).fit(X, y)
