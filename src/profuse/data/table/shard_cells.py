"""Cells of a table as JSON, and back: each is, bit for bit, what it was.

| column | in JSON |
|---|---|
| of a text file | the words that stood there; in columns of numbers, numbers that JSON writes so are numbers |
| whole numbers, floats, booleans, words | as JSON has them; floats by the fewest digits that tell them |
| times | `2024-05-01T12:30:00`, in UTC where the column has a zone |
| durations | their number in the unit of the column |
| lists, dicts, arrays | as JSON has them |
| Decimals | numbers, as all readers take them |
| missing | null |
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import object_array
from profuse.data.table.shard_index import TEXT, ShardColumn
from profuse.data.wording import counted
from profuse.errors import DataError

__all__ = ["ColumnWriter", "cells_of", "is_number", "type_of"]

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_LARGEST_WHOLE = 2**53
_HOLDS: dict[str, set[type]] = {
    "str": {str}, "bool": {bool}, "int": {int}, "uint": {int}, "float": {int, float},
}  # fmt: skip
"""What JSON has of columns, by the first letters of their types."""


class ColumnWriter:
    """Writes the cells of a column, piece by piece, as JSON; what tells their type is complete after the last one.

    Args:
        name: Of the column.
        as_written: Whether its cells are the words of a text file.
        is_number: Whether these are numbers.
        member: Of its files; see `ShardColumn`.
    """

    def __init__(self, name: str, *, as_written: bool, is_number: bool = False, member: str | None = None) -> None:
        self.name, self.member = name, member
        self._as_written, self._is_number = as_written, is_number
        self._types: set[str] = set()
        self._categories: list[Any] = []
        self._categories_type = "str"
        self._ordered = False
        self._of_objects: set[bool] = set()  # whether they are Decimals

    def literals(self, cells: pd.Series, first: int) -> list[str]:
        """Returns each cell as JSON.

        Args:
            cells: Of a piece of the table.
            first: The number of its first row, for messages.

        Raises:
            DataError: A cell cannot be written; its row is told.
        """
        missing = cells.isna().to_numpy(dtype=bool)
        if self._as_written:
            return [self._word(None if gone else v) for v, gone in zip(cells, missing, strict=True)]
        kind = cells.dtype
        if isinstance(kind, pd.CategoricalDtype):
            self._types.add("category")
            self._add_categories(kind, first)
            cells = cells.astype(kind.categories.dtype)
        else:
            self._types.add(str(kind))
        values, known = _plain_values(cells), [int(i) for i in np.flatnonzero(~missing)]
        if pd.api.types.is_object_dtype(kind):
            self._of_objects |= {isinstance(values[i], Decimal) for i in known}
        out = ["null"] * len(cells)
        for i in known:
            out[i] = self._literal(values[i], first + i)
        return out

    @property
    def column(self) -> ShardColumn:
        """What is to be said of the column."""
        if self._as_written:
            return ShardColumn(name=self.name, type=TEXT, member=self.member)
        type_ = next(iter(self._types)) if len(self._types) == 1 else "object"
        if self._types == {"object"} and self._of_objects == {True}:
            type_ = "float64"
        more: dict[str, Any] = {}
        if type_ == "category":
            more = {"categories": self._categories, "categories_type": self._categories_type, "ordered": self._ordered}
        return ShardColumn(name=self.name, type=type_, member=self.member, **more)

    def _word(self, word: Any) -> str:
        if word is None:
            return "null"
        return str(word) if self._is_number and _NUMBER.fullmatch(word) else _dumped(word)

    def _literal(self, value: Any, row: int) -> str:
        try:
            return _dumped(_plain(value))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(
                f"row {counted(row)} (counted from 0), column {self.name!r}: cells must be numbers, words, times, or "
                f"lists of them, and finite; got {str(value)[:60]!r} ({type(value).__name__}). Convert the column, or "
                "empty the cell if it means 'missing'."
            ) from error

    def _add_categories(self, kind: pd.CategoricalDtype, first: int) -> None:
        names = pd.Series(kind.categories)
        plain = [json.loads(self._literal(v, first)) for v in _plain_values(names)]
        if kind.ordered and self._categories and plain != self._categories:
            raise DataError(
                f"column {self.name!r}: ordered categories must be the same in all rows; others begin about row "
                f"{counted(first)}. Write the table with one type of category."
            )
        self._ordered, self._categories_type = bool(kind.ordered), str(names.dtype)
        known = {_dumped(v) for v in self._categories}
        self._categories += [v for v in plain if _dumped(v) not in known]


def cells_of(values: Sequence[Any], column: ShardColumn) -> pd.Series:
    """Returns the cells of a column of which JSON has `values`, in its type.

    Raises:
        DataError: They do not fit the type.
    """
    try:
        if column.type == "category":
            names = cells_of(column.categories or [], ShardColumn(name="", type=column.categories_type or "str"))
            kind = pd.CategoricalDtype(pd.Index(names), ordered=column.ordered)
            return pd.Series(cells_of(values, ShardColumn(name="", type=str(names.dtype))), dtype=kind)
        if column.type == "object":
            return pd.Series(object_array(list(values)), dtype=object)
        if column.type.startswith("datetime64"):
            zoned = re.findall(r", (.+)\]", column.type)
            unit = re.findall(r"\[(\w+)", column.type)[0]
            times = pd.Series(np.array([_instant(v) for v in values], dtype=f"datetime64[{unit}]"))
            return times.dt.tz_localize("UTC").dt.tz_convert(zoned[0]) if zoned else times
        if column.type.startswith("timedelta64"):
            spans = np.array([np.iinfo(np.int64).min if v is None else v for v in values], dtype=np.int64)
            return pd.Series(spans.view(column.type))
        kinds = {type(v) for v in values if v is not None}
        wanted = next((of for name, of in _HOLDS.items() if column.type.startswith(name)), set())
        if kinds - wanted:
            raise TypeError(f"values of type {', '.join(sorted(k.__name__ for k in kinds - wanted))}")
        if column.type.startswith(("bool", "int", "uint")) and None in values:
            raise TypeError("missing values")
        if column.type == "str":
            return pd.Series(list(values), dtype="str")
        if column.type.startswith("float"):
            return pd.Series(np.array([np.nan if v is None else v for v in values], np.float64).astype(column.type))
        return pd.Series(np.array(list(values), dtype=column.type))
    except (TypeError, ValueError, OverflowError, IndexError) as error:
        raise DataError(
            f"column {column.name!r}: its values must be of type {column.type}, as index.json says; got "
            f"{' '.join(str(error).split())[:100]}. Copy the folder again, or write the shards anew."
        ) from error


def is_number(cells: pd.Series) -> bool:
    """Whether all cells of a column of a text file, but for missing ones, are numbers as JSON writes them."""
    known = cells.dropna()
    return len(known) > 0 and all(isinstance(v, str) and _NUMBER.fullmatch(v) is not None for v in known)


def type_of(types: set[type], *, missing: bool, largest: int) -> str:
    """Returns the type of a column whose JSON values are of these types.

    Args:
        types: Of its values.
        missing: Whether some are null or lacking.
        largest: The size of its largest whole number.
    """
    if types == {str}:
        return "str"
    if types == {bool} and not missing:
        return "bool"
    if types == {int}:
        exact = largest < 2**63
        return ("int64" if exact else "object") if not missing else "float64" if largest <= _LARGEST_WHOLE else "object"
    return "float64" if types and types <= {int, float} else "object"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _instant(value: Any) -> np.datetime64:
    return np.datetime64("NaT") if value is None else np.datetime64(str(value).removesuffix("Z"))


def _plain_values(cells: pd.Series) -> Sequence[Any]:
    """Returns times as words, durations as whole numbers, and other cells as they are."""
    kind = cells.dtype
    if isinstance(kind, pd.DatetimeTZDtype):
        plain = cells.dt.tz_convert("UTC").dt.tz_localize(None)
        return [f"{v}Z" for v in np.datetime_as_string(plain.to_numpy())]
    if isinstance(kind, np.dtype) and kind.kind == "M":
        return [str(v) for v in np.datetime_as_string(cells.to_numpy())]
    if isinstance(kind, np.dtype) and kind.kind == "m":
        spans: list[int] = cells.to_numpy().view(np.int64).tolist()
        return spans
    if isinstance(kind, np.dtype) and kind.kind in "biuf":
        return list(cells.to_numpy().tolist())
    return list(cells.to_numpy(dtype=object))


def _plain(value: Any) -> Any:
    """Returns what JSON can hold for a Python value.

    Raises:
        TypeError: There is nothing.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float | np.floating | Decimal):
        return None if value != value else float(value)
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in (value.tolist() if value.dtype != object else value)]
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        return value.item()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(type(value).__name__)
