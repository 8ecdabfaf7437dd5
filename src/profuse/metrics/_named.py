"""Names of metrics, those of scikit-learn too, and what is told where a name will not do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from profuse._lookup import nearest, resolve
from profuse.errors import ConfigError, UnknownNameError
from profuse.metrics._base import Metric
from profuse.schema import Task

__all__ = ["ALIASES", "named", "our_name"]

ALIASES: Mapping[str, str] = {
    "roc_auc": "auroc",
    "roc_auc_ovr": "auroc",
    "pr_auc": "average_precision",
    "neg_log_loss": "log_loss",
    "neg_brier_score": "brier",
    "f1_macro": "macro_f1",
    "f1_micro": "micro_f1",
    "neg_mean_squared_error": "mse",
    "neg_root_mean_squared_error": "rmse",
    "neg_mean_absolute_error": "mae",
    "neg_root_mean_squared_log_error": "rmsle",
}
"""Other names, most of them scikit-learn's, to ours. A metric that is registered under one of them is meant itself."""

_OF_YOUR_OWN = " If it is one of your own, import the module that registers it, or install its package."


def our_name(name: str, known: Iterable[str]) -> str:
    """Returns the name that is ours of a metric that is called so elsewhere; any other as it is."""
    return name if name in set(known) else ALIASES.get(name, name)


def named(name: str, metrics: Mapping[str, Metric], task: Task, *, who: str, by_rows: bool) -> Metric:
    """Returns the metric of this name; see `profuse.metrics.metric_named`."""
    own = our_name(name, metrics)
    if own not in metrics:
        close = nearest(name, [*metrics, *ALIASES])
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else _OF_YOUR_OWN
        raise UnknownNameError(
            f"{who}: metric must be a known name; got metric={name!r}.{hint} {_told(metrics, task, by_rows=by_rows)}"
        )
    result = resolve(own, metrics, where=who, what="metric")
    if task not in result.tasks:
        raise ConfigError(
            f"{who}: metric must be one of a {task} task; got metric={name!r}, which is of {_listed(result.tasks)}. "
            f"{_told(metrics, task, by_rows=by_rows)}"
        )
    if by_rows and not result.by_rows:
        instead = f" {result.ranks_like!r} ranks alike." if result.ranks_like else ""
        raise ConfigError(
            f"{who}: metric must tell what each row contributes, so that differences can be tested; got "
            f"metric={name!r}, which does not.{instead} {_told(metrics, task, by_rows=by_rows)}"
        )
    return result


def _told(metrics: Mapping[str, Metric], task: Task, *, by_rows: bool) -> str:
    """Says which metrics the task has, and which of them will do."""
    of_task = [name for name, m in metrics.items() if task in m.tasks]
    tested = [name for name in of_task if metrics[name].by_rows]
    rest = [name for name in of_task if name not in tested]
    if not by_rows or not rest:
        return f"A {task} task has {_listed(of_task)}."
    return f"A {task} task has {_listed(tested)}; {_listed(rest)} cannot be tested by rows."


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
