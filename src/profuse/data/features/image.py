"""Pictures as principal components of pixels and of gradient histograms, and colours."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.features._pictures import Components, Stretch, colour_histograms, gradient_histograms, shape_of
from profuse.data.pictures import check_pictures, resized_pictures

__all__ = ["ImageFeatures"]

_WHO = "ImageFeatures"
_MAX_SIDE = 32  # descriptions need no more pixels than this
_MAX_FIT_ROWS = 2_000
_BLOCK_ROWS = 128
_N_COMPONENTS = 64


class ImageFeatures(Features):
    """Principal components of pixels and of gradient histograms, and a colour histogram.

    All pictures have one size, at most 32 pixels a side, from the medians of training; grey ones have one channel.

    Shape:
        `[row, feature]`: up to 64 + 64 + 64 (colour only); NaN in absent rows.
    """

    takes = "image"
    alone = False

    def fit(self, data: ModalityData) -> None:
        self._size, self._n_channels = shape_of(data, _WHO, most=_MAX_SIDE)
        self._stretch = Stretch.fit(data, self._n_channels, self._size)
        index = np.flatnonzero(data.present)
        some = np.sort(np.random.default_rng(0).permutation(index)[:_MAX_FIT_ROWS])
        pixels, gradients, _ = self._describe(data, some)
        self._pixels, self._gradients = (Components.fit(x, _N_COMPONENTS) for x in (pixels, gradients))

    def transform(self, data: ModalityData) -> NDArray[np.float64]:
        index = np.flatnonzero(data.present)
        check_pictures(data, index, _WHO, self._n_channels)
        pixels, gradients, colours = self._describe(data, index)
        known = np.concatenate([self._pixels.project(pixels), self._gradients.project(gradients), colours], axis=1)
        x = np.full((len(data), known.shape[1]), np.nan)
        x[index] = known
        return x

    def _describe(self, data: ModalityData, index: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        """Returns pixels, gradient histograms and colour histograms of the rows `index`, in their order."""
        blank = np.zeros((1, self._n_channels, *self._size))
        parts = [[x[:0] for x in _descriptions(blank)]]
        places = []
        for rows, pictures in resized_pictures(data, index, self._n_channels, self._size):
            for start in range(0, len(rows), _BLOCK_ROWS):  # a few hundred at a time stay in the processor's cache
                some = self._stretch.of(pictures[start : start + _BLOCK_ROWS].double().numpy())
                parts.append(_descriptions(some))
            places.append(rows)
        order = np.argsort(np.concatenate(places), kind="stable") if places else np.zeros(0, dtype=np.intp)
        return [np.concatenate(columns)[order] for columns in zip(*parts, strict=True)]

    def state(self) -> dict[str, Any]:
        return {
            "size": list(self._size),
            "n_channels": self._n_channels,
            "stretch": self._stretch.state(),
            "pixels": self._pixels.state(),
            "gradients": self._gradients.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        height, width = state["size"]
        made._size, made._n_channels = (int(height), int(width)), int(state["n_channels"])
        made._stretch = Stretch.from_state(state.get("stretch"), made._n_channels)
        made._pixels = Components.from_state(state["pixels"])
        made._gradients = Components.from_state(state["gradients"])
        return made


def _descriptions(pictures: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return [pictures.reshape(len(pictures), -1), gradient_histograms(pictures), colour_histograms(pictures)]
