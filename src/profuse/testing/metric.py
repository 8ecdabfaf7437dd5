"""What must hold for every metric. Each check's docstring says it."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import numpy as np

from profuse.errors import ConfigError, DataError
from profuse.metrics import Metric
from profuse.schema import Task
from profuse.testing._contract import run_checks
from profuse.testing._subject import need

__all__ = ["METRIC_CHECKS", "check_metric"]

Array = np.ndarray
Oracle = Callable[[Array, Array], float]
N_ROWS = 60


@dataclass(frozen=True)
class MetricSubject:
    """A metric, and an independent computation of it."""

    metric: Metric
    oracle: Oracle

    def cases(self) -> Iterator[tuple[str, Array, Array, Array]]:
        """Yields for each task, in two sizes: what it is, targets, perfect predictions, and useless ones."""
        for task in self.metric.tasks:
            for n, size in enumerate((1, 3) if task == "regression" else (2,) if task == "binary" else (3, 6)):
                y, perfect, useless = _case(task, size, np.random.default_rng([17, n]))
                if task == "regression" and math.isfinite(least := self.metric.least_target):
                    y = perfect = least + np.abs(y - least)
                yield f"{task} of {size}", y, perfect.copy(), useless

    def blends(self, y: Array, perfect: Array, useless: Array) -> list[Array]:
        """Returns predictions that are right in ever fewer rows: in all, 3 of 4, 1 of 4, none on purpose."""
        wrong = np.random.default_rng(5).permutation(len(y))
        axes = (slice(None), *(None,) * (perfect.ndim - 1))
        return [np.where((wrong < n)[axes], useless, perfect) for n in (0, len(y) // 4, 3 * len(y) // 4, len(y))]


def _case(task: Task, size: int, draw: np.random.Generator) -> tuple[Array, Array, Array]:
    y: Array
    if task == "regression":
        y = draw.normal(3.0, 2.0, (N_ROWS, size))
        return y, y.copy(), draw.normal(-3.0, 6.0, (N_ROWS, size))
    if task == "multilabel":
        y = (draw.random((N_ROWS, size)) < 0.4).astype(int)
        y[0], y[1] = 0, 1
        return y, y.astype(float), (draw.random((N_ROWS, size)) < 0.5).astype(float)
    y = np.arange(N_ROWS) % size
    return y, np.eye(size)[y], np.eye(size)[draw.integers(0, size, N_ROWS)]


def declared(s: MetricSubject) -> None:
    """Its name, label, direction, range, unit and tasks are said, and its docstring says what it computes."""
    m = s.metric
    need(bool(re.fullmatch(r"[a-z][a-z0-9_]*", m.name)), f"name must be small letters, digits and _; got {m.name!r}.")
    need(bool(m.label), "label must be said; got nothing.")
    need(isinstance(m.higher_is_better, bool), f"higher_is_better must be a bool; got {m.higher_is_better!r}.")
    need(m.range[0] < m.range[1], f"range must be (least, greatest); got {m.range}.")
    known = set(get_args(Task))
    need(bool(m.tasks) and set(m.tasks) <= known, f"tasks must be some of {sorted(known)}; got {m.tasks}.")
    need(bool((type(m).__doc__ or "").strip()), "the class must have a docstring; got none.")


def stays_in_range(s: MetricSubject) -> None:
    """Its values lie in its range, for good predictions and bad ones."""
    low, high = s.metric.range
    for what, y, perfect, useless in s.cases():
        soft = 0.7 * perfect + 0.3 * useless
        for p in (*s.blends(y, perfect, useless), soft, useless[::-1]):
            value = s.metric(y, p)
            need(low - 1e-9 <= value <= high + 1e-9, f"values must be in {s.metric.range}; got {value} ({what}).")


def perfect_is_best(s: MetricSubject) -> None:
    """Perfect predictions have the best value: the end of the range, where that is finite."""
    best = s.metric.range[1] if s.metric.higher_is_better else s.metric.range[0]
    for what, y, perfect, useless in s.cases():
        value = s.metric(y, perfect)
        if math.isfinite(best):
            need(abs(value - best) < 1e-6, f"perfect predictions must have {best}; got {value} ({what}).")
        other = s.metric(y, useless)
        got = f"{value}, and {other} for useless ones, with higher_is_better={s.metric.higher_is_better} ({what})"
        need(_better(s.metric, value, other), f"perfect predictions must be best; got {got}.")


def worse_scores_worse(s: MetricSubject) -> None:
    """Predictions that are right in fewer rows have no better value, and in none a worse one, in its direction."""
    for what, y, perfect, useless in s.cases():
        values = [s.metric(y, p) for p in s.blends(y, perfect, useless)]
        worse = _better(s.metric, values[0], values[-1])  # a median stays as it is while few rows are wrong
        worse = worse and not any(_better(s.metric, two, one) for one, two in pairwise(values))
        got = f"{np.round(values, 4).tolist()} with higher_is_better={s.metric.higher_is_better} ({what})"
        need(worse, f"values must get worse from right to wrong; got {got}.")


def row_scores_average(s: MetricSubject) -> None:
    """What it tells of rows is finite, one number per row, and averages to the value."""
    for what, y, perfect, useless in s.cases():
        p = s.blends(y, perfect, useless)[1]
        try:
            rows = s.metric.row_scores(y, p)
        except ConfigError:
            continue  # it says that it is no mean over rows
        need(rows.shape == (len(y),), f"row_scores must be one number per row; got shape={rows.shape} ({what}).")
        need(bool(np.isfinite(rows).all()), f"row_scores must be finite; got others ({what}).")
        value = s.metric(y, p)
        need(abs(rows.mean() - value) < 1e-9, f"row_scores must average to {value}; got {rows.mean()} ({what}).")


def best_at_quantile(s: MetricSubject) -> None:
    """Of one answer for all rows the best is at the quantile that it declares."""
    q = s.metric.quantile
    if q is None:
        return
    need(0 < q < 1 and "regression" in s.metric.tasks, f"quantile must lie in 0 to 1, of numbers; got {q!r}.")
    y = np.random.default_rng(4).exponential(size=(400, 1))
    at = np.clip([q, q - 0.1, q + 0.1], 0.01, 0.99)
    values = [s.metric(y, np.full_like(y, level)) for level in np.quantile(y, at)]
    best = not any(_better(s.metric, other, values[0]) for other in values[1:])
    need(best, f"the value must be best at the quantile {q}; got {values} at {at.tolist()}.")


def answers_alone(s: MetricSubject) -> None:
    """One `of_answers` does not change with how sure the class (label) is that is answered."""
    for what, y, perfect, useless in s.cases() if s.metric.of_answers else ():
        p = 0.55 * perfect + 0.45 * useless
        answers = (p >= 0.5).astype(float) if y.ndim == 2 else np.eye(p.shape[1])[p.argmax(1)]
        one, two = s.metric(y, p), s.metric(y, answers)
        need(one == two, f"with of_answers, probabilities must not count; got {one}, and {two} of answers ({what}).")


def order_irrelevant(s: MetricSubject) -> None:
    """The order of the rows changes nothing."""
    order = np.random.default_rng(3).permutation(N_ROWS)
    for what, y, perfect, useless in s.cases():
        p = s.blends(y, perfect, useless)[1]
        one, two = s.metric(y, p), s.metric(y[order], p[order])
        need(abs(one - two) < 1e-9, f"the value must be the same in another order; got {one} and {two} ({what}).")


def undefined_raises(s: MetricSubject) -> None:
    """Where it is not defined it raises a DataError that says who and why; it never gives NaN, nor a warning."""
    for task in s.metric.tasks:
        odd = list(_odd_cases(task))
        if task == "regression" and math.isfinite(s.metric.least_target):
            odd.append((s.metric.least_target + np.array([[-1.0], [1.0]]), np.ones((2, 1))))
        for y, p in odd:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    value = s.metric(y, p)
                except DataError as error:
                    need(": " in str(error), f"the message must read 'who: what must hold; got ...'; got {error}")
                    continue
            below = task == "regression" and bool((y < s.metric.least_target).any())
            need(not below, f"targets below least_target={s.metric.least_target} must raise; got {value}.")
            what = f"{task}, y={y[:3].tolist()}..., p={p[:3].tolist()}..."
            need(math.isfinite(value), f"the value must be finite, or a DataError; got {value} ({what}).")


def _odd_cases(task: Task) -> Iterator[tuple[Array, Array]]:
    if task == "regression":
        for n in (1, 5):
            yield np.full((n, 1), 2.0), np.full((n, 1), 2.0)
            yield np.full((n, 1), 2.0), np.arange(n * 1.0)[:, None]
    elif task == "multilabel":
        for n in (1, 5):
            yield np.zeros((n, 2), dtype=int), np.full((n, 2), 0.25)
            yield np.ones((n, 2), dtype=int), np.full((n, 2), 0.75)
    else:
        for n in (1, 5):
            yield np.zeros(n, dtype=int), np.eye(2)[np.zeros(n, dtype=int)]
            yield np.zeros(n, dtype=int), np.eye(2)[np.ones(n, dtype=int)]


def inputs_left_alone(s: MetricSubject) -> None:
    """It does not change the arrays that it is given, and tells the same when it is asked again."""
    for what, y, perfect, useless in s.cases():
        p = 0.7 * perfect + 0.3 * useless
        before = y.copy(), p.copy()
        one, two = s.metric(y, p), s.metric(y, p)
        need(one == two, f"the value must be the same when asked again; got {one} and {two} ({what}).")
        same = np.array_equal(before[0], y) and np.array_equal(before[1], p)
        need(same, f"targets and predictions must be left as they are; got others ({what}).")


def oracle_agrees(s: MetricSubject) -> None:
    """An independent computation gives the same."""
    for what, y, perfect, useless in s.cases():
        soft = 0.55 * perfect + 0.45 * useless if perfect.ndim == 2 else useless
        for p in (*s.blends(y, perfect, useless)[1:], soft):
            value, want = s.metric(y, p), float(s.oracle(y, p))
            near = math.isclose(value, want, rel_tol=1e-5, abs_tol=1e-9)
            need(near, f"the value must be that of the oracle, {want}; got {value} ({what}).")


def _better(metric: Metric, one: float, two: float) -> bool:
    return one > two if metric.higher_is_better else one < two


METRIC_CHECKS: dict[str, Callable[[MetricSubject], None]] = {
    check.__name__: check
    for check in (
        declared,
        stays_in_range,
        perfect_is_best,
        worse_scores_worse,
        row_scores_average,
        best_at_quantile,
        answers_alone,
        order_irrelevant,
        undefined_raises,
        inputs_left_alone,
        oracle_agrees,
    )
}


def check_metric(cls: type[Metric], oracle: Oracle, *, checks: Iterable[str] = tuple(METRIC_CHECKS)) -> None:
    """Checks a metric against the contract, for every task that it names.

    Args:
        cls: Its class.
        oracle: `(targets, predictions) -> value`, computed in another way: by scikit-learn, or by hand, however slow.
        checks: Names of `METRIC_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        UnknownNameError: There is no such check.
    """
    run_checks(cls.__name__, MetricSubject(cls(), oracle), METRIC_CHECKS, checks)
