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


def made_for(
    estimator: Any,
    task: Task,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    codes: np.ndarray,
    seed: int,
) -> Any:
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
        weights: How much each counts; None: all alike.
        codes: Which features hold codes of a category.
        seed: Of all that is drawn.

    Raises:
        ConfigError: It has no scores, or takes no weights, and there are some.
    """
    from sklearn.base import clone

    chosen = _with_settings(clone(estimator), seed)

    def fitted(last: Any) -> Any:
        whole = last if _takes_missing(chosen) else _with_steps(last, codes, is_pipeline=_is_pipeline(chosen))
        return whole.fit(x, y, **_weights_for(whole, weights))

    if task == "regression" or hasattr(chosen, "predict_proba"):
        return fitted(chosen)
    if not hasattr(chosen, "decision_function"):  # some know what they can do only when they are fitted
        known = fitted(chosen)
        if hasattr(known, "predict_proba"):
            return known
        if not hasattr(known, "decision_function"):
            raise ConfigError(
                f"a classifier must have predict_proba or decision_function; got {type(estimator).__name__}, which has "
                "neither. Use another one."
            )
    _weights_for(chosen, weights)  # the calibration takes some, whether it can hand them on or not
    if weights is not None and _is_pipeline(chosen):
        raise _takes_none("a pipeline without predict_proba")
    return fitted(_calibrated(chosen, y))


def _is_pipeline(estimator: Any) -> bool:
    from sklearn.pipeline import Pipeline

    return isinstance(estimator, Pipeline)


def _weights_for(estimator: Any, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns weights as the `fit` of an estimator, or of the last step of a pipeline, takes them."""
    from sklearn.utils.validation import has_fit_parameter

    if weights is None:
        return {}
    if _is_pipeline(estimator):
        name, last = estimator.steps[-1]
        return {f"{name}__{key}": value for key, value in _weights_for(last, weights).items()}
    if not has_fit_parameter(estimator, "sample_weight"):
        raise _takes_none(type(estimator).__name__)
    return {"sample_weight": weights}


def _takes_none(what: str) -> ConfigError:
    return ConfigError(
        f"rows must count alike, as {what} takes no sample_weight; got weights. Leave out the weights of rows and of "
        "classes, or use another estimator."
    )


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
    from sklearn.utils import get_tags

    if not _is_pipeline(estimator):
        return bool(get_tags(estimator).input_tags.allow_nan)
    for _, step in estimator.steps:
        if step is None or isinstance(step, str):
            continue
        if not _takes_missing(step):
            return False
        if type(step).__module__.startswith("sklearn.impute."):
            return True
    return True


def _with_steps(estimator: Any, codes: np.ndarray, *, is_pipeline: bool) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers: Any = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if not is_pipeline:
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
