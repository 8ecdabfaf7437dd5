"""Tables as raw numbers, codes of categories, and parts of times."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from profuse.data import typed_cells
from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features

__all__ = ["TableFeatures"]


@dataclass(frozen=True)
class _Column:
    """What was learned of one column."""

    name: str
    kind: Literal["numeric", "category", "timestamp"]
    categories: tuple[str, ...] = ()
    cycles: tuple[str, ...] = ()
    zone: str | None = None

    @classmethod
    def fit(cls, name: str, cells: pd.Series) -> _Column:
        kind = typed_cells.kind(name, cells)
        if kind == "category":
            return cls(name, kind, categories=typed_cells.categories(name, cells))
        if kind == "numeric":
            return cls(name, kind)
        zone = typed_cells.zone_of(name, cells)
        return cls(name, kind, cycles=typed_cells.cycles(typed_cells.times_of(name, cells, zone)), zone=zone)

    def read(self, cells: pd.Series) -> list[np.ndarray]:
        """Returns the features of a column, `[row]` each."""
        if self.kind == "category":
            code = typed_cells.codes(self.name, self.categories, cells)
            return [np.where(code > 0, code - 1, np.nan)]
        if self.kind == "numeric":
            return [typed_cells.numbers(cells)]
        times = typed_cells.times_of(self.name, cells, self.zone)
        places = (typed_cells.CYCLES[cycle][1](times).to_numpy(np.float64) for cycle in self.cycles)
        return [typed_cells.days(times), *places]


class TableFeatures(Features):
    """Raw numbers, codes 0, 1, ... of categories, and days since 1970 and positions in cycles, in days, of times.

    NaN = missing, or a category that train has not seen.

    Attributes:
        names: Name of each feature.
    """

    takes = "table"

    def __init__(self) -> None:
        self._columns: tuple[_Column, ...] = ()

    def fit(self, data: ModalityData) -> None:
        frame = typed_cells.first_frame(data)
        self._columns = tuple(_Column.fit(name, frame[name]) for name in frame.columns)
        self._describe()

    def transform(self, data: ModalityData) -> np.ndarray:
        frame = typed_cells.known_frame(data, [column.name for column in self._columns])
        x = np.full((len(data), len(self.names)), np.nan)
        x[data.present] = np.stack([part for c in self._columns for part in c.read(frame[c.name])], axis=1)
        return x

    def state(self) -> dict[str, Any]:
        return {
            "columns": [
                {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(c).items()} for c in self._columns
            ]
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._columns = tuple(
            _Column(c["name"], c["kind"], tuple(c["categories"]), tuple(c["cycles"]), c["zone"])
            for c in state["columns"]
        )
        made._describe()
        return made

    def _describe(self) -> None:
        of = [
            (name, c.kind == "category")
            for c in self._columns
            for name in (c.name, *(f"{c.name}.{i}" for i in c.cycles))
        ]
        self.names = tuple(name for name, _ in of)
        self.categories = tuple(coded for _, coded in of)
