"""Volumes of any size -> standardised tensors on one grid."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.volumes import resampled_volume
from profuse.errors import ConfigError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["VolumePreprocessor"]

_WHO = "VolumePreprocessor"
_QUANTILES = (0.001, 0.999)
_N_SEEN = 20_000  # voxels of a volume that bounds are taken from


class VolumePreprocessor(Preprocessor):
    """`x = (clip(resample(volume), low, high) - mean) / std`, by channel, all volumes on one grid.

    The grid is the median depth, height and width of the training volumes, scaled down together to fit `max_size`,
    each at least `min_size`. Voxels that fall together are averaged; between those that move apart lie lines. `low` and
    `high` are the quantiles .001 and .999 of training voxels, so that a few wild ones do not set the unit.

    Args:
        min_size: Smallest side, voxels.
        max_size: Largest side, voxels.

    Shape:
        Volumes `[depth, height, width, channel]` to `[row, channel, depth, height, width]`, and mask `[row]`.
    """

    takes = "volume"

    def __init__(self, *, min_size: int = 4, max_size: int = 32) -> None:
        if not 1 <= min_size <= max_size:
            raise ConfigError(
                f"{_WHO}: 1 <= min_size <= max_size must hold; got min_size={min_size}, max_size={max_size}."
            )
        self.min_size, self.max_size = min_size, max_size

    def fit(self, data: ModalityData) -> None:
        """Learns grid, channels, bounds, means and deviations."""
        index = np.flatnonzero(data.present)
        if not len(index):
            raise DataError(f"{_WHO}: at least one training row must have a volume; got 0 of {len(data)}.")
        n_channels = int(np.shape(data.values[index[0]])[-1])
        _check(data, n_channels)
        median = np.median([np.shape(data.values[i])[:3] for i in index], axis=0)
        shrink = min(1.0, self.max_size / median.max())
        depth, height, width = (int(max(self.min_size, np.floor(side * shrink + 0.5))) for side in median)
        self.spec = Spec(kind="volume", n_channels=n_channels, grid=(depth, height, width))
        seen = np.concatenate([self._some(data.values[i]) for i in index])
        self.low, self.high = (np.quantile(seen, q, axis=0) for q in _QUANTILES)
        flat = self.high <= self.low  # nearly all voxels alike: what is rare is then all there is
        self.low, self.high = (
            np.where(flat, limit, bound)
            for limit, bound in ((seen.min(axis=0), self.low), (seen.max(axis=0), self.high))
        )
        held = [self._held(data.values[i]).reshape(n_channels, -1) for i in index]
        self.mean = np.mean([x.mean(dim=1).numpy() for x in held], axis=0)
        squares = np.mean([x.square().mean(dim=1).numpy() for x in held], axis=0)
        deviation = np.sqrt(np.maximum(squares - self.mean**2, 0.0))
        # a channel that never varies carries nothing: it becomes 0, not a quotient by 0
        tiny = deviation <= 1e-6 * np.maximum(np.abs(self.mean), 1e-30)
        self.std = np.where(tiny, 1.0, deviation)

    def transform(self, data: ModalityData) -> Raw:
        """Returns float32; absent rows hold 0.

        Raises:
            DataError: A row is no volume of so many channels, or not finite.
        """
        _check(data, self.spec.n_channels)
        values = torch.zeros(len(data), self.spec.n_channels, *self.spec.grid)
        mean, std = (torch.from_numpy(v)[:, None, None, None] for v in (self.mean, self.std))
        for row in np.flatnonzero(data.present).tolist():
            values[row] = (self._held(data.values[row]) - mean) / std
        return Raw(values, torch.from_numpy(data.present.copy()))

    def _held(self, volume: Any) -> torch.Tensor:
        """Returns `[channel, *grid]` within the bounds, in double precision."""
        x = resampled_volume(np.asarray(volume), self.spec.grid).double()
        low, high = (torch.from_numpy(v)[:, None, None, None] for v in (self.low, self.high))
        return torch.minimum(torch.maximum(x, low), high)

    def _some(self, volume: Any) -> np.ndarray:
        """Returns voxels of a volume on the grid, `[voxel, channel]`."""
        x = resampled_volume(np.asarray(volume), self.spec.grid).flatten(1).numpy().T.astype(np.float64)
        return np.asarray(x[:: max(1, len(x) // _N_SEEN)])

    def state(self) -> dict[str, Any]:
        return {
            "min_size": self.min_size,
            "max_size": self.max_size,
            "grid": list(self.spec.grid),
            "low": self.low,
            "high": self.high,
            "mean": self.mean,
            "std": self.std,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls(min_size=int(state["min_size"]), max_size=int(state["max_size"]))
        for name in ("low", "high", "mean", "std"):
            setattr(new, name, np.asarray(state[name], dtype=np.float64))
        depth, height, width = (int(side) for side in state["grid"])
        new.spec = Spec(kind="volume", n_channels=len(new.mean), grid=(depth, height, width))
        return new


def _check(data: ModalityData, n_channels: int) -> None:
    for row in np.flatnonzero(data.present).tolist():
        volume = np.asarray(data.values[row])
        if volume.ndim != 4 or volume.shape[3] != n_channels or volume.size == 0:
            raise DataError(
                f"{_WHO}: row {row} must be a volume [depth, height, width, {n_channels}]; got shape={volume.shape}. "
                "Give all volumes the same channels."
            )
        if not np.isfinite(volume).all():
            raise DataError(f"{_WHO}: levels must be finite; got NaN or infinity in row {row}. Correct the volume.")
