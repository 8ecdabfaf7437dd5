"""The metrics of what a predictor says of rows whose target is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from profuse.data.target import TargetCodec
from profuse.metrics import Measured, measure, notes_of_two_classes
from profuse.predictor.decision import Decision

__all__ = ["measured_outputs", "true_values"]


def true_values(codec: TargetCodec, target: np.ndarray) -> np.ndarray:
    """Returns a target, as a `Dataset` holds it, as metrics take it: class numbers, 0 and 1, or values in its units.

    Raises:
        DataError: It has classes that training had not.
    """
    encoded = codec.encode(target)
    return target if codec.task == "regression" else encoded


def measured_outputs(codec: TargetCodec, decision: Decision, true: np.ndarray, outputs: np.ndarray) -> Measured:
    """Returns every metric of the task.

    Args:
        codec: Of the target.
        decision: Which class is answered.
        true: What `true_values` has returned.
        outputs: Probabilities, or values in the target's units, `[row, output]`.
    """
    classes = [str(c) for c in codec.classes]
    measured = measure(codec.task, true, outputs, classes=classes, seen_by=decision.seen_by)
    if codec.task == "binary":
        told = notes_of_two_classes(true, decision.codes(outputs), classes, at=decision.words)
        measured = replace(measured, notes=(*measured.notes, *told))
    return measured
