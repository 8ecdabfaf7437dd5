"""Rows on both sides of a split are counted and told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from known_answers import make_product

from profuse.data.leaks import tell_leaks
from profuse.data.split import make_split
from profuse.data.tensors import from_frame
from profuse.schema import SplitOptions

ONCE = make_product(60)
TWICE = ONCE.rows(np.tile(np.arange(60), 2))
OPTIONS = SplitOptions()


def test_equal_rows_on_both_sides_of_a_random_split_are_told() -> None:
    test = make_split(TWICE, OPTIONS, seed=0).test
    n = np.isin(test % 60, np.setdiff1d(np.arange(120), test) % 60).sum()
    (note,) = tell_leaks(TWICE, OPTIONS)
    assert 12 < n < len(test) == 24
    assert f"Of the 24 test rows of seed 0 these equal a training or validation row in every modality: {n} rows" in note
    assert "--split group" in note
    assert "drop_duplicates" in note


def test_without_equal_rows_or_with_those_in_one_group_nothing_is_told() -> None:
    assert tell_leaks(ONCE, OPTIONS) == []
    assert tell_leaks(replace(TWICE, groups=np.tile(np.arange(60), 2)), OPTIONS) == []


def test_an_official_split_is_judged_only_where_it_is_replaced() -> None:
    official = replace(TWICE, split=np.repeat(["train", "test"], 60))
    assert tell_leaks(official, OPTIONS) == []
    assert len(tell_leaks(official, SplitOptions(method="random"))) == 1


def test_copies_of_the_target_the_order_of_rows_and_near_repeats_are_told() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 5)), columns=list("abcde"))
    y = np.sort(rng.normal(size=200))
    data, _ = from_frame(frame.assign(logged=np.exp(y)), y)
    copies, order = tell_leaks(data, OPTIONS)
    assert "'logged' (rank correlation 1.000)" in copies
    assert "rank correlation 1.000 with the row number" in order
    assert tell_leaks(replace(data, times=np.arange(200)), OPTIONS) == [copies]
    twice, _ = from_frame(pd.concat([frame, frame[:50].round(2)], ignore_index=True), rng.normal(size=250))
    (near,) = tell_leaks(twice, OPTIONS)
    assert "nearly repeat a training or validation row" in near
