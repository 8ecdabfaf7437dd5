"""Where answers go, a frame at a time: a CSV or Parquet file, whole or not at all, or standard output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from profuse._escape import formula_free
from profuse.cli._print import csv_text, print_data, tell_changed
from profuse.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answers", "answers_to", "is_parquet"]

_GROUP = 100_000
"""Rows of a row group of a Parquet file: fewer than 100,000 more than one frame."""


class Answers(ABC):
    """Takes frames of the same columns, one after the other."""

    @abstractmethod
    def add(self, frame: pd.DataFrame) -> None:
        """Takes the rows that follow."""

    @abstractmethod
    def end(self) -> None:
        """Writes what is left."""


def is_parquet(out: Path | None) -> bool:
    """Whether a file of that name holds Parquet."""
    return out is not None and out.suffix.lower() in (".parquet", ".pq")


@contextmanager
def answers_to(out: Path | None, *, quoted: bool, safe: bool) -> Iterator[Answers]:
    """Gives what takes answers; the file `out` is there in the end, or is what it was on an error.

    Args:
        out: The file; standard output if None.
        quoted: Whether words of a CSV file stand in quotes: a carriage return in a word needs it.
        safe: Whether no cell of it may begin like a formula.
    """
    from profuse._saving import new_file

    if out is None:
        yield from _ended(_Csv(None, quoted=quoted, safe=safe))
        return
    with new_file(out) as file:
        yield from _ended(_Parquet(file, out.name) if is_parquet(out) else _Csv(file, quoted=quoted, safe=safe))


def _ended(answers: Answers) -> Iterator[Answers]:
    yield answers
    answers.end()


class _Csv(Answers):
    def __init__(self, file: IO[bytes] | None, *, quoted: bool, safe: bool) -> None:
        self.file, self.quoted, self.safe = file, quoted, safe
        self.header, self.n_changed = True, 0

    def add(self, frame: pd.DataFrame) -> None:
        text = csv_text(frame, header=self.header, quoted=self.quoted)
        self.header = False
        if self.safe:
            text, n_changed = formula_free(text)
            self.n_changed += n_changed
        if self.file is None:
            print_data(text)
        else:
            self.file.write(text.encode(errors="backslashreplace"))

    def end(self) -> None:
        tell_changed(self.n_changed)


class _Parquet(Answers):
    def __init__(self, file: IO[bytes], name: str) -> None:
        from profuse._optional import need

        need("pyarrow", "scale", "writing Parquet files")
        self.file, self.name = file, name
        self.writer: Any = None
        self.tables: list[Any] = []
        self.n_rows = 0

    def add(self, frame: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pa.Table.from_pandas(frame, schema=self.writer and self.writer.schema, preserve_index=False)
        except (pa.ArrowException, TypeError) as error:
            raise DataError(
                f"{self.name}: a column of a Parquet file must be of one type; got {' '.join(str(error).split())}. "
                "Write CSV."
            ) from error
        self.writer = self.writer or pq.ParquetWriter(self.file, table.schema)
        self.tables.append(table)
        self.n_rows += len(frame)
        if self.n_rows >= _GROUP:
            self._write()

    def end(self) -> None:
        self._write()
        if self.writer is not None:
            self.writer.close()

    def _write(self) -> None:
        import pyarrow as pa

        if self.tables:
            self.writer.write_table(pa.concat_tables(self.tables))
        self.tables, self.n_rows = [], 0
