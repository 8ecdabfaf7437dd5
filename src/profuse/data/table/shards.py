"""WebDataset shards -> a table: each row is the members of a tar that have one key; files are read where they lie.

A cell of a file is a path that leads into its tar. With the `index.json` of `profuse shard` each cell is what it was in
the table that was written. Without it the columns are found in the members:

| member | column | cell |
|---|---|---|
| `KEY.json` | each name in it | its value |
| `KEY.cls`, `.cls2`, `.index`, `.inx`, `.id`, `.count` | by the ending | a whole number |
| `KEY.txt`, `.text`, `.transcript` | by the ending | the text |
| `KEY.jpg`, `KEY.nii.gz`, ... | by the ending | the path |
| `KEY.NAME.jpg`, `KEY.NAME.txt`, `KEY.NAME.cls` | NAME | as without it |

A key ends at the first dot behind the last slash.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pandas as pd
from pydantic import ValidationError

from profuse._files import check_size
from profuse._members import Member, members_of
from profuse.data.table.delimited import read_delimited
from profuse.data.table.json_lines import json_object
from profuse.data.table.shard_cells import cells_of, type_of
from profuse.data.table.shard_index import ShardColumn, ShardIndex, read_index, tars_in
from profuse.data.wording import tell_values
from profuse.errors import DataError
from profuse.kinds import KINDS, kind_named
from profuse.schema import Schema

__all__ = ["Shards", "kept_schema", "shards_at"]

_ROWS = 10_000
_WHOLE = ("cls", "cls2", "index", "inx", "id", "count")
_TEXT = ("txt", "text", "transcript")


class _Row(NamedTuple):
    """The members of one key, by what follows the key, and the open tar."""

    tar: Path
    key: str
    members: dict[str, Member]
    file: BinaryIO


def shards_at(path: str | Path) -> Shards | None:
    """Returns the shards at a path, a folder of them or a single one; None where it is neither.

    Raises:
        DataError: Its `index.json` is damaged, or does not fit the shards.
    """
    path = Path(path)
    if path.is_dir():
        index = read_index(path)
        files = tars_in(path) if index is None else [path / shard.name for shard in index.shards]
        return Shards(path, files, index) if files or index is not None else None
    if not _is_tar(path):
        return None
    index = read_index(path.parent)
    alone = [] if index is None else [shard for shard in index.shards if shard.name == path.name]
    return Shards(path, [path], None if index is None else index.of(alone))


def kept_schema(path: object, *, target: bool = True) -> Schema:
    """Returns the schema that is kept with the shards at a path; one that says nothing of anything else.

    Args:
        path: What is read.
        target: Whether the target is that of the schema; else none is.

    Raises:
        DataError: It is damaged.
    """
    if not isinstance(path, str | Path):
        return Schema()
    place = Path(path)
    index = read_index(place if place.is_dir() else place.parent) if place.is_dir() or _is_tar(place) else None
    try:
        known = Schema.model_validate({} if index is None else index.asked)
    except ValidationError as error:
        message = " ".join(str(error).split())[:200]
        raise DataError(
            f"{place.name}: the schema in index.json must be valid; got {message}. Write the shards anew."
        ) from error
    return known if target else known.model_copy(update={"target": None})


def _is_tar(path: Path) -> bool:
    return path.suffix.lower() == ".tar" and path.is_file()


class Shards:
    """The rows of shards, as often as wanted; memory holds those that are asked for together.

    Args:
        path: The folder, or the tar.
        files: The tars, in order.
        index: What is known of them.

    Attributes:
        columns: Of the table.
        notes: What is to be told of the files.
        is_text: Whether cells are as a text file has them: `text` gives them so, and `frames` does not.
        asked: The schema that was given when they were written; empty where nothing is known.

    Raises:
        DataError: A shard cannot be read.
    """

    def __init__(self, path: Path, files: list[Path], index: ShardIndex | None) -> None:
        self.path, self.files, self.index = path, files, index
        self.notes: list[str] = []
        self.is_text = index is not None and index.is_text
        self.asked: Mapping[str, Any] = {} if index is None else index.asked
        self._endings = tuple(end[1:] for kind in map(kind_named, KINDS) for end in kind.suffixes if "." in end[1:])
        self.columns = self._found() if index is None else index.columns

    def table(self, words: Collection[str] | None) -> pd.DataFrame:
        """Returns all rows; see `profuse.data.table.read.read_table`."""
        if not self.is_text:
            frames = list(self.frames(_ROWS))
            frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
            frame.attrs["notes"] = list(self.notes)
            return frame
        parts = ["sep=,\r\n"]
        size = len(parts[0])
        for part in self.text():
            parts.append(part)
            size += len(part)
            check_size(size, f"{self.path.name}: the table")
        frame = read_delimited("".join(parts), self.path, ",", words)
        frame.attrs["notes"] = list(self.notes)
        return frame

    def frames(self, n_rows: int) -> Iterator[pd.DataFrame]:
        """Yields frames of `n_rows` rows, each column in its type; the last one may be shorter."""
        for cells in self._chunks(n_rows):
            yield pd.DataFrame({c.name: cells_of([row.get(c.name) for row in cells], c) for c in self.columns})

    def text(self) -> Iterator[str]:
        """Yields the rows as text with commas, the names of columns first, some rows at a time."""
        names = [column.name for column in self.columns]
        yield _lines([names])
        for cells in self._chunks(_ROWS):
            yield _lines([["" if (cell := row.get(name)) is None else str(cell) for name in names] for row in cells])

    def _chunks(self, n_rows: int) -> Iterator[list[dict[str, Any]]]:
        held: list[dict[str, Any]] = []
        for tar in self.files:
            n = 0
            for row in _rows_of(tar):
                held.append(self._cells(row))
                n += 1
                if len(held) == n_rows:
                    yield held
                    held = []
            self._check_rows(tar, n)
        if held:
            yield held

    def _check_rows(self, tar: Path, n: int) -> None:
        known = {} if self.index is None else {shard.name: shard.rows for shard in self.index.shards}
        if known.get(tar.name, n) != n:
            raise DataError(
                f"{tar.name}: the shard must have the {known[tar.name]:,} rows that index.json names; got {n:,}. Copy "
                "the folder again, or write the shards anew."
            )

    def _cells(self, row: _Row) -> dict[str, Any]:
        """Returns the cells of a row, by column."""
        try:
            return self._found_cells(row) if self.index is None else self._known_cells(row)
        except DataError as error:
            raise DataError(f"{row.tar.name}, row {row.key!r}: {str(error).rstrip('.')}. Correct the shard.") from error

    def _known_cells(self, row: _Row) -> dict[str, Any]:
        if "json" not in row.members:
            raise DataError(f"it must have a member {row.key}.json, with its cells; it has {tell_values(row.members)}")
        cells = json_object(_content(row, "json"), as_written=self.is_text)
        if not isinstance(cells, dict):
            raise DataError(f"{row.key}.json must hold an object; got a {type(cells).__name__}")
        of_files = {column.member: column.name for column in self.columns if column.member is not None}
        for ending, member in row.members.items():
            if (name := of_files.get(ending.partition(".")[0])) is not None and ending != "json":
                cells[name] = self._path(row.tar, member)
        return cells

    def _found_cells(self, row: _Row) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        for ending in row.members:
            name, what = self._column_of(ending.lower())
            content: Any = self._path(row.tar, row.members[ending])
            if what == "json":
                content = json_object(_content(row, ending))
            elif what in (*_WHOLE, *_TEXT):
                content = _text(_content(row, ending), f"{row.key}.{ending}")
                content = _whole(content, f"{row.key}.{ending}") if what in _WHOLE else content
            given = content if what == name == "json" and isinstance(content, dict) else {name: content}
            if twice := [n for n in given if n in cells]:
                raise DataError(f"each column must stand in one member; {tell_values(twice)} stands in two")
            cells |= given
        return cells

    def _column_of(self, ending: str) -> tuple[str, str]:
        """Returns the column of a member by what follows its key, and its last ending."""
        name, dot, rest = ending.partition(".")
        if not dot or ending in self._endings:
            return ending, ending
        return name, rest.rpartition(".")[2]

    def _path(self, tar: Path, member: Member) -> str:
        """Returns the path of a member, from the folder that `path` stands in."""
        inside = "" if tar == self.path or not self.path.name else f"{self.path.name}/"
        return f"{inside}{tar.name}/{member.name}"

    def _found(self) -> list[ShardColumn]:
        """Returns the columns that the members of all rows have."""
        types: dict[str, set[type]] = defaultdict(set)
        n_rows, n_known, largest = 0, defaultdict[str, int](int), defaultdict[str, int](int)
        passed: list[str] = []
        for tar in self.files:
            for row in _rows_of(tar, passed):
                n_rows += 1
                for name, cell in self._cells(row).items():
                    kinds = types[name]
                    if cell is None:
                        continue
                    kinds.add(type(cell))
                    n_known[name] += 1
                    if type(cell) is int:
                        largest[name] = max(largest[name], abs(cell))
        if passed:
            some = tell_values(passed, n=3)
            self.notes.append(
                f"{self.path.name}: {len(passed)} members have no key and ending, and are not read: {some}."
            )
        return [
            ShardColumn(name=name, type=type_of(of, missing=n_known[name] < n_rows, largest=largest[name]))
            for name, of in types.items()
        ]


def _rows_of(tar: Path, passed: list[str] | None = None) -> Iterator[_Row]:
    """Yields the rows of a tar; names of members that belong to none are added to `passed`."""
    with tar.open("rb") as file:
        for key, group in groupby(_keyed(tar, passed), key=lambda of: of[0]):
            members: dict[str, Member] = {}
            for _, ending, member in group:
                if ending in members:
                    raise DataError(
                        f"{tar.name}: members must have names of their own; got {member.name!r} twice. Write the shard "
                        "anew."
                    )
                members[ending] = member
            yield _Row(tar, key, members, file)


def _keyed(tar: Path, passed: list[str] | None) -> Iterator[tuple[str, str, Member]]:
    for member in members_of(tar):
        folder, slash, base = member.name.rpartition("/")
        stem, _, ending = base.partition(".")
        if stem and ending and not (stem.startswith("__") and stem.endswith("__")):
            yield f"{folder}{slash}{stem}", ending, member
        elif passed is not None:
            passed.append(member.name)


def _content(row: _Row, ending: str) -> bytes:
    member = row.members[ending]
    check_size(member.size, member.name)
    row.file.seek(member.first)
    return row.file.read(member.size)


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} must be UTF-8; byte {error.start:,} is not") from error


def _whole(text: str, name: str) -> int:
    if not text.strip().lstrip("-").isdecimal() or len(text) > 30:
        raise DataError(f"{name} must hold a whole number; got {text[:40]!r}")
    return int(text)


def _lines(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()
