"""Which rows are not independent: those of a group, else neighbours in time, else none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_answers import make_product

from profuse.data.dataset import Dataset, clusters_of
from profuse.data.time_blocks import time_blocks

ROWS = np.array([3, 17, 4, 30, 31, 32, 8, 9])


@pytest.fixture
def data() -> Dataset:
    return make_product(40)


def test_rows_of_data_without_groups_and_times_are_independent(data: Dataset) -> None:
    assert clusters_of(data).tolist() == list(range(40))
    assert clusters_of(data, ROWS).tolist() == list(range(8))


@pytest.mark.parametrize("timed", [False, True])
def test_rows_of_one_group_have_one_number_whether_there_are_times_or_not(data: Dataset, timed: bool) -> None:
    groups = np.array([f"g{i % 6}" for i in range(40)], dtype=object)
    data = replace(data, groups=groups, times=np.arange(40.0) if timed else None)
    found = clusters_of(data, ROWS)
    assert (found[:, None] == found).tolist() == (groups[ROWS][:, None] == groups[ROWS]).tolist()
    assert sorted(set(found.tolist())) == list(range(len(set(found.tolist()))))


def test_neighbours_in_time_have_one_number(data: Dataset) -> None:
    times = np.random.default_rng(0).permutation(40).astype(float)
    found = clusters_of(replace(data, times=times))
    assert found.tolist() == time_blocks(times).tolist()
    assert len(set(found.tolist())) == 5


def test_numbers_have_no_gaps_where_many_rows_are_of_one_moment(data: Dataset) -> None:
    times = np.r_[np.zeros(30), np.arange(1.0, 11.0)]
    found = clusters_of(replace(data, times=times))
    assert len(set(found[:30].tolist())) == 1
    assert sorted(set(found.tolist())) == list(range(len(set(found.tolist()))))


def test_no_rows_have_no_clusters(data: Dataset) -> None:
    none = np.array([], dtype=int)
    assert len(clusters_of(replace(data, times=np.arange(40.0)), none)) == 0
