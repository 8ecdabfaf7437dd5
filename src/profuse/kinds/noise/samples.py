"""Noise in sounds `[sample]`. The unit is a recording's root mean square: level 1 of white noise is 0 dB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.kinds.noise.corruption import Corruption, by_row, run
from profuse.kinds.noise.steps import late

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["SAMPLES"]


def _each(data: ModalityData, draw: Generator, change: Callable[[np.ndarray, Generator], np.ndarray]) -> Any:
    """Sounds stay within full scale, or as loud as they were."""

    def changed(row: Any, own: Generator) -> np.ndarray:
        x = np.asarray(row)
        most = max(1.0, float(np.nanmax(np.abs(x), initial=0.0)))
        return np.asarray(np.clip(change(x.astype(np.float64), own), -most, most), dtype=x.dtype)

    return by_row(data, draw, changed)


def _loudness(x: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(x**2)))


def _white(data: ModalityData, p: float, draw: Generator) -> Any:
    return _each(data, draw, lambda x, own: x + p * _loudness(x) * own.standard_normal(x.shape))


def _gap(data: ModalityData, p: float, draw: Generator) -> Any:
    def change(x: np.ndarray, own: Generator) -> np.ndarray:
        start, stop = run(len(x), p, own)
        x[start:stop] = 0.0
        return x

    return _each(data, draw, change)


def _drift(data: ModalityData, p: float, draw: Generator) -> Any:
    def change(x: np.ndarray, own: Generator) -> np.ndarray:
        until = np.arange(1, len(x) + 1) / len(x)
        return np.asarray(x + 2 * p * _loudness(x) * until * own.choice((-1.0, 1.0)))

    return _each(data, draw, change)


def _clip(data: ModalityData, p: float, draw: Generator) -> Any:
    def change(x: np.ndarray, own: Generator) -> np.ndarray:
        limit = float(np.nanquantile(np.abs(x), 1 - p))
        return np.asarray(np.clip(x, -limit, limit))

    return _each(data, draw, change)


def _scale(data: ModalityData, p: float, draw: Generator) -> Any:
    return _each(data, draw, lambda x, own: x / (1 + 9 * p))


SAMPLES = {
    "white": Corruption("White noise p times as loud as the recording (root mean square) is added.", _white),
    "gap": Corruption("A run of p of the samples is silent.", _gap),
    "drift": Corruption("An offset grows to 2p times the recording's root mean square at the end.", _drift),
    "clip": Corruption("The loudest p of the samples are cut to the loudness of the next one.", _clip),
    "scale": Corruption("The recording is 1 + 9p times quieter, 20 dB at level 1.", _scale),
    "late": Corruption("Each row begins p/2 of its length too early or too late, in a circle.", late),
}
