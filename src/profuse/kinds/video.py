"""Videos: files, or arrays of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from profuse.data.media.videos import VIDEO_SUFFIXES, read_video
from profuse.data.volumes import resampled_volume
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._units import stretches
from profuse.kinds.noise.frames import FRAMES

__all__ = ["VIDEO", "VideoKind"]

_LIKE = (4, 8, 8)  # frames, rows and columns of a video that is compared with others
_CHANNELS = (1, 3, 4)


class VideoKind(Kind):
    """Arrays `[frame, height, width, channel]` of bytes, or of floats in 0..1."""

    name = "video"
    noun = "videos"
    suffixes = VIDEO_SUFFIXES
    preprocessor = "video"
    feature_sets = ("video",)
    encoder = "frames"
    corruptions = FRAMES
    usual = ("white", "covered")

    def check(self, value: Any) -> np.ndarray:
        video = np.asarray(value)
        video = video[..., None] if video.ndim == 3 else video
        if video.dtype.kind not in "uf" or video.ndim != 4 or 0 in video.shape or video.shape[3] not in _CHANNELS:
            raise DataError(
                "a video must be [frame, height, width] or [frame, height, width, 1, 3 or 4 channels], of bytes or of "
                f"floats in 0..1; got {video.dtype}{video.shape}"
            )
        if video.dtype == np.uint8:
            return video
        low, high = float(video.min()), float(video.max())  # a NaN anywhere makes both NaN
        if video.dtype.kind == "u" or not (low >= 0 and high <= 1):
            raise DataError(f"the levels of a video must be bytes, or floats in 0..1; got {low:g} to {high:g}")
        return video.astype(np.float32)

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        def one(cell: Any) -> np.ndarray:
            return read_video(cells.path(cell), tell=cells.tell) if isinstance(cell, str) else self.check(cell)

        values = cells.each(columns[0], one, self.noun)
        return ModalityData(self.name, object_array(values), np.array([v is not None for v in values], dtype=bool))

    def describe(self, spec: Spec) -> str:
        height, width = spec.image_size
        return f"up to {spec.max_length} frames of {height} x {width} pixels, {spec.n_channels} channel(s)"

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Patches of a grid for a while. `where` is (first frame, stop, top, bottom, left, right)."""
        n_frames, height, width = np.shape(data.values[row])[:3]
        side = 3 if most >= 27 else 2 if most >= 8 else 1
        times = stretches(n_frames, max(1, most // side**2))
        return [
            Unit(f"frames {a} to {b - 1}, rows {c} to {d - 1}, columns {e} to {f - 1}", (a, b, c, d, e, f))
            for a, b in times
            for c, d in stretches(height, side)
            for e, f in stretches(width, side)
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Blurs patches, by as much as a patch is wide."""
        from scipy.ndimage import gaussian_filter

        video = np.asarray(data.values[row])
        most = max((max(u.where[3] - u.where[2], u.where[5] - u.where[4]) for u in units), default=1)
        blurred = gaussian_filter(video.astype(np.float32), (0, most, most, 0), mode="nearest")
        blurred = (np.rint(blurred) if video.dtype == np.uint8 else blurred).astype(video.dtype)
        copies = np.repeat(video[None], len(kept), axis=0)
        for unit, there in zip(units, kept.T, strict=True):
            a, b, c, d, e, f = map(int, unit.where)
            copies[~there, a:b, c:d, e:f] = blurred[a:b, c:d, e:f]
        return replace(super().keep(data, row, units, kept), values=object_array([*copies]))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The middle frame of each while, side by side."""
        video = np.asarray(data.values[row])
        shown = video if video.dtype == np.uint8 else np.rint(255 * video).astype(np.uint8)
        shown = shown[..., :3] if shown.shape[3] >= 3 else np.repeat(shown[..., :1], 3, axis=3)
        height, width = shown.shape[1:3]
        times = sorted({(int(u.where[0]), int(u.where[1])) for u in units}) or [(0, len(shown))]
        n, boxes = len(times), []
        for unit in units:
            a, b, c, d, e, f = unit.where
            left = times.index((int(a), int(b)))
            boxes.append(((left + e / width) / n, (left + f / width) / n, c / height, d / height))
        picture = np.concatenate([shown[(a + b - 1) // 2] for a, b in times], axis=1)
        return Drawing(picture=picture, boxes=boxes, axes=(f"{n} of {len(shown)} frames", ""))

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        return []

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        """The video as 4 frames of 8 x 8 grey pixels."""
        out = np.zeros((len(data), int(np.prod(_LIKE))))
        for i in np.flatnonzero(data.present):
            video = np.asarray(data.values[i])
            grey = video.mean(axis=3, keepdims=True) / (255 if video.dtype == np.uint8 else 1)
            out[i] = resampled_volume(grey, _LIKE).numpy().ravel()
        return out


VIDEO = VideoKind()
