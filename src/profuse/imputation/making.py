"""Names of methods -> methods, fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from profuse.imputation.blocks import Inputs
from profuse.imputation.coding import Coding, Target
from profuse.imputation.methods import MeanMethod, Method, NearestMethod
from profuse.imputation.regressions import NETWORKS, NetworkMethod, RidgeMethod
from profuse.imputation.training import Progress

__all__ = ["AUTO", "BASELINES", "LEARNED_AGAIN", "METHODS", "make_method", "resampled"]

AUTO = "auto"
BASELINES = ("ridge", "nearest", "mean")
"""What every method is measured beside."""
METHODS = (AUTO, *NETWORKS, *BASELINES)
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
    epochs: int | None,
    seed: int,
    groups: np.ndarray | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
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
        epochs: Passes over the rows, at most; by their number if None.
        seed: Of weights, order and noise.
        groups: `[row]`: rows of one group are kept together.
        on_epoch: Called after each epoch.
    """
    if name == "mean":
        return MeanMethod(inputs, target)
    if name == "nearest":
        return NearestMethod(inputs, target, n_neighbours=n_neighbours)
    if name == "ridge":
        return RidgeMethod(inputs, target, coding, seed=seed, groups=groups)
    options: dict[str, Any] = {"width": width, "epochs": epochs, "on_epoch": on_epoch}
    make = NETWORKS[name]
    return NetworkMethod(inputs, target, coding, make=make, valid=valid, seed=seed, groups=groups, **options)


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
