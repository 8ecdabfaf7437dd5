"""Scores of a prediction, and how much each row contributes to them.

Predictions are class probabilities `[row, class]` (binary: two columns), label probabilities `[row, label]`,
or values `[row, target]` in the target's own units. Targets are class codes `[row]`, 0/1 `[row, label]`, or
numbers `[row]` or `[row, target]`.

"Add yours": copy a neighbour to `metrics/yours.py`, write `score`, add one line to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from profuse.errors import DataError
from profuse.metrics._base import Array, Metric, aim_of
from profuse.metrics._checks import absent, checked
from profuse.metrics._named import named, our_name
from profuse.metrics._two_classes import FEW, notes_of_two_classes, tell_few, tell_never
from profuse.metrics.r2 import log_error_scores, rows_of_half_the_spread
from profuse.registry import table
from profuse.schema import Task

__all__ = [
    "DEFAULTS",
    "FEW",
    "METRICS",
    "Measured",
    "Metric",
    "aim_of",
    "default_metric",
    "log_error_scores",
    "measure",
    "metric",
    "metric_named",
    "metrics_for",
    "notes_of_two_classes",
    "our_name",
    "primary_metric",
    "row_scores",
    "rows_of_half_the_spread",
    "tell_few",
    "tell_never",
]

METRICS = table(
    "metric",
    {
        "accuracy": "profuse.metrics.accuracy:Accuracy",
        "macro_f1": "profuse.metrics.macro_f1:MacroF1",
        "exact_match": "profuse.metrics.exact_match:ExactMatch",
        "micro_f1": "profuse.metrics.micro_f1:MicroF1",
        "average_precision": "profuse.metrics.average_precision:AveragePrecision",
        "log_loss": "profuse.metrics.log_loss:LogLoss",
        "auroc": "profuse.metrics.auroc:AUROC",
        "ece": "profuse.metrics.ece:CalibrationError",
        "r2": "profuse.metrics.r2:R2",
        "mse": "profuse.metrics.mse:MeanSquaredError",
        "rmse": "profuse.metrics.rmse:RootMeanSquaredError",
        "mae": "profuse.metrics.mae:MeanAbsoluteError",
        "balanced_accuracy": "profuse.metrics.balanced_accuracy:BalancedAccuracy",
        "f1": "profuse.metrics.f1:F1",
        "brier": "profuse.metrics.brier:Brier",
        "rmsle": "profuse.metrics.rmsle:RootMeanSquaredLogError",
        "pinball": "profuse.metrics.pinball:Pinball",
        "spearman": "profuse.metrics.spearman:Spearman",
        "concordance": "profuse.metrics.concordance:Concordance",
    },
)
"""The first that is defined for a task is the task's primary one."""


@dataclass(frozen=True)
class Measured:
    """All scores of one prediction: `values` by metric name, and `notes` on what is not defined or is special."""

    values: dict[str, float]
    notes: tuple[str, ...]


def metric(name: str) -> Metric:
    """Returns the metric called `name`."""
    return cast("type[Metric]", METRICS.part(name))()


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """Returns the metrics of a task, the primary one first."""
    return tuple(m for m in map(metric, METRICS) if task in m.tasks)


def metric_named(name: str | None, task: Task, *, who: str, by_rows: bool = False) -> Metric:
    """Returns the metric of `task` that is called `name`, by us or by scikit-learn (`roc_auc`); None: the primary one.

    Args:
        name: Of a metric of profuse, or of your own that is registered.
        task: What kind of target.
        who: Asks; messages begin with it.
        by_rows: Whether it must tell what each row contributes.

    Raises:
        UnknownNameError: There is no such metric; the nearest names are told, and all of the task.
        ConfigError: It is not of this task, or tells nothing of rows.
    """
    if name is None:
        return primary_metric(task)
    return named(name, {n: metric(n) for n in METRICS}, task, who=who, by_rows=by_rows)


DEFAULTS: Mapping[Task, str] = {"binary": "auroc"}
"""By task, what a comparison and a portfolio count by where no metric is named; of the others the primary one."""


def default_metric(task: Task) -> Metric:
    """Returns the metric that counts where none is named: by which models are chosen, not by which epochs are."""
    return metric(DEFAULTS[task]) if task in DEFAULTS else primary_metric(task)


def primary_metric(task: Task) -> Metric:
    """Returns the metric that ranks methods of this task where no other is named."""
    return metrics_for(task)[0]


def measure(
    task: Task,
    y_true: Array,
    prediction: Array,
    *,
    classes: Sequence[object] | None = None,
    seen_by: Callable[[Metric, Array], Array] | None = None,
) -> Measured:
    """Returns every metric of `task`; one that is not defined on these rows is left out, and a note says why.

    Args:
        task: What kind of target.
        y_true: See the module.
        prediction: See the module.
        classes: Names of the classes or labels, for the notes.
        seen_by: Returns a prediction as a metric must see it, where answers are not the most probable classes.

    Raises:
        ShapeError: Shapes do not fit, or a class code is not a column of the prediction.
        DataError: A target or a prediction is not finite, or class probabilities do not sum to 1.
    """
    y, p = checked(task, y_true, prediction)
    values: dict[str, float] = {}
    notes = absent(task, y, p, classes)
    for metric in metrics_for(task):
        try:
            values[metric.name] = metric(y, p if seen_by is None else seen_by(metric, p))
        except DataError as error:
            notes.append(str(error))
    return Measured(values, tuple(notes))


def row_scores(task: Task, y_true: Array, prediction: Array, *, metric: Metric | None = None) -> Array:
    """Returns each row's contribution to the metric (the primary one if None), `[row]`; their mean is the metric.

    See `row_scores` of the metric, and `measure` for what is raised.
    """
    return (metric or primary_metric(task)).row_scores(*checked(task, y_true, prediction))
