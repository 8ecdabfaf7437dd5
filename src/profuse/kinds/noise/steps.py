"""Noise in series `[time, channel]`. The unit is the spread of a channel over all steps of all rows; NaN stays NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.kinds.noise.corruption import Corruption, by_row, cut, run, spread

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["STEPS", "late"]


def _steps(data: ModalityData) -> np.ndarray:
    """Returns the steps of all rows, `[step, channel]`."""
    rows = [np.asarray(data.values[i]) for i in np.flatnonzero(data.present)]
    return np.concatenate(rows) if rows else np.zeros((0, 1))


def _each(data: ModalityData, draw: Generator, change: Callable[[np.ndarray, Generator], np.ndarray]) -> Any:
    def changed(row: Any, own: Generator) -> np.ndarray:
        x = np.asarray(row)
        return cut(change(x.astype(np.float64), own), x.dtype)

    return by_row(data, draw, changed)


def _white(data: ModalityData, p: float, draw: Generator) -> Any:
    unit = spread(_steps(data))
    return _each(data, draw, lambda x, own: x + p * unit * own.standard_normal(x.shape))


def _drift(data: ModalityData, p: float, draw: Generator) -> Any:
    unit = spread(_steps(data))

    def change(x: np.ndarray, own: Generator) -> np.ndarray:
        until = np.arange(1, len(x) + 1)[:, None] / len(x)
        return np.asarray(x + 2 * p * unit * until * own.choice((-1.0, 1.0), x.shape[1]))

    return _each(data, draw, change)


def _scale(data: ModalityData, p: float, draw: Generator) -> Any:
    return _each(data, draw, lambda x, own: x * (1 + p) ** own.choice((-1.0, 1.0), x.shape[1]))


def _gap(data: ModalityData, p: float, draw: Generator) -> Any:
    middle = _quantiles(_steps(data), 0.5)

    def change(x: np.ndarray, own: Generator) -> np.ndarray:
        start, stop = run(len(x), p, own)
        x[start:stop] = np.where(np.isnan(x[start:stop]), np.nan, middle)
        return x

    return _each(data, draw, change)


def _clip(data: ModalityData, p: float, draw: Generator) -> Any:
    steps = _steps(data)
    low, high = _quantiles(steps, p / 2), _quantiles(steps, 1 - p / 2)
    return _each(data, draw, lambda x, own: np.clip(x, low, high))


def _quantiles(steps: np.ndarray, q: float) -> np.ndarray:
    columns = [column[np.isfinite(column)].astype(np.float64) for column in steps.T]
    return np.array([np.quantile(c, q) if len(c) else 0.0 for c in columns])


def late(data: ModalityData, p: float, draw: Generator) -> Any:
    """Returns rows that begin p/2 of their length too early or too late; what leaves at one end enters at the other."""

    def change(row: Any, own: Generator) -> np.ndarray:
        x = np.asarray(row)
        return np.roll(x, round(p / 2 * len(x)) * int(own.choice((-1, 1))), axis=0)

    return by_row(data, draw, change)


STEPS = {
    "white": Corruption("White noise, whose deviation is p spreads, is added to each number.", _white),
    "gap": Corruption("A run of p of the steps stays at the median of each channel.", _gap),
    "drift": Corruption("An offset grows to 2p spreads at the end, up or down.", _drift),
    "clip": Corruption("The lowest and the highest p/2 of a channel's numbers are cut off.", _clip),
    "scale": Corruption("Each channel of a row is multiplied by 1 + p, or divided by it.", _scale),
    "late": Corruption("Each row begins p/2 of its length too early or too late, in a circle.", late),
}
