"""What the best and the default options are worth on test rows, which had no part in the search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from profuse.comparison.statistics import Sample, paired_difference
from profuse.data.dataset import clusters_of
from profuse.errors import DataError, ProfuseError
from profuse.metrics import Metric
from profuse.models.options import ModelOptions
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

__all__ = ["HeldOut", "held_out"]


@dataclass(frozen=True)
class HeldOut:
    """Scores of test rows.

    Attributes:
        default: Of the network with the default options.
        best: Of that with the best ones.
        low: Lower end of the paired 95 % interval of the gain of the best options; above 0 is better. None where they
            are the default ones, or nothing tells how sure it is.
        high: Upper end.
        n_rows: Test rows.
        note: Why there are no scores, if so.
    """

    default: float | None = None
    best: float | None = None
    low: float | None = None
    high: float | None = None
    n_rows: int = 0
    note: str = ""

    def to_json(self) -> str:
        """Returns it as text."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: object) -> HeldOut | None:
        """Returns what `to_json` wrote; None where it did not."""
        try:
            return cls(**json.loads(str(text)))
        except (ValueError, TypeError):
            return None


def held_out(
    prepared: Prepared,
    options: Callable[[str], tuple[ModelOptions, TrainOptions]],
    *,
    same: bool,
    metric: Metric,
    seed: int,
) -> HeldOut:
    """Fits networks with the default and the best options as `fit` does, and scores the test rows once.

    Args:
        prepared: All rows.
        options: Those that are called "default" and "best".
        same: Whether they are the same.
        metric: That counts.
        seed: Of training.
    """
    test = prepared.split.test
    true, scores, rows = prepared.true(test), {}, {}
    try:
        for name in ("default",) if same else ("default", "best"):
            model, train = options(name)
            fitted = fit_model(prepared, model, train.model_copy(update={"seed": seed}), metric=metric)
            said = fitted.predict_encoded(prepared.inputs, test)
            scores[name] = float(metric(true, said))
            rows[name] = metric.row_scores(true, said)
    except DataError as error:
        return HeldOut(n_rows=len(test), note=f"the metric is not defined on the test rows: {error}")
    except ProfuseError as error:
        return HeldOut(n_rows=len(test), note=str(error))
    if same:
        return HeldOut(scores["default"], scores["default"], n_rows=len(test))
    clusters = clusters_of(prepared.dataset, test)
    default, best = ([Sample(test, clusters, np.asarray(rows[name], dtype=float))] for name in ("default", "best"))
    better, worse = (best, default) if metric.higher_is_better else (default, best)
    gain = paired_difference(better, worse, n_train=len(prepared.split.train), proportion=metric.proportion)
    low, high = (end if math.isfinite(end) else None for end in (gain.low, gain.high))
    return HeldOut(scores["default"], scores["best"], low, high, n_rows=len(test))
