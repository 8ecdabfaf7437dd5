"""Fits that take no time but by a clock: what is tried is how a portfolio divides its time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from profuse.metrics import metric
from profuse.models.options import ModelOptions
from profuse.portfolio.attempt import MARGIN, FitResult, FitTask
from profuse.portfolio.cut import Cut
from profuse.portfolio.fits import Fits
from profuse.portfolio.fitted import Event, Fitted
from profuse.portfolio.members import Member
from profuse.training.options import TrainOptions

__all__ = ["EPOCHS", "NET", "QUICK", "TRIVIAL", "Run", "a_cut", "run_fits", "several"]

TRIVIAL = Member("trivial", (), "trivial")
QUICK = Member("quick", ("a",), "linear")
NET = Member("net", ("a",), model=ModelOptions())
EPOCHS = 20
"""Of a network, where it is not limited."""


def a_cut(n_folds: int = 5, rows_a_fold: int = 1_000, *, by_time: bool = False) -> Cut:
    """Folds of rows of two classes, by turns; nothing can be fitted to them."""
    n_rows = n_folds * rows_a_fold
    fold: Any = SimpleNamespace(path=None)
    codec: Any = SimpleNamespace(task="binary")
    return Cut(
        codec=codec, folds=(fold,) * n_folds, whole=fold if by_time else None, rows=np.arange(n_rows),
        fold_of=np.repeat(np.arange(n_folds), rows_a_fold), true=np.arange(n_rows) % 2, clusters=np.arange(n_rows),
        dependent=by_time, names=("a",), lacking=np.zeros((n_rows, 1), bool),
    )  # fmt: skip


@dataclass
class Run:
    """What came of fits: `fits` are (member, fold, epochs), in order, `now` the time when all was done."""

    members: list[Fitted] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    cut: Cut | None = None
    now: float = 0.0
    fits: list[tuple[str, int, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [result.member.name for result in self.members]


def run_fits(
    monkeypatch: pytest.MonkeyPatch,
    members: Sequence[Member],
    seconds: Callable[[str, float], float],
    limit: float | None,
    cut: Cut | None = None,
    n_jobs: int = 1,
    before: float = 0.0,
) -> Run:
    """Fits members, of which a fit (a network's of all `EPOCHS`) takes `seconds(name, now)`.

    A network's first steps, and a classical model's probe, tell in no time how long a fit takes; but for the linear
    paths of a fold, which take `before` the first time.
    What is predicted of a row is the number of the row, so that one can see whose rows were kept.
    """
    out, cut, solved = Run(), cut or a_cut(), set[int]()
    monkeypatch.setattr("time.perf_counter", lambda: out.now)

    def fit(task: FitTask) -> FitResult:
        member, whole = task.member, seconds(task.member.name, out.now)
        allowed = math.inf if task.allowed is None else task.allowed
        planned = 0 if member.model is None else min(EPOCHS, task.train.epochs or EPOCHS)
        takes = whole if member.model is None else whole * planned / EPOCHS
        paths = before if member.model is not None and task.number not in solved else 0.0
        solved.update([task.number] if member.model is not None else [])
        out.now += paths
        allowed -= paths
        if takes > allowed and (task.probes or member.model is not None):
            return FitResult(
                task.number, too_long=takes, before=paths, planned=planned,
                epochs=math.floor(planned * MARGIN * max(0.0, allowed) / takes),
            )  # fmt: skip
        out.fits.append((member.name, task.number, planned))
        rows = cut.rows[cut.fold_of == task.number].astype(float)
        predictor: Any = SimpleNamespace(sharing=lambda parts: (member.name, task.number))
        held: Any = {(): np.stack([-rows, rows], axis=1)}
        return FitResult(task.number, predictor, held, seconds=takes, planned=planned)

    def outputs(self: Fits, tasks: Sequence[FitTask]) -> list[FitResult]:
        results = [fit(task) for task in tasks]
        out.now += max(result.seconds for result in results)  # side by side
        return results

    monkeypatch.setattr(Fits, "_outputs", outputs)
    deadline = None if limit is None else out.now + limit
    fits = Fits(cut, members, [()], TrainOptions(), metric("accuracy"), deadline, n_jobs, out.events.append)
    out.members, out.skipped, out.cut = fits.run()
    return out


def several(n: int, like: Member = QUICK) -> list[Member]:
    """Returns so many members of other names."""
    return [replace(like, name=f"{like.name} {i}") for i in range(n)]
