"""Pictures: files, arrays or Pillow pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from profuse.data.media import IMAGE_SUFFIXES, LARGEST_SIDE, as_picture, as_shares, read_image
from profuse.data.media.pictures import holds_bytes
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._rows import axis_sizes
from profuse.kinds._units import stretches
from profuse.kinds.noise.lens import LENS
from profuse.kinds.noise.pixels import PIXELS
from profuse.kinds.noise.weather import WEATHER

__all__ = ["IMAGE", "ImageKind"]

_SIDE = 16  # of a picture that is compared with others


class ImageKind(Kind):
    """Arrays `[height, width, channel]` of bytes, or of floats in 0..1 where pictures have more than 8 bits."""

    name = "image"
    noun = "pictures"
    suffixes = IMAGE_SUFFIXES
    preprocessor = "image"
    feature_sets = ("image", "hog")
    encoder = "cnn"
    has_range = True
    corruptions = {**PIXELS, **LENS, **WEATHER}
    usual = ("white", "covered")

    def check(self, value: Any) -> np.ndarray:
        return as_picture(value)

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column, shrunk = columns[0], 0

        def one(cell: Any) -> np.ndarray:
            nonlocal shrunk
            if not isinstance(cell, str):
                return as_picture(cell)
            values, smaller = read_image(cells.path(cell), tell=cells.tell)
            shrunk += smaller
            return values

        result = cells.each(column, one, self.noun)
        if shrunk:
            cells.notes.append(
                f"Column {column!r}: {shrunk} pictures above {LARGEST_SIDE} pixels were shrunk to that size."
            )
        shares, levels, notes = as_shares(result, cells.ranges.get(column))
        cells.notes += [f"Column {column!r}: {note}." for note in notes]
        values = object_array([_blank() if v is None else v for v in shares])
        return ModalityData(self.name, values, np.array([v is not None for v in result]), range=levels)

    def read_range(self, cells: CellReader, column: str) -> tuple[float, float] | None:
        """Does not read what holds bytes."""

        def one(cell: Any) -> np.ndarray | None:
            if not isinstance(cell, str):
                return as_picture(cell)
            path, remarks = cells.path(cell), list[str]()
            if not holds_bytes(path, tell=remarks.append):
                return read_image(path, tell=cells.tell)[0]
            for remark in remarks:
                cells.tell(remark)
            return None

        _, levels, notes = as_shares(cells.each(column, one, self.noun), None)
        cells.notes += [f"Column {column!r}: {note}." for note in notes]
        return levels

    def read_arrays(self, given: Given) -> ModalityData:
        rows: list[np.ndarray | None] = [None] * len(given.values)
        for i, value in given.rows:
            try:
                rows[i] = as_picture(value)
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"modality {given.name!r}, row {i} (counted from 0): {str(error).rstrip('.')}. Correct it."
                ) from error
        shares, levels, notes = as_shares(rows, given.range)
        given.notes.extend(f"Modality {given.name!r}: {note}." for note in notes)
        values = object_array([_blank() if v is None else v for v in shares])
        if isinstance(given.values, np.ndarray):
            like = values[int(np.argmax(given.present))]
            values = np.stack([v if p else np.zeros_like(like) for v, p in zip(values, given.present, strict=True)])
        return ModalityData(self.name, values, given.present, range=levels)

    def describe(self, spec: Spec) -> str:
        return f"{spec.image_size[0]} x {spec.image_size[1]} pixels, {spec.n_channels} channel(s)"

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        return axis_sizes(data, rows, ("pixels high", "pixels wide"))

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Patches of a grid. `where` is (top, bottom, left, right)."""
        height, width = np.shape(data.values[row])[:2]
        side = max(1, int(most**0.5))
        return [
            Unit(f"rows {a} to {b - 1}, columns {c} to {d - 1}", (a, b, c, d))
            for a, b in stretches(height, side)
            for c, d in stretches(width, side)
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Blurs patches, by as much as a patch is wide."""
        from scipy.ndimage import gaussian_filter

        picture = np.asarray(data.values[row])
        most = max((max(u.where[1] - u.where[0], u.where[3] - u.where[2]) for u in units), default=1)
        blurred = gaussian_filter(picture.astype(np.float32), (most, most, 0), mode="nearest")
        blurred = (np.rint(blurred) if picture.dtype == np.uint8 else blurred).astype(picture.dtype)
        copies = np.repeat(picture[None], len(kept), axis=0)
        for unit, there in zip(units, kept.T, strict=True):
            a, b, c, d = map(int, unit.where)
            copies[~there, a:b, c:d] = blurred[a:b, c:d]
        return replace(super().keep(data, row, units, kept), values=object_array([*copies]))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The picture itself, its first one or three channels."""
        picture = np.asarray(data.values[row])
        height, width = picture.shape[:2]
        shown = picture if picture.dtype == np.uint8 else np.rint(255 * picture.clip(0, 1)).astype(np.uint8)
        shown = shown[..., :3] if shown.shape[-1] >= 3 else np.repeat(shown[..., :1], 3, axis=-1)
        boxes = [(u.where[2] / width, u.where[3] / width, u.where[0] / height, u.where[1] / height) for u in units]
        return Drawing(picture=shown, boxes=boxes)

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        return []

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        """The picture as 16 by 16 grey pixels."""
        out = np.zeros((len(data), _SIDE * _SIDE))
        for i in np.flatnonzero(data.present):
            out[i] = _thumbnail(np.asarray(data.values[i]))
        return out


def _blank() -> np.ndarray:
    return np.zeros((1, 1, 1), dtype=np.uint8)


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    grey = picture.astype(np.float64).mean(axis=-1) if picture.ndim == 3 else picture.astype(np.float64)
    for axis in (0, 1):
        places = np.minimum(np.arange(grey.shape[axis]) * _SIDE // grey.shape[axis], _SIDE - 1)
        starts = np.searchsorted(places, np.arange(_SIDE))
        if grey.shape[axis] < _SIDE:
            grey = np.take(grey, np.arange(_SIDE) * grey.shape[axis] // _SIDE, axis=axis)
        else:
            grey = np.add.reduceat(grey, starts, axis=axis) / np.bincount(places).reshape(-1, *[1] * (1 - axis))
    return grey.ravel()


IMAGE = ImageKind()
