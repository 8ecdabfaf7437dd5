"""Rows that are left out together: groups, and stretches of time."""

from __future__ import annotations

import dataclasses

import numpy as np
from known_answers import make_product
from not_none import not_none

from profuse.data.split import Split
from profuse.training.together import rows_together

SPLIT = Split(np.arange(120), np.arange(120, 160), np.arange(160, 200))


def test_rows_of_a_group_have_one_number_and_no_other_row_has_it() -> None:
    groups = np.array(["b", "a", 3, "a"] * 50, dtype=object)
    numbers = not_none(rows_together(dataclasses.replace(make_product(), groups=groups), SPLIT)).numpy()
    assert len(set(zip(groups, numbers, strict=True))) == len(set(numbers)) == 3


def test_time_is_cut_into_ten_stretches_of_as_many_known_rows_that_part_no_moment() -> None:
    order = np.random.default_rng(0).permutation(160)
    times = np.concatenate([order // 4, np.arange(160, 200)])  # four rows a moment
    numbers = not_none(rows_together(dataclasses.replace(make_product(), times=times), SPLIT)).numpy()
    assert np.bincount(numbers[:160]).tolist() == [0, *[16] * 10]
    assert np.all(np.diff(numbers[:160][np.argsort(order)]) >= 0)
    assert set(numbers[160:]) == {10}
    assert all(len(set(numbers[times == t])) == 1 for t in set(times))


def test_other_rows_stand_alone() -> None:
    assert rows_together(make_product(), SPLIT) is None
