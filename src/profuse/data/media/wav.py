"""Headers of WAV, AIFF and AU files, whose sizes tell what was cut off, and the samples of plain WAV files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from profuse.data.media.source import Tell
from profuse.errors import DataError

__all__ = ["Wav", "check_aiff", "check_au", "pcm", "read_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN = 0x7FFF0000  # sizes from here on are written by programs that stream
_MOST_CHUNKS = 10_000


@dataclass(frozen=True)
class Wav:
    """What the header of a WAV file tells, and the bytes of its samples.

    Attributes:
        code: The format: 1 PCM, 3 floats, others compressed.
        n_channels: Its channels.
        rate: Samples a second.
        width: Bytes of one sample.
        order: Order of the bytes.
        samples: The bytes of whole samples.
    """

    code: int
    n_channels: int
    rate: int
    width: int
    order: Literal["<", ">"]
    samples: bytes

    @property
    def is_plain(self) -> bool:
        """Whether `pcm` reads it."""
        return (self.code == _PCM and self.width <= 4) or (self.code == _FLOAT and self.width in (4, 8))


def read_wav(data: bytes, tell: Tell) -> Wav:
    """Returns header and samples of a RIFF, RIFX, RF64 or BW64 file of WAVE.

    A size of 0 or beyond 2 GiB that the file does not have is what programs write who stream and never learn it:
    such a file is read to its end, and told.

    Raises:
        DataError: The header contradicts itself, or the file ends before its sound does.
    """
    order: Literal["<", ">"] = ">" if data[:4] == b"RIFX" else "<"
    whole = struct.unpack_from(order + "I", data, 4)[0]
    fmt: tuple[int, ...] | None = None
    long_size: int | None = None
    for name, start, size in _chunks(data, 12, order):
        if name == b"ds64" and len(data) >= start + 16:
            long_size = struct.unpack_from("<Q", data, start + 8)[0]
        if name == b"fmt ":
            if size < 16 or len(data) < start + size:
                raise DataError("the sound is broken: its header is too short")
            fmt = struct.unpack_from(order + "HHIIHH", data, start)
            if fmt[0] == _EXTENSIBLE and size >= 26:
                fmt = (struct.unpack_from(order + "H", data, start + 24)[0], *fmt[1:])
        if name == b"data":
            if fmt is None:
                raise DataError("the sound is broken: its samples stand before their header")
            if size == 0xFFFFFFFF and long_size is not None:
                size = long_size
            return _with_samples(data, start, size, whole, fmt, order, tell)
    raise DataError("the sound is broken: it is cut off before its samples, or has none")


def _with_samples(
    data: bytes, start: int, size: int, whole: int, fmt: tuple[int, ...], order: Literal["<", ">"], tell: Tell
) -> Wav:
    code, n_channels, rate, _, block, bits = fmt
    there = len(data) - start
    unknown = size > there and size >= _UNKNOWN
    if size == 0 and there and not (whole + 8 == len(data) and _is_chunks(data, start, order)):
        unknown = True
    if unknown:
        size = there
        tell("the header of the sound does not tell its length, as programs write it who stream; it is read to its end")
    if size > there:
        raise DataError(f"the sound is cut off: the file holds {there:,} of the {size:,} bytes that its header tells")
    if n_channels == 0 or block == 0:
        raise DataError(
            f"the sound is broken: its header tells {n_channels} channels and {block} bytes for a sample of them all"
        )
    width = block // n_channels
    if code in (_PCM, _FLOAT) and (block % n_channels or not 1 <= width <= 8 or not 0 < bits <= 8 * width):
        raise DataError(
            f"the sound is broken: its header tells {n_channels} channels, {block} bytes for a sample of them all and "
            f"{bits} bits"
        )
    rest = size % block
    if rest and unknown:
        raise DataError(f"the sound is cut off: it ends within a sample, after {rest} of {block} bytes")
    if rest and code in (_PCM, _FLOAT):
        tell("the sound ends within a sample, which is left out")
    behind = there - size - size % 2
    if behind > 0 and not _is_chunks(data, start + size + size % 2, order) and any(data[start + size :]):
        tell("behind the sound stand bytes that are not read: its header tells less than the file holds")
    return Wav(code, n_channels, rate, width, order, data[start : start + size - rest])


def _is_chunks(data: bytes, start: int, order: Literal["<", ">"]) -> bool:
    """Tells whether all from `start` on is chunks, the last of which may be cut off."""
    return all(name.isascii() and name.decode("ascii").isprintable() for name, _, _ in _chunks(data, start, order))


def _chunks(data: bytes, start: int, order: Literal["<", ">"]) -> Iterator[tuple[bytes, int, int]]:
    """Yields names, starts and sizes of what stands in a RIFF or an IFF file."""
    for _ in range(_MOST_CHUNKS):
        if len(data) < start + 8:
            return
        size = struct.unpack_from(order + "I", data, start + 4)[0]
        yield data[start : start + 4], start + 8, size
        start += 8 + size + size % 2
    raise DataError(f"the sound is broken: it has more than {_MOST_CHUNKS:,} chunks")


def pcm(wav: Wav) -> np.ndarray:
    """Returns float32 `[sample, channel]` of a plain WAV file."""
    if wav.code == _FLOAT:
        floats = np.frombuffer(wav.samples, dtype=f"{wav.order}f{wav.width}")
        with np.errstate(over="ignore"):
            return floats.astype(np.float32).reshape(-1, wav.n_channels)
    raw = np.frombuffer(wav.samples, dtype=np.uint8)
    if wav.width == 1:  # 8 bits are unsigned
        return ((raw.astype(np.float32) - 128.0) / 128.0).reshape(-1, wav.n_channels)
    small_first = raw.reshape(-1, wav.width)[:, :: 1 if wav.order == "<" else -1]
    padded = np.zeros((len(small_first), 4), dtype=np.uint8)
    padded[:, 4 - wav.width :] = small_first  # at the top of 32 bits
    levels = padded.view("<i4")[:, 0].astype(np.float64) / 2.0**31
    return levels.astype(np.float32).reshape(-1, wav.n_channels)


def check_aiff(data: bytes, tell: Tell) -> None:
    """Checks that an AIFF or AIFC file holds the samples that its header tells.

    Raises:
        DataError: It does not.
    """
    n_bytes, common = None, None
    for name, start, size in _chunks(data, 12, ">"):
        if name == b"COMM" and len(data) >= start + 18:
            common = struct.unpack_from(">HIH", data, start)
        if name == b"SSND":
            n_bytes = size - 8
            if size > len(data) - start:
                raise DataError(
                    f"the sound is cut off: the file holds {len(data) - start:,} of the {size:,} bytes that its header "
                    "tells"
                )
    if n_bytes is None or common is None:
        raise DataError("the sound is broken or cut off: it has no header or no samples")
    n_channels, n_frames, bits = common
    if data[8:12] == b"AIFF" and n_frames * n_channels * ((bits + 7) // 8) > n_bytes:
        raise DataError(f"the sound is cut off: its header tells {n_frames:,} samples, and it holds {n_bytes:,} bytes")


def check_au(data: bytes, tell: Tell) -> None:
    """Checks that an AU file holds the samples that its header tells; a size of 2^32 - 1 means that none is told.

    Raises:
        DataError: It does not.
    """
    if len(data) < 24:
        raise DataError("the sound is cut off within its header")
    offset, size = struct.unpack_from(">II" if data[:4] == b".snd" else "<II", data, 4)
    there = len(data) - offset
    if size == 0xFFFFFFFF:
        tell("the header of the sound does not tell its length, as programs write it who stream; it is read to its end")
    elif size > there:
        raise DataError(
            f"the sound is cut off: the file holds {max(0, there):,} of the {size:,} bytes that its header tells"
        )
