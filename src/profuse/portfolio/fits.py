"""The fits of a portfolio: each model to each fold, in as many processes as are allowed, as far as time allows."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from profuse._workers import outputs_of, packed
from profuse.errors import DataError, ProfuseError
from profuse.metrics import Metric
from profuse.portfolio.attempt import MARGIN, FitResult, FitTask, attempt, look
from profuse.portfolio.cut import Cut
from profuse.portfolio.fitted import Event, Fitted
from profuse.portfolio.members import Member
from profuse.portfolio.patterns import Pattern
from profuse.portfolio.time_left import seconds_left
from profuse.training.options import TrainOptions

__all__ = ["Fits", "score_of"]

T = TypeVar("T")

_FEWEST_EPOCHS = 1  # a network begins as its linear paths
_FEWEST_ROWS = 200  # held out, by which models are chosen where there is no time for all folds
_RESERVED = 1 / 3  # of the time of all fits, kept for the first network
_SHORT = 1.5  # epochs, that a network needs with what comes before and after them
_TURN = 0.5  # of the time that is left, a model may take
_WORTH_AGAIN = 2 / 3  # of its epochs, from which on a network is trained once more in the time that is left


def _at_most(epochs: int, train: TrainOptions) -> TrainOptions:
    return train.model_copy(update={"epochs": epochs if train.epochs is None else min(train.epochs, epochs)})


def score_of(metric: Metric, true: np.ndarray, prediction: np.ndarray) -> float | None:
    """Returns the score; None where it is not defined."""
    try:
        return metric(true, prediction)
    except DataError:
        return None


def _seconds(needed: float, left: float) -> tuple[str, str]:
    """Returns both in words, to a tenth of a second where they are short or near to one another."""
    near = needed < left + 1
    in_words = [f"{value:.1f} s" if near or value < 9.95 else f"{value:.0f} s" for value in (needed, left)]
    return in_words[0], in_words[1]


def _learned(fitted: Sequence[Fitted]) -> bool:
    """Tells whether there is a model besides the trivial one."""
    return any(not result.member.is_trivial for result in fitted)


@dataclass(eq=False)
class Fits:
    """Fits members to folds.

    Without a deadline each member fits to all folds. Else it has a turn, and in it fits to `half` of them; a network
    may have less, `few` at least. What was left out is tried again with the time that others have left, then the
    members with the fewest folds are fitted to further ones. All that is judged and predicted by is of the folds that
    all members have in the end.

    Args:
        cut: The folds.
        members: In this order.
        patterns: Modalities that are hidden in held-out rows, and predicted again.
        train: Of networks.
        metric: That counts.
        deadline: By `time.perf_counter`; None: there is none.
        n_jobs: Fits at a time.
        tell: Told of progress.
        looks: Whether, without a deadline, it is first seen how long each model takes, and told.

    Attributes:
        order: Of folds, in which they are fitted to; where all rows are fitted to, that is the first one, and the
            others follow from the latest on.
        few: Folds at least, in this order: `_FEWEST_ROWS` are held out in them, or there are no more.
        half: Of the folds, or as many as are needed: they are fitted to in a turn, further ones after all turns.
        sets: By fold, the features that each modality's own classical model has chosen, and how many they are.
        needs: Seconds for half of the folds that the quickest of those needs for which there was no time, as far as
            that is known.
    """

    cut: Cut
    members: Sequence[Member]
    patterns: Sequence[Pattern]
    train: TrainOptions
    metric: Metric
    deadline: float | None
    n_jobs: int
    tell: Callable[[Event], None]
    looks: bool = False
    order: tuple[int, ...] = field(init=False)
    few: int = field(init=False)
    half: int = field(init=False)
    sets: dict[int, dict[str, tuple[str, int]]] = field(init=False, default_factory=dict)
    needs: float | None = field(init=False, default=None)
    _parts: bytes = field(init=False, default=b"")
    _looked: dict[str, float] = field(init=False, default_factory=dict)  # seconds of a fit, by member
    _begun: dict[str, Fitted] = field(init=False, default_factory=dict)
    _over: set[str] = field(init=False, default_factory=set)  # members that are not fitted further, for now

    def __post_init__(self) -> None:
        n_folds, by_time = len(self.cut.folds), self.cut.whole is not None
        self.order = tuple(range(n_folds, -1, -1) if by_time else range(n_folds))
        n_held = np.bincount(self.cut.fold_of, minlength=n_folds + 1)[list(self.order)].cumsum()
        self.few = min(int((n_held < _FEWEST_ROWS).sum()) + 1, len(self.order))
        self.half = max(self.few, math.ceil(len(self.order) / 2))

    def run(self) -> tuple[list[Fitted], dict[str, str], Cut]:
        """Returns the members that were fitted, why others were not, and the folds that all those were fitted to.

        Raises:
            ProfuseError: There is none.
        """
        fitted: list[Fitted] = []
        skipped: dict[str, str] = {}
        self._parts = packed() if self.n_jobs > 1 else b""
        if self.looks and self.deadline is None:
            self._look()
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
            result = Fitted(member, self.train)
            most = len(self.order) if math.isinf(until) else self.half
            self._one(result, i, until, fitted, skipped, most, self._fewest(member))
            late += [result] if result.needs else []
        quickest = min(late, key=lambda result: result.needs, default=None)
        self.needs = None if quickest is None else quickest.needs * self._n_rounds(self.half)
        if self.deadline is not None:  # what is left of the time
            first = None if _learned(fitted) else quickest
            for result in sorted(late, key=lambda r: (r is not first, r.member.model is None)):  # networks first
                most = self._n_common(fitted)
                few = min(self._fewest(result.member) if _learned(fitted) else self.few, most)
                needs = result.needs * self._n_rounds(few - len(result.done)) - result.spared
                if needs < self.deadline - time.perf_counter():
                    i = self.members.index(result.member)
                    self._one(result, i, self.deadline, fitted, skipped, most, few, probes=False)
            if fitted:
                self._again(fitted, self.deadline)
                self._more_folds(fitted, self.deadline)
        if not fitted:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
            raise ProfuseError(f"fit: at least one model must be fitted; none was. {reasons}")
        return fitted, skipped, self._kept(fitted)

    def _look(self) -> None:
        """Sees how long a fit of each model takes, and tells how long all will."""
        path, n = self.cut.folds[-1].path, len(self.members)
        tasks = [
            FitTask(member, 0, path, {}, self.train, self.metric.name, self.cut.codec.task, (), None, probes=True)
            for member in self.members
        ]
        self.tell(Event("look", 0, n))
        for done, (name, seconds) in enumerate(self._each(look, tasks), 1):
            self._looked |= {} if seconds is None else {name: seconds}
            self.tell(Event("look", done, n))
        self._over |= {member.name for member in self.members} - self._looked.keys()  # their fits will tell why
        self._tell("plan", 0)
        self._over.clear()

    def _tell(self, stage: str, n_done: int, **about: Any) -> None:
        names = [member.name for member in self.members]
        left = seconds_left(names, len(self.order), self.n_jobs, self._begun, frozenset(self._over), self._looked)
        limit = math.inf if self.deadline is None else max(0.0, self.deadline - time.perf_counter())
        at_most = limit < (math.inf if left is None else left)
        self.tell(Event(stage, n_done, self._n_total, left=limit if at_most else left, at_most=at_most, **about))

    def _kept(self, fitted: Sequence[Fitted]) -> Cut:
        """Keeps of all members the folds that each has; returns these."""
        common = self.order[: self._n_common(fitted)]
        folds = sorted(self._held_out(common))
        shared: dict[int, dict[Any, Any]] = {}  # by fold, fitted parts that predictors share
        for result in fitted:
            result.keep(folds)
            for fold in folds if self.cut.whole is None else common[:1]:
                predictor = result.done[fold].predictor
                assert predictor is not None
                result.predictors.append(predictor.sharing(shared.setdefault(fold, {})))
        return self.cut.of_folds(folds)

    def _held_out(self, folds: Sequence[int]) -> list[int]:
        """Returns those of the folds that hold rows out."""
        return [fold for fold in folds if fold < len(self.cut.folds)]

    def _n_common(self, fitted: Sequence[Fitted]) -> int:
        return min((result.n_done(self.order) for result in fitted), default=len(self.order))

    def _again(self, fitted: list[Fitted], deadline: float) -> None:
        """Trains a network that had fewer epochs once more, for as many as time is left, and adds it to those fitted.

        It begins anew, from another seed, and is a member beside the first one: held-out rows weigh both.
        """
        for first in [f for f in fitted if f.epochs[1] < f.epochs[0]]:
            most, given = first.epochs
            n_folds = self._n_common(fitted)
            an_epoch = max(first.an_epoch * self._n_rounds(n_folds), 1e-9)
            n_epochs = min(most, math.floor(MARGIN * (deadline - time.perf_counter()) / an_epoch))
            if n_epochs < _WORTH_AGAIN * given:
                continue
            train = _at_most(n_epochs, self.train.model_copy(update={"seed": self.train.seed + 1}))
            result = Fitted(replace(first.member, name=f"{first.member.name} (again)"), train, most=most)
            at = (self.members.index(first.member) + 1) * len(self.order)
            if not self._fit(result, at - n_folds, deadline, n_folds, n_folds):
                self._add(result, at, fitted)

    def _more_folds(self, fitted: Sequence[Fitted], deadline: float) -> None:
        """Fits the members with the fewest folds to further ones, as long as there is time for all of these."""
        while (n_folds := self._n_common(fitted)) < len(self.order):
            n_folds = min(n_folds + self.n_jobs, len(self.order))
            fewer = [result for result in fitted if result.n_done(self.order) < n_folds]
            if sum(result.a_fit for result in fewer) > MARGIN * (deadline - time.perf_counter()):
                return
            self._tell("more", self._n_total - len(self.order) + n_folds)
            for result in fewer:
                if result.member.model is not None:  # as those that are done
                    result.train = _at_most(result.epochs[1], result.train)
                if self._fit(result, self._n_total - n_folds, deadline, n_folds, n_folds, probes=False):
                    return

    def _fewest(self, member: Member) -> int:
        """Returns the folds that it must be fitted to: one more classical model is not worth most folds of all."""
        return self.half if member.model is None else self.few

    def _add(self, result: Fitted, n_done: int, fitted: list[Fitted]) -> None:
        """Adds a member to those fitted, and tells its score."""
        fitted.append(result)
        folds = sorted(self._held_out(self.order[: result.n_done(self.order)]))
        true = self.cut.true[np.isin(self.cut.fold_of, folds)]
        result.keep(folds)
        score = score_of(self.metric, true, result.measured)
        self._tell("member", n_done, member=result.member.name, score=score, seconds=result.seconds)

    def _one(
        self,
        result: Fitted,
        i: int,
        until: float,
        fitted: list[Fitted],
        skipped: dict[str, str],
        most: int,
        few: int,
        *,
        probes: bool = True,
    ) -> None:
        """Fits a member, and adds it to those fitted, or to those that are not with the reason; tells that."""
        name = result.member.name
        reason = self._fit(result, i * len(self.order), until, most, few, probes=probes)
        n_done = (i + 1) * len(self.order)
        skipped.pop(name, None)
        if reason:
            skipped[name] = reason
            self._over.add(name)
            again = "; it is tried again if others leave time" if probes and result.needs else ""
            self._tell("member", n_done, member=name, seconds=result.seconds, skipped=reason + again)
        else:
            self._add(result, n_done, fitted)

    def _n_rounds(self, n_folds: int) -> int:
        """Returns how often all processes fit, side by side, for so many folds; once at least."""
        return max(1, math.ceil(n_folds / self.n_jobs))

    @property
    def _n_total(self) -> int:
        return len(self.order) * len(self.members)

    def _fit(self, result: Fitted, n_before: int, until: float, most: int, few: int, *, probes: bool = True) -> str:
        """Fits a member to folds until then; returns why it is left out, or "".

        Args:
            result: What is done of it is not done again.
            n_before: Fits, of other members.
            until: By `time.perf_counter`.
            most: Folds that it is fitted to, in the order of fits.
            few: Folds that it needs. A network has fewer epochs if its first steps tell of too little time for half of
                all otherwise, or later on not to these.
            probes: Whether a classical model is first seen on a share of the rows.
        """
        start, result.needs = time.perf_counter(), 0.0
        self._begun[result.member.name] = result
        self._over.discard(result.member.name)
        reason = self._to_folds(result, n_before, until, most, few, probes)
        result.seconds += time.perf_counter() - start
        result.needs = result.needs if reason else 0.0
        return reason

    def _to_folds(self, result: Fitted, n_before: int, until: float, most: int, few: int, probes: bool) -> str:
        member, train, tried, began = result.member, result.train, False, time.perf_counter()
        folds = [*self.cut.folds, *([] if self.cut.whole is None else [self.cut.whole])]
        aim = max(few, min(most, self.half))
        while todo := [fold for fold in self.order[:most] if fold not in result.done]:
            n_done, remaining = result.n_done(self.order), until - time.perf_counter()
            enough = n_done >= few
            if remaining <= 0:
                spent = f" after a first try of {time.perf_counter() - began:.0f} s" if tried else ""
                return "" if enough else f"no time was left for it{spent}"
            n_rounds: float = math.inf  # in which all processes fit, that there is time for
            if result.done:
                n_rounds = math.inf if math.isinf(remaining) else math.floor(remaining / max(result.a_fit, 1e-9))
                missing = 0 if enough else self._n_rounds(few - n_done)
                if n_rounds < missing and member.model is not None:
                    planned = min(r.planned for r in result.done.values())
                    fewer = math.floor(planned * MARGIN * remaining / (missing * result.a_fit))
                    if fewer >= _FEWEST_EPOCHS:
                        train, n_rounds = _at_most(fewer, train), missing
                if n_rounds < missing:
                    result.needs = result.a_fit
                    needed, left_for_it = _seconds(missing * result.a_fit, remaining)
                    return f"its fits would take {needed} more; {left_for_it} were left for it"
                if n_rounds < 1:
                    return ""
            allowed = (
                None if math.isinf(remaining) else remaining / self._n_rounds((few if result.done else aim) - n_done)
            )
            # the first fits are timed before the others begin
            todo = todo if allowed is None and result.done else todo[: self.n_jobs]
            self._tell("fit", n_before + len(result.done), member=member.name)
            tasks = [
                FitTask(
                    member, j, folds[j].path, self.sets.setdefault(j, {}), train, self.metric.name,
                    self.cut.codec.task, tuple(self.patterns), allowed,
                    probes and allowed is not None and not result.done and member.model is None,
                )
                for j in todo
            ]  # fmt: skip
            aimed, tried = aim, True
            for output in self._outputs(tasks):
                if output.reason:
                    return output.reason
                if not output.too_long:
                    result.done[output.number] = output
                    self.sets[output.number] |= output.sets
                    self._tell("fit", n_before + len(result.done), member=member.name)
                    continue
                shortest = 1.0 if member.model is None else _SHORT / max(1, output.planned)
                before = result.paths[output.number] = max(output.before, result.paths.get(output.number, 0.0))
                result.needs = before + output.too_long * shortest
                if output.epochs >= _FEWEST_EPOCHS:
                    result.most = max(result.most, output.planned)
                    train = _at_most(output.epochs, train)
                elif enough:
                    return ""
                elif aimed > few:
                    aim = few
                else:
                    needed, left_for_it = _seconds(output.before + output.too_long, allowed or 0.0)
                    return f"a fit would take {needed}; {left_for_it} were left for it"
        return ""

    def _outputs(self, tasks: Sequence[FitTask]) -> Iterator[FitResult]:
        yield from self._each(attempt, tasks)

    def _each(self, do: Callable[[FitTask, int, bytes], T], tasks: Sequence[FitTask]) -> Iterator[T]:
        todo = [(task, os.getpid(), self._parts) for task in tasks]
        if self.n_jobs == 1 or len(tasks) == 1:
            yield from (do(*args) for args in todo)
            return
        with outputs_of(do, todo, self.n_jobs, who="fit") as outputs:
            # through a generator of its own: theirs is not closed before it may cancel work without a warning
            yield from (output for output in outputs)
