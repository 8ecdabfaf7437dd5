"""Series as shapes: the path at even steps, its directions, its rhythm."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.features._summary import summarise
from profuse.data.series import at_even_steps, series_rows

__all__ = ["PathFeatures"]

_WHO = "PathFeatures"
_N_POINTS, _N_STEPS, _N_DIRECTIONS, _N_PARTS = 24, 64, 8, 4
_MOST_CHANNELS = 32


class PathFeatures(Features):
    """What a series looks like, wherever it stands and however large it is; then its `summarise` in its own units.

    Of all channels together: 24 points at even steps, less the mean and divided by the size (the deviation over points
    and channels); of each, the power of the 16 lowest frequencies (logarithm) and the autocorrelation at 8 lags. Of
    the first two channels, read as a path: how far it goes into each of 8 directions, in each quarter. Series of more
    than 32 channels give points and summaries only.

    Shape:
        `[row, feature]`; NaN in absent rows.
    """

    takes = "series"

    def __init__(self) -> None:
        self._n_channels = 0

    def fit(self, data: ModalityData) -> None:
        self._n_channels = series_rows(data, None, _WHO)[0].shape[1]

    def transform(self, data: ModalityData) -> np.ndarray:
        rows = series_rows(data, self._n_channels, _WHO)
        steps = at_even_steps(rows, _N_STEPS)
        center = steps - steps.mean(1, keepdims=True)
        size = np.sqrt(np.square(center).mean((1, 2), keepdims=True))
        shape = center / np.maximum(size, 1e-12)
        points = shape[:, np.linspace(0, _N_STEPS - 1, _N_POINTS).round().astype(int)]
        parts = [points.reshape(len(rows), -1)]
        if self._n_channels <= _MOST_CHANNELS:
            parts += [_rhythm(shape), _directions(shape[..., :2])]
        x = np.concatenate([*parts, summarise(rows)], axis=1)
        x[[not len(row) for row in rows]] = np.nan
        return x

    def state(self) -> dict[str, Any]:
        return {"n_channels": self._n_channels}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._n_channels = int(state["n_channels"])
        return made


def _rhythm(shape: np.ndarray) -> np.ndarray:
    """`[row, step, channel]` -> logarithms of power and autocorrelations of each channel."""
    power = np.square(np.abs(np.fft.rfft(shape, axis=1)))
    own = np.maximum(np.square(shape).sum(1), 1e-12)
    lags = [(shape[:, k:] * shape[:, :-k]).sum(1) / own for k in (1, 2, 3, 4, 6, 8, 12, 16)]
    return np.concatenate([np.log(power[:, 1:17] + 1e-3).reshape(len(shape), -1), *lags], axis=1)


def _directions(path: np.ndarray) -> np.ndarray:
    """`[row, step, 1 or 2]` -> `[row, part * direction]`: length by direction; of one channel, time is the other."""
    if path.shape[2] == 1:
        time = np.broadcast_to(np.linspace(-1.5, 1.5, path.shape[1])[:, None], path.shape)
        path = np.concatenate([time, path], axis=2)
    step = np.diff(path, axis=1)
    length = np.hypot(step[..., 0], step[..., 1])
    place = np.arctan2(step[..., 1], step[..., 0]) * (_N_DIRECTIONS / (2 * np.pi)) % _N_DIRECTIONS
    low = np.floor(place).astype(int) % _N_DIRECTIONS
    share = place - np.floor(place)
    part = np.arange(step.shape[1]) * _N_PARTS // step.shape[1]
    out = np.zeros((len(path), _N_PARTS, _N_DIRECTIONS))
    row = np.arange(len(path))[:, None]
    np.add.at(out, (row, part, low), length * (1 - share))
    np.add.at(out, (row, part, (low + 1) % _N_DIRECTIONS), length * share)
    return out.reshape(len(path), -1)
