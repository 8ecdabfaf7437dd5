"""Which columns of a text table stay words, where it is learned from and read in pieces.

It decides as `read_delimited` does on the whole text: what are not surely numbers are words. These are booleans, codes
as 007, numbers that can be read in two ways (1.250), and words such as NA and None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from profuse.data.table.cells import as_truth
from profuse.data.table.delimited import all_two_ways, may_be_thousands

__all__ = ["FoundWords"]

_CODE = r"\s*[-+]?0\d"


@dataclass
class _Column:
    """What all cells of a column of numbers tell."""

    is_code: bool = False
    is_filled: bool = False
    two_ways: bool = True
    has_point: bool = False


@dataclass
class FoundWords:
    """Finds the columns; `add` is given each piece, all its cells as words.

    Args:
        types: Of the columns, as pandas finds them: "int64", "float64", "str", "bool" or "object".
        empty: Columns in which it finds no cell filled; NA and the like are none.

    Attributes:
        mixed: Columns that hold other words than true and false.
    """

    types: Mapping[str, str]
    empty: frozenset[str]
    mixed: set[str] = field(default_factory=set)
    _seen: dict[str, _Column] = field(default_factory=dict)

    def add(self, frame: pd.DataFrame) -> None:
        """Looks at a piece."""
        for name, cells in frame.items():
            column, type_ = self._seen.setdefault(str(name), _Column()), self.types[str(name)]
            if as_truth(cells) is cells:
                self.mixed.add(str(name))
            column.is_filled |= bool(cells.notna().any())
            if type_ in ("int64", "float64"):
                column.is_code = column.is_code or bool(cells.str.match(_CODE).any())
            if type_ == "float64" and column.two_ways:
                column.two_ways = may_be_thousands(pd.to_numeric(cells, errors="coerce")) and all_two_ways(cells)
                column.has_point |= bool(cells.str.contains(".", regex=False).any())

    @property
    def names(self) -> set[str]:
        """The columns that stay words."""
        return {name for name, column in self._seen.items() if self._stays(name, column)}

    @property
    def decimal_points(self) -> bool:
        """Whether a column shows that points part decimals in this table."""
        floats = [name for name, type_ in self.types.items() if type_ == "float64" and name not in self.empty]
        return any(not self._seen[name].two_ways for name in floats)

    def _stays(self, name: str, column: _Column) -> bool:
        if name in self.empty:
            return column.is_filled
        if self.types[name] not in ("int64", "float64"):
            return True
        return column.is_code or (self.types[name] == "float64" and column.two_ways and column.has_point)
