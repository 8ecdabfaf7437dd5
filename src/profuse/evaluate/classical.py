"""Classical baselines on all features together: gradient boosting, a linear model, and the trivial guess.

They see the same training rows as the deep models and are chosen by the same validation rows. Features come
from the preprocessors (`Preprocessor.features`), fitted on training rows only.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from profuse.errors import ConfigError
from profuse.schema import Task

__all__ = ["TRIALS", "ClassicalFit", "fit_classical"]

Predictor = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ClassicalFit:
    """A fitted baseline.

    Attributes:
        predict: `features[row, feature]` -> probabilities or values, `[row, output]`.
        valid_prediction: What it predicted for the validation rows before it was fitted anew with them.
        n_parameters: Coefficients, or leaves.
        fit_seconds: How long it took.
    """

    predict: Predictor
    valid_prediction: np.ndarray
    n_parameters: int
    fit_seconds: float


# trial 0 is the default; a comparison with more trials takes the first so many, as it does for deep models
TRIALS: dict[str, list[dict[str, Any]]] = {
    "gradient_boosting": [
        {"learning_rate": 0.1, "max_leaf_nodes": 15, "l2_regularization": 1.0},
        {"learning_rate": 0.05, "max_leaf_nodes": 31, "l2_regularization": 1.0},
        {"learning_rate": 0.1, "max_leaf_nodes": 7, "l2_regularization": 10.0},
        {"learning_rate": 0.05, "max_leaf_nodes": 63, "l2_regularization": 10.0},
        {"learning_rate": 0.2, "max_leaf_nodes": 15, "l2_regularization": 0.1},
    ],
    "linear": [{"C": 0.01}, {"C": 0.1}, {"C": 1.0}, {"C": 0.001}, {"C": 10.0}],
    "trivial": [{}],
}


def fit_classical(
    name: str,
    features: Mapping[str, np.ndarray],
    target: np.ndarray,
    train_rows: np.ndarray,
    valid_rows: np.ndarray,
    task: Task,
    n_outputs: int,
    *,
    trial: int = 0,
    seed: int = 0,
    refit: bool = False,
) -> ClassicalFit:
    """Fits one baseline.

    Args:
        name: gradient_boosting, linear or trivial.
        features: `[row, feature]` by modality, NaN = missing.
        target: Encoded: class codes `[row]`, 0/1 `[row, label]`, standardised values `[row, target]`.
        train_rows: Learned from.
        valid_rows: Stop gradient boosting early.
        task: What kind of target.
        n_outputs: Classes, labels or values.
        trial: Which of `TRIALS`.
        seed: Of gradient boosting's subsampling of bins.
        refit: Fit anew on training and validation rows together, with as many trees as validation chose.

    Raises:
        ConfigError: An unknown name.
    """
    if name not in TRIALS:
        raise ConfigError(f"fit_classical: name must be one of {', '.join(TRIALS)}; got name={name!r}.")
    start = time.perf_counter()
    x = np.concatenate([features[k] for k in sorted(features)], axis=1) if features else np.zeros((len(target), 0))
    settings = TRIALS[name][trial % len(TRIALS[name])]
    known = np.concatenate([train_rows, valid_rows])
    if name == "trivial":
        # it has nothing to overfit, so it always learns from all rows that are known
        valid = _trivial(target[train_rows], task, n_outputs)(x[valid_rows])
        predict = _trivial(target[known], task, n_outputs)
        return ClassicalFit(predict, valid, n_outputs, time.perf_counter() - start)
    make = _boosting if name == "gradient_boosting" else _linear
    models = []
    for y in _columns(task, target):
        if task != "regression" and len(np.unique(y[train_rows])) < 2:
            models.append(_constant(x, y, train_rows))
        else:
            models.append(make(x, y, train_rows, valid_rows, task, settings, seed, None))
    valid = _joined(models, task, n_outputs)(x[valid_rows])
    if refit:
        models = [
            m if type(m).__name__ == "DummyClassifier" else make(x, y, known, None, task, settings, seed, m)
            for m, y in zip(models, _columns(task, target), strict=True)
        ]
    size = sum(map(_size, models))
    return ClassicalFit(_joined(models, task, n_outputs), valid, size, time.perf_counter() - start)


def _trivial(y: np.ndarray, task: Task, n_outputs: int) -> Predictor:
    """Class frequencies, label frequencies, or the mean of the training rows, whatever the input."""
    guess = np.bincount(y, minlength=n_outputs) / len(y) if task in ("binary", "multiclass") else y.mean(0)
    return lambda x: np.tile(guess, (len(x), 1))


def _columns(task: Task, target: np.ndarray) -> list[np.ndarray]:
    """One target to fit at a time: scikit-learn's models take a single one."""
    return [target] if task in ("binary", "multiclass") else [target[:, j] for j in range(target.shape[1])]


def _joined(models: list[Any], task: Task, n_outputs: int) -> Predictor:
    def predict(x: np.ndarray) -> np.ndarray:
        if task == "regression":
            return np.stack([m.predict(x) for m in models], axis=1)
        if task == "multilabel":
            return np.stack([_positive(m, x) for m in models], axis=1)
        probabilities = np.zeros((len(x), n_outputs))
        probabilities[:, models[0].classes_.astype(int)] = models[0].predict_proba(x)
        return probabilities

    return predict


def _positive(model: Any, x: np.ndarray) -> np.ndarray:
    """The probability of 1, of a classifier that may have seen a single class."""
    place = np.flatnonzero(model.classes_ == 1)
    return model.predict_proba(x)[:, place[0]] if len(place) else np.zeros(len(x))


def _constant(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Any:
    """A label that never varies in training."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior").fit(x[rows], y[rows])


def _boosting(
    x: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    valid_rows: np.ndarray | None,
    task: Task,
    settings: dict[str, Any],
    seed: int,
    before: Any,
) -> Any:
    """Histogram gradient boosting: at most 300 trees a class, stopped by validation, or as many as `before` has."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    cls = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    # on few rows the time goes into scanning bins, and 64 are as good as 256
    settings = {**settings, "max_bins": 63 if len(rows) < 5_000 else 255}
    if valid_rows is None:
        model = cls(max_iter=before.n_iter_, early_stopping=False, random_state=seed, **settings)
        return model.fit(x[rows], y[rows])
    known = valid_rows if task == "regression" else valid_rows[np.isin(y[valid_rows], y[rows])]
    model = cls(max_iter=300, early_stopping=True, n_iter_no_change=15, random_state=seed, **settings)
    return model.fit(x[rows], y[rows], X_val=x[known], y_val=y[known])


def _linear(
    x: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    valid_rows: np.ndarray | None,
    task: Task,
    settings: dict[str, Any],
    seed: int,
    before: Any,
) -> Any:
    """Logistic or ridge regression on standardised features, missing ones at the mean with an indicator."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    c = settings["C"]
    last = Ridge(alpha=1.0 / c) if task == "regression" else LogisticRegression(C=c, max_iter=300)
    model = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler(), last)
    with warnings.catch_warnings():
        # 300 iterations are the same budget for every trial; a coarser optimum is not an error
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x[rows], y[rows])


def _size(model: Any) -> int:
    """Coefficients of a linear model, leaves of trees, 1 for a constant."""
    if hasattr(model, "_predictors"):
        return sum(tree.get_n_leaf_nodes() for stage in model._predictors for tree in stage)
    if hasattr(model, "steps"):
        return int(np.size(model[-1].coef_) + np.size(model[-1].intercept_))
    return 1
