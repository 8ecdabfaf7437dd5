"""Vectors as they are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.vectors import vector_rows

__all__ = ["VectorFeatures"]

_WHO = "VectorFeatures"


class VectorFeatures(Features):
    """The numbers as they are, NaN = missing: trees need no unit, and linear models standardise by themselves."""

    takes = "vector"

    def __init__(self) -> None:
        self._n_channels = 0

    def fit(self, data: ModalityData) -> None:
        self._n_channels = vector_rows(data, None, _WHO).shape[1]

    def transform(self, data: ModalityData) -> np.ndarray:
        x = np.full((len(data), self._n_channels), np.nan)
        x[data.present] = vector_rows(data, self._n_channels, _WHO)
        return x

    def state(self) -> dict[str, Any]:
        return {"n_channels": self._n_channels}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._n_channels = int(state["n_channels"])
        return made
