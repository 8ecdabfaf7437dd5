"""The fits of a comparison: which are to be done, and their doing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profuse._files import read_source
from profuse._json import parse_json
from profuse._workers import begin, outputs_of, packed
from profuse.comparison.jobs import Job, JobResult, prepare, read_result, slug
from profuse.comparison.methods import Method
from profuse.comparison.parts import fingerprints
from profuse.comparison.results import Machine, Skipped
from profuse.comparison.runner import LATE, Runner
from profuse.comparison.time_left import TimeLeft
from profuse.data.dataset import Dataset
from profuse.errors import DataError
from profuse.metrics import metric
from profuse.portfolio.options import PortfolioOptions
from profuse.schema import Schema
from profuse.training.alternatives import others_than
from profuse.training.scratch import keep

if TYPE_CHECKING:
    from profuse.comparison.options import CompareOptions

__all__ = ["Event", "Run", "prepare_seeds", "run_fits"]


@dataclass(frozen=True)
class Event:
    """Where a comparison is: told to `on_event`.

    Attributes:
        stage: "cluster" (fits are done on one), "prepare", "plan" (how long all will take, and what is made smaller),
            "fit", "measure" (what the models lose without modalities, and what they are asked) or "done".
        n_done: Fits that are finished, those of an earlier run included.
        n_total: Fits in all.
        running: What runs now: `{method, seed, trial, epoch, score, share, spent, left}` each, as far as known: `share`
            of the fit is done, after `spent` seconds, and its trial takes `left` more, about.
        finished: The facts of a fit that has just finished.
        left: Seconds until all fits are done, about; None before that can be told.
        kept: The facts of fits of an earlier run, told before the first one of this run.
        said: What is to be told as it is, once.
    """

    stage: str
    n_done: int
    n_total: int
    running: tuple[dict[str, Any], ...] = ()
    finished: dict[str, Any] | None = None
    left: float | None = None
    kept: tuple[dict[str, Any], ...] = ()
    said: str = ""


@dataclass(eq=False)
class Run:
    """One comparison: its methods, its places, and its finished jobs by method and seed.

    Attributes:
        methods: What is compared.
        skipped: What is not, and why.
        work: The folder that keeps finished fits.
        scratch: The folder of temporary files.
        found: What the fits have left.
        folders: Where they have left it.
        notes: What is to be told of fits of an earlier run.
        id: What tells its fits from those of an earlier run, which had another load.
        prints: By method, what tells that the code of the user's own parts has changed.
        until: When no further fit begins, by `time.time`; None: never.
        portfolio_seconds: How long the portfolio of a seed may take.
        late: Methods and seeds that were left out for lack of time.
        expected: Seconds of a fit of a method, before one was timed.
        share: Which of the fits are done, from 1, and of how many shares: those of equal size in the order of a digest
            of method and seed.
    """

    methods: list[Method]
    skipped: list[Skipped]
    work: Path
    scratch: Path
    found: dict[str, dict[int, JobResult]] = field(default_factory=lambda: defaultdict(dict))
    folders: dict[tuple[str, int], Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    prints: dict[str, list[str]] = field(default_factory=dict)
    until: float | None = None
    portfolio_seconds: float | None = None
    late: list[tuple[str, int]] = field(default_factory=list)
    expected: Mapping[str, float] = field(default_factory=dict)
    share: tuple[int, int] = (1, 1)


def run_fits(
    run: Run,
    methods: list[Method],
    dataset: Dataset,
    digest: str,
    options: CompareOptions,
    *,
    schema: Schema | None,
    runner: Runner,
    tell: Callable[[Event], None],
    n_before: int = 0,
    later: Sequence[Method] = (),
) -> int:
    """Does the fits of `methods` that an earlier run has not left whole, and returns how many are done with them.

    Args:
        run: What is found is added to it.
        methods: Some of the run's.
        dataset: What is learned from.
        digest: Of it.
        options: Of the comparison.
        schema: See `Job`.
        runner: What does them.
        tell: Told of progress.
        n_before: Fits of this run that were done before.
        later: Methods that are fitted after these, once each.
    """
    run.prints |= fingerprints(methods, options.train, dataset)
    jobs = _shared(list(_jobs(run, methods, options, digest, schema)), run.share)
    missing = _in_turn([job for job in jobs if not _finished(job, run)])
    _tell_threads(run, missing, options, digest)
    done, total = n_before + len(jobs) - len(missing), n_before + len(jobs) + len(later)
    if missing:
        n_local = min(runner.n_local, len(missing))
        parts = packed() if n_local > 1 else b""
        cuts = {(job.seed, job.method.share) for job in missing}
        kept = tuple(result.facts for by_seed in run.found.values() for result in by_seed.values())
        told = partial(Event, n_done=done, n_total=total, kept=kept)
        prepare_seeds(run, cuts, parts, dataset, options, n_local, lambda: tell(told("prepare")))
        n_jobs = runner.at_once(missing)
        missing = [
            replace(job, run=run.id, jobs=n_jobs, until=run.until, portfolio_seconds=run.portfolio_seconds)
            for job in missing
        ]
        most = math.inf if run.portfolio_seconds is None else run.portfolio_seconds
        portfolios = PortfolioOptions().n_folds(len(dataset)), most
        left = TimeLeft([(job.method, job.seed) for job in missing], n_jobs, later, run.expected, portfolios)
        if run.expected and not n_before:
            tell(told("plan", left=left.seconds()))
        _fit(run, runner, missing, done, total, n_jobs, left, tell)
    return n_before + len(jobs)


def _shared(jobs: list[Job], share: tuple[int, int]) -> list[Job]:
    """Returns the jobs of a share, in their order."""

    def place(job: Job) -> str:
        return hashlib.sha256(f"{job.method.name}|{job.seed}".encode()).hexdigest()

    which, n_shares = share
    mine = {id(job) for job in sorted(jobs, key=place)[which - 1 :: n_shares]}
    return [job for job in jobs if id(job) in mine]


def prepare_seeds(
    run: Run,
    cuts: Iterable[tuple[int, float]],
    parts: bytes,
    dataset: Dataset,
    options: CompareOptions,
    n_jobs: int,
    tell: Callable[[], None],
) -> None:
    """Leaves the prepared data of each seed and share of the rows, unless they are there."""
    cuts = sorted(cut for cut in cuts if not _prepared(run, *cut).exists())
    if not cuts:
        return
    tell()
    source = run.scratch / "dataset.pickle"
    if not source.exists():
        keep(source, dataset)
    todo = [(source, options, *cut, _prepared(run, *cut), os.getpid(), parts) for cut in cuts]
    with outputs_of(_prepare, todo, n_jobs) as outputs:
        for _ in outputs:
            tell()


def _in_turn(jobs: list[Job]) -> list[Job]:
    """Returns the jobs, seed by seed, so that few wait for each other.

    Of the networks of the same modalities the first one solves linear paths for all: it comes first, and the others
    after all that has no need of it.
    """
    begun: set[tuple[int, float, tuple[str, ...]]] = set()
    ranks = []
    for job in jobs:
        first = (job.seed, job.method.share, job.method.modalities)
        ranks.append(1 if not job.method.is_network else 2 if first in begun else 0)
        if job.method.is_network:
            begun.add(first)
    return [jobs[i] for i in sorted(range(len(jobs)), key=lambda i: (jobs[i].seed, ranks[i]))]


def _prepared(run: Run, seed: int, share: float = 1.0) -> Path:
    return run.scratch / (f"seed{seed}.pickle" if share == 1 else f"seed{seed}-{round(1 / share)}th.pickle")


def _jobs(
    run: Run, methods: list[Method], options: CompareOptions, digest: str, schema: Schema | None
) -> Iterator[Job]:
    """One for each method and seed, seeds outermost; a folder's name tells all that decides its numbers."""
    for seed in range(options.seeds):
        for method in methods:
            name = f"{slug(method.name)}-seed{seed}-{_key(run, method, seed, options, digest, options.train.threads)}"
            heartbeat, prepared = run.scratch / f"{name}.beat", _prepared(run, seed, method.share)
            run.folders[method.name, seed] = run.work / name
            yield Job(
                method,
                seed,
                options.train,
                options.trials,
                run.work / name,
                prepared,
                heartbeat,
                schema,
                options.metric,
            )


