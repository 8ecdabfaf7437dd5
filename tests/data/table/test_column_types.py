"""Columns of every pandas and Arrow type are read as their plain counterparts are."""
# ruff: noqa: E501 (the table of columns)

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from not_none import not_none
from tables import opened

import profuse
from profuse.data.table.column_types import plain_cells, plain_types
from profuse.data.table.infer import infer
from profuse.data.table.read import read_table
from profuse.data.table.reader import TableReader
from profuse.data.target import read_target
from profuse.data.tensors import as_target, from_tensors
from profuse.errors import DataError
from profuse.schema import Schema, SplitOptions, Target

pa = pytest.importorskip("pyarrow")

N = 24
DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=9 * i) for i in range(N)]
STAMPS = [dt.datetime(2024, 1, 1, 8) + dt.timedelta(hours=7 * i) for i in range(N)]
CLOCKS = [dt.time(i % 24, 30, i) for i in range(N)]
WORDS = ["ash", "oak", "elm"] * (N // 3)
SQUARES = [i * i for i in range(N)]


def arrow(kind: Any, values: Any) -> Any:
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, kind)]))


def holes(values: Any) -> list[Any]:
    return [None, *values[1:]]


# column, what it means in plain types
COLUMNS: dict[str, tuple[Any, Any]] = {
    "int8": (arrow(pa.int8(), [i % 7 for i in range(N)]), [i % 7 for i in range(N)]),
    "int64 with holes": (arrow(pa.int64(), holes(SQUARES)), [np.nan, *SQUARES[1:]]),
    "float16": (arrow(pa.float16(), [np.float16(v) for v in range(N)]), np.arange(N, dtype=np.float16)),
    "bool": (arrow(pa.bool_(), [i % 2 == 0 for i in range(N)]), [i % 2 == 0 for i in range(N)]),
    "bool with holes": (arrow(pa.bool_(), holes([i % 2 == 0 for i in range(N)])), holes([i % 2 == 0 for i in range(N)])),
    "string": (arrow(pa.string(), holes(WORDS)), holes(WORDS)),
    "large string": (arrow(pa.large_string(), WORDS), WORDS),
    "string view": (arrow(pa.string_view(), WORDS), WORDS),
    "dictionary": (pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(WORDS).dictionary_encode()])), pd.Categorical(WORDS, ["ash", "oak", "elm"])),
    "runs": (pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.RunEndEncodedArray.from_arrays([9, N], ["ash", "oak"])])), ["ash"] * 9 + ["oak"] * (N - 9)),
    "decimal": (arrow(pa.decimal128(9, 2), [decimal.Decimal(v) / 4 for v in SQUARES]), [v / 4 for v in SQUARES]),
    "date32": (arrow(pa.date32(), holes(DAYS)), pd.Series(holes(DAYS), dtype="datetime64[us]")),
    "date64": (arrow(pa.date64(), DAYS), pd.Series(DAYS, dtype="datetime64[us]")),
    "timestamp[s]": (arrow(pa.timestamp("s"), STAMPS), pd.Series(STAMPS)),
    "timestamp[ns]": (arrow(pa.timestamp("ns"), STAMPS), pd.Series(STAMPS)),
    "zoned": (arrow(pa.timestamp("us", "Europe/Berlin"), STAMPS), pd.Series(STAMPS).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")),
    "time32": (arrow(pa.time32("s"), CLOCKS), pd.to_timedelta([str(t) for t in CLOCKS])),
    "time64": (arrow(pa.time64("ns"), holes(CLOCKS)), pd.to_timedelta([None, *(str(t) for t in CLOCKS[1:])])),
    "time objects": (pd.Series(holes(CLOCKS), dtype=object), pd.to_timedelta([None, *(str(t) for t in CLOCKS[1:])])),
    "duration": (arrow(pa.duration("ms"), [dt.timedelta(hours=v) for v in SQUARES]), pd.to_timedelta(SQUARES, unit="h")),
    "list": (arrow(pa.list_(pa.float64()), holes([[1.0 * i, 2.0, 3.0] for i in range(N)])), holes([[1.0 * i, 2.0, 3.0] for i in range(N)])),
    "lists of several lengths": (arrow(pa.large_list(pa.int64()), [[i] * (1 + i % 3) for i in range(N)]), [[i] * (1 + i % 3) for i in range(N)]),
    "fixed-size list": (arrow(pa.list_(pa.float32(), 2), [[i, i * i] for i in range(N)]), [[i, i * i] for i in range(N)]),
    "list view": (arrow(pa.list_view(pa.float64()), [[1.0, i] for i in range(N)]), [[1.0, i] for i in range(N)]),
    "lists of lists": (arrow(pa.list_(pa.list_(pa.float64())), [[[1.0, i], [2.0, 3.0]] for i in range(N)]), [[[1.0, i], [2.0, 3.0]] for i in range(N)]),
    "lists of words": (arrow(pa.list_(pa.string()), [["a", w] for w in WORDS]), [["a", w] for w in WORDS]),
    "Int64": (pd.array(holes(SQUARES), dtype="Int64"), [np.nan, *SQUARES[1:]]),
    "UInt8": (pd.array([v % 250 for v in SQUARES], dtype="UInt8"), [v % 250 for v in SQUARES]),
    "Float32": (pd.array(holes([v / 2 for v in SQUARES]), dtype="Float32"), [np.nan, *(v / 2 for v in SQUARES[1:])]),
    "boolean": (pd.array(holes([i % 2 == 0 for i in range(N)]), dtype="boolean"), holes([i % 2 == 0 for i in range(N)])),
    "pandas string": (pd.array(holes(WORDS), dtype="string"), holes(WORDS)),
    "sparse": (pd.arrays.SparseArray([float(i % 3) for i in range(N)]), [float(i % 3) for i in range(N)]),
    "period": (pd.period_range("2024-01", periods=N, freq="M"), pd.Series(pd.date_range("2024-01-01", periods=N, freq="MS"))),
    "category of Int64": (pd.Categorical(pd.array([i % 3 for i in range(N)], dtype="Int64")), pd.Categorical([i % 3 for i in range(N)])),
}  # fmt: skip


