"""Pictures as gradient histograms, thumbnails and colours, side by side and whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.features._pictures import Stretch, colour_histograms, gradient_histograms, shape_of
from profuse.data.pictures import check_pictures, resize, resized_pictures

__all__ = ["GradientFeatures"]

_WHO = "GradientFeatures"
_MAX_SIDE = 48
_THUMBNAIL = 16  # pixels a side
_SHARES = (1.0, 0.5, 0.25)  # of variance: gradients, thumbnail, colours
_BLOCK_ROWS = 128


class GradientFeatures(Features):
    """[gradients, thumbnail, colours]: each less its training mean, and scaled as a whole to its share of the variance.

    Gradient histograms of 8 x 8 cells (see `profuse.data.features._pictures.gradient_histograms`), 16 x 16 pixels, and
    a colour histogram, with variances 1, 1/2 and 1/4. Far more numbers than `image` has: for models that compare rows.

    Shape:
        `[row, feature]`: up to 1764 + 256 grey, 1764 + 768 + 64 in colour; NaN in absent rows.
    """

    takes = "image"

    def fit(self, data: ModalityData) -> None:
        self._size, self._n_channels = shape_of(data, _WHO, most=_MAX_SIDE)
        self._stretch = Stretch.fit(data, self._n_channels, self._size)
        index = np.flatnonzero(data.present)
        parts = [np.concatenate(part) for part in zip(*(parts for _, parts in self._parts(data, index)), strict=True)]
        self._means = [part.mean(0) for part in parts]
        self._scales = [
            np.sqrt(share / max(float(part.var(0).sum()), 1e-12)) for part, share in zip(parts, _SHARES, strict=True)
        ]

    def transform(self, data: ModalityData) -> NDArray[np.float64]:
        index = np.flatnonzero(data.present)
        check_pictures(data, index, _WHO, self._n_channels)
        x = np.full((len(data), sum(map(len, self._means))), np.nan)
        for rows, parts in self._parts(data, index):
            learned = zip(parts, self._means, self._scales, strict=True)
            x[rows] = np.concatenate([(part - mean) * scale for part, mean, scale in learned], axis=1)
        return x

    def _parts(
        self, data: ModalityData, index: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], list[NDArray[np.float64]]]]:
        for rows, pictures in resized_pictures(data, index, self._n_channels, self._size):
            for start in range(0, len(rows), _BLOCK_ROWS):
                array = self._stretch.of(pictures[start : start + _BLOCK_ROWS].double().numpy())
                some = torch.from_numpy(array).to(pictures.dtype)
                small = resize(some, (_THUMBNAIL, _THUMBNAIL)).double().numpy().reshape(len(some), -1)
                yield rows[start : start + _BLOCK_ROWS], [gradient_histograms(array), small, colour_histograms(array)]

    def state(self) -> dict[str, Any]:
        return {
            "size": list(self._size),
            "n_channels": self._n_channels,
            "stretch": self._stretch.state(),
            "means": self._means,
            "scales": [float(scale) for scale in self._scales],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        height, width = state["size"]
        made._size, made._n_channels = (int(height), int(width)), int(state["n_channels"])
        made._stretch = Stretch.from_state(state.get("stretch"), made._n_channels)
        made._means = [np.asarray(mean, dtype=np.float64) for mean in state["means"]]
        made._scales = [float(scale) for scale in state["scales"]]
        return made