def _key(run: Run, method: Method, seed: int, options: CompareOptions, digest: str, threads: int) -> str:
    decides = [
        Machine.here().versions, digest, seed, options.trials, method.model_dump(mode="json"),
        options.split.model_dump(mode="json"), {**options.train.model_dump(mode="json"), "threads": threads},
        run.prints[method.name],
    ]  # fmt: skip
    # nothing else depends on it
    if options.metric is not None:
        asked = metric(options.metric)
        chosen = method.chooses(options.trials) or (method.is_network and asked.chooses_epochs)
        if chosen or asked.quantile is not None:
            decides.append(options.metric)
    if method.portfolio is not None and run.portfolio_seconds is not None:
        decides.append(run.portfolio_seconds)
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]


def _finished(job: Job, run: Run) -> bool:
    """Whether an earlier run has left the job's result; it is taken then. One that is damaged is told."""
    if not job.folder.exists():
        return False
    try:
        result = read_result(job.folder)
        if (result.facts["method"], result.facts["seed"]) != (job.method.name, job.seed):
            raise DataError(f"{job.folder}: it must be a fit of {job.method.name!r} at seed {job.seed}.")
        if not result.tells(job.metric):
            return False
    except DataError as error:
        run.notes.append(
            f"The fit of {job.method.name}, seed {job.seed}, in work/ was damaged and is done again: {error}"
        )
        return False
    run.found[job.method.name][job.seed] = result
    return True


