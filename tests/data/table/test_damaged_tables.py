"""Tables that were damaged, forged or filled with oddities: read, or refused in one message; never another error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import opened

from profuse.data.table.infer import infer
from profuse.data.table.read import read_table
from profuse.data.table.reader import TableReader
from profuse.errors import DataError, ProfuseError

HALF = "\udc4d"


def _lines(value: str, row: int = 2) -> str:
    return "\n".join(f'{{"a": {value if i == row else i * i}, "y": "{"pq"[i % 2]}"}}' for i in range(12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_lines("[" * 100_000 + "]" * 100_000), "t.jsonl, line 3: lists must not be nested so deep"),
        (_lines('{"a":' * 50_000 + "1" + "}" * 50_000), "t.jsonl, line 3: lists must not be nested so deep"),
        (_lines("7" * 5000), "t.jsonl, line 3: numbers must be below 1.8e308"),
        (_lines("-" + "7" * 400), "t.jsonl, line 3: numbers must be below 1.8e308"),
        (_lines("1e400"), "numbers must be finite; infinite in 1 row (2;"),
        (_lines("-Infinity"), "numbers must be finite; infinite in 1 row (2;"),
        (_lines('"cut \\udc4d"'), "t.jsonl, line 3: characters must be whole"),
        (_lines('["cut \\uD83D"]'), "t.jsonl, line 3: characters must be whole"),
        ('{"\\ud83d": 1, "y": "p"}', "t.jsonl, line 1: characters must be whole"),
        ('{"\\ud83d": 1, "\\ud83d": 2}', "t.jsonl, line 1: column names must differ; got '\\ud83d'"),
        (_lines('{"b": 1}'), "column 'a'"),
    ],
)
def test_a_line_that_no_table_can_hold_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "t.jsonl", target="y")
    assert message in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": pd.Series(["a", f"b{HALF}"] * 6, dtype=object), "z": range(12)}),
        pd.DataFrame({"x": pd.Series([["a", f"b{HALF}"]] * 12, dtype=object), "z": range(12)}),
        pd.DataFrame(np.ones((12, 2)), columns=pd.Index([f"x{HALF}", "z"], dtype=object)),
    ],
)
def test_half_a_character_in_a_frame_is_told_with_its_column(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"column 'x.*': characters must be whole; got half of one"):
        infer(frame)


@pytest.mark.parametrize("cell", ["9" * 400, "9" * 5000, "-1e999", "inf", "-Infinity"])
def test_numbers_beyond_float64_are_told_by_row_in_a_csv_file(tmp_path: Path, cell: str) -> None:
    (tmp_path / "t.csv").write_text(
        "a,y\n" + "".join(f"{cell if i == 4 else i * i},{'pq'[i % 2]}\n" for i in range(12))
    )
    with pytest.raises(DataError, match=r"column 'a': numbers must be finite; infinite in 1 row \(4;"):
        opened(tmp_path / "t.csv", target="y")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16_with_a_mark_is_read_and_told_and_without_one_is_refused(tmp_path: Path, encoding: str) -> None:
    text = "näme\ty\nü\tp\nö\tq\n"
    mark = "\ufeff" if encoding != "utf-16" else ""
    (tmp_path / "t.csv").write_bytes((mark + text).encode(encoding))
    frame = read_table(tmp_path / "t.csv")
    assert frame.to_dict("list") == {"näme": ["ü", "ö"], "y": ["p", "q"]}
    assert "t.csv: the text is read as UTF-16." in frame.attrs["notes"]
    (tmp_path / "t.csv").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"UTF-8|zero byte"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(("\ufeff" + text).encode("utf-16-le")[:-1])
    with pytest.raises(DataError, match=r"UTF-16 that is cut off"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl.gz", ".parquet"])
def test_a_small_file_that_unpacks_to_more_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "1M")
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({"a": pa.array(["x" * 50] * 200_000).dictionary_encode()}), path)
    else:
        path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"takes .* in memory, and the limit is 1 MiB.* PROFUSE_MAX_FILE_SIZE"):
        read_table(path)


def test_gzip_in_several_members_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert read_table(tmp_path / "t.csv.gz")["b"].tolist() == [2, 4]


@pytest.mark.parametrize(
    "spoil",
    [lambda raw: raw[:-9], lambda raw: raw[:20], lambda raw: raw + b"rest", lambda raw: raw[:30] + b"?" + raw[31:]],
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    body = "".join(f"{i},{i * i % 97}\n" for i in range(99)).encode()
    (tmp_path / "t.csv.gz").write_bytes(spoil(gzip.compress(b"a,b\n" + body)))
    with pytest.raises(DataError, match=r"t\.csv\.gz: the file must be readable"):
        read_table(tmp_path / "t.csv.gz")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".csv.gz", ".parquet", ".tsv"])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"t{suffix}")
    with pytest.raises(DataError, match="it is a named pipe, not a regular file"):
        read_table(tmp_path / f"t{suffix}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("\ufeffa,b\n1,2\n", ["a", "b"]),
        ("a,,b,\n1,2,3,4\n", ["a", "Unnamed: 1", "b", "Unnamed: 3"]),
        (',"a\nb",c\n1,2,3\n', ["Unnamed: 0", "a\nb", "c"]),
        (" a , b\n1,2\n", [" a ", " b"]),
        ("a.1,a\n1,2\n", ["a.1", "a"]),
        ("1,2020\n3,4\n", ["1", "2020"]),
        ("a,a \n1,2\n", None),
        ("Unnamed: 1,\n1,2\n", None),
        ("a,b,\ta\n1,2,3\n", None),
    ],
)
def test_names_of_columns_are_kept_and_must_differ_in_more_than_blanks(
    tmp_path: Path, text: str, names: list[str] | None
) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    if names is None:
        with pytest.raises(DataError, match="column names must differ"):
            read_table(tmp_path / "t.csv")
    else:
        assert list(read_table(tmp_path / "t.csv").columns) == names


@pytest.mark.parametrize(
    ("text", "line"),
    [('a,b\n1,2\n3,"4\n5,6\n7,8\n', 3), ('a,b\n"1\n2",2\n"3,4\n', 4), ('a\n1\n"2\n3\n', 3), ('"a,b\n1,2\n', 1)],
)
def test_a_quote_that_is_never_closed_is_told_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=rf"opens in line {line} is"):
        read_table(tmp_path / "t.csv")


def test_a_parquet_file_whose_text_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff"))
    pq.write_table(pa.table({"a": broken}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"must be a Parquet table; got .*UTF8"):
        read_table(tmp_path / "t.parquet")


CELLS = [
    "", "1", "2.5", "1.250", "1.250,75", "NA", "None", "nan", "<NA>", "007", "-", "(5)", "5 %", "€ 3",
    "CHF 1'000.-", "1e999", "inf", "9" * 400, "[1,2]", "[[1],[2]]", "[" * 200 + "]" * 200, "{}", "true",
    "False", "2024-01-01", "31.12.2023", "9999-12-31", "12:30", "a.png", "hello world foo", "\U0001f600",
    "\u00a01\u202f000", "\x0b", "\u2028", '"', ";", "|", "\t", " ", "a\nb", "1_000", "１２", "²", "0x1F", "1/2",
    "+49 30 123", "192.168.1.1", "sep=;", "NaT", "-0", "1e-320", "+", "e", ".", "0.1 0.2",
]  # fmt: skip


def _as_csv(columns: dict[str, list[str]], path: Path, rng: random.Random) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=rng.choice(",;\t|"), lineterminator=rng.choice(["\n", "\r\n"]))
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    raw = bytearray(buffer.getvalue().encode(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])))
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    path.write_bytes(raw if rng.random() < 0.9 else raw[: rng.randrange(len(raw))])


def _as_lines(columns: dict[str, list[str]], path: Path, rng: random.Random) -> None:
    odd: list[Any] = [
        None,
        1,
        2.5,
        True,
        float("nan"),
        10**20,
        10**400,
        [1, 2],
        ["a"],
        {"a": 1},
        [None, HALF],
        HALF,
        -0.0,
    ]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    rows = [{k: rng.choice(odd) if rng.random() < 0.008 else v for k, v in row.items()} for row in rows]
    path.write_text("\n".join(json.dumps(row) for row in rows))


def _as_parquet(columns: dict[str, list[str]], path: Path, rng: random.Random) -> None:
    n = len(columns["y"])
    odd: list[Callable[[], Any]] = [
        lambda: pa.array([rng.randrange(2**60) for _ in range(n)], pa.uint64()),
        lambda: pa.array([[1, 2]] * n, pa.list_(pa.int8())),
        lambda: pa.array([{"a": 1}] * n),
        lambda: pa.nulls(n),
        lambda: pa.array([b"\xff"] * n),
    ]
    table = {k: rng.choice(odd)() if k != "y" and rng.random() < 0.3 else pa.array(v) for k, v in columns.items()}
    pq.write_table(pa.table(table), path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("suffix", "write"), [(".csv", _as_csv), (".tsv", _as_csv), (".jsonl", _as_lines), (".parquet", _as_parquet)]
)
def test_no_table_ends_in_anything_but_our_errors(
    tmp_path: Path, seed: int, suffix: str, write: Callable[[dict[str, list[str]], Path, random.Random], None]
) -> None:
    rng = random.Random(f"{seed}{suffix}")
    path = tmp_path / f"t{suffix}"
    n_read = 0
    for _ in range(12):
        few = [rng.choices(CELLS, k=rng.choice([1, 2, 2, 3])) for _ in range(2)]
        columns = {f"c{j}": [rng.choice(some) for _ in range(18)] for j, some in enumerate(few)}
        columns |= {"plain": [str(i * i % 7) for i in range(18)], "y": list("pqr" * 6)}
        write(columns, path, rng)
        try:
            _, schema = opened(path, target="y")
            n_read += 1
            TableReader(schema).read(path, need_target=True)
        except ProfuseError as error:
            str(error).encode()
    assert n_read >= 1
