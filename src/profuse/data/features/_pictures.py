"""Classical descriptions of pictures: principal components, gradient histograms, colour histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from profuse.data.dataset import ModalityData
from profuse.data.pictures import check_pictures, n_channels_of, resized_pictures
from profuse.errors import DataError

__all__ = ["Components", "Stretch", "colour_histograms", "gradient_histograms", "shape_of"]

_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # luma of red, green, blue: ITU-R BT.601

_LEAST, _MOST = 8, 64  # pixels a side
_N_ORIENTATIONS = 9
_MIDDLE, _NARROW, _MAX_STRETCH_ROWS = (0.005, 0.995), 0.25, 500
_N_LEVELS = 4  # a channel's bins in a colour histogram


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components: `project(x) = (x - mean) @ axes.T`.

    Attributes:
        mean: `[feature]`.
        axes: `[component, feature]`, orthonormal, largest variance first.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float64], n_components: int) -> Components:
        """Returns up to `n_components` of `values[row, feature]`: fewer where rows or features are fewer."""
        n_rows, n_features = values.shape
        n_components = min(n_components, n_rows - 1, n_features)
        if n_components < 1 or values.var(0).max() < 1e-10:
            return cls(values.mean(0), np.zeros((0, n_features)))
        # the exact solver costs rows * features^2, the randomised one only rows * features * components
        exact = min(n_rows, n_features) <= 4 * n_components
        pca = PCA(n_components, svd_solver="full" if exact else "randomized", iterated_power=3, random_state=0)
        pca.fit(values.astype(np.float32))
        axes = pca.components_[pca.explained_variance_ > 1e-10]
        return cls(np.asarray(pca.mean_, dtype=np.float64), np.asarray(axes, dtype=np.float64))

    def project(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns `[row, component]`."""
        return (values - self.mean) @ self.axes.T

    def state(self) -> dict[str, Any]:
        """Returns the arrays."""
        return {"mean": self.mean, "axes": self.axes}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Components:
        """Returns the components whose `state` this is."""
        mean = np.asarray(state["mean"])
        return cls(mean, np.asarray(state["axes"]).reshape(-1, len(mean)))


@dataclass(frozen=True, eq=False)
class Stretch:
    """Channels that use few of their levels, spread out: `(x - low) / (high - low)`, held within 0..1.

    Attributes:
        low: `[channel]`, of 0..1.
        high: `[channel]`, above `low`.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def fit(cls, data: ModalityData, n_channels: int, size: tuple[int, int]) -> Stretch:
        """Returns the middle 99 % of the levels of training; 0 and 1 of bytes, and of what fills a quarter of 0..1."""
        low, high = np.zeros(n_channels), np.ones(n_channels)
        index = np.flatnonzero(data.present)
        some = np.sort(np.random.default_rng(0).permutation(index)[:_MAX_STRETCH_ROWS])
        deep = np.array([i for i in some if np.asarray(data.values[i]).dtype != np.uint8], dtype=np.intp)
        if len(deep) < len(some) or not len(deep):
            return cls(low, high)
        pictures = [p.numpy() for _, p in resized_pictures(data, deep, n_channels, size)]
        for c in range(n_channels):
            least, most = np.quantile(np.concatenate([p[:, c].ravel() for p in pictures]).astype(np.float64), _MIDDLE)
            if 0 < most - least < _NARROW:
                low[c], high[c] = least, most
        return cls(low, high)

    def of(self, pictures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns `[row, channel, height, width]` spread out."""
        if not self.low.any() and (self.high == 1).all():
            return pictures
        low, high = self.low[:, None, None], self.high[:, None, None]
        spread: NDArray[np.float64] = np.clip((pictures - low) / (high - low), 0.0, 1.0)
        return spread

    def state(self) -> dict[str, Any]:
        """Returns the arrays."""
        return {"low": self.low, "high": self.high}

    @classmethod
    def from_state(cls, state: dict[str, Any] | None, n_channels: int) -> Stretch:
        """Returns what `state` is of; models saved before there was any have none."""
        if state is None:
            return cls(np.zeros(n_channels), np.ones(n_channels))
        return cls(np.asarray(state["low"], dtype=np.float64), np.asarray(state["high"], dtype=np.float64))


