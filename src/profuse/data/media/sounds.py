"""One sound from a file; each fault is a `DataError` without a place."""

from __future__ import annotations

from io import BytesIO
from math import gcd
from pathlib import Path

import numpy as np

from profuse._files import check_size
from profuse._optional import need
from profuse.data.media.ogg_and_mp3 import check_mp3, check_ogg
from profuse.data.media.source import Tell, read_bytes, warn
from profuse.data.media.wav import check_aiff, check_au, pcm, read_wav
from profuse.errors import DataError, MissingDependencyError

__all__ = ["AUDIO_SUFFIXES", "LOUDEST", "check_waveform", "full_scale", "read_audio", "resample"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")

LOUDEST = 100.0
"""No sample may be larger, where full scale is 1: 40 dB above it."""

_RATES = (100, 1_000_000)
_MOST_CHANNELS = 1024
_BLOCK = 1 << 20  # samples decoded at once

_SUFFIXES = {
    "WAV": (".wav",),
    "AIFF": (".aiff", ".aif"),
    "AU": (".au",),
    "FLAC": (".flac",),
    "Ogg": (".ogg", ".opus"),
    "MP3": (".mp3",),
}
_CHECKS = {"AIFF": check_aiff, "AU": check_au, "Ogg": check_ogg, "MP3": check_mp3}


def read_audio(path: Path, *, tell: Tell = warn) -> tuple[np.ndarray, int]:
    """Returns float32 `[sample]`, the mean of the channels, full scale -1..1, and the samples a second.

    Without the package soundfile (extra `audio`) only `.wav` files of PCM or floats are read.

    Args:
        path: A WAV, AIFF, AU, FLAC, Ogg or MP3 file, told by its bytes.
        tell: Called with what could be doubted: a header without a length, a name of another format.

    Raises:
        DataError: It is none, it is cut off as far as its format can show that, it is damaged, it takes too much
            memory, or a sample is not finite or beyond `LOUDEST`.
        MissingDependencyError: Another format than WAV, without soundfile.
    """
    data = read_bytes(path)
    kind = _format(data)
    suffix = path.suffix.lower()
    if kind is None:
        raise DataError(f"the sound is broken, or none of {', '.join(_SUFFIXES)}: its first bytes are {data[:4]!r}")
    if suffix in AUDIO_SUFFIXES and suffix not in _SUFFIXES[kind]:
        tell(f"the file is {kind} under a name that ends in {suffix}")
    wav = read_wav(data, tell) if kind == "WAV" else None
    if wav is not None and wav.is_plain:
        _check_header(wav.rate, wav.n_channels)
        check_size(4 * len(wav.samples) // wav.width, "the sound")
        values, rate = pcm(wav), wav.rate
    else:
        try:
            need("soundfile", "audio", "reading sound files")
        except MissingDependencyError as error:
            if kind != "WAV":
                raise
            raise DataError("the sound is compressed; pip install 'profuse[audio]' reads more") from error
        if kind in _CHECKS:
            _CHECKS[kind](data, tell)
        values, rate = _decode(data)
    if len(values) == 0:
        raise DataError("the sound has no sample")
    mono = values.mean(axis=1, dtype=np.float32) if values.shape[1] > 1 else values[:, 0]
    check_waveform(values)
    return mono, rate


def check_waveform(values: np.ndarray) -> None:
    """Checks that samples are finite and none is beyond `LOUDEST`.

    Raises:
        DataError: One is not.
    """
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argwhere(~finite)[0][0])
        raise DataError(
            f"the sound has {int((~finite).sum())} samples that are not finite, the first at sample {first}"
        )
    largest = float(np.abs(values).max(initial=0.0))
    if largest > LOUDEST:
        raise DataError(
            f"the samples must lie within -{LOUDEST:g} to {LOUDEST:g}, where full scale is 1; got {largest:g} at most. "
            "Divide them by their full scale (32768 for numbers of 16 bits)"
        )


def full_scale(values: np.ndarray) -> np.ndarray:
    """Returns samples of 8 bits (unsigned), 16 or 32 bits with full scale -1..1; others as they are."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128.0) / 128.0
    if values.dtype in (np.int16, np.int32):
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    return values


def _format(data: bytes) -> str | None:
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:  # a tag before the sound
        size = data[start + 6 : start + 10]
        start += 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3]) + (10 if data[start + 5] & 16 else 0)
    head = data[start : start + 12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return "WAV"
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return "AIFF"
    for magic, name in ((b".snd", "AU"), (b"dns.", "AU"), (b"fLaC", "FLAC"), (b"OggS", "Ogg")):
        if head.startswith(magic):
            return name
    sync = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 6
    return "MP3" if start or sync else None


def _check_header(rate: int, n_channels: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise DataError(f"the sound must have {_RATES[0]} to {_RATES[1]:,} samples a second; its header tells {rate:,}")
    if not 1 <= n_channels <= _MOST_CHANNELS:
        raise DataError(f"the sound must have 1 to {_MOST_CHANNELS} channels; its header tells {n_channels}")


def _decode(data: bytes) -> tuple[np.ndarray, int]:
    """Returns float32 `[sample, channel]` by soundfile, a block at a time: a header may lie about the length."""
    import soundfile

    parts: list[np.ndarray] = []
    n_read = 0
    try:
        with soundfile.SoundFile(BytesIO(data)) as sound:
            rate, n_channels, n_frames = sound.samplerate, sound.channels, sound.frames
            _check_header(rate, n_channels)
            known = 0 <= n_frames < 1 << 60
            if known:
                check_size(4.0 * n_frames * n_channels, "the sound")
            while len(part := sound.read(max(1, _BLOCK // n_channels), dtype="float32", always_2d=True)):
                n_read += len(part)
                check_size(4.0 * n_read * n_channels, "the sound")
                parts.append(part)
            is_mp3 = sound.format == "MP3"
    except DataError:
        raise
    except (RuntimeError, OSError, ValueError, TypeError, MemoryError, AssertionError) as error:  # of the decoder
        reason = str(error).rpartition(": ")[2].rstrip(".")  # before it stands where the bytes are kept
        raise DataError(f"the sound is broken ({reason})") from error
    if known and not is_mp3 and n_read < n_frames:
        raise DataError(f"the sound is cut off or damaged: {n_read} of {n_frames} samples can be read")
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32), rate


def resample(values: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """Returns the waveform at `to_rate` samples a second, by a polyphase filter (`scipy.signal.resample_poly`)."""
    from scipy.signal import resample_poly

    if rate == to_rate:
        return values
    check_size(8.0 * len(values) * to_rate / rate, f"the sound at {to_rate} Hz")
    common = gcd(rate, to_rate)
    return np.asarray(resample_poly(values, to_rate // common, rate // common), dtype=np.float32)
