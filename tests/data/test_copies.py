"""Inputs that give the target away are told; honest ones, and rows that stand twice, are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse import FusionClassifier, FusionRegressor
from profuse.data.copies import copies_of_target, follows_row_order
from profuse.data.dataset import Dataset
from profuse.data.leaks import copy_notes
from profuse.data.tensors import from_frame
from profuse.errors import ProfuseWarning

RNG = np.random.default_rng(0)
N = 200
PRICE = np.exp(RNG.normal(5, 1, N))
KIND = RNG.choice(["cat", "dog", "owl"], N)
SIZE = RNG.normal(size=N)
DAYS = pd.Timestamp("2024-01-01") + pd.to_timedelta(PRICE.round(), "D")

NUMBER_COPIES: dict[str, Any] = {
    "logarithm": np.log(PRICE),
    "falling": -3 * PRICE + 7,
    "rounded": (PRICE / 10).round() * 10,
    "rounded so far that most are one of a few": (PRICE / 100).round() * 100,
    "square": PRICE**2,
    "with noise": PRICE * (1 + 0.01 * RNG.normal(size=N)),
    "with gaps": np.where(np.arange(N) % 9 == 0, np.nan, PRICE),
    "in every third row": np.where(np.arange(N) % 3 == 0, PRICE, np.nan),
    "ranks": pd.Series(PRICE).rank(),
    "a time that grows with it": DAYS,
}
CLASS_COPIES: dict[str, Any] = {
    "codes": pd.Series(KIND).map({"cat": 7, "dog": 3, "owl": 5}),
    "the same words": KIND,
    "other words": pd.Series(KIND).map({"cat": "felis", "dog": "canis", "owl": "strix"}),
    "finer words": [f"{k} {i % 4}" for i, k in enumerate(KIND)],
    "a few wrong": np.where(np.arange(N) % 90 == 0, "cat", KIND),
    "a range for each": pd.Series(KIND).map({"cat": 10, "dog": 20, "owl": 30}) + RNG.uniform(0, 5, N),
}


def of(column: Any, target: Any, **more: Any) -> Dataset:
    frame = pd.DataFrame({"size": SIZE[: len(target)], "column": column, **more})
    return from_frame(frame, pd.Series(target))[0]


def told(data: Dataset) -> list[str]:
    return [c.column for c in copies_of_target(data, np.arange(len(data)))]


@pytest.mark.parametrize("how", NUMBER_COPIES)
def test_a_copy_of_a_number_is_told(how: str) -> None:
    assert told(of(NUMBER_COPIES[how], PRICE)) == ["'column'"]


@pytest.mark.parametrize("how", CLASS_COPIES)
def test_a_copy_of_a_class_is_told(how: str) -> None:
    assert told(of(CLASS_COPIES[how], KIND)) == ["'column'"]


def test_a_code_of_a_number_and_a_curve_that_is_not_monotone_are_told() -> None:
    prices = np.array([10.0, 99.5, 40.0, 71.0, 12.0])[np.arange(N) % 5]
    assert told(of(np.array(["e", "b", "d", "a", "c"])[np.arange(N) % 5], prices)) == ["'column'"]
    x = np.linspace(-3, 3, N)
    assert told(of(x, x**2)) == ["'column'"]


@pytest.mark.parametrize("values", [RNG.normal(size=N), RNG.choice(list("abcde"), N), DAYS])
def test_a_column_that_is_filled_for_one_class_only_is_told(values: Any) -> None:
    died = RNG.choice(["yes", "no"], N)
    cells = pd.Series(values).where(died == "yes")
    assert "whether 'column' is filled" in told(of(cells, died))


def test_a_modality_that_is_there_for_one_class_only_is_told() -> None:
    died = RNG.choice(["yes", "no"], N)
    report = [f"they were ill {i} of something" if d == "yes" else None for i, d in enumerate(died)]
    assert told(of(report, died)) == ["whether 'column' is there"]


def test_labels_and_many_targets_are_held_against_each_input() -> None:
    labels = RNG.integers(0, 2, (N, 2))
    data, _ = from_frame(
        pd.DataFrame({"size": SIZE, "b": labels[:, 1] * 2.0}), pd.DataFrame(labels, columns=["x", "y"])
    )
    (note,) = copy_notes(data)
    assert "'b' gives 'y' (100% fewer errors than guessing)" in note
    data, _ = from_frame(pd.DataFrame({"size": SIZE, "b": PRICE}), pd.DataFrame({"x": RNG.normal(size=N), "y": PRICE}))
    assert "'b' gives 'y' (rank correlation 1.000)" in copy_notes(data)[0]


@pytest.mark.parametrize(
    ("column", "target"),
    [
        (RNG.normal(size=N), PRICE),
        (PRICE * (1 + 0.4 * RNG.normal(size=N)), PRICE),
        (np.where(np.arange(N) == 5, 1e9, SIZE), np.where(np.arange(N) == 5, 1e9, PRICE)),
        (np.where(np.arange(N) == 5, 1e300, SIZE), PRICE),
        (np.where(np.arange(N) % 3 == 0, SIZE, np.nan), PRICE),
        (np.where(np.arange(N) % 8 == 0, PRICE, np.nan), PRICE),
        (RNG.choice(["a", "b"], N), KIND),
        (np.where(RNG.random(N) < 0.8, KIND, "cat"), KIND),
        ([f"customer {i} came again" for i in range(N)], KIND),
        (np.arange(N) * 1.5, np.where(np.arange(N) < 3, "rare", "common")),
        (np.zeros(N) + (np.arange(N) == 7), KIND),
        (RNG.integers(0, 6, N), RNG.integers(0, 2, N)),
    ],
)
def test_honest_columns_are_not_told(column: Any, target: Any) -> None:
    assert told(of(column, target)) == []


def test_rows_that_stand_twice_do_not_make_codes_of_numbers() -> None:
    frame = pd.DataFrame({"a": RNG.normal(size=N), "b": [f"w{i}" for i in range(N)]})
    y = RNG.choice(["a", "b"], N)
    assert told(from_frame(pd.concat([frame, frame], ignore_index=True), np.tile(y, 2))[0]) == []
    moved = frame.assign(a=RNG.normal(size=N))
    assert told(from_frame(pd.concat([frame, moved], ignore_index=True), np.tile(y, 2))[0]) == ["'b'"]


def test_only_the_rows_that_are_asked_for_are_looked_at_and_few_say_nothing() -> None:
    column = np.where(np.arange(N) < N // 2, PRICE, SIZE)
    data = of(column, PRICE)
    assert [c.column for c in copies_of_target(data, np.arange(N // 2))] == ["'column'"]
    assert told(data) == []
    assert copies_of_target(data, np.arange(20)) == []


@pytest.mark.parametrize(
    ("make", "follows"),
    [
        (lambda: np.sort(KIND), True),
        (lambda: np.sort(PRICE), True),
        (lambda: -np.sort(PRICE), True),
        (lambda: np.sin(np.arange(N) / 8) + 0.05 * RNG.normal(size=N), True),
        (lambda: np.repeat(RNG.permutation(20), 10).astype(str), True),
        (lambda: KIND, False),
        (lambda: PRICE, False),
        (lambda: np.array(["a", "b"])[np.arange(N) % 2], False),
        (lambda: np.where(np.arange(N) % 60 == 0, "rare", "common"), False),
    ],
)
def test_an_order_of_rows_that_tells_the_target_is_seen(make: Callable[[], Any], follows: bool) -> None:
    assert bool(follows_row_order(of(SIZE, make()))) is follows


def test_estimators_warn_of_copies_and_a_dataset_is_no_way_around() -> None:
    X = pd.DataFrame({"size": SIZE, "price": np.log(PRICE)})
    quick: dict[str, Any] = {"fusion": "concat", "width": 8, "epochs": 1}
    with pytest.warns(ProfuseWarning, match=r"FusionRegressor: Inputs that give the target away.*'price' \(rank corr"):
        FusionRegressor(**quick).fit(X, PRICE)
    with pytest.warns(ProfuseWarning, match="give the target away"):
        FusionClassifier(**quick).fit(of(KIND, KIND))
