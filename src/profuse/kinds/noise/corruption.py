"""What a corruption is, and what all of them are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["Change", "Corruption", "RowChange", "by_row", "cut", "exchanged", "of_levels", "of_rows", "run", "spread"]

Change = Callable[["ModalityData", float, "Generator"], Any]
"""Returns new values of the rows that have the modality, for a level above 0 to 1; it changes nothing in place."""

RowChange = Callable[[np.ndarray, float, "Generator"], np.ndarray]
"""Returns one row changed, float64, for a level and with draws of its own."""


@dataclass(frozen=True)
class Corruption:
    """A kind of noise.

    Attributes:
        description: What it does at level p, in one line that ends with a full stop.
        change: Does it. What it draws must not depend on the level.
    """

    description: str
    change: Change


def spread(x: np.ndarray) -> np.ndarray:
    """Returns the interquartile range / 1.349 of each column, `[column]`; the standard deviation where that is 0.

    Numbers that are not finite are left out; a column of equal numbers, or of none, has 0.
    """
    out = np.zeros(x.shape[1])
    for j, column in enumerate(np.asarray(x, dtype=np.float64).T):
        numbers = column[np.isfinite(column)]
        if len(numbers):
            low, high = np.percentile(numbers, (25, 75))
            out[j] = (high - low) / 1.349 or numbers.std()
    return out


def cut(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns `x` as numbers of `dtype`: rounded for integers, and cut where it cannot hold them."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.asarray(np.clip(np.rint(x), limits.min, limits.max), dtype=dtype)
    largest = float(np.finfo(dtype).max)
    return np.asarray(np.clip(x, -largest, largest), dtype=dtype)


def by_row(data: ModalityData, draw: Generator, change: Callable[[Any, Generator], Any]) -> Any:
    """Returns the values with each row that is there changed; each has draws of its own."""
    values, seeds = data.values.copy(), draw.integers(2**63, size=len(data))
    for i in np.flatnonzero(data.present):
        values[i] = change(data.values[i], np.random.default_rng(seeds[i]))
    return values


def of_rows(description: str, change: RowChange) -> Corruption:
    """Returns a corruption that changes the numbers of single rows; their type stays."""

    def of(data: ModalityData, p: float, draw: Generator) -> Any:
        def changed(row: Any, own: Generator) -> np.ndarray:
            values = np.asarray(row)
            return cut(change(values.astype(np.float64), p, own), values.dtype)

        return by_row(data, draw, changed)

    return Corruption(description, of)


def of_levels(description: str, change: RowChange) -> Corruption:
    """Returns a corruption that changes single pictures or videos, whose levels are 0 to 1 for it; their type stays."""

    def of(data: ModalityData, p: float, draw: Generator) -> Any:
        def changed(row: Any, own: Generator) -> np.ndarray:
            levels = np.asarray(row)
            most = 255.0 if levels.dtype == np.uint8 else 1.0
            x = np.clip(change(levels.astype(np.float64) / most, p, own), 0.0, 1.0) * most
            return np.asarray(np.rint(x) if levels.dtype == np.uint8 else x, dtype=levels.dtype)

        return by_row(data, draw, changed)

    return Corruption(description, of)


def exchanged(hit: np.ndarray, draw: Generator) -> np.ndarray:
    """Returns `[row, column]`: from which row each cell comes, when those that are hit are exchanged within columns.

    The cells of a column that are hit stand in a circle, in random order, and each takes the next one's place: none
    stays where it is, unless it is the only one.
    """
    order = draw.random(hit.shape).argsort(axis=0)
    source = np.tile(np.arange(len(hit))[:, None], (1, hit.shape[1]))
    for j in range(hit.shape[1]):
        circle = order[hit[order[:, j], j], j]
        source[circle, j] = np.roll(circle, 1)
    return source


def run(n: int, share: float, draw: Generator) -> tuple[int, int]:
    """Returns start and stop of a run of `share` of `n` places, whose mean length is share * n.

    With the same draws, the run of a smaller share lies within that of a larger one.
    """
    rounding, place = draw.random(2)
    length = min(int(share * n + rounding), n)
    start = int(place * (n - length + 1))
    return start, start + length
