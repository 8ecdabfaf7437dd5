"""Noise in videos `[frame, height, width, channel]`. The unit of levels is the range, black to white.

Reference:
    Yi et al. 2021, Benchmarking the robustness of spatial-temporal models against corruptions.

*Differs from the paper*: levels are continuous, and sizes are shares of a side or of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.kinds.noise.corruption import Corruption, by_row, run

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["FRAMES"]

Change = Callable[[np.ndarray, float, "Generator"], np.ndarray]


def _made(description: str, change: Change) -> Corruption:
    """Returns a corruption that changes videos of 0 to 1."""

    def of(data: ModalityData, p: float, draw: Generator) -> Any:
        def changed(row: Any, own: Generator) -> np.ndarray:
            video = np.asarray(row)
            most = 255.0 if video.dtype == np.uint8 else 1.0
            x = np.clip(change(video.astype(np.float64) / most, p, own), 0.0, 1.0) * most
            return np.asarray(np.rint(x) if video.dtype == np.uint8 else x, dtype=video.dtype)

        return by_row(data, draw, changed)

    return Corruption(description, of)


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
    "white": _made("White noise, whose deviation is p/2 of the range, is added to each pixel.", _white),
    "covered": _made("A rectangle of p/2 of the area has the mean colour in all frames.", _covered),
    "frozen": _made("A run of p of the frames shows the frame before it.", _frozen),
    "blur": _made("A Gaussian blur of each frame, whose deviation is p/10 of the shorter side.", _blur),
    "contrast": _made("Contrast is 1 - .95p of what it was.", _contrast),
    "flicker": _made("Each frame is lighter or darker by up to p/2 of the range.", _flicker),
    "shaken": _made("Each frame is moved by up to p/4 of its sides; its edge fills what is left.", _shaken),
}
