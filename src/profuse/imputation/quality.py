"""How good draws are, on rows whose cells were hidden on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from profuse.imputation.methods import Drawn

__all__ = ["INTERVAL", "N_MEASURED", "Quality", "measure"]

INTERVAL = 0.9
N_MEASURED = 99
"""Draws a row for measuring: the 5th smallest and the 5th largest of them enclose 90 % of what is drawn alike."""
_LEAST_DRAWS = 19  # the smallest and the largest of them enclose 90 %
_N_RESAMPLES = 1000


@dataclass(frozen=True)
class Quality:
    """Figures of one method on `n_rows` hidden rows; None where there is no number, or no category.

    Attributes:
        method: Its name.
        n_rows: Rows that were hidden.
        error: Root mean square error of the answers, in standard deviations of the training rows; smaller is better,
            and 1 is about that of the mean.
        low: Lower end of its 95 % interval: rows (or groups of rows) drawn again.
        high: Upper end.
        crps: Continuous ranked probability score of the samples, in the same unit: it judges their spread too;
            smaller is better.
        coverage: Share of the hidden numbers inside the middle 90 % of their samples: 0.9 is right for any number of
            them, less is too sure; None for fewer than 19 samples.
        wrong: Share of the categories that are answered wrongly; smaller is better.
    """

    method: str
    n_rows: int
    error: float | None
    low: float | None
    high: float | None
    crps: float | None
    coverage: float | None
    wrong: float | None


def measure(
    method: str,
    drawn: Drawn,
    true: np.ndarray,
    *,
    is_category: np.ndarray,
    categories: Mapping[str, tuple[np.ndarray, np.ndarray]],
    units: np.ndarray,
    seed: int,
) -> Quality:
    """Returns the figures.

    Args:
        method: Its name.
        drawn: `N_MEASURED` draws of each row.
        true: `[row, number]`: what was hidden.
        is_category: Bool `[number]`: numbers that stand for words; they do not count as numbers.
        categories: For each column of words, those answered and those hidden, `[row]`.
        units: `[row]`: rows of one group are drawn again together.
        seed: Of the rows drawn again.
    """
    wrong = float(np.mean([(a != b).mean() for a, b in categories.values()])) if categories else None
    numbers = ~is_category
    if not numbers.any():
        return Quality(method, len(true), None, None, None, None, None, wrong)
    y, x = true[:, numbers], np.sort(drawn.samples[..., numbers], axis=0)
    squares = ((drawn.point[:, numbers] - y) ** 2).mean(1)
    low, high = _interval(squares, units, seed)
    n = len(x)
    coverage = _coverage(x, y) if n >= _LEAST_DRAWS else None
    # E|X - X'| of sorted samples: 2 / n^2 sum_i (2 i - n + 1) x_i; "fair" divides by n (n - 1)
    apart = 2 * np.tensordot(2 * np.arange(n) - n + 1, x, axes=1) / (n * (n - 1))
    crps = np.abs(x - y).mean(0) - apart / 2
    error = float(np.sqrt(squares.mean()))
    return Quality(method, len(true), error, low, high, float(crps.mean()), coverage, wrong)


def _coverage(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the share of `y[row, number]` inside the middle of the sorted samples `x[sample, row, number]`.

    The k-th smallest and the k-th largest of n enclose 1 - 2 k / (n + 1) of what is drawn alike. The k at which that is
    `INTERVAL` may lie between two ranks; their shares are then averaged by its distance to them.
    """
    n = len(x)
    rest, k = np.modf(round((1 - INTERVAL) / 2 * (n + 1), 9))
    outer, inner = (((x[i - 1] <= y) & (y <= x[n - i])).mean() for i in (int(k), int(k) + 1))
    return float((1 - rest) * outer + rest * inner)


def _interval(squares: np.ndarray, units: np.ndarray, seed: int) -> tuple[float, float]:
    _, unit = np.unique(units, return_inverse=True)
    total, count = np.bincount(unit, squares), np.bincount(unit)
    again = np.random.default_rng(seed).integers(0, len(total), (_N_RESAMPLES, len(total)))
    errors = np.sqrt(total[again].sum(1) / count[again].sum(1))
    low, high = np.quantile(errors, (0.025, 0.975))
    return float(low), float(high)
