"""The column of a table that says how much rows count in learning."""

from __future__ import annotations

import numpy as np
import pandas as pd

from profuse.data.dataset import check_weights
from profuse.data.table.number_format import written_numbers
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import Schema

__all__ = ["weights_in"]


def weights_in(frame: pd.DataFrame, schema: Schema, *, who: str) -> np.ndarray | None:
    """Returns the weights of rows, `[row]`; None where the schema names no column of them.

    Args:
        frame: The table, names and types plain, without words for missing.
        schema: Resolved.
        who: The file, or who asks; messages begin with it.

    Raises:
        DataError: A cell is empty, or no finite number of at least 0; the rows are told.
    """
    column = schema.weight
    if column is None:
        return None
    weights, lost = written_numbers(column, frame[column], schema.numbers.get(column))
    what = f"weights in column {column!r}"
    if len(lost):
        raise DataError(
            f"{who}: {what} must be numbers; got {tell_values(frame[column].iloc[lost].unique(), n=3)} in "
            f"{tell_rows(lost)}. Correct them, or name another column (--weight)."
        )
    if len(empty := np.flatnonzero(np.isnan(weights))):
        raise DataError(f"{who}: {what} must stand in every row; empty in {tell_rows(empty)}. Fill them: 1, say.")
    check_weights(weights, who=who, what=what)
    return weights
