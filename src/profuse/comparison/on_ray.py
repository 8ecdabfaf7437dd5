"""Fits of a comparison on a Ray cluster: any machine of it does them, and this one keeps what they leave.

The prepared data of a seed go into Ray's object store once; the first fit on a machine that needs them leaves them in
a temporary folder there, where the fits of that machine share linear paths and features as local processes do. A fit
comes back as the bytes of its folder, which this process puts in its place, whole or not at all.
"""

from __future__ import annotations

import io
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from profuse._saving import new_folder
from profuse.cluster.joining import joined_pool
from profuse.cluster.options import EngineOptions
from profuse.cluster.pool import Asks, RayPool
from profuse.comparison.jobs import Job
from profuse.comparison.ray_fits import Fitted, board_class, fit
from profuse.comparison.runner import Attempt, LocalRunner, Runner
from profuse.comparison.running import Event
from profuse.training.options import TrainOptions

__all__ = ["RayRunner", "opened_runner"]

_POLL = 1.0  # seconds between looks


@contextmanager
def opened_runner(
    options: EngineOptions, train: TrainOptions, n_jobs: int | None, scratch: Path, tell: Callable[[Event], None]
) -> Iterator[Runner]:
    """Gives what does the fits, ready to begin; what was started for it is stopped in the end.

    Args:
        options: What is asked for.
        train: How a fit is trained: its threads and its device.
        n_jobs: Fits at a time; as many as there is room for if None.
        scratch: The folder of temporary files of this run.
        tell: Told where the fits are done, if not here.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: There is no such cluster, or a fit finds no room in it.
    """
    if options.engine == "local":
        yield LocalRunner(train.threads, n_jobs, scratch)
        return
    asks = Asks(options, train, n_jobs, who="compare", doing="comparing")
    with joined_pool(asks, board_class, lambda said: tell(Event("cluster", 0, 0, said=said))) as pool:
        yield RayRunner(pool, n_jobs)


class RayRunner:
    """Does fits on the cluster that this process has joined; see `Runner`.

    Args:
        pool: Room on it.
        n_jobs: Fits at a time; as many as there is room for if None.
    """

    def __init__(self, pool: RayPool, n_jobs: int | None) -> None:
        self._pool, self._asked = pool, n_jobs
        self._put: dict[Path, Any] = {}
        self._beats: tuple[dict[str, Any], ...] = ()
        self.n_jobs, self.n_local, self.notes = pool.n_jobs, pool.n_local, pool.notes

    def at_once(self, jobs: Sequence[Job]) -> int:
        """See `Runner`."""
        largest = max((job.prepared.stat().st_size for job in jobs), default=0)
        return min(self._pool.at_once(largest), len(jobs))

    @contextmanager
    def attempts(self, jobs: Sequence[Job], n_jobs: int) -> Iterator[Iterator[Attempt]]:
        """See `Runner`."""
        shared = self._pool.shared()
        running: dict[Any, Job] = {}
        try:
            yield self._outputs(deque(jobs), running, shared)
        finally:
            self._pool.cancel(running)
            self._put.clear()  # the store is free again

    def _outputs(self, waiting: deque[Job], running: dict[Any, Job], shared: Any) -> Iterator[Attempt]:
        while waiting or running:
            while waiting and (self._asked is None or len(running) < self._asked):
                job = waiting.popleft()
                running[self._submitted(job, shared)] = job
            ready, _ = self._pool.ray.wait(list(running), timeout=_POLL)
            for ref in ready:
                yield self._taken(running.pop(ref), ref)

    def _submitted(self, job: Job, shared: Any) -> Any:
        if job.prepared not in self._put:
            self._put[job.prepared] = self._pool.put(job.prepared)
        # a reference in a list is not looked up before the fit asks for it: most find the file
        return self._pool.submit(fit, job, shared, [self._put[job.prepared]], self._pool.board, name=_name(job))

    def _taken(self, job: Job, ref: Any) -> Attempt:
        """Returns what has become of a job, once its folder is in its place."""
        fitted: Fitted = self._pool.result(ref, _name(job))
        if not fitted.reason:
            with new_folder(job.folder) as folder, tarfile.open(fileobj=io.BytesIO(fitted.folder)) as packed_folder:
                packed_folder.extractall(folder, filter="data")
        return job, fitted.reason, fitted.seconds

    def beats(self) -> tuple[dict[str, Any], ...]:
        """See `Runner`."""
        pool = self._pool
        with suppress(pool.ray.exceptions.RayError):  # a display that stands still must not end a comparison
            self._beats = tuple(pool.ray.get(pool.board.read.remote(), timeout=_POLL))
        return self._beats


def _name(job: Job) -> str:
    return f"{job.method.name}, seed {job.seed}"
