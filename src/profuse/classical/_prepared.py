"""An estimator of the user's own, made ready: what its features lack, what it lacks, and whether it fits the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from profuse.errors import ConfigError
from profuse.schema import Task

__all__ = ["made_for", "refusal"]

_MOST_LEVELS = 50
_FOLDS = 5


def refusal(make: Callable[[Task], Any], task: Task) -> str:
    """Returns why what `make` makes cannot learn a task, or ""."""
    from sklearn.base import is_classifier, is_regressor

    try:
        estimator = make(task)
        fits = is_regressor(estimator) if task == "regression" else is_classifier(estimator)
    except Exception as error:  # it is anyone's code
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(". ")
    return (
        ""
        if fits
        else f"{type(estimator).__name__}, which is no {'regressor' if task == 'regression' else 'classifier'}"
    )


def made_for(estimator: Any, task: Task, x: np.ndarray, y: np.ndarray, *, codes: np.ndarray, seed: int) -> Any:
    """Returns a clone of an estimator, fitted, with the steps before it that it needs.

    One that takes missing numbers gets the features as they are. Before another one categories become columns of 0
    and 1, missing numbers medians with indicators, and, unless it is a pipeline with steps of its own, numbers are
    standardised. A classifier without probabilities is calibrated on its training rows (a sigmoid, 5 folds). Every
    `random_state` is the seed, and nearest neighbours are searched by brute force where any way will do, as the
    trees of them cannot be kept.

    Args:
        estimator: As it was given.
        task: What is learned.
        x: Training rows, `[row, feature]`, NaN = missing.
        y: Their target.
        codes: Which features hold codes of a category.
        seed: Of all that is drawn.
    """
    from sklearn.base import clone

    chosen = _with_settings(clone(estimator), seed)
    whole = chosen if _takes_missing(chosen) else _with_steps(chosen, codes)
    if task == "regression" or _has(chosen, "predict_proba"):
        return whole.fit(x, y)
    if not _has(chosen, "decision_function"):  # some know what they can do only when they are fitted
        fitted = whole.fit(x, y)
        if _has(fitted, "predict_proba"):
            return fitted
        if not _has(fitted, "decision_function"):
            raise ConfigError(
                f"a classifier must have predict_proba or decision_function; got {type(estimator).__name__}, which has "
                "neither. Use another one."
            )
    return _calibrated(whole, y).fit(x, y)


def _has(estimator: Any, method: str) -> bool:
    return hasattr(estimator, method)


def _with_settings(estimator: Any, seed: int) -> Any:
    parameters = estimator.get_params(deep=True)
    changes: dict[str, Any] = {name: seed for name in parameters if name.rpartition("__")[2] == "random_state"}
    for name, value in parameters.items():
        before, _, last = name.rpartition("__")
        owner = parameters[before] if before else estimator
        if last == "algorithm" and value == "auto" and type(owner).__module__.startswith("sklearn.neighbors."):
            changes[name] = "brute"
    return estimator.set_params(**changes) if changes else estimator


def _takes_missing(estimator: Any) -> bool:
    """Whether NaN may stand in what it gets; a pipeline's last word is its first imputer's."""
    from sklearn.pipeline import Pipeline
    from sklearn.utils import get_tags

    if not isinstance(estimator, Pipeline):
        return bool(get_tags(estimator).input_tags.allow_nan)
    for _, step in estimator.steps:
        if step is None or isinstance(step, str):
            continue
        if not _takes_missing(step):
            return False
        if type(step).__module__.startswith("sklearn.impute."):
            return True
    return True


def _with_steps(estimator: Any, codes: np.ndarray) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers: Any = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if not isinstance(estimator, Pipeline):
        numbers = make_pipeline(numbers, StandardScaler())
    levels = OneHotEncoder(handle_unknown="ignore", max_categories=_MOST_LEVELS, sparse_output=False)
    columns = make_column_transformer((levels, codes), remainder=numbers) if len(codes) else numbers
    return make_pipeline(columns, estimator)


def _calibrated(estimator: Any, y: np.ndarray) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    fewest = int(np.unique(y, return_counts=True)[1].min())
    if fewest < 2:
        raise ConfigError(
            f"a classifier without predict_proba must have two training rows of each class, to calibrate it; got "
            f"{fewest}. Use one that has predict_proba."
        )
    return CalibratedClassifierCV(estimator, ensemble=False, cv=min(_FOLDS, fewest))
