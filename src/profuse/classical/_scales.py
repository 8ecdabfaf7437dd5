"""Numbers learned on two scales: their own, and the logarithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._machines import error_of
from profuse.classical._moved import moved_loss, quantile_of
from profuse.data.features import Matrix
from profuse.data.target import SKEWED, skewness
from profuse.schema import Task

__all__ = ["BothScales", "all_skewed_from", "factor_of", "loss_of", "skewed_from"]

_ALONE = 0.9  # of the loss of both together, below which the fit to the numbers themselves is left alone
_TINY = 1e-6  # of a standard deviation: what is not above counts as 0
_LOW = 0.05  # quantile of the numbers above 0, which is added where some are 0: of counts that is 1


def skewed_from(problem: Problem, y: np.ndarray, j: int = 0, *, zeros: bool = False) -> float | None:
    """Returns the number, in the unit of `y`, from which logarithms of a skewed target are taken; None: of no other.

    Args:
        problem: Its rows, and where 0 lies.
        y: One column of the target.
        j: Its place.
        zeros: Whether a target that is 0 in some rows may be, too: then logarithms are taken from a little below 0.
    """
    if problem.zero is None:
        return None
    zero = float(problem.zero[j])
    up, z = y[problem.known_rows] - zero, y[problem.train_rows].astype(np.float64)
    if skewness(z[:, None]).item() <= SKEWED:
        return None
    if (up > _TINY).all():
        return zero
    above = up[up > _TINY]
    return zero - float(np.quantile(above, _LOW)) if zeros and len(above) and (up > -_TINY).all() else None


def all_skewed_from(problem: Problem) -> np.ndarray | None:
    """Returns from where logarithms are taken, `[target]`, zeros or not; None if one column has none worth learning."""
    found = [skewed_from(problem, y, j, zeros=True) for j, y in enumerate(problem.target.T)]
    return None if None in found else np.array(found)


def factor_of(up: np.ndarray, true: np.ndarray, counts: np.ndarray, quantile: float | None) -> float:
    """Returns what numbers above 0 are to be multiplied by: for least squared errors, or for the quantile of `true`."""
    if quantile is None:
        return float(np.clip((counts * up) @ true / ((counts * up) @ up), 0.5, 2.0))
    return float(np.clip(quantile_of((true / up)[:, None], quantile, counts * up).item(), 0.1, 10.0))


def loss_of(wanted: np.ndarray, said: np.ndarray, weights: np.ndarray | None, quantile: float | None) -> float:
    """Returns the mean squared error of `said[row, target]`, or the pinball loss of what is moved to the quantile."""
    if quantile is None:
        return error_of("regression", wanted, said, weights)
    return moved_loss(wanted - said, quantile, weights)


class BothScales(ClassicalModel):
    """The mean of two fits of a model: to a skewed target, and to its logarithm.

    Of what the second predicts exp is taken, within the range of the targets of training rows, and multiplied by what
    validation rows ask for: the exp of a mean is below the mean. Where the first alone has less than nine tenths of the
    mean's loss on validation rows, it stands alone.

    Args:
        plain: To be fitted to the target, or fitted.
        curved: To its logarithm; None: the first stands alone.
        zero: `[target]`, from where logarithms are taken (`all_skewed_from`).

    Attributes:
        kind: What a state says that is of this class, whatever the model's name.
        scale: `[5, target]`: the zero, and of logarithms mean, standard deviation, least and greatest.
        factor: `[target]`.
    """

    kind: ClassVar[str] = "both scales"

    def __init__(self, plain: ClassicalModel, curved: ClassicalModel | None, zero: np.ndarray | float = 0.0) -> None:
        super().__init__(plain.task, plain.n_outputs)
        self.plain, self.curved = plain, curved
        self.scale = np.zeros((5, plain.n_outputs))
        self.scale[0] = zero
        self.factor = np.ones(plain.n_outputs)

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        zero = self.scale[0]
        logs = np.log(np.maximum(problem.target - zero, _TINY))
        seen = logs[problem.train_rows]
        self.scale[1:] = seen.mean(0), np.maximum(seen.std(0), _TINY), seen.min(0), seen.max(0)
        how: dict[str, Any] = {"settings": settings, "seed": seed, "refit": refit}
        plain = self.plain.fit(problem, **how)
        self.choice = self.plain.choice
        assert self.curved is not None
        curved = replace(problem, target=(logs - self.scale[1]) / self.scale[2], zero=None)
        up = self._up(self.curved.fit(curved, **how))
        counts = np.isin(problem.valid_rows, problem.choosing_rows)
        if not counts.any():
            return np.asarray(0.5 * (plain + up + zero))
        true, q = problem.target[problem.choosing_rows], problem.quantile
        weights = problem.weights_of(problem.choosing_rows)
        each = np.ones(len(true)) if weights is None else weights
        self.factor = np.array([factor_of(up[counts, j], true[:, j] - zero[j], each, q) for j in range(len(zero))])
        both: np.ndarray = 0.5 * (plain + self.factor * up + zero)
        alone, together = (loss_of(true, said[counts], weights, q) for said in (plain, both))
        if alone < _ALONE * together:
            self.curved = None
            return plain
        return both

    def _up(self, outputs: np.ndarray) -> np.ndarray:
        """Returns how far above the zero what the second model predicts is."""
        _, mean, std, low, high = self.scale
        return np.asarray(np.exp(np.clip(outputs * std + mean, low, high)))

    def predict(self, x: Matrix) -> np.ndarray:
        plain = self.plain.predict(x)
        if self.curved is None:
            return plain
        return np.asarray(0.5 * (plain + self.factor * self._up(self.curved.predict(x)) + self.scale[0]))

    @property
    def of_logarithms(self) -> bool:
        return self.curved is not None

    @property
    def n_parameters(self) -> int:
        return self.plain.n_parameters + (0 if self.curved is None else self.curved.n_parameters + self.n_outputs)

    def state(self) -> dict[str, Any]:
        if self.curved is None:
            return self.plain.state()
        parts = {"plain": self.plain.state(), "curved": self.curved.state()}
        return {"of": self.kind, "scale": self.scale, "factor": self.factor, **parts}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        """Returns what predicts as the one whose `state` this is, but for both models, which are restored already."""
        made = cls(state["plain"], state["curved"])
        for name, shape in (("scale", (5, n_outputs)), ("factor", (n_outputs,))):
            numbers = np.asarray(state[name])
            if numbers.shape != shape or numbers.dtype.kind != "f" or not np.isfinite(numbers).all():
                raise ValueError(f"{name} must be finite numbers {shape}; got {numbers.dtype}{numbers.shape}")
            setattr(made, name, numbers)
        return made
