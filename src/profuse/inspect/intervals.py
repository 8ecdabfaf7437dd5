"""Scores of several predictions for the same rows, and the intervals of their differences: a paired bootstrap.

All predictions are scored on the same bootstrap samples: of rows, or of groups where rows of a group are not
independent. With s the standard deviation over the samples of a score, or of a difference of two, and G groups (or
rows), its interval is

    value +- t(G-1) s sqrt(G / (G-1)),

and where no sample differs, value +- 3 / G, as in the rule of three.

The ends are not percentiles of the samples: some scores are biased under resampling (a calibration error is larger in
every sample), and percentiles may then leave the value itself outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from profuse.errors import DataError
from profuse.inspect._words import resampled
from profuse.metrics import Metric

__all__ = ["Scores", "half_of"]

_STREAM = 2_718_281  # data, a split or noise drawn with the same seed must have nothing to do with the samples


class Scores:
    """Scores of predictions for the same rows, by condition.

    Args:
        metric: Of targets and predictions.
        true: Targets, as the metric takes them.
        predictions: By condition, for the same rows.
        clusters: `[row]`: rows with one number are drawn together.
        seed: Of the samples.
        n_resamples: How many.

    Attributes:
        notes: What the intervals are made of, and what they cannot say.
    """

    def __init__(
        self,
        metric: Metric,
        true: np.ndarray,
        predictions: Mapping[Hashable, np.ndarray],
        clusters: np.ndarray,
        *,
        seed: int,
        n_resamples: int,
    ) -> None:
        self.n_rows = len(true)
        self._sign = 1 if metric.higher_is_better else -1
        self._range = metric.range
        # equal predictions have equal scores: scored once, and their difference is exactly 0
        distinct: list[np.ndarray] = []
        self._column: dict[Hashable, int] = {}
        for key, prediction in predictions.items():
            same = [i for i, other in enumerate(distinct) if np.array_equal(prediction, other)]
            self._column[key] = same[0] if same else len(distinct)
            distinct += [] if same else [prediction]
        self._scores = np.array([metric(true, p) for p in distinct])
        if len(single := np.unique(clusters)) == 1 and self.n_rows > 1:
            clusters = np.arange(self.n_rows)
        self._n_clusters = len(np.unique(clusters))
        self._draws, n_undefined = _draws(metric, true, distinct, clusters, seed, n_resamples)
        what = resampled(clusters)
        self.notes = [f"Intervals (95 %): {len(self._draws)} bootstrap samples of {what}, the same for all estimates."]
        if len(single) == 1 and self.n_rows > 1:
            self.notes.append("All rows are of a single group: the intervals say nothing of other groups.")
        if n_undefined:
            self.notes.append(f"{n_undefined} samples are left out: {metric.label} is not defined on them.")

    def __getitem__(self, condition: Hashable) -> float:
        """Returns the score under a condition."""
        return float(self._scores[self._column[condition]])

    def gain(self, better: Hashable, worse: Hashable) -> tuple[float, float, float]:
        """Returns by how much one condition scores better than another, in the metric's direction, and the interval."""
        return (0.0, 0.0, 0.0) if better == worse else self.combined({better: 1.0, worse: -1.0})

    def of_sums(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        sums: Sequence[Mapping[Any, float]],
        ends: tuple[float, float],
    ) -> tuple[float, float, float]:
        """Returns a function of several weighted sums of scores, and the interval.

        Args:
            function: `[..., sum]` -> `[...]`.
            sums: The weights of each, by condition, as `combined` takes them.
            ends: The least and the greatest that the function can be.
        """
        weights = np.zeros((len(sums), len(self._scores)))
        for i, each in enumerate(sums):
            for column, weight in self._by_column(each).items():
                weights[i, column] = weight
        return self._interval(float(function(weights @ self._scores)), function(self._draws @ weights.T), ends)

    def combined(self, weights: Mapping[Any, float], *, more: float = 0.0) -> tuple[float, float, float]:
        """Returns a weighted sum of scores that counts up where the metric gets better, and the interval.

        Args:
            weights: By condition. Where they cancel among equal predictions, the sum is exactly 0.
            more: Half of the 95 % interval of what else is drawn at random, independent of the rows.
        """
        of = {column: weight for column, weight in self._by_column(weights).items() if abs(weight) > 1e-12}
        if not of:
            return 0.0, 0.0, 0.0
        value = sum(w * float(self._scores[c]) for c, w in of.items())
        draws = np.sum([w * self._draws[:, c] for c, w in of.items()], axis=0)
        least, most = self._range
        low = sum(w * (least if w > 0 else most) for w in of.values())
        high = sum(w * (most if w > 0 else least) for w in of.values())
        return self._interval(value, draws, (low, high), more)

    def _by_column(self, weights: Mapping[Any, float]) -> dict[int, float]:
        """Returns the weights of different scores, by which a sum counts up where the metric gets better."""
        of: dict[int, float] = {}
        for condition, weight in weights.items():
            column = self._column[condition]
            of[column] = of.get(column, 0.0) + self._sign * weight
        return of

    def score(self, condition: Hashable) -> tuple[float, float, float]:
        """Returns a score and its interval."""
        return self._interval(self[condition], self._draws[:, self._column[condition]], self._range)

    def _interval(
        self, value: float, draws: np.ndarray, bounds: tuple[float, float], more: float = 0.0
    ) -> tuple[float, float, float]:
        """Returns the value and its interval, cut where the score cannot be."""
        from scipy import stats

        n = self._n_clusters
        if n < 2:
            return value, *bounds
        deviation = float(draws.std(ddof=1)) * math.sqrt(n / (n - 1))
        half = float(stats.t.ppf(0.975, n - 1)) * deviation
        if deviation <= 1e-12 * max(1.0, abs(value)) and math.isfinite(bounds[1] - bounds[0]):
            half = 3 / n * (self._range[1] - self._range[0])  # nothing varied: the rule of three
        half = math.hypot(half, more)
        return value, max(value - half, bounds[0]), min(value + half, bounds[1])


def _draws(
    metric: Metric, true: np.ndarray, predictions: list[np.ndarray], clusters: np.ndarray, seed: int, n_resamples: int
) -> tuple[np.ndarray, int]:
    """Returns the scores `[sample, prediction]`, and how many samples had none."""
    rng = np.random.default_rng([_STREAM, seed])
    codes = np.unique(clusters, return_inverse=True)[1]
    n_clusters = int(codes.max()) + 1
    rows_of = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    draws, n_undefined = [], 0
    for _ in range(n_resamples):
        drawn = rng.integers(n_clusters, size=n_clusters)
        rows = drawn if n_clusters == len(true) else np.concatenate([rows_of[c] for c in drawn])
        try:
            draws.append([metric(true[rows], p[rows]) for p in predictions])
        except DataError:  # a sample without one of the classes, say
            n_undefined += 1
    if len(draws) < 2:
        raise DataError(
            f"ask: {metric.label} must be defined on samples of the {len(true)} rows; it is on {len(draws)} of "
            f"{n_resamples}. Ask with more rows, or by another metric."
        )
    return np.array(draws), n_undefined


def half_of(values: Sequence[float]) -> float:
    """Returns half of the 95 % interval of the mean of independent draws; 0 of a single one: nothing was drawn."""
    from scipy import stats

    n = len(values)
    return 0.0 if n < 2 else float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
