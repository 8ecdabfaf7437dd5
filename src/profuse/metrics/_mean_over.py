"""The mean of a score over columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array

__all__ = ["mean_over"]


def mean_over(columns: Array, p: Array, score: Callable[[Array, Array], float], name: str) -> float:
    """Mean of `score` over the columns that hold both a 1 and a 0."""
    n_one = columns.sum(0)
    usable = np.flatnonzero((n_one > 0) & (n_one < len(columns)))
    if len(usable) == 0:
        raise DataError(f"{name}: at least two classes must be among the rows; got one. The score is left out.")
    return float(np.mean([score(columns[:, k], p[:, k]) for k in usable]))
