"""How long the fits of a portfolio still take, as it is told."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from fake_fits import NET, QUICK
from rich.console import Console

from profuse import from_tensors
from profuse.cli._portfolio import fits_display
from profuse.portfolio import fits as fits_module
from profuse.portfolio.attempt import FitResult
from profuse.portfolio.fitted import Event, Fitted
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.portfolio.time_left import seconds_left
from profuse.training.options import TrainOptions

LINEAR = Member("linear", ("a", "b"), "linear")
TREES = Member("trees", ("a", "b"), "extra_trees")


def done(member: Member, *seconds: float) -> Fitted:
    return Fitted(member, TrainOptions(), {i: FitResult(i, seconds=s) for i, s in enumerate(seconds)})


@pytest.mark.parametrize(
    ("fitted", "over", "looked", "n_jobs", "expected"),
    [
        ({}, (), {"quick": 2.0, "net": 30.0}, 1, 5 * 32.0),
        ({}, (), {"quick": 2.0, "net": 30.0}, 2, 3 * 32.0),
        ({"quick": done(QUICK, 3.0, 5.0)}, (), {"quick": 2.0, "net": 30.0}, 1, 3 * 4.0 + 5 * 30.0),
        ({"quick": done(QUICK)}, (), {"quick": 2.0, "net": 30.0}, 1, 5 * 32.0),
        ({"quick": done(QUICK, 3.0)}, ("net",), {}, 1, 4 * 3.0),
        ({}, (), {"quick": 2.0}, 1, None),
        ({"quick": done(QUICK, *[1.0] * 5), "net": done(NET, *[9.0] * 5)}, (), {}, 1, 0.0),
    ],
)
def test_fits_of_one_model_are_alike_and_a_look_tells_of_others(
    fitted: Mapping[str, Fitted],
    over: tuple[str, ...],
    looked: Mapping[str, float],
    n_jobs: int,
    expected: float | None,
) -> None:
    assert seconds_left(["quick", "net"], 5, n_jobs, fitted, frozenset(over), looked) == expected


@pytest.fixture(scope="module")
def events() -> list[Event]:
    told: list[Event] = []
    fit(told)
    return told


def fit(told: list[Event] | None, **options: Any) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    data = from_tensors({"a": y[:, None] + rng.normal(size=(60, 2)), "b": rng.normal(size=(60, 2))}, y)
    fit_portfolio(
        data,
        PortfolioOptions(folds=3, **options),
        members=(LINEAR, TREES),
        on_event=None if told is None else told.append,
    )


def test_all_fits_are_estimated_before_the_first_one_and_later_by_what_they_took(events: list[Event]) -> None:
    stages = [e.stage for e in events]
    assert stages.index("look") < stages.index("plan") < stages.index("fit")
    plan = events[stages.index("plan")]
    assert (plan.n_done, plan.n_total) == (0, 6)
    left = [e.left for e in events if e.stage in ("plan", "fit", "member")]
    assert all(seconds is not None for seconds in left)
    assert (left[0] or 0) > 0
    assert left[-1] == 0


def test_nothing_is_looked_at_where_nobody_is_told_or_a_limit_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*args: Any) -> Any:
        raise AssertionError("it is looked at")

    monkeypatch.setattr(fits_module, "look", look)
    fit(None)
    told: list[Event] = []
    fit(told, time_limit=600)
    first = next(e for e in told if e.stage == "fit")
    assert first.at_most
    assert first.left is not None
    assert 0 < first.left <= 600


def test_a_slow_model_is_told_of_every_twenty_seconds_and_a_quick_one_when_it_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = {"is": 0.0}
    monkeypatch.setattr("time.monotonic", lambda: now["is"])
    with fits_display("accuracy", Console(file=io.StringIO(), force_terminal=False)) as display:
        for done, at in [(1, 15.0), (2, 21.0), (3, 30.0), (4, 42.0)]:
            now["is"] = at
            display(Event("fit", done, 8, "network", left=100.0 - at))
        now["is"] = 50.0
        display(Event("member", 8, 8, "network", score=0.9, seconds=50.0))
        now["is"] = 65.0
        display(Event("look", 2, 8))
    told = capsys.readouterr().err.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert told == [
        "[2/8] network: about 79 s left",
        "[4/8] network: about 58 s left",
        "[8/8] network: held-out accuracy 90.0 %, 50 s",
    ]


def test_the_bar_neither_runs_backwards_nor_ends_before_all_is_done() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with fits_display("accuracy", console) as display:
        for stage, done in [("fit", 3), ("member", 8), ("fit", 5)]:
            display(Event(stage, done, 8, "network", left=0.4))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/8" in shown
    assert "7/8" in shown
    assert "5/8" not in shown
    assert "8/8 fits" not in shown
    assert "nearly done" in shown


def test_lines_tell_the_estimate_and_why_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with fits_display("accuracy", Console(file=io.StringIO(), force_terminal=False)) as display:
        display(Event("plan", 0, 40, left=600.0))
        display(Event("fit", 3, 40, "network", left=42.0))
        display(Event("more", 3, 40, left=30.0, at_most=True))
    told = capsys.readouterr().err.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert told == [
        "40 fits: about 10.0 min left, as a first look at each model tells",
        "There is time for further folds: 30 s left at most",
    ]
