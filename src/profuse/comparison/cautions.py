"""When the interval of the primary score is not to be relied on, told before anyone reads it; see docs/compare.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from profuse.data.wording import tell_values
from profuse.metrics import FEW, Metric, rows_of_half_the_spread, tell_few
from profuse.schema import Task

__all__ = ["caution_of"]


def caution_of(metric: Metric, task: Task, true: Sequence[np.ndarray], classes: Sequence[str]) -> str:
    """Returns why the interval of a score is not to be relied on, "" where it is.

    Args:
        metric: That counts.
        task: Of the data.
        true: The targets of the test rows, of each seed.
        classes: In code order; labels of a multilabel task.
    """
    if metric.name == "r2":
        return _caution(true)
    if metric.name == "macro_f1" and task == "multilabel":
        return _caution_of_labels(true, classes)
    if task == "binary" and not metric.proportion and metric.range == (0.0, 1.0) and metric.name != "brier":
        return _caution_of_class(true, classes, metric.label)
    return ""


def _caution(true: Sequence[np.ndarray]) -> str:
    """Tells of a target with such tails that R2 hangs on a few test rows of some seed; see docs/compare.md."""
    half, n_rows = min(((rows_of_half_the_spread(y), len(y)) for y in true), key=lambda c: c[0] / c[1])
    if half > 3 and half >= 0.05 * n_rows:
        return ""
    return (
        f"Half of the target's variance over the test rows lies in {half} of {n_rows:,}: R\N{SUPERSCRIPT TWO} hangs on "
        "them, and its own interval covers less often than it says (60 to 94 % instead of 95 % in simulations). "
        "Differences of methods are tested by squared errors, which holds. Look at the mean absolute error too."
    )


def _caution_of_labels(true: Sequence[np.ndarray], labels: Sequence[str]) -> str:
    """Tells of labels that so few test rows have that macro F1 hangs on those; see docs/compare.md."""
    counts = np.min([y.sum(0) for y in true], axis=0)
    rare = [label for label, n in zip(labels, counts.tolist(), strict=True) if 0 < n < _FEW]
    if not rare:
        return ""
    are = f"{len(rare)} labels have" if len(rare) > 1 else "1 label has"
    return (
        f"{are} fewer than {_FEW} of the {len(true[0]):,} test rows ({tell_values(rare)}): macro F1 hangs on them, and "
        "at one seed equal methods are shown to differ in up to 13 % of comparisons instead of 5 % (in simulations). "
        "Look at micro F1 too."
    )


def _caution_of_class(true: Sequence[np.ndarray], classes: Sequence[str], label: str) -> str:
    """Tells of a class that fewer test rows of some seed have than scores of both classes need."""
    counts = [np.bincount(y, minlength=2) for y in true]
    fewest = min(counts, key=np.min)
    rarer = int(fewest.argmin())
    if fewest[rarer] >= FEW:
        return ""
    return tell_few(label, classes[rarer], int(fewest[rarer]), int(fewest.sum()))


_FEW = 4
"""Test rows of a label from which on differences in macro F1 are tested about as they should."""
