"""What stands in place of a modality that a row lacks: the features of rows learned from that are nearest to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from profuse.data.features import Matrix

__all__ = ["Neighbours"]

_MOST_DONORS = 300
_N_NEAREST = 10
_LEAST_DONORS = 3 * _N_NEAREST
_LEAST_SPREAD = 1e-9
_LARGEST = 1e30
_FARTHEST = 10.0  # spreads from the mean: one wild number does not decide what is near


class Neighbours:
    """Fills the features of a modality that a row lacks by those of the nearest rows that have all modalities.

    Near is what has a small squared distance, summed over the modalities that the row has: of each the mean over its
    numbers, in units of their spread; codes of a category are equal or not. A number is the mean of the nearest rows',
    a code that of the nearest one. Sparse features take no part, and a row that has nothing else is left as it is.

    A model that was fitted to complete rows has never seen what it is given of a row that lacks a modality: boosted
    trees go wherever missing values happened to go, a linear model takes the mean.

    Args:
        donors: Features of rows that have all modalities, `[row, feature]` by modality; at least 10 rows.
        codes: By modality, which features hold codes of a category, `[feature]` bool.

    Reference:
        Troyanskaya et al., "Missing value estimation methods for DNA microarrays" (2001), KNNimpute. *Differs from
        the paper*: a modality's features are filled together, of the same rows, and all modalities count alike.
    """

    def __init__(self, donors: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray]) -> None:
        self.donors = {n: np.clip(x, -_LARGEST, _LARGEST).astype(np.float32) for n, x in sorted(donors.items())}
        self.codes = {name: np.asarray(codes[name], dtype=bool) for name in self.donors}
        self._scales = {name: _scale(x, self.codes[name]) for name, x in self.donors.items()}
        self._seen = {name: self._place(name, x) for name, x in self.donors.items()}

    @property
    def n_donors(self) -> int:
        """How many rows are kept."""
        return len(next(iter(self.donors.values())))

    @property
    def n_nearest(self) -> int:
        """How many of them fill a row."""
        return _N_NEAREST

    @classmethod
    def of(
        cls,
        features: Mapping[str, Matrix],
        present: Mapping[str, np.ndarray],
        rows: np.ndarray,
        categories: Mapping[str, Sequence[bool]],
    ) -> Neighbours | None:
        """Returns those of 300 of the rows at most; None where there are not two dense modalities, or too few rows.

        Args:
            features: Of all rows, by modality.
            present: Which of all rows have each modality.
            rows: Learned from.
            categories: For each feature, whether it holds codes; none of a modality, or an empty one: no feature does.
        """
        dense = {name: x for name, x in features.items() if isinstance(x, np.ndarray) and x.shape[1]}
        if len(dense) < 2:
            return None
        whole = rows[np.stack([present[name][rows] for name in dense]).all(0)]
        if len(whole) < _LEAST_DONORS:
            return None
        some = whole[np.linspace(0, len(whole) - 1, min(_MOST_DONORS, len(whole))).astype(int)]
        codes = {n: np.array(categories.get(n) or np.zeros(x.shape[1]), dtype=bool) for n, x in dense.items()}
        return cls({name: x[some] for name, x in dense.items()}, codes)

    def filled(self, features: Mapping[str, Matrix], present: Mapping[str, np.ndarray]) -> dict[str, Matrix]:
        """Returns the features of rows with those of absent modalities filled; each row's hang on no other.

        Args:
            features: `[row, feature]` by modality.
            present: `[row]` bool by modality.
        """
        made = dict(features)
        names = list(self.donors)
        there = np.stack([present[name] for name in names], axis=1)
        lacking = there.any(1) & ~there.all(1)
        if not lacking.any():
            return made
        for name in names:
            made[name] = np.array(features[name], dtype=np.float64)
        for pattern in np.unique(there[lacking], axis=0):
            rows = np.flatnonzero((there == pattern).all(1))
            known = [name for name, has in zip(names, pattern, strict=True) if has]
            far = np.zeros((len(rows), self.n_donors))
            for name in known:
                far += cdist(self._place(name, np.asarray(features[name])[rows]), self._seen[name], "sqeuclidean")
            nearest = np.argsort(far, axis=1, kind="stable")[:, :_N_NEAREST]
            for name in set(names) - set(known):
                made[name][rows] = self._mean(name, nearest)
        return made

    def _mean(self, name: str, nearest: np.ndarray) -> np.ndarray:
        """Returns a modality's features of the nearest donors, `[row, feature]`; NaN where none of them has one."""
        donors, codes = self.donors[name], self.codes[name]
        total, count = np.zeros((len(nearest), donors.shape[1])), np.zeros((len(nearest), donors.shape[1]), dtype=int)
        for near in nearest.T:  # one at a time: all of many rows would take ten times their memory
            real = ~np.isnan(donors[near])
            total += np.where(real, donors[near], 0.0)
            count += real
        mean: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        mean[:, codes] = donors[nearest[:, 0]][:, codes]
        return mean

    def _place(self, name: str, x: np.ndarray) -> np.ndarray:
        """Returns where rows lie, so that squared distances are means over a modality's features."""
        codes, (middle, spread, levels) = self.codes[name], self._scales[name]
        numbers = np.nan_to_num(np.clip((x[:, ~codes] - middle) / spread, -_FARTHEST, _FARTHEST))
        equal = x[:, codes][:, levels[0]] == levels[1]
        made: np.ndarray = np.concatenate([numbers, equal / np.sqrt(2)], axis=1) / np.sqrt(x.shape[1])
        return made

    def state(self) -> dict[str, Any]:
        """Returns what was learned: NumPy arrays by name."""
        return {"donors": dict(self.donors), "codes": {n: c.astype(np.int8) for n, c in self.codes.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Neighbours:
        """Returns what fills rows as those whose `state` this is.

        Raises:
            ValueError: It is no such state.
        """
        donors, codes = state["donors"], state["codes"]
        rows = {x.shape[0] for x in donors.values() if x.ndim == 2}
        if len(donors) < 2 or len(rows) != 1 or any(codes[n].shape != x.shape[1:] for n, x in donors.items()):
            raise ValueError("neighbours must hold the features of the same rows for two modalities at least")
        if not rows.pop() >= _N_NEAREST or any(np.isinf(x).any() for x in donors.values()):
            raise ValueError(f"neighbours must hold {_N_NEAREST} rows at least, of finite numbers")
        return cls(donors, codes)


def _scale(x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Returns mean and spread of numbers (infinite where they do not vary), and each level of codes with its column."""
    numbers, real = x[:, ~codes].astype(np.float64), ~np.isnan(x[:, ~codes])
    count = np.maximum(real.sum(0), 1)
    middle = np.where(real, numbers, 0.0).sum(0) / count
    spread = np.sqrt(np.where(real, np.square(numbers - middle), 0.0).sum(0) / count)
    pairs = [(i, level) for i, column in enumerate(x[:, codes].T) for level in np.unique(column[~np.isnan(column)])]
    columns, levels = (np.array([p[k] for p in pairs], dtype=t) for k, t in ((0, int), (1, float)))
    return middle, np.where(spread > _LEAST_SPREAD, spread, np.inf), (columns, levels)
