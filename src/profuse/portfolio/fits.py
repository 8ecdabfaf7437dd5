"""The fits of a portfolio: each model to each fold, in as many processes as are allowed, as far as time allows."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from profuse._workers import outputs_of, packed
from profuse.errors import DataError, ProfuseError
from profuse.metrics import Metric
from profuse.portfolio.attempt import MARGIN, FitResult, FitTask, attempt
from profuse.portfolio.cut import Cut
from profuse.portfolio.members import Member
from profuse.portfolio.patterns import Pattern
from profuse.predictor import Predictor
from profuse.training.options import TrainOptions

__all__ = ["Event", "Fits", "Fitted", "score_of"]

_FEWEST_EPOCHS = 1  # a network begins as its linear paths
_RESERVED = 1 / 3  # of the time of all fits, kept for the first network
_SHORT = 1.5  # epochs, that a network needs with what comes before and after them
_TURN = 0.5  # of the time that is left, a model may take
_WORTH_AGAIN = 2 / 3  # of its epochs, from which on a network is trained once more in the time that is left


@dataclass(frozen=True)
class Event:
    """Where a portfolio is: told to `on_event`.

    Attributes:
        stage: "prepare" (folds), "fit", "member" (one is done, or left out), "select", "distil" (a network learns)
            or "done".
        n_done: Fits that are done or left out.
        n_total: Fits in all.
        member: Which model is fitted.
        left: Seconds until all its fits are done, about; None before that can be told.
        score: Of a member that is done: of held-out rows.
        seconds: What its fits took.
        skipped: Why it is left out.
    """

    stage: str
    n_done: int = 0
    n_total: int = 0
    member: str = ""
    left: float | None = None
    score: float | None = None
    seconds: float = 0.0
    skipped: str = ""


@dataclass(eq=False)
class Fitted:
    """A member whose fits are done.

    Attributes:
        member: What was fitted.
        predictors: One a fold; one alone where all rows are fitted to.
        held: What was predicted of held-out rows, by pattern, `[row, output]`.
        seconds: Of all its fits.
        needs: Seconds that it would take at least, where there was not time enough.
        epochs: Of a network: the most that its fits were to have; those that the shortest of them was given.
    """

    member: Member
    predictors: list[Predictor] = field(default_factory=list)
    held: dict[Pattern, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    needs: float = 0.0
    epochs: tuple[int, int] = (0, 0)

    @property
    def measured(self) -> np.ndarray:
        """What its score is told by: of held-out rows, by a trivial model one answer for all.

        Its answers differ from fold to fold, by what the others lack: they rank rows against the target.
        """
        held = self.held[()]
        return np.broadcast_to(held.mean(0), held.shape) if self.member.is_trivial else held

    @property
    def note(self) -> str:
        """Says that its training was made shorter; "" if it was not."""
        most, given = self.epochs
        if given == most:
            return ""
        return f"{self.member.name} is trained for at most {given} epochs instead of {most}, as time was limited."


def _at_most(epochs: int, train: TrainOptions) -> TrainOptions:
    return train.model_copy(update={"epochs": epochs if train.epochs is None else min(train.epochs, epochs)})


def score_of(metric: Metric, true: np.ndarray, prediction: np.ndarray) -> float | None:
    """Returns the score; None where it is not defined."""
    try:
        return metric(true, prediction)
    except DataError:
        return None


@dataclass(eq=False)
class Fits:
    """Fits members to folds.

    Args:
        cut: The folds.
        members: In this order.
        patterns: Modalities that are hidden in held-out rows, and predicted again.
        train: Of networks.
        metric: That counts.
        deadline: By `time.perf_counter`; None: there is none.
        n_jobs: Fits at a time.
        tell: Told of progress.

    Attributes:
        sets: By fold, the features that each modality's own classical model has chosen, and how many they are.
        shared: By fold, fitted parts that its predictors share.
        needs: Seconds that the quickest of those needs for which there was no time, as far as it is known.
    """

    cut: Cut
    members: Sequence[Member]
    patterns: Sequence[Pattern]
    train: TrainOptions
    metric: Metric
    deadline: float | None
    n_jobs: int
    tell: Callable[[Event], None]
    sets: dict[int, dict[str, tuple[str, int]]] = field(default_factory=dict)
    shared: dict[int, dict[Any, Any]] = field(default_factory=dict)
    needs: float | None = None
    _parts: bytes = b""

    def run(self) -> tuple[list[Fitted], dict[str, str]]:
        """Returns the members that were fitted, and why others were not.

        Raises:
            ProfuseError: There is none.
        """
        fitted: list[Fitted] = []
        skipped: dict[str, str] = {}
        self._parts = packed() if self.n_jobs > 1 else b""
        late: list[Fitted] = []
        network = next((i for i, member in enumerate(self.members) if member.model is not None), -1)
        reserved = 0.0 if self.deadline is None else _RESERVED * (self.deadline - time.perf_counter())
        for i, member in enumerate(self.members):
            now = time.perf_counter()
            until = math.inf if self.deadline is None or not fitted else self.deadline
            if i + 1 < len(self.members):  # others are to have their turn
                kept = reserved if i < network else 0.0
                least = reserved if i == network else 0.0
                until = min(until, max(now + _TURN * (until - kept - now), now + least))
            result = self._one(member, i, until, fitted, skipped)
            late += [result] if result.needs else []
        self.needs = min((result.needs for result in late), default=None)
        for result in sorted(late, key=lambda r: r.member.model is None):  # all that is left is theirs, networks first
            if self.deadline is not None and result.needs < self.deadline - time.perf_counter():
                self._one(
                    result.member, self.members.index(result.member), self.deadline, fitted, skipped, probes=False
                )
        if not fitted:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise ProfuseError(f"fit: at least one model must be fitted; none was. {reasons}")
        self._again(fitted)
        return fitted, skipped

    def _again(self, fitted: list[Fitted]) -> None:
        """Trains a network that had fewer epochs once more, for as many as time is left, and adds it to those fitted.

        It begins anew, from another seed, and is a member beside the first one: held-out rows weigh both.
        """
        if self.deadline is None:
            return
        for first in [f for f in fitted if f.epochs[1] < f.epochs[0]]:
            most, given = first.epochs
            an_epoch = max(first.seconds, 1e-9) / given
            n_epochs = min(most, math.floor(MARGIN * (self.deadline - time.perf_counter()) / an_epoch))
            if n_epochs < _WORTH_AGAIN * given:
                continue
            train = _at_most(n_epochs, self.train.model_copy(update={"seed": self.train.seed + 1}))
            again = replace(first.member, name=f"{first.member.name} (again)")
            result = Fitted(again, epochs=(most, 0))
            at = (self.members.index(first.member) + 1) * self._n_fits
            if not self._fit(result, at - self._n_fits, self.deadline, train):
                self._add(result, at, fitted)

    def _add(self, result: Fitted, n_done: int, fitted: list[Fitted]) -> None:
        """Adds a member to those fitted, and tells its score."""
        fitted.append(result)
        score = score_of(self.metric, self.cut.true, result.measured)
        self.tell(Event("member", n_done, self._n_total, result.member.name, score=score, seconds=result.seconds))

    def _one(
        self, member: Member, i: int, until: float, fitted: list[Fitted], skipped: dict[str, str], probes: bool = True
    ) -> Fitted:
        """Fits a member, and adds it to those fitted, or to those that are not with the reason; tells that."""
        result = Fitted(member)
        reason = self._fit(result, i * self._n_fits, until, self.train, probes=probes)
        n_done = (i + 1) * self._n_fits
        skipped.pop(member.name, None)
        if reason:
            skipped[member.name] = reason
            self.tell(Event("member", n_done, self._n_total, member.name, seconds=result.seconds, skipped=reason))
        else:
            self._add(result, n_done, fitted)
        return result

    @property
    def _n_fits(self) -> int:
        return len(self.cut.folds) + (self.cut.whole is not None)

    @property
    def _n_total(self) -> int:
        return self._n_fits * len(self.members)

    def _fit(self, result: Fitted, n_done: int, until: float, train: TrainOptions, *, probes: bool = True) -> str:
        """Fits a member to all folds until then; returns why it is left out, or "".

        A classical model is first seen on a share of the rows, unless it was (`probes`).
        """
        member, start = result.member, time.perf_counter()
        folds = [*self.cut.folds, *([] if self.cut.whole is None else [self.cut.whole])]
        found: dict[int, FitResult] = {}
        while todo := [j for j in range(len(folds)) if j not in found]:
            left, remaining = self._left(found, len(folds)), until - time.perf_counter()
            if remaining <= 0:
                return "no time was left for it"
            if remaining < (left or 0.0):
                fewer = math.floor(min(r.planned for r in found.values()) * MARGIN * remaining / (left or 1.0))
                if fewer < _FEWEST_EPOCHS:
                    result.needs = left or 0.0
                    return f"its fits would take {left or 0.0:.0f} s more; {max(0.0, remaining):.0f} s were left for it"
                train = _at_most(fewer, train)
            rounds = math.ceil(len(todo) / self.n_jobs)
            allowed = None if math.isinf(remaining) else remaining / max(1, rounds)
            self.tell(Event("fit", n_done + len(found), self._n_total, member.name, left))
            tasks = [
                FitTask(
                    member, j, folds[j].path, self.sets.setdefault(j, {}), train, self.metric.name,
                    self.cut.codec.task, tuple(self.patterns), allowed,
                    probes and allowed is not None and not found and member.model is None,
                )
                for j in (todo if found else todo[: self.n_jobs])  # the first fits are timed before the others begin
            ]  # fmt: skip
            for output in self._outputs(tasks):
                if output.reason:
                    return output.reason
                if output.too_long:
                    if output.epochs < _FEWEST_EPOCHS:
                        shortest = 1.0 if member.model is None else _SHORT / max(1, output.planned)
                        result.needs = (output.before + output.too_long * shortest) * rounds
                        whole = output.before + output.too_long
                        return f"a fit would take {whole:.0f} s; {allowed or 0.0:.0f} s were left for it"
                    result.epochs = max(result.epochs[0], output.planned), 0
                    train = _at_most(output.epochs, train)
                    continue
                found[output.number] = output
                self.tell(Event("fit", n_done + len(found), self._n_total, member.name, self._left(found, len(folds))))
        each = [found[j] for j in range(len(folds))]
        most = max(result.epochs[0], *(output.planned for output in each))
        result.epochs = most, min(output.planned for output in each)
        for j, output in enumerate(each):
            assert output.predictor is not None
            result.predictors.append(output.predictor.sharing(self.shared.setdefault(j, {})))
            self.sets[j] |= output.sets
        if self.cut.whole is not None:
            result.predictors = result.predictors[-1:]
        result.held = {p: np.concatenate([r.held[p] for r in each[: len(self.cut.folds)]]) for p in self.patterns}
        result.seconds = time.perf_counter() - start
        return ""

    def _left(self, found: Mapping[int, FitResult], n_folds: int) -> float | None:
        """Returns the seconds that the other fits of a member take, by those that are done."""
        if not found:
            return None
        each = sum(r.seconds for r in found.values()) / len(found)
        return each * math.ceil((n_folds - len(found)) / self.n_jobs)

    def _outputs(self, tasks: Sequence[FitTask]) -> Iterator[FitResult]:
        todo = [(task, os.getpid(), self._parts) for task in tasks]
        if self.n_jobs == 1 or len(tasks) == 1:
            yield from (attempt(*args) for args in todo)
            return
        with outputs_of(attempt, todo, self.n_jobs, who="fit") as outputs:
            # through a generator of its own: theirs is not closed before it may cancel work without a warning
            yield from (output for output in outputs)
