"""Clouds of points: in an order of their own, about their middle, in the unit of train."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from profuse.data.clouds import size_of, thinned
from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.errors import ConfigError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["PointPreprocessor"]

_WHO = "PointPreprocessor"
_FARTHEST = 20.0  # units or deviations: what lies beyond is held there


class PointPreprocessor(Preprocessor):
    """p = [(xyz - m) / u, standardised(other channels), standardised(m)], m the mean of the cloud, u one for all.

    `u` is the median of the root mean square radii of training clouds. Points stand in the order of a curve through the
    cloud (`profuse.data.clouds.curve_order`), whatever their order was; of more than `max_points` so many are taken
    evenly along it. Numbers beyond 20 units, or 20 deviations, are held there; a missing number of a further channel
    is its mean.

    Args:
        max_points: The largest number of points.

    Shape:
        Clouds `[point, channel]` to `[row, point, channel + 3]`, and mask `[row, point]`.
    """

    takes = "points"
    bound = "max_points"

    def __init__(self, *, max_points: int = 1024) -> None:
        if max_points < 1:
            raise ConfigError(f"{_WHO}: max_points must be at least 1; got max_points={max_points}.")
        self.max_points = max_points

    def fit(self, data: ModalityData) -> None:
        """Learns the unit, the means and the deviations."""
        index = np.flatnonzero(data.present)
        if not len(index):
            raise DataError(f"{_WHO}: at least one training row must have a cloud; got 0 of {len(data)}.")
        n_channels = int(np.shape(data.values[index[0]])[1])
        clouds = self._clouds(data, n_channels)
        sizes = np.array([size_of(cloud) for cloud in clouds.values()])
        self.unit = float(np.median(sizes)) or float(sizes.max()) or 1.0
        middles = np.stack([cloud[:, :3].mean(axis=0) for cloud in clouds.values()])
        others = np.concatenate([cloud[:, 3:] for cloud in clouds.values()])
        known = ~np.isnan(others)
        n = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, others, 0.0).sum(axis=0) / n
        deviations = np.sqrt(np.where(known, np.square(others - means), 0.0).sum(axis=0) / n)
        self.mean = np.concatenate([means, middles.mean(axis=0)])
        spread = np.concatenate([deviations, middles.std(axis=0)])
        # what never varies carries nothing: it becomes 0, not a quotient by 0
        self.std = np.where(spread > 1e-9 * np.maximum(np.abs(self.mean), 1e-9), spread, np.inf)
        longest = max(len(cloud) for cloud in clouds.values())
        self.spec = Spec(kind="points", n_channels=n_channels + 3, max_length=longest)

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32 values; absent rows hold 0.

        Raises:
            DataError: A row is no cloud of so many channels, is empty, or holds an infinite number.
        """
        clouds = self._clouds(data, self.spec.n_channels - 3)
        longest = max((len(cloud) for cloud in clouds.values()), default=1)
        values = torch.zeros(len(data), longest, self.spec.n_channels)
        mask = torch.zeros(len(data), longest, dtype=torch.bool)
        for row, cloud in clouds.items():
            middle = cloud[:, :3].mean(axis=0)
            rest = np.concatenate([cloud[:, 3:], np.broadcast_to(middle, (len(cloud), 3))], axis=1)
            parts = [(cloud[:, :3] - middle) / self.unit, np.nan_to_num((rest - self.mean) / self.std)]
            points = np.concatenate(parts, axis=1).clip(-_FARTHEST, _FARTHEST)
            values[row, : len(cloud)] = torch.from_numpy(points)
            mask[row, : len(cloud)] = True
        return Raw(values, mask)

    def _clouds(self, data: ModalityData, n_channels: int) -> dict[int, np.ndarray]:
        """Returns the clouds that are there as float64, thinned, by row."""
        clouds = {}
        for row in np.flatnonzero(data.present).tolist():
            cloud = np.asarray(data.values[row])
            if cloud.ndim != 2 or cloud.shape[1] != n_channels or len(cloud) == 0:
                raise DataError(
                    f"{_WHO}: row {row} must be a cloud [point, {n_channels}], not empty; got shape={cloud.shape}. "
                    "Give all clouds the same channels."
                )
            if not np.isfinite(cloud[:, :3]).all() or np.isinf(cloud).any():
                raise DataError(
                    f"{_WHO}: coordinates must be finite; got NaN or infinity in row {row}. Leave them out."
                )
            clouds[row] = thinned(cloud, self.max_points).astype(np.float64)
        return clouds

    def state(self) -> dict[str, Any]:
        return {
            "max_points": self.max_points,
            "max_length": self.spec.max_length,
            "unit": self.unit,
            "mean": self.mean,
            "std": np.where(np.isinf(self.std), 0.0, self.std),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls(max_points=int(state["max_points"]))
        new.unit, new.mean, std = float(state["unit"]), np.asarray(state["mean"]), np.asarray(state["std"])
        new.std = np.where(std == 0, np.inf, std)
        new.spec = Spec(kind="points", n_channels=len(new.mean) + 3, max_length=int(state["max_length"]))
        return new
