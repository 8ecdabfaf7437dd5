"""Noise in columns of numbers `[row, column]`: those of vectors, and the numbers of a table. NaN stays NaN.

The numbers of several rows are one column; the unit is its `spread` over the rows that have the modality.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from profuse.errors import ConfigError
from profuse.kinds.noise.corruption import Corruption, cut, exchanged, spread

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["ARRAYS", "VECTORS", "drift", "mistyped", "scale", "shuffled", "white"]


def white(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    """Returns x + p spread N(0, 1)."""
    return np.asarray(x + p * spread(x) * draw.standard_normal(x.shape))


def drift(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    """Returns x with each column shifted by 2p of its spread, up or down."""
    return np.asarray(x + 2 * p * spread(x) * draw.choice((-1.0, 1.0), x.shape[1]))


def scale(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    """Returns x with each column multiplied by 1 + p, or divided by it."""
    return np.asarray(x * (1 + p) ** draw.choice((-1.0, 1.0), x.shape[1]))


def shuffled(filled: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    """Returns `[row, column]`: from which row each cell comes. A filled one takes part with probability p."""
    return exchanged((draw.random(filled.shape) < p) & filled, draw)


_LEAST = 1e-290  # what is smaller has no digits


def mistyped(x: np.ndarray, p: float, draw: Generator) -> np.ndarray:
    """Returns x with numbers, each with probability p, that have one digit changed or the point moved by one place.

    A digit is one of the first three, and not behind the point in a column of whole numbers.
    """
    hit, which, where, step = draw.random((4, *x.shape))
    size = np.where(np.abs(x) < _LEAST, 0.0, np.abs(x))
    whole = np.array([_are_whole(column) for column in x.T], dtype=bool)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        first = np.floor(np.log10(np.where(size > 0, size, 1.0)))
        lowest = np.where(whole, np.maximum(first - 2, 0), first - 2)
        unit = 10.0 ** np.minimum(np.floor(lowest + where * (first - lowest + 1)), first)
        digit = np.floor(size / unit) % 10
        typed = np.sign(np.where(x == 0, 1.0, x)) * (size + ((digit + 1 + np.floor(9 * step)) % 10 - digit) * unit)
        moved = x * np.where(step < 0.5, 10.0, 0.1)
    moved = np.where(whole, np.where(x == 0, typed, np.trunc(moved)), moved)
    return np.where((hit < p) & np.isfinite(x), np.where((which < 0.5) & (moved != x), moved, typed), x)


def _are_whole(column: np.ndarray) -> bool:
    numbers = column[np.isfinite(column)]
    return bool((numbers == np.trunc(numbers)).all())


def _columns(data: ModalityData, new: np.ndarray) -> np.ndarray:
    """Returns the values with `new` in the rows that are there, where they are numbers."""
    values = data.values.copy()
    values[data.present] = cut(new, values.dtype)
    return np.asarray(values)


def _white(data: ModalityData, p: float, draw: Generator) -> np.ndarray:
    return _columns(data, white(data.values[data.present], p, draw))


def _drift(data: ModalityData, p: float, draw: Generator) -> np.ndarray:
    return _columns(data, drift(data.values[data.present], p, draw))


def _scale(data: ModalityData, p: float, draw: Generator) -> np.ndarray:
    return _columns(data, scale(data.values[data.present], p, draw))


def _shuffled(data: ModalityData, p: float, draw: Generator) -> np.ndarray:
    x = data.values[data.present]
    return _columns(data, np.take_along_axis(x, shuffled(~np.isnan(x), p, draw), 0))


def _mistyped(data: ModalityData, p: float, draw: Generator) -> np.ndarray:
    return _columns(data, mistyped(data.values[data.present].astype(np.float64), p, draw))


VECTORS = {
    "white": Corruption("White noise, whose deviation is p spreads, is added to each number.", _white),
    "shuffled": Corruption("Each number, with probability p, changes places with that of another row.", _shuffled),
    "drift": Corruption("Each channel is shifted by 2p spreads, up or down, in all rows.", _drift),
    "scale": Corruption("Each channel is multiplied by 1 + p, or divided by it, in all rows.", _scale),
    "mistyped": Corruption("Each number, with probability p, has a digit changed or its point moved.", _mistyped),
}


def _any_white(data: ModalityData, p: float, draw: Generator) -> np.ndarray:
    """Adds p spreads of all numbers of all rows."""
    rows = [np.asarray(data.values[i]) for i in np.flatnonzero(data.present)]
    if odd := next((row.dtype for row in rows if not np.issubdtype(row.dtype, np.number)), None):
        raise ConfigError(
            f"kind {data.kind!r}: rows must be arrays of numbers to get white noise; got dtype {odd}. Name corruptions "
            "of its own in the kind."
        )
    numbers = np.concatenate([row.ravel() for row in rows])
    unit = float(spread(numbers[:, None])[0])
    values, seeds = data.values.copy(), draw.integers(2**63, size=len(data))
    for i, row in zip(np.flatnonzero(data.present), rows, strict=True):
        noise = np.random.default_rng(seeds[i]).standard_normal(row.shape)
        values[i] = cut(row + p * unit * noise, row.dtype)
    return np.asarray(values)


ARRAYS = {"white": Corruption("White noise, whose deviation is p spreads, is added to each number.", _any_white)}
"""Of rows that are arrays of numbers of any shape: what a kind has that names none."""
