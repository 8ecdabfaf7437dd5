"""Text -> one vector: TF-IDF of words and characters, reduced by a truncated SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.features.lsa import TextDescription
from profuse.data.preprocess._base import Preprocessor
from profuse.data.words import rows_of_words
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["TfidfPreprocessor"]


class TfidfPreprocessor(Preprocessor):
    """Text -> `Raw` of one vector a row: float `[row, component]`, mask `[row]`; a text without words is absent.

    The components keep their relative sizes and are divided by one number so that their mean square is 1.

    Args:
        n_components: Components of the truncated SVD.
    """

    takes = "text"
    gives = "vector"

    def __init__(self, n_components: int = 256) -> None:
        self._description = TextDescription(n_components)
        self._scale = 1.0

    def fit(self, data: ModalityData) -> None:
        rows = [row for row in rows_of_words(data, where="TfidfPreprocessor") if row]
        self._description.fit(rows, where="TfidfPreprocessor")
        values = self._description.transform(rows)
        self._scale = float(np.sqrt(np.square(values).mean())) or 1.0
        self.spec = Spec(kind="vector", n_channels=values.shape[1])

    def transform(self, data: ModalityData) -> Raw:
        rows = rows_of_words(data, where="TfidfPreprocessor")
        values = self._description.transform(rows) / np.float32(self._scale)
        return Raw(torch.from_numpy(values), torch.tensor([bool(row) for row in rows], dtype=torch.bool))

    def state(self) -> dict[str, Any]:
        return {"spec": self.spec.model_dump(mode="json"), "scale": self._scale, **self._description.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TfidfPreprocessor:
        self = cls(int(state["n_components"]))
        self.spec = Spec.model_validate(state["spec"])
        self._scale = float(state["scale"])
        self._description = TextDescription.from_state(state)
        return self
