"""Rows of any kind that describes a row by itself: `Kind.features`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.errors import DataError
from profuse.kinds import Kind, kind_named

__all__ = ["DescribedFeatures", "described"]


def described(data: ModalityData, n_channels: int | None, who: str) -> ModalityData:
    """Returns what `Kind.features` says of each row, as vectors.

    Args:
        data: Rows of a kind that has features.
        n_channels: Of training; None in training.
        who: Begins messages.

    Raises:
        DataError: Rows have different numbers of features.
    """
    describe = kind_named(data.kind).features
    rows = {int(i): np.asarray(describe(data.values[i]), dtype=np.float64) for i in np.flatnonzero(data.present)}
    shape = next((row.shape for row in rows.values()), (n_channels or 0,))
    odd = next((i for i, row in rows.items() if row.shape != shape or row.ndim != 1), None)
    if odd is not None:
        raise DataError(
            f"{who}: features of kind {data.kind!r} must be [channel], as many in every row; got "
            f"shape={rows[odd].shape} in row {odd}, where others have {shape}. Correct its features()."
        )
    values = np.full((len(data), *shape), np.nan)
    for i, row in rows.items():
        values[i] = row
    return replace(data, kind="vector", values=values)


class DescribedFeatures(Features):
    """`Kind.features` of each row, NaN = missing: what a kind has that names no other set."""

    takes = "any with features"  # until it is fitted

    def __init__(self) -> None:
        self._n_channels = 0

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether the kind called `name` has features."""
        return type(kind_named(name)).features is not Kind.features

    def fit(self, data: ModalityData) -> None:
        self.takes = data.kind
        self._n_channels = described(data, None, "DescribedFeatures").values.shape[1]

    def transform(self, data: ModalityData) -> np.ndarray:
        if data.kind != self.takes:
            raise DataError(f"DescribedFeatures: rows must be of kind {self.takes!r}; got kind={data.kind!r}.")
        return np.asarray(described(data, self._n_channels, "DescribedFeatures").values)

    def state(self) -> dict[str, Any]:
        return {"kind": self.takes, "n_channels": self._n_channels}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made.takes, made._n_channels = kind_named(str(state["kind"])).name, int(state["n_channels"])
        return made
