"""Tables from files, and tables joined by id."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from profuse.data.table.infer import infer
from profuse.data.table.read import join_tables, read_table
from profuse.errors import DataError

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "ü, z"], "c": [0.5, None, 2.0]})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".jsonl", ".ndjson", ".jsonl.gz", ".parquet", ".pq"])
def test_every_format_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.v1{suffix}"
    if "json" in suffix:
        FRAME.to_json(path, orient="records", lines=True)
    elif suffix in (".parquet", ".pq"):
        FRAME.to_parquet(path)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if "tsv" in suffix else ",")
    assert_frame_equal(read_table(path), FRAME, check_dtype=False)


def test_semicolons_and_decimal_commas_are_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;x\n2,25;y\n")
    frame = read_table(path)
    assert frame["a"].tolist() == ["1,5", "2,25"]
    assert [n.partition(": ")[2] for n in frame.attrs["notes"]] == ["columns are separated by ';', not by a comma."]
    found = infer(frame)
    assert found.schema.numbers == {"a": "1.234,5"}
    assert "Column 'a': numbers, read as 1.234,5: '1,5' is 1.5." in found.notes


@pytest.mark.parametrize("text", ['a,b\n"1,\n2",3\n', "\ufeffa,b\r\n1,2\r\n\r\n3,4\r\n", "a,b\n1,\n,2"])
def test_quotes_line_ends_and_byte_order_marks_are_no_faults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert list(read_table(path).columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b" \n\n", "the file is empty"),
        ("t.csv", b"a,b\n", "got 0 rows and 2 columns"),
        ("t.jsonl", b"{}\n", "got 1 rows and 0 columns"),
        ("t.csv", b"a,b,a\n1,2,3\n", "column names must differ; got 'a' more than once"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "every line must have the 2 cells of the first; line 3 has 3"),
        ("t.csv", b"a,b\n1,2\n1\n", "line 3 has 1"),
        ("t.csv", b'a,b\n"1\n1",2\n1\n', "line 4 has 1"),
        ("t.csv", "a,b\nü,2\n1\n".encode(), "line 3 has 1"),
        ("t.csv", b"a,b\n1,\xff\n", "must be UTF-8; byte 0xff in line 2 is not"),
        ("t.csv", b"a,b\n1,\0\n", "got a zero byte in line 2"),
        ("t.csv", b"1.5,2\n3,4\n", "the first line must name the columns; got the numbers '1.5', '2'"),
        ("t.csv.gz", b"a,b\n1,2\n", "the file must be readable"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-20], "the file must be readable"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "every line must be one JSON object; line 2 is not"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2 is a list"),
        ("t.jsonl", b'{"a": 1, "a": 2}\n', "t.jsonl, line 1: column names must differ; got 'a'"),
        ("t.parquet", b"PAR1", "the file must be a Parquet table"),
        ("t.xlsx", b"PK", "the suffix must be one of .csv, .tsv"),
        ("table", b"a,b\n", "the suffix must be one of .csv, .tsv"),
        ("t.gz", b"a,b\n", "the suffix must be one of .csv, .tsv"),
    ],
)
def test_a_file_that_is_no_table_says_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name)
    assert message in str(caught.value)


def test_a_path_that_is_no_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "films.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="got the folder"):
        read_table(tmp_path)
    with pytest.raises(DataError, match=r"the file must exist; .*Did you mean 'films\.csv'\?"):
        read_table(tmp_path / "film.csv")
    for name, goal in (("round.csv", "round.csv"), ("gone.csv", "nowhere.csv")):
        (tmp_path / name).symlink_to(tmp_path / goal)
        with pytest.raises(DataError, match=f"the file must exist; .*{name}'. It is a link that leads to no file"):
            read_table(tmp_path / name)
    with pytest.raises(DataError, match="the file must exist"):
        read_table(tmp_path / "nowhere" / "film.csv")


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["01", "2"], ["01", "2"]),
        (["-007", "12"], ["-007", "12"]),
        (["05.5", "1"], ["05.5", "1"]),
        (["true", "false"], ["true", "false"]),
        (["True", ""], ["True", None]),
        (["0", "-0.5"], [0.0, -0.5]),
        (["0", "12"], [0, 12]),
        (["1.10", "NA"], [1.1, None]),
        (["1e05", "0e1"], [1e5, 0.0]),
        (["", "n/a"], [None, "n/a"]),
    ],
)
@pytest.mark.parametrize("other", ["1", '"a ""b"", c"', '5"'])
def test_codes_with_leading_zeros_and_booleans_stay_text(
    tmp_path: Path, cells: list[str], kept: list[Any], other: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\na,x,b\n" + "".join(f"{other},{cell},2\n\n" for cell in cells))
    frame = read_table(path)
    assert [None if pd.isna(v) else v for v in frame["x"]] == kept
    assert [type(v) for v in frame["x"].dropna()] == [type(v) for v in kept if v is not None]
    assert frame["b"].tolist() == [2, 2]


def test_columns_named_as_words_are_text_and_the_others_are_as_pandas_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b;c;d\n1,10;01;true;\n2,50;02;false;\n")
    frame = read_table(path, words=["a", "d", "nowhere"])
    assert frame["a"].tolist() == ["1,10", "2,50"]
    assert frame["b"].tolist() == [1, 2]
    assert frame["c"].tolist() == [True, False]
    assert frame["d"].isna().all()


@pytest.mark.parametrize(
    ("text", "line"),
    [("a,b\nx,1\ny\rz,2\n", 3), ("a\r1\r2\r", 1), ('a,b\n"x\ry",1\nx\ry,2\n', 3), ("a\n1\n2\r3\n", 3)],
)
def test_a_carriage_return_alone_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=rf"got a carriage return \(\\r\) alone in line {line}\. Put quotes"):
        read_table(tmp_path / "t.csv")


def test_a_carriage_return_in_quotes_is_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b\r\n"x\ry",1\r\nz,2\r\n')
    assert read_table(tmp_path / "t.csv")["a"].tolist() == ["x\ry", "z"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_blank_line_of_a_single_column_is_a_row(tmp_path: Path, end: str) -> None:
    (tmp_path / "t.csv").write_bytes(end.join(["", "a", "red", "", "blue", ""]).encode())
    assert read_table(tmp_path / "t.csv")["a"].fillna("none").tolist() == ["red", "none", "blue"]


LEFT = pd.DataFrame({"id": ["a", "b", "c"], "x": [1, 2, 3]})


def test_tables_are_joined_by_id_and_not_by_position() -> None:
    right = pd.DataFrame({"y": [30, 10, 20], "id": ["c", "a", "b"]}, index=[7, 8, 9])
    joined = join_tables({"l": LEFT, "r": right}, "id")
    assert joined.to_dict("list") == {"id": ["a", "b", "c"], "x": [1, 2, 3], "y": [10, 20, 30]}


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ({"id": ["a", "b", "d"]}, "1 of 3 are only in 'l' ('c'), 1 of 3 only in 'r' ('d')"),
        ({"id": ["a", "b"]}, "1 of 3 are only in 'l' ('c'), 0 of 2 only in 'r'"),
        ({"id": ["a", "b", "b"]}, "in table 'r' 1 occur more than once: 'b'"),
        ({"id": ["a", "b", None]}, "table 'r' must have an id in every row; missing in 1 row (2;"),
        ({"ids": ["a", "b", "c"]}, "table 'r' must have the id column 'id'; it has not. Did you mean 'ids'?"),
        ({"id": ["a", "b", "c"], "x": [0, 0, 0]}, "got 'x' in 'l' and 'r'"),
    ],
)
def test_tables_that_do_not_match_say_how(right: dict[str, list[object]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        join_tables({"l": LEFT, "r": pd.DataFrame(right)}, "id")
    assert message in str(caught.value)


def test_ids_that_differ_in_type_only_are_told() -> None:
    with pytest.raises(DataError, match="give both columns the same type"):
        join_tables({"l": pd.DataFrame({"id": [1, 2]}), "r": pd.DataFrame({"id": ["1", "2"]})}, "id")


@pytest.mark.parametrize("freq", ["D", "M", "Q", "Y"])
def test_periods_in_a_parquet_file_are_the_times_that_they_are_in_a_frame(tmp_path: Path, freq: str) -> None:
    frame = pd.DataFrame({"when": pd.period_range("2024-01-01", periods=4, freq=freq), "x": range(4)})
    frame.loc[2, "when"] = pd.NaT
    frame.to_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")["when"]
    assert list(read.dropna()) == list(frame["when"].dropna().dt.to_timestamp())
    assert list(read.isna()) == [False, False, True, False]