def shape_of(data: ModalityData, who: str, *, most: int) -> tuple[tuple[int, int], int]:
    """Returns height and width, from the medians of training, 8 to `most` pixels, and channels (`n_channels_of`).

    Args:
        data: Training rows.
        who: Begins messages.
        most: Pixels a side.

    Raises:
        DataError: No row has a picture, or one is none.
    """
    index = np.flatnonzero(data.present)
    if not len(index):
        raise DataError(f"{who}: at least one training row must have a picture; got 0 of {len(data)}.")
    check_pictures(data, index, who)
    median = np.median([np.shape(data.values[i])[:2] for i in index], axis=0)
    shrink = min(1.0, _MOST / median.max())
    height, width = (min(most, int(max(_LEAST, np.floor(side * shrink + 0.5)))) for side in median)
    return (height, width), n_channels_of(data, index, who)


def gradient_histograms(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histograms of oriented gradients: in each cell, the gradient's length summed by its direction.

    Central differences of the luma, or of the mean of other channels than colours (one-sided at the border); nine
    directions over half a turn, a pixel's length shared linearly between the nearest two; up to 8 x 8 cells; blocks of
    2 x 2 cells, each divided by its Euclidean length, clipped at 0.2 and divided again.
    A change of brightness leaves them alone, and nearly so a change of contrast.

    Shape:
        pictures `[row, channel, height, width]`, at least 2 x 2 pixels, -> `[row, block * 36]`.

    Reference:
        Dalal, Triggs: Histograms of oriented gradients for human detection, CVPR 2005.
    """
    n_rows, n_channels, height, width = pictures.shape
    weights = np.array(_GREY_WEIGHTS) if n_channels == 3 else np.full(n_channels, 1 / n_channels)
    luma = pictures[:, 0] if n_channels == 1 else np.tensordot(pictures, weights, axes=(1, 0))
    down, across = np.gradient(luma, axis=(1, 2))
    length = np.sqrt(down**2 + across**2)
    position = np.arctan2(down, across) * (_N_ORIENTATIONS / np.pi) - 0.5
    low = np.floor(position).astype(np.int64)
    share = position - low

    n_down, n_across = (int(np.clip(side // 4, 2, 8)) for side in (height, width))
    cell = (np.arange(height) * n_down // height)[:, None] * n_across + np.arange(width) * n_across // width
    n_bins = n_down * n_across * _N_ORIENTATIONS
    base = np.arange(n_rows)[:, None, None] * n_bins + cell * _N_ORIENTATIONS
    histogram = np.zeros(n_rows * n_bins)
    for bins, weight in ((low % _N_ORIENTATIONS, length * (1 - share)), ((low + 1) % _N_ORIENTATIONS, length * share)):
        histogram += np.bincount((base + bins).ravel(), weight.ravel(), minlength=n_rows * n_bins)
    cells = histogram.reshape(n_rows, n_down, n_across, _N_ORIENTATIONS)

    corners = [cells[:, i : n_down - 1 + i, j : n_across - 1 + j] for i in (0, 1) for j in (0, 1)]
    blocks = np.concatenate(corners, axis=-1)
    blocks = np.minimum(blocks / np.sqrt((blocks**2).sum(-1, keepdims=True) + 1e-4), 0.2)
    blocks /= np.sqrt((blocks**2).sum(-1, keepdims=True) + 1e-4)
    result: NDArray[np.float64] = blocks.reshape(n_rows, -1)
    return result


def colour_histograms(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fraction of the pixels in each of 4 x 4 x 4 ranges of red, green and blue; nothing for other pictures.

    Shape:
        pictures `[row, channel, height, width]` in 0..1 -> `[row, 64]`, or `[row, 0]` with other channels than three.
    """
    n_rows, n_channels = pictures.shape[:2]
    if n_channels != 3:
        return np.zeros((n_rows, 0))
    level = np.minimum((pictures * _N_LEVELS).astype(np.int64), _N_LEVELS - 1)
    code = (level[:, 0] * _N_LEVELS + level[:, 1]) * _N_LEVELS + level[:, 2]
    n_codes = _N_LEVELS**3
    flat = (np.arange(n_rows)[:, None, None] * n_codes + code).ravel()
    counts = np.bincount(flat, minlength=n_rows * n_codes).reshape(n_rows, n_codes)
    result: NDArray[np.float64] = counts / (pictures.shape[2] * pictures.shape[3])
    return result
