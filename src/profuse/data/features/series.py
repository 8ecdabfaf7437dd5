"""Series as statistics of each channel."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.features._summary import summarise
from profuse.data.series import series_rows

__all__ = ["SeriesFeatures"]

_WHO = "SeriesFeatures"


class SeriesFeatures(Features):
    """Summaries of each channel in its own units; see `profuse.data.features._summary.summarise`."""

    takes = "series"

    def __init__(self) -> None:
        self._n_channels = 0

    def fit(self, data: ModalityData) -> None:
        self._n_channels = series_rows(data, None, _WHO)[0].shape[1]

    def transform(self, data: ModalityData) -> np.ndarray:
        return summarise(series_rows(data, self._n_channels, _WHO))

    def state(self) -> dict[str, Any]:
        return {"n_channels": self._n_channels}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._n_channels = int(state["n_channels"])
        return made
