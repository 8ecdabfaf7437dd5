"""Pictures of any size -> standardised tensors of one size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.pictures import check_pictures, n_channels_of, resized_pictures
from profuse.data.preprocess._base import Preprocessor
from profuse.errors import ConfigError, DataError
from profuse.kinds import LevelRange, pairs_of
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["ImagePreprocessor"]

_LEAST_OF_BYTES, _LEAST = 1e-4, 1e-6  # deviations below which a channel is constant


class ImagePreprocessor(Preprocessor):
    """`x = (resize(picture) - mean_channel) / std_channel`, all pictures of one size, from pictures of any.

    The size is the median height and the median width of the training pictures, scaled down together to fit
    `max_size`, each at least `min_size`. Every picture is resized to it (bilinear, with antialiasing), so that
    one of another aspect is stretched: nothing is cut off and no border is invented, and where aspects vary
    they are seldom the signal. Transparency is laid over white. If all training pictures are grey there is one
    channel and colour is reduced to luma (ITU-R BT.601); otherwise three, and grey is repeated. Channels that are no
    colours (2, or more than 3) stay as they are.

    Args:
        min_size: Smallest height and width, pixels.
        max_size: Largest height and width, pixels.

    Raises:
        ConfigError: A size below 1, or `min_size` above `max_size`.
    """

    takes = "image"

    def __init__(self, *, min_size: int = 8, max_size: int = 64) -> None:
        if not 1 <= min_size <= max_size:
            raise ConfigError(
                f"ImagePreprocessor: 1 <= min_size <= max_size must hold; got min_size={min_size}, max_size={max_size}."
            )
        self.min_size, self.max_size = min_size, max_size
        self.range: LevelRange | None = None

    def fit(self, data: ModalityData) -> None:
        """Learns size, channels, mean and standard deviation."""
        index = np.flatnonzero(data.present)
        if not len(index):
            raise DataError(
                "ImagePreprocessor.fit: at least one training row must have a picture; got 0 of "
                f"{len(data)}. Leave this modality out."
            )
        check_pictures(data, index, "ImagePreprocessor")
        self.range = data.range
        shapes = np.array([np.shape(data.values[i])[:2] for i in index], dtype=np.float64)
        median = np.median(shapes, axis=0)
        shrink = min(1.0, self.max_size / median.max())
        height, width = (int(max(self.min_size, np.floor(side * shrink + 0.5))) for side in median)
        n_channels = n_channels_of(data, index, "ImagePreprocessor")
        self.spec = Spec(kind="image", n_channels=n_channels, image_size=(height, width))

        total, squares, n_pixels = np.zeros(self.spec.n_channels), np.zeros(self.spec.n_channels), 0
        for _, pictures in resized_pictures(data, index, self.spec.n_channels, self.spec.image_size):
            values = pictures.double()
            total += values.sum((0, 2, 3)).numpy()
            squares += values.square().sum((0, 2, 3)).numpy()
            n_pixels += values.shape[0] * height * width
        self.mean = total / n_pixels
        # a channel that never varies carries nothing: it becomes 0, not a quotient by 0. Of 16 bits or more a pattern
        # may fill but a few of all levels
        least = _LEAST_OF_BYTES if all(np.asarray(data.values[i]).dtype == np.uint8 for i in index) else _LEAST
        deviation = np.sqrt(np.maximum(squares / n_pixels - self.mean**2, 0.0))
        self.std = np.where(deviation > least, deviation, 1.0)

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32 `[row, channel, height, width]` and mask `[row]`; absent rows hold 0.

        Raises:
            DataError: A picture has other channels than those of training, or is empty, not finite or out of range.
        """
        index = np.flatnonzero(data.present)
        check_pictures(data, index, "ImagePreprocessor", self.spec.n_channels)
        values = torch.zeros(len(data), self.spec.n_channels, *self.spec.image_size)
        mean = torch.tensor(self.mean, dtype=torch.float32)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float32)[:, None, None]
        for rows, pictures in resized_pictures(data, index, self.spec.n_channels, self.spec.image_size):
            values[torch.from_numpy(rows)] = (pictures - mean) / std
        return Raw(values, torch.from_numpy(data.present.copy()))

    def state(self) -> dict[str, Any]:
        return {
            "min_size": self.min_size,
            "max_size": self.max_size,
            "image_size": list(self.spec.image_size),
            "range": _stored(self.range),
            "mean": self.mean,
            "std": self.std,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ImagePreprocessor:
        new = cls(min_size=state["min_size"], max_size=state["max_size"])
        new.mean, new.std = np.asarray(state["mean"]), np.asarray(state["std"])
        levels = state.get("range")  # models saved before there was one lack it
        levels = (
            [levels] if levels and not isinstance(levels[0], (list, tuple)) else levels
        )  # nor did all have channels
        pairs = tuple((float(black), float(white)) for black, white in levels or ())
        new.range = None if not pairs else pairs if len(pairs) > 1 else pairs[0]
        height, width = state["image_size"]
        new.spec = Spec(kind="image", n_channels=len(new.mean), image_size=(height, width))
        return new


def _stored(levels: LevelRange | None) -> list[Any] | None:
    """Returns levels as models keep them: one pair is flat, as it was when all pictures had one."""
    pairs = [] if levels is None else [list(pair) for pair in pairs_of(levels)]
    return pairs if len(pairs) > 1 else next(iter(pairs), None)
