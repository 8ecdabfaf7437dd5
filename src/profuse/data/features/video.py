"""Videos as what their frames show on average, and how they change."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.features._pictures import Components, colour_histograms, gradient_histograms
from profuse.data.motion import motion_numbers
from profuse.data.preprocess.video import VideoPreprocessor

__all__ = ["VideoFeatures"]

_BLOCK_ROWS, _MAX_FIT_ROWS = 32, 2_000
_N_COMPONENTS = 64


class VideoFeatures(Features):
    """Principal components of mean frames and of mean gradient histograms; a mean colour histogram; changes and flow.

    See `profuse.data.motion.motion_numbers` for the last.

    Shape:
        `[row, feature]`: up to 64 + 64 + 64 (colour only) + 113; NaN in absent rows.
    """

    takes = "video"

    def __init__(self) -> None:
        self._videos = VideoPreprocessor()

    def fit(self, data: ModalityData) -> None:
        self._videos.fit(data)
        index = np.flatnonzero(data.present)
        some = np.sort(np.random.default_rng(0).permutation(index)[:_MAX_FIT_ROWS])
        pixels, gradients, _, _ = self._described(data.rows(some))
        self._pixels, self._gradients = (Components.fit(x, _N_COMPONENTS) for x in (pixels, gradients))

    def transform(self, data: ModalityData) -> np.ndarray:
        index = np.flatnonzero(data.present)
        pixels, gradients, colours, motion = self._described(data.rows(index))
        known = [self._pixels.project(pixels), self._gradients.project(gradients), colours, motion]
        x = np.full((len(data), sum(part.shape[1] for part in known)), np.nan)
        x[index] = np.concatenate(known, axis=1)
        return x

    def _described(self, data: ModalityData) -> list[np.ndarray]:
        """Returns mean frames, mean gradients, mean colours and motion of rows that are all there."""
        starts = range(0, max(1, len(data)), _BLOCK_ROWS)
        blocks = [self._block(data.rows(np.arange(i, min(len(data), i + _BLOCK_ROWS)))) for i in starts]
        return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]

    def _block(self, data: ModalityData) -> list[np.ndarray]:
        raw = self._videos.transform(data)
        values, mask = raw.values.double(), raw.mask.numpy()
        share = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
        frames = values.numpy().reshape(-1, *values.shape[2:])
        shown = np.clip((frames + 2) / 4, 0, 1)  # two deviations about the mean
        parts = []
        for part in (shown.reshape(len(shown), -1), gradient_histograms(shown), colour_histograms(shown)):
            parts.append(np.einsum("bfx,bf->bx", part.reshape(*mask.shape, -1), share))
        return [*parts, motion_numbers(values, raw.mask).numpy()]

    def state(self) -> dict[str, Any]:
        return {
            "videos": self._videos.state(),
            "pixels": self._pixels.state(),
            "gradients": self._gradients.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._videos = VideoPreprocessor.from_state(state["videos"])
        made._pixels = Components.from_state(state["pixels"])
        made._gradients = Components.from_state(state["gradients"])
        return made
