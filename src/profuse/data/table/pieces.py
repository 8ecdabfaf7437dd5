"""A table that is larger than memory, a piece at a time: each cell is what it is where the table is read whole.

What a type needs the whole column to tell is told by a first pass: a column is a number where all its cells are. So a
file is read twice, and nothing of it is kept but what tells the types.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._files import check_size
from profuse._optional import need
from profuse.data.table.cells import NOT_ALL_TRUTH, as_truth
from profuse.data.table.column_types import arrow_cells
from profuse.data.table.database import DatabaseTable
from profuse.data.table.database_checks import no_rows, other_rows
from profuse.data.table.delimited import SEPARATORS, column_names, not_a_table, pandas_options, unique_names
from profuse.data.table.found_words import FoundWords
from profuse.data.table.number_format import DECIMAL_POINTS
from profuse.data.table.read import PARQUET, format_of, parquet_errors, parquet_frame, read_table
from profuse.data.table.shard_pieces import ShardText
from profuse.data.table.shards import Shards, shards_at
from profuse.data.table.sql_rows import SqlRows
from profuse.data.table.text_pieces import TextPieces
from profuse.errors import DataError

__all__ = ["TablePieces"]

_LARGEST_WHOLE = 2**53
_BEYOND = r"\s*[-+]?\d{19,}\s*"  # whole numbers that may not fit 64 bits with a sign


class TablePieces:
    """The rows of a file, shards or a database in pieces, as often as wanted; JSON lines are read whole.

    Args:
        path: See `read_table`; or a table of a database.
        words: See `read_table`.
        n_rows: Of a piece; the last one may be shorter.
        learns: Whether the rows are learned from: columns of text that are not surely numbers are words too, as
            `read_table` finds them where it is given no words.

    Attributes:
        name: Of the file, or of the database without its password.
        notes: What is to be told of the file.
        n_total: How many rows there are.

    Raises:
        DataError: See `read_table`; or the rows change while they are read.
    """

    def __init__(
        self,
        path: str | Path | DatabaseTable,
        words: Collection[str] = (),
        *,
        n_rows: int = 10_000,
        learns: bool = False,
    ) -> None:
        self.path = Path(path.name) if isinstance(path, DatabaseTable) else Path(path)
        self.words, self.n_rows, self._learns = words, n_rows, learns
        self.name = str(path) if isinstance(path, DatabaseTable) else self.path.name
        self.notes: tuple[str, ...] = ()
        self.n_total = 0
        self._whole: pd.DataFrame | None = None
        self._types: dict[str, str] = {}
        self._not_truth: set[str] = set()
        self._attributes: dict[str, Any] = {}
        self._text: TextPieces | ShardText | None = None
        self._shards: Shards | None = None
        self._database = path if isinstance(path, DatabaseTable) else None
        self._sql: SqlRows | None = None
        if self._database is not None:
            self.notes = tuple(self._database.notes)
            if not self._database.is_duckdb:
                self._survey(self._database.rows())
            elif not self._decide():
                self._read_whole()
            return
        self._shards = shards_at(self.path)
        suffix, packed = ("", False) if self._shards is not None else format_of(self.path)
        if self._shards is not None:
            self.notes = tuple(self._shards.notes)
            if self._shards.is_text:
                self._text, self._names = ShardText(self._shards), [c.name for c in self._shards.columns]
        elif suffix in SEPARATORS:
            self._text = TextPieces(self.path, packed=packed, usual=SEPARATORS[suffix])
            self._names = column_names(self._text.header, self.path)
            self._text.check()
            self.notes = tuple(self._text.notes)
        elif suffix not in PARQUET:
            self._read_whole()
            return
        if not self._decide():
            self._read_whole()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yields frames of `n_rows` rows, numbered from 0 in each."""
        if self._whole is not None:
            for start in range(0, len(self._whole), self.n_rows):
                yield self._whole.iloc[start : start + self.n_rows].reset_index(drop=True)
            return
        n_read = 0
        for frame in self._raw(self._types):
            n_read += len(frame)
            for name, type_ in self._types.items():
                if type_ == "object" and frame[name].dtype != object:
                    frame[name] = frame[name].astype(object)
                elif type_ == "float64" and frame[name].dtype != np.float64:
                    frame[name] = frame[name].astype(np.float64)
            frame.attrs |= {NOT_ALL_TRUTH: self._not_truth, **self._attributes}
            yield frame
        if n_read != self.n_total:
            raise other_rows(self.name)

    @property
    def may_reorder(self) -> bool:
        """Whether another read may give the same rows in another order."""
        return self._database is not None

    def close(self) -> None:
        """Ends the transaction in which a database is read; where pieces are read later, another one begins."""
        if self._sql is not None:
            self._sql.close()

    def _survey(self, rows: SqlRows) -> None:
        """Finds the types of the columns of a database in a first pass."""
        rows.survey(self.n_rows)
        if not rows.n_rows:
            assert self._database is not None
            raise no_rows(self.name, self._database.query)
        self._sql, self.n_total = rows, rows.n_rows
        self._not_truth = {name for name, column in rows.columns.items() if not column.only_truth}

    def _read_whole(self) -> None:
        if self._database is not None:
            self._hold(self._database.read())
            return
        whole = read_table(self.path, words=None if self._learns else self.words)
        if self._learns and (named := [str(c) for c in whole if c in self.words]):
            whole[named] = read_table(self.path, words=named)[named]
        self._hold(whole)

    def _hold(self, frame: pd.DataFrame) -> None:
        self._whole, self.notes = frame, tuple(frame.attrs.get("notes", ()))
        self.n_total = len(frame)

    def _decide(self) -> bool:
        """Finds the type of each column in a first pass; returns False where only a whole read tells it."""
        found: dict[str, set[str]] = defaultdict(set)
        self.n_total = 0
        for frame in self._raw({}):
            self.n_total += len(frame)
            for name in map(str, frame):
                found[name].add("str" if name in self.words else _type_of(frame[name]))  # words are texts by themselves
                if isinstance(frame[name].dtype, pd.StringDtype) and as_truth(frame[name]) is frame[name]:
                    self._not_truth.add(name)
        if not self.n_total or not found:
            return False  # and the whole read tells what is wrong
        for name, types in found.items():
            type_ = _of_arrow_column(types) if self._text is None else _of_text_column(types)
            if type_ is None:
                return False
            self._types[name] = type_
            if type_ == "str" and types - {"str", "bool", "empty"}:
                self._not_truth.add(name)
        if self._learns and self._text is not None:
            self._find_words(self._text, frozenset(name for name, types in found.items() if types == {"empty"}))
        return True

    def _find_words(self, text: TextPieces | ShardText, empty: frozenset[str]) -> None:
        """Finds the columns that stay words, in a second pass."""
        seen = FoundWords(dict(self._types), empty)
        for frame in self._of_text(text, {}, words=self._names):
            seen.add(frame)
        self.words = {*self.words, *seen.names}
        self._types |= dict.fromkeys(seen.names, "str")
        self._not_truth = (self._not_truth - seen.names) | (seen.mixed & seen.names)
        self._attributes = {DECIMAL_POINTS: seen.decimal_points}

    def _raw(self, types: dict[str, str]) -> Iterator[pd.DataFrame]:
        if self._sql is not None:
            return self._sql.frames(self.n_rows)
        if self._database is not None:
            return self._of_database(self._database, types)
        if self._text is not None:
            return self._of_text(self._text, types)
        return self._of_parquet(types) if self._shards is None else self._shards.frames(self.n_rows)

    def _of_database(self, database: DatabaseTable, types: dict[str, str]) -> Iterator[pd.DataFrame]:
        for table in database.pieces(self.n_rows):
            yield pd.DataFrame(_columns(table, types))

    def _of_text(
        self, text: TextPieces | ShardText, types: dict[str, str], words: Collection[str] | None = None
    ) -> Iterator[pd.DataFrame]:
        as_words = self.words if words is None else words
        options = pandas_options(self._names, text.separator, [w for w in as_words if w in self._names])
        options["dtype"] = {**{n: t for n, t in types.items() if t in ("str", "float64")}, **options["dtype"]}
        try:
            with text.stream() as stream, pd.read_csv(stream, **options, chunksize=self.n_rows) as reader:
                for frame in reader:
                    yield frame.reset_index(drop=True)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OverflowError) as error:
            if isinstance(error, DataError):
                raise
            raise not_a_table(self.path, text.open_quote(), error) from error

    def _of_parquet(self, types: dict[str, str]) -> Iterator[pd.DataFrame]:
        need("pyarrow", "scale", "reading Parquet files")
        import pyarrow as pa
        import pyarrow.parquet as pq

        import_module("pandas.core.arrays.arrow.extension_types")  # without it periods are whole numbers
        with ExitStack() as stack:
            with parquet_errors(self.path):
                file = stack.enter_context(pq.ParquetFile(self.path))
                about = file.metadata
                for i in range(about.num_row_groups):
                    check_size(about.row_group(i).total_byte_size, f"{self.path.name}: a row group")
                unique_names(file.schema_arrow.names, self.path.name)
                batches = file.iter_batches(batch_size=self.n_rows)
            while True:
                with parquet_errors(self.path):
                    batch = next(batches, None)
                    if batch is None:
                        return
                    table = pa.Table.from_batches([batch])
                    table.validate(full=True)  # a damaged file may hold text that is no UTF-8
                    columns = _columns(table, types)
                yield parquet_frame(table, columns)


