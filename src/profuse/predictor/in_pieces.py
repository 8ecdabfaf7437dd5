"""New rows that memory does not hold at once: read, and predicted, a block at a time, as if they were read whole."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from profuse._folder import applied
from profuse.data.dataset import Dataset
from profuse.data.new_rows import no_table
from profuse.data.table.assemble import ids_told
from profuse.data.table.database import DatabaseTable
from profuse.data.table.infer import plain_names
from profuse.data.table.missing import without_doubtful, without_missing
from profuse.data.table.pieces import TablePieces
from profuse.data.table.unseen import Unseen, add_unseen, unseen_notes
from profuse.data.wording import rows_from
from profuse.errors import DataError
from profuse.metrics import Measured
from profuse.predictor.base import Predictor
from profuse.predictor.measuring import measured_outputs, true_values
from profuse.schema import OnBadFile, Schema

__all__ = ["BLOCK", "Block", "Noted", "RowsInPieces", "joined"]

BLOCK = 512
"""Rows that are predicted together, from the first on: fixed, as a last digit may hang on which stand together."""


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a table that are predicted together.

    Attributes:
        first: The place of the first of them in the table; messages of what is made of them count from it within
            `rows_from(first)`.
        rows: What they hold.
    """

    first: int
    rows: Dataset


class RowsInPieces:
    """The rows of a file, as `Predictor.read` reads them, a block of 512 at a time; flat in memory.

    What only the whole column tells (the type of a column, whether ids are there once each) is found first; what is
    told of all rows together (categories that training has not seen) is told after the last one.

    Args:
        predictor: Whose training tells how they are read.
        path: CSV, TSV, Parquet, or a table of a database; JSON lines are read whole, and predicted in blocks.
        chunk_rows: How many rows are read at a time, at least 1; nothing else hangs on it.
        on_bad_file: See `Predictor.read`.
        new_categories: See `Predictor.read`.
        need_target: Whether the target is read.
        target: Its columns, where they are called otherwise than in training.
        who: Begins messages.

    Attributes:
        notes: What was counted; complete after the last block.
        n_rows: How many rows there are.
        marks: Whether an id holds a carriage return.

    Raises:
        DataError: See `Predictor.read`.
    """

    def __init__(
        self,
        predictor: Predictor,
        path: str | Path | DatabaseTable,
        *,
        chunk_rows: int = 10_000,
        on_bad_file: OnBadFile = "raise",
        new_categories: Collection[str] = (),
        need_target: bool = False,
        target: Sequence[str] | None = None,
        who: str = "predict",
    ) -> None:
        schema, self._need_target = predictor.schema, need_target
        if schema is None:
            raise no_table(path, predictor.pipeline, who=who)
        if chunk_rows < 1:
            raise DataError(f"{who}: chunk_rows must be at least 1; got chunk_rows={chunk_rows}. Use 10000.")
        self.predictor, self.accepted = predictor, (*schema.new_categories, *new_categories)
        base = None if isinstance(path, DatabaseTable) else Path(path).parent
        reader = predictor.pipeline.reader(
            schema, predictor.codec, target=target, base_dir=base, on_bad_file=on_bad_file
        )
        words = (*schema.words, *reader.words, *(() if schema.id is None else (schema.id,)))
        with applied(predictor.source):
            self._pieces = TablePieces(path, words, n_rows=chunk_rows)
            self.n_rows, self.marks, told = _ids(self._pieces, schema)
        if told:  # rows are told by their numbers
            schema = schema.model_copy(update={"id": None, "ignore": (*schema.ignore, str(schema.id))})
            reader = replace(reader, schema=schema)
        self._reader = reader
        self._notes = Noted([*self._pieces.notes, *([told] if told else [])])
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Block]:
        """Yields all rows, in their order."""
        unseen: dict[str, Unseen] = {}
        first = 0
        for frame in _blocks(self._pieces):
            with rows_from(first), applied(self.predictor.source):
                rows = self._reader.read(frame, name=self._pieces.path.stem, need_target=self._need_target)
                add_unseen(unseen, self.predictor.pipeline.unseen(rows))
                self._notes.add(rows.notes)
            yield Block(first, rows)
            first += len(frame)
        self._pieces.close()
        self.notes = [*self._notes.told(), *unseen_notes(unseen.values(), self.accepted)]

    def head(self, n: int) -> Dataset:
        """Returns the first `n` rows, or all where there are fewer."""
        frames: list[pd.DataFrame] = []
        for frame in self._pieces:
            frames.append(frame)
            if sum(map(len, frames)) >= n:
                break
        some = joined(frames)
        first = some[:n]
        first.attrs = some.attrs
        with applied(self.predictor.source):
            return self._reader.read(first, name=self._pieces.path.stem, need_target=self._need_target)

    def evaluate(self) -> Measured:
        """Returns every metric of the predictor's task, of all rows, which have been opened with their target.

        Memory holds the target of each row and what is predicted of it.
        """
        assert self._need_target
        outputs, true = [], []
        for block in self:
            with rows_from(block.first):
                assert block.rows.target is not None
                true.append(true_values(self.predictor.codec, block.rows.target))
                outputs.append(self.predictor.predict_encoded(self.predictor.encode(block.rows)))
        known = np.concatenate(true)
        return measured_outputs(self.predictor.codec, self.predictor.decision, known, np.concatenate(outputs))

    def tell(self, notes: Collection[str]) -> None:
        """Adds notes of a block."""
        self._notes.add(notes)


