"""The type of a column of a database, told by all its values, so that a piece of it is what it is in the whole."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pandas as pd

__all__ = ["SqlColumn"]

_LARGEST_WHOLE = 2**53  # float64 holds every whole number up to here
_LARGEST_INT64 = 2**63 - 1
_TRUTH = ("true", "false")


class SqlColumn:
    """What the values of a column, a piece at a time, tell of its type.

    | all values are | the column is |
    |---|---|
    | whole numbers | int64; with NULL float64; objects beyond 64 bits, or beyond 2^53 with NULL |
    | numbers, decimals too | float64 |
    | true and false | bool; objects with NULL |
    | texts | str |
    | others, or of several types | objects |

    Attributes:
        only_truth: Whether all its values are true and false, as booleans or as words.
    """

    def __init__(self) -> None:
        self.only_truth = True
        self._types: set[type] = set()
        self._has_missing = False
        self._low = self._high = 0

    def see(self, values: Sequence[Any]) -> None:
        """Takes note of more of its values; None is NULL."""
        types, low, high = _about(values)
        self._has_missing |= type(None) in types
        self._types |= types - {type(None)}
        self._low, self._high = min(self._low, low), max(self._high, high)
        self.only_truth = self.only_truth and all(v is None or _word(v) in _TRUTH for v in values)

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether these may be some of the values that were seen."""
        types, low, high = _about(values)
        if type(None) in types and not self._has_missing:
            return False
        return types - {type(None)} <= self._types and self._low <= low and high <= self._high

    @property
    def dtype(self) -> str:
        """The type of the column in a data frame."""
        if self._types == {int}:
            reach = max(-self._low, self._high)
            if self._has_missing:
                return "float64" if reach <= _LARGEST_WHOLE else "object"
            return "int64" if reach <= _LARGEST_INT64 else "object"
        if self._types and self._types <= {int, float, Decimal}:
            return "float64"
        if self._types == {bool}:
            return "object" if self._has_missing else "bool"
        return "str" if self._types == {str} else "object"

    def cells(self, values: Sequence[Any]) -> pd.Series:
        """Returns values that were seen, as a data frame holds them."""
        dtype = self.dtype
        if dtype == "float64":
            values = [None if v is None else float(v) for v in values]
        return pd.Series(values, dtype=dtype)


def _about(values: Sequence[Any]) -> tuple[set[type], int, int]:
    """Returns the types of the values, and the smallest and the largest whole number, or 0."""
    types = set(map(type, values))
    if int not in types:
        return types, 0, 0
    whole = values if types == {int} else [v for v in values if type(v) is int]
    return types, min(0, min(whole)), max(0, max(whole))


def _word(value: Any) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).lower()
