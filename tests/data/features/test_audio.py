"""Hand-made features of sounds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from profuse.data.dataset import ModalityData
from profuse.data.features.audio import LogMelFeatures
from profuse.data.preprocess.audio import LogMelPreprocessor
from profuse.tokens import Raw

RATE = 8000


def dataset(waves: list[np.ndarray | None], rate: int | None = RATE) -> ModalityData:
    values = np.empty(len(waves), dtype=object)
    for i, wave in enumerate(waves):
        values[i] = wave
    return ModalityData("audio", values, np.array([w is not None for w in waves]), rate=rate)


def noise(*lengths: int, seed: int = 0) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(scale=0.2, size=n), -1, 1) for n in lengths]


def fitted(data: ModalityData) -> LogMelFeatures:
    made = LogMelFeatures()
    made.fit(data)
    return made


def frames_of(data: ModalityData) -> Raw:
    made = LogMelPreprocessor()
    made.fit(data)
    return made.transform(data)


def test_features_are_the_coefficients_they_say() -> None:
    data = dataset([*noise(900, 4000, 2000), None])
    made = fitted(data)
    features, raw = made.transform(data), frames_of(data)
    assert features.shape == (4, 20 + 1 + 130 + 13 + 1)
    assert np.isnan(features[3]).all()
    for i in range(3):
        frames = raw.values[i][raw.mask[i]].double().numpy()
        np.testing.assert_allclose(features[i, :20], scipy.fft.dct(frames.mean(0), norm="ortho")[:20], atol=1e-6)
        rest = frames - frames.mean(0)
        deviation = np.sqrt(rest.var() + 0.05)
        assert features[i, 20] == pytest.approx(np.log(deviation))
        course = scipy.fft.dct(rest / deviation, norm="ortho", axis=1)[:, :13]
        np.testing.assert_allclose(features[i, 151:164], course.std(0), atol=1e-6)
        assert features[i, 164] == pytest.approx(np.log(len(frames)))


def test_the_course_is_told_in_tenths_of_the_recordings_time() -> None:
    data = dataset(noise(200 + 80 * 39))  # 40 frames: 4 a tenth
    frames = frames_of(data).values[0].double().numpy()
    rest = (frames - frames.mean(0)) / np.sqrt(frames.var(0).mean() + 0.05)
    tenths = scipy.fft.dct(rest, norm="ortho", axis=1)[:, :13].reshape(10, 4, 13).mean(1)
    np.testing.assert_allclose(fitted(data).transform(data)[0, 21:151], tenths.ravel(), atol=1e-6)


def test_voice_and_microphone_change_the_coefficients_of_the_mean_alone() -> None:
    wave = noise(4000)[0]
    assert wave is not None
    louder = dataset([wave * 0.5, wave])
    one, two = fitted(louder).transform(louder)
    np.testing.assert_allclose(one[20:], two[20:], atol=1e-3)
    assert np.abs(one[0] - two[0]) > 0.1


def test_rows_without_a_sound_and_no_rows_have_all_features() -> None:
    made = fitted(dataset(noise(900)))
    assert made.transform(dataset([None, None])).shape == (2, 165)
    assert made.transform(dataset([None, None]).rows(np.arange(0))).shape == (0, 165)


@pytest.mark.parametrize("n_samples", [1, 200, 280, 360, 440])
def test_features_of_very_short_recordings_are_finite(n_samples: int) -> None:
    made = fitted(dataset(noise(900, 4000)))
    assert np.isfinite(made.transform(dataset(noise(n_samples)))).all()


def test_spoken_digits_of_the_same_take_differ_by_digit() -> None:
    if "PROFUSE_DATA" not in os.environ:
        pytest.skip("PROFUSE_DATA is not set")
    soundfile = pytest.importorskip("soundfile")
    folder = Path(os.environ["PROFUSE_DATA"]) / "avmnist" / "recordings"
    waves = [soundfile.read(folder / f"{digit}_theo_{take}.wav")[0] for digit in (3, 6) for take in range(12)]
    data = dataset(waves)
    features = fitted(data).transform(data)
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    digit = np.repeat([0, 1], 12)
    distance = ((features[:, None] - features[None]) ** 2).sum(2) + np.diag(np.full(24, np.inf))
    assert (digit[distance.argmin(1)] == digit).mean() > 0.9
