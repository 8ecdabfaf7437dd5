"""Draws -> cells: the filled table, its spread, and all samples in long form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from profuse.data._wording import tell_values
from profuse.data.cells import object_array
from profuse.errors import DataError
from profuse.imputation.coding import Coding, Part
from profuse.imputation.methods import Drawn

__all__ = ["SPREAD", "check_names", "filled_table", "flag_of", "long_form"]

SPREAD = "_spread"


def flag_of(modality: str) -> str:
    """Returns the name of the column that tells which rows were filled."""
    return f"{modality}_filled"


def check_names(frame: pd.DataFrame, modality: str, parts: Sequence[Part]) -> None:
    """Checks that the columns that are added are not there yet.

    Raises:
        DataError: One is.
    """
    added = [flag_of(modality), *(f"{part.column}{SPREAD}" for part in parts if part.kind != "cell")]
    there = [name for name in added if name in {str(c) for c in frame.columns}]
    if there:
        raise DataError(
            f"impute: the columns that it adds must not be there yet; got {tell_values(there)}. Rename or drop them."
        )


def filled_table(
    frame: pd.DataFrame, rows: np.ndarray, modality: str, coding: Coding, drawn: Drawn, donors: pd.DataFrame
) -> pd.DataFrame:
    """Returns `frame` with the cells of the modality filled in `rows`, their spread, and which rows these are.

    Args:
        frame: The table, as it came.
        rows: Row numbers that are filled, from 0.
        modality: Its name.
        coding: Of its cells.
        drawn: Draws for `rows`.
        donors: The cells of the training rows, which are copied.
    """
    out = frame.copy()
    place = {str(c): i for i, c in enumerate(frame.columns)}
    added: dict[str, np.ndarray] = {}
    for part in coding.parts:
        i = place[part.column]
        new = _answers(part, coding, drawn, donors)
        if pd.api.types.is_float_dtype(frame.dtypes.iloc[i]) and frame.dtypes.iloc[i] == np.float64:
            cells: Any = frame.iloc[:, i].to_numpy(copy=True)
            cells[rows] = new
        else:
            cells = frame.iloc[:, i].to_numpy(dtype=object, copy=True)
            for row, value in zip(rows, new, strict=True):
                cells[row] = value
            cells = pd.Series(cells, index=frame.index).infer_objects()
        out.isetitem(i, cells)
        if part.kind != "cell":
            added[f"{part.column}{SPREAD}"] = _spread(part, coding, drawn, rows, len(frame))
    flag = np.zeros(len(frame), dtype=bool)
    flag[rows] = True
    added[flag_of(modality)] = flag
    return pd.concat([out, pd.DataFrame(added, index=frame.index)], axis=1)


def long_form(rows: np.ndarray, names: np.ndarray, coding: Coding, drawn: Drawn, donors: pd.DataFrame) -> pd.DataFrame:
    """Returns one line for each filled row and sample: its name in `names`, the sample's number from 0, the cells.

    A column of the modality that is called row or sample itself becomes row_value or sample_value, which
    goes on where that is another column's name.
    """
    n_samples, n_rows = len(drawn.samples), len(rows)
    given = {part.column for part in coding.parts}
    columns: dict[str, Any] = {
        "row": np.repeat(names[rows], n_samples),
        "sample": np.tile(np.arange(n_samples), n_rows),
    }
    for part in coding.parts:
        name = part.column
        while name in ("row", "sample") or (name != part.column and name in given):
            name += "_value"
        if part.kind == "cell":
            assert drawn.donors is not None
            columns[name] = donors[part.column].to_numpy(dtype=object)[drawn.donors.T.ravel()]
            continue
        values = np.moveaxis(coding.values(part, drawn.samples), 0, 1)
        if part.kind == "list":
            columns[name] = object_array([v.tolist() for v in values.reshape(n_rows * n_samples, -1)])
        else:
            columns[name] = _as_given(part, donors, values.ravel())
    return pd.DataFrame(columns).infer_objects()


def _answers(part: Part, coding: Coding, drawn: Drawn, donors: pd.DataFrame) -> Any:
    if part.kind == "cell":
        assert drawn.donors is not None
        return donors[part.column].to_numpy(dtype=object)[drawn.donors[0]]
    values = coding.values(part, drawn.point)
    return object_array([v.tolist() for v in values]) if part.kind == "list" else _as_given(part, donors, values)


def _as_given(part: Part, donors: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Returns words as the objects that stand for them in the table (True, 3), numbers as they are."""
    if part.kind != "category":
        return values
    given = {_key(cell): cell for cell in donors[part.column].dropna()}
    return object_array([given.get(word, word) for word in values])


def _key(cell: Any) -> str:
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell)) if whole else str(cell)


def _spread(part: Part, coding: Coding, drawn: Drawn, rows: np.ndarray, n_rows: int) -> np.ndarray:
    values = coding.values(part, drawn.samples)
    if part.kind == "category":
        spread = (values != coding.values(part, drawn.point)[None]).mean(0)
    else:
        spread = values.std(axis=0, ddof=1)
    if part.kind == "list":
        column = np.full(n_rows, None, dtype=object)
        for row, value in zip(rows, spread, strict=True):
            column[row] = value.tolist()
        return column
    numbers = np.full(n_rows, np.nan)
    numbers[rows] = spread
    return numbers