def seen(cells: Any, **schema: Any) -> tuple[str, str, str]:
    """What a column of a table is taken for, and a fingerprint of what is read of it."""
    frame = pd.DataFrame({"x": np.arange(N) % 5 * 1.5, "c": cells})
    found = infer(frame, Schema(**schema))
    data = TableReader(found.schema).read(frame)
    told = next(reason for reason in found.reasons if reason.column == "c")
    return told.kind, told.reason, data.digest()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_means_what_its_plain_counterpart_means(name: str) -> None:
    cells, plain = COLUMNS[name]
    assert seen(cells) == seen(plain)


@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_a_whole_table_means_the_same_with_either_backend_of_pandas(backend: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "who": [f"w{i // 2}" for i in range(N)],
            "n": [None, *range(N - 1)],
            "x": np.linspace(0, 1, N),
            "wood": holes(WORDS),
            "on": pd.Series(STAMPS).dt.tz_localize("UTC"),
            "wait": pd.to_timedelta(SQUARES, unit="s"),
            "flag": [i % 2 == 0 for i in range(N)],
            "v": [[1.0 * i, 2.0] for i in range(N)],
            "y": ["p", "q"] * (N // 2),
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    schema = Schema(target=Target(columns=("y",)), split=SplitOptions(column="who"))
    doors = [frame, read_table(tmp_path / "a.parquet"), pd.read_parquet(tmp_path / "a.parquet", dtype_backend=backend)]
    digests = {opened(door, schema=schema)[0].digest() for door in doors}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [
        (pa.struct([("a", pa.int64())]), [{"a": i} for i in range(N)], "got dict"),
        (pa.binary(), [bytes([200 + i]) for i in range(N)], "UTF-8"),
        (pa.month_day_nano_interval(), [(1, 2, i) for i in range(N)], "got DateOffset"),
        (pa.map_(pa.string(), pa.int64()), [[("a", i)] for i in range(N)], "must be readable"),
    ],
)
def test_a_column_of_a_type_that_nothing_takes_is_one_error(kind: Any, values: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        seen(arrow(kind, values))
    assert seen(arrow(kind, values), ignore=("c",))[0] == "unused"


def test_a_column_of_the_null_type_is_not_used() -> None:
    assert seen(arrow(pa.null(), [None] * N))[:2] == ("unused", "all cells are empty")


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (arrow(pa.int32(), [i % 2 for i in range(N)]), "binary"),
        (arrow(pa.bool_(), [i % 2 == 0 for i in range(N)]), "binary"),
        (arrow(pa.string_view(), WORDS), "multiclass"),
        (arrow(pa.decimal128(5, 1), [decimal.Decimal(v) / 2 for v in range(N)]), "regression"),
        (pd.array(WORDS, dtype="string"), "multiclass"),
        (arrow(pa.list_(pa.string()), [["tree", w][w == "oak" :] for w in WORDS]), "multilabel"),
        (COLUMNS["dictionary"][0], "multiclass"),
    ],
)
def test_a_target_is_read_alike_beside_a_table_and_in_it(cells: Any, task: str) -> None:
    beside, found, _ = read_target(as_target(pd.Series(cells)))
    frame = pd.DataFrame({"x": np.arange(N) % 5 * 1.5, "y": cells})
    inside, _ = opened(frame, target="y")
    assert found == inside.task == task
    assert beside.tolist() == not_none(inside.target).tolist()
    assert beside.dtype.kind == not_none(inside.target).dtype.kind


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.duration("us"), pa.date32(), pa.time64("us")])
def test_times_and_durations_are_no_target(kind: Any) -> None:
    whole = pa.array(range(N), pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    with pytest.raises(DataError, match="must be words or numbers; got "):
        read_target(as_target(pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([whole])))))


