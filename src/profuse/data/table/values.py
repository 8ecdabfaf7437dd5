"""Values of any type -> the one word that they are as a category or a class, and words found among known ones.

`1`, `1.0`, `Decimal("1.0")`, NumPy's and Arrow's `1` are one word, "1"; `b"red"` is "red". What differs as a value
stays apart: "Red" and "red" are two words, `profuse.data.table.spellings` tells of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import object_array
from profuse.data.table.missing import MISSING

__all__ = ["is_list", "is_missing", "match", "plain_objects", "word", "words"]

_TRUTH = {"true": True, "false": False, "1": True, "0": False}
_WHOLE = re.compile(r"([-+]?(?:0|[1-9]\d*))\.0")  # as Python and pandas write a whole number that is a float
_LARGEST_WHOLE = 10**300
_ONE_TYPE = ("string", "integer", "floating", "boolean", "mixed-integer-float", "categorical", "empty")


def word(value: Any) -> str | None:
    """Returns the word that `value` is, None where it is missing: an empty text, NaN, None, NA.

    Raises:
        DataError: Bytes that are no UTF-8.
    """
    value = _plain(value)
    if is_missing(value):
        return None
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, Decimal | Fraction):
        return _exact(value)
    if isinstance(value, float | np.floating):
        return str(int(value)) if np.isfinite(value) and value == int(value) else str(value)
    return hex(value) if isinstance(value, int) and abs(value) > _LARGEST_WHOLE else str(value)


def words(cells: pd.Series | np.ndarray) -> np.ndarray:
    """Returns the word of each cell, None where it is missing, lists as they are; `[row]` objects."""
    column = pd.Series(cells)
    values = column.to_numpy(dtype=object)
    if pd.api.types.infer_dtype(column, skipna=True) in _ONE_TYPE:  # equal values, equal words
        index, distinct = pd.factorize(column)
        names = object_array([*(word(v) for v in distinct), None])  # index -1, missing, is the last
        return np.asarray(names[index])
    return object_array([v if is_list(v) and len(v) else None if is_list(v) else word(v) for v in values])


def match(found: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Returns the place of each word of `found` in `known`, -1 where it is not there.

    Where a word itself is not there, "1.0" is "1", "TRUE" is "true", and if the known ones are true and false, or 1 and
    0, each way to write these counts.
    """
    place = {name: i for i, name in enumerate(known)}
    near: dict[str, set[int]] = defaultdict(set)
    only_truth = all(name.lower() in _TRUTH for name in known)
    for i, name in enumerate(known):
        near[_near(name, only_truth)].add(i)

    def find(name: str) -> int:
        alike = near.get(_near(name, only_truth), ())
        return place.get(name, next(iter(alike)) if len(alike) == 1 else -1)

    return np.array([find(name) for name in found], dtype=np.int64)


def plain_objects(cells: pd.Series) -> pd.Series:
    """Returns a column of Python objects with the plain values in it: bytes as words, Arrow's and NumPy's scalars and
    Decimals as numbers, true and false among 1 and 0 as booleans; bytes that are no UTF-8, and others, as they are.
    """
    if cells.dtype != object or pd.api.types.infer_dtype(cells, skipna=True) in (
        "string",
        "integer",
        "floating",
        "boolean",
    ):
        return cells
    plain = [_plain(v) for v in cells]
    known = [v for v in plain if not is_missing(v)]
    made = pd.Series(object_array(plain), index=cells.index, name=cells.name)
    if known and all(isinstance(v, Real | Decimal) for v in known):
        is_bool = [isinstance(v, bool) for v in known]
        if any(is_bool) and all(v in (0, 1) for v in known):
            made = made.map(lambda v: None if is_missing(v) else bool(v))
            return made.astype(bool) if len(known) == len(made) else made.astype(object)
        if not any(is_bool):
            return made.map(lambda v: np.nan if is_missing(v) else _float(v)).astype(np.float64)
    return made


def is_missing(value: Any) -> bool:
    """Whether a cell is empty, or says so in a word that nobody uses for anything else (`NaN`, `<NA>`)."""
    if isinstance(value, str):
        return not value.strip() or value.strip() in MISSING
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return (isinstance(value, float | np.floating) and value != value) or (
        isinstance(value, Decimal) and value.is_nan()
    )


def is_list(value: Any) -> bool:
    """Whether a cell is a list, tuple, set or array."""
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _plain(value: Any) -> Any:
    """Returns Python's own for NumPy's and Arrow's scalars, a float32 excepted, and text for bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:  # told where the column is used; it may be named in ignore
            return bytes(value)
    if type(value).__module__.startswith("pyarrow"):
        return value.as_py() if hasattr(value, "as_py") else value
    if isinstance(value, np.generic) and not isinstance(value, np.floating | np.datetime64 | np.timedelta64):
        return value.item()
    return value


def _exact(value: Any) -> str:
    """Returns the word of a number that is no float: that of the float that equals it, if there is one."""
    near = _float(value)
    if not np.isfinite(near):
        return str(value)
    if value == int(value):
        return str(int(value))
    return str(near) if Fraction(str(near)) == Fraction(value) else str(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of 400 digits
        return float("inf") if value > 0 else float("-inf")


def _near(name: str, only_truth: bool) -> str:
    """Returns what words have in common that are one value: "1.0" and "1", "True" and "TRUE"."""
    whole = _WHOLE.fullmatch(name)
    name = whole[1] if whole else name
    truth = _TRUTH.get(name.lower())
    return name if truth is None or (name in ("1", "0") and not only_truth) else str(truth)
