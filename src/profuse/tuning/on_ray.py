"""Trials on a Ray cluster: any machine of it fits them, and this process alone asks the search and tells it.

The prepared rows go into Ray's object store once. A worker is given the options of a trial; at every step at which a
local trial is held against others it asks this process whether to go on, and waits for the answer. So the storage is a
file of this machine, and what is tried and what ends early is decided as in a local search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from profuse._saving import scratch
from profuse.cluster.joining import joined_pool
from profuse.cluster.options import EngineOptions
from profuse.cluster.pool import Asks, RayPool
from profuse.training.options import TrainOptions
from profuse.training.scratch import keep
from profuse.tuning.ray_trials import Key, board_class, judge_there
from profuse.tuning.search import Event, Plan, next_trial
from profuse.tuning.storage import Claims, Search
from profuse.tuning.trial import Outcome, Tried, begin_trial, give_back, settle, settling, stops

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["RayTrials", "opened_trials"]

_POLL = 1.0  # seconds between looks where nothing is asked


@contextmanager
def opened_trials(
    options: EngineOptions, train: TrainOptions, n_jobs: int | None, tell: Callable[[Event], None]
) -> Iterator[RayTrials | None]:
    """Gives what does trials on a cluster, ready to begin; None where processes of this machine do them.

    Args:
        options: What is asked for.
        train: How a network is trained: its threads and its device.
        n_jobs: Trials at a time; as many as there is room for if None.
        tell: Told where the trials are done, if not here.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: There is no such cluster, or a trial finds no room in it.
    """
    if options.engine == "local":
        yield None
        return
    asks = Asks(options, train, n_jobs, who="tune", doing="tuning", what="trial")
    with joined_pool(asks, board_class, lambda said: tell(Event("cluster", 0, 0, said=said))) as pool:
        yield RayTrials(pool)


@dataclass(eq=False)
class _Running:
    """A trial that a worker does; `steps` are those that were kept."""

    search: Search
    trial: Trial
    tried: Tried
    steps: set[int] = field(default_factory=set)

    @property
    def key(self) -> Key:
        return self.search.name, self.trial.number

    @property
    def name(self) -> str:
        return f"{self.search.name}, trial {self.trial.number}"


class RayTrials:
    """Does trials on the cluster that this process has joined; see `Elsewhere`.

    Args:
        pool: Room on it.
    """

    def __init__(self, pool: RayPool) -> None:
        self._pool = pool
        self._parts: Any = None
        self._asked: Any = None  # the call under way that brings what trials ask
        self.n_jobs, self.notes = pool.n_jobs, pool.notes

    def work(self, searches: Sequence[Search], plan: Plan, claims: Claims, done: Callable[[], None]) -> None:
        """Does trials until no more is to be begun; those that run when it is left early are queued again."""
        pool, ray = self._pool, self._pool.ray
        self._parts = self._parts or self._put(plan)
        shared, bare = pool.shared(), replace(plan.under, parts=(), tell=None)
        running: dict[Any, _Running] = {}
        self._asked = self._asked or pool.board.asked.remote()
        try:
            while True:
                while len(running) < self.n_jobs and (begun := next_trial(searches, plan, claims)) is not None:
                    with settling(*begun):
                        new = _Running(*begun, begin_trial(*begun, plan.under))
                        ref = pool.submit(
                            judge_there, new.key, new.tried, bare, shared, [self._parts], pool.board, name=new.name
                        )
                        running[ref] = new
                if not running:
                    return
                ready, _ = ray.wait([self._asked, *running], timeout=_POLL)
                for ref in ready:
                    if ref == self._asked:
                        self._answer(ray.get(ref), running, plan)
                        self._asked = pool.board.asked.remote()
                    else:
                        self._taken(ref, running.pop(ref), plan)
                        done()
        finally:
            pool.board.release.remote()
            ray.wait([self._asked], timeout=_POLL)  # a call under way when its actor ends is an error that Ray prints
            pool.cancel(running)
            for left in running.values():
                give_back(left.search, left.trial)

    def _put(self, plan: Plan) -> Any:
        """Has the rows in the object store, and memory kept by their size."""
        with scratch() as folder:
            keep(path := folder / "parts", list(plan.under.parts))
            self.n_jobs = self._pool.at_once(path.stat().st_size)
            return self._pool.put(path)

    def _answer(self, asked: Sequence[tuple[Key, int, float]], running: dict[Any, _Running], plan: Plan) -> None:
        """Keeps what trials have come to, and tells each whether it ends here."""
        now = {one.key: one for one in running.values()}
        for key, step, error in asked:
            one = now.get(key)
            ends = True  # of a worker whose trial is over, as it was lost and begun again
            if one is not None:
                ends = stops(one.search, one.trial, plan.under, one.tried, step, None if step in one.steps else error)
                one.steps.add(step)
            self._pool.board.answer.remote(key, step, ends)

    def _taken(self, ref: Any, one: _Running, plan: Plan) -> None:
        """Tells the search what has come of a trial."""
        with settling(one.search, one.trial):
            outcome: Outcome = self._pool.result(ref, one.name)
            settle(one.search, one.trial, outcome, plan.under.metric)
