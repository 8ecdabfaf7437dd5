"""Tables of a database, by URL: DuckDB through its own package, others through SQLAlchemy; read, never written.

A column comes as its values would in a data frame: dates and times as such, decimals as numbers, NULL as missing. A
password is in no message, name or result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from profuse._lookup import nearest
from profuse._optional import need
from profuse.data.table.column_types import arrow_cells
from profuse.data.table.delimited import unique_names
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError, MissingDependencyError

__all__ = ["DatabaseTable", "is_database", "masked", "read_database"]

_URL = re.compile(r"[A-Za-z][\w.+-]*://")
_USER = re.compile(r"(?<=://)([^/?#@:]*):([^/?#]*)(?=@)")
_SECRET = re.compile(r"(?i)([?&](?:[^=&]*(?:password|passwd|pwd|token|secret|key)[^=&]*)=)([^&#]*)")
_REMARKS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$", re.DOTALL)
_READS = re.compile(r"\s*\(*\s*(select|with|values|table)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(insert\s+into|update|delete\s+from|merge\s+into|into\s+outfile)\b", re.IGNORECASE)
_LARGEST_WHOLE = 2**53


def is_database(source: object) -> bool:
    """Whether a word is the URL of a database, not a file."""
    return isinstance(source, str) and _URL.match(source) is not None


def masked(url: str) -> str:
    """Returns the URL with `***` for its password, and for all that its options call a password, token or key."""
    return _SECRET.sub(r"\1***", _USER.sub(r"\1:***", url))


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
    def in_pieces(self) -> bool:
        """Whether the database gives its rows in pieces."""
        return self.url.partition("://")[0].lower() == "duckdb"

    @property
    def notes(self) -> list[str]:
        """What is to be told of the rows, whatever they hold."""
        if self.query is not None and re.search(r"\border\s+by\b", _plain(self.query), re.IGNORECASE):
            return []
        return [
            f"{self}: rows come in no order that the database promises; a split by chance may differ from one read to "
            "the next. Add ORDER BY to the query."
        ]

    def read(self) -> pd.DataFrame:
        """Returns the rows, the columns in the order of the query; see `read_database`."""
        return read_database(self.url, query=self.query, table=self.table)

    def pieces(self, n_rows: int) -> Iterator[Any]:
        """Yields Arrow tables of about `n_rows` rows; the query runs anew each time.

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
    shown = masked(url)
    kind = url.partition("://")[0].lower()
    frame = (_of_duckdb if kind == "duckdb" else _of_sqlalchemy)(url, query, table)
    if not len(frame) or not len(frame.columns):
        raise DataError(f"{shown}: the {'query' if query else 'table'} must give at least one row; it gave none.")
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
        _check_file(path, shown)
    try:
        with closing(duckdb.connect(str(path), read_only=not in_memory)) as connection:
            if table is not None:
                rows = connection.execute(
                    "select table_schema, table_name from information_schema.tables order by all"
                ).fetchall()
                known = [name if schema == "main" else f"{schema}.{name}" for schema, name in rows]
                _check_table(table, [*known, *(name for _, name in rows)], shown)
            yield connection.sql(query or f"select * from {_quoted(table or '')}")
    except duckdb.CatalogException as error:
        raise DataError(f"{shown}: tables and columns of the query must be there; got {_told(error, url)}.") from None
    except duckdb.IOException as error:
        raise DataError(f"{shown}: the database must be readable; got {_told(error, url)}.") from None
    except duckdb.Error as error:
        raise DataError(f"{shown}: the query must run; got {_told(error, url)}. Correct it.") from None


