"""A test file beside a training file: groups and times are read alike in both, and what is kept whole is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.errors import DataError
from profuse.schema import Schema, SplitOptions


def _table(n: int, house: list[object]) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    return pd.DataFrame({
        "x": rng.normal(size=n), "house": np.resize(np.array(house, dtype=object), n),
        "day": pd.date_range("2024-01-01", periods=n).astype(str), "year": 2000 + np.arange(n),
        "y": np.resize([0.5, 1.25, 2.0, 7.5], n),
    })  # fmt: skip


def _load(folder: Path, train: pd.DataFrame, test: pd.DataFrame, **split: object) -> Dataset:
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    schema = Schema(split=SplitOptions(**split))
    return opened(folder / "train.csv", target="y", schema=schema, test=folder / "test.csv")[0]


@pytest.mark.parametrize("method", ["auto", "group"])
def test_groups_of_both_files_are_kept_whole_and_the_note_says_which(tmp_path: Path, method: str) -> None:
    data = _load(tmp_path, _table(40, list("abcdefgh")), _table(12, list("uvw")), method=method, column="house")
    (note,) = [n for n in data.notes if "test part" in n]
    assert note == (
        "test.csv is the test part; validation rows are cut from train.csv in whole groups of 'house' (it has 8). No "
        "group is in both files; the 3 of test.csv count as one each in every interval."
    )
    split = make_split(data, SplitOptions(), seed=0)
    assert data.groups is not None
    assert not set(data.groups[split.train]) & set(data.groups[split.valid])


@pytest.mark.parametrize("typed", [["a", "b"], [1, 2]])
def test_a_group_in_both_files_is_an_error_that_names_it(tmp_path: Path, typed: list[object]) -> None:
    train = _table(40, [*typed, *(["q", "r"] if typed == ["a", "b"] else [3, 4])])
    with pytest.raises(
        DataError,
        match=r"test.csv: rows of one 'house' must be in one file; these groups stand in both: .*Take them out",
    ):
        _load(tmp_path, train, _table(12, [typed[0]]), method="group", column="house")


def test_a_test_file_without_the_column_does_not_lose_the_groups_of_the_training_file(tmp_path: Path) -> None:
    data = _load(
        tmp_path, _table(40, list("abcdefgh")), _table(12, ["z"]).drop(columns="house"), method="group", column="house"
    )
    assert data.groups is not None
    split = make_split(data, SplitOptions(), seed=0)
    assert not set(data.groups[split.train]) & set(data.groups[split.valid])
    assert len(set(data.groups[split.test])) == 12
    (note,) = [n for n in data.notes if "test part" in n]
    assert "test.csv has no column 'house': nothing tells whether groups of train.csv are in it too" in note


@pytest.mark.parametrize(("column", "method"), [("day", "time"), ("day", "auto"), ("year", "time")])
def test_times_of_both_files_are_read_alike_and_validation_is_the_latest(
    tmp_path: Path, column: str, method: str
) -> None:
    data = _load(tmp_path, _table(40, ["a"]), _table(12, ["z"]), method=method, column=column)
    assert data.times is not None
    split = make_split(data, SplitOptions(), seed=0)
    assert data.times[split.train].max() < data.times[split.valid].min()
    assert any("validation rows are the latest of train.csv by" in n for n in data.notes)


def test_times_that_the_test_file_lacks_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test file test.csv: the column 'year' must be there"):
        _load(tmp_path, _table(40, ["a"]), _table(12, ["z"]).drop(columns="year"), method="time", column="year")


def test_a_column_of_times_that_are_groups_stays_groups_in_both_files(tmp_path: Path) -> None:
    test = _table(12, ["z"]).assign(day=pd.date_range("2025-01-01", periods=12).astype(str))
    data = _load(tmp_path, _table(40, ["a"]), test, method="group", column="day")
    assert data.groups is not None
    assert data.times is None


def test_a_method_that_the_test_file_leaves_without_use_is_told(tmp_path: Path) -> None:
    data = _load(tmp_path, _table(40, ["a"]), _table(12, ["z"]), method="random")
    assert any(
        "split method 'random' is not used for it. Validation rows are cut from train.csv" in n for n in data.notes
    )
