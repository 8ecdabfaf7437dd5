"""Videos of any size and length -> a few standardised frames of one size."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from profuse.data.dataset import ModalityData, object_array
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess.image import ImagePreprocessor
from profuse.errors import ConfigError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["VideoPreprocessor"]

_WHO = "VideoPreprocessor"
_BLOCK_ROWS = 64


class VideoPreprocessor(Preprocessor):
    """x = (resize(frame) - mean_channel) / std_channel, of at most `max_frames` frames, evenly spaced.

    Frames are read as an `ImagePreprocessor` reads pictures: one size for all, grey where all of training are.

    Args:
        max_frames: The largest number of frames.
        min_size: Smallest height and width, pixels.
        max_size: Largest height and width, pixels.

    Shape:
        Videos `[frame, height, width, channel]` to `[row, frame, channel, height, width]`, and mask `[row, frame]`.
    """

    takes = "video"
    bound = "max_frames"

    def __init__(self, *, max_frames: int = 16, min_size: int = 8, max_size: int = 32) -> None:
        if max_frames < 1:
            raise ConfigError(f"{_WHO}: max_frames must be at least 1; got max_frames={max_frames}.")
        self.max_frames = max_frames
        self._pictures = ImagePreprocessor(min_size=min_size, max_size=max_size)

    def fit(self, data: ModalityData) -> None:
        """Learns the size of frames, their channels, means and deviations."""
        index = np.flatnonzero(data.present)
        if not len(index):
            raise DataError(f"{_WHO}: at least one training row must have a video; got 0 of {len(data)}.")
        frames, _ = self._frames(data, index)
        self._pictures.fit(frames)
        longest = max(len(np.asarray(data.values[i])) for i in index)
        self._set_spec(min(longest, self.max_frames))

    def _set_spec(self, max_length: int) -> None:
        of = self._pictures.spec
        self.spec = Spec(kind="video", n_channels=of.n_channels, image_size=of.image_size, max_length=max_length)

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32; absent rows hold 0.

        Raises:
            DataError: A row is no video `[frame, height, width, 1, 3 or 4]`, of bytes or floats in 0..1.
        """
        index = np.flatnonzero(data.present)
        lengths = [min(len(np.asarray(data.values[i])), self.max_frames) for i in index]
        shape = (len(data), max([1, *lengths]), self.spec.n_channels, *self.spec.image_size)
        values, mask = torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.bool)
        for start in range(0, len(index), _BLOCK_ROWS):
            some = index[start : start + _BLOCK_ROWS]
            frames, rows = self._frames(data, some)
            made = self._pictures.transform(frames).values
            for row in some.tolist():
                own = made[torch.from_numpy(rows == row)]
                values[row, : len(own)] = own
                mask[row, : len(own)] = True
        return Raw(values, mask)

    def _frames(self, data: ModalityData, index: np.ndarray) -> tuple[ModalityData, np.ndarray]:
        """Returns the frames of some rows as pictures, and the row of each."""
        pictures: list[np.ndarray] = []
        rows: list[int] = []
        for row in index.tolist():
            video = np.asarray(data.values[row])
            if video.ndim != 4 or 0 in video.shape:
                raise DataError(
                    f"{_WHO}: row {row} must be a video [frame, height, width, channel]; got shape={video.shape}. "
                    "Convert it, or mark the row as absent."
                )
            n = min(len(video), self.max_frames)
            pictures += [video[i] for i in np.linspace(0, len(video) - 1, n).round().astype(int)]
            rows += [row] * n
        there = np.ones(len(pictures), dtype=bool)
        return ModalityData("image", object_array(pictures), there), np.array(rows, dtype=np.int64)

    def state(self) -> dict[str, Any]:
        return {
            "max_frames": self.max_frames,
            "max_length": self.spec.max_length,
            "pictures": self._pictures.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls(max_frames=int(state["max_frames"]))
        new._pictures = ImagePreprocessor.from_state(state["pictures"])
        new._set_spec(int(state["max_length"]))
        return new
