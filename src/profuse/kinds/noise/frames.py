"""Noise in videos `[frame, height, width, channel]`. The unit of levels is the range, black to white.

Reference:
    Yi et al. 2021, Benchmarking the robustness of spatial-temporal models against corruptions.

*Differs from the paper*: levels are continuous, and sizes are shares of a side or of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from profuse.kinds.noise.corruption import of_levels, run

if TYPE_CHECKING:
    from numpy.random import Generator


__all__ = ["FRAMES"]


def _white(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return np.asarray(x + p / 2 * draw.standard_normal(x.shape))


def _covered(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    tall = 2.0 ** draw.uniform(-1, 1)
    height = (p / 2 * tall) ** 0.5
    rows, columns = run(x.shape[1], height, draw), run(x.shape[2], p / 2 / height, draw)
    x[:, slice(*rows), slice(*columns)] = x.mean(axis=(0, 1, 2))
    return x


def _frozen(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    start, stop = run(len(x), p, draw)
    x[start:stop] = x[max(0, start - 1)]
    return x


def _blur(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    deviation = p * min(x.shape[1:3]) / 10
    return np.asarray(gaussian_filter(x, (0, deviation, deviation, 0), mode="nearest"))


def _contrast(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    middle = x.mean()
    return np.asarray(middle + (1 - 0.95 * p) * (x - middle))


def _flicker(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return np.asarray(x + p / 2 * draw.uniform(-1, 1, (len(x), 1, 1, 1)))


def _shaken(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    moves = draw.uniform(-1, 1, (len(x), 2))
    out = np.empty_like(x)
    for i, move in enumerate(moves):
        frame = x[i]
        for axis, share in enumerate(move):
            n = frame.shape[axis]
            frame = np.take(frame, np.clip(np.arange(n) + round(p / 4 * float(share) * n), 0, n - 1), axis=axis)
        out[i] = frame
    return out


FRAMES = {
    "white": of_levels("White noise, whose deviation is p/2 of the range, is added to each pixel.", _white),
    "covered": of_levels("A rectangle of p/2 of the area has the mean colour in all frames.", _covered),
    "frozen": of_levels("A run of p of the frames shows the frame before it.", _frozen),
    "blur": of_levels("A Gaussian blur of each frame, whose deviation is p/10 of the shorter side.", _blur),
    "contrast": of_levels("Contrast is 1 - .95p of what it was.", _contrast),
    "flicker": of_levels("Each frame is lighter or darker by up to p/2 of the range.", _flicker),
    "shaken": of_levels("Each frame is moved by up to p/4 of its sides; its edge fills what is left.", _shaken),
}
