"""Tables: numbers robustly scaled and binned, categories coded, time stamps turned into a trend and cycles.

One input column gives one column of `Raw`, but a time stamp, which gives several.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch

from profuse._lookup import nearest
from profuse.data.dataset import ModalityData
from profuse.data.preprocess import _cells
from profuse.data.preprocess._base import Preprocessor
from profuse.data.table.unseen import Unseen, new_share
from profuse.data.table.values import match, words
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
        low, q25, q50, q75, high = np.quantile(x, (0.0, 0.25, 0.5, 0.75, 1.0))
        # most cells equal: the quartiles coincide, the range does not
        unit = q75 - q25 if q75 > q25 else (high - low) / 2.0
        number = cls(name, float(q50), 1.0 / max(float(unit), 1.0 / _cells.LARGEST) if unit > 0 else 0.0, ())
        z = np.round(number.apply(x), 6)  # no bin is narrower than float32 can tell
        cuts = np.quantile(z, np.linspace(0.0, 1.0, max_bins + 1), method="nearest")
        few = np.unique(z)
        edges = few if len(few) <= max_bins + 1 else np.unique(cuts)
        return cls(name, number.center, number.scale, tuple(float(e) for e in edges))

    def apply(self, x: np.ndarray) -> np.ndarray:
        if self.center is None:
            return np.full(len(x), np.nan)
        z: np.ndarray = np.clip((x - self.center) * self.scale, -_cells.LARGEST, _cells.LARGEST)
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
        feature_names: Name of each column of `features`.
        category_features: For each column of `features`, whether it holds codes of a category.

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
        frame = _frame(data)
        if frame.shape[1] == 0:
            raise DataError(f"{_WHO}: the table must have at least one column; got 0.")
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise DataError(f"{_WHO}: column names must differ; got {twice[0]!r} twice. Rename one of them.")
        if not data.present.any():
            raise DataError(f"{_WHO}: at least one training row must be present; got none. Leave the modality out.")
        frame = frame[data.present]
        n_bins = max(1, min(self.max_bins, len(frame) // self.rows_per_bin))
        self._columns = tuple(_fit_column(name, frame[name], n_bins) for name in frame.columns)
        self._describe()

    def transform(self, data: ModalityData) -> Raw:
        frame = self._check(data)
        parts: list[np.ndarray] = []
        for column in self._columns:
            cells = frame[column.name]
            if column.kind == "category":
                parts.append(_codes(column, cells))
            elif column.kind == "numeric":
                parts.append(column.numbers[0].apply(_cells.numbers(cells)))
            else:
                raw = _cells.clock_columns(_cells.times_of(column.name, cells, column.zone), column.cycles)
                parts.extend(number.apply(x) for number, x in zip(column.numbers, raw, strict=True))
        filled = np.full((len(data), len(parts)), np.nan)
        filled[data.present] = np.stack(parts, axis=1)
        mask = ~np.isnan(filled)
        values = np.where(mask, filled, 0.0).astype(np.float32)
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def features(self, data: ModalityData) -> np.ndarray:
        """Returns raw numbers, codes 0, 1, ... of categories, and days since 1970 and positions in cycles, in days.

        NaN = missing, or a category that train has not seen; see `category_features`.
        """
        frame = self._check(data)
        parts: list[np.ndarray] = []
        for column in self._columns:
            cells = frame[column.name]
            if column.kind == "category":
                code = _codes(column, cells)
                parts.append(np.where(code > 0, code - 1, np.nan))
            elif column.kind == "numeric":
                parts.append(_cells.numbers(cells))
            else:
                times = _cells.times_of(column.name, cells, column.zone)
                parts.append(_cells.days(times))
                parts.extend(_cells.CYCLES[cycle][1](times).to_numpy(np.float64) for cycle in column.cycles)
        out = np.full((len(data), len(parts)), np.nan)
        out[data.present] = np.stack(parts, axis=1)
        return out

    def unseen(self, data: ModalityData) -> list[Unseen]:
        frame = self._check(data)
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
        features: list[str] = []
        for column in self._columns:
            if column.kind == "category":
                cardinalities.append(len(column.categories) + 1)
                edges.append(())
                names.append(column.name)
            cardinalities.extend(0 for _ in column.numbers)
            edges.extend(number.edges for number in column.numbers)
            names.extend(number.name for number in column.numbers)
            features.append(column.name)
            features.extend(f"{column.name}.{cycle}" for cycle in column.cycles)
        self.spec = Spec(kind="table", cardinalities=tuple(cardinalities), edges=tuple(edges))
        self.names = tuple(names)
        self.feature_names = tuple(features)
        codes = {column.name for column in self._columns if column.kind == "category"}
        self.category_features = tuple(name in codes for name in features)

    def _check(self, data: ModalityData) -> pd.DataFrame:
        """Returns the present rows; their columns are those that were fitted."""
        frame = _frame(data)
        known = [column.name for column in self._columns]
        lacking = [name for name in known if name not in frame.columns]
        unknown = [name for name in frame.columns if name not in known]
        if lacking or unknown or frame.columns.has_duplicates:
            near = [f"{u!r} is near {n[0]!r}" for u in unknown if (n := nearest(u, known))]
            raise DataError(
                f"{_WHO}: the columns must be those of train, once each; got lacking={lacking}, unknown={unknown}, "
                f"twice={sorted(set(frame.columns[frame.columns.duplicated()]))}. "
                + (f"({'; '.join(near)}.) " if near else "")
                + "Rename, add or drop columns; a column without values may be all NaN."
            )
        return frame[data.present]


def _frame(data: ModalityData) -> pd.DataFrame:
    if data.frame is None:
        raise DataError(
            f"{_WHO}: it must be given a table; got kind={data.kind!r}, values={type(data.values).__name__}."
        )
    return data.frame.rename(columns=str)


def _fit_column(name: str, cells: pd.Series, n_bins: int) -> _Column:
    kind = _cells.kind(name, cells)
    if kind == "category":
        return _Column(name, kind, categories=_cells.categories(name, cells), new_share=new_share(words(cells)))
    if kind == "numeric":
        return _Column(name, kind, numbers=(_Number.fit(name, _cells.numbers(cells), n_bins),))
    zone = _cells.zone_of(name, cells)
    times = _cells.times_of(name, cells, zone)
    days = _cells.days(times)
    span = np.nanmax(days) - np.nanmin(days) if not np.isnan(days).all() else 0.0
    cycles = tuple(
        c for c, (period, at) in _cells.CYCLES.items() if span >= period and at(times).round(6).nunique() > 1
    )
    names = (name, *(f"{name}.{cycle}_{wave}" for cycle in cycles for wave in ("sin", "cos")))
    columns = zip(names, _cells.clock_columns(times, cycles), strict=True)
    numbers = tuple(_Number.fit(n, x, n_bins) for n, x in columns)
    return _Column(name, kind, numbers=numbers, cycles=cycles, zone=zone)


def _plain(value: Any) -> Any:
    """Returns the same with lists for tuples, as JSON gives it back."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _codes(column: _Column, cells: pd.Series) -> np.ndarray:
    """Returns codes as floats: NaN = missing, 0 = not seen in train."""
    if not column.categories:
        return np.full(len(cells), np.nan)
    index, found = _cells.factorize(column.name, cells)
    codes: np.ndarray = np.append(match(found, column.categories) + 1.0, np.nan)
    return np.asarray(codes[index])
