"""A preprocessor of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess import Preprocessor
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["Squashed"]


class Squashed(Preprocessor):
    """tanh(x / s), s the largest absolute value of each channel in training; a missing number is 0."""

    takes = "vector"

    def fit(self, data: ModalityData) -> None:
        known = np.abs(data.values[data.present])
        self.largest = np.maximum(np.nanmax(known, axis=0), 1e-9)
        self.spec = Spec(kind="vector", n_channels=known.shape[1])

    def transform(self, data: ModalityData) -> Raw:
        squashed = np.where(data.present[:, None], np.tanh(data.values / self.largest), np.nan)
        values = np.nan_to_num(squashed, nan=0.0).astype(np.float32)
        return Raw(torch.from_numpy(values), torch.from_numpy(data.present.copy()))

    def state(self) -> dict[str, Any]:
        return {"largest": self.largest}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Squashed:
        made = cls()
        made.largest = np.asarray(state["largest"])
        made.spec = Spec(kind="vector", n_channels=len(made.largest))
        return made