def _of_sqlalchemy(url: str, query: str | None, table: str | None) -> pd.DataFrame:
    need("sqlalchemy", "sql", "reading databases")
    import sqlalchemy as sa

    shown = masked(url)
    engine = _engine(url, shown)
    try:
        with engine.connect() as connection:
            options = {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}
            connection = connection.execution_options(**options)
            if table is not None:
                seen = sa.inspect(connection)
                schema, _, name = table.rpartition(".")
                known = [*seen.get_table_names(schema or None), *seen.get_view_names(schema or None)]
                _check_table(name, known, shown)
                query = f"select * from {_quoted(table, engine.dialect.identifier_preparer.quote_identifier)}"
            result = connection.exec_driver_sql(query or "")
            names = [str(name) for name in result.keys()]  # noqa: SIM118 - it is no dict
            unique_names(names, shown)
            rows = result.fetchall()
            connection.rollback()
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        raise DataError(
            f"{shown}: the database must be reachable, and the query must run; got {_told(error.orig or error, url)}. "
            "Check the URL and the query."
        ) from None
    except (sa.exc.SQLAlchemyError, sa.exc.DBAPIError) as error:
        raise DataError(
            f"{shown}: the query must run; got {_told(getattr(error, 'orig', None) or error, url)}. Correct it."
        ) from None
    finally:
        engine.dispose()
    return pd.DataFrame({name: _column([row[i] for row in rows]) for i, name in enumerate(names)})


def _engine(url: str, shown: str) -> Any:
    import sqlalchemy as sa

    try:
        made = sa.make_url(url)
        if made.drivername in ("postgresql", "postgres"):
            made = made.set(drivername="postgresql+psycopg")
        if made.get_backend_name() == "sqlite":
            path = Path(made.database or "")
            _check_file(path, shown)
            made = made.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})
        return sa.create_engine(made)
    except sa.exc.NoSuchModuleError:
        kind = shown.partition("://")[0]
        raise DataError(
            f"{shown}: the kind of database must be one that SQLAlchemy knows; got {kind!r}. Use duckdb, sqlite, "
            "postgresql, or install the package of its dialect."
        ) from None
    except sa.exc.ArgumentError:
        raise ConfigError(f"read_database: the URL must be as postgresql://user@host/name; got {shown!r}.") from None
    except ModuleNotFoundError as error:
        hint = "pip install 'profuse[postgres]'" if error.name == "psycopg" else f"pip install {error.name}"
        raise MissingDependencyError(
            f"{shown}: reading this database needs the package {error.name!r}; it is not installed. Run: {hint}"
        ) from None


def _check_file(path: Path, shown: str) -> None:
    if not path.is_file():
        here = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, here)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "Check the path."
        raise DataError(f"{shown}: the database must be a file that exists; got {str(path)!r}. {hint}")


def _check_table(name: str, known: Sequence[str], shown: str) -> None:
    if name not in known:
        close = nearest(name, known)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {tell_values(known)}."
        raise DataError(f"{shown}: the table must be there; got table={name!r}. {hint}")


def _quoted(table: str, quote: Any = None) -> str:
    quote = quote or (lambda name: '"' + name.replace('"', '""') + '"')
    return ".".join(quote(part) for part in table.split("."))


def _told(error: BaseException, url: str) -> str:
    """Returns the first lines of a message, without the password."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    secrets = [m[2] for m in (*_USER.finditer(url), *_SECRET.finditer(url)) if m[2]]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _column(values: list[Any]) -> pd.Series:
    """Returns the values of a column as a data frame holds them: NULL is missing, whole numbers stay exact."""
    known = [v for v in values if v is not None]
    types = {type(v) for v in known}
    if not known:
        return pd.Series(values, dtype=object)
    if types == {int}:
        small = all(abs(v) <= _LARGEST_WHOLE for v in known)
        if len(known) < len(values):
            return pd.Series(values, dtype="float64" if small else object)
        return pd.Series(values, dtype="int64" if all(abs(v) < 2**63 for v in known) else object)
    if types <= {int, float, Decimal}:
        return pd.Series([None if v is None else float(v) for v in values], dtype="float64")
    if types == {bool}:
        return pd.Series(values, dtype=bool if len(known) == len(values) else object)
    if types == {str}:
        return pd.Series(values, dtype="str")
    return pd.Series(values, dtype=object)
