"""Columns of pictures, sounds and series: files, or what stands in the cells, to arrays of all rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.data.dataset import object_array
from profuse.data.media.arrays import to_float32, to_numbers
from profuse.data.media.levels import as_shares
from profuse.data.media.pictures import LARGEST_SIDE, as_picture, holds_bytes, read_image
from profuse.data.media.series_files import read_named_series
from profuse.data.media.sounds import read_audio, resample
from profuse.data.media.source import Tell
from profuse.data.table.lists import is_list_text
from profuse.data.wording import tell_rows
from profuse.errors import DataError

if TYPE_CHECKING:
    from profuse.data.table.cells import Cells

__all__ = ["deep_range", "pictures", "series", "sounds"]


def series(cells: Cells, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the series of column `name`, `[row]` of arrays `[time, channel]`, and where one is."""

    first: list[tuple[str, ...]] = []

    def one(cell: Any) -> np.ndarray | None:
        if isinstance(cell, str) and not (is_list_text(cell) or cell.lstrip()[:1] == "["):
            steps, names = read_named_series(cells.path(cell), tell=cells.tell)
            if names is not None and not any(n.isdigit() for n in names):
                first.append(names)
                _compare(first[0], names, cells.tell)
            return steps
        values = to_numbers(cell)
        if values is None:
            return None
        if values.ndim > 2:
            raise DataError(f"a series must be [time] or [time, channel]; got shape {values.shape}")
        return to_float32(values).reshape(len(values), -1)

    found = cells.each(name, one, "series")
    cells.check_finite(name, np.array([v is not None and bool(np.isinf(v).any()) for v in found]))
    widths = Counter(v.shape[1] for v in found if v is not None)
    if len(widths) > 1:
        width = widths.most_common(1)[0][0]
        others = [i for i, v in enumerate(found) if v is not None and v.shape[1] != width]
        raise DataError(
            f"column {name!r}: all series must have the same channels, here {width}; got "
            f"{found[others[0]].shape[1]} in {tell_rows(others)}. Correct them; a missing number is null or NaN."
        )
    blank = np.zeros((1, next(iter(widths), 1)), dtype=np.float32)
    return object_array([blank if v is None else v for v in found]), np.array([v is not None for v in found])


def _compare(first: tuple[str, ...], names: tuple[str, ...], tell: Tell) -> None:
    """Refuses the same channels in another order; tells other names."""
    if names == first or len(names) != len(first):  # another number of channels is an error of the whole column
        return
    if sorted(names) == sorted(first):
        raise DataError(
            f"the channels of all series must be in one order; got {', '.join(names)[:80]}, where others have "
            f"{', '.join(first)[:80]}"
        )
    tell(f"the channels of the series have other names than those of the first ({', '.join(first)[:80]})")


def pictures(cells: Cells, name: str) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Returns the pictures of column `name`, `[row]` of `[height, width, channel]`, where one is, and their range."""
    shrunk = 0

    def one(cell: Any) -> np.ndarray:
        nonlocal shrunk
        if not isinstance(cell, str):
            return as_picture(cell)
        values, smaller = read_image(cells.path(cell), tell=cells.tell)
        shrunk += smaller
        return values

    found = cells.each(name, one, "pictures")
    if shrunk:
        cells.notes.append(f"Column {name!r}: {shrunk} pictures above {LARGEST_SIDE} pixels were shrunk to that size.")
    shares, levels, notes = as_shares(found, cells.ranges.get(name))
    cells.notes += [f"Column {name!r}: {note}." for note in notes]
    blank = np.zeros((1, 1, 1), dtype=np.uint8)
    return object_array([blank if v is None else v for v in shares]), np.array([v is not None for v in found]), levels


def deep_range(cells: Cells, name: str) -> tuple[float, float]:
    """Returns the range that `pictures` decides on, without reading what holds bytes."""

    def one(cell: Any) -> np.ndarray | None:
        if not isinstance(cell, str):
            return as_picture(cell)
        path, remarks = cells.path(cell), list[str]()
        if not holds_bytes(path, tell=remarks.append):
            return read_image(path, tell=cells.tell)[0]
        for remark in remarks:
            cells.tell(remark)
        return None

    _, levels, notes = as_shares(cells.each(name, one, "pictures"), None)
    cells.notes += [f"Column {name!r}: {note}." for note in notes]
    return levels


def sounds(cells: Cells, name: str, column: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the sounds of `column`, `[row]` of arrays `[sample]`, where one is, and their samples a second."""

    def one(cell: Any) -> tuple[np.ndarray, int]:
        if not isinstance(cell, str):
            raise DataError("a sound must be the path of a file; for arrays use from_tensors with rates")
        return read_audio(cells.path(cell), tell=cells.tell)

    found = cells.each(column, one, "sounds")
    rates = Counter(v[1] for v in found if v is not None)
    rate = cells.rates.get(name) or (max(rates, key=lambda r: (rates[r], -r)) if rates else 16_000)
    others = sum(n for r, n in rates.items() if r != rate)
    if others:
        told = ", ".join(f"{n} of {r} Hz" for r, n in sorted(rates.items()) if r != rate)
        cells.notes.append(f"Column {column!r}: {others} sounds ({told}) were resampled to {rate} Hz.")
    waves: list[np.ndarray] = []
    for i, sound in enumerate(found):
        try:
            waves.append(np.zeros(1, np.float32) if sound is None else resample(sound[0], sound[1], rate))
        except DataError as error:
            raise DataError(f"row {i} (counted from 0), column {column!r}: {error}.") from error
    return object_array(waves), np.array([v is not None for v in found]), rate
