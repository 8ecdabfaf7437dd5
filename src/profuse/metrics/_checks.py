"""What must hold of targets and predictions, whatever is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from profuse.errors import DataError, ShapeError
from profuse.metrics._base import Array
from profuse.metrics._errors import columns
from profuse.schema import Task

__all__ = ["absent", "checked"]


def checked(task: Task, y_true: Array, prediction: Array) -> tuple[Array, Array]:
    """Returns targets and predictions as metrics take them; see `measure` for what is raised."""
    y, p = np.asarray(y_true), np.asarray(prediction, dtype=np.float64)
    if task == "regression":
        y = y.astype(np.float64)
        y, p = columns(y, p)
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


def absent(task: Task, y: Array, p: Array, classes: Sequence[object] | None) -> list[str]:
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
