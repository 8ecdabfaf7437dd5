"""One fit of a portfolio: what a process takes, and what it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from profuse._cores import limit_threads
from profuse._workers import begin
from profuse.errors import ProfuseError
from profuse.inspect.asked import hide
from profuse.metrics import Metric, metric_named
from profuse.portfolio.members import Member, loaded
from profuse.portfolio.patterns import Pattern
from profuse.predictor import Predictor
from profuse.schema import Task
from profuse.training.callbacks import Callback
from profuse.training.options import TrainOptions

__all__ = ["MARGIN", "FitResult", "FitTask", "Watch", "attempt", "look"]

MARGIN = 0.9
"""Of the time that is left, what epochs may take."""

_PROBE = 5  # of so many rows one is fitted to, to see how long all take
_FEW = 2_500  # rows, of fewer of which half of the time that a share takes is taken for one that any share takes


@dataclass(frozen=True)
class FitTask:
    """A fit, as a process takes it; `allowed` seconds, or no limit, which is seen beforehand where it `probes`."""

    member: Member
    number: int
    path: Path
    sets: Mapping[str, tuple[str, int]]
    train: TrainOptions
    metric: str
    task: Task
    patterns: tuple[Pattern, ...]
    allowed: float | None
    probes: bool


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit has left: it failed (`reason`), would take too long (`epochs` would fit), or has all but those.

    `too_long` are the seconds that its epochs would take, `before` those of its linear paths, before the first epoch.

    `planned` are the epochs that a network was to have; 0 of other models.
    """

    number: int
    predictor: Predictor | None = None
    held: Mapping[Pattern, np.ndarray] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    too_long: float = 0.0
    before: float = 0.0
    epochs: int = 0
    planned: int = 0


class Watch(Callback):
    """Ends a training that would take longer than is allowed.

    One that is likely to take longer, as its first steps tell, ends there, and is to begin anew with the epochs that
    there is time for (`too_long`, `epochs`). One that goes on for longer than is likely ends at the last epoch after
    which there is time for what is learned anew, and counts as planned for so many.
    """

    def __init__(self, allowed: float) -> None:
        self.allowed, self.too_long, self.epochs, self.planned = allowed, 0.0, 0, 0
        self.before = self.likely = 0.0
        self.began = self._last = time.perf_counter()

    def on_first_steps(self) -> None:
        self._look()

    def on_epoch_end(self, epoch: Any) -> None:
        now = time.perf_counter()
        an_epoch, self._last = now - self._last, now
        if epoch.epoch == 1:  # later ones are sunk costs
            self._look()
        elif epoch.epoch > 1 and self.seconds_after + an_epoch > MARGIN * self.allowed - (now - self.began):
            self.planned = epoch.epoch
            self.stop()

    def _look(self) -> None:
        self.planned = self.n_epochs
        spent = time.perf_counter() - self.began  # linear paths were solved before
        allowed = self.allowed - spent
        if self.seconds_likely > allowed and not self.too_long:
            self.too_long, self.likely, self.before = self.seconds_left, self.seconds_likely, spent
            self.epochs = math.floor(self.n_epochs * MARGIN * max(0.0, allowed) / max(self.seconds_left, 1e-9))
            self.stop()


def attempt(task: FitTask, parent: int, parts: bytes) -> FitResult:
    begin(parent, parts)
    start, watch = time.perf_counter(), Watch(math.inf if task.allowed is None else task.allowed)
    metric = metric_named(task.metric, task.task, who="fit")
    with limit_threads(task.train.threads):
        try:
            if task.probes:
                task.member.make_features(task.path, task.sets)
                allowed = watch.allowed - (time.perf_counter() - start)
                if (expected := _expected(task, metric, allowed)) > allowed:
                    return FitResult(task.number, too_long=expected)
            predictor, inputs, sets = task.member.fit(task.path, task.sets, task.train, metric, (watch,))
            if watch.too_long:
                return FitResult(
                    task.number, too_long=watch.too_long, before=watch.before, epochs=watch.epochs,
                    planned=watch.planned,
                )  # fmt: skip
            if not len(loaded(task.path).split.test):
                taken = time.perf_counter() - start
                return FitResult(task.number, predictor, sets=sets, seconds=taken, planned=watch.planned)
            held = {p: predictor.predict_encoded(hide(inputs, [n for n in p if n in inputs])) for p in task.patterns}
        except ProfuseError as error:
            return FitResult(task.number, reason=str(error))
    return FitResult(task.number, predictor, held, sets, time.perf_counter() - start, planned=watch.planned)


def look(task: FitTask, parent: int, parts: bytes) -> tuple[str, float | None]:
    """Returns the member's name, and the seconds that a fit takes: by its first steps, or on a share of the rows.

    Linear paths that are solved, and features that are made, are kept for the fits. None where it cannot be fitted,
    of which its fit will tell.
    """
    begin(parent, parts)
    start, watch = time.perf_counter(), Watch(0.0)
    metric = metric_named(task.metric, task.task, who="fit")
    with limit_threads(task.train.threads):
        try:
            if task.member.model is not None:
                task.member.fit(task.path, task.sets, task.train, metric, (watch,))
                return task.member.name, watch.before + watch.likely
            task.member.make_features(task.path, task.sets)
            made = time.perf_counter() - start
            return task.member.name, made + _expected(task, metric)
        except ProfuseError:
            return task.member.name, None


def _expected(task: FitTask, metric: Metric, allowed: float | None = None) -> float:
    """Returns the seconds that a classical model, which cannot be stopped, takes, by a fit to a share of the rows.

    Its features are there, made of all rows, so that what they take is not multiplied. As many times as that share, or,
    where that is more than is allowed, by a smaller share too: part of the time does not grow with the rows.

    Args:
        task: The fit.
        metric: By which it chooses.
        allowed: Seconds, of which the answer need only tell whether they are enough: it is rather too large. None: it
            is to be near, of few rows at little cost.
    """

    def seconds(every: int) -> float:
        start = time.perf_counter()
        task.member.fit(task.path, task.sets, task.train, metric, every=every)
        return time.perf_counter() - start

    try:
        share = seconds(_PROBE)
    except ProfuseError:  # so few rows do not have what it needs: all do, or tell why not, as soon
        return 0.0
    if allowed is not None and (share > allowed or _PROBE * share <= allowed):
        return _PROBE * share
    if allowed is None and len(loaded(task.path).split.train) < _FEW:
        return (1 + _PROBE) / 2 * share
    try:
        less = seconds(_PROBE**2)
    except ProfuseError:  # so few rows do not have what it needs
        return _PROBE * share
    return min(_PROBE * share, share + _PROBE * max(0.0, share - less))
