"""A table with the files that its cells name -> WebDataset shards: tars, each read from beginning to end.

A row is the members of one key, its number in the table: `KEY.json` with its cells, and `KEY.COLUMN.SUFFIX`, byte for
byte, of each file. The same table gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from profuse._files import n_bytes_of
from profuse._saving import new_folder
from profuse.data.media.source import opened
from profuse.data.table.database import DatabaseTable
from profuse.data.table.shard_index import INDEX, Shard, ShardIndex
from profuse.data.wording import counted
from profuse.errors import DataError
from profuse.schema import OnBadFile, Schema
from profuse.streaming.options import ShardOptions
from profuse.streaming.shard_rows import Record, ShardRows

__all__ = ["write_shards"]

Progress = Callable[[str, int, int], None]
_NAME = "shard-{:06d}.tar"
_OURS = re.compile(r"shard-\d{6}\.tar|index\.json")
_BLOCK, _END = 512, 10_240


def write_shards(
    source: str | Path | DatabaseTable,
    out: str | Path,
    *,
    schema: Schema | None = None,
    target: str | list[str] | None = None,
    options: ShardOptions | None = None,
    on_bad_file: OnBadFile = "raise",
    progress: Progress = lambda what, done, total: None,
) -> tuple[ShardIndex, list[str]]:
    """Writes a table with its files as shards, and returns their index and what is to be told.

    Memory holds a piece of the table, and 8 bytes a row where it is shuffled. The folder is there whole, or not at all.

    Args:
        source: A table, whose rows are read in pieces where its format can be.
        out: The folder; new, empty, or one of shards, which are replaced.
        schema: What is not to be inferred; it is kept with the shards, for those who read them without one.
        target: Column or columns to predict; kept so too.
        options: How they are written.
        on_bad_file: "raise", or "skip": a file that is missing or cannot be read is left out, and told.
        progress: Called with what is done, rows done, and rows in all (0: not known).

    Raises:
        DataError: The table cannot be read, a file is missing or cannot be read (row and column are told), or `out`
            holds something else or cannot be written.
        ConfigError: The schema does not fit the table.
    """
    out, options = Path(out), options or ShardOptions()
    check_place(out, source)
    rows = ShardRows(source, schema or Schema(), target, n_rows=options.chunk_rows, progress=progress)
    try:
        with new_folder(out) as folder:
            with closing(_Writer(folder, options, rows, on_bad_file)) as writer:
                for n, record in enumerate(_ordered(rows, folder, options, progress), start=1):
                    writer.add(record)
                    if n % 100 == 0 or n == rows.n_total:
                        progress("rows written", n, rows.n_total)
                shards = writer.finished()
            index = ShardIndex(
                rows=rows.n_total, columns=rows.columns, schema=rows.asked, shuffle=options.shuffle, shards=shards
            )
            (folder / INDEX).write_text(index.text, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{out}: the folder for shards must be writable; got {error.strerror or error}. Name another one, or make "
            "room in it."
        ) from error
    return index, [*rows.notes, *writer.notes]


def check_place(out: Path, source: str | Path | DatabaseTable) -> None:
    """Checks that shards can be written to a folder.

    Raises:
        DataError: It is a file, holds something else, or is what is read.
    """
    if (
        isinstance(source, str | Path)
        and out.exists()
        and Path(source).exists()
        and (out.samefile(source) or out.resolve() in Path(source).resolve().parents)
    ):
        raise DataError(f"{out}: shards must not be written over what is read, {source}. Name another folder.")
    if out.exists() and (not out.is_dir() or any(not _OURS.fullmatch(p.name) for p in out.iterdir())):
        raise DataError(f"{out}: it must be new, empty, or a folder of shards; it holds something else. Name another.")


def _ordered(rows: ShardRows, folder: Path, options: ShardOptions, progress: Progress) -> Iterator[Record]:
    """Yields the rows in their order, or in one that is drawn: then by way of files, each of which memory holds."""
    if options.shuffle is None:
        yield from rows.records()
        return
    place = np.random.default_rng(options.shuffle).permutation(rows.n_total)
    width = options.chunk_rows
    held: dict[int, list[str]] = {}
    aside = folder / "rows"
    aside.mkdir()

    def put() -> None:
        for bucket, lines in held.items():
            with (aside / str(bucket)).open("a", encoding="utf-8") as file:
                file.writelines(lines)
        held.clear()

    for n, record in enumerate(rows.records()):
        to = int(place[n])
        held.setdefault(to // width, []).append(f"{json.dumps([to, *record.as_list()])}\n")
        if (n + 1) % width == 0:
            put()
            progress("rows shuffled", n + 1, rows.n_total)
    put()
    for bucket in range(-(-rows.n_total // width)):
        with (aside / str(bucket)).open(encoding="utf-8") as file:
            drawn = sorted((json.loads(line) for line in file), key=lambda of: int(of[0]))
        (aside / str(bucket)).unlink()
        yield from (Record.of_list(of[1:]) for of in drawn)
    aside.rmdir()


@dataclass
class _Open:
    """A shard that is written."""

    name: str
    file: BinaryIO
    hashed: _Hashed
    tar: tarfile.TarFile
    n_rows: int = 0


class _Hashed(io.RawIOBase):
    """Writes to a file, and digests what is written."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file, self.digest, self.n_bytes = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.n_bytes

    def write(self, content: Any) -> int:
        self.file.write(content)
        self.digest.update(content)
        self.n_bytes += len(content)
        return len(content)


