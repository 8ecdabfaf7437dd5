"""Rows of a database in pieces are those of a whole read: the same cells, fits and answers, of one moment."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from profuse.cli import app
from profuse.data.table.cells import NOT_ALL_TRUTH
from profuse.data.table.database import DatabaseTable
from profuse.data.table.pieces import TablePieces
from profuse.data.table.sql_columns import SqlColumn
from profuse.errors import DataError
from profuse.models.options import ModelOptions
from profuse.schema import Schema
from profuse.streaming.fit import fit_streamed
from profuse.streaming.options import StreamOptions
from profuse.training.callbacks import Callback
from profuse.training.history import Epoch
from profuse.training.options import TrainOptions

pytest.importorskip("sqlalchemy")

# every column is of another type in a piece of two rows than in the whole
CELLS: dict[str, list[Any]] = {
    "whole": [1, 2, 3, 4, 5],
    "gap": [1, 2, None, None, 5],
    "large": [2**60 + 1, 2**60 + 3, 3, None, 5],
    "lowest": [-(2**63), 1, 2, 3, 4],
    "late float": [1, 2, 3, 4, 5.5],
    "late word": [1, 2, 3, 4, "five"],
    "truth": ["true", "false", None, "TRUE", "true"],
    "late doubt": ["true", "false", "true", "false", "unsure"],
    "bytes": [b"a", b"\xff\x00", None, b"", b"b"],
    "none": [None] * 5,
    "late": [None, None, None, None, "2024-01-01"],
    "mix": [b"a", "b", 3, 4.5, None],
}


def lite(path: Path, frame: pd.DataFrame, name: str = "rows") -> str:
    """Writes a table of an SQLite database and returns its URL."""
    with sqlite3.connect(path) as made:
        made.execute(f"create table {name} ({', '.join(map(repr, frame))})")
        made.executemany(
            f"insert into {name} values ({', '.join('?' * frame.shape[1])})",
            frame.astype(object).where(frame.notna(), None).to_numpy(dtype=object).tolist(),
        )
    made.close()
    return f"sqlite:///{path}"


def people(n: int = 260, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, words, whole numbers, and two classes that they tell."""
    rng = np.random.default_rng(seed)
    size, kind = rng.normal(size=n), rng.choice(["red", "blue", "green"], n)
    frame = pd.DataFrame({"nr": np.arange(n), "size": size, "age": rng.integers(1, 90, n), "kind": kind})
    frame["ill"] = np.where(size + (kind == "red") > 0.5, "yes", "no")
    frame.loc[rng.random(n) < 0.2, "size"] = np.nan
    return frame


def equal_pieces(source: DatabaseTable, n_rows: int) -> TablePieces:
    """Checks that pieces of `n_rows` rows are the whole read, cell for cell and type for type; twice."""
    whole, pieces = source.read(), TablePieces(source, n_rows=n_rows)
    for _ in range(2):
        frames = list(pieces)
        assert [len(f) for f in frames[:-1]] == [n_rows] * (len(frames) - 1)
        for frame in frames:
            pd.testing.assert_series_equal(frame.dtypes, whole.dtypes)
        cells = pd.concat(frames, ignore_index=True)
        pd.testing.assert_frame_equal(cells, whole, check_exact=True)
        assert cells.map(type).equals(whole.map(type))
    assert pieces.n_total == len(whole)
    assert list(pieces.notes) == whole.attrs["notes"]
    return pieces


@pytest.mark.parametrize("n_rows", [1, 2, 100])
def test_pieces_have_the_cells_and_types_of_a_whole_read(n_rows: int, tmp_path: Path) -> None:
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in CELLS.items()})
    url = lite(tmp_path / "all.db", frame)
    pieces = equal_pieces(DatabaseTable(url, "select * from rows order by whole"), n_rows)
    equal_pieces(DatabaseTable(url, table="rows"), n_rows)
    wanted = {
        "whole": "int64", "gap": "float64", "large": "object", "lowest": "object", "late float": "float64",
        "late word": "object", "truth": "str", "late doubt": "str", "bytes": "object", "none": "object",
        "late": "str", "mix": "object",
    }  # fmt: skip
    first = next(iter(pieces))
    assert {name: str(dtype) for name, dtype in first.dtypes.items()} == wanted
    assert "late doubt" in first.attrs[NOT_ALL_TRUTH]
    assert not {"truth", "none"} & first.attrs[NOT_ALL_TRUTH]


def test_booleans_are_objects_where_some_are_missing() -> None:
    for values, dtype in (([True, False], "bool"), ([True, None], "object"), ([True, 1], "object")):
        column = SqlColumn()
        for value in values:
            column.see([value])
        assert column.dtype == dtype
        assert column.cells(values[:1]).tolist() == [True]
        assert column.only_truth == (1 not in [v for v in values if v is not True])


