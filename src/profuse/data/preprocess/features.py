"""Rows of any kind that says its features: one standardised vector a row."""

from __future__ import annotations

from typing import Any, Self

from profuse.data.dataset import ModalityData
from profuse.data.features.described import described
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess.vector import VectorPreprocessor
from profuse.errors import DataError
from profuse.kinds import Kind, kind_named
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["FeaturePreprocessor"]


class FeaturePreprocessor(Preprocessor):
    """z = standardised(features(x)): `Kind.features` of each row, then `VectorPreprocessor`.

    What a kind needs that has no preprocessor of its own.

    Shape:
        Rows of any shape to `[row, channel + indicator]`.
    """

    takes = "any with features"  # until it is fitted
    gives = "vector"

    def __init__(self) -> None:
        self._vector = VectorPreprocessor()

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether the kind called `name` has features."""
        return type(kind_named(name)).features is not Kind.features

    def fit(self, data: ModalityData) -> None:
        self.takes = data.kind
        self._vector.fit(self._features(data))
        self.spec: Spec = self._vector.spec

    def transform(self, data: ModalityData) -> Raw:
        return self._vector.transform(self._features(data))

    def state(self) -> dict[str, Any]:
        return {"kind": self.takes, "vector": self._vector.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls()
        new.takes = kind_named(str(state["kind"])).name
        new._vector = VectorPreprocessor.from_state(state["vector"])
        new.spec = new._vector.spec
        return new

    def _features(self, data: ModalityData) -> ModalityData:
        """Returns the features of all rows as vectors."""
        if data.kind != self.takes:
            raise DataError(f"FeaturePreprocessor: rows must be of kind {self.takes!r}; got kind={data.kind!r}.")
        return described(data, len(self._vector.state()["mean"]), "FeaturePreprocessor")
