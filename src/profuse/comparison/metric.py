"""The metric that counts in a comparison: by which methods are chosen, ranked and tested; and those shown beside it."""

from __future__ import annotations

import numpy as np

from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Results
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.data.wording import tell_values
from profuse.errors import DataError
from profuse.metrics import DEFAULTS, Metric, metric, metric_named, primary_metric

__all__ = ["class_counts", "metric_of", "metrics_beside", "unequal", "unvaried", "with_metric"]

UNEQUAL = 2
"""Times the rows of the smallest class that the largest may have before balanced accuracy is shown."""


def metric_of(results: Results) -> Metric:
    """Returns the metric that counts; the task's primary one where results name none, as those of earlier versions.

    Raises:
        UnknownNameError: It was one of the user's own, which is not registered here.
    """
    return metric_named(results.config.get("metric"), results.dataset.task, who="Results", by_rows=True)


def metrics_beside(results: Results) -> tuple[Metric, ...]:
    """Returns what the report shows in every table beside the metric that counts, as far as it was measured.

    That is, of classes, accuracy, balanced accuracy where classes are unequal, and log loss.
    """
    if results.dataset.task not in ("binary", "multiclass"):
        return ()
    names = ["accuracy", *(["balanced_accuracy"] if unequal(class_counts(results)) else []), "log_loss"]
    known = {s.metric for s in results.scores if s.split == "test"} - {metric_of(results).name}
    return tuple(metric(name) for name in names if name in known)


def class_counts(results: Results) -> np.ndarray | None:
    """Returns the test rows of each class, all seeds together; None where they were not counted."""
    counts = [np.asarray(c.counts).sum(1) for c in results.confusion]
    return max(counts, key=np.sum) if counts else None


def unequal(counts: np.ndarray | None) -> bool:
    """Whether the largest class has more than twice the rows of the smallest."""
    return counts is not None and bool(counts.max() > UNEQUAL * counts.min())


def unvaried(results: Results) -> float:
    """Returns the variance of a score of classes that no row changes, as AUROC 1: one row of the smallest class errs.

    0 for accuracy, which has Wilson's interval, and where nothing says how many rows of a class there are.
    """
    counted = metric_of(results)
    counts = None if counted.proportion or counted.range != (0.0, 1.0) else class_counts(results)
    if counts is None or counts.min() == 0:
        return 0.0
    return float(max(1, len(results.rows)) / counts.min()) ** 2


def with_metric(options: CompareOptions, dataset: Dataset) -> tuple[CompareOptions, list[str]]:
    """Returns the options with our name of the metric, or the task's default; and what is to be told of it.

    Where the default is not defined on the validation or test rows of a seed, the primary metric counts.

    Raises:
        UnknownNameError: There is no such metric.
        ConfigError: It is not of this task, or does not tell what each row contributes.
        DataError: It is not defined for these targets, or not on these validation or test rows.
    """
    name = DEFAULTS.get(dataset.task) if options.metric is None else options.metric
    if name is None:
        return options, []
    chosen = metric_named(name, dataset.task, who="compare", by_rows=True)
    if dataset.task == "regression":
        lowest = float(np.asarray(dataset.target, dtype=np.float64).min())
        if lowest < chosen.least_target:
            raise DataError(
                f"compare: targets must be at least {chosen.least_target:g} for metric={chosen.name!r}; got "
                f"{lowest:.6g}. Name another metric."
            )
        return options.model_copy(update={"metric": chosen.name}), []
    notes = []
    if lacking := _undefined(chosen, options, dataset):
        advice = "Divide rows otherwise (--split stratified, --test-size, --valid-size), or give more rows"
        instead = primary_metric(dataset.task)
        if options.metric is not None:
            raise DataError(
                f"compare: validation and test rows must be such that metric={chosen.name!r} is defined on them; "
                f"{lacking}. {advice}; or name another metric, as {instead.name!r}."
            )
        notes.append(
            f"{instead.label[:1].upper()}{instead.label[1:]} counts here, and not {chosen.label}, which is not "
            f"defined: {lacking}. {advice}."
        )
        chosen = instead
    return options.model_copy(update={"metric": chosen.name}), notes


def _undefined(chosen: Metric, options: CompareOptions, dataset: Dataset) -> str:
    """Tells on which rows even a perfect prediction has no score, of the first seed where that is so; "" if none."""
    target = np.asarray(dataset.target)
    classes = None if dataset.task == "multilabel" else np.unique(target.astype(str))
    perfect = target.astype(np.float64) if classes is None else np.eye(len(classes))
    codes = target if classes is None else np.searchsorted(classes, target.astype(str))
    for seed in range(options.seeds):
        split = make_split(dataset, options.split, seed=seed)
        for what, rows in (("validation", split.valid), ("test", split.test)):
            y = codes[rows]
            try:
                chosen.row_scores(y, perfect[rows] if classes is None else perfect[y])
            except DataError:
                if classes is None:
                    return f"at seed {seed} its {len(rows)} {what} rows do not allow it"
                return f"at seed {seed} all {len(rows)} {what} rows are of {tell_values(classes[np.unique(y)])}"
    return ""
