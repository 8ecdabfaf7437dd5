"""Tables of a database: types as in a data frame, clear errors, nothing written, no password told."""

from __future__ import annotations

import datetime
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from profuse.cli import app
from profuse.data.table.database import DatabaseTable, masked, read_database
from profuse.data.table.infer import plain_names
from profuse.errors import ConfigError, DataError

duckdb: Any = pytest.importorskip("duckdb")
pytest.importorskip("sqlalchemy")

_CREATE = """create table {name} (id integer, price decimal(9, 2), n bigint, ok boolean, day date, moment timestamp,
                                  word varchar(20), none_yet integer)"""
_ROWS = [
    (1, "2.50", 2**60 + 1, True, "2024-05-31", "2024-05-31 12:30:00", "red", None),
    (2, "-1.25", None, None, None, None, None, None),
    (3, "0.10", 5, False, "1999-01-01", "1999-01-01 00:00:00", "NA", None),
]


def _fill(execute: Any, name: str = "sales") -> None:
    execute(_CREATE.format(name=name))
    for row in _ROWS:
        execute(f"insert into {name} values ({', '.join('null' if v is None else repr(v) for v in row)})")


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """URLs of two databases with one table."""
    folder = tmp_path_factory.mktemp("databases")
    with duckdb.connect(str(folder / "shop.db")) as made:
        _fill(made.execute)
    lite = sqlite3.connect(folder / "shop.sqlite")
    _fill(lite.execute)
    lite.commit()
    lite.close()
    return {"duckdb": f"duckdb:///{folder}/shop.db", "sqlite": f"sqlite:///{folder}/shop.sqlite"}


def test_a_database_that_others_read_is_read_beside_them(databases: dict[str, str]) -> None:
    """DuckDB opens a file that is read elsewhere for reading only."""
    with duckdb.connect(databases["duckdb"].removeprefix("duckdb:///"), read_only=True):
        assert len(read_database(databases["duckdb"], table="sales")) == len(_ROWS)


def _checked(frame: pd.DataFrame) -> None:
    assert list(frame) == ["id", "price", "n", "ok", "day", "moment", "word", "none_yet"]
    plain = plain_names(frame)
    assert plain["id"].tolist() == [1, 2, 3]
    assert plain["price"].dtype == np.float64
    np.testing.assert_allclose(plain["price"], [2.5, -1.25, 0.1])
    assert plain["n"].tolist() == [2**60 + 1, None, 5]
    assert [None if pd.isna(v) else bool(v) for v in plain["ok"]] == [True, None, False]
    assert plain["none_yet"].isna().all()
    assert plain["word"].isna().tolist() == [False, True, False]
    days = pd.to_datetime(plain["day"])
    assert [None if pd.isna(v) else v.date() for v in days] == [
        datetime.date(2024, 5, 31), None, datetime.date(1999, 1, 1)
    ]  # fmt: skip
    assert pd.to_datetime(plain["moment"])[0] == pd.Timestamp("2024-05-31 12:30:00")


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_columns_come_as_in_a_data_frame(kind: str, databases: dict[str, str]) -> None:
    _checked(read_database(databases[kind], query="select * from sales order by id"))
    table = read_database(databases[kind], table="sales")
    _checked(table.sort_values("id", ignore_index=True))
    assert "in no order that it promises" in table.attrs["notes"][0]
    assert table.attrs["notes"][0].endswith("In place of the table give a query with ORDER BY.")
    table = read_database(databases[kind], query="select * from sales")
    assert table.attrs["notes"][0].endswith("Add ORDER BY to the query.")
    swapped = read_database(databases[kind], query="with s as (select word, id from sales) select * from s order by id")
    assert list(swapped) == ["word", "id"]
    assert swapped.attrs["notes"] == []


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "a query or a table must be named; got neither"),
        ({"query": "select 1", "table": "sales"}, "got both"),
        ({"table": "sale"}, "the table must be there; got table='sale'. Did you mean 'sales'?"),
        ({"query": "select * from sale"}, "sale"),
        ({"query": "select * from sales where id > 9"}, "the query must give at least one row; it gave none"),
        ({"query": "select id, id from sales"}, "column names must differ; got 'id'"),
        ({"query": "selec 1"}, "must be one SELECT"),
        ({"query": "drop table sales"}, "must be one SELECT, which reads and changes nothing; got 'drop table sales'"),
        ({"query": "select 1; drop table sales"}, "must be one SELECT"),
        ({"query": "/* select */ delete from sales"}, "must be one SELECT"),
        ({"query": "with x as (select 1) insert into sales select 1"}, "must be one SELECT"),
    ],
)
def test_what_cannot_be_read_is_told(kind: str, asked: dict[str, str], message: str, databases: dict[str, str]) -> None:
    with pytest.raises((ConfigError, DataError)) as error:
        read_database(databases[kind], **asked)
    assert message in str(error.value)
    assert len(read_database(databases[kind], query="select * from sales -- ; all\n;")) == 3


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("duckdb:///nowhere.db", "the database must be a file that exists; got 'nowhere.db'"),
        ("sqlite:///nowhere.db", "the database must be a file that exists; got 'nowhere.db'"),
        ("oraql://me@host/x", "the kind of database must be one that SQLAlchemy knows; got 'oraql'"),
        ("mysql+pymysql://me:hush@host/x", "needs the package 'pymysql'; it is not installed"),
    ],
)
def test_databases_that_are_not_there_are_told(url: str, message: str) -> None:
    with pytest.raises(Exception, match="must|needs") as error:
        read_database(url, query="select 1")
    assert message in str(error.value)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_file_and_no_folder_of_a_like_name_is_proposed(kind: str, tmp_path: Path) -> None:
    (tmp_path / "shops.db").mkdir()
    with pytest.raises(DataError, match="got '.*shop.db'. Check the path"):
        read_database(f"{kind}:///{tmp_path}/shop.db", query="select 1")
    (tmp_path / "shop2.db").touch()
    with pytest.raises(DataError, match="Did you mean 'shop2.db'"):
        read_database(f"{kind}:///{tmp_path}/shop.db", query="select 1")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hu:sh@host:5432/shop", "postgresql://me:***@host:5432/shop"),
        ("postgresql://me@host/shop?password=hush&x=1", "postgresql://me@host/shop?password=***&x=1"),
        ("mysql://:hush@host/shop?ssl_key=hush", "mysql://:***@host/shop?ssl_key=***"),
        ("duckdb:///a@b:c.db", "duckdb:///a@b:c.db"),
    ],
)
def test_passwords_are_masked_wherever_a_source_is_named(url: str, shown: str) -> None:
    source = DatabaseTable(url, "select 1")
    assert masked(url) == str(source) == shown
    assert "hush" not in repr(source)
    assert source.name in ("shop", "a@b:c", "b:c")


