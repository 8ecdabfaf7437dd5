"""Scores of a prediction, and how much each row contributes to them.

Predictions are class probabilities `[row, class]` (binary: two columns), label probabilities `[row, label]`,
or values `[row, target]` in the target's own units. Targets are class codes `[row]`, 0/1 `[row, label]`, or
numbers `[row]` or `[row, target]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from profuse.errors import DataError, ShapeError
from profuse.schema import Task

__all__ = [
    "Measured",
    "Metric",
    "log_error_scores",
    "measure",
    "metrics_for",
    "primary_metric",
    "row_scores",
    "rows_of_half_the_spread",
]

Array = np.ndarray


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        name: As in `results.csv`.
        label: As a reader says it.
        higher_is_better: Its direction.
        unit: "" for a pure number; else words ("squared target units").
        function: `(y_true, prediction)` -> float; raises `DataError` where the score is not defined.
    """

    name: str
    label: str
    higher_is_better: bool
    unit: str
    function: Callable[[Array, Array], float]

    def __call__(self, y_true: Array, prediction: Array) -> float:
        return self.function(np.asarray(y_true), np.asarray(prediction, dtype=np.float64))


@dataclass(frozen=True)
class Measured:
    """All scores of one prediction: `values` by metric name, and `notes` on what is not defined or is special."""

    values: dict[str, float]
    notes: tuple[str, ...]


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """Returns the metrics of a task, the primary one first."""
    return _METRICS[task]


def primary_metric(task: Task) -> Metric:
    """Returns the metric that ranks methods of this task."""
    return _METRICS[task][0]


def measure(task: Task, y_true: Array, prediction: Array, *, classes: Sequence[object] | None = None) -> Measured:
    """Returns every metric of `task`; one that is not defined on these rows is left out, and a note says why.

    Args:
        task: What kind of target.
        y_true: See the module.
        prediction: See the module.
        classes: Names of the classes or labels, for the notes.

    Raises:
        ShapeError: Shapes do not fit, or a class code is not a column of the prediction.
        DataError: A target or a prediction is not finite, or class probabilities do not sum to 1.
    """
    y, p = _checked(task, y_true, prediction)
    values: dict[str, float] = {}
    notes = _absent(task, y, p, classes)
    for metric in metrics_for(task):
        try:
            values[metric.name] = metric(y, p)
        except DataError as error:
            notes.append(str(error))
    return Measured(values, tuple(notes))


def row_scores(task: Task, y_true: Array, prediction: Array) -> Array:
    """Returns each row's contribution to the primary metric, `[row]`; their mean is the metric.

    - Accuracy is a mean over rows already: 1 where the most probable class is right, else 0.
    - R2, a mean over targets, with `e = (y - p)^2`, `v = (y - mean y)^2`: `1 - e_i / mean v`. The variance of the
      target is the same for all methods, so that two of them differ by their squared errors alone. (Influence values
      of the ratio would hold `v_i` too. Where few rows carry both sums they cancel, and 11 to 30 % of differences
      between equal methods came out as shown.) For one method by itself see `log_error_scores`.
    - F1, a mean over labels, with `a = 2 tp`, `b = 2 tp + fp + fn`: `F1 + (a_i - F1 b_i) / mean b`, the metric plus
      the row's influence value (the infinitesimal jackknife): the variance of their mean is the delta method's.

    Reference:
        Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 6.
    """
    y, p = _checked(task, y_true, prediction)
    if task in ("binary", "multiclass"):
        return np.asarray(p.argmax(1) == y, dtype=np.float64)
    if task == "regression":
        if (y == y[0]).all(0).any():
            raise DataError("row_scores: the target must vary over the rows for R2; got a constant. Use more rows.")
        spread, error = _squares(y, p)
        return np.asarray(1 - (error / spread.mean(0)).mean(1))
    twice_hit, total = _f1_parts(y, p >= 0.5)
    known = total.mean(0) > 0
    if not known.any():
        raise DataError("row_scores: at least one label must be set or predicted; got none. Use more rows.")
    twice_hit, total = twice_hit[:, known], total[:, known]
    f1 = twice_hit.mean(0) / total.mean(0)
    return np.asarray((f1 + (twice_hit - f1 * total) / total.mean(0)).mean(1))


