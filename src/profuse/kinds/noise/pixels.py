"""Noise in pictures `[height, width, channel]`, after the common corruptions. The unit is the range, black to white.

Reference:
    Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations.

*Differs from the paper*: levels are continuous, and sizes are shares of a picture's side, whatever its size.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from profuse.kinds.noise.corruption import of_levels, run

if TYPE_CHECKING:
    from numpy.random import Generator


__all__ = ["PIXELS"]


def _white(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return x + p / 2 * draw.standard_normal(x.shape)


def _covered(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    tall = 2.0 ** draw.uniform(-1, 1)  # height / width, as shares of the picture's
    height = (p / 2 * tall) ** 0.5
    rows, columns = run(x.shape[0], height, draw), run(x.shape[1], p / 2 / height, draw)
    x[slice(*rows), slice(*columns)] = x.mean(axis=(0, 1))
    return x


def _blur(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    deviation = p * min(x.shape[:2]) / 10
    return np.asarray(gaussian_filter(x, (deviation, deviation, 0), mode="nearest"))


def _contrast(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    middle = x.mean()
    return np.asarray(middle + (1 - 0.95 * p) * (x - middle))


def _brightness(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return np.asarray(x + p / 2 * draw.choice((-1.0, 1.0)))


def _jpeg(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    from PIL import Image

    def saved(channels: np.ndarray) -> np.ndarray:
        held = io.BytesIO()
        shown = np.rint(255 * channels).astype(np.uint8)
        Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown).save(held, "jpeg", quality=round(80 - 79 * p))
        with Image.open(held) as read:
            return np.asarray(read, dtype=np.float64).reshape(channels.shape) / 255

    if x.shape[2] == 3:
        return saved(x)
    return np.concatenate([saved(x[..., j : j + 1]) for j in range(x.shape[2])], axis=2)


def _pixelate(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    for axis in (0, 1):
        n = x.shape[axis]
        places = np.arange(n) * max(1, round(n * (1 - 0.9 * p))) // n
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        lengths = np.diff(starts, append=n)
        means = np.moveaxis(np.add.reduceat(x, starts, axis=axis), axis, -1) / lengths
        x = np.moveaxis(np.repeat(means, lengths, axis=-1), -1, axis)
    return x


def _shifted(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    angle = draw.uniform(0, 2 * np.pi)
    for axis, share in ((0, np.sin(angle)), (1, np.cos(angle))):
        n = x.shape[axis]
        x = np.take(x, np.clip(np.arange(n) + round(p / 2 * float(share) * n), 0, n - 1), axis=axis)
    return x


PIXELS = {
    "white": of_levels("White noise, whose deviation is p/2 of the range, is added to each pixel.", _white),
    "covered": of_levels("A rectangle of p/2 of the area has the mean colour of the picture.", _covered),
    "blur": of_levels("A Gaussian blur, whose deviation is p/10 of the shorter side.", _blur),
    "contrast": of_levels("Contrast is 1 - .95p of what it was.", _contrast),
    "brightness": of_levels("The picture is lighter or darker by p/2 of the range.", _brightness),
    "jpeg": of_levels("The picture is saved as JPEG of quality 80 - 79p.", _jpeg),
    "pixelate": of_levels("The picture has 1 - .9p of its pixels a side.", _pixelate),
    "shifted": of_levels(
        "The picture is moved by p/2 of its side in any direction; its edge fills what is left.", _shifted
    ),
}
