"""A CSV file as it is written: cells that are not filled keep every character."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.table.delimited import SEPARATORS, layout_of
from profuse.data.table.numbers import write_number
from profuse.data.table.text_file import read_text
from profuse.imputation.filling import SPREAD, Filled

__all__ = ["Written", "as_written", "csv_of", "csv_of_each", "plain_csv"]


@dataclass(frozen=True, eq=False)
class Written:
    """The words of a table's cells, and how its file writes them.

    Attributes:
        header: The names of the columns; an empty one stays empty.
        words: Every cell as it stands in the file; columns are numbered from 0.
        separator: Between cells.
        numbers: How columns write numbers, as in `Schema.numbers`.
    """

    header: tuple[str, ...]
    words: pd.DataFrame
    separator: str = ","
    numbers: Mapping[str, str] = field(default_factory=dict)


def as_written(path: Path, frame: pd.DataFrame, numbers: Mapping[str, str]) -> Written | None:
    """Returns the words of the file that `frame` was read from; None where it is no text with separators.

    Args:
        path: The file.
        frame: Its table.
        numbers: How columns write numbers, as in `Schema.numbers`.
    """
    suffixes = [s.lower() for s in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2] if packed else suffixes[-1]
    if suffix not in SEPARATORS:
        return None
    layout = layout_of(read_text(path, packed=packed)[0], path.name, SEPARATORS[suffix])
    lines = pd.read_csv(
        io.StringIO(layout.text), sep=layout.separator, header=None, dtype=str, keep_default_na=False, index_col=False
    ).astype(object)
    words = lines.iloc[1:].reset_index(drop=True)
    assert words.shape == frame.shape
    return Written(layout.header, words, layout.separator, numbers)


def csv_of(frame: pd.DataFrame, filled: Filled, written: Written | None) -> str:
    """Returns the filled table as CSV; with `written`, all cells that were not filled as they were.

    Lists are written as JSON.
    """
    if written is None:
        return plain_csv(filled.table)
    out, n_columns = _with_gaps(frame, filled.table, filled, written), len(frame.columns)
    added = filled.table.columns[n_columns:]
    for column in added:
        form = written.numbers.get(str(column).removesuffix(SPREAD))
        out[column] = [_word(v, form) for v in filled.table[column]]
    return _csv(out, [*written.header, *added], written)


def csv_of_each(frame: pd.DataFrame, filled: Filled, written: Written | None) -> list[str]:
    """Returns the completed tables as CSV, as `csv_of` does."""
    if written is None:
        return [plain_csv(table) for table in filled.tables]
    return [_csv(_with_gaps(frame, t, filled, written), [*written.header], written) for t in filled.tables]


def _with_gaps(frame: pd.DataFrame, table: pd.DataFrame, filled: Filled, written: Written) -> pd.DataFrame:
    """Returns the words of the file, with the cells of `table` where one is filled."""
    out, names = written.words.copy(), [str(c) for c in frame.columns]
    for column, rows in filled.cells.items():
        place = names.index(column)
        cells = out.iloc[:, place].to_numpy(dtype=object, copy=True)
        cells[rows] = [_word(v, written.numbers.get(column)) for v in table.iloc[rows, place]]
        out.isetitem(place, cells)
    return out


def _csv(words: pd.DataFrame, header: list[str], written: Written) -> str:
    return words.to_csv(index=False, header=header, sep=written.separator, lineterminator="\n")


def plain_csv(table: pd.DataFrame) -> str:
    """Returns a table as CSV, lists as JSON."""
    plain = table.copy()
    for i, dtype in enumerate(table.dtypes):
        if pd.api.types.is_object_dtype(dtype):
            plain.isetitem(i, [_word(v, None) if _is_list(v) else v for v in table.iloc[:, i]])
    return plain.to_csv(index=False, lineterminator="\n")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _word(value: Any, form: str | None) -> str:
    if _is_list(value):
        return json.dumps(np.asarray(value).tolist())
    if pd.isna(value):
        return ""
    return write_number(value, form) if isinstance(value, float) else str(value)
