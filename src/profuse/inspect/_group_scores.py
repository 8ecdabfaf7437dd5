"""Scores of groups of rows on the same bootstrap samples, and how much they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from profuse.errors import ConfigError, DataError
from profuse.metrics import Metric

__all__ = ["Measure", "Resamples", "calibration_errors", "gap", "means_rows", "p_of_shares"]

_STREAM = 1_414_213  # groups, folds or noise drawn with the same seed have nothing to do with the samples


@dataclass(frozen=True, eq=False)
class Measure:
    """A number measured on some rows, and on samples of them.

    Attributes:
        value: On the rows.
        draws: On samples, `[sample]`; NaN where it is not defined.
        n: Independent rows, or groups of rows, that it was measured on.
        slack: Half of a 95 % interval that is added where nothing varies: the rule of three.
    """

    value: float
    draws: np.ndarray
    n: int
    slack: float = 0.0

    def __sub__(self, other: Measure) -> Measure:
        slack = math.hypot(self.slack, other.slack)
        return Measure(self.value - other.value, self.draws - other.draws, min(self.n, other.n), slack)

    def times(self, sign: int) -> Measure:
        """Returns the same, or with the other sign."""
        return self if sign > 0 else Measure(-self.value, -self.draws, self.n, self.slack)

    def moved(self, by: float) -> Measure:
        """Returns the same plus a number."""
        return Measure(self.value + by, self.draws + by, self.n, self.slack)

    def spread(self, factor: float) -> Measure:
        """Returns the same with `factor` times the standard error."""
        return Measure(self.value, self.value + factor * (self.draws - self.value), self.n, factor * self.slack)

    @property
    def error(self) -> float:
        """The standard error."""
        from scipy import stats

        known = self.draws[np.isfinite(self.draws)]
        if self.n < 2 or len(known) < 2:
            return math.inf
        deviation = float(known.std(ddof=1)) * math.sqrt(self.n / (self.n - 1))
        return math.hypot(deviation, self.slack / float(stats.t.ppf(0.975, self.n - 1)))

    def interval(self, least: float = -math.inf, most: float = math.inf) -> tuple[float, float, float]:
        """Returns the value and the ends of its 95 % interval, `value +- t(n - 1) error`, cut at `least` and `most`."""
        from scipy import stats

        if not math.isfinite(self.error):
            return self.value, least, most
        half = float(stats.t.ppf(0.975, self.n - 1)) * self.error
        return self.value, min(self.value, max(self.value - half, least)), max(self.value, min(self.value + half, most))

    @property
    def p(self) -> float:
        """Of a value as far from 0, if it were 0; 1 where the rows say nothing."""
        from scipy import stats

        error = self.error
        if not math.isfinite(error) or error == 0.0:
            return 1.0
        return float(2 * stats.t.sf(abs(self.value) / error, self.n - 1))


class Resamples:
    """Bootstrap samples of rows, or of groups of rows: how often each is drawn.

    Args:
        clusters: `[row]`: rows with one number are drawn together.
        seed: Of the samples.
        n_resamples: How many.
    """

    def __init__(self, clusters: np.ndarray, *, seed: int, n_resamples: int) -> None:
        if len(np.unique(clusters)) == 1:
            clusters = np.arange(len(clusters))
        self.clusters = np.unique(clusters, return_inverse=True)[1].reshape(-1)
        n = int(self.clusters.max()) + 1
        drawn = np.random.default_rng([_STREAM, seed]).multinomial(n, np.full(n, 1 / n), size=n_resamples)
        self.weights = drawn.astype(np.float64)[:, self.clusters]

    def means(self, values: np.ndarray, among: np.ndarray, width: float = 1.0) -> list[Measure | None]:
        """Returns the mean of each column of `values` over the rows of the same column of `among`; None of no rows.

        Args:
            values: `[row, column]`.
            among: Bool `[row, column]`.
            width: Of the range that values have; finite: the rule of three holds.
        """
        counted = among.astype(np.float64)
        total, weights = counted.sum(0), self.weights
        sums, drawn = np.where(among, values, 0.0), weights @ counted
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = (weights @ sums) / np.where(drawn > 0, drawn, np.nan)
        return [
            self._measure(float(sums[:, k].sum() / total[k]), draws[:, k], among[:, k], width) if total[k] else None
            for k in range(len(total))
        ]

    def mean(self, values: np.ndarray, rows: np.ndarray, width: float = 1.0) -> Measure | None:
        """Returns the mean of `values[rows]`; see `means`."""
        return self.means(values[:, None], rows[:, None], width)[0]

    def score(self, function: Callable[[np.ndarray], float], rows: np.ndarray, width: float) -> Measure | None:
        """Returns a function of the numbers of rows; None where it is not defined on them, or on few samples.

        Args:
            function: Of numbers of rows, repeated where they are drawn several times.
            rows: Bool `[row]`.
            width: See `mean`.
        """
        where = np.flatnonzero(rows)

        def of(numbers: np.ndarray) -> float:
            try:
                return function(numbers)
            except DataError:  # without one of the classes, say
                return math.nan

        value = of(where) if len(where) else math.nan
        if not math.isfinite(value):
            return None
        draws = np.array([of(drawn) if len(drawn) else math.nan for drawn in self._drawn(where)])
        return self._measure(value, draws, rows, width) if np.isfinite(draws).mean() > 0.5 else None

    def calibration(self, top: np.ndarray, right: np.ndarray, rows: np.ndarray) -> Measure:
        """Returns the calibration error of `rows`, of which there is one; see `calibration_errors`."""
        here, weights = (top[rows], right[rows]), self.weights[:, rows]
        value = float(calibration_errors(*here, np.ones((1, int(rows.sum()))))[0])
        return self._measure(value, calibration_errors(*here, weights), rows, 1.0)

    def _drawn(self, where: np.ndarray) -> Sequence[np.ndarray]:
        return [np.repeat(where, weights[where].astype(int)) for weights in self.weights]

    def _measure(self, value: float, draws: np.ndarray, rows: np.ndarray, width: float) -> Measure:
        n = len(np.unique(self.clusters[rows]))
        known = draws[np.isfinite(draws)]
        flat = len(known) < 2 or float(known.std()) <= 1e-12 * max(1.0, abs(value))
        return Measure(value, draws, n, 3 / n * width if flat and math.isfinite(width) else 0.0)


def calibration_errors(top: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the metric "ece", `[sample]`, of rows that are drawn so often; NaN where none is.

    Args:
        top: The highest probability, `[row]`.
        right: Whether its class is the true one, `[row]`.
        weights: `[sample, row]`.
    """
    bins = np.minimum((top * 15).astype(int), 14)[:, None] == np.arange(15)
    total = weights.sum(1)
    gaps = np.abs(weights @ (bins * (right - top)[:, None])).sum(1)
    return np.asarray(gaps / np.where(total > 0, total, np.nan))


