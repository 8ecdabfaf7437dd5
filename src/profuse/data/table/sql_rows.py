"""Rows of a database through SQLAlchemy, in pieces and as often as wanted, within one transaction that only reads.

| database | what all reads see |
|---|---|
| PostgreSQL | the snapshot of one transaction: REPEATABLE READ, READ ONLY; rows come by a cursor of the server |
| SQLite | the snapshot of one read transaction; without write-ahead log, others cannot write before it ends |
| MySQL, MariaDB | the snapshot of one transaction: REPEATABLE READ |
| Oracle | the snapshot of one transaction: SERIALIZABLE |
| others | what the database gives; `SqlRows` notices values of other types, and its users other rows |
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from profuse._optional import need
from profuse.data.table.database_checks import check_file, check_table, masked, other_rows, quoted, without_secrets
from profuse.data.table.delimited import unique_names
from profuse.data.table.sql_columns import SqlColumn
from profuse.errors import ConfigError, DataError, MissingDependencyError

__all__ = ["SqlRows"]

_PIECE = 10_000
_SNAPSHOTS = {
    "postgresql": "REPEATABLE READ", "mysql": "REPEATABLE READ", "mariadb": "REPEATABLE READ", "oracle": "SERIALIZABLE"
}  # fmt: skip
# Scans that begin where others are give another order; and a session that waits for a fit must not be ended.
_STEADY = (
    "select set_config(name, case name when 'synchronize_seqscans' then 'off' else '0' end, true) from pg_settings "
    "where name in ('synchronize_seqscans', 'idle_in_transaction_session_timeout')"
)


class SqlRows:
    """The rows of a query, or of a whole table.

    All reads are of one transaction, which begins with the first one and ends with `close`, or with this object.

    Args:
        url: Of SQLAlchemy.
        query: One SELECT; None: the table.
        table: Its name, `schema.table` too.

    Attributes:
        columns: The type of each, once `survey` or `whole` has read all rows.
        n_rows: How many there are, once it has.

    Raises:
        MissingDependencyError: SQLAlchemy is not installed.
    """

    def __init__(self, url: str, query: str | None, table: str | None) -> None:
        need("sqlalchemy", "sql", "reading databases")
        self.url, self.query, self.table = url, query, table
        self.columns: dict[str, SqlColumn] = {}
        self.n_rows = 0
        self._connection: Any = None
        self._statement = ""

    def survey(self, n_rows: int) -> None:
        """Reads all rows, `n_rows` at a time, and keeps what they tell of the columns.

        Raises:
            DataError: See `read_database`.
        """
        self.columns, self.n_rows = {}, 0
        for names, rows in self._pieces(n_rows):
            self._see(names, rows)

    def frames(self, n_rows: int) -> Iterator[pd.DataFrame]:
        """Yields frames of `n_rows` rows, the last one of fewer: each cell is what it is in `whole`.

        Raises:
            DataError: See `read_database`; or the rows are others than those that `survey` has read.
        """
        for names, rows in self._pieces(n_rows):
            cells = list(zip(*rows, strict=True))
            if names != list(self.columns) or not all(map(SqlColumn.holds, self.columns.values(), cells)):
                raise other_rows(masked(self.url))
            yield pd.DataFrame(dict(zip(names, map(SqlColumn.cells, self.columns.values(), cells), strict=True)))

    def whole(self) -> pd.DataFrame:
        """Returns all rows.

        Raises:
            DataError: See `read_database`.
        """
        self.columns, self.n_rows, every = {}, 0, []
        for names, rows in self._pieces(_PIECE):
            self._see(names, rows)
            every += rows
        cells = zip(*every, strict=True)
        return pd.DataFrame({name: column.cells(next(cells)) for name, column in self.columns.items()})

    def close(self) -> None:
        """Ends the transaction; a later read begins another one."""
        if self._connection is not None:
            self._connection = None
            self._end()

    def _see(self, names: list[str], rows: list[Any]) -> None:
        self.columns = self.columns or {name: SqlColumn() for name in names}
        self.n_rows += len(rows)
        for column, values in zip(self.columns.values(), zip(*rows, strict=True), strict=True):
            column.see(values)

    def _pieces(self, n_rows: int) -> Iterator[tuple[list[str], list[Any]]]:
        """Yields names of columns and some rows."""
        with self._told():
            connection = self._connected()
            # rows wait on the server where it can keep them; without parameters a % is a sign like others
            how = {"yield_per": n_rows, "no_parameters": True}
            with closing(connection.exec_driver_sql(self._statement, execution_options=how)) as result:
                names = [str(name) for name in result.keys()]  # noqa: SIM118 - it is no dict
                unique_names(names, masked(self.url))
                for rows in result.partitions(n_rows):
                    yield names, list(rows)

    def _connected(self) -> Any:
        """Returns the connection, with the transaction in which all is read."""
        if self._connection is not None:
            return self._connection
        connection = _engine(self.url, masked(self.url)).connect()
        try:
            _begin(connection)
            self._statement = self.query or self._of_table(connection)
        except BaseException:
            connection.close()
            raise
        self._end = weakref.finalize(self, _end, connection)
        self._connection = connection
        return connection

    def _of_table(self, connection: Any) -> str:
        """Returns the query of all rows of the table."""
        import sqlalchemy as sa

        table, seen = self.table or "", sa.inspect(connection)
        schema, _, name = table.rpartition(".")
        known = [*seen.get_table_names(schema or None), *seen.get_view_names(schema or None)]
        check_table(name, known, masked(self.url))
        return f"select * from {quoted(table, connection.dialect.identifier_preparer.quote_identifier)}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells what SQLAlchemy and drivers say as our errors; after one the transaction is over."""
        import sqlalchemy as sa

        shown, url = masked(self.url), self.url
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            self.close()
            raise DataError(
                f"{shown}: the database must be reachable, and the query must run; got "
                f"{without_secrets(error.orig or error, url)}. Check the URL and the query."
            ) from None
        except sa.exc.SQLAlchemyError as error:
            self.close()
            message = without_secrets(getattr(error, "orig", None) or error, url)
            raise DataError(f"{shown}: the query must run; got {message}. Correct it.") from None


def _begin(connection: Any) -> None:
    """Begins a transaction that only reads, and sees the same rows as long as it lasts where the database can."""
    kind = connection.dialect.name
    if kind in _SNAPSHOTS:
        connection.execution_options(isolation_level=_SNAPSHOTS[kind])
    if kind == "postgresql":
        connection.execution_options(postgresql_readonly=True)
        connection.exec_driver_sql(_STEADY)
    if kind == "sqlite":
        connection.exec_driver_sql("begin")  # its driver begins no transaction of itself to read


def _end(connection: Any) -> None:
    import sqlalchemy as sa

    with suppress(sa.exc.SQLAlchemyError):  # of a server that is gone, and the transaction with it
        connection.close()


def _engine(url: str, shown: str) -> Any:
    import sqlalchemy as sa

    try:
        made = sa.make_url(url)
        if made.drivername in ("postgresql", "postgres"):
            made = made.set(drivername="postgresql+psycopg")
        if made.get_backend_name() == "sqlite":
            path = Path(made.database or "")
            check_file(path, shown)
            made = made.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})
        return sa.create_engine(made, poolclass=sa.pool.NullPool)
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
