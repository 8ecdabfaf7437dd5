"""`tune`: any kind of data in, the best options of a network out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from profuse._cores import limit_threads
from profuse._fields import documented
from profuse._lookup import resolve
from profuse._machine import Machine
from profuse._options import checked
from profuse._saving import scratch, write_file
from profuse.cluster.options import EngineOptions, engine_asked
from profuse.data.dataset import Dataset
from profuse.data.split import Split, check_parts, folds, make_split
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, UnknownNameError
from profuse.fusion import FUSIONS
from profuse.inputs import Data, Opened, open_data, with_encoders
from profuse.metrics import default_metric, metric_named
from profuse.models.levels import LEVELS
from profuse.models.options import ModelOptions
from profuse.schema import OnBadFile, Schema, SplitOptions, Task
from profuse.training.fitting import Prepared
from profuse.training.options import TrainOptions
from profuse.training.world import one_process
from profuse.tuning.held_out import HeldOut, held_out
from profuse.tuning.on_ray import opened_trials
from profuse.tuning.options import TuneOptions
from profuse.tuning.page import tuning_html
from profuse.tuning.result import Found, TrialFacts, Tuning, check_found
from profuse.tuning.search import Event, Plan, score_of_trial, search_all
from profuse.tuning.space import space_of
from profuse.tuning.storage import FAILED, Search, counts, finished, is_default, optuna_of, path_of
from profuse.tuning.trial import Under

if TYPE_CHECKING:
    from profuse.metrics import Metric

__all__ = ["metric_of", "tune", "tune_opened"]

_ENOUGH = 10
"""Trials from which on it is told how much each option matters."""


@documented(
    (TuneOptions,),
    {
        "split": "Or a `SplitOptions`.",
        "model": 'Fields of `ModelOptions`: `{"encoders": {"note": "static"}}`.',
        "train": 'Fields of `TrainOptions`: `{"epochs": 30}`.',
    },
)
def tune(
    data: Data,
    target: str | Sequence[str] | np.ndarray | pd.Series | None = None,
    *,
    task: Task | None = None,
    weight: str | Sequence[float] | np.ndarray | pd.Series | None = None,
    subgroup: str | Sequence[object] | np.ndarray | pd.Series | None = None,
    schema: Schema | Mapping[str, Any] | str | Path | None = None,
    test: str | Path | None = None,
    name: str | None = None,
    variant: str | None = None,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
    fusions: Sequence[str] | str | None = None,
    trials: int | None = None,
    time_limit: float | str | None = None,
    metric: str | None = None,
    splits: int | None = None,
    prune: bool | None = None,
    seed: int | None = None,
    split: SplitOptions | Mapping[str, Any] | str | None = None,
    model: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    storage: str | Path | None = None,
    n_jobs: int | None = None,
    engine: EngineOptions | Mapping[str, Any] | str | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Tuning:
    """Searches the options of one network per fusion with Optuna; validation rows judge, test rows have no part.

    What is searched is in `profuse.tuning.space`. Trials are judged on the rows of the validation part (`splits`: of
    each fold). At the end networks with the default and with the best options are scored on the test rows, once.

    Args:
        data: A named data set, a file, a DataFrame, a dict of arrays or tensors by modality, or a `Dataset`.
        target: The target column(s) of a file or DataFrame; or the target's values, for a DataFrame or dict.
        task: As of `profuse.compare`.
        weight: As of `profuse.compare`.
        subgroup: As of `profuse.compare`.
        schema: Path of a YAML file, dict or `Schema`: what is not to be inferred.
        test: A file of test rows, beside a file of training rows.
        name: Of the data.
        variant: Of a named data set.
        base_dir: Where relative paths in a DataFrame start; the working directory if None.
        on_bad_file: "raise", or "skip": a broken picture, sound or series counts as missing.
        {parameters}
        out: Folder for best.yaml, trials.csv, tune.html and, unless `storage` is another file, trials.db.
        storage: File, or `sqlite:///FILE`, that the search is kept in: a second run goes on from there, and several
            processes may share it. None, without `out`: nothing is kept.
        n_jobs: Trials at a time; with one, equal seeds try the same. None: one, on a cluster as many as it has room
            for.
        engine: What does the trials: "local" (processes of this machine), "ray" (a Ray cluster), or fields of
            `EngineOptions`: `{"engine": "ray", "ray_address": "10.0.0.1:6379"}`.
        on_event: Told of progress.

    Raises:
        MissingDependencyError: Optuna is not installed.
        ProfuseError: The message names what is wrong and what to do.

    Example:
        >>> from profuse.tuning import tune
        >>> tuning = tune("synthetic", trials=20, out="tuned")  # doctest: +SKIP
        >>> FusionClassifier(**tuning.parameters()).fit(X, y)  # doctest: +SKIP
    """
    given = dict(locals())
    asked = {n: given[n] for n in TuneOptions.model_fields if given[n] is not None}
    asked |= {"split": asked["split"].model_dump(exclude_unset=True)} if isinstance(split, SplitOptions) else {}
    options = checked(TuneOptions, asked, where="tune")
    using = engine_asked(engine, where="tune")
    opened = open_data(
        data, target, who="tune", schema=schema, task=task, weight=weight, subgroup=subgroup, split=options.split,
        test=test, name=name, variant=variant, base_dir=base_dir, on_bad_file=on_bad_file,
    )  # fmt: skip
    return tune_opened(opened, options, out=out, storage=storage, n_jobs=n_jobs, engine=using, on_event=on_event)


def tune_opened(
    opened: Opened,
    options: TuneOptions,
    *,
    out: str | Path | None = None,
    storage: str | Path | None = None,
    n_jobs: int | None = None,
    engine: EngineOptions | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Tuning:
    """Does what `tune` does, of data that were opened; see there."""
    optuna_of()
    one_process("tune", "Its trials run side by side: n_jobs, or several runs with one storage.")
    if n_jobs is not None and n_jobs < 1:
        raise ConfigError(f"tune: n_jobs must be at least 1; got n_jobs={n_jobs}. Use 1.")
    using = engine or EngineOptions()
    file = None if out is None else Path(out) / "trials.db"
    file = file if storage is None else path_of(storage)
    if file is None:
        with scratch() as folder:
            made = _searched(opened, options, folder / "trials.db", n_jobs, using, on_event)
        return replace(made, storage=None)
    made = _searched(opened, options, file, n_jobs, using, on_event)
    if out is not None:
        made.write(out)
        write_file(Path(out) / "tune.html", tuning_html(made))
    return made


def _searched(
    opened: Opened,
    options: TuneOptions,
    file: Path,
    n_jobs: int | None,
    engine: EngineOptions,
    on_event: Callable[[Event], None] | None,
) -> Tuning:
    until = None if options.time_limit is None else time.time() + options.time_limit
    dataset = with_encoders(opened.dataset, options.model.encoders, into=options.model.into or (), who="tune")
    metric = metric_of(options, dataset.task)
    named = _models(options, len(dataset.modalities), dataset)
    split = make_split(dataset, opened.split, seed=options.seed)
    check_parts(dataset, split)
    facts = {
        "data": dataset.digest(), "split": opened.split.model_dump_json(), "seed": str(options.seed),
        "splits": str(options.splits), "metric": metric.name,
    }  # fmt: skip
    with opened_trials(engine, options.train, n_jobs, on_event or (lambda event: None)) as elsewhere:
        with limit_threads(options.train.threads):
            parts = _parts(dataset, split, options, opened.split)
        spaces = {
            fusion: space_of(
                model, options.train, modalities=tuple(dataset.modalities), task=dataset.task,
                n_rows=len(parts[0].split.train),
            )
            for fusion, model in named.items()
        }  # fmt: skip
        under = Under(parts, metric, options.prune, options.seed, until)
        n_at_once = n_jobs or 1 if elsewhere is None else elsewhere.n_jobs
        searches = search_all(Plan(file, spaces, facts, options.trials, under, n_at_once), on_event, elsewhere)
        notes = [] if elsewhere is None else elsewhere.notes
    whole = _Whole(dataset, split, options, metric)
    found = []
    for search in searches:
        if on_event is not None:
            done = sum(finished(t) for s in searches for t in s.trials)
            on_event(Event("test", done, max(done, options.trials * len(searches)), fusion=search.name))
        found.append(_found(search, metric, whole))
    sign = -1 if metric.higher_is_better else 1
    ranked = sorted(found, key=lambda f: sign * f.best_score)
    return Tuning(
        dataset.name, metric, options.seed, opened.split.valid_size, options.splits, {f.fusion: f for f in ranked},
        Machine.here(), file, [*dataset.notes, *parts[0].pipeline.notes, *notes],
    )  # fmt: skip


def metric_of(options: TuneOptions, task: Task) -> Metric:
    """Returns the metric that judges.

    Raises:
        UnknownNameError: There is no such metric.
        ConfigError: It is not of this task, or tells nothing of rows.
    """
    return (
        default_metric(task) if options.metric is None else metric_named(options.metric, task, who="tune", by_rows=True)
    )


def _models(options: TuneOptions, n_modalities: int, dataset: Dataset) -> dict[str, ModelOptions]:
    """Returns the options that the trials of each fusion share, by its name."""
    if not options.fusions:
        chosen = options.model.chosen(n_modalities, dataset.task)
        return {f"{chosen.level}:{chosen.fusion}" if chosen.level else str(chosen.fusion): options.model}
    named = {}
    for asked in options.fusions:
        level, _, name = asked.strip().rpartition(":")
        resolve(name, FUSIONS, where="tune", what="fusion")
        if level and level not in LEVELS:
            raise UnknownNameError(
                f"tune: level must be a known name; got level={level!r}. Known: {', '.join(LEVELS)}."
            )
        update = {"fusion": name, **({"level": level} if level else {})}
        made = checked(ModelOptions, {**options.model.model_dump(exclude_unset=True), **update}, where="tune")
        made.resolved_level()
        named[asked.strip()] = made
    return named


def _parts(dataset: Dataset, split: Split, options: TuneOptions, how: SplitOptions) -> list[Prepared]:
    """Returns the rows that are learned from and that judge, without test rows, prepared: one a fold."""
    known = np.sort(np.concatenate([split.train, split.valid]))
    rows, nothing = dataset.rows(known), np.empty(0, dtype=np.int64)
    if options.splits == 1:
        cut = [(np.searchsorted(known, split.train), np.searchsorted(known, split.valid))]
    else:
        bare = replace(rows, split=None)
        cut = folds(bare, np.arange(len(rows)), options.splits, options.seed, options=how)
    codec = TargetCodec.fit(np.asarray(rows.target), rows.task, names=rows.target_names)
    made = [Prepared.make(rows, Split(fit, judge, nothing), classes=codec) for fit, judge in cut]
    return [p.choose(options.model, rows.modalities) for p in made]


class _Whole:
    """All rows, prepared when they are first needed."""

    def __init__(self, dataset: Dataset, split: Split, options: TuneOptions, metric: Metric) -> None:
        self.options, self.metric = options, metric
        self._dataset, self._split = dataset, split
        self._prepared: Prepared | None = None

    def held_out(self, options: Mapping[str, tuple[ModelOptions, TrainOptions]], *, same: bool) -> HeldOut:
        """Returns what two sets of options are worth on the test rows."""
        if self._prepared is None:
            with limit_threads(self.options.train.threads):
                prepared = Prepared.make(self._dataset, self._split)
                self._prepared = prepared.choose(self.options.model, self._dataset.modalities)
        return held_out(self._prepared, options.__getitem__, same=same, metric=self.metric, seed=self.options.seed)


def _found(search: Search, metric: Metric, whole: _Whole) -> Found:
    """Returns what the search of a fusion has found; what the test rows say is kept with it."""
    trials = tuple(_facts(trial, metric) for trial in search.trials if finished(trial) or _failed(trial))
    check_found(trials, search.name)
    sign = -1 if metric.higher_is_better else 1
    best = min((t for t in trials if t.score is not None), key=lambda t: (sign * (t.score or 0.0), t.number))
    space = search.space
    default = space.options(space.default)
    chosen = space.options(best.options)
    known = HeldOut.from_json(search.study.user_attrs.get(f"test of trial {best.number}"))
    if known is None:
        known = whole.held_out({"default": default, "best": chosen}, same=best.default)
        search.study.set_user_attr(f"test of trial {best.number}", known.to_json())
    return Found(search.name, trials, best.number, *chosen, known, _importance(search))


def _failed(trial: Any) -> bool:
    return trial.state.name == "FAIL" and counts(trial)


def _facts(trial: Any, metric: Metric) -> TrialFacts:
    said = trial.user_attrs
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    return TrialFacts(
        trial.number, state, dict(trial.params), score_of_trial(trial, metric), tuple(said.get("scores", ())),
        sum(said.get("epochs", ())), float(said.get("seconds", 0.0)), is_default(trial), str(said.get(FAILED, "")),
    )  # fmt: skip


def _importance(search: Search) -> dict[str, float]:
    """Returns the share of the spread of validation scores that each option explains (fANOVA)."""
    optuna = optuna_of()
    done = [t for t in search.trials if t.state.name == "COMPLETE"]
    if len(done) < _ENOUGH or len({t.value for t in done}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {n: float(v) for n, v in optuna.importance.get_param_importances(search.study, evaluator=evaluator).items()}
