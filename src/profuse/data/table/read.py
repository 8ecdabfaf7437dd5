"""Files -> one table: CSV, TSV, Parquet, JSON lines; several tables joined by id, never by position.

What pandas would repair in silence is an error here: duplicate column names, rows with too few or too many
cells, bytes that are no text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._files import check_size, check_source
from profuse._lookup import nearest
from profuse._optional import need
from profuse.data.table.column_types import arrow_cells
from profuse.data.table.delimited import SEPARATORS, read_delimited, unique_names
from profuse.data.table.json_lines import read_json_lines
from profuse.data.table.shard_index import check_unpacked
from profuse.data.table.shards import shards_at
from profuse.data.table.text_file import read_text
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import Schema

__all__ = [
    "PARQUET",
    "format_of",
    "join_tables",
    "parquet_errors",
    "parquet_frame",
    "read_table",
    "read_training_table",
    "written_words",
]

_JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
_KNOWN = ".csv, .tsv, .jsonl, .ndjson (also with .gz), .parquet, .pq, .tar"


def read_table(path: str | Path, *, words: Collection[str] | None = None) -> pd.DataFrame:
    """Returns the table in the file `path`, rows numbered from 0.

    The suffix tells the format: `.csv`, `.tsv`, `.jsonl`, `.ndjson` (each also with `.gz`), `.parquet`, `.pq`.
    `.tar`, or a folder of such, is read as WebDataset shards (`profuse.data.table.shards`).
    Text is UTF-8. Empty cells, `NA`, `NaN`, `null`, `None` are missing. A `.csv` whose first line holds
    semicolons or tabs and no comma is read with these; the table's `attrs["notes"]` says so. In these and in `.tsv`
    a column is numeric if every filled cell is a number and none begins as 007 does; else it is text, `true` too.

    Args:
        path: The file.
        words: Columns of a `.csv` or `.tsv` that are text whatever they hold, as `Schema.words` of a model tells
            them: a new file then is read as that of training was. The others are then numbers, booleans or text
            as pandas finds them.

    Raises:
        DataError: No such file, a folder, an unknown suffix, no rows, a column name twice, a row with too few or
            too many cells (the line is told), or bytes that cannot be read.
        MissingDependencyError: A Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    shards = shards_at(path)
    suffix, packed = ("", False) if shards is not None else format_of(path)
    if shards is not None:
        frame = shards.table(words)
    elif suffix in PARQUET:
        frame = _parquet(path)
    else:
        text, notes = read_text(path, packed=packed)
        is_json = suffix in _JSON_LINES
        frame = read_json_lines(text, path) if is_json else read_delimited(text, path, SEPARATORS[suffix], words)
        frame.attrs["notes"] = [*notes, *frame.attrs["notes"]]
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        n_rows, n_columns = frame.shape
        raise DataError(
            f"{path.name}: the table must have at least one row and one column; got {n_rows} rows and {n_columns} "
            "columns. Add rows, or name another file."
        )
    return frame