def _tell_threads(run: Run, missing: list[Job], options: CompareOptions, digest: str) -> None:
    """Tells of fits in `work` that differ from the missing ones in nothing but the number of threads."""
    others: dict[int, int] = defaultdict(int)
    for job in missing:
        for folder in job.folder.parent.glob(f"{slug(job.method.name)}-seed{job.seed}-*"):
            threads = _threads_of(folder)
            if threads is not None and folder.name.endswith(_key(run, job.method, job.seed, options, digest, threads)):
                others[threads] += 1
    others.pop(options.train.threads, None)
    run.notes += [
        f"{n} {'fit' if n == 1 else 'fits'} in work/ used threads={threads}, not {options.train.threads}, which "
        "changes last digits: done anew."
        for threads, n in sorted(others.items())
    ]


def _threads_of(folder: Path) -> int | None:
    try:
        return int(parse_json(read_source(folder / "result.json"))["threads"])
    except (DataError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _fit(
    run: Run,
    runner: Runner,
    missing: list[Job],
    done: int,
    total: int,
    n_jobs: int,
    left: TimeLeft,
    tell: Callable[[Event], None],
) -> None:
    counter, lock = {"done": done}, threading.Lock()

    def now(finished: dict[str, Any] | None = None) -> Event:
        beats = runner.beats()
        with lock:  # it is told from another thread too
            return Event("fit", counter["done"], total, beats, finished, left.seconds(beats))

    with _watch(lambda: tell(now())), runner.attempts(missing, n_jobs) as outputs:
        for job, reason, seconds in outputs:
            with lock:
                counter["done"] += 1
                left.finished(job.method.name, job.seed, None if reason else seconds)
            if reason == LATE:
                run.late.append((job.method.name, job.seed))
                continue
            if reason:
                run.skipped.append(Skipped(method=job.method.name, reason=f"failed at seed {job.seed}: {reason}"))
                continue
            result = read_result(job.folder)
            run.found[job.method.name][job.seed] = result
            tell(now(result.facts))


def _prepare(
    source: Path, options: CompareOptions, seed: int, share: float, path: Path, parent: int, parts: bytes
) -> None:
    begin(parent, parts)
    # a temporary file of this very run: never a user's
    dataset = pickle.loads(source.read_bytes())
    others = others_than(options.model.encoders, options.encoders)
    prepare(dataset, options.split, seed, path, options.model, others, share)


@contextmanager
def _watch(tell: Callable[[], None]) -> Iterator[None]:
    """Calls `tell` twice a second."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            tell()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
