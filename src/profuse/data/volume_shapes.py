"""What volumes look like, in numbers: levels, where they lie, where they change. Nothing in it is learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["n_volume_numbers", "volume_shapes"]

_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_THUMBNAIL, _CELLS = 6, 3  # places a side
_SMALL = 1e-6


def n_volume_numbers(n_channels: int, grid: tuple[int, int, int]) -> int:
    """Returns how many numbers `volume_shapes` gives."""
    places = [1, 1]
    for side in grid:
        places = [n * min(side, most) for n, most in zip(places, (_THUMBNAIL, _CELLS), strict=True)]
    return n_channels * (2 + len(_QUANTILES) + places[0] + 3 * places[1])


def volume_shapes(values: Tensor) -> Tensor:
    """Returns `[row, number]` of volumes.

    Of each channel: mean and logarithm of the deviation; nine quantiles; in units of the volume's own mean and
    deviation the means of 6 x 6 x 6 places; and the mean size of the changes along depth, height and width at 3 x 3 x 3
    places.

    Args:
        values: `[row, channel, depth, height, width]` of a `VolumePreprocessor`.
    """
    ranked = values.flatten(2).sort(dim=2).values
    last = ranked.shape[2] - 1
    quantiles = [ranked[:, :, round(q * last)] for q in _QUANTILES]
    mean = values.mean((2, 3, 4), keepdim=True)
    deviation = ((values - mean).square().mean((2, 3, 4), keepdim=True) + _SMALL).sqrt()
    own = (values - mean) / deviation
    changes = [_changes(own, axis) for axis in (2, 3, 4)]
    grid = list(values.shape[2:])
    parts = [_means(own, grid, _THUMBNAIL), *(_means(c, grid, _CELLS) for c in changes)]
    return torch.cat([mean.flatten(1), deviation.log().flatten(1), *quantiles, *parts], dim=1)


def _changes(x: Tensor, axis: int) -> Tensor:
    """Returns the size of the step to the next voxel along an axis, 0 at the last one."""
    step = (x.narrow(axis, 1, x.shape[axis] - 1) - x.narrow(axis, 0, x.shape[axis] - 1)).abs()
    return torch.cat([step, torch.zeros_like(x.narrow(axis, 0, 1))], dim=axis)


def _means(x: Tensor, grid: list[int], most: int) -> Tensor:
    depth, height, width = (min(side, most) for side in grid)
    return F.adaptive_avg_pool3d(x, (depth, height, width)).flatten(1)
