"""One picture, sound or series from a file or a cell; each fault is a `DataError` without a place.

Who calls knows row and column and tells them.
"""

from __future__ import annotations

import json
import wave
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from profuse._optional import need
from profuse.errors import DataError, MissingDependencyError

__all__ = [
    "AUDIO_SUFFIXES",
    "IMAGE_SUFFIXES",
    "SERIES_SUFFIXES",
    "read_audio",
    "read_image",
    "read_series",
    "resample",
    "to_float32",
    "to_image",
    "to_numbers",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")
SERIES_SUFFIXES = (".npy", ".csv", ".tsv")

LARGEST_SIDE = 512
"""Pictures from files are shrunk to this many pixels, so that a folder of photographs fits into memory."""


def read_image(path: Path) -> tuple[np.ndarray, bool]:
    """Returns the picture as uint8 `[height, width, 1 or 3]`, upright, transparency over white; and if it was shrunk.

    A picture of 16 bits is divided by 257. One with a side above `LARGEST_SIDE` pixels is shrunk to it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            picture.load()
            return to_image(picture), max(picture.size) > LARGEST_SIDE
    except UnidentifiedImageError:
        raise DataError("it is no picture that Pillow can read") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the picture is broken ({error})") from error


def to_image(picture: Any) -> np.ndarray:
    """Returns uint8 `[height, width, 1 or 3]` from a Pillow picture; see `read_image`."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        levels = np.asarray(upright, dtype=np.float64)
        top = 65535.0 if upright.mode != "F" else 255.0
        if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > top:
            raise DataError(f"its grey levels must lie in 0..{top:.0f}; got mode {upright.mode}")
        upright = Image.fromarray(np.round(levels * (255.0 / top)).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")
    upright = upright.convert("L" if upright.mode in ("1", "L") else "RGB")
    if max(upright.size) > LARGEST_SIDE:
        upright.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    values = np.asarray(upright, dtype=np.uint8)
    return values[..., None] if values.ndim == 2 else values


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


def read_series(path: Path) -> np.ndarray:
    """Returns float32 `[time, channel]` from a `.npy` file or a table of numbers (`.csv`, `.tsv`; a line of names
    is skipped). NaN = a missing number.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise DataError("the array is broken, or holds Python objects, which are not read") from error
        if not isinstance(values, np.ndarray):
            values.close()
            raise DataError("it is an archive of arrays, not one array")
        return _series(values)
    if suffix not in SERIES_SUFFIXES:
        raise DataError(f"a series file must be one of {', '.join(SERIES_SUFFIXES)}")
    import pandas as pd

    try:
        frame = pd.read_csv(path, header=None, sep="\t" if suffix == ".tsv" else ",", skip_blank_lines=True, dtype=str)
        cells = frame.to_numpy(dtype=object, na_value="nan")
        try:
            return _series(cells.astype(np.float64))
        except (TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            return _series(cells[1:].astype(np.float64))  # the first line names the channels
    except DataError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the series must be a table of numbers ({error})") from error


def to_numbers(cell: Any) -> np.ndarray | None:
    """Returns the numbers of a list cell (a list, an array, or its JSON text), NaN for null; None if it is empty."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except json.JSONDecodeError as error:
            raise DataError(f"the list is no JSON ({error})") from error
    if hasattr(cell, "detach"):  # a torch tensor, without importing torch
        cell = cell.detach().cpu().numpy()
    if not isinstance(cell, (list, tuple, np.ndarray)):
        raise DataError(f"it must be a list of numbers; got {type(cell).__name__}")
    if len(cell) == 0:
        return None
    if isinstance(cell, np.ndarray) and cell.dtype == object:
        cell = cell.tolist()
    if isinstance(cell, (list, tuple)):
        cell = [list(c) if isinstance(c, np.ndarray) else c for c in cell]
    try:
        return np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("it must be a list of numbers, or of lists of one length") from error


def _series(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise DataError(f"the series must hold numbers; got type {values.dtype}")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0:
        raise DataError(f"the series must be [time] or [time, channel] and not empty; got shape {values.shape}")
    if np.isinf(values).any():
        raise DataError(
            f"the series must be finite; infinite at step {int(np.flatnonzero(np.isinf(values).any(1))[0])}"
        )
    return to_float32(values)


def to_float32(values: np.ndarray) -> np.ndarray:
    """Returns the numbers as float32; one that is finite and too large for it is an error."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if np.isinf(narrow).any() and not np.isinf(values).any():
        largest = float(np.nanmax(np.abs(values)))
        raise DataError(f"numbers must be at most 3.4e38 in size; got {largest:g}")
    return narrow
