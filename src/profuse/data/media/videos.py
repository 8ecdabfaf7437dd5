"""Frames of one video from a file; each fault is a `DataError` without a place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from profuse._files import check_size
from profuse._optional import need
from profuse.data.media.source import Tell, opened, warn
from profuse.errors import DataError, MissingDependencyError

__all__ = ["LARGEST_FRAME_SIDE", "MOST_FRAMES", "VIDEO_SUFFIXES", "read_sound_track", "read_video"]

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
MOST_FRAMES = 16
"""So many frames of a video are kept, evenly spaced."""
LARGEST_FRAME_SIDE = 96
"""Frames are shrunk to this many pixels a side, so that a folder of videos fits into memory."""

_LONG = 3000  # frames: of longer videos key frames alone are decoded
_MOST_DECODED = 100_000  # frames
_LEAST_SHARE = 0.9  # of the frames that a header tells
_LARGEST_SIDE = 16_384  # pixels


def read_video(path: Path, *, tell: Tell = warn) -> np.ndarray:
    """Returns up to `MOST_FRAMES` frames, evenly spaced, as bytes `[frame, height, width, 3]`, upright.

    Args:
        path: An MP4, MOV, Matroska, WebM, AVI or MPEG file, told by its bytes; no other file is opened.
        tell: Called with what could be doubted: only key frames were looked at.

    Raises:
        DataError: It is none, it has no picture, it is damaged or cut off, or it takes too much memory.
        MissingDependencyError: Without PyAV (extra `video`).
    """
    remarks: list[str] = []
    with _container(path) as container:
        if not container.streams.video:
            raise DataError("the video has no picture")
        stream = container.streams.video[0]
        frames = _frames(container, stream, remarks.append)
    for remark in remarks:
        tell(remark)
    return frames


def read_sound_track(path: Path) -> tuple[np.ndarray, int] | None:
    """Returns the sound of a video, float32 `[sample]`, the mean of its channels, and its rate; None if it has none.

    Raises:
        DataError: See `read_video`.
    """
    with _container(path) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        rate = int(stream.rate or 0)
        if not 100 <= rate <= 1_000_000:
            raise DataError(f"the sound must have 100 to 1,000,000 samples a second; its header tells {rate:,}")
        resampler = need("av", "video", "reading videos").AudioResampler(format="fltp", layout="mono", rate=rate)
        parts, n = [], 0
        for frame in container.decode(stream):
            for piece in resampler.resample(frame):
                parts.append(piece.to_ndarray()[0].astype(np.float32))
                n += len(parts[-1])
                check_size(8.0 * n, "the sound")
        parts += [piece.to_ndarray()[0].astype(np.float32) for piece in resampler.resample(None)]
    if not n:
        raise DataError("the sound has no sample")
    return np.concatenate(parts), rate


@contextmanager
def _container(path: Path) -> Iterator[Any]:
    """Opens a video by the demuxer of its own format alone; whatever decoders raise is a `DataError`."""
    av = need("av", "video", "reading videos")
    with opened(path) as file:
        kind = _format(file)
        if kind is None:
            file.seek(0)
            raise DataError(
                f"the video is broken, or none of MP4, MOV, Matroska, WebM, AVI, MPEG: it begins {file.read(8)!r}"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with av.open(file, format=kind) as container:
                    yield container
        except (DataError, MissingDependencyError):
            raise
        except Exception as error:  # decoders of damaged files raise whatever they like
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DataError(f"the video is broken or cut off ({' '.join(str(reason).split())[:120]})") from error


def _format(file: BinaryIO) -> str | None:
    """Returns ffmpeg's name of the format of a file."""
    head = file.read(16)
    file.seek(0)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return "mpeg" if head[:4] == b"\0\0\1\xba" else None


def _frames(container: Any, stream: Any, tell: Tell) -> np.ndarray:
    told = int(stream.frames or 0)
    expected = told or int(float(stream.duration or 0) * float((stream.time_base or 0) * (stream.average_rate or 0)))
    keys_only = expected > _LONG
    if keys_only:
        stream.codec_context.skip_frame = "NONKEY"
        tell(f"of videos above {_LONG:,} frames only key frames are looked at")
    stream.codec_context.thread_count = 1
    _check_sides(stream.codec_context.width, stream.codec_context.height)
    kept: list[np.ndarray] = []
    every, n = 1, 0
    for frame in container.decode(stream):
        if n % every == 0:
            kept.append(_small(frame, stream.sample_aspect_ratio))
            if len(kept) == 4 * MOST_FRAMES:  # evenly spaced, whatever the length turns out to be
                kept, every = kept[::2], 2 * every
        n += 1
        if n > _MOST_DECODED:
            raise DataError(f"the video must have at most {_MOST_DECODED:,} frames to look at. Cut it into pieces")
    if not kept:
        raise DataError("the video has no frame")
    if told and not keys_only and n < _LEAST_SHARE * told:
        raise DataError(f"the video is cut off or damaged: {n:,} of {told:,} frames can be read")
    if len({frame.shape for frame in kept}) > 1:
        raise DataError("the frames of a video must have one size; they have several")
    chosen = np.linspace(0, len(kept) - 1, min(MOST_FRAMES, len(kept))).round().astype(int)
    return np.stack([kept[i] for i in chosen])


def _check_sides(width: int, height: int) -> None:
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise DataError(f"a frame must have 1 to {_LARGEST_SIDE:,} pixels a side; got {width} x {height}")
    check_size(32.0 * width * height, "a frame of the video")


def _small(frame: Any, aspect: Fraction | None) -> np.ndarray:
    """Returns a frame as bytes `[height, width, 3]`: with square pixels, shrunk and upright."""
    _check_sides(frame.width, frame.height)
    share = float(aspect) if aspect and 0.2 < aspect < 5 else 1.0
    width, height = frame.width * share, float(frame.height)
    shrink = min(1.0, LARGEST_FRAME_SIDE / max(width, height))
    sides = {"width": max(1, round(width * shrink)), "height": max(1, round(height * shrink))}
    pixels = frame.to_ndarray(format="rgb24", interpolation="AREA", **sides)
    turns = round(float(getattr(frame, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns))
