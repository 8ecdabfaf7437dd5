"""Pictures of any size -> standardised tensors of one size; and their classical description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess._pictures import GREY_WEIGHTS, Components, colour_histograms, gradient_histograms
from profuse.errors import ConfigError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["ImagePreprocessor"]

_CHUNK_VALUES = 1 << 24  # numbers held at once beside the result: 64 MB of float32
_GREY_TOLERANCE = 1 / 255  # RGB whose channels differ by no more is grey
_MAX_FIT_ROWS = 2_000
_BLOCK_ROWS = 128
_MAX_SIDE = 32  # classical descriptions need no more pixels than this


class ImagePreprocessor(Preprocessor):
    """`x = (resize(picture) - mean_channel) / std_channel`, all pictures of one size, from pictures of any.

    The size is the median height and the median width of the training pictures, scaled down together to fit
    `max_size`, each at least `min_size`. Every picture is resized to it (bilinear, with antialiasing), so that
    one of another aspect is stretched: nothing is cut off and no border is invented, and where aspects vary
    they are seldom the signal. Transparency is laid over white. If all training pictures are grey there is one
    channel and colour is reduced to luma (ITU-R BT.601); otherwise three, and grey is repeated.

    Args:
        min_size: Smallest height and width, pixels.
        max_size: Largest height and width, pixels.
        n_components: Principal components of the pixels, and of the gradient histograms, for `features`.

    Raises:
        ConfigError: A size or number below 1, or `min_size` above `max_size`.
    """

    takes = "image"

    def __init__(self, *, min_size: int = 8, max_size: int = 64, n_components: int = 64) -> None:
        if not 1 <= min_size <= max_size or n_components < 1:
            raise ConfigError(
                "ImagePreprocessor: 1 <= min_size <= max_size and n_components >= 1 must hold; "
                f"got min_size={min_size}, max_size={max_size}, n_components={n_components}."
            )
        self.min_size, self.max_size, self.n_components = min_size, max_size, n_components
        self.range: tuple[float, float] | None = None

    def fit(self, data: ModalityData) -> None:
        """Learns size, channels, mean and standard deviation (and the components of `features`)."""
        index = np.flatnonzero(data.present)
        if not len(index):
            raise DataError(
                "ImagePreprocessor.fit: at least one training row must have a picture; got 0 of "
                f"{len(data)}. Leave this modality out."
            )
        self._check(data, index)
        self.range = data.range
        shapes = np.array([np.shape(data.values[i])[:2] for i in index], dtype=np.float64)
        median = np.median(shapes, axis=0)
        shrink = min(1.0, self.max_size / median.max())
        height, width = (int(max(self.min_size, np.floor(side * shrink + 0.5))) for side in median)
        grey = all(_is_grey(np.asarray(data.values[i])) for i in index)
        self.spec = Spec(kind="image", n_channels=1 if grey else 3, image_size=(height, width))

        total, squares, n_pixels = np.zeros(self.spec.n_channels), np.zeros(self.spec.n_channels), 0
        for _, pictures in self._resized(data, index):
            values = pictures.double()
            total += values.sum((0, 2, 3)).numpy()
            squares += values.square().sum((0, 2, 3)).numpy()
            n_pixels += values.shape[0] * height * width
        self.mean = total / n_pixels
        # a channel that never varies carries nothing: it becomes 0, not a quotient by 0
        deviation = np.sqrt(np.maximum(squares / n_pixels - self.mean**2, 0.0))
        self.std = np.where(deviation > 1e-4, deviation, 1.0)

        some = np.random.default_rng(0).permutation(index)[:_MAX_FIT_ROWS]
        pixels, gradients, _ = self._describe(data, np.sort(some))
        self.pixel_components = Components.fit(pixels, self.n_components)
        self.gradient_components = Components.fit(gradients, self.n_components)

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32 `[row, channel, height, width]` and mask `[row]`; absent rows hold 0.

        Raises:
            DataError: A picture is not `[height, width, 1, 3 or 4]`, empty, not finite or out of range.
        """
        index = np.flatnonzero(data.present)
        self._check(data, index)
        values = torch.zeros(len(data), self.spec.n_channels, *self.spec.image_size)
        mean = torch.tensor(self.mean, dtype=torch.float32)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float32)[:, None, None]
        for rows, pictures in self._resized(data, index):
            values[torch.from_numpy(rows)] = (pictures - mean) / std
        return Raw(values, torch.from_numpy(data.present.copy()))

    def features(self, data: ModalityData) -> NDArray[np.float64]:
        """Returns principal components of pixels and of gradient histograms, and a colour histogram.

        Shape:
            `[row, feature]`: up to `n_components` + `n_components` + 64 (colour only); NaN in absent rows.
        """
        index = np.flatnonzero(data.present)
        self._check(data, index)
        pixels, gradients, colours = self._describe(data, index)
        result = np.concatenate(
            [self.pixel_components.project(pixels), self.gradient_components.project(gradients), colours], axis=1
        )
        features = np.full((len(data), result.shape[1]), np.nan)
        features[index] = result
        return features

    def state(self) -> dict[str, Any]:
        return {
            "min_size": self.min_size,
            "max_size": self.max_size,
            "n_components": self.n_components,
            "image_size": list(self.spec.image_size),
            "range": None if self.range is None else list(self.range),
            "mean": self.mean,
            "std": self.std,
            "pixel_components": self.pixel_components.state(),
            "gradient_components": self.gradient_components.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ImagePreprocessor:
        new = cls(min_size=state["min_size"], max_size=state["max_size"], n_components=state["n_components"])
        new.mean, new.std = np.asarray(state["mean"]), np.asarray(state["std"])
        levels = state.get("range")  # models saved before there was one lack it
        new.range = None if levels is None else (float(levels[0]), float(levels[1]))
        height, width = state["image_size"]
        new.spec = Spec(kind="image", n_channels=len(new.mean), image_size=(height, width))
        new.pixel_components = Components.from_state(state["pixel_components"])
        new.gradient_components = Components.from_state(state["gradient_components"])
        return new

    def _describe(
        self, data: ModalityData, index: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Returns pixels, gradient histograms and colour histograms of the rows `index`, in their order."""
        height, width = self.spec.image_size
        small = (min(height, _MAX_SIDE), min(width, _MAX_SIDE))
        parts: list[tuple[NDArray[np.intp], list[NDArray[np.float64]]]] = []
        for rows, pictures in self._resized(data, index):
            # a few hundred at a time stay in the processor's cache
            for start in range(0, len(rows), _BLOCK_ROWS):
                some = rows[start : start + _BLOCK_ROWS]
                array = _resize(pictures[start : start + _BLOCK_ROWS], small).double().numpy()
                results = [array.reshape(len(array), -1), gradient_histograms(array), colour_histograms(array)]
                parts.append((some, results))
        if not parts:
            blank = np.zeros((1, self.spec.n_channels, *small))
            widths = [self.spec.n_channels * small[0] * small[1]]
            widths += [gradient_histograms(blank).shape[1], colour_histograms(blank).shape[1]]
            empty = [np.zeros((0, width)) for width in widths]
            return empty[0], empty[1], empty[2]
        order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
        whole = [np.concatenate([columns[i] for _, columns in parts])[order] for i in range(3)]
        return whole[0], whole[1], whole[2]

    def _resized(self, data: ModalityData, index: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """Yields rows and their pictures `[row, channel, height, width]` in 0..1; rows of one shape go together."""
        values = data.values
        groups: dict[tuple[object, ...], list[int]] = {}
        for i in index:
            picture = np.asarray(values[i])
            groups.setdefault((picture.shape, picture.dtype), []).append(int(i))
        for (shape, _), rows in groups.items():
            area = max(int(np.prod(shape)), self.spec.n_channels * int(np.prod(self.spec.image_size)))  # type: ignore[call-overload]
            step = max(1, _CHUNK_VALUES // area)
            for start in range(0, len(rows), step):
                some = np.array(rows[start : start + step], dtype=np.intp)
                stack = values[some] if values.dtype != object else np.stack([np.asarray(values[i]) for i in some])
                yield some, _resize(_to_channels(stack, self.spec.n_channels), self.spec.image_size)

    def _check(self, data: ModalityData, index: NDArray[np.intp]) -> None:
        """Refuses what is no picture, naming the row; arrays of one block are looked at as a whole first."""
        for i in index:
            picture = np.asarray(data.values[i])
            what = _fault(picture)
            if what:
                raise DataError(
                    f"ImagePreprocessor: row {i} must be a picture [height, width, 1, 3 or 4 channels], uint8 or "
                    f"float in 0..1; got {what}. Convert it, or mark the row as absent."
                )


def _fault(picture: NDArray[Any]) -> str:
    """Returns what is wrong with `picture`, or ""."""
    if picture.ndim not in (2, 3) or 0 in picture.shape or (picture.ndim == 3 and picture.shape[2] not in (1, 3, 4)):
        return f"shape={picture.shape}"
    if picture.dtype == np.uint8 or picture.dtype == bool:
        return ""
    if not np.issubdtype(picture.dtype, np.floating):
        return f"dtype={picture.dtype}"
    low, high = float(picture.min()), float(picture.max())  # a NaN anywhere makes both NaN
    return "" if low >= -1e-6 and high <= 1 + 1e-6 else f"values from {low:g} to {high:g}"


def _is_grey(picture: NDArray[Any]) -> bool:
    """Tells whether the colours of every pixel are equal."""
    if picture.ndim == 2 or picture.shape[2] == 1:
        return True
    colours = picture[..., :3]
    spread = np.ptp(colours, axis=2).max() if colours.dtype != bool else np.ptp(colours.astype(np.uint8), axis=2).max()
    return bool(spread <= (1 if colours.dtype == np.uint8 else _GREY_TOLERANCE))


def _to_channels(stack: NDArray[Any], n_channels: int) -> Tensor:
    """`[row, height, width(, channel)]` -> float32 `[row, n_channels, height, width]` in 0..1."""
    values = torch.from_numpy(np.ascontiguousarray(stack, dtype=np.float32))
    if stack.dtype == np.uint8:
        values /= 255
    values = values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2)
    if values.shape[1] == 4:
        alpha = values[:, 3:]
        values = values[:, :3] * alpha + (1 - alpha)
    if values.shape[1] == n_channels:
        return values
    if n_channels == 3:
        return values.expand(-1, 3, -1, -1)
    return torch.einsum("bchw,c->bhw", values, torch.tensor(GREY_WEIGHTS))[:, None]


def _resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing, as in Pillow; the same size comes back as it is."""
    if pictures.shape[2:] == size:
        return pictures
    return F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False).clamp_(0, 1)
