"""Volumes `[depth, height, width, channel]`: checked, and resampled to a grid."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from profuse.data.media import to_float32
from profuse.errors import DataError

__all__ = ["LARGEST_VOLUME_SIDE", "as_volume", "resampled_volume", "shrunk_volume"]

LARGEST_VOLUME_SIDE = 96
"""Volumes from files are shrunk to this many voxels a side, so that a folder of scans fits into memory."""

_MOST_CHANNELS = 16


def as_volume(values: NDArray[np.generic]) -> tuple[NDArray[np.float32], bool]:
    """Returns a volume as float32 `[depth, height, width, channel]`, and whether voxels that are NaN were filled.

    NaN stands where nothing was measured, outside of a head say; it becomes the least level of its channel.

    Raises:
        DataError: It is no volume: other axes, too many channels, no numbers, infinite ones, none but NaN.
    """
    if values.dtype.kind not in "biuf" or values.ndim not in (3, 4) or values.size == 0:
        raise DataError(
            "a volume must be numbers [depth, height, width] or [depth, height, width, channel]; got "
            f"{values.dtype}{values.shape}"
        )
    if values.ndim == 4 and values.shape[3] > _MOST_CHANNELS:
        raise DataError(
            f"a volume must have at most {_MOST_CHANNELS} channels; got {values.shape[3]}. Give a course of volumes as "
            "its mean, or as several"
        )
    levels = to_float32(values if values.ndim == 4 else values[..., None])
    if np.isinf(levels).any():
        raise DataError(f"the levels of a volume must be finite; {int(np.isinf(levels).sum())} are infinite")
    unknown = np.isnan(levels)
    if not unknown.any():
        return levels, False
    if unknown.all(axis=(0, 1, 2)).any():
        raise DataError("the levels of a volume must be numbers; all of a channel are NaN")
    least = np.nanmin(levels, axis=(0, 1, 2))
    return np.where(unknown, least, levels), True


def resampled_volume(volume: NDArray[np.floating], size: tuple[int, int, int]) -> Tensor:
    """Returns `[channel, *size]`: the mean of the voxels that fall together, lines between those that move apart."""
    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(volume, 3, 0), dtype=np.float32))[None]
    fewer = [min(new, old) for new, old in zip(size, x.shape[2:], strict=True)]
    if fewer != list(x.shape[2:]):
        x = F.interpolate(x, size=fewer, mode="area")
    if fewer != list(size):
        x = F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    return x[0]


def shrunk_volume(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the volume with no side above `LARGEST_VOLUME_SIDE`, in the shape that it had otherwise."""
    longest = max(volume.shape[:3])
    if longest <= LARGEST_VOLUME_SIDE:
        return volume
    depth, height, width = (max(1, round(side * LARGEST_VOLUME_SIDE / longest)) for side in volume.shape[:3])
    return np.moveaxis(resampled_volume(volume, (depth, height, width)).numpy(), 0, 3)
