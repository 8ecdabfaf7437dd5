"""Concordance: pairs of rows in the right order."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns
from profuse.metrics._ranks import below_before, mid_ranks

__all__ = ["Concordance"]


class Concordance(Metric):
    """The mean over targets of (pairs with predictions in the order of their targets) / (pairs of unequal targets).

    Equal predictions count one half. It is (1 + Kendall's tau) / 2 where nothing is equal.

    Reference:
        Harrell, Lee, Mark, Multivariable Prognostic Models, Statistics in Medicine 15 (1996), section 5.5.
    """

    name = "concordance"
    label = "concordance"
    tasks = ("regression",)
    chooses_epochs = True

    def score(self, y: Array, p: Array) -> float:
        return float(np.mean([right.sum() / pairs.sum() for right, pairs in _targets(y, p)]))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns `C + 2 (c_i - C m_i) / mean m`, the mean over targets: row i is in m_i pairs, of which c_i are right.

        That is the metric plus the row's influence value (the infinitesimal jackknife). Pairs are counted by merging,
        in n log^2 n steps.
        """
        rows = []
        for right, pairs in _targets(y, p):
            whole = right.sum() / pairs.sum()
            rows.append(whole + 2 * (right - whole * pairs) / pairs.mean())
        return np.asarray(np.mean(rows, axis=0))


def _targets(y: Array, p: Array) -> list[tuple[Array, Array]]:
    y, p = columns(y, p)
    if (y == y[0]).all(0).any():
        raise DataError(
            "concordance: the target must vary over the rows; got a constant. Give other rows, or name another metric."
        )
    return [_pairs(a, b) for a, b in zip(y.T, p.T, strict=True)]


def _pairs(y: Array, p: Array) -> tuple[Array, Array]:
    """Returns in how many right pairs each row is, ties of the predictions one half, and in how many pairs, `[row]`."""
    n = len(y)
    (_, a, size), (_, b) = np.unique(y, return_inverse=True, return_counts=True), np.unique(p, return_inverse=True)
    smaller, larger = (np.cumsum(size) - size)[a], (n - np.cumsum(size))[a]
    order = np.lexsort((-b, a))  # of equal targets the larger prediction first: no earlier one is smaller
    less, not_more = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    less[order], not_more[order] = below_before(b[order])
    pair = a * (int(b.max()) + 1) + b
    _, group, sizes = np.unique(pair, return_inverse=True, return_counts=True)
    place = np.empty(n, dtype=np.int64)  # among rows of the same target and prediction, in `order`
    by_pair = order[np.argsort(group[order], kind="stable")]
    place[by_pair] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    below = (less + not_more - place) / 2  # predictions below, of smaller targets
    below_all = mid_ranks(b) - 1
    below_equal = mid_ranks(pair) - smaller - 1  # of the same target
    below_larger = below_all - below - below_equal
    return below + larger - below_larger, smaller + larger
