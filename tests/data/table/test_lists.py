"""Lists as text: what JSON, Python, NumPy, pandas and databases write is read, and nothing is run or lost."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse.data.table.infer import infer
from profuse.data.table.lists import ShortenedListError, delimiter_of, is_list_text, parse_list
from profuse.data.task import read_target
from profuse.errors import DataError

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(40, 6)).round(3)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("[1, 2, null]", [1, 2, None]),
        ("[0.5 -0.5\n  2.]", [0.5, -0.5, 2.0]),
        ("[ 1.e-01 -2.e+00]", [0.1, -2.0]),
        ("[1.0, None, <NA>]", [1.0, None, None]),
        ("['new', 'used']", ["new", "used"]),
        ("['new' 'used']", ["new", "used"]),
        ("[\"it's\", 'a, b', 'c]']", ["it's", "a, b", "c]"]),
        ("[b'x', u'y']", ["x", "y"]),
        ("(3, 4)", [3, 4]),
        ("(3,)", [3]),
        ("{'used', 'new'}", ["new", "used"]),
        ("frozenset({'used', 'new'})", ["new", "used"]),
        ("set()", []),
        ("{new,used}", ["new", "used"]),
        ("{3,1,2}", [3, 1, 2]),
        ("array([1., 2.], dtype=float32)", [1.0, 2.0]),
        ("array(['a', 'b'], dtype='<U1')", ["a", "b"]),
        ("np.array([[1, 2],\n       [3, 4]])", [[1, 2], [3, 4]]),
        ("[array([1, 2]), array([3, 4])]", [[1, 2], [3, 4]]),
        ("[np.float64(0.5), np.float64(1.0)]", [0.5, 1.0]),
        ("[np.str_('a')]", ["a"]),
        ("[Decimal('0.25')]", [0.25]),
        ("tensor([1.5, 2.0], device='cuda:0')", [1.5, 2.0]),
        ("deque([1, 2], maxlen=4)", [1, 2]),
        ("[[1. 2.]\n [3. 4.]]", [[1.0, 2.0], [3.0, 4.0]]),
        ("[True False]", [True, False]),
    ],
)
def test_a_list_is_read_however_it_was_written(text: str, items: list[Any]) -> None:
    assert is_list_text(text)
    assert parse_list(text) == items


def test_numbers_that_are_missing_or_infinite_are_kept_within_a_list() -> None:
    a, b, c = parse_list("[nan, -inf, 1e999]")
    assert math.isnan(a)
    assert (b, c) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1 2 ... 9]", "items were left out"),
        ("[1, 2, …, 9]", "items were left out"),
        ("[1, 2", "a bracket of the list is not closed"),
        ("[1, [2, 3]", "a bracket of the list is not closed"),
        ("[1, 2]]", "cannot be read from ']' on"),
        ("[1 2}]", "'}' closes none"),
        ("[1,,2]", "a comma without an item"),
        ("[,1]", "a comma without an item"),
        ("[gone]", "holds 'gone', which is neither a number nor in quotes"),
        ("['a'1]", "two items with nothing between them"),
        ("[1-2]", "two items with nothing between them"),
        ("{'a': 1}", "cannot be read from ': 1}' on"),
        ("[x=1]", "names with values"),
        ("[open('f')]", "holds 'open'"),
        ("[__import__('os').system('true')]", "holds '__import__'"),
        ("[" + "7" * 4000 + "]", "at most 300 digits; got 4000"),
        ("[1 " + "7" * 4000 + "]", "at most 300 digits; got 4000"),
        ("[" * 100_000 + "]" * 100_000, "nested at most 32 deep"),
        ("[1," * 100_000 + "]" * 100_000, "nested at most 32 deep"),
        ("(1," * 100_000 + ")" * 100_000, "nested at most 32 deep"),
        ("array(" * 100_000 + "[1,]" + ")" * 100_000, "it is no list"),
        ("[" + "array(" * 100_000 + "1" + ")" * 100_000 + "]", "nested at most 32 deep"),
        ("(100.50)", "it is no list"),
        ("words", "it is no list"),
    ],
)
def test_what_is_no_list_says_why_and_soon(text: str, why: str) -> None:
    start = time.process_time()
    with pytest.raises(DataError) as caught:
        parse_list(text)
    assert why in str(caught.value)
    assert time.process_time() - start < 2


def written(values: list[Any], path: Path, how: str) -> Path:
    """Writes the cells as text in the named way, beside a target."""
    if how == "json":
        cells: list[Any] = [json.dumps(v) for v in values]
    elif how == "python":
        cells = [repr(v) for v in values]
    elif how == "tuple":
        cells = [repr(tuple(v)) for v in values]
    elif how == "numpy":
        cells = [np.array(v) for v in values]  # to_csv writes str(array)
    elif how == "array":
        cells = [repr(np.array(v)) for v in values]
    else:
        cells = [repr(list(np.array(v))) for v in values]  # np.float64(0.5), ...
    pd.DataFrame({"x": cells, "y": ["p", "q"] * (len(values) // 2)}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("how", ["json", "python", "tuple", "numpy", "array", "scalars"])
def test_a_vector_is_the_same_whoever_wrote_it_into_a_file(how: str, tmp_path: Path) -> None:
    dataset, schema = opened(written(VECTORS.tolist(), tmp_path / "v.csv", how), target="y")
    assert schema.columns == {"x": "vector"}
    assert np.allclose(dataset.modalities["x"].values, VECTORS)


@pytest.mark.parametrize("how", ["json", "python", "array"])
def test_a_series_is_the_same_whoever_wrote_it_into_a_file(how: str, tmp_path: Path) -> None:
    steps = [VECTORS[i % 40, : 4 + i % 3].tolist() for i in range(40)]
    dataset, schema = opened(written(steps, tmp_path / "s.csv", how), target="y")
    assert schema.columns == {"x": "series"}
    assert [len(v) for v in dataset.modalities["x"].values] == [len(s) for s in steps]


@pytest.mark.parametrize("how", ["json", "python", "tuple", "numpy", "array", "scalars"])
def test_lists_of_words_are_one_text_whoever_wrote_them(how: str, tmp_path: Path) -> None:
    words = [[f"red {i}", "old"] for i in range(40)]
    dataset, schema = opened(written(words, tmp_path / "t.csv", how), target="y")
    assert schema.columns == {"x": "text"}
    assert list(dataset.modalities["x"].values) == [f"red {i}, old" for i in range(40)]


@pytest.mark.parametrize(
    "cells",
    [
        ["['red', 'old']", "['red']", "[]"],
        ["['red' 'old']", "['red']", "[]"],
        ["{'old', 'red'}", "{'red'}", "set()"],
        ['["red", "old"]', '["red"]', "[]"],
        ["('red', 'old')", "('red',)", "()"],
        ["{red,old}", "{red}", "{}"],
        [["red", "old"], ["red"], []],
        [{"red", "old"}, {"red"}, set()],
        [np.array(["red", "old"]), np.array(["red"]), np.array([])],
    ],
)
def test_labels_are_a_multilabel_target_whoever_wrote_them(cells: list[Any]) -> None:
    values, task, names = read_target(pd.Series(cells * 4, name="y"))
    assert (task, names) == ("multilabel", ("old", "red"))
    assert values[:3].tolist() == [[1, 1], [0, 1], [0, 0]]


def test_a_list_that_numpy_shortened_is_an_error_that_names_the_cell() -> None:
    long = [np.array2string(RNG.normal(size=2000)) for _ in range(12)]
    with pytest.raises(DataError, match=r"row 0 \(counted from 0\), column 'x': items were left out of the list"):
        infer(pd.DataFrame({"x": long, "other": range(12)}))
    with pytest.raises(DataError, match="target 'y': items were left out"):
        read_target(pd.Series(long, name="y"))
    with pytest.raises(ShortenedListError):
        parse_list(long[0])


def test_lists_of_numbers_that_were_cut_off_are_an_error_and_words_in_brackets_are_words() -> None:
    cut = [f"[{', '.join(map(str, v))}"[:30] for v in VECTORS.tolist()]
    with pytest.raises(DataError, match="column 'x': a bracket of the list is not closed"):
        infer(pd.DataFrame({"x": cut}))
    words = infer(pd.DataFrame({"x": ["[deleted]", "[removed]", "kept"] * 9}))
    assert words.schema.columns == {"x": "category"}
    sets = infer(pd.DataFrame({"x": [{"a", "b"}, {"c"}] * 9}))
    assert sets.schema.columns == {"x": "text"}


def test_a_set_of_numbers_has_no_order_and_is_refused() -> None:
    with pytest.raises(DataError, match="column 'x': a set of numbers must be a list"):
        infer(pd.DataFrame({"x": [{1, 2}, {3, 4}] * 5}))


def test_lists_nested_without_end_in_a_frame_are_refused() -> None:
    deep: Any = [1]
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(DataError, match="got 3001 levels"):
        infer(pd.DataFrame({"x": [deep] * 4}))


@pytest.mark.parametrize(
    ("words", "sign"),
    [
        (["red|old", "red", "old|new", "new"], "|"),
        (["Drama, Comedy", "Drama", "Comedy", "Action, Drama"], ","),
        (["0.1;0.2;0.3", "0.4;0.5;0.6"], ";"),
        (["0.1 0.2 0.3", "0.4 0.5 0.6"], " "),
        (["one two", "two three", "one three"], None),
        (["Miller, Ann", "Smith, Bob", "Jones, Cy"], None),
        (["a", "b", "c"], None),
    ],
)
def test_signs_that_part_items_are_seen_where_items_come_again(words: list[str], sign: str | None) -> None:
    assert delimiter_of(words * 3) == sign
