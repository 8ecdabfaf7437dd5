"""The rows of a table as they are put into shards: which columns hold files, and each row's cells as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.table.database import DatabaseTable
from profuse.data.table.delimited import SEPARATORS, column_names
from profuse.data.table.filenames import file_kind
from profuse.data.table.lists import is_list_text
from profuse.data.table.named_target import leave_out_target, named_once
from profuse.data.table.pieces import TablePieces
from profuse.data.table.read import format_of
from profuse.data.table.shard_cells import ColumnWriter, is_number
from profuse.data.table.shard_index import ShardColumn
from profuse.data.table.shards import shards_at
from profuse.data.table.text_pieces import TextPieces
from profuse.data.table.values import is_missing
from profuse.kinds import Kind, kind_named
from profuse.schema import TABLE_COLUMNS, Schema

__all__ = ["Record", "ShardRows"]

_SAMPLE = 2_000  # rows of which kinds of columns are inferred
_LONGEST = 50  # characters of a column's name in the names of its members


@dataclass(frozen=True)
class Record:
    """A row.

    Attributes:
        row: Its number in the table.
        cells: What is no file, as JSON.
        files: The paths of its files, as they stand in the cells, by column.
    """

    row: int
    cells: str
    files: dict[str, str]

    @property
    def key(self) -> str:
        """What the names of its members begin with."""
        return f"{self.row:09d}"

    def as_list(self) -> list[Any]:
        """Returns what `of_list` takes."""
        return [self.row, self.cells, self.files]

    @classmethod
    def of_list(cls, values: list[Any]) -> Record:
        """Returns the record of which `as_list` has given the values."""
        return cls(*values)


class ShardRows:
    """The rows of a table, read in pieces.

    Args:
        source: The table.
        schema: What is not to be inferred.
        target: Columns to predict; they are no files.
        n_rows: Rows read at a time.
        progress: See `write_shards`.

    Attributes:
        base: Where relative paths of files start.
        n_total: How many rows there are.
        asked: The schema with the target, as JSON.
        notes: What is to be told of the table.

    Raises:
        DataError: See `TablePieces`; or a column names files of several kinds, or such as are not read.
        ConfigError: The schema does not fit the table.
    """

    def __init__(
        self,
        source: str | Path | DatabaseTable,
        schema: Schema,
        target: str | list[str] | None,
        *,
        n_rows: int,
        progress: Callable[[str, int, int], None],
    ) -> None:
        progress("types of columns", 0, 0)
        self.base = Path() if isinstance(source, DatabaseTable) else Path(source).parent
        names = _as_written(source)
        self._pieces = TablePieces(source, names or (), n_rows=n_rows)
        self.n_total, self.notes = self._pieces.n_total, list(self._pieces.notes)
        asked = named_once(schema, target)
        self.asked = asked.model_dump(mode="json", exclude_defaults=True)
        sample = self._sampled(progress)
        alone = leave_out_target(sample.columns, asked)
        of_files = {str(name): _kind_of_files(str(name), sample[name], alone) for name in sample}
        self._kinds = {name: kind for name, kind in of_files.items() if kind is not None}
        members: dict[str, str] = {}
        for name in map(str, sample.columns):
            if name in self._kinds:
                members[name] = _member(name, set(members.values()))
        self._writers = [
            ColumnWriter(
                str(name), as_written=bool(names), is_number=is_number(sample[name]), member=members.get(str(name))
            )
            for name in sample
        ]
        self._members = members

    @property
    def columns(self) -> list[ShardColumn]:
        """What is to be said of the columns, once all rows are read."""
        return [writer.column for writer in self._writers]

    def path(self, cell: str) -> Path:
        """Returns the path that a cell names."""
        return self.base / cell.strip()

    def ending(self, column: str, cell: str) -> str:
        """Returns what follows the key in the name of the member that holds a file."""
        name = cell.strip()
        ends = [end for end in self._kinds[column].suffixes if name.lower().endswith(end)]
        suffix = name[-len(max(ends, key=len)) :] if ends else Path(name).suffix
        return self._members[column] + suffix

    def records(self) -> Iterator[Record]:
        """Yields all rows."""
        first = 0
        for frame in self._pieces:
            frame.columns = pd.Index(map(str, frame.columns))
            files = {name: self._files(frame[name], name) for name in self._members}
            literals: dict[str, tuple[list[str], list[str | None] | None]] = {}
            for writer in self._writers:
                cells = frame[writer.name]
                of = files.get(writer.name)
                if of is not None and isinstance(cells.dtype, pd.CategoricalDtype):  # paths within shards are others
                    cells = cells.astype(cells.cat.categories.dtype)
                literals[json.dumps(writer.name, ensure_ascii=False)] = writer.literals(cells, first), of
            for i in range(len(frame)):
                held = ",".join(f"{k}:{v[i]}" for k, (v, of) in literals.items() if of is None or of[i] is None)
                of_row = {name: path for name, of in files.items() if (path := of[i]) is not None}
                yield Record(first + i, f"{{{held}}}", of_row)
            first += len(frame)

    def _files(self, cells: pd.Series, name: str) -> list[str | None]:
        kind = self._kinds[name]
        values = cells.to_numpy(dtype=object)
        return [v if not is_missing(v) and kind.names_file(v) and not is_list_text(v) else None for v in values]

    def _sampled(self, progress: Callable[[str, int, int], None]) -> pd.DataFrame:
        """Returns rows that are drawn at random."""
        places = np.sort(np.random.default_rng(0).permutation(self.n_total)[:_SAMPLE])
        some: list[pd.DataFrame] = []
        first = 0
        for frame in self._pieces:
            here = places[(places >= first) & (places < first + len(frame))] - first
            some.append(frame.iloc[here])
            first += len(frame)
            progress("kinds of columns", first, self.n_total)
        sample = pd.concat(some, ignore_index=True)
        sample.attrs = some[-1].attrs
        return sample


def _as_written(source: str | Path | DatabaseTable) -> list[str]:
    """Returns the columns of a text table, or of shards of one, all of which are read as they are written; or none."""
    if isinstance(source, DatabaseTable):
        return []
    shards = shards_at(source)
    if shards is not None:
        return [column.name for column in shards.columns] if shards.is_text else []
    suffix, packed = format_of(Path(source))
    if suffix not in SEPARATORS:
        return []
    header = TextPieces(Path(source), packed=packed, usual=SEPARATORS[suffix]).header
    return column_names(header, Path(source))


def _kind_of_files(name: str, cells: pd.Series, schema: Schema) -> Kind | None:
    """Returns the kind of the files that a column names; None where it names none.

    Raises:
        DataError: It names files of several kinds, or such as are not read.
    """
    by_row = (schema.id, schema.weight, schema.subgroup, schema.split.column)
    if name in {*schema.ignore, *schema.dates, *schema.numbers, *by_row}:
        return None
    given = [str(m.kind) for m in schema.modalities.values() if name in m.columns and m.kind is not None]
    given += [str(schema.columns[name])] if name in schema.columns and not given else []
    if given:
        kinds = [kind_named(kind) for kind in given if kind not in TABLE_COLUMNS]
        return next((kind for kind in kinds if kind.reads_files), None)
    known = [v for v in cells.to_numpy(dtype=object) if not is_missing(v)]
    words = [v for v in known if isinstance(v, str) and not is_list_text(v)]
    kind = file_kind(name, list(dict.fromkeys(words))) if 2 * len(words) > len(known) else None
    return None if kind is None else kind_named(kind[0])


def _member(name: str, taken: set[str]) -> str:
    """Returns how a column is called in the names of its members: small letters, digits, - and _; each its own."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:_LONGEST] or "file"
    number, made = 2, plain
    while made in taken or made == "json":
        made, number = f"{plain}-{number}", number + 1
    return made
