"""Tables of a database, by URL: DuckDB through its own package, others through SQLAlchemy; read, never written.

A column comes as its values would in a data frame: dates and times as such, decimals as numbers, NULL as missing. A
password is in no message, name or result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from profuse._optional import need
from profuse.data.table.column_types import arrow_cells
from profuse.data.table.database_checks import check_file, check_table, masked, no_rows, quoted, without_secrets
from profuse.data.table.delimited import unique_names
from profuse.data.table.sql_rows import SqlRows
from profuse.errors import ConfigError, DataError

__all__ = ["DatabaseTable", "is_database", "masked", "read_database"]

_URL = re.compile(r"[A-Za-z][\w.+-]*://")
_REMARKS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$", re.DOTALL)
_READS = re.compile(r"\s*\(*\s*(select|with|values|table)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(insert\s+into|update|delete\s+from|merge\s+into|into\s+outfile)\b", re.IGNORECASE)


def is_database(source: object) -> bool:
    """Whether a word is the URL of a database, not a file."""
    return isinstance(source, str) and _URL.match(source) is not None


@dataclass(frozen=True, repr=False)
class DatabaseTable:
    """A table of a database, or the rows of a query: goes wherever the path of a table goes.

    Attributes:
        url: `duckdb:///file.db`, `sqlite:///file.db`, `postgresql://user:password@host/name`, or another of SQLAlchemy.
        query: One SELECT (or WITH, VALUES); anything else is refused.
        table: Name of a table or view in place of a query, `schema.table` too.

    Raises:
        ConfigError: Neither query nor table, or both; the query does not read; the URL is none.

    Example:
        >>> import profuse
        >>> from profuse.data.table.database import DatabaseTable
        >>> profuse.compare(DatabaseTable("duckdb:///shop.db", table="sales"), "price")  # doctest: +SKIP
    """

    url: str
    query: str | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        shown = masked(self.url)
        if not is_database(self.url):
            raise ConfigError(
                f"database: the URL must be as duckdb:///file.db or postgresql://host/name; got {shown!r}."
            )
        if (self.query is None) == (self.table is None):
            given = "neither" if self.query is None else "both"
            raise ConfigError(f"{shown}: a query or a table must be named; got {given}. Give --query or --table.")
        if self.query is not None:
            _check_reads(self.query, shown)

    @property
    def name(self) -> str:
        """The table's name, or the database's."""
        last = re.split(r"[?#]", self.url.partition("://")[2])[0].rstrip("/").rpartition("/")[2]
        return self.table or Path(last.rpartition("@")[2]).stem or self.url.partition("://")[0]

    def __str__(self) -> str:
        return masked(self.url)

    def __repr__(self) -> str:
        return f"DatabaseTable({masked(self.url)!r}, query={self.query!r}, table={self.table!r})"

    @property
    def is_duckdb(self) -> bool:
        """Whether DuckDB reads it; others are read through SQLAlchemy."""
        return self.url.partition("://")[0].lower() == "duckdb"

    @property
    def notes(self) -> list[str]:
        """What is to be told of the rows, whatever they hold."""
        if self.query is not None and re.search(r"\border\s+by\b", _plain(self.query), re.IGNORECASE):
            return []
        in_place = "In place of the table give a query with ORDER BY"
        advice = "Add ORDER BY to the query" if self.table is None else in_place
        return [
            f"{self} gives rows in no order that it promises; a split by chance may differ from one read to "
            f"the next. {advice}."
        ]

    def read(self) -> pd.DataFrame:
        """Returns the rows, the columns in the order of the query; see `read_database`."""
        return read_database(self.url, query=self.query, table=self.table)

    def rows(self) -> SqlRows:
        """Returns the rows of a database other than DuckDB, in pieces."""
        return SqlRows(self.url, self.query, self.table)

    def pieces(self, n_rows: int) -> Iterator[Any]:
        """Yields Arrow tables of DuckDB, of about `n_rows` rows; the query runs anew each time.

        Raises:
            DataError: See `read_database`.
        """
        with _duckdb(self.url, self.query, self.table) as found:
            reader = found.to_arrow_reader(n_rows)
            unique_names(reader.schema.names, str(self))
            import pyarrow as pa

            for batch in reader:
                yield pa.Table.from_batches([batch])


def read_database(url: str, *, query: str | None = None, table: str | None = None) -> pd.DataFrame:
    """Returns the rows of a query, or of a whole table; its columns in the order of the query.

    What is to be told stands in `attrs["notes"]`.

    Args:
        url: `duckdb:///file.db`, `sqlite:///file.db`, `postgresql://user:password@host/name`, or another of SQLAlchemy.
        query: One SELECT (or WITH, VALUES); anything else is refused.
        table: Name of a table or view in place of a query, `schema.table` too.

    Raises:
        ConfigError: Neither query nor table, or both; the query does not read; the URL is none.
        DataError: The database is not there or cannot be reached, or has no such table; the query fails or has no rows.
        MissingDependencyError: The package for this database is not installed.

    Example:
        >>> from profuse.data.table.database import read_database
        >>> read_database("duckdb:///shop.db", query="select * from sales order by id")  # doctest: +SKIP
    """
    asked = DatabaseTable(url, query, table)  # which checks them
    frame = _of_duckdb(url, query, table) if asked.is_duckdb else asked.rows().whole()
    if not len(frame) or not len(frame.columns):
        raise no_rows(masked(url), query)
    frame.attrs["notes"] = asked.notes
    return frame


def _plain(query: str) -> str:
    """Returns the query without remarks and without what stands in quotes."""
    return _REMARKS.sub(" ", _QUOTED.sub(" x ", query)).strip().rstrip(";").strip()


def _check_reads(query: str, shown: str) -> None:
    plain = _plain(query)
    if ";" in plain or not _READS.match(plain) or (plain[:4].lower() == "with" and _WRITES.search(plain)):
        raise ConfigError(
            f"{shown}: the query must be one SELECT, which reads and changes nothing; got {query.strip()[:80]!r}. "
            "Change tables with the database's own tools."
        )


def _of_duckdb(url: str, query: str | None, table: str | None) -> pd.DataFrame:
    with _duckdb(url, query, table) as found:
        result = found.to_arrow_table()
    unique_names(result.column_names, masked(url))
    return pd.DataFrame({name: arrow_cells(result[name]) for name in result.column_names})


@contextmanager
def _duckdb(url: str, query: str | None, table: str | None) -> Iterator[Any]:
    """Gives the rows of a query, which come as they are fetched; what DuckDB says is told as our errors."""
    for package in ("duckdb", "pyarrow"):
        need(package, "sql", "reading DuckDB")
    import duckdb

    shown = masked(url)
    path = Path(re.split(r"[?#]", url.partition("://")[2])[0][1:])
    in_memory = str(path) == ":memory:"  # of files that the query names
    if not in_memory:
        check_file(path, shown)
    try:
        with closing(duckdb.connect(str(path), read_only=not in_memory)) as connection:
            if table is not None:
                rows = connection.execute(
                    "select table_schema, table_name from information_schema.tables order by all"
                ).fetchall()
                known = [name if schema == "main" else f"{schema}.{name}" for schema, name in rows]
                check_table(table, [*known, *(name for _, name in rows)], shown)
            yield connection.sql(query or f"select * from {quoted(table or '')}")
    except duckdb.CatalogException as error:
        message = without_secrets(error, url)
        raise DataError(f"{shown}: tables and columns of the query must be there; got {message}.") from None
    except duckdb.IOException as error:
        raise DataError(f"{shown}: the database must be readable; got {without_secrets(error, url)}.") from None
    except duckdb.Error as error:
        raise DataError(f"{shown}: the query must run; got {without_secrets(error, url)}. Correct it.") from None
