"""Features of all sorts -> numbers of like size, for models that compare or add them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from profuse.data.features import Matrix

__all__ = ["Encoding", "Scaling"]

Scaling = Literal["each", "together"]
_MOST_LEVELS = 50
_REACH = 10.0  # deviations at which a number is held


@dataclass(frozen=True, eq=False)
class Encoding:
    """z = (x - mean) / scale, held to +-10; a missing number at 0; a category as one column of 0 and 1 for each level.

    A feature that is missing in some training row is followed, behind all others, by a column that says so. A sparse
    matrix stays as it is.

    Attributes:
        mean: `[feature]`; of categories 0.
        scale: `[feature]`, infinite for what is constant in training: each feature's deviation, or one for all.
        marked: Features that are missing in some training row.
        levels: `[level, 2]`: feature and code of each column of a category.
    """

    mean: np.ndarray
    scale: np.ndarray
    marked: np.ndarray
    levels: np.ndarray

    @classmethod
    def fit(cls, x: Matrix, codes: np.ndarray, scaling: Scaling) -> Self:
        """Learns from training rows `x[row, feature]`, in which `codes` are the features that hold categories."""
        nothing = np.zeros(0)
        if not isinstance(x, np.ndarray):
            return cls(nothing, nothing, np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
        known = ~np.isnan(x)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, x, 0.0).sum(0) / count
        scale = np.sqrt(np.where(known, (x - mean) ** 2, 0.0).sum(0) / count)
        constant = scale <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
        levels = [(j, code) for j in codes for code in _frequent(x[:, j])]
        numbers = np.setdiff1d(np.arange(x.shape[1]), codes)
        if scaling == "together" and len(numbers):
            scale = np.full_like(scale, np.sqrt(np.mean(np.where(constant, 0.0, scale)[numbers] ** 2)) or 1.0)
        scale = np.where(constant, np.inf, scale)
        mean[codes], scale[codes] = 0.0, np.inf
        return cls(mean, scale, np.flatnonzero(~known.all(0)), np.array(levels, dtype=np.float64).reshape(-1, 2))

    def __call__(self, x: Matrix) -> Matrix:
        """Returns the numbers of rows `x[row, feature]`, float32 where dense."""
        if not isinstance(x, np.ndarray):
            return x
        z = np.nan_to_num(np.clip((x - self.mean) / self.scale, -_REACH, _REACH), nan=0.0)
        where, code = self.levels[:, 0].astype(np.int64), self.levels[:, 1]
        return np.concatenate([z, x[:, where] == code, np.isnan(x[:, self.marked])], axis=1, dtype=np.float32)

    def state(self) -> dict[str, Any]:
        """Returns the arrays."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Returns the encoding whose `state` this is.

        Raises:
            ValueError: Its parts do not fit each other.
        """
        made = cls(**{name: np.asarray(state[name]) for name in ("mean", "scale", "marked", "levels")})
        n = len(made.mean)
        places = np.concatenate([made.marked, made.levels[:, 0]])
        if made.scale.shape != (n,) or made.levels.shape[1:] != (2,) or not ((places >= 0) & (places < n)).all():
            raise ValueError("columns of an encoding must be those of its features")
        return made


def _frequent(codes: np.ndarray) -> np.ndarray:
    values, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    return np.asarray(values[np.argsort(-counts, kind="stable")[:_MOST_LEVELS]])
