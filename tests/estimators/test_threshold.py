"""scikit-learn chooses another threshold than .5 around the classifier, of a table with columns of several kinds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from profuse import FusionClassifier

LEARN, NEW = slice(0, 300), slice(300, 400)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"size": rng.normal(size=400), "colour": rng.choice(["red", "blue"], 400)})


@pytest.fixture(scope="module")
def ill(rows: pd.DataFrame) -> np.ndarray:
    """One row of ten, which is seldom the more probable class."""
    risk = rows["size"] + (rows["colour"] == "red") + np.random.default_rng(1).normal(size=400)
    return np.where(risk > np.quantile(risk, 0.9), "ill", "well")


@pytest.fixture(scope="module")
def plain(rows: pd.DataFrame, ill: np.ndarray) -> FusionClassifier:
    return FusionClassifier(width=8, members=1, epochs=2).fit(rows[LEARN], ill[LEARN])


@pytest.mark.parametrize("threshold", [0.05, 0.5])
def test_a_fixed_threshold_is_one_of_the_probability_of_the_class_it_names(
    plain: FusionClassifier, rows: pd.DataFrame, ill: np.ndarray, threshold: float
) -> None:
    fixed = FixedThresholdClassifier(clone(plain), threshold=threshold, pos_label="ill").fit(rows[LEARN], ill[LEARN])
    probability = plain.predict_proba(rows[NEW])[:, plain.classes_.tolist().index("ill")]
    np.testing.assert_array_equal(fixed.predict(rows[NEW]), np.where(probability >= threshold, "ill", "well"))
    np.testing.assert_allclose(fixed.predict_proba(rows[NEW]), plain.predict_proba(rows[NEW]), atol=1e-6)


@pytest.mark.slow
def test_a_tuned_threshold_finds_the_rare_class(plain: FusionClassifier, rows: pd.DataFrame, ill: np.ndarray) -> None:
    tuned = TunedThresholdClassifierCV(clone(plain), scoring="balanced_accuracy", cv=3).fit(rows[LEARN], ill[LEARN])
    assert tuned.classes_.tolist() == ["ill", "well"]
    scores = [balanced_accuracy_score(ill[NEW], model.predict(rows[NEW])) for model in (plain, tuned)]
    assert scores[1] > scores[0] + 0.05


def test_a_fitted_classifier_goes_in_frozen(plain: FusionClassifier, rows: pd.DataFrame, ill: np.ndarray) -> None:
    tuned = TunedThresholdClassifierCV(FrozenEstimator(plain), scoring="balanced_accuracy", cv="prefit", refit=False)
    tuned.fit(rows[NEW], ill[NEW])
    assert tuned.estimator_.estimator is plain
    scores = [balanced_accuracy_score(ill[NEW], model.predict(rows[NEW])) for model in (plain, tuned)]
    assert scores[1] >= scores[0]


@pytest.mark.parametrize("n_classes", [2, 5])
def test_probabilities_sum_to_1_as_doubles_do(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % n_classes
    x = pd.DataFrame({"a": rng.normal(size=60) + y, "b": rng.normal(size=60)})
    probabilities = FusionClassifier(epochs=1, width=8).fit(x, y).predict_proba(x)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=0, atol=1e-14)
