"""Volumes: scans of three dimensions, from files, folders of slices, or arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from profuse.data.media import to_numbers
from profuse.data.media.volume_files import VOLUME_SUFFIXES, read_volume
from profuse.data.volumes import LARGEST_VOLUME_SIDE, as_volume, resampled_volume, shrunk_volume
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._rows import axis_sizes
from profuse.kinds._units import stretches
from profuse.kinds.noise.voxels import VOXELS

__all__ = ["VOLUME", "VolumeKind"]

_SIDE = 6  # of a volume that is compared with others


class VolumeKind(Kind):
    """Arrays `[depth, height, width, channel]` of floats, in the unit of their files."""

    name = "volume"
    noun = "volumes"
    suffixes = VOLUME_SUFFIXES
    preprocessor = "volume"
    feature_sets = ("volume",)
    encoder = "cnn3d"
    corruptions = VOXELS
    usual = ("white", "covered")

    def check(self, value: Any) -> np.ndarray:
        return as_volume(np.asarray(value))[0]

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column, n_shrunk = columns[0], 0

        def one(cell: Any) -> np.ndarray | None:
            nonlocal n_shrunk
            held = cells.held(cell) if isinstance(cell, str) else to_numbers(cell)
            if isinstance(held, Path):
                held = read_volume(held, tell=cells.tell)
            if held is None:
                return None
            volume, was_filled = as_volume(held)
            if was_filled:
                cells.tell("voxels that are NaN have the least level")
            n_shrunk += max(volume.shape[:3]) > LARGEST_VOLUME_SIDE
            return shrunk_volume(volume)

        result = cells.each(column, one, self.noun)
        if n_shrunk:
            cells.notes.append(
                f"Column {column!r}: {n_shrunk} volumes above {LARGEST_VOLUME_SIDE} voxels a side were shrunk to that "
                "size."
            )
        _check_channels(f"column {column!r}", result)
        return ModalityData(self.name, object_array(result), np.array([v is not None for v in result], dtype=bool))

    def read_arrays(self, given: Given) -> ModalityData:
        filled: list[int] = []
        values: list[np.ndarray | None] = [None] * len(given.values)
        for row, value in given.rows:
            try:
                values[row], was_filled = as_volume(np.asarray(value))
            except (DataError, TypeError, ValueError) as error:
                raise DataError(
                    f"modality {given.name!r}, row {row} (counted from 0): {str(error).rstrip('.')}. Correct it."
                ) from error
            filled += [row] * was_filled
        if filled:
            given.notes.append(
                f"Modality {given.name!r}: voxels of {tell_rows(filled)} that are NaN have the least level."
            )
        _check_channels(f"modality {given.name!r}", values)
        return ModalityData(self.name, object_array(values), given.present)

    def concatenate(self, name: str, first: ModalityData, second: ModalityData) -> ModalityData:
        joined = super().concatenate(name, first, second)
        rows = [v if p else None for v, p in zip(joined.values, joined.present, strict=True)]
        _check_channels(f"modality {name!r}", rows)
        return joined

    def describe(self, spec: Spec) -> str:
        return f"{' x '.join(map(str, spec.grid))} voxels, {spec.n_channels} channel(s)"

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        return axis_sizes(data, rows, ("slices", "voxels high", "voxels wide"))

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Boxes of a grid. `where` is (first slice, stop, top, bottom, left, right)."""
        depth, height, width = np.shape(data.values[row])[:3]
        side = next(n for n in range(round(most ** (1 / 3)), 0, -1) if n**3 <= most)
        return [
            Unit(f"slices {a} to {b - 1}, rows {c} to {d - 1}, columns {e} to {f - 1}", (a, b, c, d, e, f))
            for a, b in stretches(depth, side)
            for c, d in stretches(height, side)
            for e, f in stretches(width, side)
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Blurs boxes, by as much as a box is wide."""
        from scipy.ndimage import gaussian_filter

        volume = np.asarray(data.values[row])
        sides = [max((u.where[i + 1] - u.where[i] for u in units), default=1) for i in (0, 2, 4)]
        blurred = gaussian_filter(volume, (*sides, 0), mode="nearest")
        copies = np.repeat(volume[None], len(kept), axis=0)
        for unit, there in zip(units, kept.T, strict=True):
            a, b, c, d, e, f = map(int, unit.where)
            copies[~there, a:b, c:d, e:f] = blurred[a:b, c:d, e:f]
        return replace(super().keep(data, row, units, kept), values=object_array([*copies]))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The middle slice of each run of slices, side by side, first channel, from the 1st to the 99th percentile."""
        volume = np.asarray(data.values[row], dtype=np.float64)[..., 0]
        height, width = volume.shape[1:]
        slabs = sorted({(int(u.where[0]), int(u.where[1])) for u in units}) or [(0, len(volume))]
        low, high = np.percentile(volume, (1, 99))
        shown = [volume[(a + b - 1) // 2] for a, b in slabs]
        grey = np.rint(255 * ((np.concatenate(shown, axis=1) - low) / max(high - low, 1e-12)).clip(0, 1))
        n = len(slabs)
        boxes = []
        for unit in units:
            a, b, c, d, e, f = unit.where
            left = slabs.index((int(a), int(b)))
            boxes.append(((left + e / width) / n, (left + f / width) / n, c / height, d / height))
        picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
        return Drawing(picture=picture, boxes=boxes, axes=(f"{n} of {len(volume)} slices", ""))

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        return []

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        """The volume as 6 x 6 x 6 voxels of its first channel."""
        out = np.zeros((len(data), _SIDE**3))
        for i in np.flatnonzero(data.present):
            out[i] = resampled_volume(np.asarray(data.values[i])[..., :1], (_SIDE, _SIDE, _SIDE)).numpy().ravel()
        return out


def _check_channels(where: str, rows: Sequence[np.ndarray | None]) -> None:
    widths = Counter(v.shape[3] for v in rows if v is not None)
    if len(widths) > 1:
        width = widths.most_common(1)[0][0]
        others = [i for i, v in enumerate(rows) if v is not None and v.shape[3] != width]
        raise DataError(
            f"{where}: all volumes must have the same channels, here {width}; got others in {tell_rows(others)}. "
            "Correct them."
        )


VOLUME = VolumeKind()
