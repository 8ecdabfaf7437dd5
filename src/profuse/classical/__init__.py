"""Models that are no networks, on hand-made features; "add yours": one file, one line here.

They see the same training rows as the networks and are chosen by the same validation rows: the trial, the number of
trees, the strength of the linear model's penalty. Features are those of `profuse.data.features`, fitted on training
rows only: of all modalities together, or of one alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._scikit import ScikitModel
from profuse.data.features import Matrix
from profuse.metrics import Metric
from profuse.registry import table
from profuse.schema import Task

__all__ = [
    "CLASSICAL",
    "ClassicalFit",
    "ClassicalModel",
    "Problem",
    "ScikitModel",
    "classical",
    "fit_classical",
    "side_by_side",
]

CLASSICAL = table(
    "classical",
    {
        "trivial": "profuse.classical.trivial:Trivial",
        "gradient_boosting": "profuse.classical.gradient_boosting:GradientBoosting",
        "linear": "profuse.classical.linear:Linear",
        "yardstick": "profuse.classical.yardstick:Yardstick",
    },
)


def classical(name: str) -> type[ClassicalModel]:
    """Returns the class of the classical model called `name`."""
    return cast(type[ClassicalModel], CLASSICAL.part(name))


@dataclass(frozen=True, eq=False)
class ClassicalFit:
    """A fitted model.

    Attributes:
        model: Fitted.
        valid_prediction: What it predicted for the validation rows before it was fitted anew with them.
        fit_seconds: How long it took.
    """

    model: ClassicalModel
    valid_prediction: np.ndarray
    fit_seconds: float

    @property
    def n_parameters(self) -> int:
        """Coefficients, or leaves."""
        return self.model.n_parameters

    def predict(self, x: Matrix) -> np.ndarray:
        """Returns probabilities or standardised values `[row, output]` of `x[row, feature]`."""
        return self.model.predict(x)


def fit_classical(
    name: str,
    features: Mapping[str, Matrix],
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
    folds: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    metric: Metric | None = None,
) -> ClassicalFit:
    """Fits one model.

    Args:
        name: Of the model.
        features: `[row, feature]` by modality, NaN = missing; sparse ones of one modality alone.
        target: Encoded: class codes `[row]`, 0/1 `[row, label]`, standardised values `[row, target]`.
        train_rows: Learned from.
        valid_rows: Choose the number of trees, and the strength of the linear model's penalty.
        task: What kind of target.
        n_outputs: Classes, labels or values.
        trial: Which of the model's `trials`.
        seed: Of gradient boosting's subsampling of bins.
        refit: Fit anew on training and validation rows together, with the trees or the strength that validation chose.
        categories: For each feature of a modality, whether it holds codes of a category; none of a modality left out.
        folds: See `Problem`.
        metric: See `Problem`.

    Raises:
        UnknownNameError: An unknown name.
    """
    cls = classical(name)
    start = time.perf_counter()
    x = side_by_side([features[k] for k in sorted(features)], len(target))
    if isinstance(x, np.ndarray):
        x = np.where(np.isnan(x[train_rows]).all(0), 0.0, x)  # nothing is learned of it, and trees cannot bin it
    of = categories or {}
    codes = np.flatnonzero([c for k in sorted(features) for c in of.get(k) or [False] * features[k].shape[1]])
    model = cls(task, n_outputs)
    problem = Problem(x, target, train_rows, valid_rows, codes, folds, metric)
    valid = model.fit(problem, settings=cls.trials[trial % len(cls.trials)], seed=seed, refit=refit)
    return ClassicalFit(model, valid, time.perf_counter() - start)


def side_by_side(parts: Sequence[Matrix], n_rows: int) -> Matrix:
    """Returns the features of several modalities as one matrix; sparse ones stand alone."""
    if len(parts) == 1 and not isinstance(parts[0], np.ndarray):
        return parts[0]
    return np.concatenate([np.zeros((n_rows, 0)), *(np.asarray(part, dtype=np.float64) for part in parts)], axis=1)
