"""Sounds as statistics of log-mel bands and cepstral coefficients."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.preprocess.audio import LogMelPreprocessor

__all__ = ["LogMelFeatures"]

_CHUNK_VALUES = 1 << 22  # numbers of frames held at once: 32 MB
_QUANTILES = (0.1, 0.5, 0.9)
_N_CEPSTRAL = 13
_N_SEGMENTS = 4


class LogMelFeatures(Features):
    """Statistics over time of the bands, of 13 cepstral coefficients and of their differences.

    For each band: mean, deviation, smallest, largest, quantiles .1, .5, .9; for each coefficient (the orthonormal
    cosine transform of the bands): deviation, mean of each quarter of the recording, and mean size and deviation of its
    differences from frame to frame; and the logarithm of the number of frames.

    Shape:
        `[row, 7 n_mels + 7 * 13 + 1]`; NaN in absent rows.
    """

    takes = "audio"

    def __init__(self) -> None:
        self._frames = LogMelPreprocessor()

    def fit(self, data: ModalityData) -> None:
        self._frames.fit(data)

    def transform(self, data: ModalityData) -> NDArray[np.float64]:
        raw = self._frames.transform(data)
        n_cepstral = min(_N_CEPSTRAL, self._frames.spec.n_channels)
        n_features = (4 + len(_QUANTILES)) * self._frames.spec.n_channels + (3 + _N_SEGMENTS) * n_cepstral + 1
        features = np.full((len(data), n_features), np.nan)
        step = max(1, _CHUNK_VALUES // raw.values[0].numel()) if len(data) else 1
        index = np.flatnonzero(data.present)
        for start in range(0, len(index), step):
            rows = torch.from_numpy(index[start : start + step])
            values, mask = raw.values[rows].double().numpy(), raw.mask[rows].numpy()
            features[rows.numpy()] = _statistics(values, mask, n_cepstral)
        return features

    def state(self) -> dict[str, Any]:
        return self._frames.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._frames = LogMelPreprocessor.from_state(state)
        return made


def _statistics(values: NDArray[np.float64], mask: NDArray[np.bool_], n_cepstral: int) -> NDArray[np.float64]:
    """`values[row, frame, mel]`, `mask[row, frame]` with real frames first -> `[row, feature]`."""
    length = mask.sum(1)
    real = mask[..., None]

    def mean_std(x: NDArray[np.float64], m: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n = np.maximum(m.sum(1), 1)
        mean = np.where(m, x, 0).sum(1) / n
        return mean, np.sqrt(np.where(m, (x - mean[:, None]) ** 2, 0).sum(1) / n)

    ordered = np.sort(np.where(real, values, np.inf), axis=1)
    quantiles = []
    for q in _QUANTILES:
        place = q * (length - 1)
        low = np.floor(place).astype(np.int64)
        high = np.ceil(place).astype(np.int64)
        a, b = (np.take_along_axis(ordered, k[:, None, None], axis=1)[:, 0] for k in (low, high))
        quantiles.append(a + (b - a) * (place - low)[:, None])
    smallest = ordered[:, 0]
    largest = np.take_along_axis(ordered, (length - 1)[:, None, None], axis=1)[:, 0]

    cepstral = dct(values, type=2, norm="ortho", axis=2)[..., :n_cepstral]
    segment = np.arange(values.shape[1]) * _N_SEGMENTS // length[:, None]  # a quarter of each row's own length
    means = []
    for part in range(_N_SEGMENTS):
        # a recording of fewer frames than segments: the nearest frame stands for an empty segment
        inside = (segment == part) & mask
        nearest = np.arange(values.shape[1]) == (part * length // _N_SEGMENTS)[:, None]
        inside = np.where(inside.any(1, keepdims=True), inside, nearest)
        means.append(mean_std(cepstral, inside[..., None])[0])
    change = np.diff(cepstral, axis=1)
    pairs = mask[:, 1:, None]
    return np.concatenate(
        [
            *mean_std(values, real),
            smallest,
            largest,
            *quantiles,
            mean_std(cepstral, real)[1],
            *means,
            mean_std(np.abs(change), pairs)[0],
            mean_std(change, pairs)[1],
            np.log(length)[:, None],
        ],
        axis=1,
    )