def test_all_reads_are_of_one_moment_and_a_changed_table_is_told(tmp_path: Path) -> None:
    url = lite(tmp_path / "rows.db", people(30))
    with sqlite3.connect(tmp_path / "rows.db") as other:
        other.execute("pragma journal_mode=wal")
    pieces = TablePieces(DatabaseTable(url, table="rows"), n_rows=7)
    before = pd.concat(list(pieces), ignore_index=True)
    for change in ("insert into rows values (3, 1.0, 30, 'red', 'no')", "update rows set size = size + 1"):
        other.execute(change)
        other.commit()
        pd.testing.assert_frame_equal(pd.concat(list(pieces), ignore_index=True), before)
    pieces.close()
    with pytest.raises(DataError, match=r"rows\.db: each read must give the same rows.*got others.*add ORDER BY"):
        list(pieces)
    other.execute("delete from rows where nr = 3 and age = 30")
    other.execute("update rows set age = 'old' where nr = 3")
    other.commit()
    pieces.close()
    with pytest.raises(DataError, match="each read must give the same rows"):  # values of another type
        list(pieces)
    other.close()


@pytest.mark.parametrize("end", ["close", "del"])
def test_a_file_is_free_again_once_its_rows_are_read(end: str, tmp_path: Path) -> None:
    url = lite(tmp_path / "rows.db", people(30))
    pieces = TablePieces(DatabaseTable(url, table="rows"), n_rows=7)
    next(iter(pieces))
    with sqlite3.connect(tmp_path / "rows.db", timeout=0) as other:
        other.execute("delete from rows")
        with pytest.raises(sqlite3.OperationalError, match="locked"):  # as long as the rows must not change
            other.commit()
        other.rollback()
        if end == "close":
            pieces.close()
        else:
            del pieces
            gc.collect()
        other.execute("delete from rows")
    other.close()
    with pytest.raises(DataError, match="the table must give at least one row; it gave none"):
        TablePieces(DatabaseTable(url, table="rows"))


QUICK: dict[str, Any] = {
    "schema": Schema(ignore=("nr",)), "model": ModelOptions(width=8), "train": TrainOptions(epochs=1, refit=False),
    "stream": StreamOptions(chunk_rows=47),
}  # fmt: skip


def same_fit(source: DatabaseTable, path: Path, callbacks: Sequence[Callback] = ()) -> None:
    """Checks that a streamed fit to the database is the one to the same rows in a file, to the last bit."""
    people().to_parquet(path)
    fitted, _ = fit_streamed(source, "ill", **QUICK, callbacks=callbacks)
    wanted, _ = fit_streamed(path, "ill", **QUICK)
    assert fitted.schema == wanted.schema
    mine, theirs = fitted.model.state_dict(), wanted.model.state_dict()
    assert list(mine) == list(theirs)
    for name, values in mine.items():
        np.testing.assert_array_equal(values.numpy(), theirs[name].numpy())
    assert "size" in str(fitted.schema)


def test_a_streamed_fit_is_that_of_the_same_rows_in_a_file(tmp_path: Path) -> None:
    url = lite(tmp_path / "rows.db", people())
    emptied = []

    class Writes(Callback):
        """Writes while the network is trained: no transaction is open any more."""

        def on_epoch_end(self, epoch: Epoch) -> None:
            with closing(sqlite3.connect(tmp_path / "rows.db", timeout=0)) as other:
                emptied.append(other.execute("delete from rows").rowcount)
                other.commit()

    asked = DatabaseTable(url, "select * from rows order by nr")
    same_fit(asked, tmp_path / "rows.parquet", [Writes()])
    assert emptied == [len(people())]


def test_rows_that_change_places_among_equal_targets_are_an_error(tmp_path: Path) -> None:
    url = lite(tmp_path / "rows.db", people())
    with pytest.raises(DataError, match=r"each read must give the same rows in the same order; got others.*ORDER BY"):
        fit_streamed(DatabaseTable(url, "select * from rows order by ill, random()"), "ill", **QUICK)


def test_commands_read_pieces_and_keep_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = lite(tmp_path / "rows.db", people()) + "?password=hu5h"
    people().to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "schema.yaml").write_text("ignore: [nr]\n")
    monkeypatch.setattr("profuse.cli.evaluate._WHOLE", 100)
    monkeypatch.setattr("profuse.data.table.database.read_database", lambda *_, **__: pytest.fail("read whole"))
    asked = ("--query", "select * from rows order by nr")
    said = ""

    def run(*args: object) -> str:
        nonlocal said
        done = CliRunner().invoke(app, [str(a) for a in args])
        said += done.output + done.stderr
        assert done.exit_code == 0, said
        return done.stdout

    run("fit", url, *asked, "--target", "ill", "--schema", tmp_path / "schema.yaml", "--stream", "--epochs", 1,
        "--width", 8, "--members", 1, "--out", tmp_path / "model")  # fmt: skip
    model, rows = tmp_path / "model", tmp_path / "rows.csv"
    assert run("predict", model, url, *asked, "--chunk-rows", 33) == run("predict", model, rows)
    measured = [run("evaluate", model, *given) for given in ((url, *asked), (rows,))]
    assert measured[0].partition("260 rows")[0] == measured[1].partition("260 rows")[0]
    refused = CliRunner().invoke(app, ["predict", str(model), url, "--query", "select weight from rows"])
    assert refused.exit_code != 0
    assert "no such column: weight" in refused.stderr
    assert "hu5h" not in said + refused.output + refused.stderr
    kept = [p for p in model.rglob("*") if p.is_file()]
    assert len(kept) > 3
    assert not [p.name for p in kept if b"hu5h" in p.read_bytes()]


