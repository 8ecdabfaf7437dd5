"""Cells of a table, and the files that they name -> `Dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import nearest
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.cells import Cells
from profuse.data.table.infer import ReadTarget
from profuse.data.table.number_format import written_numbers
from profuse.data.table.times import instants, parse_times
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import OnBadFile, Schema

__all__ = ["assemble", "check_present", "check_same_columns", "ids_told", "split_column"]


def assemble(
    frame: pd.DataFrame,
    schema: Schema,
    target: ReadTarget | None,
    *,
    folder: Path,
    on_bad_file: OnBadFile,
    rates: Mapping[str, int],
    name: str,
    fitting: bool,
) -> Dataset:
    """Returns the rows of a table.

    Args:
        frame: The table, names and types plain, without words for missing.
        schema: Resolved.
        target: As it was read; None if it was not.
        folder: Where relative paths in cells start.
        on_bad_file: See `TableReader`.
        rates: See `TableReader`.
        name: Of the data set.
        fitting: Whether a target is learned from these rows. Then no modality may be missing in all of them, and ids
            that were inferred must be there, each once; else such ids are not used, and a note says it.

    Raises:
        DataError: A cell or file cannot be read (row and column are told), a modality is missing in all rows, or ids
            are missing or not unique.
    """
    cells = Cells(
        frame,
        folder,
        on_bad_file,
        rates=dict(rates),
        dates=schema.dates,
        ranges=schema.ranges,
        spellings=schema.merge_spellings,
        numbers=schema.numbers,
    )
    modalities = {k: cells.modality(k, m, schema.columns) for k, m in schema.modalities.items()}
    if fitting:
        check_present(modalities)
    split: dict[str, Any] = {**split_column(frame, schema)}
    if "times" in split and split["times"].dtype == object:
        cells.notes.append(
            f"Column {schema.split.column!r}: rows are put in order by its words, as no times were recognised."
        )
    values, task, names = target or (None, schema.target and schema.target.task, ("target",))
    ids = _ids(frame, schema, cells.notes, fitting=fitting)
    return Dataset(
        name=name,
        modalities=modalities,
        target=values,
        task=task or "regression",
        target_names=names,
        ids=ids,
        notes=tuple(cells.notes),
        **split,
    )


def check_present(modalities: Mapping[str, ModalityData]) -> None:
    """Checks that each modality is there in at least one row."""
    empty = [k for k, v in modalities.items() if not v.present.any()]
    if empty:
        n_rows = len(modalities[empty[0]])
        raise DataError(
            f"modality {tell_values(empty)}: must be present in at least one row; it is missing in all {n_rows}. "
            "Correct its column, or leave it out (ignore in the schema)."
        )


def check_same_columns(schema: Schema, frame: pd.DataFrame, *, need_target: bool = True) -> tuple[str, ...]:
    """Checks that `frame` has the columns that `schema` (resolved on the training table) uses.

    Returns:
        The columns of `frame` that the schema does not know; they are not used.

    Raises:
        DataError: A column is lacking; all of them, and the nearest names, are told.
    """
    have = [str(c) for c in frame.columns]
    inputs = [c for m in schema.modalities.values() for c in m.columns]
    target = list(schema.target_columns)
    by_row = (schema.id, schema.split.column, schema.weight, schema.subgroup)
    known = {*inputs, *target, *schema.ignore, *schema.columns, *by_row}
    extra = tuple(c for c in have if c not in known)
    lacking = [c for c in inputs + (target if need_target else []) if c not in have]
    if lacking:
        near = [f"{e!r} is near {c!r}" for c in lacking for e in nearest(c, extra, n=1)]
        raise DataError(
            f"table: it must have the columns of training; {len(lacking)} are lacking: {tell_values(lacking, n=10)}. "
            + (f"{'; '.join(near)}. " if near else "")
            + (
                "It is the target, and must be known here: add it, or name its column if it is called otherwise "
                "(--target). Only predictions need none."
                if set(lacking) <= set(target)
                else "Rename or add them; a column without values may be empty."
            )
        )
    return extra


def _ids(frame: pd.DataFrame, schema: Schema, notes: list[str], *, fitting: bool) -> np.ndarray | None:
    column = schema.id
    if column is None or column not in frame.columns:
        return None
    ids = frame[column]
    missing, twice = np.flatnonzero(ids.isna()), np.flatnonzero(ids.duplicated())
    note = ids_told(schema, missing, twice, fitting=fitting)
    if note:
        notes.append(note)
        return None
    return ids.to_numpy(dtype=object)


def ids_told(schema: Schema, missing: np.ndarray, twice: np.ndarray, *, fitting: bool = False) -> str:
    """Returns a note where the ids of new rows cannot name them, "" where they can.

    Args:
        schema: Resolved.
        missing: Rows without one.
        twice: Rows whose id another one before them has.
        fitting: See `assemble`.

    Raises:
        DataError: They cannot, and the column was named, or is learned from.
    """
    column = schema.id
    if len(missing) or len(twice):
        what = f"missing in {tell_rows(missing)}" if len(missing) else f"again in {tell_rows(twice)}"
        if schema.id_inferred and not fitting:
            return f"Column {column!r}: as an id it is {what}; rows are told by their numbers instead."
        raise DataError(
            f"id {column!r}: each row must have its own; it is {what}. Correct it; if it names what several rows "
            "share, it is split.column, not id."
        )
    return ""


def split_column(frame: pd.DataFrame, schema: Schema) -> dict[str, np.ndarray]:
    """Returns the column of the split as `times` or `groups`; nothing where it is absent."""
    column, method = schema.split.column, schema.split.method
    if column is None or column not in frame.columns:
        return {}
    cells = frame[column]
    kind = schema.columns.get(column)
    if kind == "numeric" and not pd.api.types.is_numeric_dtype(cells.dtype):
        cells = pd.Series(written_numbers(column, cells, schema.numbers.get(column))[0])
    if method == "time" or (method == "auto" and kind == "timestamp"):
        is_number = pd.api.types.is_numeric_dtype(cells.dtype) and kind != "timestamp"
        if is_number or kind not in ("timestamp", "numeric"):
            return {
                "times": cells.to_numpy(dtype=np.float64, na_value=np.nan)
                if is_number
                else cells.to_numpy(dtype=object)
            }
        return {"times": instants(parse_times(cells, schema.dates.get(column)).times)}
    return {"groups": cells.to_numpy(dtype=object)}
