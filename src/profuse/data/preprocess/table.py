"""Tables: numbers robustly scaled and binned, categories coded, time stamps turned into a trend and cycles.

One input column gives one column of `Raw`, but a time stamp, which gives several.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch

from profuse.data import typed_cells
from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.table.unseen import Unseen, new_share
from profuse.data.table.values import words
from profuse.errors import DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["TablePreprocessor"]

_WHO = "TablePreprocessor"
_BOUND = 3.0  # scaled values lie in -3..3


@dataclass(frozen=True)
class _Number:
    """x -> z / sqrt(1 + (z / 3)^2) with z = scale (x - center).

    scale 0 = constant in train, center None = not a single value in train.
    """

    name: str
    center: float | None
    scale: float
    edges: tuple[float, ...]

    @classmethod
    def fit(cls, name: str, x: np.ndarray, max_bins: int) -> _Number:
        x = x[~np.isnan(x)]
        if not len(x):
            return cls(name, None, 0.0, ())
        x = np.sort(x)  # once: a table may have twenty thousand columns
        at = np.array((0.25, 0.5, 0.75)) * (len(x) - 1)
        low, high = x[np.floor(at).astype(np.int64)], x[np.ceil(at).astype(np.int64)]
        q25, q50, q75 = low + (at % 1.0) * (high - low)
        # most cells equal: the quartiles coincide, the range does not
        unit = q75 - q25 if q75 > q25 else (x[-1] - x[0]) / 2.0
        number = cls(name, float(q50), 1.0 / max(float(unit), 1.0 / typed_cells.LARGEST) if unit > 0 else 0.0, ())
        z = np.round(number.apply(x), 6)  # no bin is narrower than float32 can tell
        few = z[np.concatenate([[True], z[1:] > z[:-1]])]
        if len(few) > max_bins + 1:
            cuts = z[np.rint(np.linspace(0.0, 1.0, max_bins + 1) * (len(z) - 1)).astype(np.int64)]
            few = cuts[np.concatenate([[True], cuts[1:] > cuts[:-1]])]
        return cls(name, number.center, number.scale, tuple(few.tolist()))

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.center is None:
            return np.full(len(x), np.nan)
        z: np.ndarray = np.clip((x - self.center) * self.scale, -typed_cells.LARGEST, typed_cells.LARGEST)
        return z / np.hypot(1.0, z / _BOUND)


@dataclass(frozen=True)
class _Column:
    """What was learned of one input column."""

    name: str
    kind: Literal["numeric", "category", "timestamp"]
    numbers: tuple[_Number, ...] = ()
    categories: tuple[str, ...] = ()
    cycles: tuple[str, ...] = ()
    zone: str | None = None
    new_share: float = 0.0


class TablePreprocessor(Preprocessor):
    """Numbers -> scaled numbers with bin edges; categories -> codes; time stamps -> trend and cycles.

    - *number*: z = (x - median) / (q75 - q25), then z / sqrt(1 + (z/3)^2), as RealMLP does. It bounds outliers
      and still keeps any two numbers apart and in order, inside and outside the range of train, where a quantile
      transform collapses what train has not seen; bins at the quantiles (piecewise-linear embeddings) give the
      rest of what a quantile transform gives. Where the quartiles coincide, half the range is the unit. A column
      that is constant in train is 0 and has one edge.
    - *category* (str, object, bool, pandas category): code 1, 2, ... in the order of an ordered category, else
      numbers by value, then names by alphabet. Rare ones keep their own code. Code 0 = not seen in train.
    - *time stamp*: days since 1970 scaled as a number, and sine and cosine of the time of year, of week and of
      day, each cycle only if train spans one whole period and holds more than one phase of it. A time zone is
      kept as fitted: the clock on the wall counts.
    - *missing* (NaN, None, NaT, pd.NA): mask False, value 0. So is any cell of a column without a single value
      in train, of which nothing is known. A row without a real cell is an absent row.

    Args:
        max_bins: The largest number of bins of a number; fewer where train has fewer than `rows_per_bin` rows for
            each, or fewer distinct values.
        rows_per_bin: Training rows that a bin should hold.

    Attributes:
        names: Name of each column of `Raw`.

    Reference:
        Holzmueller, Grinsztajn, Steinwart, "Better by Default" (2024), section 3 (scaling); Gorishniy, Rubachev,
        Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning" (2022), section 3.2 (bins).
    """

    takes = "table"

    def __init__(self, *, max_bins: int = 48, rows_per_bin: int = 16) -> None:
        if max_bins < 1 or rows_per_bin < 1:
            raise DataError(
                f"{_WHO}: max_bins and rows_per_bin must be at least 1; got max_bins={max_bins}, "
                f"rows_per_bin={rows_per_bin}."
            )
        self.max_bins = max_bins
        self.rows_per_bin = rows_per_bin
        self._columns: tuple[_Column, ...] = ()

    def fit(self, data: ModalityData) -> None:
        frame = typed_cells.first_frame(data)
        n_bins = max(1, min(self.max_bins, len(frame) // self.rows_per_bin))
        self._columns = tuple(_fit_column(name, frame[name], n_bins) for name in frame.columns)
        self._describe()

    def transform(self, data: ModalityData) -> Raw:
        frame = typed_cells.known_frame(data, [c.name for c in self._columns])
        parts: list[np.ndarray] = []
        for column in self._columns:
            cells = frame[column.name]
            if column.kind == "category":
                parts.append(typed_cells.codes(column.name, column.categories, cells))
            elif column.kind == "numeric":
                parts.append(column.numbers[0].apply(typed_cells.numbers(cells)))
            else:
                raw = typed_cells.clock_columns(typed_cells.times_of(column.name, cells, column.zone), column.cycles)
                parts.extend(number.apply(x) for number, x in zip(column.numbers, raw, strict=True))
        filled = np.full((len(data), len(parts)), np.nan)
        filled[data.present] = np.stack(parts, axis=1)
        mask = ~np.isnan(filled)
        values = np.where(mask, filled, 0.0).astype(np.float32)
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def unseen(self, data: ModalityData) -> list[Unseen]:
        frame = typed_cells.known_frame(data, [c.name for c in self._columns])
        return [
            Unseen.of(c.name, words(frame[c.name]), c.categories, c.new_share)
            for c in self._columns
            if c.kind == "category"
        ]

    def state(self) -> dict[str, Any]:
        return {
            "max_bins": self.max_bins,
            "rows_per_bin": self.rows_per_bin,
            "columns": [_plain(asdict(column)) for column in self._columns],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls(max_bins=state["max_bins"], rows_per_bin=state["rows_per_bin"])
        new._columns = tuple(
            _Column(
                name=c["name"],
                kind=c["kind"],
                numbers=tuple(_Number(n["name"], n["center"], n["scale"], tuple(n["edges"])) for n in c["numbers"]),
                categories=tuple(c["categories"]),
                cycles=tuple(c["cycles"]),
                zone=c["zone"],
                new_share=c.get("new_share", 0.0),  # models of earlier versions have none
            )
            for c in state["columns"]
        )
        new._describe()
        return new

    def _describe(self) -> None:
        cardinalities: list[int] = []
        edges: list[tuple[float, ...]] = []
        names: list[str] = []
        for column in self._columns:
            if column.kind == "category":
                cardinalities.append(len(column.categories) + 1)
                edges.append(())
                names.append(column.name)
            cardinalities.extend(0 for _ in column.numbers)
            edges.extend(number.edges for number in column.numbers)
            names.extend(number.name for number in column.numbers)
        self.spec = Spec(
            kind="table", cardinalities=tuple(cardinalities), n_columns=len(self._columns), edges=tuple(edges)
        )
        self.names = tuple(names)


def _fit_column(name: str, cells: pd.Series, n_bins: int) -> _Column:
    kind = typed_cells.kind(name, cells)
    if kind == "category":
        return _Column(name, kind, categories=typed_cells.categories(name, cells), new_share=new_share(words(cells)))
    if kind == "numeric":
        return _Column(name, kind, numbers=(_Number.fit(name, typed_cells.numbers(cells), n_bins),))
    zone = typed_cells.zone_of(name, cells)
    times = typed_cells.times_of(name, cells, zone)
    cycles = typed_cells.cycles(times)
    names = (name, *(f"{name}.{cycle}_{wave}" for cycle in cycles for wave in ("sin", "cos")))
    columns = zip(names, typed_cells.clock_columns(times, cycles), strict=True)
    numbers = tuple(_Number.fit(n, x, n_bins) for n, x in columns)
    return _Column(name, kind, numbers=numbers, cycles=cycles, zone=zone)


def _plain(value: Any) -> Any:
    """Returns the same with lists for tuples, as JSON gives it back."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