def format_of(path: Path) -> tuple[str, bool]:
    """Returns the suffix that tells how the file `path` is read, and whether it is packed with gzip.

    Raises:
        DataError: No such file, no regular one, or an unknown suffix.
    """
    if path.is_dir():
        n_parquet = len(list(path.glob("*.parquet")))
        advice = (
            f'Its {n_parquet} Parquet files are read by DuckDB: duckdb:///:memory: --query "select * from '
            f"'{path}/*.parquet' order by COLUMN\"."
            if n_parquet > 1
            else "Name a file in it."
        )
        raise DataError(
            f"read_table: the path must be a file, or a folder of shards (.tar); got the folder {str(path)!r}. {advice}"
        )
    if not path.exists():
        here = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, here)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "Check the path."
        if path.is_symlink():  # its name is there, what it leads to is not
            hint = "It is a link that leads to no file. Correct it, or name another file."
        raise DataError(f"read_table: the file must exist; got {str(path)!r}. {hint}")
    try:
        check_source(path)
    except DataError as error:
        raise DataError(f"{path.name}: the file must be readable; got {error}. Name another file.") from error
    check_unpacked([path])
    suffixes = [s.lower() for s in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = suffixes[-2] if packed and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    if suffix not in (*SEPARATORS, *_JSON_LINES, *(() if packed else PARQUET)):
        raise DataError(
            f"read_table: the suffix must be one of {_KNOWN}; got {path.name!r}. Convert or rename the file."
        )
    return suffix, packed


def written_words(given: Schema) -> set[str]:
    """Returns the columns that a schema says are written in words, or read as words."""
    codes = {c for c, kind in given.columns.items() if kind in ("category", "text")}
    return {*given.words, *given.dates, *given.numbers} | codes


def read_training_table(path: Path, given: Schema) -> pd.DataFrame:
    """Returns the table in `path`, to be learned from, with the words that columns named in `given` are written in.

    What is named a category there but looks like a fraction, as 1.10 does, is a code.

    Raises:
        DataError: See `read_table`.
    """
    frame = read_table(path)
    codes = [c for c, kind in given.columns.items() if kind in ("category", "text") and c in frame.columns]
    codes = [c for c in codes if pd.api.types.is_float_dtype(frame[c]) and (frame[c].dropna() % 1 != 0).any()]
    words = [c for c in frame.columns if c in {*given.words, *given.dates, *given.numbers, *codes}]
    if words:
        frame[words] = read_table(path, words=words)[words]
    return frame


def join_tables(tables: Mapping[str, pd.DataFrame], id: str) -> pd.DataFrame:
    """Joins tables by the column `id`, in the row order of the first one.

    Args:
        tables: Name (for messages) to table; each has the column `id`.
        id: The column that names a row: unique in each table, the same values in all.

    Raises:
        DataError: The column is not there, an id is missing or occurs twice, ids of two tables differ (counted,
            with examples), or another column stands in two tables.
    """
    if not tables:
        raise DataError("join_tables: at least one table must be given; got none.")
    owner: dict[str, str] = {}
    for name, table in tables.items():
        if id not in table.columns:
            close = nearest(id, map(str, table.columns))
            hint = (
                f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {tell_values(table.columns)}."
            )
            raise DataError(f"join_tables: table {name!r} must have the id column {id!r}; it has not. {hint}")
        missing = np.flatnonzero(table[id].isna())
        if len(missing):
            raise DataError(
                f"join_tables: table {name!r} must have an id in every row; missing in {tell_rows(missing)}."
                " Fill in or drop these rows."
            )
        twice = table[id][table[id].duplicated()].unique()
        if len(twice):
            raise DataError(
                f"join_tables: ids must be unique; in table {name!r} {len(twice)} occur more than once: "
                f"{tell_values(twice)}. Drop the copies, or aggregate them first."
            )
        for column in table.columns.drop(id):
            if column in owner:
                raise DataError(
                    f"join_tables: a column must stand in one table only; got {column!r} in {owner[column]!r} and "
                    f"{name!r}. Rename or drop one of them."
                )
            owner[column] = name
    (first_name, first), *others = tables.items()
    joined = first.reset_index(drop=True)
    ids = pd.Index(first[id])
    for name, table in others:
        other = pd.Index(table[id])
        only_first, only_other = ids.difference(other, sort=False), other.difference(ids, sort=False)
        if len(only_first) or len(only_other):
            types = ""
            if len(only_first) == len(ids) and len(ids.astype(str).intersection(other.astype(str))):
                types = " Some would match as text: give both columns the same type."
            raise DataError(
                f"join_tables: ids of {first_name!r} and {name!r} must match; {len(only_first)} of {len(ids)} are only "
                f"in {first_name!r} ({tell_values(only_first, n=3)}), {len(only_other)} of {len(other)} only "
                f"in {name!r} ({tell_values(only_other, n=3)}).{types} "
                "Add the rows (with empty cells where a modality is missing), or drop them."
            )
        rows = table.iloc[other.get_indexer(ids)].drop(columns=id).reset_index(drop=True)
        joined = pd.concat([joined, rows], axis=1)
    return joined


def _parquet(path: Path) -> pd.DataFrame:
    need("pyarrow", "scale", "reading Parquet files")
    import pyarrow.parquet as pq

    import_module("pandas.core.arrays.arrow.extension_types")  # without it periods are whole numbers
    with parquet_errors(path):
        with pq.ParquetFile(path) as file:
            about = file.metadata
            unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            check_size(max(unpacked, 8.0 * about.num_rows * about.num_columns), f"{path.name}: the table")
            table = file.read()
        table.validate(full=True)  # a damaged file may hold text that is no UTF-8
        unique_names(table.column_names, path.name)
        columns = {name: arrow_cells(table[name]) for name in table.column_names}
    return parquet_frame(table, columns)


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Tells what Arrow cannot read as errors of the file `path`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        told = " ".join(str(error).split())[:300]
        raise DataError(f"{path.name}: the file must be a Parquet table; got {told}. Write it anew.") from error


def parquet_frame(table: Any, columns: dict[str, pd.Series]) -> pd.DataFrame:
    """Returns the columns of an Arrow table as a frame; an index that pandas had put aside is a column, the first."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", ())
    held = [name for name in index if isinstance(name, str) and name in columns]
    plain = {"index" if name.startswith("__index_level_") else name: columns.pop(name) for name in held}
    return pd.DataFrame({**plain, **columns})
