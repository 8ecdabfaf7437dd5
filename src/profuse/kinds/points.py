"""Clouds of points: scans of LiDAR, radar and depth cameras, from files or arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from profuse.data.clouds import LARGEST_CLOUD, as_cloud, curve_order, thinned
from profuse.data.media import to_numbers
from profuse.data.media.point_files import POINT_SUFFIXES, read_points
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._rows import axis_sizes
from profuse.kinds._units import stretches
from profuse.kinds.noise.clouds import CLOUDS

__all__ = ["POINTS", "PointsKind"]

_SIDE = 192  # pixels of a picture
_DOT = 2  # pixels of a point


class PointsKind(Kind):
    """Arrays `[point, channel]` of floats, x, y, z first; their order means nothing."""

    name = "points"
    noun = "clouds of points"
    suffixes = POINT_SUFFIXES
    preprocessor = "points"
    feature_sets = ("points",)
    encoder = "pointset"
    corruptions = CLOUDS
    usual = ("white", "dropped")

    def check(self, value: Any) -> np.ndarray:
        return as_cloud(np.asarray(value))[0]

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column, first, n_thinned = columns[0], list[tuple[str, ...]](), 0

        def one(cell: Any) -> np.ndarray | None:
            nonlocal n_thinned
            held = cells.held(cell) if isinstance(cell, str) else to_numbers(cell)
            if isinstance(held, Path):
                held, names = read_points(held, tell=cells.tell)
                if names is not None:
                    first.append(names)
                    _compare(first[0], names)
            if held is None:
                return None
            cloud, n_lost = as_cloud(held)
            if n_lost:
                cells.tell("some points have no position (NaN) and were left out")
            n_thinned += len(cloud) > LARGEST_CLOUD
            return thinned(cloud, LARGEST_CLOUD) if len(cloud) > LARGEST_CLOUD else cloud

        result = cells.each(column, one, self.noun)
        if n_thinned:
            cells.notes.append(
                f"Column {column!r}: {n_thinned} clouds above {LARGEST_CLOUD:,} points were thinned to that number."
            )
        _check_channels(f"column {column!r}", result)
        return ModalityData(self.name, object_array(result), np.array([v is not None for v in result], dtype=bool))

    def read_arrays(self, given: Given) -> ModalityData:
        lost: list[int] = []
        values: list[np.ndarray | None] = [None] * len(given.values)
        for row, value in given.rows:
            try:
                values[row], n_lost = as_cloud(np.asarray(value))
            except (DataError, TypeError, ValueError) as error:
                raise DataError(
                    f"modality {given.name!r}, row {row} (counted from 0): {str(error).rstrip('.')}. Correct it."
                ) from error
            lost += [row] * bool(n_lost)
        if lost:
            given.notes.append(
                f"Modality {given.name!r}: some points of {tell_rows(lost)} have no position (NaN) and were left out."
            )
        _check_channels(f"modality {given.name!r}", values)
        return ModalityData(self.name, object_array(values), given.present)

    def concatenate(self, name: str, first: ModalityData, second: ModalityData) -> ModalityData:
        joined = super().concatenate(name, first, second)
        _check_channels(
            f"modality {name!r}", [v if p else None for v, p in zip(joined.values, joined.present, strict=True)]
        )
        return joined

    def describe(self, spec: Spec) -> str:
        return f"up to {spec.max_length} points of {spec.n_channels - 3} channels"

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        return axis_sizes(data, rows, ("points",))

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Groups of points that lie together. `where` is (start, stop) along the curve of `curve_order`."""
        cloud = np.asarray(data.values[row])
        ordered = cloud[curve_order(cloud)]
        return [
            Unit(f"group {i + 1}: {_box(ordered[a:b])}", (a, b)) for i, (a, b) in enumerate(stretches(len(cloud), most))
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Leaves groups of points out."""
        cloud = np.asarray(data.values[row])
        order = curve_order(cloud)
        clouds = []
        for of in kept:
            there = np.ones(len(cloud), dtype=bool)
            for unit, keeps in zip(units, of, strict=True):
                there[order[int(unit.where[0]) : int(unit.where[1])]] = keeps
            clouds.append(cloud[there])
        return replace(super().keep(data, row, units, kept), values=object_array(clouds))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The cloud along its thinnest axis: the nearer a point, the darker."""
        cloud = np.asarray(data.values[row], dtype=np.float64)
        deep, up, right = (int(axis) for axis in np.argsort(np.ptp(cloud[:, :3], axis=0), kind="stable"))
        if up < right:  # y or z upwards, x to the right
            up, right = right, up
        low, side = cloud[:, :3].min(axis=0), max(float(np.ptp(cloud[:, :3], axis=0).max()), 1e-12)
        middle = low + np.ptp(cloud[:, :3], axis=0) / 2
        across = 0.5 + 0.94 * (cloud[:, right] - middle[right]) / side
        down = 0.5 - 0.94 * (cloud[:, up] - middle[up]) / side
        near = (cloud[:, deep] - low[deep]) / max(float(np.ptp(cloud[:, deep])), 1e-12)
        picture = np.full((_SIDE, _SIDE), 255, dtype=np.uint8)
        for i in np.argsort(near, kind="stable"):
            y, x = int(down[i] * _SIDE), int(across[i] * _SIDE)
            picture[y : y + _DOT, x : x + _DOT] = round(170 * (1 - near[i]))
        order, half = curve_order(cloud), 1.5 / _SIDE
        groups = [order[int(u.where[0]) : int(u.where[1])] for u in units]
        boxes = [
            (across[g].min() - half, across[g].max() + half, down[g].min() - half, down[g].max() + half) for g in groups
        ]
        axes = (f"{'xyz'[right]} of {side:.4g}", "xyz"[up])
        return Drawing(picture=np.repeat(picture[..., None], 3, axis=-1), boxes=boxes, axes=axes)

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        """How many points there are."""
        counts = [len(v) if p else np.nan for v, p in zip(data.values, data.present, strict=True)]
        yield f"{name!r}, number of points", np.array(counts, dtype=np.float64), False


def _box(cloud: np.ndarray) -> str:
    low, high = cloud[:, :3].min(axis=0), cloud[:, :3].max(axis=0)
    return ", ".join(f"{axis} {a:.4g} to {b:.4g}" for axis, a, b in zip("xyz", low, high, strict=True))


def _compare(first: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Refuses files whose channels have other names, or another order."""
    if names != first:
        raise DataError(
            f"all clouds must have the same channels in one order; got x, y, z, {', '.join(names)[:80]}, where the "
            f"first has x, y, z, {', '.join(first)[:80]}"
        )


def _check_channels(where: str, rows: Sequence[np.ndarray | None]) -> None:
    widths = Counter(v.shape[1] for v in rows if v is not None)
    if len(widths) > 1:
        width = widths.most_common(1)[0][0]
        others = [i for i, v in enumerate(rows) if v is not None and v.shape[1] != width]
        raise DataError(
            f"{where}: all clouds must have the same channels, here {width}; got others in {tell_rows(others)}. "
            "Correct them; a missing number is NaN."
        )


POINTS = PointsKind()
