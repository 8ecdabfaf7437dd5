"""Errors of several numbers at once: drawn again from rows, and drawn given those of the numbers that are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

__all__ = ["Residuals"]

_LEAST = 1e-9
_LEAST_SHARE = 1e-3  # the words of a category add up to 1: their covariance has no inverse


class Residuals:
    """Rows of errors and their covariance S, shrunk towards its diagonal.

    A draw e of the numbers m, given errors g of the numbers k, is e_m + S_mk S_kk^-1 (g - e_k), with the mean
    S_mk S_kk^-1 g: exact for normal errors, and else the linear part of it (Matheron's rule).

    The diagonal's share of S is that of the oracle approximating shrinkage estimator, for the correlations.

    Args:
        errors: `[row, number]`, NaN where unknown. Their mean is taken off.

    Reference:
        Journel, Huijbregts, Mining Geostatistics, 1978 (conditioning by kriging). Chen, Wiesel, Eldar, Hero, Shrinkage
        algorithms for MMSE covariance estimation, IEEE Transactions on Signal Processing 2010, equation 23.
    """

    def __init__(self, errors: np.ndarray) -> None:
        with_errors = ~np.isnan(errors)
        mean = np.where(with_errors, errors, 0.0).sum(0) / np.maximum(1, with_errors.sum(0))
        self._errors, self._known = errors - mean, with_errors

    @cached_property
    def rows(self) -> np.ndarray:
        """`[row, number]`: the errors; those that are not known are drawn once, given those of their row."""
        if self._known.all():
            return np.asarray(self._errors)
        normal = np.random.default_rng(0).standard_normal(self._errors.shape)
        squares, axes = np.linalg.eigh(self.covariance)
        drawn = normal * np.sqrt(np.maximum(squares, 0.0)) @ axes.T
        return np.asarray(np.where(self._known, self._errors, self.given(drawn[None], self._errors)[0]))

    @cached_property
    def deviation(self) -> np.ndarray:
        """`[number]`: standard deviations."""
        return np.asarray(np.sqrt((self.rows**2).sum(0) / max(1, len(self.rows) - 1)))

    @cached_property
    def covariance(self) -> np.ndarray:
        """`[number, number]`, without negative directions."""
        zeroed = np.where(self._known, self._errors, 0.0)
        count = self._known.T.astype(np.float64) @ self._known
        deviation = np.sqrt(np.maximum((zeroed**2).sum(0) / np.maximum(1.0, np.diag(count)), _LEAST**2))
        likeness = zeroed.T @ zeroed / np.maximum(1.0, count) / np.outer(deviation, deviation)
        np.fill_diagonal(likeness, 1.0)
        p, n = len(deviation), len(zeroed)
        square = float((likeness**2).sum())
        share = ((1 - 2 / p) * square + p**2) / ((n + 1 - 2 / p) * max(square - p, _LEAST))
        share = float(np.clip(share, _LEAST_SHARE, 1.0))
        likeness = (1 - share) * likeness + share * np.eye(p)
        if not self._known.all():  # of pairs of rows: it may have negative directions
            values, axes = np.linalg.eigh(likeness)
            likeness = axes * np.maximum(values, _LEAST) @ axes.T
        return np.asarray(likeness * np.outer(deviation, deviation))

    def given(self, drawn: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Returns `drawn[sample, row, number]`, errors without regard to the others, given `known[row, number]`.

        What is known is not changed to it; NaN = not known.
        """
        out = drawn.copy()
        for rows, there, slope in self._patterns(known):
            rest = known[np.ix_(rows, there)] - drawn[:, rows][..., there]
            out[:, rows[:, None], ~there] += rest @ slope.T
        return out

    def moments(self, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation of the errors given `known[row, number]`, `[row, number]` each."""
        mean = np.zeros(known.shape)
        deviation = np.tile(self.deviation, (len(known), 1))
        for rows, there, slope in self._patterns(known):
            mean[rows[:, None], ~there] = known[np.ix_(rows, there)] @ slope.T
            left = self.rows[:, ~there] - self.rows[:, there] @ slope.T
            deviation[rows[:, None], ~there] = left.std(axis=0, ddof=1)
        return mean, deviation

    def _patterns(self, known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Gives rows in which the same numbers are known, which these are, and S_mk S_kk^-1; no others."""
        there = ~np.isnan(known)
        patterns, which = np.unique(there, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            if pattern.any() and not pattern.all():
                s = self.covariance
                slope = np.linalg.solve(s[np.ix_(pattern, pattern)], s[np.ix_(pattern, ~pattern)]).T
                yield np.flatnonzero(which.ravel() == i), pattern, slope