def _run(*args: object) -> Any:
    done = CliRunner().invoke(app, [str(a) for a in args])
    assert done.exit_code == 0, done.output + done.stderr
    return done


def test_commands_read_a_database_as_they_read_the_file_of_the_same_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    frame = pd.DataFrame({
        "row": np.arange(120), "x": x, "colour": rng.choice(["red", "blue"], 120), "ill": np.where(x > 0, "yes", "no")
    })  # fmt: skip
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with duckdb.connect(str(tmp_path / "rows.db")) as made:
        made.register("given", frame)
        made.execute("create table sick as select * from given")
    url, query = f"duckdb:///{tmp_path}/rows.db", "select x, colour, ill from sick order by row"
    frame[["x", "colour", "ill"]].to_csv(tmp_path / "rows.csv", index=False)
    quick = ("--target", "ill", "--network", "--epochs", 2, "--width", 8)
    _run("fit", url, "--query", query, *quick, "--out", tmp_path / "model")
    said = [
        _run("predict", tmp_path / "model", *rows).stdout
        for rows in ((url, "--query", query), (tmp_path / "rows.csv",))
    ]
    assert said[0] == said[1]
    assert f"120 rows of {url}" in _run("evaluate", tmp_path / "model", url, "--query", query).output
    assert "importance" in _run("ask", "--help").output
    _run("ask", tmp_path / "model", url, "importance", "--query", query)
    assert "numeric" in _run("schema", url, "--table", "sick", "--target", "ill").output
    asked = ["evaluate", tmp_path / "model", tmp_path / "rows.csv", "--query", "select 1"]
    refused = CliRunner().invoke(app, [str(a) for a in asked])
    assert "--query: it must go with the URL of a database" in refused.stderr


@pytest.mark.slow
def test_a_real_postgresql_is_read_and_not_written(postgres: str) -> None:
    psycopg: Any = pytest.importorskip("psycopg")
    with psycopg.connect(postgres) as made:
        _fill(made.execute)
        made.execute("create schema branch")
        made.execute("create sequence counter")
        _fill(made.execute, "branch.sales")
    _checked(read_database(postgres, query="select * from sales order by id"))
    _checked(read_database(postgres, table="branch.sales").sort_values("id", ignore_index=True))
    for asked, message in (
        ({"table": "sale"}, "Did you mean 'sales'?"),
        ({"query": "select * from sale"}, 'relation "sale" does not exist'),
        ({"query": "with gone as (delete /**/ from sales returning id) select * from gone"}, "must be one SELECT"),
        ({"query": "select setval('s', 1) from pg_sleep(0)"}, "must run"),
        ({"query": "select nextval('counter')"}, "read-only transaction"),
    ):
        with pytest.raises((ConfigError, DataError)) as error:
            read_database(postgres, **asked)
        assert message in str(error.value)
    assert len(read_database(postgres, query="select * from sales")) == 3
    for wrong in (postgres.replace("hu%3Ash", "hush"), postgres.replace("host=", "host=/nowhere")):
        with pytest.raises(DataError, match="must be reachable") as error:
            read_database(wrong, query="select 1")
        assert "hush" not in str(error.value)
        assert "hu:sh" not in str(error.value)
