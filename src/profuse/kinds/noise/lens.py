"""A lens that moves or is out of focus, in pictures `[height, width, channel]`.

Reference:
    Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations.

*Differs from the paper*: levels are continuous, and sizes are shares of a picture's shorter side. Motion goes in any
direction and is even along its way, about where a thing was; the paper's weights fall off to one side. The disk is
shared out among pixels, in place of a blur after it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from profuse.kinds.noise.corruption import of_levels

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["LENS", "convolved", "disk", "segment"]


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns `x[height, width, channel]` convolved with `kernel`, odd sides; the edge is repeated outside."""
    from scipy.signal import fftconvolve

    high, wide = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(x, ((high, high), (wide, wide), (0, 0)), mode="edge")
    return np.asarray(fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1)))


def segment(length: float, angle: float) -> np.ndarray:
    """Returns a kernel, odd sides, whose sum is 1: a line of `length` pixels through the middle, `angle` in radians."""
    n = math.ceil(length / 2) + 1
    steps = np.linspace(-length / 2, length / 2, 4 * n + 1)
    return _pixels(steps * math.sin(angle), steps * math.cos(angle), n)


def disk(radius: float) -> np.ndarray:
    """Returns a kernel, odd sides, whose sum is 1: a disk of `radius` pixels."""
    n = math.ceil(radius)
    fine = np.linspace(-radius, radius, 8 * n + 1)  # less than a quarter of a pixel apart
    y, x = (axis.ravel() for axis in np.meshgrid(fine, fine, indexing="ij"))
    inside = np.hypot(y, x) <= radius
    return _pixels(y[inside], x[inside], n)


def _pixels(y: np.ndarray, x: np.ndarray, n: int) -> np.ndarray:
    """Returns points as pixels from -n to n each way, whose sum is 1: each is shared out among the four around it."""
    kernel = np.zeros((2 * n + 1, 2 * n + 1))
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            weights = np.abs(1 - down - (y - i)) * np.abs(1 - right - (x - j))
            np.add.at(kernel, (np.minimum(n + i + down, 2 * n), np.minimum(n + j + right, 2 * n)), weights)
    return np.asarray(kernel / kernel.sum())


def _motion(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return convolved(x, segment(p * min(x.shape[:2]) / 4, draw.uniform(0, math.pi)))


def _defocus(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return convolved(x, disk(p * min(x.shape[:2]) / 8))


LENS = {
    "motion": of_levels("The camera moves by p/4 of the shorter side, in any direction.", _motion),
    "defocus": of_levels("A point becomes a disk, whose radius is p/8 of the shorter side.", _defocus),
}
