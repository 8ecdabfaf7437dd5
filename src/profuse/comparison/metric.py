"""The metric that counts in a comparison: by which methods are chosen, ranked and tested."""

from __future__ import annotations

import numpy as np

from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Results
from profuse.data.dataset import Dataset
from profuse.errors import DataError
from profuse.metrics import Metric, metric_named

__all__ = ["metric_of", "with_metric"]


def metric_of(results: Results) -> Metric:
    """Returns the metric that the comparison was asked for; the task's primary one where none was named.

    Raises:
        UnknownNameError: It was one of the user's own, which is not registered here.
    """
    return metric_named(results.config.get("metric"), results.dataset.task, who="Results", by_rows=True)


def with_metric(options: CompareOptions, dataset: Dataset) -> CompareOptions:
    """Returns the options with our name of the metric.

    Raises:
        UnknownNameError: There is no such metric.
        ConfigError: It is not of this task, or does not tell what each row contributes.
        DataError: It is not defined for these targets.
    """
    if options.metric is None:
        return options
    metric = metric_named(options.metric, dataset.task, who="compare", by_rows=True)
    if dataset.task == "regression":
        lowest = float(np.asarray(dataset.target, dtype=np.float64).min())
        if lowest < metric.least_target:
            raise DataError(
                f"compare: targets must be at least {metric.least_target:g} for metric={metric.name!r}; got "
                f"{lowest:.6g}. Name another metric."
            )
    return options.model_copy(update={"metric": metric.name})
