"""Halves of characters (a surrogate alone, as where an emoji was cut) in the cells of a table: they are refused.

No file and hardly any library can hold one, so that it would fail later, and far from its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.wording import tell_rows
from profuse.errors import DataError

__all__ = ["HALF", "check_names", "check_whole", "has_half"]

HALF = "characters must be whole; got half of one, as \\ud83d is of an emoji that was cut off"


def has_half(value: Any) -> bool:
    """Whether a text, or a text in lists and dicts, holds half a character."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if not item.isascii() and _fails(item):
                return True
        elif isinstance(item, list | tuple | set | frozenset):
            pending += item
        elif isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
    return False


def check_names(names: Iterable[str]) -> None:
    """Checks the names of columns.

    Raises:
        DataError: A half stands in one.
    """
    for name in names:
        if has_half(name):
            raise DataError(f"column {name!a}: {HALF}. Rename it.")


def check_whole(frame: pd.DataFrame) -> None:
    """Checks names and cells of a table.

    Raises:
        DataError: A half stands in one; column and rows are told.
    """
    check_names(frame.columns)
    for place, name in enumerate(frame.columns):
        shown = ascii(name)
        cells = frame.iloc[:, place]
        if pd.api.types.is_object_dtype(cells.dtype):
            rows = np.flatnonzero([has_half(v) for v in cells.to_numpy(dtype=object)])
            if len(rows):
                raise DataError(f"column {shown}: {HALF}, in {tell_rows(rows)}. Correct or drop these characters.")


def _fails(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
