"""Splits and folds: disjoint, complete, groups whole, time forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split, folds, make_split
from profuse.errors import ConfigError, DataError
from profuse.schema import SplitOptions, Task


def make(target: Any, task: Task = "multiclass", **by_row: Any) -> Dataset:
    n = len(target)
    data = ModalityData("vector", np.zeros((n, 1)), np.ones(n, dtype=bool))
    by_row = {k: np.asarray(v) for k, v in by_row.items()}
    return Dataset("toy", {"x": data}, np.asarray(target), task, **by_row)


def parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.valid, split.test]


METHODS = st.sampled_from(["random", "stratified", "group"])


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 8), min_size=30, max_size=80).filter(lambda g: len(set(g)) >= 3),
    method=METHODS,
    test_size=st.floats(0.05, 0.7),
    seed=st.integers(0, 10),
)
def test_parts_are_disjoint_cover_all_rows_and_keep_groups_whole(
    groups: list[int], method: Any, test_size: float, seed: int
) -> None:
    target = np.random.default_rng(seed).integers(0, 3, len(groups))
    data = make(target, groups=groups)
    split = make_split(data, SplitOptions(method=method, test_size=test_size), seed=seed)
    assert np.array_equal(np.sort(np.concatenate(parts(split))), np.arange(len(groups)))
    assert all(len(p) for p in parts(split))
    assert all((np.diff(p) > 0).all() for p in parts(split))
    held = [set(np.asarray(groups)[p]) for p in parts(split)]
    assert len(held[0]) + len(held[1]) + len(held[2]) == len(set(groups))


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 12), min_size=20, max_size=60).filter(lambda g: len(set(g)) >= 4),
    k=st.integers(2, 4),
    seed=st.integers(0, 5),
)
def test_folds_hold_out_every_row_once_and_keep_groups_whole(groups: list[int], k: int, seed: int) -> None:
    data = make(np.random.default_rng(seed).integers(0, 2, len(groups)), groups=groups)
    found = folds(data, np.arange(len(groups)), k, seed)
    assert len(found) == k
    assert np.array_equal(np.sort(np.concatenate([h for _, h in found])), np.arange(len(groups)))
    for fit, held in found:
        assert len(held)
        assert not set(fit) & set(held)
        assert not set(np.asarray(groups)[fit]) & set(np.asarray(groups)[held])


@settings(max_examples=60, deadline=None)
@given(times=st.lists(st.integers(0, 20), min_size=10, max_size=60).filter(lambda t: len(set(t)) >= 4))
def test_a_split_by_time_runs_forward_and_never_parts_a_tie(times: list[int]) -> None:
    data = make(np.arange(len(times)) % 2, times=times)
    split = make_split(data, SplitOptions(), seed=0)
    t = np.asarray(times)
    assert t[split.train].max() < t[split.valid].min()
    assert t[split.valid].max() < t[split.test].min()
    assert sum(map(len, parts(split))) == len(times)
    for fit, held in folds(data, np.arange(len(times)), 3, 0):
        assert t[fit].max() < t[held].min()


def test_every_class_of_three_rows_is_in_every_part_and_proportions_hold() -> None:
    target = np.repeat([0, 1, 2, 3], [700, 250, 47, 3])
    split = make_split(make(target), SplitOptions(), seed=3)
    counts = np.stack([np.bincount(target[p], minlength=4) for p in parts(split)])
    assert (counts > 0).all()
    np.testing.assert_allclose(counts[:, :3].T / counts[:, :3].sum(0)[:, None], [[0.64, 0.16, 0.2]] * 3, atol=0.03)
    assert [len(p) for p in parts(split)] == pytest.approx([640, 160, 200], abs=2)


def test_a_class_with_two_rows_is_in_train_and_test_and_one_with_a_single_row_in_train() -> None:
    target = np.array([0] * 50 + [1] * 2 + [2])
    for seed in range(10):
        split = make_split(make(target), SplitOptions(), seed=seed)
        assert 1 in target[split.train]
        assert 1 in target[split.test]
        assert 2 in target[split.train]


def test_a_class_in_three_groups_is_in_every_part() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(200) // 5
    target = np.where(np.isin(groups, [3, 17, 30]) & (np.arange(200) % 5 == 0), 1, 0)
    for seed in range(5):
        split = make_split(make(target, groups=rng.permutation(40)[groups]), SplitOptions(), seed=seed)
        assert all(1 in target[p] for p in parts(split))


def test_every_label_of_a_multilabel_target_is_in_every_part() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random((300, 6)) < [0.5, 0.3, 0.1, 0.05, 0.02, 0.02]).astype(int)
    target[:3, 5] = 1
    split = make_split(make(target, "multilabel"), SplitOptions(), seed=0)
    assert all((target[p].sum(0) > 0).all() for p in parts(split))


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    data = make(np.arange(100) % 4)
    a, b, c = (make_split(data, SplitOptions(), seed=s) for s in (1, 1, 2))
    assert all(np.array_equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))
    assert not np.array_equal(a.test, c.test)


def test_an_official_split_stands_and_valid_is_cut_from_its_train_only() -> None:
    official = np.array(["train"] * 80 + ["test"] * 20)
    split = make_split(make(np.arange(100) % 2, split=official), SplitOptions(), seed=0)
    assert np.array_equal(split.test, np.arange(80, 100))
    assert len(split.valid) == 16
    official[:10] = "valid"
    split = make_split(make(np.arange(100) % 2, split=official), SplitOptions(), seed=0)
    assert np.array_equal(split.valid, np.arange(10))


def test_valid_of_an_official_split_is_cut_by_time_where_times_are_known() -> None:
    official = np.array(["train"] * 80 + ["test"] * 20)
    times = np.arange(100)[::-1]
    split = make_split(make(np.arange(100) % 2, split=official, times=times), SplitOptions(), seed=0)
    assert times[split.train].max() < times[split.valid].min()


def test_groups_and_times_that_agree_are_split_between_groups() -> None:
    groups = np.repeat(np.arange(20), 5)
    split = make_split(make(np.arange(100) % 2, groups=groups, times=np.arange(100)), SplitOptions(), seed=0)
    assert [len(p) for p in parts(split)] == [65, 15, 20]
    assert not set(groups[split.train]) & set(groups[split.valid])


YES_NO = np.arange(30) % 2
LAST = np.array(["train"] * 29 + ["test"])


@pytest.mark.parametrize(
    ("by_row", "method", "error", "message"),
    [
        ({}, "group", ConfigError, "method 'group' needs groups; data set 'toy' has none"),
        ({}, "time", ConfigError, "method 'time' needs times"),
        ({"groups": np.zeros(30)}, "group", DataError, "at least one group each; only 1 group is left to cut 'test'"),
        ({"groups": YES_NO}, "group", DataError, "only 1 group is left to cut 'valid'"),
        (
            {"times": np.zeros(30)},
            "time",
            DataError,
            "needs 2 cut(s), each rows with an earlier and a later time; got 0",
        ),
        ({"times": YES_NO}, "time", DataError, "needs 2 cut(s)"),
        (
            {"times": [np.nan] * 2 + [1.0] * 28},
            "time",
            DataError,
            "times must be known in every row; missing in 2 rows",
        ),
        (
            {"groups": np.array([None, *range(29)])},
            "group",
            DataError,
            "groups must be known in every row; missing in 1 row",
        ),
        ({"groups": YES_NO, "times": np.arange(30)}, "time", DataError, "Groups contradict the time order"),
        ({"split": ["train"] * 30}, "auto", DataError, "at least one row must be 'test'; got none"),
        ({"split": ["test"] * 30}, "auto", DataError, "at least one row must be 'train'; got none"),
        ({"split": ["dev"] * 30}, "auto", DataError, "must be 'train', 'valid' or 'test'; got 'dev'"),
        ({"split": LAST, "groups": YES_NO}, "auto", DataError, "rows of one group must be in one part; 1 groups"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(by_row: Any, method: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make_split(make(YES_NO, **by_row), SplitOptions(method=method), seed=0)
    assert message in str(caught.value)


def test_a_stratified_split_of_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs classes; got task='regression'"):
        make_split(make(np.arange(10.0), "regression"), SplitOptions(method="stratified"), seed=0)


@pytest.mark.parametrize(
    ("k", "by_row", "message"),
    [
        (1, {}, "k must be at least 2; got k=1"),
        (31, {}, "at least k=31 rows; got 30"),
        (3, {"groups": YES_NO}, "at least k=3 groups; got 2"),
        (3, {"times": YES_NO}, "folds: a split by time needs 3 cut(s)"),
    ],
)
def test_folds_that_cannot_be_made_say_why(k: int, by_row: Any, message: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        folds(make(YES_NO, **by_row), np.arange(30), k, 0)
    assert message in str(caught.value)
