"""The fair comparison: same splits, same budget, early stopping on validation only, several seeds, what it cost."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from profuse._saving import naming, new_folder, scratch
from profuse.classical.own import asked_members
from profuse.cluster.options import EngineOptions
from profuse.comparison.asked import told_of_classes, with_subgroups
from profuse.comparison.cautions import caution_of
from profuse.comparison.hidden import hidden_scores
from profuse.comparison.jobs import JobResult, model_folder
from profuse.comparison.methods import Method, methods_asked
from profuse.comparison.metric import metric_of, with_metric
from profuse.comparison.on_ray import opened_runner
from profuse.comparison.options import CompareOptions
from profuse.comparison.place import held_place
from profuse.comparison.plan import plan, tell_late, without_each
from profuse.comparison.predictions import write_predictions
from profuse.comparison.presence import shares_of_test, tell_absent
from profuse.comparison.questions import asked_of_best, check_questions
from profuse.comparison.results import (
    Ablation,
    Confusion,
    CurvePoint,
    DatasetFacts,
    Machine,
    MemberWeight,
    ModalityFacts,
    Residuals,
    Results,
    Score,
    Timing,
    each_once,
)
from profuse.comparison.running import Event, Run, run_fits
from profuse.comparison.shares import curve_expected, curve_methods, learning_of, shares_for
from profuse.comparison.shown import add_outputs
from profuse.comparison.summary import summarise
from profuse.comparison.surest import surest_errors
from profuse.data.dataset import Dataset
from profuse.data.leaks import tell_leaks
from profuse.data.split import make_split
from profuse.data.time_blocks import time_blocks
from profuse.errors import ProfuseError
from profuse.inspect.profile import profile
from profuse.kinds import kind_named
from profuse.metrics import log_error_scores, row_scores
from profuse.schema import Schema, Spec, SplitOptions
from profuse.training.weights import weight_notes
from profuse.training.world import one_process

__all__ = ["Event", "compare_dataset", "fit_share"]


def compare_dataset(
    dataset: Dataset,
    options: CompareOptions,
    out: Path,
    *,
    schema: Schema | None = None,
    n_jobs: int | None = None,
    engine: EngineOptions | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Results:
    """Fits every method at every seed and returns, and leaves in `out`, what was found.

    Fits that an earlier run left in `out` with the same data and options are not repeated.

    Args:
        dataset: Rows by modalities and a target.
        options: What is compared.
        out: Folder: results.csv, results.json, rows.npz, predictions.csv, config.yaml, models/ (of the best fusion,
            the best single modality and the classical models) and work/ (one folder per fit; may be deleted, and is
            what a second run goes on from).
        schema: The table's resolved schema, saved with the models, so that they read other tables.
        n_jobs: Fits at a time, of `train.threads` threads each; as many as the usable cores, or the cluster, allow if
            None.
        engine: What does the fits; processes of this machine if None.
        on_event: Told of progress, from this process; from another thread while fits run.

    Raises:
        DataError: `out` holds the comparison of other data, or cannot be written; or the metric is not defined for the
            targets, or not on validation or test rows.
        UnknownNameError: There is no such metric, question or member, or no class that `class_weight` names.
        ConfigError: The metric is not of this task, or tells nothing of rows; or a member cannot be imported, is no
            estimator, or is one of another task; or several processes do one fit here.
        ProfuseError: Every fit failed.
    """
    one_process("compare", "Its fits run side by side: n_jobs, or in shares on several machines.")
    with _begun(dataset, options, out, schema, n_jobs, on_event, engine) as (run, options, digest, fit, tell):
        methods = run.methods  # a time limit may have made them fewer
        alike, shares = without_each(methods, options), shares_for(dataset, options)
        curve = curve_expected(methods, options, shares)
        if options.retrain_without and len(dataset.modalities) == 1:
            run.notes.append("There is a single modality: nothing is fitted without it.")
        n_fits = fit(methods, later=[*alike, *curve])  # of the best methods, which are not known yet
        tell_late(run, options)
        if not run.found:
            raise ProfuseError(f"compare: at least one fit must succeed; none did. {each_once(run.skipped)}")
        results = _collect(dataset, digest, options, run)
        best = summarise(results).verdict.fusion
        if best is not None and alike:  # at one seed: more would take a quarter of the whole
            method, n_notes = next(m for m in methods if m.name == best), len(run.notes)
            ablations = [method.without(name) for name in method.modalities]
            n_fits = fit(ablations, options=options.model_copy(update={"seeds": 1}), n_before=n_fits, later=curve)
            tell_late(run, options)
            for ablation in ablations:
                _add(results, run, ablation, dataset)
            results.skipped = run.skipped
            results.dataset.notes += run.notes[n_notes:]
        if shares:
            n_notes, asked = len(run.notes), curve_methods(results, methods, shares)
            n_fits = fit(asked, n_before=n_fits)
            tell_late(run, options)
            results.learning = learning_of(results, run, asked, lambda of, method: _add(of, run, method, dataset))
            results.skipped = run.skipped
            results.dataset.notes += run.notes[n_notes:]
        elif options.curve:
            results.dataset.notes.append("Training or validation rows are too few for a curve over rows.")
        tell(Event("measure", n_fits, n_fits))
        results.hidden = hidden_scores(results, run, dataset)
        results.answers = asked_of_best(results, run, dataset, options.questions)
        add_outputs(results, run, dataset)
        results.surest = surest_errors(results, run, dataset, options.surest)
        if options.profile:
            results.profile = profile(dataset, make_split(dataset, options.split, seed=0))
        write_predictions(out / "predictions.csv", run.found, [m.name for m in results.methods], dataset)
        results.write(out)
        _keep_models(results, run, out)
    tell(Event("done", n_fits, n_fits))
    return results


def fit_share(
    dataset: Dataset,
    options: CompareOptions,
    out: Path,
    share: tuple[int, int],
    *,
    schema: Schema | None = None,
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> tuple[str, list[str], list[str]]:
    """Does a share of the fits of a comparison, and leaves them in the folder `work` of `out`; nothing else.

    Args:
        dataset: See `compare_dataset`.
        options: See `compare_dataset`; their time limit is none, so that all shares plan the same.
        out: See `compare_dataset`.
        share: Which one, from 1, and of how many.
        schema: See `compare_dataset`.
        n_jobs: See `compare_dataset`.
        on_event: See `compare_dataset`.

    Returns:
        The digest of the data, the folders of the share's fits, and what is told of fits that failed.
    """
    with _begun(dataset, options, out, schema, n_jobs, on_event) as (run, options, digest, fit, tell):
        run.share = share
        n_fits = fit(run.methods)
        tell(Event("done", n_fits, n_fits))
        names = [run.folders[method, seed].name for method, by_seed in run.found.items() for seed in by_seed]
        return digest, sorted(names), [f"{s.method}: {s.reason}" for s in run.skipped]


@contextmanager
def _begun(
    dataset: Dataset,
    options: CompareOptions,
    out: Path,
    schema: Schema | None,
    n_jobs: int | None,
    on_event: Callable[[Event], None] | None,
    engine: EngineOptions | None = None,
) -> Iterator[tuple[Run, CompareOptions, str, Callable[..., int], Callable[[Event], None]]]:
    """Gives what a comparison begins with: what is planned, the options that are followed, and what does the fits."""
    until = time.time() + options.time_limit if isinstance(options.time_limit, float) else None
    check_questions(options.questions)
    options, told = with_metric(options.filled(), dataset)
    told += [*told_of_classes(options, dataset), *weight_notes(dataset.weights)]
    options, of_groups = with_subgroups(options, dataset)
    told += of_groups
    digest = dataset.digest()
    members = asked_members(options.members, who="compare", task=dataset.task)
    tell = on_event or (lambda event: None)
    with members, held_place(out, dataset, digest), scratch() as folder, ExitStack() as stack:
        methods, skipped = methods_asked(options, list(dataset.modalities), dataset.task)
        runner = stack.enter_context(opened_runner(engine or EngineOptions(), options.train, n_jobs, folder, tell))
        run = Run(methods, list(skipped), out / "work", folder, notes=[*told, *runner.notes], until=until)
        options = plan(run, dataset, digest, options, runner, tell)
        fit = partial(
            run_fits, run, dataset=dataset, digest=digest, options=options, schema=schema, runner=runner, tell=tell
        )
        yield run, options, digest, fit, tell


def _collect(dataset: Dataset, digest: str, options: CompareOptions, run: Run) -> Results:
    # of all that succeeded, whichever came first
    result = (run.found[m.name][s].facts for s in range(options.seeds) for m in run.methods if s in run.found[m.name])
    first = next(result)
    task = dataset.task
    results = Results(
        dataset=_facts(dataset, options, first, [*_choices(run), *run.notes]),
        config={"data_digest": digest, **options.model_dump(mode="json")},
        machine=Machine.here(device=options.train.device),
        skipped=run.skipped,
    )
    for method in run.methods:
        _add(results, run, method, dataset)
    true = [job.true for job in run.found[first["method"]].values()]
    metric, classes = metric_of(results), first["classes"]
    if metric.second_class and task == "binary":
        note = f"{metric.label} is of {classes[1]!r}, the second of the classes {classes[0]!r} and {classes[1]!r}."
        results.dataset.notes.append(note[:1].upper() + note[1:])
    results.dataset.caution = caution_of(metric, task, true, classes)
    return results


def _add(results: Results, run: Run, method: Method, dataset: Dataset) -> None:
    """Adds a method and what its fits have left, if any has left something."""
    info, task, groups, metric = method.info(), dataset.task, dataset.groups, metric_of(results)
    jobs = run.found.get(method.name, {})
    if not jobs:
        return
    results.methods.append(info)
    for seed, job in sorted(jobs.items()):
        facts = job.facts
        shared = {
            "dataset": dataset.name, "variant": dataset.variant, "method": info.name, "family": info.family,
            "level": info.level, "rounds": info.rounds, "seed": seed, "n_parameters": facts["n_parameters"],
            "fit_seconds": facts["fit_seconds"], "predict_rows_per_second": facts["predict_rows_per_second"],
        }  # fmt: skip
        for split, scores in facts["scores"].items():
            results.scores += [
                Score(**shared, split=split, metric=m, value=v, n_rows=facts["n_rows"][split])
                for m, v in scores.items()
            ]
        results.curves += [CurvePoint(method=info.name, seed=seed, **epoch) for epoch in facts["curves"]]
        results.members += [
            MemberWeight(method=info.name, seed=seed, member=m["name"], weight=m["weight"], score=m["score"])
            for m in facts.get("members", ())
        ]
        if "run" in facts:
            results.timings.append(
                Timing(
                    method=info.name, seed=seed, run=facts["run"], jobs=facts["jobs"], threads=facts["threads"]
                )
            )  # fmt: skip
        rows = np.asarray(facts["test_rows"])
        results.ablation += [
            Ablation(method=info.name, seed=seed, **a)
            for a in facts["ablation"]
            if a["metric"] == metric.name and dataset.modalities[a["modality"]].present[rows].any()
        ]
        # neighbours in time are alike: blocks of them stand for the groups that such data do not name
        tied = time_blocks(dataset.times[rows]) if groups is None and dataset.times is not None else None
        results.add_rows(
            info.name, seed, row_scores(task, job.true, job.prediction, metric=metric),
            ids=rows, groups=tied if groups is None else groups[rows],
            log_errors=log_error_scores(job.true, job.prediction) if metric.name == "r2" else None,
        )  # fmt: skip
    if task in ("binary", "multiclass"):
        counts = _confusion(list(jobs.values()), len(results.dataset.classes))
        results.confusion.append(Confusion(method=info.name, counts=counts))
    elif task == "regression":
        results.residuals.append(_residuals(info.name, list(jobs.values()), dataset.target_names[0]))


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


def _facts(dataset: Dataset, options: CompareOptions, first: dict[str, Any], notes: Sequence[str]) -> DatasetFacts:
    n_rows = first["n_rows"]
    splits = {seed: make_split(dataset, options.split, seed=seed) for seed in range(options.seeds)}
    in_test = shares_of_test(dataset, list(splits.values()))
    modalities = {}
    for name, data in dataset.modalities.items():
        spec = first["specs"][name]
        modalities[name] = ModalityFacts(
            kind=data.kind,
            present_fraction=float(data.present.mean()),
            test_fraction=in_test[name],
            shape=kind_named(spec["kind"]).describe(Spec.model_validate(spec)),
            encoder=options.model.encoders.get(name) or data.encoder or "default",
        )
    return DatasetFacts(
        name=dataset.name,
        variant=dataset.variant,
        task=dataset.task,
        target_names=[str(n) for n in dataset.target_names],
        classes=first["classes"],
        n_rows=len(dataset),
        n_train=n_rows["train"],
        n_valid=n_rows["valid"],
        n_test=n_rows["test"],
        modalities=modalities,
        split=_split_in_words(dataset, options),
        group=_group_in_words(dataset, options.split),
        notes=[
            *dataset.notes,
            *_unused(dataset, options.split),
            *tell_leaks(dataset, options.split),
            *tell_absent(dataset, splits),
            *first["notes"],
            *notes,
        ],
    )


def _choices(run: Run) -> list[str]:
    """Tells what encoders have chosen for the data, by seed."""
    chosen: dict[str, dict[int, str]] = defaultdict(dict)
    for by_seed in run.found.values():
        for seed, job in by_seed.items():
            for name, words in job.facts.get("choices", {}).items():
                chosen[name][seed] = words
    notes = []
    for name, words_by_seed in sorted(chosen.items()):
        seeds: dict[str, list[str]] = defaultdict(list)
        for seed, words in sorted(words_by_seed.items()):
            seeds[words].append(str(seed))
        message = "; ".join(f"{words} (seed {', '.join(s)})" for words, s in sorted(seeds.items()))
        notes.append(f"Encoder of {name!r}, chosen on validation rows: {message}.")
    return notes


def _group_in_words(dataset: Dataset, split: SplitOptions) -> str:
    if dataset.groups is None:
        return ""
    of = f" of {split.column!r}" if split.column else ""
    return f"{len(np.unique(dataset.groups.astype(str))):,} groups{of}, none in more than one of train, valid and test"


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


def _keep_models(results: Results, run: Run, out: Path) -> None:
    """Copies models that the report names into `models/`, one folder per method and seed; those of before go.

    They are those of the best fusion and the best single modality, and the classical ones.
    """
    verdict = summarise(results).verdict
    kept = [m.name for m in results.methods if m.role in ("classical", "trivial", "portfolio")]
    with new_folder(out / "models") as fresh:
        for method in (verdict.fusion, verdict.single, *kept):
            for seed in run.found.get(method or "", {}):
                with naming(out / "models"):
                    model = run.folders[method, seed] / "model"  # type: ignore[index]
                    shutil.copytree(model, fresh / model_folder(method, seed))  # type: ignore[arg-type]
