"""Features of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features import Features

__all__ = ["Ranked"]


class Ranked(Features):
    """Each number's share of the training numbers of its channel that are smaller."""

    takes = "vector"

    def fit(self, data: ModalityData) -> None:
        self.known = np.sort(data.values[data.present], axis=0)

    def transform(self, data: ModalityData) -> np.ndarray:
        columns = zip(self.known.T, np.asarray(data.values).T, strict=True)
        ranks = np.stack([np.searchsorted(known, x) / len(known) for known, x in columns], axis=1)
        return np.where(data.present[:, None] & ~np.isnan(data.values), ranks, np.nan)

    def state(self) -> dict[str, Any]:
        return {"known": self.known}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ranked:
        made = cls()
        made.known = np.asarray(state["known"])
        return made
