"""The fair comparison: same splits, same budget, early stopping on validation only, several seeds, what it cost."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from profuse.build import ModelOptions
from profuse.data.dataset import Dataset
from profuse.errors import ProfuseError
from profuse.evaluate._place import check_place
from profuse.evaluate.jobs import Job, JobResult, prepare, read_result, run_job, slug
from profuse.evaluate.leaks import tell_leaks
from profuse.evaluate.methods import DEFAULT_FUSIONS, Method, OwnFusion, TwinRounds, methods_for
from profuse.evaluate.metrics import row_scores
from profuse.evaluate.results import (
    Ablation,
    Confusion,
    CurvePoint,
    DatasetFacts,
    Machine,
    ModalityFacts,
    Residuals,
    Results,
    Score,
    Skipped,
)
from profuse.evaluate.statistics import time_blocks
from profuse.evaluate.summary import summarise
from profuse.heads import head_for
from profuse.schema import Schema, SplitOptions
from profuse.train import TrainOptions

__all__ = ["CompareOptions", "Event", "compare_dataset"]


class CompareOptions(BaseModel):
    """What is compared, and how; the same names in Python, YAML and on the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fusions: tuple[str, ...] = Field(DEFAULT_FUSIONS, description="name or level:name; 'all' for every operator.")
    rounds: tuple[TwinRounds, ...] = Field(
        (2,), description="Rounds of the progressive twins, numbers or 'equilibrium'; empty for none."
    )
    seeds: int = Field(3, ge=1, description="Repetitions, each with its own weights and (if not official) split.")
    trials: int = Field(1, ge=1, description="Configurations each method tries; the best on validation is kept.")
    split: SplitOptions = SplitOptions()
    model: ModelOptions = ModelOptions()
    train: TrainOptions = TrainOptions()


@dataclass(frozen=True)
class Event:
    """Where a comparison is: told to `on_event`.

    Attributes:
        stage: "prepare", "fit" or "done".
        n_done: Fits that are finished, those of an earlier run included.
        n_total: Fits in all.
        running: What runs now: `{method, seed, trial, epoch, score}` each, as far as known.
        finished: The facts of a fit that has just finished.
    """

    stage: str
    n_done: int
    n_total: int
    running: tuple[dict[str, Any], ...] = ()
    finished: dict[str, Any] | None = None


@dataclass(eq=False)
class _Run:
    """The finished jobs of one comparison, by method and seed."""

    methods: list[Method]
    skipped: list[Skipped]
    found: dict[str, dict[int, JobResult]] = field(default_factory=lambda: defaultdict(dict))
    folders: dict[tuple[str, int], Path] = field(default_factory=dict)


