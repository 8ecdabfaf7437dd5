"""Tables with numbers by their ranks, and categories by how frequent they are besides."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import ndtri

from profuse.data.dataset import ModalityData
from profuse.data.features.table import TableFeatures

__all__ = ["RankFeatures"]

_N_KNOTS = 256
_REACH = 0.005  # of a rank: nothing lies beyond the 0.5 % quantiles of a normal distribution, +-2.6


class RankFeatures(TableFeatures):
    """`TableFeatures`, with each number x at the normal quantile of its rank, and the frequency of each category.

    z = Phi^-1(clip(F(x), .005, .995)), F the share of training numbers below x, ties in the middle, and lines between
    256 quantiles: no tail rules a distance. Behind the codes of all categories stand the logarithms of how many
    training rows have them, 0 rows counting as a half.
    """

    def fit(self, data: ModalityData) -> None:
        super().fit(data)
        x = super().transform(data)[data.present]
        self._knots, self._counts = [], []
        for column, coded in zip(x.T, self.categories, strict=True):
            known = column[~np.isnan(column)]
            if coded:
                self._counts.append(np.bincount(known.astype(np.int64)) if len(known) else np.zeros(0, dtype=np.int64))
            else:
                self._knots.append(_knots(known))
        self.categories = (*self.categories, *[False] * len(self._counts))

    def transform(self, data: ModalityData) -> np.ndarray:
        x = super().transform(data)
        n = x.shape[1]
        coded = np.array(self.categories[:n], dtype=bool)
        for j, (values, ranks) in zip(np.flatnonzero(~coded), self._knots, strict=True):
            if len(values):
                place = np.interp(x[:, j], values, ranks)  # NaN stays
                x[:, j] = ndtri(np.clip(place, _REACH, 1.0 - _REACH))
        codes = zip(x.T[coded], self._counts, strict=True)
        return np.concatenate([x, *(_frequency(column, counts)[:, None] for column, counts in codes)], axis=1)

    def state(self) -> dict[str, Any]:
        knots = [{"values": values, "ranks": ranks} for values, ranks in self._knots]
        return {**super().state(), "knots": knots, "counts": list(self._counts)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = super().from_state(state)
        made._knots = [(np.asarray(k["values"]), np.asarray(k["ranks"])) for k in state["knots"]]
        made._counts = [np.asarray(c) for c in state["counts"]]
        made.categories = (*made.categories, *[False] * len(made._counts))
        return made


def _knots(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns some training numbers, ascending, and the share of training numbers below each, ties in the middle."""
    values, counts = np.unique(known, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / max(1, len(known))
    some = np.unique(np.linspace(0, len(values) - 1, _N_KNOTS).round().astype(int)) if len(values) else slice(0)
    return values[some], ranks[some]


def _frequency(codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    known = ~np.isnan(codes)
    found = np.log(np.maximum(np.append(counts, 0)[np.where(known, codes, len(counts)).astype(np.int64)], 0.5))
    return np.where(known, found, np.nan)
