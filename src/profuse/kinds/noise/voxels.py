"""Noise in volumes `[depth, height, width, channel]`. The unit is the deviation of a volume's own levels, by channel.

Reference:
    Hendrycks and Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations; Perez
    Garcia et al. 2021, TorchIO (bias fields and motion of scans).

*Differs from the papers*: levels are continuous, and sizes are shares of a volume's side, whatever its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from profuse.kinds.noise.corruption import of_rows, run

if TYPE_CHECKING:
    from numpy.random import Generator


__all__ = ["VOXELS"]


def _white(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    return np.asarray(x + p * x.std(axis=(0, 1, 2)) * draw.standard_normal(x.shape))


def _covered(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    places = [slice(*run(n, (p / 2) ** (1 / 3), draw)) for n in x.shape[:3]]
    x[tuple(places)] = x.mean(axis=(0, 1, 2))
    return x


def _gap(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    start, stop = run(x.shape[0], p, draw)
    x[start:stop] = x.mean(axis=(0, 1, 2))
    return x


def _blur(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    deviations = [p * n / 10 for n in x.shape[:3]]
    return np.asarray(gaussian_filter(x, (*deviations, 0), mode="nearest"))


def _contrast(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    middle = x.mean(axis=(0, 1, 2))
    return np.asarray(middle + (1 - 0.95 * p) * (x - middle))


def _bias(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    slope = draw.standard_normal(3)
    slope /= np.abs(slope).sum()
    field = sum(
        s * np.linspace(-1, 1, n).reshape([-1 if axis == i else 1 for axis in range(4)])
        for i, (s, n) in enumerate(zip(slope, x.shape[:3], strict=True))
    )
    low = x.min(axis=(0, 1, 2))
    return np.asarray(low + (x - low) * np.exp(p * field))


def _shifted(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    direction = draw.standard_normal(3)
    for axis, share in enumerate(direction / np.linalg.norm(direction)):
        n = x.shape[axis]
        x = np.take(x, np.clip(np.arange(n) + round(p / 2 * float(share) * n), 0, n - 1), axis=axis)
    return x


VOXELS = {
    "white": of_rows("White noise, whose deviation is p of that of the levels, is added to each voxel.", _white),
    "covered": of_rows("A box of p/2 of the volume has its mean level.", _covered),
    "gap": of_rows("A run of p of the slices has the mean level.", _gap),
    "blur": of_rows("A Gaussian blur, whose deviation is p/10 of each side.", _blur),
    "contrast": of_rows("Contrast is 1 - .95p of what it was.", _contrast),
    "bias": of_rows("Levels grow along a direction, up to exp(p) times at its end, and fall behind.", _bias),
    "shifted": of_rows(
        "The volume is moved by p/2 of its side in any direction; its edge fills what is left.", _shifted
    ),
}