def log_error_scores(y_true: Array, prediction: Array) -> Array:
    """Returns pseudo-values `[row]` whose mean is `log(1 - R2)`: what each row does to R2, by the jackknife.

    With `L` of all n rows and `L(i)` of all but row i: `L + (n - 1) (mean L(.) - L(i))`. Where few rows carry the
    target's variance such intervals cover more: with lognormal targets and errors in proportion 86 to 93 %, those of
    the delta method 62 to 91 %. Not finite where R2 is 1, or is not defined without some row.

    Args:
        y_true: Numbers, `[row]` or `[row, target]`.
        prediction: Of the same shape.

    Reference:
        Miller, The Jackknife: A Review, Biometrika 61 (1974), on ratios and logarithms.
    """
    y, p = _checked("regression", y_true, prediction)
    n = len(y)
    if n < 2 or (y == y[0]).all(0).any():
        return np.full(n, np.inf)
    spread, error = _squares(y, p)
    rest = spread.sum(0) - spread * n / (n - 1)  # about the mean of the others
    rest = np.where(rest > 1e-12 * spread.sum(0), rest, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.log((error.sum(0) / spread.sum(0)).mean())
        without = np.log(((error.sum(0) - error) / rest).mean(1))
        return np.asarray(whole + (n - 1) * (without.mean() - without))


def rows_of_half_the_spread(y_true: Array) -> int:
    """Returns how many rows hold half of the target's squared deviations; of the target with the fewest."""
    (y,) = _columns(np.asarray(y_true, dtype=np.float64))
    spread, _ = _squares(y, y)
    largest = np.sort(spread, axis=0)[::-1].cumsum(0)
    return int((largest < 0.5 * largest[-1]).sum(0).min()) + 1


def _checked(task: Task, y_true: Array, prediction: Array) -> tuple[Array, Array]:
    y, p = np.asarray(y_true), np.asarray(prediction, dtype=np.float64)
    if task == "regression":
        y = y.astype(np.float64)
        y, p = _columns(y, p)
    one_code = task in ("binary", "multiclass")
    if p.ndim != 2 or len(y) != len(p) or len(y) == 0 or (y.ndim != 1 if one_code else y.shape != p.shape):
        want = "[row] and [row, class]" if one_code else "both [row, label or target]"
        raise ShapeError(
            f"measure: y_true and prediction of a {task} task must be {want}, with at least one row; "
            f"got y_true={np.shape(y_true)}, prediction={np.shape(prediction)}."
        )
    bad = int((~np.isfinite(p)).any(1).sum())
    if bad or not np.isfinite(y.astype(np.float64)).all():
        raise DataError(
            f"measure: targets and predictions must be finite; got {bad} of {len(p)} predicted rows that are not "
            f"and {int((~np.isfinite(y.astype(np.float64))).sum())} such targets. Look at the method's training."
        )
    if one_code:
        if y.min() < 0 or y.max() >= p.shape[1]:
            raise ShapeError(
                f"measure: class codes must be 0 to {p.shape[1] - 1}, the columns of the prediction; "
                f"got {y.min()} to {y.max()}. Encode y_true with the training classes."
            )
        if not np.allclose(p.sum(1), 1.0, atol=1e-3):
            worst = float(np.abs(p.sum(1) - 1).max())
            raise DataError(f"measure: class probabilities of a row must sum to 1; got one off by {worst:.3g}.")
        y = y.astype(np.int64)
    return y, p


def _absent(task: Task, y: Array, p: Array, classes: Sequence[object] | None) -> list[str]:
    """Says which classes have no row, for which F1 (unless predicted) and AUROC are not counted."""
    if task == "regression":
        return []
    counts = np.bincount(y, minlength=p.shape[1]) if y.ndim == 1 else y.sum(0)
    names = [str(classes[k]) if classes is not None else str(k) for k in np.flatnonzero(counts == 0).tolist()]
    if not names:
        return []
    what = "class" if len(names) == 1 else "classes"
    return [
        f"{len(names)} {what} of {p.shape[1]} without a row among these {len(y)} ({', '.join(names[:5])}"
        f"{', ...' if len(names) > 5 else ''}): AUROC averages over the others, macro F1 too unless it is predicted."
    ]


def _accuracy(y: Array, p: Array) -> float:
    return float((p.argmax(1) == y).mean())


def _f1_parts(y: Array, hit: Array) -> tuple[Array, Array]:
    y = y.astype(bool)
    twice = 2.0 * (y & hit)
    return twice, twice + (y ^ hit)


def _f1(y: Array, hit: Array, *, micro: bool = False) -> float:
    twice, total = _f1_parts(y, hit)
    a, b = (twice.sum(), total.sum()) if micro else (twice.sum(0), total.sum(0))
    known = b > 0  # neither in the rows nor predicted: F1 is 0/0, and the class is not counted
    if not np.any(known):
        raise DataError("f1: at least one label must be set or predicted; got none. The score is left out.")
    return float(np.mean(a[known] / b[known]))


def _macro_f1_of_classes(y: Array, p: Array) -> float:
    columns = np.arange(p.shape[1])
    return _f1(y[:, None] == columns, p.argmax(1)[:, None] == columns)


def _log_loss(y: Array, p: Array) -> float:
    p = np.clip(p / p.sum(1, keepdims=True), np.finfo(np.float32).eps, 1.0)
    return float(-np.log(p[np.arange(len(y)), y]).mean())


def _area(y: Array, score: Array) -> float:
    """AUROC of one 0/1 column by the Mann-Whitney statistic; ties count one half."""
    _, code, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[code]
    n_one = int(y.sum())
    return float((rank[y].sum() - n_one * (n_one + 1) / 2) / (n_one * (len(y) - n_one)))


def _mean_over(columns: Array, p: Array, score: Callable[[Array, Array], float], name: str) -> float:
    """Mean of `score` over the columns that hold both a 1 and a 0."""
    n_one = columns.sum(0)
    usable = np.flatnonzero((n_one > 0) & (n_one < len(columns)))
    if len(usable) == 0:
        raise DataError(f"{name}: at least two classes must be among the rows; got one. The score is left out.")
    return float(np.mean([score(columns[:, k], p[:, k]) for k in usable]))


def _auroc_of_classes(y: Array, p: Array) -> float:
    columns = np.arange(p.shape[1])[-1:] if p.shape[1] == 2 else np.arange(p.shape[1])
    return _mean_over(y[:, None] == columns, p[:, columns], _area, "auroc")


def _calibration_error(y: Array, p: Array) -> float:
    """Mean over 15 equal bins of the top probability of |share right - mean probability|, weighted by rows."""
    top, right = p.max(1), p.argmax(1) == y
    bins = np.minimum((top * 15).astype(int), 14)
    gap = np.bincount(bins, right - top, minlength=15)
    return float(np.abs(gap).sum() / len(y))


def _precision(y: Array, score: Array) -> float:
    """Average precision: sum over thresholds of (recall gained) x precision; ties are one threshold."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(y[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(y) - 1)
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / hits[-1])


def _columns(*arrays: Array) -> tuple[Array, ...]:
    """`[row]` as `[row, 1]`: else `[row] - [row, 1]` would be a square."""
    return tuple(a[:, None] if a.ndim == 1 else a for a in arrays)


def _squared(y: Array, p: Array) -> float:
    y, p = _columns(y, p)
    return float(((y - p) ** 2).mean())


def _absolute(y: Array, p: Array) -> float:
    y, p = _columns(y, p)
    return float(np.abs(y - p).mean())


def _r2(y: Array, p: Array) -> float:
    y, p = _columns(y, p)
    if (y == y[0]).all(0).any():
        raise DataError("r2: the target must vary over the rows; got a constant. The score is left out.")
    spread, error = _squares(y, p)
    return float(np.mean(1 - error.mean(0) / spread.mean(0)))


def _squares(y: Array, p: Array) -> tuple[Array, Array]:
    """(y - mean y)^2 and (y - p)^2 in units of the largest deviation, whose square may be no float64."""
    apart = y - y.mean(0)
    unit = np.abs(apart).max(0)
    return (apart / unit) ** 2, ((y - p) / unit) ** 2


_CLASSES = (
    Metric("accuracy", "accuracy", True, "", _accuracy),
    Metric("macro_f1", "macro F1", True, "", _macro_f1_of_classes),
    Metric("log_loss", "log loss", False, "nats", _log_loss),
    Metric("auroc", "AUROC (one class against the rest)", True, "", _auroc_of_classes),
    Metric("ece", "calibration error", False, "", _calibration_error),
)
_METRICS: dict[Task, tuple[Metric, ...]] = {
    "binary": _CLASSES,
    "multiclass": _CLASSES,
    "multilabel": (
        Metric("macro_f1", "macro F1", True, "", lambda y, p: _f1(y, p >= 0.5)),
        Metric(
            "exact_match", "exact match", True, "", lambda y, p: float(((p >= 0.5) == y.astype(bool)).all(1).mean())
        ),
        Metric("micro_f1", "micro F1", True, "", lambda y, p: _f1(y, p >= 0.5, micro=True)),
        Metric(
            "average_precision",
            "average precision",
            True,
            "",
            lambda y, p: _mean_over(y.astype(bool), p, _precision, "average_precision"),
        ),
    ),
    "regression": (
        Metric("r2", "R\N{SUPERSCRIPT TWO}", True, "", _r2),
        Metric("mse", "mean squared error", False, "squared target units", _squared),
        Metric("rmse", "root mean squared error", False, "target units", lambda y, p: float(np.sqrt(_squared(y, p)))),
        Metric("mae", "mean absolute error", False, "target units", _absolute),
    ),
}
