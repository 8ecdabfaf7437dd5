"""Hand-made features of sounds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.fft

from profuse.data.dataset import ModalityData
from profuse.data.features import audio
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


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset([*noise(900, 4000, 150, 2222, 3999, 800), None])
    made = fitted(data)
    whole = made.transform(data)
    monkeypatch.setattr(audio, "_CHUNK_VALUES", 1)
    np.testing.assert_allclose(made.transform(data), whole, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_features_are_the_statistics_they_say() -> None:
    data = dataset([*noise(900, 4000, 2000), None])
    made = fitted(data)
    features, raw = made.transform(data), frames_of(data)
    assert features.shape == (4, 7 * 40 + 7 * 13 + 1)
    assert np.isnan(features[3]).all()
    for i in range(3):
        frames = raw.values[i][raw.mask[i]].double().numpy()
        bands = [frames.mean(0), frames.std(0), frames.min(0), frames.max(0), *np.quantile(frames, [0.1, 0.5, 0.9], 0)]
        np.testing.assert_allclose(features[i, :280], np.concatenate(bands), atol=1e-6)
        cepstral = scipy.fft.dct(frames, norm="ortho", axis=1)[:, :13]
        np.testing.assert_allclose(features[i, 280:293], cepstral.std(0), atol=1e-6)
        change = np.diff(cepstral, axis=0)
        np.testing.assert_allclose(features[i, 345:358], np.abs(change).mean(0), atol=1e-6)
        np.testing.assert_allclose(features[i, 358:371], change.std(0), atol=1e-6)
        assert features[i, 371] == pytest.approx(np.log(len(frames)))


@pytest.mark.parametrize("n_samples", [1, 200, 280, 360, 440])
def test_features_of_very_short_recordings_are_finite(n_samples: int) -> None:
    made = fitted(dataset(noise(900, 4000)))
    assert np.isfinite(made.transform(dataset(noise(n_samples)))).all()


def test_cepstral_means_are_those_of_the_quarters() -> None:
    data = dataset(noise(200 + 80 * 7))  # 8 frames: 2 a quarter
    cepstral = scipy.fft.dct(frames_of(data).values[0].double().numpy(), norm="ortho", axis=1)[:, :13]
    quarters = cepstral.reshape(4, 2, 13).mean(1).ravel()
    np.testing.assert_allclose(fitted(data).transform(data)[0, 293:345], quarters, atol=1e-6)


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
