"""One fit of a portfolio, seen beforehand on a share of the rows or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from profuse._workers import packed
from profuse.data.dataset import Dataset, ModalityData, object_array
from profuse.errors import DataError
from profuse.metrics import default_metric
from profuse.models.options import ModelOptions
from profuse.portfolio.attempt import FitResult, FitTask, Watch, attempt, look
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


def task_of(data: Dataset, member: Member, folder: Path, *, allowed: float | None = None) -> FitTask:
    folder.mkdir()
    cut = Cut.make(data, PortfolioOptions(folds=3), member.model, 0, folder, lambda i, n: None)
    return FitTask(
        member, 0, cut.folds[0].path, {}, TrainOptions(), default_metric(data.task).name, data.task, ((),), allowed,
        allowed is not None,
    )  # fmt: skip


def linear(data: Dataset) -> Member:
    return Member("linear", tuple(sorted(data.modalities)), "linear")


def result(data: Dataset, folder: Path, *, allowed: float | None) -> FitResult:
    return attempt(task_of(data, linear(data), folder, allowed=allowed), os.getpid(), packed())


def test_a_first_look_at_few_rows_leaves_no_trace_in_the_fit(tmp_path: Path) -> None:
    plain = result(worded(), tmp_path / "plain", allowed=None)
    looked = result(worded(), tmp_path / "looked", allowed=100.0)
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
    made = result(worded(), tmp_path / "few", allowed=100.0)
    assert not made.reason
    assert made.held[()].shape == (40, 2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Stands still but for features, which take 10 seconds, and fits, which take 5 of all rows."""
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
    return clock


@pytest.mark.usefixtures("clock")
def test_what_features_take_is_not_multiplied(tmp_path: Path) -> None:
    made = result(worded(), tmp_path / "enough", allowed=16.0)
    assert made.predictor is not None
    short = result(worded(), tmp_path / "short", allowed=14.0)
    assert (short.predictor, short.too_long) == (None, 5.0)


def test_a_training_that_is_longer_than_is_likely_ends_while_there_is_time_for_what_is_learned_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 100 epochs of a second, 27 seconds are allowed, and what is learned anew takes 5."""
    clock = {"now": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    watch = Watch(30.0)
    watch.n_epochs, watch.seconds_left, watch.seconds_likely = 100, 200.0, 20.0
    watch.on_first_steps()
    last = 0
    while not watch.stopped:
        last += 1
        clock["now"] += 1.0
        watch.seconds_left, watch.seconds_likely, watch.seconds_after = 200.0 - last, 25.0, 5.0
        watch.on_epoch_end(SimpleNamespace(epoch=last))
    assert (last, watch.planned, watch.too_long) == (22, 22, 0.0)


def test_a_look_tells_what_features_take_and_a_fit_to_all_rows(tmp_path: Path, clock: dict[str, float]) -> None:
    few = task_of(worded(), linear(worded()), tmp_path / "few")
    assert look(few, os.getpid(), packed())[1] == pytest.approx(10 + 3 * 1.0)  # half of a share is any one's
    assert clock["now"] == pytest.approx(10 + 1)
    loaded.cache_clear()
    many = task_of(worded(6_000), linear(worded()), tmp_path / "many")
    assert look(many, os.getpid(), packed())[1] == pytest.approx(10 + 5.0)


def test_a_look_at_a_network_makes_its_first_steps_and_keeps_its_linear_path(tmp_path: Path) -> None:
    data = worded()
    names = tuple(sorted(data.modalities))
    network = Member("net", names, model=ModelOptions(fusion="concat", width=8, members=1))
    task = task_of(data, network, tmp_path / "net")
    name, seconds = look(task, os.getpid(), packed())
    assert name == "net"
    assert seconds is not None
    assert seconds > 0
    assert list(task.path.with_suffix(".solved").iterdir())


def test_a_look_at_what_cannot_be_fitted_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: Member, *args: Any, **more: Any) -> Any:
        raise DataError("linear: it must be able to; it is not.")

    monkeypatch.setattr(Member, "make_features", fit)
    assert look(task_of(worded(), linear(worded()), tmp_path / "none"), os.getpid(), packed()) == ("linear", None)
