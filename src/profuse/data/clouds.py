"""Clouds of points `[point, channel]`, x, y, z first: checked, put in an order of their own, and thinned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from profuse.data.media import to_float32
from profuse.errors import DataError

__all__ = ["LARGEST_CLOUD", "as_cloud", "curve_order", "size_of", "thinned"]

LARGEST_CLOUD = 32_768
"""Clouds from files are thinned to so many points, so that a folder of scans fits into memory."""

_MOST_CHANNELS = 1024
_BITS = 16  # of each axis of the curve


def as_cloud(values: NDArray[np.generic]) -> tuple[NDArray[np.floating], int]:
    """Returns a cloud as floats, and how many points were left out because a coordinate is NaN: no echo came back.

    It is float32, or float64 where float32 would round coordinates by more than a 10,000th of the cloud (those of a
    map, say). Further channels may hold NaN, a missing number.

    Raises:
        DataError: It is no cloud: other axes, no numbers, infinite ones, no point left.
    """
    if values.ndim != 2 or values.shape[1] < 3 or values.shape[1] > _MOST_CHANNELS or values.dtype.kind not in "biuf":
        raise DataError(
            f"a cloud must be numbers [point, channel] with x, y, z first; got {values.dtype}{values.shape}"
        )
    wide = values.astype(np.float64)
    if np.isinf(wide).any():
        raise DataError(f"a cloud must be finite; infinite at point {int(np.flatnonzero(np.isinf(wide).any(1))[0])}")
    there = ~np.isnan(wide[:, :3]).any(axis=1)
    if not there.any():
        raise DataError(f"a cloud must have a point; got {len(wide)} points, none with all coordinates")
    wide = wide[there]
    narrow = to_float32(wide)
    lost = np.abs(narrow[:, :3] - wide[:, :3]).max()
    exact = lost <= 1e-4 * np.ptp(wide[:, :3], axis=0).max()
    return narrow if exact or len(wide) == 1 else wide, int((~there).sum())


def curve_order(cloud: NDArray[np.floating]) -> NDArray[np.intp]:
    """Returns the points in the order of a Z-order curve through the cloud's bounding cube: neighbours stand together.

    It depends on where points lie and on nothing else: points at one place stand in the order of their channels.

    Reference:
        Morton 1966, A computer oriented geodetic data base; Wu et al. 2024, Point Transformer V3 (clouds as a
        sequence along such curves).
    """
    xyz = cloud[:, :3].astype(np.float64)
    low, side = xyz.min(axis=0), float(np.ptp(xyz, axis=0).max())
    cells = np.zeros(xyz.shape, dtype=np.int64)
    if side > 0:
        cells = np.minimum((xyz - low) / side * 2**_BITS, 2**_BITS - 1).astype(np.int64)
    code = np.zeros(len(cells), dtype=np.int64)
    for bit in range(_BITS):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return np.lexsort((*cloud.T[::-1], code))


def thinned(cloud: NDArray[np.floating], n_points: int) -> NDArray[np.floating]:
    """Returns the cloud in `curve_order`, and of more than `n_points` so many, evenly along the curve."""
    ordered = cloud[curve_order(cloud)]
    if len(ordered) <= n_points:
        return ordered
    return ordered[((np.arange(n_points) + 0.5) * len(ordered) / n_points).astype(np.int64)]


def size_of(cloud: NDArray[np.floating]) -> float:
    """Returns the root mean square distance of the points from their mean."""
    xyz = cloud[:, :3].astype(np.float64)
    return float(np.sqrt(np.square(xyz - xyz.mean(axis=0)).sum(axis=1).mean()))