def compare_dataset(
    dataset: Dataset,
    options: CompareOptions,
    out: Path,
    *,
    schema: Schema | None = None,
    own: Mapping[str, OwnFusion] | None = None,
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Results:
    """Fits every method at every seed and returns, and leaves in `out`, what was found.

    Fits that an earlier run left in `out` with the same data and options are not repeated.

    Args:
        dataset: Rows by modalities and a target.
        options: What is compared.
        out: Folder: results.csv, results.json, rows.npz, config.yaml, models/ (the best fusion's) and work/ (one
            folder a fit; may be deleted, and is what a second run goes on from).
        schema: The table's resolved schema, saved with the models, so that they read other tables.
        own: Operators of the user's own to compare besides, by name; their fits are always done anew.
        n_jobs: Fits at a time, each on one core; as many as there are cores if None.
        on_event: Told of progress, from this process; from another thread while fits run.

    Raises:
        DataError: `out` holds the comparison of other data, or cannot be written.
        ProfuseError: Every fit failed.
    """
    digest = dataset.digest()
    check_place(out, dataset, digest)
    methods, skipped = methods_for(
        list(dataset.modalities),
        options.fusions,
        rounds=options.rounds,
        base=options.model,
        link=head_for(dataset.task).link,
        own=own,
    )
    run = _Run(methods, list(skipped))
    n_jobs = n_jobs or os.cpu_count() or 1
    threads = max(1, (os.cpu_count() or 1) // n_jobs)
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    for partial in work.glob(".*"):  # fits that were interrupted
        shutil.rmtree(partial, ignore_errors=True)
    tell = on_event or (lambda event: None)
    with tempfile.TemporaryDirectory(prefix="profuse-") as scratch:
        jobs = _jobs(run, options, digest, work, Path(scratch), schema, own or {})
        _run_all(dataset, jobs, options, run, Path(scratch), n_jobs, threads, tell)
    if not run.found:
        reasons = "; ".join(f"{s.method}: {s.reason}" for s in run.skipped)
        raise ProfuseError(f"compare: at least one fit must succeed; none did. {reasons}")
    results = _collect(dataset, digest, options, run)
    results.write(out)
    _keep_best(results, run, out)
    tell(Event("done", len(jobs), len(jobs)))
    return results


def _jobs(
    run: _Run,
    options: CompareOptions,
    digest: str,
    work: Path,
    scratch: Path,
    schema: Schema | None,
    own: Mapping[str, OwnFusion],
) -> list[Job]:
    """One for each method and seed, seeds outermost; a folder's name tells all that decides its numbers."""
    jobs = []
    for seed in range(options.seeds):
        for method in run.methods:
            decides = [
                Machine.here().versions, digest, seed, options.trials, method.model_dump(mode="json"),
                options.split.model_dump(mode="json"), options.train.model_dump(mode="json"),
            ]  # fmt: skip
            key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]
            name = f"{slug(method.name)}-seed{seed}-{key}"
            heartbeat, prepared = scratch / f"{name}.beat", scratch / f"seed{seed}.pickle"
            operator = own[method.plain_name] if method.own_level else None
            rest = prepared, heartbeat, schema, operator
            jobs.append(Job(method, seed, options.train, options.trials, work / name, *rest))
            run.folders[method.name, seed] = work / name
    return jobs


def _run_all(
    dataset: Dataset,
    jobs: list[Job],
    options: CompareOptions,
    run: _Run,
    scratch: Path,
    n_jobs: int,
    threads: int,
    tell: Callable[[Event], None],
) -> None:
    from joblib import Parallel, delayed

    missing = [job for job in jobs if not job.done]
    done = len(jobs) - len(missing)
    for job in jobs:
        if job not in missing:
            run.found[job.method.name][job.seed] = read_result(job.folder)
    if not missing:
        return
    tell(Event("prepare", done, len(jobs)))
    source = scratch / "dataset.pickle"
    source.write_bytes(pickle.dumps(dataset, protocol=5))
    seeds = sorted({job.seed for job in missing})
    parallel = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    for _ in parallel(delayed(_prepare)(source, options.split, s, scratch / f"seed{s}.pickle") for s in seeds):
        tell(Event("prepare", done, len(jobs)))
    counter = {"done": done}
    with _watch(scratch, counter, len(jobs), tell):
        for job, reason in parallel(delayed(_attempt)(job, threads) for job in missing):
            counter["done"] += 1
            if reason:
                run.skipped.append(Skipped(method=job.method.name, reason=f"failed at seed {job.seed}: {reason}"))
                continue
            found = read_result(job.folder)
            run.found[job.method.name][job.seed] = found
            tell(Event("fit", counter["done"], len(jobs), _beats(scratch), found.facts))


def _prepare(source: Path, options: SplitOptions, seed: int, path: Path) -> None:
    # a temporary file of this very run: never a user's
    prepare(pickle.loads(source.read_bytes()), options, seed, path)


def _attempt(job: Job, threads: int) -> tuple[Job, str]:
    """Runs a job; an error of ours (a loss that diverged, say) is told in the results, any other one stops all."""
    try:
        run_job(job, threads=threads)
    except ProfuseError as error:
        return job, str(error)
    return job, ""


def _beats(scratch: Path) -> tuple[dict[str, Any], ...]:
    beats = []
    for path in sorted(scratch.glob("*.beat")):
        try:
            beats.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue  # being written, or gone since: the next look will tell
    return tuple(beats)


@contextmanager
def _watch(scratch: Path, counter: dict[str, int], total: int, tell: Callable[[Event], None]) -> Iterator[None]:
    """Tells twice a second what runs."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.5):
            tell(Event("fit", counter["done"], total, _beats(scratch)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _collect(dataset: Dataset, digest: str, options: CompareOptions, run: _Run) -> Results:
    # of all that succeeded, whichever came first
    found = (run.found[m.name][s].facts for s in range(options.seeds) for m in run.methods if s in run.found[m.name])
    first = next(found)
    task = dataset.task
    results = Results(
        dataset=_facts(dataset, options, first),
        config={"data_digest": digest, **options.model_dump(mode="json")},
        machine=Machine.here(device=options.train.device),
        methods=[m.info() for m in run.methods if m.name in run.found],
        skipped=run.skipped,
    )
    groups = dataset.groups
    for method in run.methods:
        info = method.info()
        for seed, job in sorted(run.found.get(method.name, {}).items()):
            facts = job.facts
            shared = {
                "dataset": dataset.name, "method": info.name, "family": info.family, "level": info.level,
                "rounds": info.rounds, "seed": seed, "n_parameters": facts["n_parameters"],
                "fit_seconds": facts["fit_seconds"], "predict_rows_per_second": facts["predict_rows_per_second"],
            }  # fmt: skip
            for split, scores in facts["scores"].items():
                results.scores += [
                    Score(**shared, split=split, metric=m, value=v, n_rows=facts["n_rows"][split])
                    for m, v in scores.items()
                ]
            results.curves += [CurvePoint(method=info.name, seed=seed, **epoch) for epoch in facts["curves"]]
            results.ablation += [Ablation(method=info.name, seed=seed, **a) for a in facts["ablation"]]
            rows = np.asarray(facts["test_rows"])
            # neighbours in time are alike: blocks of them stand for the groups that such data do not name
            tied = time_blocks(dataset.times[rows]) if groups is None and dataset.times is not None else None
            results.add_rows(
                info.name, seed, row_scores(task, job.true, job.prediction),
                ids=rows, groups=tied if groups is None else groups[rows],
            )  # fmt: skip
        jobs = list(run.found.get(method.name, {}).values())
        if jobs and task in ("binary", "multiclass"):
            results.confusion.append(Confusion(method=info.name, counts=_confusion(jobs, len(first["classes"]))))
        elif jobs and task == "regression":
            results.residuals.append(_residuals(info.name, jobs, dataset.target_names[0]))
    return results


def _confusion(jobs: list[JobResult], n_classes: int) -> list[list[int]]:
    counts = np.zeros((n_classes, n_classes), dtype=int)
    for job in jobs:
        np.add.at(counts, (job.true, job.prediction.argmax(1)), 1)
    return [[int(n) for n in row] for row in counts]


def _residuals(method: str, jobs: list[JobResult], target: str, *, n: int = 500) -> Residuals:
    true = np.concatenate([job.true[:, 0] for job in jobs])
    said = np.concatenate([job.prediction[:, 0] for job in jobs])
    rows = np.sort(np.random.default_rng(0).permutation(len(true))[:n])
    return Residuals(method=method, target=target, true=true[rows].tolist(), predicted=said[rows].tolist())


def _facts(dataset: Dataset, options: CompareOptions, first: dict[str, Any]) -> DatasetFacts:
    n_rows = first["n_rows"]
    modalities = {}
    for name, data in dataset.modalities.items():
        spec = first["specs"][name]
        modalities[name] = ModalityFacts(
            kind=data.kind,
            present_fraction=float(data.present.mean()),
            shape=_shape(spec, data.kind),
            encoder=options.model.encoders.get(name) or data.encoder or "default",
        )
    return DatasetFacts(
        name=dataset.name,
        task=dataset.task,
        target_names=[str(n) for n in dataset.target_names],
        classes=first["classes"],
        n_rows=len(dataset),
        n_train=n_rows["train"],
        n_valid=n_rows["valid"],
        n_test=n_rows["test"],
        modalities=modalities,
        split=_split_in_words(dataset, options),
        group="" if dataset.groups is None else f"{len(np.unique(dataset.groups.astype(str)))} groups kept whole",
        notes=[*dataset.notes, *_unused(dataset, options.split), *tell_leaks(dataset, options.split), *first["notes"]],
    )


def _unused(dataset: Dataset, split: SplitOptions) -> list[str]:
    """Tells sizes that were asked for, of parts that the data name themselves."""
    if split.method != "auto" or dataset.split is None:
        return []
    usual, parts = SplitOptions(), set(np.asarray(dataset.split).astype(str))
    asked = [f"{p}_size" for p in ("test", "valid") if p in parts]
    return [
        f"{name} = {getattr(split, name)} is not used: the data say which rows are {name.removesuffix('_size')}."
        for name in asked
        if getattr(split, name) != getattr(usual, name)
    ]


def _split_in_words(dataset: Dataset, options: CompareOptions) -> str:
    if options.split.method != "auto":
        return options.split.method
    if dataset.split is not None:
        return "official test rows"
    if dataset.times is not None:
        return "by time"
    if dataset.groups is not None:
        return "by group"
    return "random" if dataset.task == "regression" else "stratified"


def _shape(spec: dict[str, Any], kind: str) -> str:
    match kind:
        case "table":
            return f"{len(spec['cardinalities'])} columns"
        case "text":
            return f"up to {spec['max_length']} words"
        case "image":
            return f"{spec['image_size'][0]} x {spec['image_size'][1]} pixels, {spec['n_channels']} channel(s)"
        case "audio":
            return f"up to {spec['max_length']} frames of {spec['n_channels']} mel bands"
        case "series":
            return f"up to {spec['max_length']} steps of {spec['n_channels']} channel(s)"
    return f"{spec['n_channels']} channels"


def _keep_best(results: Results, run: _Run, out: Path) -> None:
    """Copies the models of the report's best fusion into `models/`, one folder a seed; an older choice goes."""
    best = summarise(results).verdict.fusion
    models, fresh = out / "models", out / ".models"
    shutil.rmtree(fresh, ignore_errors=True)
    if best is not None:
        fresh.mkdir()
        for seed in run.found[best]:
            model = run.folders[best, seed] / "model"
            if model.is_dir():  # a model with an operator of the user's own cannot be saved
                shutil.copytree(model, fresh / f"{slug(best)}-seed{seed}")
        shutil.rmtree(models, ignore_errors=True)
        fresh.rename(models)
