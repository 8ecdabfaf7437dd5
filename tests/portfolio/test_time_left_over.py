"""Time that a limit leaves when all members had their turn: another network is trained in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_fits import NET, QUICK, a_cut

from profuse.metrics import metric
from profuse.portfolio.attempt import FitResult
from profuse.portfolio.fits import Fits
from profuse.portfolio.fitted import Event, Fitted
from profuse.portfolio.members import Member
from profuse.training.options import TrainOptions


@dataclass
class Outcome:
    members: list[Fitted]
    skipped: dict[str, str]
    calls: list[tuple[str, int | None, int, float]]
    events: list[Event]


def run(
    monkeypatch: pytest.MonkeyPatch,
    deadline: float | None,
    seconds: Callable[[str], float],
    epochs: tuple[int, int],
    members: tuple[Member, ...] = (QUICK, NET, replace(QUICK, name="last")),
    reason: str = "",
) -> Outcome:
    """Fits on a clock that stands still but for them; a network has `epochs`, (at most, given), at its first time."""
    clock, calls, events = {"now": 0.0}, list[tuple[str, int | None, int, float]](), list[Event]()
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])
    true = np.array([0, 1, 0, 1])

    def fit(self: Fits, result: Fitted, n_before: int, until: float, *more: Any, **probes: bool) -> str:
        train = result.train
        calls.append((result.member.name, train.epochs, train.seed, until))
        each = seconds(result.member.name) / len(self.order)
        clock["now"] += each * len(self.order)
        if "again" in result.member.name and reason:
            return reason
        most, given = epochs if train.epochs is None else (0, train.epochs)
        planned = given if result.member.model is not None else 0
        result.most = max(result.most, most) if result.member.model is not None else 0
        for fold in self.order:
            predictor: Any = SimpleNamespace(sharing=lambda parts: None)
            held: Any = {(): np.eye(2)[true[[2 * fold, 2 * fold + 1]]]}
            result.done[fold] = FitResult(fold, predictor, held, seconds=each, planned=planned)
        return ""

    monkeypatch.setattr(Fits, "_fit", fit)
    fits = Fits(a_cut(2, 2), members, [()], TrainOptions(), metric("accuracy"), deadline, 1, events.append)
    fitted, skipped, _ = fits.run()
    return Outcome(fitted, skipped, calls, events)


@pytest.mark.parametrize(
    ("deadline", "most", "given", "expected"),
    [
        (100.0, 80, 10, 31),  # 70 s are left, and 20 s were had by 10 epochs: .9 * 10 * 70 / 20
        (100.0, 20, 10, 20),  # no more than without a limit
        (50.0, 80, 10, 9),  # 20 s: about as many
        (46.0, 80, 10, 7),
        (44.0, 80, 10, None),  # 14 s would do for 6 of 10 epochs: too short to be of use
        (100.0, 10, 10, None),  # it had all its epochs
        (None, 80, 10, None),
    ],
)
def test_a_shortened_network_is_joined_by_another_for_which_time_is_left(
    monkeypatch: pytest.MonkeyPatch, deadline: float | None, most: int, given: int, expected: int | None
) -> None:
    result = run(monkeypatch, deadline, lambda name: 20.0 if name == "net" else 5.0, (most, given))
    names = [f.member.name for f in result.members]
    if expected is None:
        assert names == ["quick", "net", "last"]
        return
    assert names == ["quick", "net", "last", "net (again)"]
    # of another seed: what two seeds say together is better than what either says
    assert result.calls[-1] == ("net (again)", expected, 1, deadline)
    assert result.members[-1].epochs == (most, expected)
    told = f"net (again) is trained for at most {expected} epochs instead of {most}, as time was limited."
    assert result.members[-1].note == ("" if expected == most else told)
    assert [e.member for e in result.events if e.stage == "member"] == names


def test_what_could_not_be_done_in_what_was_left_is_no_model_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run(monkeypatch, 100.0, lambda name: 20.0, (80, 10), reason="no time was left for it")
    assert [f.member.name for f in result.members] == ["quick", "net", "last"]
    assert "net (again)" not in result.skipped


def test_each_shortened_network_has_its_turn_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = (QUICK, NET, replace(NET, name="other"))
    result = run(monkeypatch, 60.0, lambda name: 0.0 if name == "quick" else 10.0, (80, 10), both)
    assert [name for name, *_ in result.calls] == ["quick", "net", "other", "net (again)", "other (again)"]
    assert [epochs for _, epochs, *_ in result.calls[3:]] == [36, 27]


def test_one_epoch_is_not_told_as_several(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, 28.0, lambda name: 20.0 if name == "net" else 1.0, (80, 1))
    net = next(f for f in result.members if f.member.name == "net")
    assert net.note == "net is trained for at most 1 epoch instead of 80, as time was limited."
