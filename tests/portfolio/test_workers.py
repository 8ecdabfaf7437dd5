"""Worker processes load what they need while the folds are prepared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from profuse import from_tensors
from profuse.portfolio import fits, fitting
from profuse.portfolio.cut import Cut
from profuse.portfolio.fits import workers_started
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happened, in order; nothing runs in other processes."""
    seen: list[Any] = []

    def drained(n: int) -> Iterator[None]:
        for _ in range(n):
            seen.append("ready")
            yield None

    @contextmanager
    def outputs_of(call: Any, todo: Any, n_jobs: int, *, who: str) -> Iterator[Iterator[Any]]:
        seen.append(("began", len(list(todo)), n_jobs))
        yield drained(n_jobs)
        seen.append("closed")

    monkeypatch.setattr(fits, "outputs_of", outputs_of)
    return seen


def test_each_process_is_started_before_the_work_and_waited_for_after_it(seen: list[Any]) -> None:
    with workers_started(3):
        seen.append("work")
    assert seen == [("began", 3, 3), "work", "ready", "ready", "ready", "closed"]


def test_one_process_starts_no_other(seen: list[Any]) -> None:
    with workers_started(1):
        seen.append("work")
    assert seen == ["work"]


def test_what_a_worker_is_given_can_be_done_in_it() -> None:
    assert fits._ready(os.getpid(), b"") is None  # type: ignore[func-returns-value]


def test_folds_are_prepared_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    make = Cut.make

    @contextmanager
    def started(n_jobs: int) -> Iterator[None]:
        order.append(f"{n_jobs} started")
        yield
        order.append("waited")

    def cut(*args: Any) -> Any:
        order.append("cut")
        return make(*args)

    monkeypatch.setattr(fitting, "workers_started", started)
    monkeypatch.setattr(Cut, "make", cut)
    data = from_tensors({"a": np.arange(20.0)[:, None]}, np.arange(20) % 2)
    fit_portfolio(data, PortfolioOptions(folds=2), members=[Member("trivial", (), "trivial")])
    assert order == ["1 started", "cut", "waited"]
