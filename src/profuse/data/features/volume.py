"""Volumes as quantiles, thumbnails and changes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.preprocess.volume import VolumePreprocessor
from profuse.data.volume_shapes import volume_shapes

__all__ = ["VolumeFeatures"]

_BLOCK_ROWS = 64


class VolumeFeatures(Features):
    """Levels, nine quantiles, 6 x 6 x 6 places, and changes along the axes; see `profuse.data.volume_shapes`.

    Shape:
        `[row, feature]`: 308 for each channel of a volume of 6 or more voxels a side; NaN in absent rows.
    """

    takes = "volume"

    def __init__(self) -> None:
        self._volumes = VolumePreprocessor()

    def fit(self, data: ModalityData) -> None:
        self._volumes.fit(data)

    def transform(self, data: ModalityData) -> np.ndarray:
        starts = range(0, max(1, len(data)), _BLOCK_ROWS)
        parts = [self._block(data.rows(np.arange(i, min(len(data), i + _BLOCK_ROWS)))) for i in starts]
        return np.concatenate(parts)

    def _block(self, data: ModalityData) -> np.ndarray:
        x = volume_shapes(self._volumes.transform(data).values.double()).numpy()
        x[~data.present] = np.nan
        return np.asarray(x)

    def state(self) -> dict[str, Any]:
        return self._volumes.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._volumes = VolumePreprocessor.from_state(state)
        return made
