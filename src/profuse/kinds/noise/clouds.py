"""Noise in clouds `[point, channel]`, x, y, z first. The unit of positions is a cloud's own radius (root mean square).

Reference:
    Sun et al. 2022, Benchmarking robustness of 3D point cloud recognition against common corruptions (jitter, dropped
    and added points, occlusion, rotation).

*Differs from the paper*: levels are continuous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.kinds.noise.corruption import Corruption, by_row, cut, of_rows, spread

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["CLOUDS"]


def _radius(cloud: np.ndarray) -> float:
    xyz = cloud[:, :3]
    return float(np.sqrt(np.square(xyz - xyz.mean(axis=0)).sum(axis=1).mean()))


def _white(data: ModalityData, p: float, draw: Generator) -> Any:
    rows = [np.asarray(data.values[i]) for i in np.flatnonzero(data.present)]
    units = spread(np.concatenate([row[:, 3:] for row in rows]))

    def changed(row: Any, own: Generator) -> np.ndarray:
        cloud = np.asarray(row)
        deviation = np.concatenate([np.full(3, _radius(cloud.astype(np.float64)) / 2), units])
        return cut(cloud + p * deviation * own.standard_normal(cloud.shape), cloud.dtype)

    return by_row(data, draw, changed)


def _dropped(cloud: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    luck = draw.random(len(cloud))
    return np.asarray(cloud[(luck >= p) | (luck == luck.max())])


def _covered(cloud: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    direction = draw.standard_normal(3)
    hidden = np.argsort(cloud[:, :3] @ direction, kind="stable")[: int(0.8 * p * len(cloud) + draw.random())]
    left = np.delete(cloud, hidden[: len(cloud) - 1], axis=0)
    return np.asarray(left)


def _outliers(cloud: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    hit = draw.random(len(cloud)) < p / 2
    low, high = cloud[:, :3].min(axis=0), cloud[:, :3].max(axis=0)
    anywhere = low + (high - low) * draw.random((len(cloud), 3))
    cloud[hit, :3] = anywhere[hit]
    return cloud


def _turned(cloud: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    axis = draw.standard_normal(3)
    x, y, z = axis / np.linalg.norm(axis)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(np.pi * p) * across + (1 - np.cos(np.pi * p)) * across @ across  # Rodrigues
    middle = cloud[:, :3].mean(axis=0)
    cloud[:, :3] = (cloud[:, :3] - middle) @ turn.T + middle
    return cloud


def _stretched(cloud: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    middle = cloud[:, :3].mean(axis=0)
    cloud[:, :3] = (cloud[:, :3] - middle) * (1 + p) ** draw.choice((-1.0, 1.0), 3) + middle
    return cloud


CLOUDS = {
    "white": Corruption(
        "White noise is added: p/2 of a cloud's radius to each coordinate, p spreads to other channels.", _white
    ),
    "dropped": of_rows("Each point, with probability p, is left out; one stays.", _dropped),
    "covered": of_rows("The .8p of the points that lie farthest to one side are left out.", _covered),
    "outliers": of_rows("Each point, with probability p/2, lies anywhere in the cloud's box.", _outliers),
    "turned": of_rows("The cloud is turned by 180p degrees about an axis through its middle.", _turned),
    "stretched": of_rows("Each axis is multiplied by 1 + p, or divided by it, about the cloud's middle.", _stretched),
}
