"""One sound from a file; each fault is a `DataError` without a place."""

from __future__ import annotations

import wave
from math import gcd
from pathlib import Path

import numpy as np

from profuse._optional import need
from profuse.errors import DataError, MissingDependencyError

__all__ = ["AUDIO_SUFFIXES", "read_audio", "resample"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Returns float32 `[sample]` in -1..1, the mean of the channels, and the samples a second.

    Without the package soundfile (extra `audio`) only uncompressed `.wav` files are read.
    """
    try:
        soundfile = need("soundfile", "audio", "reading sound files")
    except MissingDependencyError:
        if path.suffix.lower() != ".wav":
            raise
        values, rate = _pcm(path)
    else:
        try:
            values, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (RuntimeError, OSError) as error:  # soundfile's own errors are RuntimeErrors
            raise DataError(f"the sound is broken ({error})") from error
    if len(values) == 0:
        raise DataError("the sound has no sample")
    if not np.isfinite(values).all():
        raise DataError("the sound has samples that are not finite")
    return values.mean(axis=1, dtype=np.float32), int(rate)


def _pcm(path: Path) -> tuple[np.ndarray, int]:
    """Returns `[sample, channel]` of a PCM file by the standard library."""
    try:
        with wave.open(str(path), "rb") as sound:
            width, n_channels, rate = sound.getsampwidth(), sound.getnchannels(), sound.getframerate()
            raw = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(
            f"the sound is broken or compressed ({error}); pip install 'profuse[audio]' reads more"
        ) from error
    usable = np.frombuffer(raw, dtype=np.uint8)
    usable = usable[: len(usable) // (width * n_channels) * width * n_channels]
    if width == 1:  # 8 bits are unsigned
        levels = (usable.astype(np.float32) - 128.0) / 128.0
    else:  # little-endian, put at the top of 32 bits
        padded = np.zeros((len(usable) // width, 4), dtype=np.uint8)
        padded[:, 4 - width :] = usable.reshape(-1, width)
        levels = padded.view("<i4")[:, 0].astype(np.float64) / 2.0**31
    return levels.astype(np.float32).reshape(-1, n_channels), rate


def resample(values: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """Returns the waveform at `to_rate` samples a second, by a polyphase filter (`scipy.signal.resample_poly`)."""
    from scipy.signal import resample_poly

    common = gcd(rate, to_rate)
    return np.asarray(resample_poly(values, to_rate // common, rate // common), dtype=np.float32)
