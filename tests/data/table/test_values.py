"""Equal values are one category and one class, however they are typed; through every door."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse import FusionClassifier
from profuse.data.dataset import ModalityData
from profuse.data.preprocess.table import TablePreprocessor
from profuse.data.table.column_kinds import column_kind
from profuse.data.table.infer import infer
from profuse.data.table.reader import TableReader
from profuse.data.table.values import match, plain_objects, word, words
from profuse.data.target import TargetCodec
from profuse.data.task import read_target
from profuse.errors import DataError
from profuse.schema import Schema

pa = pytest.importorskip("pyarrow")

TYPES = [1, 1.0, np.int8(1), np.uint64(1), np.float32(1), Decimal("1.00"), Fraction(1), pa.scalar(1)]
ONE = [*TYPES, "1", b"1", np.str_("1")]
NULLABLE = pd.Series([True, False], dtype="boolean")
EMPTY = [None, np.nan, pd.NA, pd.NaT, "", "  ", "\u00a0", Decimal("NaN"), pa.scalar(None)]
MISSING = [*EMPTY, "nan", "NaN", "-nan", "<NA>", "#N/A", "#NA", "NaT"]


@pytest.mark.parametrize("value", ONE, ids=lambda v: f"{type(v).__module__}.{type(v).__name__}")
def test_a_whole_number_is_one_word_whatever_its_type(value: Any) -> None:
    assert word(value) == "1"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([0.1, np.float32(0.1), np.float16(0.1), Decimal("0.1"), Decimal("0.10"), "0.1", pa.scalar(0.1)], "0.1"),
        ([True, np.bool_(True), pa.scalar(True), "True"], "True"),
        (["red", b"red", np.str_("red"), np.bytes_(b"red"), bytearray(b"red"), pa.scalar("red")], "red"),
        ([0, -0.0, np.float64(0), Decimal("-0")], "0"),
        ([100, 1e2, Decimal("1E+2")], "100"),
    ],
)
def test_equal_values_are_one_word(values: list[Any], name: str) -> None:
    assert {word(v) for v in values} == {name}


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_is_no_word(value: Any) -> None:
    assert word(value) is None


@pytest.mark.parametrize("value", ["None", "NA", "null", "N/A", "Nan", "0", "-"])
def test_words_that_somebody_may_mean_are_kept(value: str) -> None:
    assert word(value) == value


def test_bytes_that_are_no_text_and_numbers_without_end_are_told_or_held() -> None:
    with pytest.raises(DataError, match=r"column 'c': bytes must be text in UTF-8; got b'\\xff'"):
        column_kind("c", plain_objects(pd.Series([b"\xff", b"a"], name="c")))
    assert word(10**5000) == hex(10**5000)
    assert word(Decimal(10) ** 400) != word(Decimal(10) ** 401)


@pytest.mark.parametrize(
    ("found", "known", "places"),
    [
        (["True", "true", "TRUE", "1", "1.0", "0", "no"], ["False", "True"], [1, 1, 1, 1, 1, 0, -1]),
        (["True", "1.0", "false", "2"], ["0", "1"], [1, 1, 0, -1]),
        (["1", "2.0", "3"], ["1.0", "2"], [0, 1, -1]),
        (["1.10", "1.1", "01"], ["1.1", "1"], [-1, 0, -1]),
        (["1", "1.0"], ["1.0", "1"], [1, 0]),
        (["True", "false"], ["true", "false", "unknown"], [0, 1]),
        (["True", "1"], ["True", "true", "x"], [0, -1]),
        (["TRUE", "1"], ["True", "true"], [-1, -1]),
        (["Yes"], ["yes", "no"], [-1]),
    ],
)
def test_a_word_is_found_where_it_can_be_one_only(found: list[str], known: list[str], places: list[int]) -> None:
    assert match(found, known).tolist() == places


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, True, 0, False], [True, True, False, False]),
        ([Decimal("1.5"), 2, np.float32(0.5)], [1.5, 2.0, 0.5]),
        ([b"a", "b", None], ["a", "b", None]),
        ([pa.scalar(3), pa.scalar(None)], [3.0, np.nan]),
        ([Decimal(3), 10**400], [3.0, np.inf]),
        ([1, "a"], [1, "a"]),
        ([True, 2], [True, 2]),
    ],
)
def test_objects_become_plain_columns(cells: list[Any], expected: list[Any]) -> None:
    plain = plain_objects(pd.Series(cells, dtype=object))
    assert plain.dtype == pd.Series(expected).dtype
    assert pd.Series(plain.tolist()).equals(pd.Series(expected))


TYPED: dict[str, list[Any]] = {
    "int": [1, 0, 2],
    "int8": list(np.array([1, 0, 2], np.int8)),
    "float": [1.0, 0.0, 2.0],
    "float32": list(np.array([1, 0, 2], np.float32)),
    "Decimal": [Decimal("1"), Decimal("0.0"), Decimal(2)],
    "str": ["1", "0", "2"],
    "str of floats": ["1.0", "0.0", "2.0"],
    "bytes": [b"1", b"0", b"2"],
    "Int64": list(pd.array([1, 0, 2], "Int64")),
    "category of int": list(pd.Series([1, 0, 2], dtype="category")),
    "arrow": [pa.scalar(1), pa.scalar(0), pa.scalar(2)],
}
TRUTH: dict[str, list[Any]] = {
    "bool": [True, False],
    "numpy": [np.bool_(True), np.bool_(False)],
    "int": [1, 0],
    "float": [1.0, 0.0],
    "words": ["True", "False"],
    "small": ["true", "false"],
    "large": ["TRUE", "FALSE"],
    "digits": ["1", "0"],
    "boolean": list(pd.array([True, False], "boolean")),
}


def codes(train: list[Any], new: list[Any]) -> list[list[float]]:
    """The codes of both as a fitted table gives them."""
    given = Schema(columns={"x": "category"})
    frame = pd.DataFrame({"x": pd.Series(train * 6, dtype=object)})
    one = TablePreprocessor()
    made: list[list[float]] = []
    for cells in (frame, pd.DataFrame({"x": pd.Series(new * 6, dtype=object)})):
        table = pd.DataFrame({"x": pd.Series(words(plain_objects(cells["x"])), dtype=object)})
        data = ModalityData("table", table, np.ones(len(table), dtype=bool))
        if not made:
            one.fit(data)
        made.append(one.transform(data).values[: len(train), 0].tolist())
    assert given.columns == {"x": "category"}
    return made


@pytest.mark.parametrize("new", TYPED)
@pytest.mark.parametrize("train", TYPED)
def test_numbers_as_categories_mean_the_same_in_every_type(train: str, new: str) -> None:
    first, second = codes(TYPED[train], TYPED[new])
    assert first == second == [2.0, 1.0, 3.0]


@pytest.mark.parametrize("new", TRUTH)
@pytest.mark.parametrize("train", TRUTH)
def test_true_and_false_mean_the_same_in_every_type(train: str, new: str) -> None:
    first, second = codes(TRUTH[train], TRUTH[new])
    assert first == second == [2.0, 1.0]


@pytest.mark.parametrize(("family", "train"), [(f, t) for f in (TYPED, TRUTH) for t in f if t != "bytes"])
def test_classes_keep_their_type_and_are_found_in_every_other(family: dict[str, list[Any]], train: str) -> None:
    learned, task, _ = read_target(pd.Series(family[train] * 4, dtype=object))
    codec = TargetCodec.fit(learned, "multiclass" if task == "regression" else task)
    expected = codec.encode(learned[: len(family[train])]).tolist()
    for other, values in family.items():
        if not isinstance(values[0], bytes):
            assert codec.encode(pd.Series(values, dtype=object).to_numpy()).tolist() == expected, other
    again = TargetCodec.from_state(json.loads(json.dumps(codec.state())))
    assert again.encode(learned).tolist() == codec.encode(learned).tolist()


@pytest.mark.parametrize(
    ("y", "kind"),
    [([0, 1], "i"), ([0.0, 1.0], "f"), ([True, False], "b"), (["a", "b"], "U"), (NULLABLE, "b")],
)
def test_an_estimator_answers_in_the_type_of_its_labels(y: Any, kind: str) -> None:
    values = list(y) * 20
    target = pd.Series(values, dtype=y.dtype) if isinstance(y, pd.Series) else values
    X = pd.DataFrame({"a": np.arange(40) % 7, "b": np.linspace(0, 1, 40) ** 2})
    model = FusionClassifier(fusion="concat", width=8, epochs=1).fit(X, target)
    assert model.classes_.dtype.kind == kind
    assert model.predict(X).dtype == model.classes_.dtype
    assert set(model.classes_.tolist()) == set(values)


def test_one_class_in_two_types_is_one_class() -> None:
    values, task, _ = read_target(pd.Series([True, 1, 0, False] * 3, dtype=object))
    assert (task, values.dtype.kind, values[:4].tolist()) == ("binary", "b", [True, True, False, False])
    values, _, names = read_target(pd.Series([[1, 2], [1.0], [Decimal(2)]] * 3))
    assert names == ("1", "2")
    assert values[:3].tolist() == [[1, 1], [1, 0], [0, 1]]


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_same_rows_are_the_same_through_every_door(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "old": rng.choice([True, False], 60),
            "zip": pd.Categorical(rng.choice([7, 8, 9], 60)),
            "grade": pd.Categorical(rng.choice(["1", "2"], 60)),
            "level": rng.choice(["low", "high", "nan "], 60),
            "size": rng.normal(size=60).astype(np.float32),
            "y": rng.choice([True, False], 60),
        }
    )
    schema = infer(frame, Schema(target={"columns": ["y"]})).schema
    dataset, _ = opened(write(frame, tmp_path / "train.csv"), target="y", schema=schema)
    new = TableReader(schema).read(write(frame, tmp_path / f"new{suffix}"), need_target=True)
    first, second = (d.modalities["table"] for d in (dataset, new))
    one = TablePreprocessor()
    one.fit(first)
    a, b = one.transform(first), one.transform(second)
    assert a.mask.equal(b.mask)
    assert a.values.allclose(b.values)
    codec = TargetCodec.fit(np.asarray(dataset.target), dataset.task)
    assert codec.encode(np.asarray(new.target)).tolist() == codec.encode(np.asarray(dataset.target)).tolist()
