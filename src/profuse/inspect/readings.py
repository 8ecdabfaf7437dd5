"""What a predictor reads from each modality alone, as symbols, and what two readings say of the target in bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from profuse.inspect.intervals import half_of
from profuse.inspect.pid import PID, pid
from profuse.schema import Task

__all__ = ["PARTS", "Parts", "bits_of", "parts_of", "symbols", "target_symbols"]

PARTS = ("redundancy", "unique_1", "unique_2", "synergy")
_STREAM = 1_414_213  # data, a split or noise drawn with the same seed must have nothing to do with the samples
_SHUFFLES = 20
_TOL = 1e-5  # bits: far below what rows leave open


def symbols(predictions: np.ndarray, task: Task, n_bins: int) -> np.ndarray:
    """Returns the predicted class `[row]`; of two classes or of numbers, the quantile bin of what is predicted."""
    return predictions.argmax(1) if task == "multiclass" else _binned(predictions[:, -1], n_bins)


def target_symbols(true: np.ndarray, task: Task, n_bins: int) -> np.ndarray:
    """Returns the class `[row]`, or the quantile bin of a number."""
    return _binned(true[:, 0], n_bins) if task == "regression" else true


def _binned(values: np.ndarray, n_bins: int) -> np.ndarray:
    ends = np.quantile(values, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(ends, values, side="right")


@dataclass(frozen=True)
class Parts:
    """The parts of what two readings say, in bits, with intervals.

    Attributes:
        found: By name of `PARTS`: value, lower and upper end.
        chance: What would be counted if the target had nothing to do with the readings, all parts together; it is
            subtracted.
    """

    found: Mapping[str, tuple[float, float, float]]
    chance: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return sum(value for value, _, _ in self.found.values())


def parts_of(
    one: np.ndarray, other: np.ndarray, target: np.ndarray, clusters: np.ndarray, *, seed: int, n_resamples: int
) -> Parts:
    """Returns the decomposition of the information of two readings, less that of shuffled targets.

    Args:
        one: Symbols `[row]`.
        other: Symbols `[row]`.
        target: Symbols `[row]`.
        clusters: `[row]`: rows with one number are drawn together.
        seed: Of shuffles and samples.
        n_resamples: Bootstrap samples.
    """
    from scipy import stats

    rng = np.random.default_rng([_STREAM, seed])
    codes = [np.unique(x, return_inverse=True)[1].reshape(-1) for x in (one, other, target)]
    shape = [int(c.max()) + 1 for c in codes]

    def decomposed(weights: np.ndarray | None = None, order: np.ndarray | None = None) -> np.ndarray:
        y = codes[2] if order is None else codes[2][order]
        cells = np.ravel_multi_index((codes[0], codes[1], y), shape)
        counts = np.bincount(cells, weights, math.prod(shape)).reshape(shape)
        return _numbers(pid(counts, tol=_TOL))

    value = decomposed()
    chance = np.array([decomposed(order=rng.permutation(len(target))) for _ in range(_SHUFFLES)])
    groups = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    groups = groups if groups.max() else np.arange(len(target))
    n = int(groups.max()) + 1
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)
    draws = np.array([decomposed(counts[groups].astype(np.float64)) for counts in drawn])
    spread = draws.std(0, ddof=1) * math.sqrt(n / max(n - 1, 1)) * float(stats.t.ppf(0.975, max(n - 1, 1)))
    found = {}
    for k, name in enumerate(PARTS):
        middle = float(value[k] - chance[:, k].mean())
        half = math.hypot(float(spread[k]), half_of(chance[:, k].tolist()))
        found[name] = (middle, middle - half, max(middle + half, 0.0))  # a part is never below 0, its estimate may be
    return Parts(found, float(chance.sum(1).mean()))


def bits_of(reading: np.ndarray, target: np.ndarray, *, seed: int) -> float:
    """Returns the information of one reading on the target, less that of shuffled targets, in bits."""
    rng = np.random.default_rng([_STREAM, seed])
    one, y = (np.unique(x, return_inverse=True)[1].reshape(-1) for x in (reading, target))

    def total(y: np.ndarray) -> float:
        shape = (int(one.max()) + 1, int(y.max()) + 1)
        counts = np.bincount(np.ravel_multi_index((one, y), shape), minlength=math.prod(shape))
        return pid(counts.reshape(shape[0], 1, shape[1])).total

    return total(y) - float(np.mean([total(rng.permutation(y)) for _ in range(_SHUFFLES)]))


def _numbers(parts: PID) -> np.ndarray:
    return np.array([getattr(parts, name) for name in PARTS])
