"""Rows of any kind that says its features: one standardised vector a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
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

    def features(self, data: ModalityData) -> np.ndarray:
        return self._vector.features(self._features(data))

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
        describe = kind_named(data.kind).features
        rows = {int(i): np.asarray(describe(data.values[i]), dtype=np.float64) for i in np.flatnonzero(data.present)}
        shape = next((row.shape for row in rows.values()), (len(self._vector.state()["mean"]),))
        odd = next((i for i, row in rows.items() if row.shape != shape or row.ndim != 1), None)
        if odd is not None:
            raise DataError(
                f"FeaturePreprocessor: features of kind {data.kind!r} must be [channel], as many in every row; got "
                f"shape={rows[odd].shape} in row {odd}, where others have {shape}. Correct its features()."
            )
        values = np.full((len(data), *shape), np.nan)
        for i, row in rows.items():
            values[i] = row
        return replace(data, kind="vector", values=values)
