"""The test score of a fitted model whose inputs were tampered with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch

from profuse.errors import ProfuseWarning
from profuse.predictor import Predictor
from profuse.tokens import Raw
from profuse.training.fitting import Prepared

__all__ = ["Scorer", "score", "test_rows"]

Scorer = Callable[[np.ndarray, np.ndarray], float]
"""`(y_true, prediction)` -> score, as a `profuse.metrics.Metric`."""


def test_rows(prepared: Prepared) -> dict[str, Raw]:
    """Returns the inputs of the test rows, in the order of the split."""
    rows = torch.as_tensor(prepared.split.test)
    inputs = {name: raw.rows(rows) for name, raw in prepared.inputs.items()}
    absent = [name for name, raw in inputs.items() if not raw.present.any()]
    if absent:
        warnings.warn(
            f"robustness: no test row has {' or '.join(map(repr, absent))}: scores with and without it, clean and "
            "noisy, are equal and say nothing of it.",
            ProfuseWarning,
            stacklevel=3,
        )
    return inputs


def score(model: Predictor, prepared: Prepared, inputs: Mapping[str, Raw], metric: Scorer) -> float:
    """Returns `metric` of what `model` predicts for `inputs`, the test rows, against their targets in their units."""
    return float(metric(prepared.true(prepared.split.test), model.predict_encoded(inputs)))
