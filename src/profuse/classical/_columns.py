"""Steps of linear models: dense features encoded before sparse ones, bounds, and a target on a logarithmic scale."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.linear_model import Ridge

__all__ = ["BoundedRidge", "Columns", "OnLogarithm"]


class Columns(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """[encoded dense features, sparse parts, one column a part that says where a row has nothing of it].

    The last is there only for parts that some training row lacks.

    Args:
        dense: The step that encodes the dense features.
        widths: How many features each sparse part has.
        ratio: Variance of all sparse parts, over that of all dense features: these are scaled to it.

    Attributes:
        scale_: What the dense features are multiplied by.
        marked_: Parts that some training row lacks.
    """

    def __init__(self, dense: Any, widths: tuple[int, ...], ratio: float = 1.0) -> None:
        self.dense = dense
        self.widths = widths
        self.ratio = ratio

    def fit(self, x: Any, y: Any = None) -> Columns:
        """Learns from `x[row, feature]`, the sparse parts last."""
        x, parts = self._cut(x)
        self.dense_: Any = None
        self.scale_ = 1.0
        if x.shape[1]:
            self.dense_ = clone(self.dense)
            dense = _variance(sparse.csr_matrix(self.dense_.fit_transform(x)))
            thin = sum(map(_variance, parts))
            self.scale_ = float(np.sqrt(thin / dense / self.ratio)) if dense > 0 and thin > 0 else 1.0
        self.marked_ = [int(j) for j, part in enumerate(parts) if (np.diff(part.indptr) == 0).any()]
        return self

    def transform(self, x: Any) -> Any:
        """Returns sparse `[row, column]`."""
        x, parts = self._cut(x)
        made = [sparse.csr_matrix(self.dense_.transform(x)) * self.scale_] if x.shape[1] else []
        marks = [sparse.csr_matrix((np.diff(parts[j].indptr) == 0)[:, None], dtype=np.float64) for j in self.marked_]
        return sparse.hstack([*made, *parts, *marks], format="csr")

    def _cut(self, x: Any) -> tuple[np.ndarray, list[Any]]:
        ends = x.shape[1] - sum(self.widths) + np.cumsum([0, *self.widths])
        parts = [sparse.csr_matrix(x[:, start:end], dtype=np.float64, copy=True) for start, end in pairwise(ends)]
        for part in parts:  # one form of equal rows: what is hidden is a stored 0, and sums hang on the order
            part.sum_duplicates()
            part.eliminate_zeros()
        return x[:, : ends[0]].toarray(), parts


class BoundedRidge(Ridge):  # type: ignore[misc]
    """A ridge regression whose predictions lie in [low - w, high + w]: the range of the targets, w its width.

    A number with a wrong unit or decimal point would else be multiplied to any size, and take along a mean of models.

    Attributes:
        low_, high_: Of the targets that were learned from.
    """

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> BoundedRidge:
        """Learns from `x[row, column]` and `y[row]`."""
        super().fit(x, y, sample_weight)
        self.low_, self.high_ = float(np.min(y)), float(np.max(y))
        return self

    def predict(self, x: Any) -> np.ndarray:
        """Returns `[row]`."""
        width = self.high_ - self.low_
        return np.asarray(np.clip(super().predict(x), self.low_ - width, self.high_ + width))


class OnLogarithm(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """factor * exp(f(x)) + zero, where the regressor f has learned log(y - zero); f is held to what it has learned.

    Args:
        regressor: f, not fitted.
        zero: Below all targets.
        factor: exp of a mean is below the mean: what makes up for that.
    """

    def __init__(self, regressor: Any, zero: float, factor: float = 1.0) -> None:
        self.regressor = regressor
        self.zero = zero
        self.factor = factor

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> OnLogarithm:
        """Learns from `x[row, column]` and targets above `zero`."""
        z = np.log(np.asarray(y, dtype=np.float64) - self.zero)
        self.regressor_ = clone(self.regressor).fit(x, z, sample_weight)
        self.low_, self.high_ = float(z.min()), float(z.max())
        return self

    def predict(self, x: Any) -> np.ndarray:
        """Returns `[row]`."""
        z = np.clip(self.regressor_.predict(x), self.low_, self.high_)
        return np.asarray(self.factor * np.exp(z) + self.zero)


def _variance(x: Any) -> float:
    """Returns the sum of the columns' variances."""
    n = max(1, x.shape[0])
    return float(x.multiply(x).sum() / n - np.square(np.asarray(x.sum(0)) / n).sum())
