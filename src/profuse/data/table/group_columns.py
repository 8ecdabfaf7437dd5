"""Columns that seem to name what rows belong to: a patient, a device, a shop."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from profuse.data.table.column_kinds import is_id_name

__all__ = ["group_notes"]

_LEVELS = 20  # fewer are levels of a factor
_ROWS_EACH = 5  # on average: of levels with more rows, new rows hold few others


def group_notes(frame: pd.DataFrame, kinds: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a note for each column whose values may name groups of rows.

    That are categories in few rows each, and whole numbers that repeat in a column named like an id: a random split
    tests on groups that training knows, and new rows hold others.

    Args:
        frame: The table.
        kinds: Column and kind, of columns that nobody has decided on.
    """
    notes = []
    for name, kind in kinds:
        if kind != "category" and not (kind == "numeric" and is_id_name(name)):
            continue
        known = frame[name].dropna()
        n, numbers = known.nunique(), kind == "numeric"
        if n == len(known):
            continue
        if numbers and not pd.api.types.is_integer_dtype(known.convert_dtypes()):
            continue
        if not numbers and (n < _LEVELS or len(known) > _ROWS_EACH * n):
            continue
        what = "different numbers" if numbers else "categories"
        notes.append(
            f"Column {name!r}: {n:,} {what} in {len(known):,} rows. If they name what rows belong to (a person, a "
            f"device), keep the rows of each together: --split-column {_quoted(name)}, or split in the schema; it is "
            "then no input. "
            + (
                "Here it is an input, read as a quantity: if it is a code, write category in the schema."
                if numbers
                else "Here it is an input, and new rows with other categories may be refused: ignore in the schema "
                "leaves it out."
            )
        )
    return notes


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'
