"""Classical baselines on all features together: gradient boosting, a linear model, and the trivial guess.

They see the same training rows as the deep models and are chosen by the same validation rows: the trial, the number
of trees, the strength of the linear model's penalty. Features come from the preprocessors (`Preprocessor.features`),
fitted on training rows only.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
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
    "linear": [{}],
    "trivial": [{}],
}
_STRENGTHS = 10.0 ** np.arange(-4, 3)  # C of logistic regression, 1 / alpha of ridge regression; the simplest first
_ROWS_PER_LEVEL = 16  # with fewer, trees do better on codes taken as numbers: they find no split among rare levels


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
    categories: Mapping[str, Sequence[bool]] | None = None,
) -> ClassicalFit:
    """Fits one baseline.

    Args:
        name: gradient_boosting, linear or trivial.
        features: `[row, feature]` by modality, NaN = missing.
        target: Encoded: class codes `[row]`, 0/1 `[row, label]`, standardised values `[row, target]`.
        train_rows: Learned from.
        valid_rows: Choose the number of trees, and the strength of the linear model's penalty.
        task: What kind of target.
        n_outputs: Classes, labels or values.
        trial: Which of `TRIALS`.
        seed: Of gradient boosting's subsampling of bins.
        refit: Fit anew on training and validation rows together, with the trees or the strength that validation chose.
        categories: For each feature of a modality, whether it holds codes of a category; none of a modality left out.

    Raises:
        ConfigError: An unknown name.
    """
    from sklearn.base import clone
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning

    if name not in TRIALS:
        raise ConfigError(f"fit_classical: name must be one of {', '.join(TRIALS)}; got name={name!r}.")
    start = time.perf_counter()
    x = np.concatenate([features[k] for k in sorted(features)], axis=1) if features else np.zeros((len(target), 0))
    x[:, np.isnan(x[train_rows]).all(0)] = 0.0  # nothing is learned of it, and trees cannot bin it
    settings = TRIALS[name][trial % len(TRIALS[name])]
    known = np.concatenate([train_rows, valid_rows])
    if name == "trivial":
        # it has nothing to overfit, so it always learns from all rows that are known
        valid = _trivial(target[train_rows], task, n_outputs)(x[valid_rows])
        predict = _trivial(target[known], task, n_outputs)
        return ClassicalFit(predict, valid, n_outputs, time.perf_counter() - start)
    told = categories or {}
    codes = np.flatnonzero([c for k in sorted(features) for c in told.get(k) or [False] * features[k].shape[1]])
    make = partial(_boosting, settings=settings, seed=seed) if name == "gradient_boosting" else _linear
    targets, models = _columns(task, target), []
    with warnings.catch_warnings():
        # 300 iterations are the same budget for every strength; a coarser optimum is not an error
        warnings.simplefilter("ignore", ConvergenceWarning)
        for y in targets:
            if task != "regression" and len(np.unique(y[train_rows])) < 2:
                models.append(DummyClassifier(strategy="prior").fit(x[train_rows], y[train_rows]))
            else:
                seen = valid_rows if task == "regression" else valid_rows[np.isin(y[valid_rows], y[train_rows])]
                models.append(make(x, y, train_rows, seen, task, codes))
        valid = _joined(models, task, n_outputs)(x[valid_rows])
        if refit:
            models = [clone(m).fit(x[known], y[known]) for m, y in zip(models, targets, strict=True)]
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


def _boosting(
    x: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    valid_rows: np.ndarray,
    task: Task,
    codes: np.ndarray,
    *,
    settings: dict[str, Any],
    seed: int,
) -> Any:
    """Histogram gradient boosting: of at most 300 trees a class, as many as have the smallest validation loss."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    levels = np.array([min(255, len(np.unique(x[rows, j]))) for j in codes], dtype=int)
    named = levels * _ROWS_PER_LEVEL <= len(rows)
    # on few rows the time goes into scanning bins, and 64 are as good as 256; but each level needs its own
    n_bins = int(levels[named].max(initial=63 if len(rows) < 5_000 else 255))
    rare_together = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=n_bins)
    columns = make_column_transformer((rare_together, codes[named]), remainder="passthrough")
    cls = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = cls(
        max_iter=300,
        early_stopping=True,
        n_iter_no_change=15,
        max_bins=n_bins,
        categorical_features=np.arange(named.sum()),
        random_state=seed,
        **settings,
    )
    model.fit(columns.fit_transform(x[rows]), y[rows], X_val=columns.transform(x[valid_rows]), y_val=y[valid_rows])
    best = max(1, int(np.argmax(model.validation_score_)))  # the first score is that of no tree
    del model._predictors[best:]
    return make_pipeline(columns, model.set_params(max_iter=best, early_stopping=False))  # as a refit takes it


def _linear(
    x: np.ndarray, y: np.ndarray, rows: np.ndarray, valid_rows: np.ndarray, task: Task, codes: np.ndarray
) -> Any:
    """Logistic or ridge regression, with the penalty that gives the smallest loss on validation rows.

    Numbers are standardised, missing ones at the mean with an indicator; a category is one column a level, and
    missing is a level of its own.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import log_loss, mean_squared_error
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), codes),
        remainder=make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()),
    )
    seen, held = columns.fit_transform(x[rows]), columns.transform(x[valid_rows])
    last = Ridge() if task == "regression" else LogisticRegression(max_iter=300, warm_start=True)
    losses, path = [], []
    for c in _STRENGTHS:
        last.set_params(**{"alpha": 1.0 / c} if task == "regression" else {"C": c}).fit(seen, y[rows])
        path.append(deepcopy(last))
        if task == "regression":
            losses.append(mean_squared_error(y[valid_rows], last.predict(held)))
        else:
            losses.append(log_loss(y[valid_rows], last.predict_proba(held), labels=last.classes_))
    return make_pipeline(columns, path[int(np.argmin(losses))])


def _size(model: Any) -> int:
    """Coefficients of a linear model, leaves of trees, 1 for a constant."""
    last = model[-1] if hasattr(model, "steps") else model
    if hasattr(last, "_predictors"):
        return sum(tree.get_n_leaf_nodes() for stage in last._predictors for tree in stage)
    return int(np.size(last.coef_) + np.size(last.intercept_)) if hasattr(last, "coef_") else 1
