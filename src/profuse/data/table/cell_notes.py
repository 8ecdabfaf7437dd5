"""What could be doubted in the words of a table: spellings of one word, lists without brackets, units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from profuse.data.table.lists import delimiter_of
from profuse.data.table.spellings import spelling_notes
from profuse.data.table.units import unit_note
from profuse.data.table.values import words
from profuse.data.wording import tell_rows, tell_values
from profuse.schema import Schema, Task

__all__ = ["column_notes", "target_notes"]

_SAMPLE = 500
_FEW, _MOST = 100, 0.5  # one row of so many, which hold more than this share of what all vary


def column_notes(frame: pd.DataFrame, schema: Schema, ids: Sequence[str]) -> list[str]:
    """Returns notes on the categories and texts of a table whose schema is resolved, and on its columns `ids`."""
    notes: list[str] = []
    for name in ids:
        notes += unit_note(name, _distinct(words(frame[name].iloc[:_SAMPLE])), "id")
    for name, kind in schema.columns.items():
        if kind not in ("category", "text") or name not in frame.columns:
            continue
        result = words(frame[name])
        if kind == "category" and name not in schema.merge_spellings:
            notes += spelling_notes(f"Column {name!r}", result, column=name, what="categories")
        distinct = _distinct(result)
        notes += unit_note(name, distinct, kind) or _delimited(f"Column {name!r}", distinct, kind)
    return notes


def target_notes(target: np.ndarray, task: Task, names: Sequence[str], *, column: str | None = "target") -> list[str]:
    """Returns notes on a target as a `Dataset` holds it: classes or labels that are one word in several spellings, and
    few rows that squared errors hang on.

    Args:
        target: `[row]` or `[row, target]`.
        task: What it is.
        names: One name a target column.
        column: How the schema names it, if there is one.
    """
    if task == "multilabel":
        labels = np.repeat(np.array(names, dtype=object), target.sum(axis=0).astype(np.int64))
        return spelling_notes("Target", labels, column=column, what="labels")
    if task == "regression":
        return [
            note for name, y in zip(names, target.reshape(len(target), -1).T, strict=True) for note in _far(name, y)
        ]
    if target.dtype.kind not in "OU":
        return []
    where = f"Target {names[0]!r}"
    result = words(target)
    return [
        *spelling_notes(where, result, column=column, what="classes"),
        *_delimited(where, _distinct(result), "classes"),
    ]


def _far(name: str, target: np.ndarray) -> list[str]:
    """Returns a note where a row in a hundred, or fewer, holds more than half of what `target[row]` varies."""
    squares = np.square(target - target.mean(dtype=np.float64))
    order = np.argsort(-squares, kind="stable")[: len(target) // _FEW]
    held = np.cumsum(squares[order]) / squares.sum()
    if not len(order) or held[-1] <= _MOST:
        return []
    n = int(np.argmax(held > _MOST)) + 1
    s, them = ("s", "it") if n == 1 else ("", "them")
    return [
        f"Target {name!r}: {tell_rows(np.sort(order[:n]))} hold{s} {100 * held[n - 1]:.0f} % of all squared "
        f"differences from its mean: squared errors and R2 hang on {them}. Correct or drop {them} if wrong; by mean "
        "absolute errors (--metric mae) each row counts alike."
    ]


def _distinct(found: np.ndarray) -> list[str]:
    return [w for w in pd.unique(pd.Series(found[[isinstance(w, str) for w in found]])) if w][:_SAMPLE]


def _delimited(where: str, distinct: list[str], kind: str) -> list[str]:
    sign = delimiter_of(distinct) if len(distinct) > 1 else None
    if sign is None:
        return []
    return [
        f"{where}: cells look like lists without brackets, parted by {sign!r} ({tell_values(distinct, n=2)}), and are "
        f"read as {kind}. If they are lists, write them as {_example(distinct, sign)}."
    ]


def _example(distinct: list[str], sign: str) -> str:
    cell = max(distinct, key=lambda w: w.count(sign) > 0)
    return f"[{', '.join(repr(p.strip()) for p in cell.split(None if sign == ' ' else sign)[:2])}]"