def test_signs_of_a_query_stand_for_themselves(tmp_path: Path) -> None:
    url = lite(tmp_path / "rows.db", people(30))
    source = DatabaseTable(url, "select nr, ':a %s %(b)s ?' as word from rows where kind like 'r%' order by nr")
    assert set(next(iter(equal_pieces(source, 4)))["word"]) == {":a %s %(b)s ?"}


@pytest.fixture(scope="module")
def pg(postgres: str) -> str:
    """A server whose database has rows of many types, and people."""
    psycopg: Any = pytest.importorskip("psycopg")
    with psycopg.connect(postgres) as made:
        made.execute(
            "create table kinds as select i as nr, (i / 4.0)::numeric(9, 2) as price, i % 2 = 0 as even, "
            "nullif(i % 3, 0) = 1 as maybe, date '2024-01-01' + i as day, timestamp '2024-01-01' + i * interval '1 h' "
            "as moment, timestamptz '2024-01-01 UTC' + i * interval '1 h' as zoned, time '01:00' + i * interval '1 min'"
            " as clock, i * interval '1 min' as span, decode('00ff', 'hex') as raw, array[i, 2] as list, "
            "json_build_object('a', i) as doc, case when i > 40 then 9007199254740993 end as large, "
            "case when i > 40 then 'x' end as late, null::int as none, 1.5::real as small, gen_random_uuid() as name "
            "from generate_series(1, 50) as i"
        )
        made.execute("create table people (nr int, size float8, age int, kind text, ill text)")
        with made.cursor() as cursor:
            rows = people().astype(object).where(people().notna(), None)
            cursor.executemany("insert into people values (%s, %s, %s, %s, %s)", rows.to_numpy(dtype=object).tolist())
    return postgres


@pytest.mark.slow
def test_postgresql_gives_pieces_of_one_moment(pg: str, tmp_path: Path) -> None:
    psycopg: Any = pytest.importorskip("psycopg")
    for n_rows in (1, 7, 100):
        equal_pieces(DatabaseTable(pg, "select * from kinds order by nr"), n_rows)
    equal_pieces(DatabaseTable(pg, "select nr, 'a%s' as word from kinds where late like 'x%' order by nr;"), 3)
    equal_pieces(DatabaseTable(pg, "values (1, 'a'), (2, 'b') -- two"), 1)
    equal_pieces(DatabaseTable(pg, table="public.people"), 47)
    same_fit(DatabaseTable(pg, "select * from people order by nr"), tmp_path / "rows.parquet")
    seen = "(select count(*) from pg_cursors where name <> '') as cursors"
    seen += ", current_setting('synchronize_seqscans') as together"
    pieces = TablePieces(DatabaseTable(pg, f"select *, {seen} from people"))
    first = next(iter(pieces))
    assert set(first["together"]) == {"off"}
    assert first["cursors"].min() > 0  # rows wait on the server
    with psycopg.connect(pg) as other:
        other.execute("update people set age = age + 1")
        other.execute("insert into people select * from people")
    before = pd.concat(list(pieces), ignore_index=True)
    assert sorted(before["age"]) == sorted(people()["age"])
    pieces.close()
    with pytest.raises(DataError, match="each read must give the same rows"):
        list(pieces)


@pytest.mark.slow
def test_a_session_that_the_server_ends_is_told_without_the_password(pg: str) -> None:
    psycopg: Any = pytest.importorskip("psycopg")
    pieces = TablePieces(DatabaseTable(pg, "select * from kinds order by nr"), n_rows=5)
    reading = iter(pieces)
    next(reading)
    with psycopg.connect(pg) as other:
        ended = other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid <> pg_backend_pid() and state like 'idle%'"
        )
        assert ended.fetchall() == [(True,)]
    with pytest.raises(DataError, match=r"the database must be reachable.*terminating connection") as error:
        list(reading)
    assert "hu:sh" not in str(error.value)
    assert "hu%3Ash" not in str(error.value)
    assert sum(map(len, pieces)) == 50  # and another read finds it again