def _blocks(pieces: TablePieces) -> Iterator[pd.DataFrame]:
    """Yields frames of `BLOCK` rows, whatever a piece holds."""
    rest: list[pd.DataFrame] = []
    n_rows = 0
    for piece in pieces:
        rest.append(piece)
        n_rows += len(piece)
        if n_rows < BLOCK:
            continue
        frame = rest[0] if len(rest) == 1 else joined(rest)
        whole = n_rows - n_rows % BLOCK
        for start in range(0, whole, BLOCK):
            yield frame.iloc[start : start + BLOCK].reset_index(drop=True)
        rest, n_rows = [frame.iloc[whole:]], n_rows - whole
    if n_rows:
        yield joined(rest)


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Returns the rows of all frames in one, with what is known of the file they came from."""
    whole = pd.concat([f for f in frames if len(f)], ignore_index=True)
    whole.attrs = frames[-1].attrs
    return whole


def _ids(pieces: TablePieces, schema: Schema) -> tuple[int, bool, str]:
    """Returns the number of rows, whether an id holds a carriage return, and a note where ids cannot name rows.

    A hash of 8 bytes is kept of each id; where two are the same, the ids themselves are looked at.
    """
    n_rows, marks, hashes, missing = 0, False, [np.empty(0, np.uint64)], [np.empty(0, np.int64)]

    def ids(frame: pd.DataFrame) -> pd.Series | None:
        if schema.id is None or schema.id not in map(str, frame.columns):
            return None
        alone = plain_names(frame.loc[:, [str(c) == schema.id for c in frame.columns]])
        return without_doubtful(without_missing(alone, schema), schema.columns)[schema.id]

    def hashed(cells: pd.Series) -> np.ndarray:
        return np.asarray(pd.util.hash_array(np.array([repr(v) for v in cells], dtype=object), categorize=False))

    for frame in pieces:
        cells = ids(frame)
        if cells is not None:
            gone = np.flatnonzero(cells.isna())
            missing.append(gone + n_rows)
            hashes.append(hashed(cells))
            marks |= any("\r" in str(v) for v in cells)
        n_rows += len(frame)
    every, absent = np.concatenate(hashes), np.concatenate(missing)
    if not len(every):
        return n_rows, marks, ""
    order = np.sort(every)
    again = np.unique(order[1:][order[1:] == order[:-1]])
    twice: list[int] = []
    if len(again):  # equal hashes may be of two ids
        seen: set[object] = set()
        first = 0
        for frame in pieces:
            cells = ids(frame)
            assert cells is not None
            for row in np.flatnonzero(np.isin(hashed(cells), again)):
                value = None if pd.isna(cells.iloc[row]) else cells.iloc[row]
                if value in seen:
                    twice.append(first + int(row))
                seen.add(value)
            first += len(frame)
    return n_rows, marks, ids_told(schema, absent, np.array(twice, dtype=np.int64))


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")
_VARIES = re.compile(rf"\d[\d.,]*|{_QUOTED.pattern}")
_MOST_WORDS = 3  # examples of further blocks
_LISTS = re.compile(r"#(?:,? ?(?:#|\.\.\.))*(?: and # more)?")
_MANY = re.compile(r"\b(row|cell|hold|count|value)s\b")  # one of them, or many
_COLUMN = re.compile(r"(?:Column|Modality) '(?:[^'\\]|\\.)*'")


class Noted:
    """Notes of many blocks: each once; of those that differ in numbers and examples alone the first, and all examples.

    Args:
        notes: Of the whole.
        n_rows: Of a block.
    """

    def __init__(self, notes: Collection[str] = (), *, n_rows: int = BLOCK) -> None:
        self.n_rows = n_rows
        self._first: dict[str, str] = {}
        self._n: dict[str, int] = {}
        self._words: dict[str, list[str]] = {}
        self.add(notes)

    def add(self, notes: Collection[str]) -> None:
        """Adds the notes of a block."""
        for note in notes:
            column = _COLUMN.match(note)
            begins = column[0] if column else ""
            key = begins + _MANY.sub(r"\1", _LISTS.sub("#", _VARIES.sub("#", note[len(begins) :])))
            if (first := self._first.setdefault(key, note)) != note:
                self._n[key] = self._n.get(key, 0) + 1
                words = self._words.setdefault(key, [])
                new = [word for word in _QUOTED.findall(note[len(begins) :]) if word not in first and word not in words]
                words += new[: _MOST_WORDS + 1 - len(words)]

    def told(self) -> list[str]:
        """Returns what is to be told."""
        more = {
            key: f" So too in {n} more of the blocks of {self.n_rows} rows{_listed(self._words[key])}."
            for key, n in self._n.items()
        }
        return [note + more.get(key, "") for key, note in self._first.items()]


def _listed(words: Sequence[str]) -> str:
    return f", with {', '.join(words[:_MOST_WORDS])}{' and others' if len(words) > _MOST_WORDS else ''}" * bool(words)
