"""Split conformal prediction: how far a target is from what was predicted, and how far it may be.

With scores s_1..s_n of calibration rows, a new row's set holds all targets whose score is at most

    q = the ceil((n + 1) c)-th smallest of s_1..s_n,

infinite where there are fewer. Where calibration rows and the new one are exchangeable, its target lies in the set with
a probability of at least c (over both). Given the calibration rows, the coverage of new rows is Beta(k, n + 1 - k) with
k = ceil((n + 1) c), whose variance is about c (1 - c) / n.

The score of classes is 1 - p(true class): if p is right, no other sets with that coverage are smaller on average.
That of numbers is max_j |y_j - prediction_j| / (std_j difficulty_j): the intervals of several targets hold
together. The difficulty of a row is how much the models of a portfolio differ about it; it is 1 elsewhere.

A model that predicts quantiles l_j and h_j (`ModelOptions.head`) has the score max_j max(l_j - y_j, y_j - h_j) / std_j,
below 0 where all lie inside: its intervals are [l_j - q std_j, h_j + q std_j], each row as wide as the model says, and
moved out, or in, by as much as makes the coverage hold (conformalised quantile regression). One that is turned round,
as q is far below 0, is its middle.

Reference:
    Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World (also the categories of Mondrian).
    Sadinle, Lei, Wasserman 2019, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels.
    Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, Distribution-Free Predictive Inference for Regression.
    Romano, Patterson, Candes 2019, Conformalized Quantile Regression (equation 6). *Differs from the paper*: targets
    are counted in standard deviations, several together, and no interval is empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from profuse.data.target import TargetCodec

__all__ = ["LEAST", "SPREAD", "Said", "fewest_rows", "finite_from", "quantile"]

SPREAD = 0.3
"""The standard deviation of the share that is not covered, of that share: .03 where .1 is not to be covered."""

LEAST = 0.2
"""Added to the difficulty of all rows: where models agree by chance an interval is not a point, and where their spread
tells nothing it costs little (.03 made intervals of beijing-air 3 % narrower than this, and of diabetes 12 % wider)."""


def fewest_rows(coverage: float) -> int:
    """Returns how many rows are enough for a quantile: sqrt(c (1 - c) / n) is at most `SPREAD` (1 - c)."""
    return max(finite_from(coverage), math.ceil(coverage / ((1 - coverage) * SPREAD**2) - 1e-9))


def finite_from(coverage: float) -> int:
    """Returns from how many rows on the quantile is finite."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def quantile(scores: np.ndarray, coverage: float) -> float:
    """Returns the ceil((n + 1) c)-th smallest of n scores; infinity where there are fewer."""
    k = max(1, math.ceil((len(scores) + 1) * coverage - 1e-9))  # 10 * .9 may be a little above 9
    return float(np.partition(scores, k - 1)[k - 1]) if k <= len(scores) else math.inf


@dataclass(frozen=True, eq=False)
class Said:
    """What was predicted for some rows.

    Attributes:
        codec: Of the target.
        outputs: Probabilities `[row, class]`, or values `[row, target]`.
        difficulty: `[row, target]`, above 0, in standard deviations of the target; ones where it is not known.
        band: `[row, target, 2]`, low and high quantiles that were predicted; None where none were.
    """

    codec: TargetCodec
    outputs: np.ndarray
    difficulty: np.ndarray
    band: np.ndarray | None = None

    @classmethod
    def of(
        cls, codec: TargetCodec, outputs: np.ndarray, spread: np.ndarray | None, band: np.ndarray | None = None
    ) -> Said:
        """Takes how much models differ, `[row, target]`, for the difficulty, with `LEAST` of a standard deviation."""
        difficulty = np.ones_like(outputs) if spread is None else spread / codec.std + LEAST
        return cls(codec, outputs, difficulty, band)

    def scores(self, true: np.ndarray) -> np.ndarray:
        """Returns how far targets are from it, `[row]`: class numbers, or values `[row, target]`."""
        if self.band is not None:
            outside = np.maximum(self.band[..., 0] - true, true - self.band[..., 1])
            return np.asarray((outside / self.codec.std).max(1))
        if self.codec.task == "regression":
            return np.asarray((np.abs(true - self.outputs) / self._units()).max(1))
        return np.asarray(1 - self.outputs[np.arange(len(true)), true])

    def sets(self, quantiles: np.ndarray) -> np.ndarray:
        """Returns which classes are in the set of each row, bool `[row, class]`."""
        return np.asarray(1 - self.outputs <= quantiles[:, None])

    def intervals(self, quantiles: np.ndarray) -> np.ndarray:
        """Returns the ends of each interval, `[row, target, 2]`."""
        if self.band is not None:
            out = quantiles[:, None] * self.codec.std
            low, high = self.band[..., 0] - out, self.band[..., 1] + out
            middle = self.band.mean(2)
            return np.asarray(np.stack([np.minimum(low, middle), np.maximum(high, middle)], axis=2))
        half = np.asarray(quantiles[:, None] * self._units())
        return np.asarray(np.stack([self.outputs - half, self.outputs + half], axis=2))

    def sizes(self, quantiles: np.ndarray) -> np.ndarray:
        """Returns classes in a set, or the width of an interval (of several: the mean, each in its std), `[row]`."""
        if self.codec.task != "regression":
            return np.asarray(self.sets(quantiles).sum(1), dtype=np.float64)
        unit = self.codec.std if self.codec.n_outputs > 1 else np.ones(1)
        if self.band is not None:
            return np.asarray((np.diff(self.intervals(quantiles), axis=2)[..., 0] / unit).mean(1))
        return np.asarray((2 * quantiles[:, None] * self._units() / unit).mean(1))

    def _units(self) -> np.ndarray:
        return np.asarray(self.codec.std * self.difficulty)
