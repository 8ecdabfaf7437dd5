"""Levels of black and white that hold given levels: full scales of so many bits, or rounded bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["BYTES", "FULL_SCALES", "full_scale_range", "is_whole", "rounded_range"]

BYTES = (0.0, 255.0)
FULL_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_CENTRE = (0.001, 0.999)
_OUTLYING = 100.0  # times the width of the centre
_SAMPLE = 1 << 21


def full_scale_range(levels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns black and white of levels, at least one.

    0 to 1 or -1 to 1, if all lie there; 0 to the full scale of 8, 10, 12, 14 or 16 bits, the smallest that holds all
    whole levels; 0 to 255 for fractions of such; else the smallest and the largest level, rounded to two digits. Single
    levels that lie a hundred times the width of the middle 99.8 % away from the rest are left out.
    """
    low, high = _bounds(levels)
    if low >= 0 and high <= 1:
        return (0.0, 1.0)
    if low >= -1 and high <= 1:
        return (-1.0, 1.0)
    if low >= 0 and high <= FULL_SCALES[-1] and all(is_whole(k) for k in levels):
        return (0.0, next(s for s in FULL_SCALES if s >= high))
    if low >= 0 and 64 < high <= 255:
        return BYTES
    return _rounded(low, high)


def rounded_range(levels: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns the smallest and the largest level, rounded to two digits; without single ones far from the rest."""
    return _rounded(*_bounds(levels))


def is_whole(levels: np.ndarray) -> bool:
    """Tells whether all levels are whole numbers."""
    return bool((levels == np.rint(levels)).all())


def _bounds(levels: Sequence[np.ndarray]) -> tuple[float, float]:
    low, high = float(min(k.min() for k in levels if k.size)), float(max(k.max() for k in levels if k.size))
    step = max(1, sum(k.size for k in levels) // _SAMPLE)
    some = np.concatenate([k.ravel()[::step] for k in levels]).astype(np.float64)
    centre = np.quantile(some, _CENTRE)
    if high - low > _OUTLYING * (centre[1] - centre[0]) > 0:
        low, high = float(centre[0]), float(centre[1])
    return low, high


def _rounded(low: float, high: float) -> tuple[float, float]:
    unit = 10.0 ** (math.floor(math.log10(max(high - low, abs(high), 1e-30))) - 1)
    black = 0.0 if 0 <= low <= high / 2 else math.floor(low / unit) * unit
    white = math.ceil(high / unit) * unit
    return float(f"{black:.6g}"), float(f"{white if white > black else black + unit:.6g}")
