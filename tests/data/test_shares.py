"""Shares of the rows: nested, of whole groups, with every class; the latest of rows in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from profuse.data.dataset import Dataset
from profuse.data.shares import share_of
from profuse.data.split import make_split
from profuse.data.tensors import from_tensors
from profuse.schema import SplitOptions

N, SHARES = 400, (1 / 16, 1 / 8, 1 / 4, 1 / 2)


def rows(**more: Any) -> Dataset:
    rng = np.random.default_rng(0)
    target = np.array(["a"] * 300 + ["b"] * 80 + ["c"] * 20)[rng.permutation(N)]
    made = replace(from_tensors({"x": np.zeros((N, 1))}), target=target, task="multiclass")
    return replace(made, **more)


def cut(dataset: Dataset, share: float, seed: int = 0, method: str = "auto") -> Any:
    options = SplitOptions(method=method)
    split = make_split(dataset, options, seed=seed)
    return split, share_of(dataset, options, split, share, seed=seed)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_smaller_shares_lie_within_larger_ones_and_test_rows_stay(part: str) -> None:
    before: set[int] = set()
    for share in (*SHARES, 1.0):
        split, made = cut(rows(), share)
        kept = set(getattr(made, part).tolist())
        assert before < kept <= set(getattr(split, part).tolist())
        assert len(kept) == pytest.approx(share * len(getattr(split, part)), abs=1)
        assert made.test is split.test
        assert (np.diff(getattr(made, part)) > 0).all()
        before = kept


def test_classes_keep_their_proportions_and_the_rarest_has_a_row() -> None:
    dataset = rows()
    target = np.asarray(dataset.target)
    for share in SHARES:
        train = target[cut(dataset, share)[1].train]
        assert (train == "c").sum() >= 1
        assert (train == "a").mean() == pytest.approx(0.75, abs=0.09)


def test_another_seed_draws_other_rows() -> None:
    assert cut(rows(), 0.5)[1].train.tolist() == cut(rows(), 0.5)[1].train.tolist()
    assert set(cut(rows(), 0.5, seed=1)[1].train) != set(cut(rows(), 0.5)[1].train)


@pytest.mark.parametrize("share", SHARES)
def test_groups_stay_whole_and_bring_every_class(share: float) -> None:
    groups = np.arange(N) // 8
    target = np.where(groups % 25 == 3, "rare", "often")
    split, made = cut(rows(groups=groups, target=target), share)
    for part in ("train", "valid"):
        whole, kept = getattr(split, part), getattr(made, part)
        assert not set(groups[kept]) & set(groups[np.setdiff1d(whole, kept)])
        assert len(kept) <= share * len(whole) + 8
    if "rare" in target[split.train]:
        assert set(target[made.train]) == {"rare", "often"}


@pytest.mark.parametrize("share", SHARES)
def test_of_rows_in_time_the_latest_are_kept(share: float) -> None:
    times = np.random.default_rng(1).permutation(N)
    split, made = cut(rows(times=times), share)
    for part in ("train", "valid"):
        kept, gone = getattr(made, part), np.setdiff1d(getattr(split, part), getattr(made, part))
        assert times[kept].min() > times[gone].max()


def test_times_do_not_count_where_rows_were_drawn_at_random() -> None:
    times = np.arange(N)
    split, made = cut(rows(times=times), 0.25, method="random")
    assert times[made.train].min() < times[np.setdiff1d(split.train, made.train)].max()


def test_labels_have_a_row_in_the_smallest_share() -> None:
    target = np.zeros((N, 3), dtype=np.int64)
    target[:, 0], target[::40, 1], target[5::50, 2] = 1, 1, 1
    dataset = rows(target=target, task="multilabel", target_names=("a", "b", "c"))
    split, made = cut(dataset, 1 / 16)
    assert (target[made.train].sum(0) >= 1).all()
    assert (target[split.train].sum(0) >= 1).all()


def test_numbers_are_drawn_at_random() -> None:
    dataset = rows(target=np.arange(N) * 1.0, task="regression")
    split, made = cut(dataset, 0.25)
    assert len(made.train) == pytest.approx(len(split.train) / 4, abs=1)
    assert np.ptp(made.train) > 0.8 * N
