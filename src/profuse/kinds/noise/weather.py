"""Fog, snow and dirt on the glass, in pictures `[height, width, channel]`.

Reference:
    Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations.
    Fournier, Fussell, Carpenter 1982, Computer Rendering of Stochastic Models (diamond-square).

*Differs from the paper*: levels are continuous, and sizes are shares of a picture's side. Fog mixes each pixel with
white, by its thickness there, as light is lost on its way (Koschmieder); the paper adds it and scales the sum by the
lightest pixel, so that a black picture gets none and a light one is darkened. Snow is streaks that lie over the
picture, and dirt has one colour without an edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from profuse.kinds.noise.corruption import of_levels
from profuse.kinds.noise.lens import convolved, disk, segment

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["WEATHER", "plasma"]

_DECAY = 0.57  # of the steps from a size to half of it: 1/1.75, the middle of the paper's 1/1.5 to 1/2
_FLAKES = 80  # at level 1
_MUD = (0.25, 0.16, 0.08)  # the paper's colour; its mean where there are not three channels


def plasma(side: int, draw: Generator) -> np.ndarray:
    """Returns a plasma fractal `[side, side]` from 0 to 1, which goes on at its other sides; `side` is a power of 2.

    Diamond-square: the middle of four points, of a square and then of a diamond, is their mean and a uniform step,
    whose size falls with that of the square.
    """
    field = np.zeros((side, side))
    size, step = side, 1.0

    def moved(total: np.ndarray) -> np.ndarray:
        return np.asarray(total / 4 + step * draw.uniform(-1, 1, total.shape))

    while size > 1:
        half = size // 2
        corners = field[::size, ::size]
        pairs = corners + np.roll(corners, -1, axis=0)
        field[half::size, half::size] = centres = moved(pairs + np.roll(pairs, -1, axis=1))
        above = corners + np.roll(corners, -1, axis=1) + centres + np.roll(centres, 1, axis=0)
        beside = pairs + centres + np.roll(centres, 1, axis=1)
        field[::size, half::size] = moved(above)
        field[half::size, ::size] = moved(beside)
        size, step = half, step * _DECAY
    field -= field.min()
    return np.asarray(field / (field.max() or 1.0))


def _fog(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    side = 1 << max(1, (max(x.shape[:2]) - 1).bit_length())
    fog = plasma(side, draw)[: x.shape[0], : x.shape[1], None]
    clear = np.exp(-3 * p * fog)
    return np.asarray(clear * x + 1 - clear)


def _snow(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    height, width = x.shape[:2]
    streak = segment(min(height, width) / 10, draw.uniform(0.25, 0.75) * np.pi)  # falls, more or less
    flake = convolved(np.pad(streak, 8)[..., None], disk(min(min(height, width) / 60, 8.0)))[..., 0]
    falls, up, along = draw.random((3, _FLAKES))
    layer = np.zeros((height, width, 1))
    there = falls < p
    layer[(up[there] * height).astype(int), (along[there] * width).astype(int)] = 1.0
    n, m = flake.shape[0] // 2, flake.shape[1] // 2
    wide = np.pad(layer, ((n, n), (m, m), (0, 0)))  # a flake beside the picture has no copies at its edge
    white = np.clip(convolved(wide, flake / flake.max())[n : n + height, m : m + width], 0.0, 1.0)
    pale = x + 0.3 * p * (1 - x)
    return np.asarray(pale + white * (1 - pale))


def _spatter(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(draw.standard_normal(x.shape[:2]), min(x.shape[:2]) / 40, mode="wrap")
    n_hit = round(0.4 * p * field.size)
    hit = np.unravel_index(np.argsort(-field, axis=None, kind="stable")[:n_hit], field.shape)
    x[hit] = _MUD if x.shape[2] == 3 else np.mean(_MUD)
    return x


WEATHER = {
    "fog": of_levels(
        "Fog of uneven thickness f, a plasma fractal from 0 to 1: exp(-3pf) of a pixel is left, the rest is white.",
        _fog,
    ),
    "snow": of_levels("White streaks fall over a paler picture, most at level 1.", _snow),
    "spatter": of_levels("Drops of mud cover .4p of the area.", _spatter),
}
