"""Ranks, and sums over the rows that rank higher, in n log n steps."""

from __future__ import annotations

import numpy as np

from profuse.metrics._base import Array

__all__ = ["above", "below_before", "mid_ranks"]


def mid_ranks(values: Array) -> Array:
    """Returns ranks from 1, `[row]`; equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    ordered, new = values[order], np.ones(len(values), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    if len(values) and ordered[-1] != ordered[-1]:  # several NaN are equal here
        new[np.searchsorted(ordered, np.nan) + 1 :] = False
    starts = np.flatnonzero(new)
    count = np.diff(starts, append=len(values))
    rank = np.empty(len(values))
    rank[order] = np.repeat(starts + (count + 1) / 2, count)
    return rank


def above(values: Array, weight: Array) -> Array:
    """Returns the sum of `weight` over rows of a higher value, and half of that over rows of the same, `[row]`."""
    _, code = np.unique(values, return_inverse=True)
    level = np.bincount(code, weight)
    return np.asarray((level.sum() - np.cumsum(level) + level / 2)[code])


def below_before(values: Array) -> tuple[Array, Array]:
    """Returns how many earlier entries are smaller, and how many are smaller or equal, `[row]`.

    By merging: blocks of 1, 2, 4, ... entries are counted against the block that precedes them.

    Args:
        values: Integers from 0.
    """
    n, most = len(values), int(values.max()) + 1
    at, less, not_more = np.arange(n), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    size = 1
    while size < n:
        pair, second = at // (2 * size), (at // size) % 2 == 1
        key = pair * most + values
        first = np.sort(key[~second])
        begin = np.searchsorted(first, pair[second] * most, side="left")
        less[second] += np.searchsorted(first, key[second], side="left") - begin
        not_more[second] += np.searchsorted(first, key[second], side="right") - begin
        size *= 2
    return less, not_more
