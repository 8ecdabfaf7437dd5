"""A kind of modality: clouds of points."""

from __future__ import annotations

from typing import Any

import numpy as np

from profuse.errors import DataError
from profuse.kinds import Kind

__all__ = ["CLOUDS", "Clouds"]


class Clouds(Kind):
    """A cloud of points: `[point, 3]`, any number of points in any order."""

    name = "clouds"
    noun = "clouds of points"

    def check(self, value: Any) -> np.ndarray:
        points = np.asarray(value, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not np.isfinite(points).all():
            raise DataError(f"a cloud must be finite numbers [point, 3]; got shape={points.shape}")
        return points

    def features(self, value: np.ndarray) -> np.ndarray:
        """Returns the mean of each axis, and its standard deviation."""
        return np.concatenate([value.mean(0), value.std(0)])


CLOUDS = Clouds()
