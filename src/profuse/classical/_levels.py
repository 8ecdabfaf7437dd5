"""Categories -> numbers for trees: a column for each of a few levels, and what the target is at each of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

__all__ = ["Levels"]

_FEW = 8
_N_FOLDS = 5
_PRIOR_ROWS = 5.0


@dataclass(frozen=True, eq=False)
class Levels:
    """[numbers, 0 and 1 for each of at most 8 levels, then of each category with more: mean target, log(1 + count)].

    The mean of a level of n rows is (sum + 5 m) / (n + 5), m that of all rows; of a level that training has not seen,
    and of a missing one, it is m. Training rows get what the other four fifths of them tell: a row's own target is in
    none of its numbers.

    Attributes:
        n_features: Before.
        numbers: Features that hold no codes.
        few: `[level, 2]`: feature and code of each column of 0 and 1.
        many: `[level, 2]`: feature and code of each level that has a mean, ascending.
        counts: `[level]`: of `many`.
        sums: `[level, output]`: of the targets.
        mean: `[output]`.
    """

    n_features: int
    numbers: np.ndarray
    few: np.ndarray
    many: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    mean: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, codes: np.ndarray, wanted: np.ndarray, seed: int) -> tuple[Self, np.ndarray]:
        """Returns what was learned of training rows, and their numbers.

        Args:
            x: `[row, feature]`, NaN = missing.
            codes: Which features hold codes of a category.
            wanted: Target, `[row, output]`.
            seed: Of the folds.
        """
        few, many = [np.zeros((0, 2))], [np.zeros((0, 2))]
        for j in codes:
            values = np.unique(x[~np.isnan(x[:, j]), j])
            (few if len(values) <= _FEW else many).append(np.stack([np.full(len(values), float(j)), values], axis=1))
        numbers, none = np.setdiff1d(np.arange(x.shape[1]), codes), np.zeros(0)
        made = cls(x.shape[1], numbers, np.concatenate(few), np.concatenate(many), none, none, wanted.mean(0))
        places = made._places(x)
        counts, sums = made._statistics(places, wanted)
        made = cls(**{**vars(made), "counts": counts, "sums": sums})
        fold = np.random.default_rng(seed).permutation(len(x)) % _N_FOLDS
        z = made(x)
        for k in range(_N_FOLDS) if places.shape[1] else ():
            own = fold == k
            if own.all():  # a single row
                continue
            own_counts, own_sums = made._statistics(places[own], wanted[own])
            told = made._told(places[own], counts - own_counts, sums - own_sums, wanted[~own].mean(0))
            z[own, z.shape[1] - told.shape[1] :] = told
        return made, z

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the numbers of rows `x[row, feature]`, NaN = missing.

        Raises:
            ValueError: The features are not those of `fit`.
        """
        if x.shape[1] != self.n_features:
            raise ValueError(f"features must be {self.n_features}; got {x.shape[1]}")
        one_hot = x[:, self.few[:, 0].astype(np.int64)] == self.few[:, 1]
        told = self._told(self._places(x), self.counts, self.sums, self.mean)
        return np.concatenate([x[:, self.numbers], one_hot, told], axis=1)

    @property
    def n_columns(self) -> int:
        """Columns of what it returns."""
        return len(self.numbers) + len(self.few) + len(np.unique(self.many[:, 0])) * (len(self.mean) + 1)

    def _places(self, x: np.ndarray) -> np.ndarray:
        """Returns the place in `many` of each category's level, `[row, category]`; -1 where it has none."""
        features, starts = np.unique(self.many[:, 0], return_index=True)
        places = np.full((len(x), len(features)), -1)
        for k, (j, start) in enumerate(zip(features, starts, strict=True)):
            known, column = self.many[self.many[:, 0] == j, 1], x[:, int(j)]
            at = np.minimum(np.searchsorted(known, column), len(known) - 1)
            places[:, k] = np.where(known[at] == column, start + at, -1)
        return places

    def _statistics(self, places: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows and sums of targets of each level: the last one is that of no level, and left out."""
        n, at = len(self.many), places.ravel()
        each = np.repeat(wanted, places.shape[1], axis=0).T
        sums = np.array([np.bincount(at % (n + 1), y, n + 1)[:n] for y in each])
        return np.bincount(at % (n + 1), minlength=n + 1)[:n].astype(np.float64), sums.T

    @staticmethod
    def _told(places: np.ndarray, counts: np.ndarray, sums: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Returns means and log counts of each category's level, `[row, category * (output + 1)]`."""
        means = (sums + _PRIOR_ROWS * mean) / (counts[:, None] + _PRIOR_ROWS)
        table = np.concatenate([means, np.log1p(counts)[:, None]], axis=1)
        table = np.concatenate([table, np.append(mean, 0.0)[None]])  # -1, the last one: no level
        return np.asarray(table[places].reshape(len(places), -1))

    def state(self) -> dict[str, Any]:
        """Returns the arrays."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Returns the numbers whose `state` this is.

        Raises:
            ValueError: Its parts do not fit each other.
        """
        names = ("numbers", "few", "many", "counts", "sums", "mean")
        made = cls(int(state["n_features"]), **{name: np.asarray(state[name]) for name in names})
        places = np.concatenate([made.numbers, made.few[:, 0], made.many[:, 0]])
        if not (
            ((places >= 0) & (places < made.n_features)).all()
            and made.counts.shape == (len(made.many),)
            and (made.counts >= 0).all()
            and made.mean.ndim == 1
            and made.sums.shape == (len(made.many), len(made.mean))
            and np.isfinite(made.sums).all()
            and np.isfinite(made.mean).all()
            and (np.diff(made.many[:, 0]) >= 0).all()
        ):
            raise ValueError("levels of categories must be those of features that there are, each with a mean")
        return made
