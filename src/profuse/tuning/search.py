"""The searches of all fusions: they take turns, so that each has as many trials as the others, in any processes."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from profuse._saving import scratch
from profuse._workers import begin, outputs_of, packed
from profuse.metrics import Metric
from profuse.models.solved import Solved
from profuse.training.fitting import Prepared
from profuse.training.history import Epoch
from profuse.training.scratch import keep
from profuse.tuning.space import Space
from profuse.tuning.storage import Claims, Search, counts, finished, open_search, open_storage
from profuse.tuning.trial import Under, run_trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Elsewhere", "Event", "Plan", "next_trial", "score_of_trial", "search_all"]

_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Event:
    """How far it is.

    Attributes:
        stage: "cluster" (trials are done on one), "begin", "trial" (one is done), "epoch" (of one that runs in this
            process), "wait" (for those of other processes), "test" (the best and the default options are fitted once
            more).
        n_done: Trials that are done, of all fusions.
        n_total: Trials that are asked for.
        fusion: Whose trial.
        number: Of it.
        score: Its validation score; None where it ended early, or failed.
        pruned: Whether it ended early.
        failed: Why it failed.
        best: The best validation score of the fusion so far.
        epoch: The epoch.
        left: Seconds that are left, about.
        said: Where trials are done.
    """

    stage: str
    n_done: int
    n_total: int
    fusion: str = ""
    number: int = -1
    score: float | None = None
    pruned: bool = False
    failed: str = ""
    best: float | None = None
    epoch: Epoch | None = None
    left: float | None = None
    said: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """What all processes of a search do.

    Attributes:
        path: The file of the storage.
        spaces: What is searched, by fusion.
        facts: What the search is of.
        n_trials: Of each fusion.
        under: What holds for all trials.
        n_jobs: Trials at a time.
    """

    path: Path
    spaces: Mapping[str, Space]
    facts: Mapping[str, str]
    n_trials: int
    under: Under
    n_jobs: int = 1

    def searches(self) -> list[Search]:
        """Returns the searches, begun or as they are."""
        storage = open_storage(self.path)
        return [open_search(storage, self.path, name, self.facts, space) for name, space in self.spaces.items()]


class Elsewhere(Protocol):
    """What does trials on other machines."""

    def work(self, searches: Sequence[Search], plan: Plan, claims: Claims, done: Callable[[], None]) -> None:
        """Does trials until no more is to be begun, and calls `done` after each."""


def search_all(
    plan: Plan, on_event: Callable[[Event], None] | None = None, elsewhere: Elsewhere | None = None
) -> list[Search]:
    """Does the trials that are not done, and waits for those of other processes.

    Args:
        plan: What is done.
        on_event: Told of progress; from another thread where there are several jobs.
        elsewhere: Does the trials; processes of this machine if None.
    """
    searches = plan.searches()
    progress = _Progress(plan, searches, on_event or (lambda event: None))
    progress.begin()
    with Claims.held(plan.path) as claims:
        while True:
            for search in searches:
                claims.clear_dead(search)
            if elsewhere is not None:
                elsewhere.work(searches, plan, claims, progress.look)
            elif plan.n_jobs == 1:
                _work(searches, replace(plan, under=replace(plan.under, tell=progress.epoch)), claims, progress.look)
            elif _todo(searches, plan):
                with progress.watching():
                    _in_processes(plan)
            progress.look()
            if plan.under.is_late() or not any(t.state.name == "RUNNING" for s in searches for t in s.trials):
                if plan.under.is_late() or not _todo(searches, plan):
                    return searches
                continue
            progress.wait()
            time.sleep(_POLL_SECONDS)


def _claimed(search: Search) -> int:
    return sum(counts(t) and t.state.name != "WAITING" for t in search.trials)


def _todo(searches: Sequence[Search], plan: Plan) -> bool:
    return any(_claimed(search) < plan.n_trials for search in searches)


def next_trial(searches: Sequence[Search], plan: Plan, claims: Claims) -> tuple[Search, Trial] | None:
    """Returns the next trial, of the fusion that has fewest; None where no more is to be begun."""
    for search in searches:
        claims.clear_dead(search)
    late = plan.under.is_late()
    for search in sorted(searches, key=_claimed):
        if late and _claimed(search):
            continue
        trial = claims.next_of(search, plan.n_trials, plan.under.seed)
        if trial is not None:
            return search, trial
    return None


def _work(searches: Sequence[Search], plan: Plan, claims: Claims, done: Callable[[], None]) -> None:
    """Does one trial after the other, until no more is to be begun."""
    while (begun := next_trial(searches, plan, claims)) is not None:
        run_trial(*begun, plan.under)
        done()


def _in_processes(plan: Plan) -> None:
    """Does trials in processes of their own, which share the storage."""
    with scratch() as folder:
        kept = folder / "prepared"
        parts = [p.sharing(Solved(folder / f"{i}.solved")) for i, p in enumerate(plan.under.parts)]
        keep(kept, parts)
        bare = replace(plan, under=replace(plan.under, parts=(), tell=None))
        todo = [(bare, kept, os.getpid(), packed()) for _ in range(plan.n_jobs)]
        with outputs_of(_worker, todo, plan.n_jobs, who="tune") as outputs:
            for _ in outputs:
                pass


def _worker(plan: Plan, kept: Path, parent: int, registered: bytes) -> None:
    begin(parent, registered)
    # a temporary file of this very run: never a user's
    parts: list[Prepared] = pickle.loads(kept.read_bytes())
    plan = replace(plan, under=replace(plan.under, parts=parts))
    with Claims.held(plan.path) as claims:
        _work(plan.searches(), plan, claims, lambda: None)


@dataclass(eq=False)
class _Progress:
    """Tells what is done, and how long the rest takes."""

    plan: Plan
    searches: Sequence[Search]
    on_event: Callable[[Event], None]
    seen: set[tuple[str, int]] = field(default_factory=set)
    began: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Tells what an earlier run has done."""
        self.seen = {(s.name, t.number) for s in self.searches for t in s.trials if _is_done(t)}
        self._tell("begin")

    def look(self) -> None:
        """Tells of trials that were done since it looked last."""
        metric = self.plan.under.metric
        with self.lock:
            new = [
                (s, t) for s in self.searches for t in s.trials if _is_done(t) and (s.name, t.number) not in self.seen
            ]
            for search, trial in new:
                self.seen.add((search.name, trial.number))
                score, best = score_of_trial(trial, metric), _best(search, metric)
                self._tell(
                    "trial", fusion=search.name, number=trial.number, score=score, best=best,
                    pruned=trial.state.name == "PRUNED", failed=str(trial.user_attrs.get("failed", "")),
                )  # fmt: skip
            if new:
                self.began = time.perf_counter()

    def epoch(self, part: int, epoch: Epoch, left: float) -> None:
        """Tells of an epoch in this process."""
        fusion, number = next(
            ((s.name, t.number) for s in self.searches for t in s.trials if t.state.name == "RUNNING"), ("", -1)
        )
        n_parts = len(self.plan.under.parts)
        self._tell("epoch", fusion=fusion, number=number, epoch=epoch, under_way=left * (n_parts - part))

    def wait(self) -> None:
        """Tells that other processes are not done."""
        self._tell("wait")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks within it, from another thread."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_POLL_SECONDS):
                self.look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell(self, stage: str, *, under_way: float | None = None, **facts: object) -> None:
        n_total, n_done = self.plan.n_trials * len(self.searches), len(self.seen)
        left = self._left(max(0, n_total - n_done), under_way)
        self.on_event(Event(stage, n_done, max(n_total, n_done), left=left, **facts))  # type: ignore[arg-type]

    def _left(self, n_open: int, under_way: float | None) -> float | None:
        """Returns about how many seconds are left: as many for each open trial as the mean of those that are done."""
        took = [t.user_attrs.get("seconds") for s in self.searches for t in s.trials if finished(t)]
        known = [seconds for seconds in took if isinstance(seconds, float)]
        if not known and under_way is None:
            return None
        now = under_way if under_way is not None and np.isfinite(under_way) else 0.0
        each = float(np.mean(known)) if known else now
        left = n_open * each / self.plan.n_jobs if under_way is None else now + max(0, n_open - 1) * each
        until = self.plan.under.until
        return left if until is None else min(left, max(0.0, until - time.time()))


def _is_done(trial: FrozenTrial) -> bool:
    return finished(trial) or (trial.state.name == "FAIL" and counts(trial))


def score_of_trial(trial: FrozenTrial, metric: Metric) -> float | None:
    """Returns its validation score; None where it ended early, or failed."""
    if trial.state.name != "COMPLETE" or trial.value is None:
        return None
    return float(-trial.value if metric.higher_is_better else trial.value)


def _best(search: Search, metric: Metric) -> float | None:
    scores = [s for t in search.trials if (s := score_of_trial(t, metric)) is not None]
    return (max if metric.higher_is_better else min)(scores, default=None)