class _Writer:
    """Puts rows into shards.

    Args:
        folder: Where they stand.
        options: How large they are.
        rows: Tells where files are.
        on_bad_file: See `write_shards`.
    """

    def __init__(self, folder: Path, options: ShardOptions, rows: ShardRows, on_bad_file: OnBadFile) -> None:
        self._folder, self._rows, self._skips = folder, rows, on_bad_file == "skip"
        self._most_rows = options.rows_per_shard
        self._most_bytes = n_bytes_of(options.shard_size, "shard_size")
        self._open: _Open | None = None
        self._done: list[Shard] = []
        self._skipped: dict[str, list[str]] = {}

    @property
    def notes(self) -> list[str]:
        """What was skipped."""
        return [
            f"Column {name!r}: {len(of)} files could not be read and are left out (the first: {of[0]})."
            for name, of in self._skipped.items()
        ]

    def add(self, record: Record) -> None:
        """Writes a row; a new shard begins where it would make the one before too large.

        Raises:
            DataError: A file is missing or cannot be read.
        """
        contents: list[tuple[str, Path, int]] = []
        for column, cell in record.files.items():
            size = self._size(record, column)
            if size is not None:
                contents.append((f"{record.key}.{self._rows.ending(column, cell)}", self._rows.path(cell), size))
        cells = record.cells.encode()
        added = sum(_BLOCK + _rounded(size) for size in (len(cells), *(size for _, _, size in contents)))
        shard = self._open
        if shard is not None and (
            shard.n_rows == self._most_rows or shard.tar.offset + added + _END > self._most_bytes
        ):
            self._finish()
        shard = self._open or self._begin()
        shard.tar.addfile(_info(f"{record.key}.json", len(cells)), io.BytesIO(cells))
        for name, path, size in contents:
            with opened(path) as file:
                shard.tar.addfile(_info(name, size), file)
        shard.tar.members = []  # type: ignore[attr-defined]  # not needed again
        shard.n_rows += 1

    def _size(self, record: Record, column: str) -> int | None:
        """Returns the bytes of a file; None where it cannot be read, and is left out."""
        cell = record.files[column]
        try:
            with opened(self._rows.path(cell)) as file:
                return file.seek(0, os.SEEK_END)
        except DataError as error:
            message = f"{cell!r}: {error}"
            if self._skips:
                self._skipped.setdefault(column, []).append(message)
                return None
            raise DataError(
                f"row {counted(record.row)} (counted from 0), column {column!r}: the file must be readable; got "
                f"{message} (in {str(self._rows.base)!r}). Correct the file or the cell, or go on with "
                "on_bad_file='skip' (--on-bad-file skip): it then counts as missing."
            ) from error

    def _begin(self) -> _Open:
        name = _NAME.format(len(self._done))
        file = (self._folder / name).open("wb")
        hashed = _Hashed(file)
        tar = tarfile.open(fileobj=hashed, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed in `_finish`
        self._open = _Open(name, file, hashed, tar)
        return self._open

    def _finish(self) -> None:
        shard = self._open
        assert shard is not None
        shard.tar.close()
        shard.file.close()
        digest = shard.hashed.digest.hexdigest()
        self._done.append(Shard(name=shard.name, rows=shard.n_rows, bytes=shard.hashed.n_bytes, sha256=digest))
        self._open = None

    def finished(self) -> list[Shard]:
        """Ends the last shard, and returns all."""
        if self._open is not None:
            self._finish()
        return self._done

    def close(self) -> None:
        """Leaves what is half-written."""
        if self._open is not None:
            self._open.file.close()


def _rounded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)  # its times, owners and mode are those of no machine
    info.size, info.mode = size, 0o644
    return info
