"""Which group each row belongs to, for training that must not serve a group worse: how it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.wording import tell_rows
from profuse.errors import DataError

__all__ = ["subgroup_names"]


def subgroup_names(values: Sequence[object] | np.ndarray | pd.Series, *, who: str, column: str | None) -> np.ndarray:
    """Returns the group of each row as words, `[row]`: `sex=f` of a column, `f` of values without a name.

    Args:
        values: `[row]`: words or numbers.
        who: Asks; messages begin with it.
        column: Where the values come from.

    Raises:
        DataError: They are not one value a row, or a row has none: a missing group is no group to be served.
    """
    what = "subgroups" if column is None else f"subgroups in column {column!r}"
    given = np.asarray(values, dtype=object)
    if given.ndim != 1:
        raise DataError(f"{who}: {what} must be one value a row; got shape={given.shape}. Name one column.")
    cells = pd.Series(given)
    empty = np.flatnonzero(cells.isna())
    if len(empty):
        raise DataError(
            f"{who}: {what} must stand in every row; empty in {tell_rows(empty)}. Fill them (a word such as unknown is "
            "a group of its own), or drop these rows."
        )
    before = "" if column is None else f"{column}="
    return np.array([before + _word(cell) for cell in cells], dtype=object)


def _word(cell: Any) -> str:
    if isinstance(cell, float | np.floating):
        return f"{float(cell):g}"
    return " ".join(str(cell).split()) or "(blank)"
