"""Names of methods -> methods, fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from profuse.imputation.blocks import Inputs
from profuse.imputation.coding import Coding, Target
from profuse.imputation.methods import MeanMethod, Method, NearestMethod
from profuse.imputation.regressions import NetworkMethod, RidgeMethod
from profuse.training.callbacks import Callers
from profuse.training.options import TrainOptions

__all__ = ["BASELINES", "LEARNED_AGAIN", "make_method", "resampled"]

BASELINES = ("ridge", "nearest", "mean")
"""What every method is measured beside."""
LEARNED_AGAIN = ("mean", "ridge")
"""What takes so little time that it is fitted again to all rows, the hidden ones too, once it is measured."""


def make_method(
    name: str,
    inputs: Inputs,
    target: Target,
    coding: Coding,
    *,
    valid: np.ndarray,
    n_neighbours: int,
    width: int,
    training: TrainOptions,
    groups: np.ndarray | None = None,
    callbacks: Callers = (),
) -> Method:
    """Returns the method `name`, fitted.

    Args:
        name: One of `METHODS` but auto.
        inputs: What the training rows hold beside.
        target: What they hold of the modality.
        coding: Of its cells.
        valid: Bool `[row]`: which of them choose the epoch of a network; the others learn from all.
        n_neighbours: How many rows make the answer of nearest.
        width: Channels of a network's hidden layers.
        training: How a network is trained; the seed is of weights, order and noise, and of folds.
        groups: `[row]`: rows of one group are kept together.
        callbacks: Called while a network is trained.
    """
    if name == "mean":
        return MeanMethod(inputs, target)
    if name == "nearest":
        return NearestMethod(inputs, target, n_neighbours=n_neighbours)
    if name == "ridge":
        return RidgeMethod(inputs, target, coding, seed=training.seed, groups=groups)
    options: dict[str, Any] = {"training": training, "groups": groups, "callbacks": callbacks}
    return NetworkMethod(inputs, target, coding, network=name, valid=valid, width=width, **options)


def resampled(known: np.ndarray, groups: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Returns row numbers drawn with replacement, groups whole, in which each column of `known[row, part]` is known."""
    rng = np.random.default_rng(seed)
    names, group = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(group == i) for i in range(len(names))] if len(names) < len(groups) else None
    while True:
        drawn = rng.integers(0, len(names), len(names))
        rows = np.argsort(group)[drawn] if members is None else np.concatenate([members[i] for i in drawn])
        if known[rows].any(0).all():
            return rows
