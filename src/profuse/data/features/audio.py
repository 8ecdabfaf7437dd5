"""Sounds as statistics of log-mel bands and cepstral coefficients."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.preprocess.audio import LogMelPreprocessor

__all__ = ["LogMelFeatures"]

_N_MEANS = 20
_N_CEPSTRAL = 13
_N_SEGMENTS = 10
_N_POINTS = 4
_LEAST_VARIANCE = 0.05


class LogMelFeatures(Features):
    """Cepstral coefficients of a recording's mean, and of the course about that mean, in equal parts of its time.

    From each frame of log-mel bands the recording's mean is taken, and the rest divided by the recording's deviation
    (one number for all bands): voice, room and microphone stand in the mean, what is said or happens in the rest. Of
    both the orthonormal cosine transform over the bands is taken. In order: 20 coefficients of the mean; the logarithm
    of the deviation; of 13 coefficients of the rest, the means of each tenth of the recording's time (4 points each,
    between frames linearly), then their deviations; the logarithm of the number of frames.

    Shape:
        `[row, 20 + 1 + 10 * 13 + 13 + 1]`, fewer where there are fewer bands; NaN in absent rows.

    Reference:
        Davis and Mermelstein 1980, Comparison of parametric representations for monosyllabic word recognition; Viikki
        and Laurila 1998, Cepstral domain segmental feature vector normalization.
    """

    takes = "audio"

    def __init__(self) -> None:
        self._frames = LogMelPreprocessor()

    def fit(self, data: ModalityData) -> None:
        self._frames.fit(data)

    def transform(self, data: ModalityData) -> NDArray[np.float64]:
        raw = self._frames.transform(data)
        n_bands = self._frames.spec.n_channels
        width = min(_N_MEANS, n_bands) + (_N_SEGMENTS + 1) * min(_N_CEPSTRAL, n_bands) + 2
        features = np.full((len(data), width), np.nan)
        for i in np.flatnonzero(data.present).tolist():
            features[i] = _described(raw.values[i, raw.mask[i]].double().numpy())
        return features

    def state(self) -> dict[str, Any]:
        return self._frames.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._frames = LogMelPreprocessor.from_state(state)
        return made


def _described(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """`frames[frame, mel]` of one recording -> `[feature]`."""
    mean = frames.mean(0)
    deviation = np.sqrt(np.square(frames - mean).mean() + _LEAST_VARIANCE)
    course = dct((frames - mean) / deviation, norm="ortho", axis=1)[:, :_N_CEPSTRAL]
    at = np.linspace(0, len(frames) - 1, _N_SEGMENTS * _N_POINTS)
    points = np.stack([np.interp(at, np.arange(len(frames)), c) for c in course.T], axis=1)
    parts = points.reshape(_N_SEGMENTS, _N_POINTS, -1).mean(1)
    numbers = [np.log(deviation)], parts.ravel(), course.std(0), [np.log(len(frames))]
    return np.concatenate([dct(mean, norm="ortho")[:_N_MEANS], *numbers])
