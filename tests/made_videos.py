"""Videos made with PyAV, for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["RATE", "write_video"]

RATE = 8000


def write_video(path: Path, frames: np.ndarray, sound: np.ndarray | None = None) -> Path:
    """Writes bytes `[frame, height, width, 3]`, sides even, at 10 frames a second, and floats `[sample]` at `RATE`."""
    with av.open(str(path), "w") as container:
        is_mpeg = path.suffix == ".mpg"
        pictures = container.add_stream("mpeg2video" if is_mpeg else "mpeg4", rate=25 if is_mpeg else 10)
        pictures.height, pictures.width = frames.shape[1:3]
        pictures.pix_fmt, pictures.bit_rate = "yuv420p", 4_000_000
        track = None
        if sound is not None:
            track = container.add_stream("aac", rate=RATE)
            track.layout = "mono"
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode())
        if track is not None and sound is not None:
            for start in range(0, len(sound) - 1023, 1024):
                piece = sound[None, start : start + 1024].astype(np.float32)
                samples = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                samples.rate, samples.pts, samples.time_base = RATE, start, Fraction(1, RATE)
                container.mux(track.encode(samples))
            container.mux(track.encode(None))
    return path
