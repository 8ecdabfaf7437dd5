"""Series: files, or lists of numbers of several lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from profuse.data.arrays import floats, narrow_row, no_fit
from profuse.data.media import SERIES_SUFFIXES, to_float32, to_numbers
from profuse.data.media.series_files import read_named_series
from profuse.data.media.source import Tell
from profuse.data.table.lists import is_list_text
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._rows import axis_sizes
from profuse.kinds._units import stretches
from profuse.kinds.noise.steps import STEPS

__all__ = ["SERIES", "SeriesKind"]

_LEAST_STRETCHES = 4  # of time, or channels are not told apart
_STEPS = 32  # of a series that is compared with others


class SeriesKind(Kind):
    """Arrays `[time, channel]` of floats; NaN is a missing number."""

    name = "series"
    noun = "series"
    suffixes = SERIES_SUFFIXES
    preprocessor = "series"
    feature_sets = ("series", "path", "minirocket")
    encoder = "multiscale"
    corruptions = STEPS
    usual = ("white", "gap")

    def check(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        return array[:, None] if array.ndim == 1 else array

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        column, first = columns[0], list[tuple[str, ...]]()

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

        result = cells.each(column, one, self.noun)
        cells.check_finite(column, np.array([v is not None and bool(np.isinf(v).any()) for v in result]))
        widths = Counter(v.shape[1] for v in result if v is not None)
        if len(widths) > 1:
            width = widths.most_common(1)[0][0]
            others = [i for i, v in enumerate(result) if v is not None and v.shape[1] != width]
            raise DataError(
                f"column {column!r}: all series must have the same channels, here {width}; got "
                f"{result[others[0]].shape[1]} in {tell_rows(others)}. Correct them; a missing number is null or NaN."
            )
        blank = np.zeros((1, next(iter(widths), 1)), dtype=np.float32)
        values = object_array([blank if v is None else v for v in result])
        return ModalityData(self.name, values, np.array([v is not None for v in result]))

    def read_arrays(self, given: Given) -> ModalityData:
        if isinstance(given.values, np.ndarray):
            return self._read_array(given, given.values)
        rows = [np.zeros((1, 1), np.float32)] * len(given.values)
        blank: np.ndarray | None = None
        for i, value in given.rows:
            rows[i] = narrow_row(given.name, i, value, self.check)
            if rows[i].ndim != 2 or rows[i].size == 0:
                raise DataError(
                    f"modality {given.name!r}, row {i} (counted from 0): must be [time, channel] and not empty; got "
                    f"shape={rows[i].shape}. Use None where it is missing."
                )
            if np.isinf(rows[i]).any():
                raise DataError(
                    f"modality {given.name!r}, row {i} (counted from 0): numbers must be finite; one is not. "
                    "Correct it."
                )
        for i in np.flatnonzero(given.present).tolist():
            blank = np.zeros((1, rows[i].shape[1]), np.float32) if blank is None else blank
            if rows[i].shape[1] != blank.shape[1]:
                raise DataError(
                    f"modality {given.name!r}: all series must have the same channels, {blank.shape[1]}; got "
                    f"{rows[i].shape[1]} in row {i} (counted from 0). Fill up with NaN."
                )
        for i in np.flatnonzero(~given.present).tolist():
            rows[i] = rows[i] if blank is None else blank
        return ModalityData(self.name, object_array(rows), given.present)

    def _read_array(self, given: Given, values: np.ndarray) -> ModalityData:
        steps = floats(given.name, values, given.present)
        steps = steps[..., None] if steps.ndim == 2 else steps
        if steps.itemsize > 4:
            large = (np.abs(steps) > np.finfo(np.float32).max).reshape(len(steps), -1).any(axis=1) & given.present
            if large.any():
                raise DataError(
                    f"modality {given.name!r}: numbers of series must be at most 3.4e38 in size; larger in "
                    f"{tell_rows(np.flatnonzero(large))}. Make them NaN if they mean 'missing', or correct them."
                )
        if steps.ndim != 3:
            raise no_fit(given.name, self.name, values.shape)
        return ModalityData(self.name, steps, given.present & ~np.isnan(steps).all(axis=(1, 2)))

    def describe(self, spec: Spec) -> str:
        return f"up to {spec.max_length} steps of {spec.n_channels} channel(s)"

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        return axis_sizes(data, rows, ("steps",))

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Stretches of time, of each channel where there are few. `where` is (start, stop, first channel, stop)."""
        length, n_channels = np.shape(data.values[row])
        apart = 1 < n_channels <= most // _LEAST_STRETCHES
        channels = [(c, c + 1) for c in range(n_channels)] if apart else [(0, n_channels)]
        return [
            Unit(f"channel {c}, {_steps(a, b)}" if apart else _steps(a, b), (a, b, c, d))
            for c, d in channels
            for a, b in stretches(length, max(1, most // len(channels)))
        ]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Makes numbers missing."""
        values = []
        for of in kept:
            steps = np.array(data.values[row], dtype=np.float32)
            for unit, there in zip(units, of, strict=True):
                a, b, c, d = map(int, unit.where)
                if not there:
                    steps[a:b, c:d] = np.nan
            values.append(steps)
        return replace(super().keep(data, row, units, kept), values=object_array(values))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """A line for each channel, from its least to its largest number; stretches of one channel lie in its band."""
        steps = np.array(data.values[row], dtype=np.float64)
        n, n_channels = steps.shape
        boxes = [(u.where[0] / n, u.where[1] / n, u.where[2] / n_channels, u.where[3] / n_channels) for u in units]
        return Drawing(lines=steps, boxes=boxes, axes=("step", "channel" if n_channels > 1 else ""))

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        return []

    def near_numbers(self, data: ModalityData, like: ModalityData) -> np.ndarray:
        """The series as 32 steps."""
        n_channels = next((v.shape[1] for v, p in zip(like.values, like.present, strict=True) if p), 1)
        width = _STEPS * n_channels
        out = np.zeros((len(data), width))
        for i in np.flatnonzero(data.present):
            steps = _resampled(np.asarray(data.values[i]))
            out[i, : len(steps)] = steps[:width]
        return out


def _steps(start: int, stop: int) -> str:
    return f"step {start}" if stop == start + 1 else f"steps {start} to {stop - 1}"


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


def _resampled(series: np.ndarray) -> np.ndarray:
    at = np.linspace(0, len(series) - 1, _STEPS)
    filled = np.nan_to_num(series.reshape(len(series), -1).astype(np.float64))
    return np.stack([np.interp(at, np.arange(len(series)), column) for column in filled.T], axis=1).ravel()


SERIES = SeriesKind()
