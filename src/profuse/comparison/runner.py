"""What does the fits of a comparison: here, processes of this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from profuse._cores import usable_cores
from profuse._workers import begin, outputs_of, packed
from profuse.comparison.jobs import Job, run_job
from profuse.errors import CheckpointError, ProfuseError

__all__ = ["LATE", "Attempt", "LocalRunner", "Runner", "attempt"]

LATE = "no time was left for it"
Attempt = tuple[Job, str, float]
"""A job that was done; why it failed, or ""; and its seconds."""


class Runner(Protocol):
    """What does fits, several at a time.

    Attributes:
        n_jobs: Fits at a time, at most.
        n_local: Processes that prepare the data on this machine.
        notes: What is to be told of where fits are done.
    """

    n_jobs: int
    n_local: int
    notes: Sequence[str]

    def at_once(self, jobs: Sequence[Job]) -> int:
        """Returns how many of these are done at a time; their data are prepared."""

    @contextmanager
    def attempts(self, jobs: Sequence[Job], n_jobs: int) -> Iterator[Iterator[Attempt]]:
        """Gives the jobs as they are done, in any order: the folder of each that did not fail is there, whole.

        Those that are not done when it is left are ended.
        """

    def beats(self) -> tuple[dict[str, Any], ...]:
        """Returns how far the fits are that run now; see `Event`."""


class LocalRunner:
    """Does fits in processes of this machine, which end with this one.

    Args:
        threads: Of a fit.
        n_jobs: Fits at a time; as many as the usable cores allow if None.
        scratch: The folder of temporary files.
    """

    notes: Sequence[str] = ()

    def __init__(self, threads: int, n_jobs: int | None, scratch: Path) -> None:
        self.n_jobs = self.n_local = n_jobs or max(1, usable_cores() // threads)
        self._scratch = scratch

    def at_once(self, jobs: Sequence[Job]) -> int:
        """See `Runner`."""
        return min(self.n_jobs, len(jobs))

    @contextmanager
    def attempts(self, jobs: Sequence[Job], n_jobs: int) -> Iterator[Iterator[Attempt]]:
        """See `Runner`."""
        parts = packed() if n_jobs > 1 else b""
        with outputs_of(_attempt, [(job, os.getpid(), parts) for job in jobs], n_jobs) as outputs:
            yield outputs

    def beats(self) -> tuple[dict[str, Any], ...]:
        """See `Runner`."""
        beats = []
        for path in sorted(self._scratch.glob("*.beat")):
            try:
                beats.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue  # being written, or gone since: the next look will tell
        return tuple(beats)


def _attempt(job: Job, parent: int, parts: bytes) -> Attempt:
    begin(parent, parts)
    return attempt(job)


def attempt(job: Job) -> Attempt:
    """Runs a job and times it; an error of ours (a diverged loss, say) is told in the results, any other stops all."""
    start = time.perf_counter()
    if job.until is not None and time.time() > job.until:
        return job, LATE, 0.0
    try:
        run_job(job)
    except CheckpointError:  # nothing can be kept: a full disk
        raise
    except ProfuseError as error:
        return job, str(error), 0.0
    except Exception as error:
        if job.method.role != "ablation" and job.method.share == 1:
            raise
        # nobody asked for it: an operator of the user's own that needs all modalities must not end the comparison
        return job, f"{type(error).__name__}: {error}", 0.0
    return job, "", time.perf_counter() - start
