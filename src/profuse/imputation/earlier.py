"""Columns that an imputation before this one added: they are neither inputs nor filled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from profuse.imputation.filling import SPREAD, flag_of
from profuse.schema import Schema

__all__ = ["added_before", "named_in", "perhaps_added"]

_COPIED = ("text", "image", "audio", "series", "timestamp")
_FLAG = flag_of("")


def named_in(schema: Schema) -> set[str]:
    """Returns the columns to which a user's schema gives a part."""
    named = {c for m in schema.modalities.values() for c in m.columns} | set(schema.columns) | set(schema.ignore)
    target = schema.target_columns
    return named | {
        c for c in (*target, schema.id, schema.split.column, schema.weight, schema.subgroup) if c is not None
    }


def perhaps_added(frame: pd.DataFrame, named: set[str]) -> tuple[str, ...]:
    """Returns the columns whose names are such as `Imputer` adds, without those that are `named` in a schema."""
    return tuple(c for c in map(str, frame.columns) if c.endswith((_FLAG, SPREAD)) and c not in named)


def added_before(frame: pd.DataFrame, names: tuple[str, ...], kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Returns those of `names` that `Imputer` added to `frame`, known by what they hold too.

    `MODALITY_filled` is true or false in each row. `COLUMN_spread` stands beside a column COLUMN, and holds values only
    in rows in which such a flag is true. A flag without any of these belongs to cells that were copied: then
    MODALITY is a column of such cells, and none is missing where the flag is true.

    Args:
        frame: The table.
        names: Of the columns, see `perhaps_added`.
        kinds: Of the other columns.
    """
    cells = {str(c): frame.iloc[:, i] for i, c in enumerate(frame.columns)}
    flags = {c: rows for c in names if c.endswith(_FLAG) and (rows := _true(cells[c])) is not None and rows.any()}
    spreads = {c: cells[c].notna().to_numpy() for c in names if c.endswith(SPREAD) and c.removesuffix(SPREAD) in cells}
    result: set[str] = set()
    for name, rows in flags.items():
        within = [c for c, there in spreads.items() if there.any() and not (there & ~rows).any()]
        whole = name.removesuffix(_FLAG)
        copied = kinds.get(whole) in _COPIED and cells[whole].notna().to_numpy()[rows].all()
        if within or copied:
            result |= {name, *within}
    return tuple(c for c in cells if c in result)


def _true(cells: pd.Series) -> np.ndarray | None:
    """Returns which rows are true, also as a CSV file writes it; None if a cell is neither true nor false."""
    words = cells.astype(str).str.lower().to_numpy(dtype=object)
    return np.asarray(words == "true") if set(words) <= {"true", "false"} else None
