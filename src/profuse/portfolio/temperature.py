"""How sure probabilities may be: one power, by rows that were held out."""

from __future__ import annotations

import numpy as np

from profuse.predictor import softened
from profuse.schema import Task

__all__ = ["temperature_of"]

_REACH = (0.2, 5.0)


def temperature_of(
    task: Task, outputs: np.ndarray, true: np.ndarray, *, at_least: float = 0.0, weights: np.ndarray | None = None
) -> float:
    """Returns the temperature with which probabilities of held-out rows have the smallest log loss; 1 for numbers.

    Args:
        task: Of the target.
        outputs: Probabilities `[row, class or label]`.
        true: Class numbers `[row]`, or 0/1 `[row, label]`.
        at_least: Held-out rows of drifting data are too much like those learned from: then 1.
        weights: `[row]`: how much rows count in the loss, as in those of the models; None: all alike.

    Reference:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (2017), section 4.2.
    """
    if task == "regression":
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        p = np.clip(softened(task, outputs, float(np.exp(log_temperature))), 1e-12, 1.0)
        if task == "multilabel":
            each = (true * np.log(p) + (1 - true) * np.log(np.clip(1 - p, 1e-12, 1.0))).mean(1)
        else:
            each = np.log(p[np.arange(len(true)), true])
        return float(-np.average(each, weights=weights))

    low, high = np.log(max(_REACH[0], at_least)), np.log(_REACH[1])
    best = float(minimize_scalar(loss, bounds=(low, high), method="bounded").x)
    return float(np.exp(best)) if loss(best) < loss(0.0) else 1.0
