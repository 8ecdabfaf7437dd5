"""The task of a target, its faults, and its codec."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse.data.target import TargetCodec, infer_task, read_target
from profuse.errors import ConfigError, DataError
from profuse.schema import Task

S = pd.Series


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (S([True, False]), "binary"),
        (S(["a", "b", "a"]), "binary"),
        (S(["a", "b", "c"]), "multiclass"),
        (S([0, 1, 1]), "binary"),
        (S([0.0, 1.0]), "binary"),
        (S([1, 2, 3] * 3), "multiclass"),
        (S([1, 2, 3]), "regression"),
        (S(range(100)), "regression"),
        (S([0.5, 1.0]), "regression"),
        (S([1.0, 2.0, 3.0] * 9), "regression"),
        (S([1, 2, 3] * 9, dtype="category"), "multiclass"),
        (S([1, 2, 1, 2], dtype="Int64"), "binary"),
        (np.array(["x", "y"]), "binary"),
        (pd.DataFrame({"a": [0, 1], "b": [1, 1]}), "multilabel"),
        (pd.DataFrame({"a": [0.0, 1.0], "b": [1, 2]}), "regression"),
        (pd.DataFrame({"a": [True, False], "b": [False, True]}), "multilabel"),
        (S([["x"], [], ["x", "y"]]), "multilabel"),
        (S(['["x"]', "[]"]), "multilabel"),
    ],
)
def test_the_task_follows_from_the_values(target: Any, task: Task) -> None:
    assert infer_task(target) == task


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        (S(["a", None, "b", ""], name="y"), None, "target 'y': must be known in every row; missing in 2 rows (1, 3;"),
        (S([1.0, np.nan, 2.0]), None, "missing in 1 row (1; counted from 0) of 3"),
        (S(["a", "a"]), None, "must have at least two different values; got 'a' in every row"),
        (S([1.5, 1.5]), None, "must have at least two different values; got 1.5"),
        (S(["a", "a", "b"]), None, "1 of 2 classes have one: 'b' in 1 row (2;"),
        (S([1.0, np.inf, 2.0]), "regression", "must be finite; infinite in 1 row (1;"),
        (S(["a", "b", "c"] * 2), "binary", "a binary target must have two values; got 3"),
        (S([1.0, np.inf]), "binary", "must be finite; infinite in 1 row (1;"),
        (S([1, "a", 2], dtype=object), "multiclass", "all numbers or all words; got both, the rarer in 1 row (1;"),
        (S(pd.to_timedelta([1, 2], "D")), "regression", "must be words or numbers; got timedelta64"),
        (S([1 + 2j, 2 - 1j]), "regression", "must be words or numbers; got complex"),
        (pd.cut(S([1, 2]), [0, 1, 2]), None, "must be words or numbers; got interval"),
        (S([{1: 2}, {3: 4}]), "multiclass", "must be words or numbers; got dict"),
        (
            pd.DataFrame({"a": [1, 2], "b": pd.to_datetime(["2020-01-01", "2021-01-01"])}),
            "regression",
            "target 'b': must be words or numbers; got time stamps",
        ),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "3"]}), "regression", "got words in 1 row (0;"),
        (S(["a", "b", "1"]), "regression", "a regression target must be numbers; got words in 2 rows (0, 1;"),
        (S(["1.250,50 EUR", "3,00 EUR"]), "regression", "0): '1.250,50 EUR', '3,00 EUR'. Correct them"),
        (S([1, "a", 2], dtype=object), None, "all numbers or all words; got both, the rarer in 1 row (1;"),
        (S(pd.to_datetime(["2020-01-01", "2021-01-01"])), None, "got time stamps"),
        (S([["x"], ["y"]]), "binary", "a list column is a multilabel target"),
        (S([[], []]), None, "every list is empty"),
        (
            pd.DataFrame({"a": [0, 2], "b": [1, 0]}),
            "multilabel",
            "target 'a': a multilabel target must be 0 or 1; got 2",
        ),
        (pd.DataFrame({"a": [0, 0], "b": [1, 0]}), None, "target 'a': must have at least two different values"),
        (pd.DataFrame({"a": ["x", "y"], "b": [1, 0]}), None, "several target columns must be numbers"),
        (pd.DataFrame({"a": [1, 2], "b": [1, 0]}), "multiclass", "must be one column; got 2"),
        (S([], dtype=float), None, "at least one row must be given"),
    ],
)
def test_a_target_that_cannot_be_learned_says_why(target: Any, task: Task | None, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_target(target, task)
    assert message in str(caught.value)


def test_objects_are_what_they_hold() -> None:
    for values in ([0.5, 1.25, 3.0], [Decimal("0.5"), Decimal("1.25"), Decimal(3)]):
        target, task, _ = read_target(np.array(values, dtype=object))
        assert (task, target.dtype, target.tolist()) == ("regression", np.dtype(np.float64), [0.5, 1.25, 3.0])


def test_an_unknown_task_is_told() -> None:
    with pytest.raises(ConfigError, match="got task='ranking'"):
        read_target(S([0, 1]), "ranking")  # type: ignore[arg-type]


def test_lists_of_labels_become_sorted_columns() -> None:
    values, task, names = read_target(S([["b"], ["a", "b"], []], name="tags"))
    assert (task, names) == ("multilabel", ("a", "b"))
    assert values.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert read_target(S(['["b"]', '["a","b"]', "[]"]))[0].tolist() == values.tolist()
    again, _, _ = read_target(S([["b"]]), labels=names, fitting=False)
    assert again.tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"every label must occur in the training rows; got 'c' in 1 row \(0;"):
        read_target(S([["c"]]), labels=names, fitting=False)


CASES: list[tuple[Any, Task]] = [
    (np.array(["b", "a", "b"], dtype=object), "binary"),
    (np.array([3, 1, 2, 3]), "multiclass"),
    (np.array([True, False]), "binary"),
    (np.array([[0, 1], [1, 1]]), "multilabel"),
    (np.array([1.0, 2.0, 4.0]), "regression"),
    (np.array([[1.0, 10.0], [2.0, 30.0]]), "regression"),
]


@pytest.mark.parametrize(("target", "task"), CASES)
def test_decode_undoes_encode_and_the_state_is_plain_json(target: np.ndarray, task: Task) -> None:
    codec = TargetCodec.fit(target, task)
    codec = TargetCodec.from_state(json.loads(json.dumps(codec.state())))
    decoded = codec.decode(codec.encode(target))
    assert decoded.shape == target.shape
    if task == "regression":
        np.testing.assert_allclose(decoded, target, rtol=1e-6)
    else:
        assert decoded.tolist() == target.tolist()


def test_codes_have_the_types_that_heads_take() -> None:
    encoded = [TargetCodec.fit(t, k).encode(t) for t, k in CASES]
    assert [e.dtype.name for e in encoded] == ["int64", "int64", "int64", "float32", "float32", "float32"]
    assert [e.ndim for e in encoded] == [1, 1, 1, 2, 2, 2]
    assert [TargetCodec.fit(t, k).n_outputs for t, k in CASES] == [2, 3, 2, 2, 1, 2]


def test_numbers_are_standardised_by_the_training_rows() -> None:
    y = np.random.default_rng(0).normal(5, 3, (50, 2))
    codec = TargetCodec.fit(y, "regression")
    np.testing.assert_allclose(codec.scale(y).mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(codec.scale(y).std(0), 1)
    np.testing.assert_allclose(codec.unscale(codec.scale(y + 7)), y + 7)


def test_where_a_target_ends_at_zero_less_is_not_predicted() -> None:
    rng = np.random.default_rng(0)
    degrees = rng.normal(20, 5, 300)
    columns = {
        "visits": (rng.poisson(1.5, 300), True),
        "prices": (rng.lognormal(3, 1, 300), True),
        "changes": (rng.gamma(1.0, 1.0, 300) - 0.1, False),
        "degrees": (degrees - degrees.min() + 1, False),
        "degrees, one of them 0": (degrees - degrees.min(), False),
    }
    target = np.stack([numbers for numbers, _ in columns.values()], axis=1)
    codec = TargetCodec.fit(target, "regression", names=list(columns))
    assert dict(zip(columns, codec.ends_at_zero.tolist(), strict=True)) == {n: ends for n, (_, ends) in columns.items()}
    said = codec.in_units(codec.scale(np.stack([np.full(5, -7.0), np.full(5, 7.0)])))
    np.testing.assert_allclose(said, [[0.0, 0.0, -7.0, -7.0, -7.0], [7.0] * 5])
    assert codec.decode(codec.encode(np.full((1, 5), -7.0))).round(3).tolist() == [[-7.0] * 5]  # true values stay
    again = TargetCodec.from_state(json.loads(json.dumps(codec.state())))
    np.testing.assert_array_equal(again.in_units(codec.scale(np.full((1, 5), -7.0))), said[:1])


def test_a_codec_that_was_kept_before_ends_were_learned_is_read() -> None:
    state = TargetCodec.fit(np.array([0.0, 1.0, 9.0]), "regression").state()
    assert state.pop("ends_at_zero") == [True]
    assert not TargetCodec.from_state(state).ends_at_zero.any()
    with pytest.raises(ValueError, match="as many ends as means"):
        TargetCodec.from_state({**state, "ends_at_zero": [True, False]})


def test_a_zero_stays_zero_among_numbers_that_float32_rounds() -> None:
    y = np.random.default_rng(0).gamma(0.3, 100, 400)
    y[::3] = 0.0
    codec = TargetCodec.fit(y, "regression")
    said = codec.decode(codec.encode(y))
    assert (said[::3] == 0).all()
    assert (said >= 0).all()
    small = y.mean() * 1e-5  # but not what it can tell from it
    assert codec.decode(codec.encode(np.array([small, -small]))) == pytest.approx([small, -small], rel=0.05)


@pytest.mark.parametrize(("unit", "offset"), [(4e-13, 0.0), (1e-4, 1e9), (1e-170, 0.0), (5e-324, 0.0), (1e-16, 1.0)])
def test_a_target_in_small_units_is_standardised_like_any_other(unit: float, offset: float) -> None:
    y = offset + unit * np.array([0, 1, 3, 2, 7.0])
    codec = TargetCodec.fit(y, "regression")
    z = codec.encode(y)
    assert np.isfinite(z).all()
    assert 0.1 < np.abs(z).max() < 3
    np.testing.assert_allclose(codec.decode(z), y, rtol=1e-6, atol=unit * 1e-6)


def test_a_number_that_float32_cannot_hold_is_told_with_its_row() -> None:
    codec = TargetCodec.fit(np.array([0.0, 1e-300]), "regression")
    with pytest.raises(DataError, match=r"less than 3e38 standard deviations.*farther in 1 row \(1;"):
        codec.encode(np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    ("fitted", "task", "given", "message"),
    [
        (["a", "b"], "binary", ["a", "c", "c"], "got 'c' in 2 rows (1, 2; counted from 0). Known: 'a', 'b'"),
        ([0, 1, 2], "multiclass", [7], "got 7 in 1 row (0;"),
        ([1.0, 2.0], "regression", [np.nan], "must be known and finite; it is not in 1 row (0;"),
        ([[1.0, 2.0], [2.0, 3.0]], "regression", [1.0], "must have 2 columns as in training; got 1"),
    ],
)
def test_what_training_has_not_seen_is_told_with_its_row(fitted: Any, task: Task, given: Any, message: str) -> None:
    codec = TargetCodec.fit(np.asarray(fitted), task)
    with pytest.raises(DataError) as caught:
        codec.encode(np.asarray(given))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("target", "task"), [(["a", "a"], "binary"), ([0.1] * 7, "regression"), ([1e9] * 7, "regression")]
)
def test_constant_training_rows_are_refused(target: Any, task: Task) -> None:
    with pytest.raises(DataError, match="in the training rows: must have at least two different values"):
        TargetCodec.fit(np.asarray(target), task)


def test_decimals_beside_other_numbers_are_numbers() -> None:
    y, task, _ = read_target(S([Decimal("1.5"), 2, 2.5, Decimal(4)], dtype=object), "regression")
    assert task == "regression"
    assert y.ravel().tolist() == [1.5, 2.0, 2.5, 4.0]
