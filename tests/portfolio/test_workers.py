"""Worker processes load what they need while the folds are prepared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from profuse import from_tensors
from profuse.portfolio import fitting, workers
from profuse.portfolio.cut import Cut
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.portfolio.workers import workers_started


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

    monkeypatch.setattr(workers, "outputs_of", outputs_of)
    return seen


def test_each_process_is_started_before_the_work_and_waited_for_after_it(seen: list[Any]) -> None:
    with workers_started(3):
        seen.append("work")
    assert seen == [("began", 3, 3), "work", "ready", "ready", "ready", "closed"]


def test_one_process_starts_no_other(seen: list[Any]) -> None:
    with workers_started(1):
        seen.append("work")
    assert seen == ["work"]


@pytest.mark.slow
def test_a_worker_has_then_loaded_what_fits_need() -> None:
    code = (
        "import os, sys; from profuse.portfolio.workers import _ready; _ready(os.getpid(), b'');"
        "print({'torch', 'sklearn', 'lightning_fabric', 'profuse.portfolio.fits'} - set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


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
