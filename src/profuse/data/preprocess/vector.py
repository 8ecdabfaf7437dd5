"""Vectors: channels standardised by statistics of train, outliers held, missing numbers marked."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.vectors import vector_rows
from profuse.errors import DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["VectorPreprocessor"]

_WHO = "VectorPreprocessor"
_N_BINS, _MOST_BINNED = 6, 256  # of more channels none is binned


class VectorPreprocessor(Preprocessor):
    """z = (clip(x, low, high) - mean) / std, per channel; mean and std of the clipped training rows.

    `low` and `high` stand `reach` interquartile ranges below and above the quartiles of train, so that a few
    wild values neither set the unit nor reach the network; where the quartiles coincide (a channel that is
    mostly one value) nothing is clipped before, and |z| is held to `reach` + 5 after standardising.

    A channel that is constant in train is 0. A missing number (NaN) is 0, the mean; each channel that had one in
    train is followed, behind all channels, by an indicator channel (1 = missing). A channel that had none in
    train has no indicator: missing there is 0 and is told with its count as a `UserWarning`. A row that is all
    NaN is absent. Of at most 256 channels the spec has the edges of six bins each, at the quantiles of train.

    Args:
        reach: Interquartile ranges from the quartiles to the bounds.

    Shape:
        `[row, channel]` to `[row, channel + indicator]`.
    """

    takes = "vector"

    def __init__(self, *, reach: float = 5.0) -> None:
        if not reach > 0:
            raise DataError(f"{_WHO}: reach must be above 0; got reach={reach}.")
        self.reach = float(reach)
        empty = np.zeros(0)
        self._low, self._high, self._mean, self._std = empty, empty, empty, empty
        self._marked = np.zeros(0, dtype=np.int64)
        self._edges: list[list[float]] = []

    def fit(self, data: ModalityData) -> None:
        x = vector_rows(data, None, _WHO)
        x = x[~np.isnan(x).all(1)]
        if not len(x):
            raise DataError(f"{_WHO}: at least one training row must hold a number; got none. Leave the modality out.")
        never = np.isnan(x).all(0)
        known = np.where(never, 0.0, x)  # a channel that train never holds is constant
        q25, q75 = np.nanquantile(known, (0.25, 0.75), axis=0)
        spread = np.where(q75 > q25, q75 - q25, np.inf)
        self._low, self._high = q25 - self.reach * spread, q75 + self.reach * spread
        clipped = np.clip(known, self._low, self._high)
        self._mean = np.nanmean(clipped, axis=0)
        std = np.nanstd(clipped, axis=0)
        constant = np.nanmax(clipped, axis=0) == np.nanmin(clipped, axis=0)  # std of a constant may be 1e-17
        self._std = np.where(constant | (std == 0), np.inf, std)
        self._marked = np.flatnonzero(np.isnan(x).any(0))
        self._edges = []
        if x.shape[1] <= _MOST_BINNED:
            z = np.nanquantile(self._scaled(known), np.linspace(0.0, 1.0, _N_BINS + 1), axis=0, method="nearest")
            # no bin is narrower than float32 can tell
            self._edges = [np.unique(np.round(column, 6)).tolist() for column in z.T]
        self._describe()

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        """Returns rows clipped and standardised; NaN stays."""
        bound = self.reach + 5.0
        z: np.ndarray = np.clip((np.clip(x, self._low, self._high) - self._mean) / self._std, -bound, bound)
        return z

    def transform(self, data: ModalityData) -> Raw:
        x = vector_rows(data, len(self._mean), _WHO)
        missing = np.isnan(x)
        present = data.present.copy()
        present[data.present] = ~missing.all(1)
        inside = ~missing.all(1)
        x, missing = x[inside], missing[inside]
        unmarked = np.setdiff1d(np.flatnonzero(missing.any(0)), self._marked)
        if len(unmarked):
            warnings.warn(
                f"{_WHO}: channels {unmarked[:8].tolist()} had no missing number in train; "
                f"{int(missing[:, unmarked].sum())} missing numbers there count as the mean of train.",
                UserWarning,
                stacklevel=2,
            )
        z = np.concatenate([np.where(missing, 0.0, self._scaled(x)), missing[:, self._marked]], axis=1)
        values = np.zeros((len(data), z.shape[1]), dtype=np.float32)
        values[present] = z
        return Raw(torch.from_numpy(values), torch.from_numpy(present))

    def state(self) -> dict[str, Any]:
        return {
            "reach": self.reach,
            "low": self._low,
            "high": self._high,
            "mean": self._mean,
            "std": self._std,
            "marked": self._marked,
            "edges": [list(edges) for edges in self._edges],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls(reach=float(state["reach"]))
        new._low, new._high = np.asarray(state["low"], float), np.asarray(state["high"], float)
        new._mean, new._std = np.asarray(state["mean"], float), np.asarray(state["std"], float)
        new._marked = np.asarray(state["marked"], np.int64)
        new._edges = [[float(edge) for edge in edges] for edges in state["edges"]]
        new._describe()
        return new

    def _describe(self) -> None:
        edges = tuple(tuple(column) for column in self._edges)
        marked = ((),) * len(self._marked) if edges else ()
        varying = np.isfinite(self._std)
        std = np.where(varying, self._std, 0.0)
        usual = float(np.sqrt(np.square(std[varying] / std.max()).mean()) * std.max()) if varying.any() else 1.0
        spreads = np.concatenate([std / usual, np.ones(len(self._marked))])
        self.spec = Spec(
            kind="vector",
            n_channels=len(spreads),
            edges=edges + marked,
            spreads=tuple(spreads.astype(np.float32).tolist()) if varying.any() else (),
        )
