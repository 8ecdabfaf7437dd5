"""Series in files: what is names, index or time stamps, and what is an error with its line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from profuse.data.media import read_series
from profuse.errors import DataError, ProfuseWarning

CURVE = pd.DataFrame(np.random.default_rng(3).normal(size=(6, 2)))
COUNTS = pd.DataFrame(np.random.default_rng(3).integers(5, 90, size=(6, 2)))
NAMED = CURVE.set_axis(["left", "right"], axis=1)
STAMPED = NAMED.set_axis(pd.date_range("2024-05-01", periods=6, freq="h", name="time"), axis=0)


def read(folder: Path, text: str | bytes, name: str = "x.csv") -> tuple[np.ndarray, str]:
    path, told = folder / name, list[str]()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_series(path, tell=told.append), "; ".join(told)


@pytest.mark.parametrize(
    ("table", "options", "remark"),
    [
        (CURVE, {"index": False}, "the first line of the series, 0,1, is read as the names"),
        (CURVE, {}, "the first column of the series is read as an index and left out"),
        (CURVE, {"header": False, "index": False}, ""),
        (CURVE.set_axis([1, 2], axis=1), {"index": False}, "the first line of the series, 1,2, is read as the names"),
        (CURVE[[0]], {"index": False}, "the first line of the series, 0, is read as the names"),
        (CURVE[[0]], {}, "read as an index and left out"),
        (COUNTS, {"index": False}, "the first line of the series, 0,1, is read as the names"),
        (COUNTS, {}, "read as an index and left out"),
        (NAMED, {"index": False}, ""),
        (NAMED, {}, "read as an index and left out"),
        (NAMED.iloc[[4, 1, 3]], {}, "read as an index and left out"),
        (NAMED.reset_index(), {"index": False}, "read as an index and left out"),
        (NAMED.set_axis(list("uvwxyz")), {}, "read as an index and left out"),
        (STAMPED, {"date_format": "%d/%m/%Y %H:%M"}, "a column of time stamps in the series is left out"),
        (NAMED, {"index": False, "sep": ";", "decimal": ","}, "read as decimal commas"),
        (NAMED, {"sep": ";", "decimal": ","}, "separated by semicolons"),
        (NAMED, {"index": False, "sep": "\t"}, "separated by tabs"),
        (NAMED, {"index": False, "quoting": 1}, ""),
        (NAMED, {"index": False, "encoding": "utf-8-sig"}, ""),
        (NAMED, {"index": False, "lineterminator": "\r\n"}, ""),
        (NAMED, {"index": False, "lineterminator": "\r"}, ""),
    ],
)
def test_a_table_that_pandas_wrote_comes_back_step_by_step(
    tmp_path: Path, table: pd.DataFrame, options: dict[str, Any], remark: str
) -> None:
    file = io.BytesIO()
    table.to_csv(file, **options)
    values, told = read(tmp_path, file.getvalue())
    expected = table.drop(columns=[c for c in ("index", "time") if c in table]).to_numpy(dtype=float)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert remark in told
    assert bool(remark) == bool(told)


@pytest.mark.parametrize(
    ("text", "values", "remark"),
    [
        ("1,2\n3,\n", [[1, 2], [3, np.nan]], "1,2, is read as its first step"),
        ("0,1\n1,0\n0,1\n", [[0, 1], [1, 0], [0, 1]], "0,1, is read as its first step"),
        ("0\n5\n7\n", [[0], [5], [7]], "0, is read as its first step"),
        ("2,3\n4,5\n", [[2, 3], [4, 5]], ""),
        ("time,0,1\n10,2,3\n", [[10, 2, 3]], ""),
        ("a,b,\n1,2,\n3,4,\n", [[1, 2], [3, 4]], ""),
        ("5, 6\n 7,8\n", [[5, 6], [7, 8]], ""),
        ("a,b\nNA,1\n,-2.5e-3\nnull,nan\n", [[np.nan, 1], [np.nan, -2.5e-3], [np.nan, np.nan]], ""),
        ("# written today\n5,6\n# half time\n7,8\n", [[5, 6], [7, 8]], ""),
        ("5,6\n\n7,8\n\n\n", [[5, 6], [7, 8]], "blank lines between others"),
        ("sep=;\n5;6\n7;8\n", [[5, 6], [7, 8]], "separated by semicolons"),
        ("5.5 6\n7 8\n", [[5.5, 6], [7, 8]], "separated by blanks"),
        ("5;6\n7;8,25\n", [[5, 6], [7, 8.25]], "decimal commas"),
        ("0,0.5,5\n1,0.6,6\n2,0.7,7\n", [[0, 0.5, 5], [1, 0.6, 6], [2, 0.7, 7]], "counts its steps and is read as a"),
        ("t,v\n10:00,1.5\n10:05,2.5\n", [[1.5], [2.5]], "a column of time stamps"),
    ],
)
def test_a_text_is_read_as_it_stands(tmp_path: Path, text: str, values: list[list[float]], remark: str) -> None:
    found, told = read(tmp_path, text)
    np.testing.assert_allclose(found, values, rtol=1e-6)
    assert remark in told
    assert bool(remark) == bool(told)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n4,5\n", "line 2 must have 2 cells, as line 1 has; got 1 (separated by commas)"),
        ("a,b\n\n1,2\n3,4,5\n", "line 4 must have 2 cells, as line 1 has; got 3"),
        ("1.0,abc\n2,3\n", "line 1 must be names or numbers; got 'abc' beside '1.0'"),
        ("time,440,880\n1,2,3\n", "line 1 must be names or numbers; got 'time' beside '440'"),
        ("1_000,2\n3,4\n", "got '1_000' beside '2'"),
        ("a,b\n1,2\n3,1_000\n", "line 3: each cell must be a number; got '1_000'"),
        ("a,b\n1,2\n3,4x\n", "line 3: each cell must be a number; got '4x'"),
        ("a,b\n1,2\n３,4\n", "line 3: each cell must be a number"),
        ("a,b\n1,0x10\n", "line 2: each cell must be a number; got '0x10'"),
        ("a,b\n1,2\n3,-inf\n", "line 3: numbers must be finite; got '-inf'"),
        ("a,b\n1,2\n3,1e39\n", "line 3: numbers must be at most 3.4e+38 in size; got '1e39'"),
        ("a,b\n1,2\n3," + "9" * 5000 + "\n", "line 3: numbers must be at most 3.4e+38"),
        ("a,b\nm,s\n1,2\n", "line 2: each cell must be a number; got 'm'"),
        ("a,b\n", "got names alone"),
        ("\n \n", "got no line of them"),
        ("", "the file is empty"),
        ('"a,b\n1,2\n', "line 1 cannot be read"),
        ("1,5;2.5\n", "decimal points or decimal commas; got '1,5' in line 1 and '2.5' in line 1"),
        ("1,250;2,500\n", "must tell decimals from thousands; got '1,250' in line 1"),
        ("time\n10:00\n10:05\n", "must hold a channel of numbers beside index and time stamps"),
        ("a,b\n1,2\n".encode("utf-16"), "must be UTF-8 text"),
        (b"1,2\n\0\0\n", "got zero bytes"),
    ],
)
def test_a_text_that_is_no_series_is_an_error_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_without_notes_a_doubt_is_a_warning(tmp_path: Path) -> None:
    CURVE.to_csv(tmp_path / "x.csv", index=False)
    with pytest.warns(ProfuseWarning, match="is read as the names of its channels"):
        read_series(tmp_path / "x.csv")


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i8", ">u2", "|i1", "|b1", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_real_type_is_read(tmp_path: Path, dtype: str, order: Literal["C", "F"]) -> None:
    array = np.array([[0, 1], [2, 3], [4, 5]]).astype(dtype, order=order)
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(read_series(tmp_path / "x.npy"), array.astype(np.float32))


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }"


def npy(header: str, version: int = 1, numbers: int = 5) -> bytes:
    size = len(header) + 1
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + size.to_bytes(2 if version == 1 else 4, "little")
        + (header.encode() + b"\n" + np.arange(float(numbers)).tobytes())
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(HEADER % 10**13), "cut off or its header is wrong: the file holds 5 of 10,000,000,000,000 numbers"),
        (npy(HEADER % 10**22), "cut off or its header is wrong"),
        (npy(HEADER % 6), "the file holds 5 of 6 numbers"),
        (npy(HEADER % -5), "its header tells the shape (-5,)"),
        (npy(HEADER % "10**9"), "its header cannot be read"),
        (npy(HEADER % ("(" * 3000)), "its header cannot be read"),
        (npy("[" * 9000 + "]" * 9000), "its header cannot be read"),
        (npy(HEADER % 5, version=9), "its header cannot be read"),
        (npy((HEADER % 5).replace("<f8", "|O")), "the array holds Python objects, which are not read"),
        (npy((HEADER % 5).replace("'<f8'", "[('a', '<f8')]")), "must hold numbers; got type [('a', '<f8')]"),
        (npy((HEADER % 5).replace("<f8", "<c8")), "must hold numbers; got type complex64"),
        (npy((HEADER % 5).replace("<f8", "<M8[s]")), "must hold numbers; got type datetime64[s]"),
        (npy((HEADER % 2).replace("<f8", "<U4")), "must hold numbers; got type <U4"),
        (npy(HEADER % 0, numbers=0), "not empty; got shape (0, 1)"),
        (npy(HEADER % "1, 5, 1"), "got shape (1, 5, 1). If it is a picture, say kind image in the schema"),
        (npy(HEADER % "5")[:30], "its header cannot be read"),
        (b"\x93NUMPY", "its header cannot be read"),
        (b"\x80\x04N.", "its header cannot be read"),
        (b"PK\x03\x04", "an archive of arrays"),
    ],
)
def test_a_forged_or_damaged_array_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_series(tmp_path / "x.npy")
    assert message in str(caught.value)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_format_is_read_and_what_stands_behind_is_told(tmp_path: Path, version: int) -> None:
    (tmp_path / "x.npy").write_bytes(npy(HEADER % 4, version))
    told: list[str] = []
    assert read_series(tmp_path / "x.npy", tell=told.append).tolist() == [[0], [1], [2], [3]]
    assert "behind the array stand bytes that are not read" in told[0]


@pytest.mark.parametrize("name", ["x.npy", "x.csv"])
def test_a_series_above_the_bound_of_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "100K")
    np.save(tmp_path / "x.npy", np.zeros(10_000))
    (tmp_path / "x.csv").write_text("5,6\n" * 2_000)
    with pytest.raises(DataError, match="in memory, and the limit is 100 KiB"):
        read_series(tmp_path / name)


@pytest.mark.parametrize("options", [{}, {"header": False}, {"date_format": "%Y/%m/%d %H:%M:%S"}, {"sep": ";"}])
def test_stamps_with_the_year_first_are_seconds_since_the_earliest(tmp_path: Path, options: dict[str, Any]) -> None:
    file = io.BytesIO()
    STAMPED.to_csv(file, **options)
    values, told = read(tmp_path, file.getvalue())
    seconds = (STAMPED.index - STAMPED.index[0]).total_seconds()
    np.testing.assert_allclose(values, np.column_stack([seconds, STAMPED.to_numpy(dtype=float)]), rtol=1e-6)
    assert "a column of time stamps in the series is read as seconds since the earliest" in told


@pytest.mark.parametrize(
    ("cells", "seconds", "remark"),
    [
        (["2024-05-31", "2024-06-02", "2024-06-03"], [0, 172_800, 259_200], ""),
        (["2024-05-31T14:00:00Z", "2024-05-31T14:00:01.5Z", "2024-05-31 16:00:09+02:00"], [0, 1.5, 9], ""),
        (["2024-05-31 14:00", "", "2024-05-31 14:02"], [0, 60, 120], "1 time stamps of the series are missing"),
        (["2024-05-31 14:02", "2024-05-31 14:00", "2024-05-31 14:02"], [0, 120, 120], "put in theirs"),
    ],
)
def test_steps_stand_at_their_times(tmp_path: Path, cells: list[str], seconds: list[float], remark: str) -> None:
    values, told = read(tmp_path, "x,when\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    np.testing.assert_allclose(values[:, 1], seconds)
    order = [1, 0, 2] if "theirs" in remark else [0, 1, 2]
    assert values[:, 0].tolist() == order
    assert remark in told


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-05-31", "2024-05-32"], "line 3: a time stamp must be a date; got '2024-05-32'"),
        (["2024-05-31", "", "2024-05-30"], "line 3: a series whose time stamps are in no order must have all of them"),
    ],
)
def test_stamps_that_are_no_dates_or_lack_in_no_order_are_errors(
    tmp_path: Path, cells: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "x,when\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
