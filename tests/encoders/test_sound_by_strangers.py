"""A made task: calls recorded by devices of different response, pitch and noise, some of which training never hears."""

from __future__ import annotations

import numpy as np
import pytest

from profuse import FusionClassifier

RATE, N_DEVICES, N_CALLS = 4000, 7, 32


def call(kind: int, pitch: float, seconds: float) -> np.ndarray:
    """A tone and its octave that rise, fall, stay or waver."""
    t = np.arange(int(RATE * seconds)) / RATE
    part = t / seconds
    hertz = (1 + 0.5 * part, 1.5 - 0.5 * part, 1.25 + 0 * t, 1.25 + 0.25 * np.sin(4 * np.pi * t))[kind]
    phase = 2 * np.pi * np.cumsum(700 * pitch * hertz) / RATE
    wave: np.ndarray = (np.sin(phase) + 0.5 * np.sin(2 * phase)) * np.sqrt(np.hanning(len(t)))
    return wave


def recordings(seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Waves, kinds and devices. Each device has a smooth response, a pitch and a level of noise of its own."""
    draw = np.random.default_rng(seed)
    waves, kinds, devices = [], [], []
    for device in range(N_DEVICES):
        gains, hiss, pitch = draw.normal(0, 1, 6), 10 ** draw.uniform(-3, -1.7), np.exp(draw.normal(0, 0.08))
        for i in range(N_CALLS):
            wave = call(i % 4, pitch * np.exp(draw.normal(0, 0.05)), 0.4 * np.exp(draw.normal(0, 0.2)))
            spectrum = np.fft.rfft(wave)
            spectrum *= np.exp(np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), gains))
            wave = np.pad(np.fft.irfft(spectrum, len(wave)), draw.integers(0, 600, 2))
            wave = 0.5 * wave / np.abs(wave).max() + hiss * draw.standard_normal(len(wave))
            waves.append(np.clip(wave, -1, 1).astype(np.float32))
            kinds.append(i % 4)
            devices.append(device)
    return waves, np.array(kinds), np.array(devices)


@pytest.mark.slow
def test_calls_by_devices_that_training_never_heard_are_told_apart() -> None:
    waves, kinds, devices = recordings(0)
    train, test = (np.flatnonzero(rows) for rows in (devices < 5, devices >= 5))
    model = FusionClassifier(epochs=24, patience=24, random_state=0)
    model.fit({"call": [waves[i] for i in train]}, kinds[train], groups=devices[train], rates={"call": RATE})
    assert (model.predict({"call": [waves[i] for i in test]}) == kinds[test]).mean() > 0.85