def p_of_shares(values: np.ndarray, rows: np.ndarray, others: np.ndarray) -> float:
    """Returns Fisher's exact p that a share of 0 and 1 is the same among `rows` and `others`, bool `[row]`.

    Where shares are near 0 or 1 and rows are few, a t test says too often that they differ.
    """
    from scipy import stats

    counts = [[int(values[some].sum()), int(some.sum() - values[some].sum())] for some in (rows, others)]
    return float(stats.fisher_exact(counts).pvalue)


def gap(measures: Sequence[Measure]) -> Measure:
    """Returns the largest less the smallest."""
    values = np.array([m.value for m in measures])
    draws = np.stack([m.draws for m in measures])
    known = np.isfinite(draws)
    spread = np.where(known, draws, -np.inf).max(0) - np.where(known, draws, np.inf).min(0)
    top, bottom = measures[int(values.argmax())], measures[int(values.argmin())]
    slack = math.hypot(top.slack, bottom.slack)
    return Measure(float(np.ptp(values)), np.where(known.all(0), spread, np.nan), min(m.n for m in measures), slack)


def means_rows(metric: Metric, true: np.ndarray, prediction: np.ndarray) -> bool:
    """Returns whether a metric is a mean over rows, each by itself."""
    half = np.arange(len(true)) < (len(true) + 1) // 2
    try:
        alone, whole = metric.row_scores(true[half], prediction[half]), metric.row_scores(true, prediction)
    except (ConfigError, DataError):
        return False
    return bool(np.allclose(alone, whole[half]) and np.isclose(whole.mean(), metric(true, prediction)))
