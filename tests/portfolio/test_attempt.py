"""One fit of a portfolio, seen beforehand on a share of the rows or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profuse._workers import packed
from profuse.data.dataset import Dataset, ModalityData, object_array
from profuse.errors import DataError
from profuse.metrics import default_metric
from profuse.portfolio.attempt import FitResult, FitTask, attempt
from profuse.portfolio.cut import Cut
from profuse.portfolio.members import Member, loaded
from profuse.portfolio.options import PortfolioOptions
from profuse.training.options import TrainOptions


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    loaded.cache_clear()


def worded(n: int = 120) -> Dataset:
    """Texts of a hundred words, of which some tell the class, and a number that tells a little."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    texts = [" ".join(f"word{w}" for w in rng.integers(50 * c, 50 * c + 60, 8)) for c in y]
    numbers = (y + rng.normal(size=n))[:, None]
    there = np.ones(n, dtype=bool)
    modalities = {
        "number": ModalityData(kind="vector", values=numbers, present=there),
        "text": ModalityData(kind="text", values=object_array(texts), present=there),
    }
    return Dataset(name="worded", task="binary", modalities=modalities, target=y)


def result(data: Dataset, member: str, folder: Path, *, allowed: float | None) -> FitResult:
    folder.mkdir()
    names = tuple(sorted(data.modalities))
    cut = Cut.make(data, PortfolioOptions(folds=3), None, 0, folder, lambda i, n: None)
    task = FitTask(
        Member(member, names, member), 0, cut.folds[0].path, {}, TrainOptions(), default_metric(data.task).name,
        data.task, ((),), allowed, allowed is not None,
    )  # fmt: skip
    return attempt(task, os.getpid(), packed())


def test_a_first_look_at_few_rows_leaves_no_trace_in_the_fit(tmp_path: Path) -> None:
    plain = result(worded(), "linear", tmp_path / "plain", allowed=None)
    looked = result(worded(), "linear", tmp_path / "looked", allowed=100.0)
    np.testing.assert_array_equal(looked.held[()], plain.held[()])


def test_where_a_share_of_the_rows_is_too_few_all_are_fitted_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Member.fit

    def fit(self: Member, *args: Any, **more: Any) -> Any:
        if more.get("every", 1) > 1:
            raise DataError("linear: rows must be of two classes; got one.")
        return whole(self, *args, **more)

    monkeypatch.setattr(Member, "fit", fit)
    made = result(worded(), "linear", tmp_path / "few", allowed=100.0)
    assert not made.reason
    assert made.held[()].shape == (40, 2)


def test_what_features_take_is_not_multiplied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    whole, make = Member.fit, Member.make_features

    def fit(self: Member, *args: Any, **more: Any) -> Any:
        clock["now"] += 5.0 / more.get("every", 1)
        return whole(self, *args, **more)

    def features(self: Member, *args: Any) -> None:
        clock["now"] += 10.0
        make(self, *args)

    monkeypatch.setattr(Member, "fit", fit)
    monkeypatch.setattr(Member, "make_features", features)
    made = result(worded(), "linear", tmp_path / "enough", allowed=16.0)
    assert made.predictor is not None
    short = result(worded(), "linear", tmp_path / "short", allowed=14.0)
    assert (short.predictor, short.too_long) == (None, 5.0)