def _columns(table: Any, types: dict[str, str]) -> dict[str, pd.Series]:
    """Returns the columns of an Arrow table, those exact that hold large whole numbers beside missing ones."""
    return {name: arrow_cells(table[name], exact=types.get(name) == "object") for name in table.column_names}


def _type_of(cells: pd.Series) -> str:
    """Returns what a piece tells of the type of a column."""
    kind = cells.dtype
    if isinstance(kind, pd.StringDtype):
        # blank cells beside these are missing or texts, as the whole column has it
        return "beyond 64 bits" if cells.str.fullmatch(_BEYOND).any() else "str"
    if isinstance(kind, np.dtype) and kind.kind in "iu":
        return f"large {kind}" if cells.min() < -_LARGEST_WHOLE or cells.max() > _LARGEST_WHOLE else str(kind)
    if kind == np.float64:
        return "empty" if cells.isna().all() else "float64"
    if pd.api.types.is_object_dtype(kind):
        known = cells.dropna()
        for type_ in (bool, int):
            if len(known) and all(type(v) is type_ for v in known):
                return f"some {type_.__name__}"
    return str(kind)


def _of_text_column(types: set[str]) -> str | None:
    """Returns the type of a column of text whose pieces have `types`: what pandas makes of all its cells.

    None: only a whole read tells it, as of whole numbers beyond 64 bits.
    """
    whole = {"int64", "large int64"}
    held = types - {"empty"}
    if held - {"str", "bool", "some bool", "float64", *whole}:
        return None
    if not held:
        return "float64"
    truth = held & {"bool", "some bool"}
    if "str" in held or (truth and held - truth):
        return "str"
    if truth:
        return "bool" if types == {"bool"} else "object"
    return "int64" if types <= whole else "float64"


def _of_arrow_column(types: set[str]) -> str:
    """Returns the type of a column of a Parquet file: pieces differ where cells are missing; "": as it is."""
    if len(types) == 1:
        return ""
    if {t for t in types if "int" in t}:
        missing = types & {"empty", "float64", "some int"}
        large = any(t.startswith("large") or t == "some int" for t in types)
        return "" if not missing else "object" if large else "float64"
    return "object" if types & {"bool", "some bool"} else ""
