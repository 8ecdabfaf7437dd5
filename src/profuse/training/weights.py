"""How much rows and classes count in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from profuse._lookup import resolve
from profuse.data.split import Split
from profuse.errors import ConfigError, DataError
from profuse.schema import Task

__all__ = ["ClassWeight", "check_class_weight", "class_weights", "log_class_weights", "row_weights", "weight_notes"]

ClassWeight = Literal["balanced"] | Mapping[str, float] | None
"""As in `TrainOptions`."""


def check_class_weight(asked: ClassWeight, task: Task, classes: Sequence[object], *, who: str) -> None:
    """Checks that classes are what is predicted, and that those that are named are among them.

    Raises:
        ConfigError: The task has none.
        UnknownNameError: One is not; the nearest names are told.
    """
    if asked is None:
        return
    if task not in ("binary", "multiclass"):
        raise ConfigError(
            f"{who}: class_weight must go with a target of classes; got class_weight={asked!r} in a {task} task. Leave "
            "it out, or give sample_weight."
        )
    if not isinstance(asked, str):
        known = {str(c): c for c in classes}
        for name in asked:
            resolve(name, known, where=f"{who}: class_weight", what="class")


def class_weights(asked: ClassWeight, counts: np.ndarray, classes: Sequence[object]) -> np.ndarray | None:
    """Returns the weight of each class, `[class]`; "balanced" is scikit-learn's rows / (classes * rows of the class).

    Args:
        asked: What the user said; classes that are not named have 1.
        counts: Training rows of each class.
        classes: Their names, in this order.
    """
    if asked is None:
        return None
    if isinstance(asked, str):
        return np.asarray(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=np.float64)
    return np.asarray([float(asked.get(str(c), 1.0)) for c in classes])


def log_class_weights(weights: Tensor, target: Tensor, n_classes: int) -> Tensor:
    """Returns the logarithm of the mean weight of each class's rows, `[class]`: by what weights move its log odds.

    Args:
        weights: Of training rows.
        target: Their class codes.
        n_classes: How many there are.
    """
    counts = torch.bincount(target, minlength=n_classes).clamp(min=1)
    return (torch.bincount(target, weights, minlength=n_classes) / counts).clamp(min=_LEAST).log()


_LEAST = 1e-6
"""Mean weight of a class, where all of its rows have none."""


def row_weights(
    by_class: np.ndarray | None, target: Tensor, split: Split, sample_weight: np.ndarray | None, *, who: str
) -> Tensor | None:
    """Returns the weights of all rows, whose mean over training rows is 1; None where all count alike.

    Args:
        by_class: What `class_weights` returned.
        target: Of all rows, encoded.
        split: Of which training and validation rows must have a weight.
        sample_weight: Of all rows, at least 0 (`Dataset.weights`).
        who: Asks; messages begin with it.

    Raises:
        DataError: Weights are all 0 in a part.
    """
    if by_class is None and sample_weight is None:
        return None
    weights = torch.ones(len(target), dtype=torch.float64)
    if by_class is not None:
        weights = torch.as_tensor(by_class)[target]
    if sample_weight is not None:
        weights = weights * torch.as_tensor(np.asarray(sample_weight, dtype=np.float64))
    for what, rows in (("training", split.train), ("validation", split.valid)):
        if len(rows) and not weights[torch.as_tensor(rows)].any():
            raise DataError(
                f"{who}: weights must be above 0 for some of the {what} rows; got 0 for all {len(rows)}. Give rows a "
                "weight, or leave weights out."
            )
    return weights / weights[torch.as_tensor(split.train)].mean()


def weight_notes(weights: np.ndarray | None) -> list[str]:
    """Returns what is to be told of weights of rows, if there are."""
    if weights is None:
        return []
    n_none = int((weights == 0).sum())
    left = f"; {n_none:,} of {len(weights):,} rows have 0: no model learns from them" if n_none else ""
    return [
        f"Rows count in learning by their weights, {weights.min():g} to {weights.max():g}{left}. Scores count each row "
        "once."
    ]