def test_lists_of_lists_are_no_target() -> None:
    with pytest.raises(DataError, match=r"target 'y': the lists must hold labels; got lists within lists in 2 rows"):
        read_target(pd.DataFrame({"y": [[[1, 2], [3, 4]], [[1, 2], [5, 6]]]}))


def test_whole_numbers_that_floats_would_merge_stay_apart() -> None:
    large = [2**60 + i for i in range(1, N)]
    for cells in (pd.array([None, *large], dtype="Int64"), arrow(pa.int64(), [None, *large])):
        plain = plain_cells(pd.Series(cells))
        assert plain.tolist()[1:] == large
        assert pd.isna(plain[0])


def test_groups_and_modalities_of_nullable_and_arrow_types_are_taken() -> None:
    groups = pd.Series(arrow(pa.int64(), [i // 2 for i in range(N)]))
    data = from_tensors({"a": pd.Series(arrow(pa.float32(), holes(range(N)))), "b": np.ones((N, 2))}, groups=groups)
    assert data.groups is not None
    assert data.groups.dtype == np.int64
    assert data.modalities["a"].present.tolist() == [False] + [True] * (N - 1)


def test_index_name_attributes_and_repeated_names_stay() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": ["x", "y"]}, index=[7, 9])
    frame = pd.concat([frame, frame], axis=1)
    frame.attrs["notes"] = ["hello"]
    plain = plain_types(frame)
    assert list(plain.columns) == ["a", "b", "a", "b"]
    assert plain.index.tolist() == [7, 9]
    assert plain.attrs == {"notes": ["hello"]}
    assert frame.dtypes.iloc[0] == "Int64"
    assert plain_types(plain) is plain


def test_a_parquet_file_keeps_its_index_large_whole_numbers_and_late_dates(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": pd.array([2**60 + 1, None], dtype="Int64")}, index=pd.Index(["p", "q"], name="who"))
    frame["until"] = pd.Series([dt.date(9999, 12, 31), None], dtype=object, index=frame.index)
    frame.to_parquet(tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet")
    assert list(found.columns) == ["who", "n", "until"]
    assert found["n"][0] == 2**60 + 1
    assert str(found["until"][0]) == "9999-12-31 00:00:00"
    frame.reset_index(drop=True).set_axis([3, 5]).to_parquet(tmp_path / "b.parquet")
    assert list(read_table(tmp_path / "b.parquet").columns) == ["index", "n", "until"]


@pytest.mark.slow
def test_an_estimator_fits_and_predicts_columns_of_arrow() -> None:
    y = pd.Series(arrow(pa.string(), ["p", "q"] * (N // 2)))
    names = ["zoned", "list", "duration", "time64", "string view", "dictionary"]
    X = pd.DataFrame({name: COLUMNS[name][0] for name in names})
    plain = pd.DataFrame({name: COLUMNS[name][1] for name in names})
    one = profuse.FusionClassifier(fusion="concat", width=8, epochs=1, random_state=0).fit(X, y)
    assert not_none(one.schema_).columns["duration"] == "numeric"
    assert np.array_equal(one.predict_proba(X), one.predict_proba(plain))
    assert np.allclose(one.predict_proba(X)[:1], one.predict_proba(X.head(1)), atol=1e-6)
