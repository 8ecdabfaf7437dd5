"""A table in pieces is the table that a whole read gives, cell by cell."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profuse.data.table.number_format import DECIMAL_POINTS
from profuse.data.table.pieces import TablePieces
from profuse.data.table.read import read_table
from profuse.data.wording import rows_from, tell_rows
from profuse.errors import DataError

_CELLS = [
    "",
    "NA",
    "1",
    "-2",
    "0.1",
    "3.141592653589793",
    "1e5",
    "True",
    "false",
    "word",
    " x",
    '"a, b"',
    '"two\nlines"',
]
_HUGE = [*_CELLS, "9007199254740993", "9223372036854775813", "-1", "10000000000000000000000000"]


def whole_of(pieces: TablePieces) -> pd.DataFrame:
    return pd.concat(list(pieces), ignore_index=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(st.sampled_from(_HUGE), st.sampled_from(_CELLS)), min_size=1, max_size=12),
    n_rows=st.integers(1, 13),
    words=st.sampled_from([(), ("a",)]),
)
def test_cells_of_a_csv_file_are_those_of_a_whole_read(
    cells: list[tuple[str, str]], n_rows: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "".join(f"{a},{b},7\n" for a, b in cells))
    whole = read_table(path, words=words)
    pd.testing.assert_frame_equal(whole_of(TablePieces(path, words, n_rows=n_rows)), whole, check_exact=True)


_DOUBTFUL = ["", "NA", "None", "null", "007", "7", "-01", "1.250", "950", "1.5", "2.0", "true", "False", "word", "1e5"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(*[st.sampled_from(_DOUBTFUL)] * 2), min_size=1, max_size=8),
    alike=st.lists(st.sampled_from(_DOUBTFUL), min_size=2, max_size=2),
    n_rows=st.integers(1, 9),
)
def test_what_is_learned_from_keeps_the_words_that_a_whole_read_keeps(
    cells: list[tuple[str, str]], alike: list[str], n_rows: int, tmp_path: Path
) -> None:
    """Columns c and d hold one word each, and nothing in some rows, so that all of a column can be doubted."""
    path = tmp_path / "t.csv"
    c, d = alike
    path.write_text("a,b,c,d,e\n" + "".join(f"{a},{b},{c if i % 2 else ''},{d},7\n" for i, (a, b) in enumerate(cells)))
    whole = read_table(path)
    pieces = TablePieces(path, n_rows=n_rows, learns=True)
    empty = [name for name in whole if whole[name].isna().all()]  # unused, whatever their type
    got = whole_of(pieces)
    pd.testing.assert_frame_equal(got.drop(columns=empty), whole.drop(columns=empty), check_exact=True)
    assert got[empty].isna().all(axis=None)
    if pieces._whole is None:
        assert {f.attrs[DECIMAL_POINTS] for f in pieces} == {whole.attrs[DECIMAL_POINTS]}


@pytest.mark.parametrize("n_rows", [1, 2])
@pytest.mark.parametrize("blank", ["", "NA"])
@pytest.mark.parametrize("huge", ["9223372036854775813", "10000000000000000000000000", "-9223372036854775813"])
@pytest.mark.parametrize("other", ["", "1", "0.1", "-1", "word", "True"])
def test_a_blank_before_a_whole_number_beyond_64_bits_is_what_a_whole_read_makes_of_it(
    n_rows: int, blank: str, huge: str, other: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n{blank},7\n{huge},7\n{other},7\n")
    whole = read_table(path, words=())
    pd.testing.assert_frame_equal(whole_of(TablePieces(path, n_rows=n_rows)), whole, check_exact=True)


def test_long_codes_that_are_words_are_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{10**24 + i},{i}\n" for i in range(9)))
    pieces = TablePieces(path, ("a",), n_rows=2)
    assert pieces._whole is None
    pd.testing.assert_frame_equal(whole_of(pieces), read_table(path, words=("a",)), check_exact=True)
    assert TablePieces(path, n_rows=2)._whole is not None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n_rows=st.integers(1, 9))
def test_cells_of_a_parquet_file_are_those_of_a_whole_read(data: Any, n_rows: int, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = data.draw(st.integers(1, 8))
    kinds: dict[str, tuple[Any, Any]] = {
        "whole": (pa.int64(), st.sampled_from([None, 1, -7, 2**53 + 1])),
        "short": (pa.int8(), st.sampled_from([None, 1, 2])),
        "float": (pa.float64(), st.sampled_from([None, 0.5])),
        "truth": (pa.bool_(), st.sampled_from([None, True, False])),
        "words": (pa.string(), st.sampled_from([None, "a", "b"])),
        "day": (pa.date32(), st.sampled_from([None, 1, 20000])),
        "list": (pa.list_(pa.float64()), st.sampled_from([None, [1.0], []])),
    }
    columns = {k: pa.array(data.draw(st.lists(v, min_size=n, max_size=n)), type=t) for k, (t, v) in kinds.items()}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=3)
    pd.testing.assert_frame_equal(whole_of(TablePieces(path, n_rows=n_rows)), read_table(path), check_exact=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("semicolons.csv", "a;b\n1;x\n2;y\n"),
        ("excel.csv", "sep=|\na|b\n1|x\n2|y\n"),
        ("tabs.tsv", "a\tb\r\n1\tx\r\n2\ty\r\n"),
        ("one.csv", "a\n1\n\n2\n"),
        ("blank.csv", "a,b\n\n1,x\n\n2,y"),
        ("inch.csv", 'a,b\n1,5" pipe\n2,y\n3,"z ""q"""\n'),
        ("returns.csv", 'a,b\n1,"a long text\rwith returns\rin it"\n2,y\n'),
        ("accents.csv", "a,b\n1,é\n2,日本\n"),
    ],
)
@pytest.mark.parametrize("form", ["plain", "gz", "utf-16", "bom"])
def test_layout_encoding_and_packing_are_those_of_a_whole_read(
    name: str, text: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.data.table.text_pieces._BYTES", 5)  # characters and line ends are cut apart
    raw = text.encode({"utf-16": "utf-16", "bom": "utf-8-sig"}.get(form, "utf-8"))
    path = tmp_path / (f"{name}.gz" if form == "gz" else name)
    path.write_bytes(gzip.compress(raw) if form == "gz" else raw)
    whole, pieces = read_table(path, words=()), TablePieces(path, n_rows=1)
    pd.testing.assert_frame_equal(whole_of(pieces), whole)
    assert list(pieces.notes) == whole.attrs["notes"]


@pytest.mark.parametrize(
    "raw",
    [
        b"a,b\n1,2\n3\n",
        b"a,b\n1,2\n3,4,5\n",
        b'a,b\n1,"x"\n3\n',
        b'a,b\n1,x\n2,"never closed\n3,y\n',
        b'a,b\n1,x\n2,y "in"\n3,"open',
        b"a,b\n1,2\n3,\xff\n",
        b"a,b\n1,2\n3,\x00\n",
        b"a,b\n1,2\r3,4\n",
        b'a,b\n1,"x\ry"\n3,4\r5,6\n',
        b"",
        b"  \n",
        b"a,b\n",
        b"a,a\n1,2\n",
        b"1.5,2.5\n1,2\n",
    ],
)
def test_what_a_whole_read_refuses_is_refused_in_the_same_words(
    raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.data.table.text_pieces._BYTES", 6)
    path = tmp_path / "bad.csv"
    path.write_bytes(raw)
    with pytest.raises(DataError) as whole:
        read_table(path, words=())
    with pytest.raises(DataError) as pieces:
        whole_of(TablePieces(path, n_rows=1))
    assert str(pieces.value) == str(whole.value)


def test_a_file_that_is_cut_off_or_changes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    packed = gzip.compress(b"a,b\n" + bytes(np.random.default_rng(0).integers(48, 58, 5000).tolist()) + b",2\n")
    path.write_bytes(packed[:-20])
    with pytest.raises(DataError, match="cut off"):
        TablePieces(path)
    plain = tmp_path / "t.csv"
    plain.write_text("a,b\n1,2\n")
    pieces = TablePieces(plain)
    plain.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match="must not change while it is read"):
        list(pieces)


def test_rows_of_a_piece_are_told_by_their_places_in_the_table() -> None:
    with rows_from(10_000):
        assert tell_rows([0, 3]) == "2 rows (10000, 10003; counted from 0)"
    assert tell_rows([0]) == "1 row (0; counted from 0)"
