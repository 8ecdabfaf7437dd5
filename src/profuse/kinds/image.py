"""Pictures: files, arrays or Pillow pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from profuse.data.media import IMAGE_SUFFIXES, LARGEST_SIDE, as_picture, as_shares, read_image
from profuse.data.media.bands import n_channels_of
from profuse.data.media.pictures import holds_bytes
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, LevelRange, ModalityData, Spec, Unit, object_array, pairs_of
from profuse.kinds._rows import axis_sizes
from profuse.kinds._units import stretches
from profuse.kinds.noise.lens import LENS
from profuse.kinds.noise.pixels import PIXELS
from profuse.kinds.noise.weather import WEATHER

__all__ = ["IMAGE", "ImageKind"]

_NARROW = 0.25  # of the range: a picture that fills less of it is spread out to be seen
_SIDE = 16  # of a picture that is compared with others


class ImageKind(Kind):
    """Arrays `[height, width, channel]` of bytes, or of floats in 0..1: pictures of more than 8 bits, and all whose
    channels are no colours."""

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
        return np.asarray(as_picture(value))

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column, shrunk = columns[0], 0
        alike = _Alike(cells.ranges.get(column))

        def one(cell: Any) -> np.ndarray:
            nonlocal shrunk
            if not isinstance(cell, str):
                return alike.checked(as_picture(cell))
            values, smaller = read_image(cells.path(cell), tell=cells.tell)
            shrunk += smaller
            return alike.checked(values)

        result = cells.each(column, one, self.noun)
        if shrunk:
            cells.notes.append(
                f"Column {column!r}: {shrunk} pictures above {LARGEST_SIDE} pixels were shrunk to that size."
            )
        try:
            shares, levels, notes = as_shares(result, cells.ranges.get(column))
        except DataError as error:
            raise DataError(f"column {column!r}: {error}. Correct them.") from error
        cells.notes += [f"Column {column!r}: {note}." for note in notes]
        values = object_array([_blank() if v is None else v for v in shares])
        return ModalityData(self.name, values, np.array([v is not None for v in shares]), range=levels)

    def read_range(self, cells: CellReader, column: str) -> LevelRange | None:
        """Does not read what holds bytes."""
        alike = _Alike(None)

        def one(cell: Any) -> np.ndarray | None:
            if not isinstance(cell, str):
                return alike.checked(as_picture(cell))
            path, remarks = cells.path(cell), list[str]()
            if not holds_bytes(path, tell=remarks.append):
                return alike.checked(read_image(path, tell=cells.tell)[0])
            for remark in remarks:
                cells.tell(remark)
            return None

        _, levels, notes = as_shares(cells.each(column, one, self.noun), None)
        cells.notes += [f"Column {column!r}: {note}." for note in notes]
        return levels

    def read_arrays(self, given: Given) -> ModalityData:
        rows: list[np.ndarray | None] = [None] * len(given.values)
        alike = _Alike(given.range)
        for i, value in given.rows:
            try:
                rows[i] = alike.checked(as_picture(value))
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"modality {given.name!r}, row {i} (counted from 0): {str(error).rstrip('.')}. Correct it."
                ) from error
        try:
            shares, levels, notes = as_shares(rows, given.range)
        except DataError as error:
            raise DataError(f"modality {given.name!r}: {error}. Correct them.") from error
        n_opaque = sum(isinstance(p, np.ndarray) and p.shape[2] == 4 and p.dtype != np.uint8 for p in rows)
        if n_opaque:
            notes.append(f"{n_opaque} arrays of four channels are read as colours and opacity, laid over white")
        given.notes.extend(f"Modality {given.name!r}: {note}." for note in notes)
        values = object_array([_blank() if v is None else v for v in shares])
        present = np.array([v is not None for v in shares], dtype=bool)
        if isinstance(given.values, np.ndarray):
            like = values[int(np.argmax(present))]
            values = np.stack([v if p else np.zeros_like(like) for v, p in zip(values, present, strict=True)])
        return ModalityData(self.name, values, present, range=levels)

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
        """The picture itself; of other channels than colours the first one or three, told in `note`.

        A channel that fills less than a quarter of its range is spread out, by its middle 98 %.
        """
        picture = np.asarray(data.values[row])
        height, width, n = picture.shape
        shown, note = picture[..., : 3 if n >= 3 else 1], ""
        if picture.dtype != np.uint8:
            shown, note = _seen(shown, n, data.range)
        shown = np.repeat(shown, 3, axis=-1) if n < 3 else shown
        boxes = [(u.where[2] / width, u.where[3] / width, u.where[0] / height, u.where[1] / height) for u in units]
        return Drawing(picture=shown, boxes=boxes, note=note)

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        return []

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        """The picture as 16 by 16 grey pixels."""
        out = np.zeros((len(data), _SIDE * _SIDE))
        for i in np.flatnonzero(data.present):
            out[i] = _thumbnail(np.asarray(data.values[i]))
        return out


class _Alike:
    """Whether pictures fit to those before, or to the range of training, by their numbers of channels.

    Args:
        known: The range of training.
    """

    def __init__(self, known: LevelRange | None) -> None:
        pairs = pairs_of(known) if known is not None else ()
        self.n = len(pairs) if len(pairs) > 1 else None
        self.may_lack_one = self.n is not None and pairs[-1] == (0.0, 1.0)

    def checked(self, picture: np.ndarray) -> np.ndarray:
        n = n_channels_of(picture)
        if self.n is None:
            self.n = n
        elif n != self.n and not (self.may_lack_one and picture.shape[2] == self.n - 1):
            raise DataError(
                f"all pictures must have the same channels; got {_channels(n)}, where the others have "
                f"{_channels(self.n)}"
            )
        return picture


def _channels(n: int) -> str:
    return f"{n} that are no colours" if n else "grey or colours"


def _seen(picture: np.ndarray, n: int, levels: LevelRange | None) -> tuple[np.ndarray, str]:
    """Returns one or three of `n` channels as bytes, and what is told of them."""
    low, high = np.zeros(picture.shape[2]), np.ones(picture.shape[2])
    for c in range(picture.shape[2]):
        least, most = np.quantile(picture[..., c], (0.01, 0.99))
        if 0 < most - least < _NARROW:
            low[c], high[c] = least, most
    shown = np.rint(255 * ((picture - low) / (high - low)).clip(0, 1)).astype(np.uint8)
    if n in (1, 3) and not low.any() and (high == 1).all():
        return shown, ""
    pairs = pairs_of(levels or (0.0, 1.0))
    told = []
    for c, (a, b) in enumerate(zip(low, high, strict=True)):
        black, white = pairs[c if len(pairs) > 1 else 0]
        told.append(f"{black + a * (white - black):.6g} to {black + b * (white - black):.6g}")
    names = ("red", "green", "blue") if len(told) == 3 else ("grey",)
    said = ", ".join(f"{name}: channel {c}, {levels}" for c, (name, levels) in enumerate(zip(names, told, strict=True)))
    return shown, f"{said} (of {n} channel{'s' if n > 1 else ''})"


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
