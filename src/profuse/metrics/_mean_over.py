"""The mean of a score over columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array

__all__ = ["mean_over", "one_against_rest"]


def one_against_rest(y: Array, p: Array) -> tuple[Array, Array]:
    """Returns labels as they are, and classes as bool columns, one against the rest; of two the second alone."""
    if y.ndim == 2:
        return y.astype(bool), p
    columns = np.arange(p.shape[1])[-1:] if p.shape[1] == 2 else np.arange(p.shape[1])
    return y[:, None] == columns, p[:, columns]


def mean_over(columns: Array, p: Array, score: Callable[[Array, Array], Array], name: str) -> Array:
    """Mean of `score` (a number, or one a row) over the columns that hold both a 1 and a 0."""
    n_one = columns.sum(0)
    usable = np.flatnonzero((n_one > 0) & (n_one < len(columns)))
    if len(usable) == 0:
        raise DataError(
            f"{name}: at least two classes must be among the rows; got one. Give rows of several, or name another "
            "metric."
        )
    if len(usable) == 1:  # by far the most frequent: a tenth of the time of a mean
        return np.asarray(score(columns[:, usable[0]], p[:, usable[0]]))
    return np.asarray(np.mean([score(columns[:, k], p[:, k]) for k in usable], axis=0))
