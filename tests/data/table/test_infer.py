"""Kinds of columns, modalities, ids, and the faults of a schema."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tables import resolved

from profuse.data.table.infer import infer
from profuse.data.table.schema_file import load_schema
from profuse.errors import ConfigError, DataError
from profuse.schema import Modality, Schema, SplitOptions, Target

N = 30
WORDS = [f"the {w} one is number {i}" for i, w in enumerate(["red", "blue", "green"] * 10)]


def kind_of(values: Any) -> str:
    frame = pd.DataFrame({"x": values, "other": np.linspace(0, 1, len(values))})
    return {r.column: r.kind for r in infer(frame).reasons}["x"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.linspace(0, 1, N), "numeric"),
        ([5, 3, 8, None] * 5, "numeric"),
        (pd.array([5, 3, 8, None] * 5, dtype="Int64"), "numeric"),
        (["1.5", "2.5", "7"] * 5, "numeric"),
        (["01", "02", "03"] * 5, "category"),
        (["a", "b", None] * 5, "category"),
        ([True, False] * 5, "category"),
        ([True, None, False] * 5, "category"),
        (pd.Series([1, 2] * 5, dtype="category"), "category"),
        (["Married civ spouse", "United States of America"] * 10, "category"),
        (WORDS, "text"),
        ([f"name{chr(97 + i % 26)}{'q' * (i % 7)}ly{'abc'[i % 3]}".replace("1", "") for i in range(200)], "text"),
        ([["a", "b"], ["c"]] * 5, "text"),
        (["2024-01-01", "2024-05-31", None] * 5, "timestamp"),
        (["2024-01-01T10:00:00Z", "2024-05-31T11:30:00+02:00"] * 5, "timestamp"),
        (["31.12.2023", "1.2.2024"] * 5, "timestamp"),
        (["12/31/2023 10:05", "2/1/2024 09:00"] * 5, "timestamp"),
        (pd.date_range("2024-01-01", periods=N), "timestamp"),
        ([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)] * 5, "timestamp"),
        (["a/1.png", "b.JPG", None, "c.jpeg"] * 5, "image"),
        (["1.wav", "2.flac"] * 5, "audio"),
        (["1.npy", "2.npy"] * 5, "series"),
        (["[1, 2]", "[3, 4]", None] * 5, "vector"),
        (["[1, 2]", "[3]"] * 5, "series"),
        (["[[1, 2], [3, 4]]"] * 3 + ["[[1, 2]]"] * 3, "series"),
        ([[1, 2], [3, 4]] * 5, "vector"),
        ([np.ones(2), np.ones(3)] * 5, "series"),
        ([np.ones((2, 3)), np.ones((4, 3))] * 5, "series"),
        ([np.ones((9, 8, 3))] * 5, "image"),
        ([np.ones((9, 8), np.uint8)] * 5, "image"),
        ([Image.new("L", (3, 3))] * 5, "image"),
        ([f"user{i}" for i in range(N)], "id"),
        (range(5, 5 + N), "id"),
        (["same"] * N, "unused"),
        ([3.5] * N, "unused"),
        ([None] * N, "unused"),
        (["", " ", "  "] * 5, "unused"),
    ],
)
def test_the_kind_follows_from_the_cells(values: Any, kind: str) -> None:
    assert kind_of(values) == kind


def test_a_name_tells_an_id_in_small_tables_and_a_number_is_no_id_by_being_distinct() -> None:
    frame = pd.DataFrame({"user_id": [17, 3, 99], "x": [17, 3, 99]})
    found = infer(frame)
    assert found.schema.id == "user_id"
    assert found.schema.modalities == {"table": Modality(kind="table", columns=("x",))}
    assert "Column 'user_id' is not used" in found.notes[0]


def test_numbered_columns_are_a_vector_and_the_rest_is_the_table() -> None:
    frame = pd.DataFrame({f"emb_{i}": np.random.default_rng(i).normal(size=N) for i in range(12)})
    frame["few_0"], frame["few_1"], frame["job"] = np.linspace(0, 1, N), np.linspace(1, 2, N), ["a", "b", "c"] * 10
    frame["review"] = WORDS
    schema = resolved(frame)
    assert {k: m.kind for k, m in schema.modalities.items()} == {"table": "table", "emb": "vector", "review": "text"}
    assert schema.modalities["emb"].columns == tuple(f"emb_{i}" for i in range(12))
    assert schema.modalities["table"].columns == ("few_0", "few_1", "job")
    with_gap = resolved(frame.drop(columns="emb_5"))
    assert "emb" not in with_gap.modalities


def test_what_the_schema_says_stands() -> None:
    frame = pd.DataFrame({"a": [1, 2, 1, 2], "b": [5.0, 1.0, 2.0, 3.0], "c": ["x", "z", "q", "r"]})
    frame["y"], frame["z"] = [0, 1, 1, 0], [3, 1, 2, 4]
    schema = Schema(
        target=Target(columns=("y",)),
        modalities={"mine": Modality(columns=("b",), encoder="periodic")},
        columns={"a": "category", "c": "text"},
        ignore=("z",),
    )
    found = resolved(frame, schema)
    assert found.target == Target(columns=("y",), task="binary")
    assert found.modalities == {
        "mine": Modality(kind="table", columns=("b",), encoder="periodic"),
        "table": Modality(kind="table", columns=("a",)),
        "c": Modality(kind="text", columns=("c",)),
    }
    assert found.ignore == ("z",)
    assert resolved(frame, found) == found


def test_the_column_of_the_split_is_no_input_but_a_time_stamp_is() -> None:
    frame = pd.DataFrame({"x": np.linspace(0, 1, N), "who": np.arange(N) // 3, "day": pd.date_range("2024", periods=N)})
    by_group = resolved(frame, Schema(split=SplitOptions(column="who")))
    assert by_group.modalities["table"].columns == ("x", "day")
    by_time = resolved(frame, Schema(split=SplitOptions(column="day")))
    assert by_time.modalities["table"].columns == ("x", "who", "day")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "2", "three", "4"], "cells must be all numbers or all words; got words in 1 row (2;"),
        (["a", "b", "c", "4"], "got numbers in 1 row (3;"),
        ([1, 2, "three", 4], "cells must be of one type; got int, str, the rarer in 1 row (2;"),
        ([1.0, np.inf, -np.inf], "column 'x': numbers must be finite; infinite in 2 rows (1, 2;"),
        (["2024-01-01", "2024-01-02", "soon"], "cells must be all times or none; no time in 1 row (2;"),
        ([{"a": 1}, {"a": 2}], "cells must be numbers, words, times, lists or pictures; got dict"),
        ([1 + 2j, 2j], "numbers must be real"),
        ([*[f"${i}.50" for i in range(20)], "€ 5"], "numbers must have one unit; got '$0.50' in row 0"),
        (["1,234.5", "12.000,5", "1,111"], "numbers must be written in one way; got '1,234.5' in row 0"),
        (["5 %", "7 %", "9"], "numbers must have one unit; got '5 %' in row 0 (counted from 0) and '9' in row 2"),
        (["1e400", "5", "7"], "numbers must be finite; infinite in 1 row (0;"),
        (["[[[1]]]", "[[[2]]]"], "got 3 levels"),
    ],
)
def test_a_column_that_cannot_be_read_says_why(values: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        infer(pd.DataFrame({"x": values}))
    assert message in str(caught.value)


def test_all_faults_of_a_schema_are_told_together() -> None:
    frame = pd.DataFrame({"price": [1.0, 2.0], "title": ["a", "b"], "y": [0, 1]})
    schema = Schema(
        target=Target(columns=("y",)),
        modalities={"a": Modality(columns=("prise",)), "b": Modality(kind="text", columns=("title", "y"))},
        columns={"titel": "text"},
        ignore=("nothing_like_it",),
        split=SplitOptions(column="Y"),
    )
    with pytest.raises(ConfigError) as caught:
        infer(frame, schema)
    for message in (
        "got 6 fault(s)",
        "modalities.a: no column 'prise' in the table (did you mean 'price'?)",
        "columns: no column 'titel' in the table (did you mean 'title'?)",
        "ignore: no column 'nothing_like_it' in the table (it has 'price', 'title', 'y')",
        "split.column: no column 'Y' in the table (did you mean 'y'?)",
        "modalities.b: kind 'text' takes one column; got 2",
        "modalities.b: 'y' is the target; the answer cannot be an input",
    ):
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "schema", "error", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), None, DataError, "column names must differ; got 'a'"),
        (pd.DataFrame({"a": []}), None, DataError, "at least one row must be given"),
        (
            pd.DataFrame({"a": [1, 1]}),
            None,
            DataError,
            "at least one column must be left to learn from; got none. Unused: 'a'",
        ),
        (
            pd.DataFrame({"a": [1.0, 2.0], "t": WORDS[:2]}),
            Schema(modalities={"m": Modality(columns=("a", "t"))}),
            ConfigError,
            "got a (numeric), t (text)",
        ),
        (
            pd.DataFrame({"a": [None, None], "b": [1.0, 2.0]}),
            Schema(modalities={"m": Modality(columns=("a",))}),
            DataError,
            "all its cells are empty",
        ),
    ],
)
def test_a_table_without_anything_to_learn_from_says_so(frame: Any, schema: Any, error: Any, message: str) -> None:
    with pytest.raises(error) as caught:
        infer(frame, schema)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["25/12/2024", "05/03/2024"], "day/month/year"),
        (["12/25/2024 10:00", "05/03/2024 11:30"], "month/day/year"),
        (["2024-12-25", "2024/3/5"], "year-month-day"),
        (["1/2/2024", "3/14/2024"], "month/day/year"),
    ],
)
def test_the_order_of_dates_and_the_columns_of_words_are_kept(cells: list[str], order: str) -> None:
    frame = pd.DataFrame({"d": cells, "c": ["a", "b"], "n": ["1.5", "2"], "x": [1.0, 2.0], "f": [True, False]})
    found = resolved(frame)
    assert found.dates == {"d": order}
    assert found.words == ("d", "c")
    assert resolved(frame, found) == found


def test_an_order_of_dates_that_the_schema_sets_stands() -> None:
    schema = Schema(dates={"d": "day/month/year"})
    found = infer(pd.DataFrame({"d": ["1/2/2024", "3/4/2024"]}), schema)
    assert found.schema.dates == schema.dates
    assert found.notes == ()
    with pytest.raises(ConfigError, match=r"dates: no column 'D' in the table \(did you mean 'd'\?\)"):
        infer(pd.DataFrame({"d": ["1/2/2024", "3/4/2024"]}), Schema(dates={"D": "day/month/year"}))


def test_the_inferred_id_has_no_missing_cell_and_says_that_it_was_inferred() -> None:
    frame = pd.DataFrame(
        {"code": [f"{i:04d}" for i in range(11)] + [None], "key": range(5, 17), "x": np.arange(12.0) ** 2}
    )
    found = resolved(frame)
    assert (found.id, found.id_inferred, found.ignore) == ("key", True, ("code",))
    assert not resolved(frame, Schema(id="key")).id_inferred


def test_a_schema_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("target: {columns: [y]}\ncolumns: {a: category}\nsplit: {method: group, column: who}\n")
    assert load_schema(path) == Schema(
        target=Target(columns=("y",)), columns={"a": "category"}, split=SplitOptions(method="group", column="who")
    )
    path.write_text("")
    assert load_schema(path) == Schema()


@pytest.mark.parametrize(
    ("text", "error", "messages"),
    [
        (
            "colums: {}\nsplit: {metod: time, test_size: 2}\n",
            ConfigError,
            ["3 fault(s)", "'colums' (did you mean 'col", "'split.metod' (did you mean 'method'?)", "less than 1"],
        ),
        ("columns: {a: numbers}", ConfigError, ["columns.a", "a column must be of a known kind", "'numeric'"]),
        ("- a", ConfigError, ["must be names and values; got a list"]),
        ("a: [", DataError, ["the schema must be YAML"]),
        ("id: a\nid: b", DataError, ["the key 'id' stands twice"]),
        ("!!python/object/apply:os.system [ls]", DataError, ["the schema must be YAML"]),
    ],
)  # fmt: skip
def test_a_wrong_schema_file_says_what_is_wrong(tmp_path: Path, text: str, error: Any, messages: list[str]) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(error) as caught:
        load_schema(path)
    for message in messages:
        assert message in str(caught.value)


def test_a_large_table_is_inferred_quickly() -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(["aa", "b", "cc"], 100_000)
    frame = pd.DataFrame({f"c{i}x": rng.normal(size=100_000) if i % 3 else words for i in range(50)})
    start = time.process_time()
    infer(frame)
    assert time.process_time() - start < 5  # 0.4 seconds on a free core


@pytest.mark.parametrize("method", ["group", "time"])
def test_a_split_by_groups_or_time_needs_its_column(method: str) -> None:
    frame = pd.DataFrame({"a": np.linspace(0, 1, N), "y": [0, 1] * (N // 2)})
    with pytest.raises(ConfigError, match=f"split: method '{method}' needs its column; none is named"):
        infer(frame, Schema.model_validate({"target": {"columns": ["y"]}, "split": {"method": method}}))
