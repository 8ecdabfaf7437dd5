"""Clouds of points as moments, distances and places."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.cloud_shapes import cloud_shapes
from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.preprocess.points import PointPreprocessor

__all__ = ["PointFeatures"]

_BLOCK_ROWS = 128


class PointFeatures(Features):
    """Number of points, middle, radius, covariance, skewness, box, distances (D2), places in a grid; other channels.

    See `profuse.data.cloud_shapes.cloud_shapes`; before them the logarithm of the number of all points.

    Shape:
        `[row, feature]`; NaN in absent rows.
    """

    takes = "points"

    def __init__(self) -> None:
        self._points = PointPreprocessor()

    def fit(self, data: ModalityData) -> None:
        self._points.fit(data)

    def transform(self, data: ModalityData) -> np.ndarray:
        blocks = [self._block(data.rows(rows)) for rows in _blocks(len(data))]
        return np.concatenate(blocks)

    def _block(self, data: ModalityData) -> np.ndarray:
        raw = self._points.transform(data)
        n = [np.log(len(v)) if p else np.nan for v, p in zip(data.values, data.present, strict=True)]
        x = np.column_stack([n, cloud_shapes(raw.values.double(), raw.mask).numpy()])
        x[~data.present] = np.nan
        return x

    def state(self) -> dict[str, Any]:
        return self._points.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._points = PointPreprocessor.from_state(state)
        return made


def _blocks(n_rows: int) -> list[np.ndarray]:
    return [np.arange(start, min(n_rows, start + _BLOCK_ROWS)) for start in range(0, max(1, n_rows), _BLOCK_ROWS)]
