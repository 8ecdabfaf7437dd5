"""Shares of the rows that are learned from, one within the other: what a curve of scores over rows is made of."""

from __future__ import annotations

import numpy as np

from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.data.table.values import words
from profuse.schema import SplitOptions

__all__ = ["share_of"]


def share_of(dataset: Dataset, options: SplitOptions, split: Split, share: float, *, seed: int) -> Split:
    """Returns a split with a share of the training and of the validation rows, and the same test rows.

    A smaller share lies within a larger one. Groups stay whole. Of a split by time the latest rows are kept, as of
    records that began later; else rows are drawn at random, classes in proportion where no groups are, and so that
    each class, and each label, has a row in the smallest share where there is room.

    Args:
        dataset: All rows.
        options: How they were split.
        split: All parts.
        share: Of each of the two parts, above 0 and at most 1.
        seed: Of the draw.
    """
    if share == 1:
        return split
    by_time = dataset.times is not None and options.method in ("auto", "time")
    train, valid = (
        np.sort(rows[_order(dataset, rows, by_time, np.random.default_rng([part, seed]), share)])
        for part, rows in enumerate((split.train, split.valid))
    )
    return Split(train, valid, split.test)


def _order(dataset: Dataset, rows: np.ndarray, by_time: bool, draw: np.random.Generator, share: float) -> np.ndarray:
    """Returns places in `rows`: of whole groups, in their order, until the share is reached."""
    groups = np.arange(len(rows)) if dataset.groups is None else np.asarray(dataset.groups)[rows].astype(str)
    units = np.unique(groups, return_inverse=True)[1]
    n_units = int(units.max()) + 1
    codes = _codes(dataset, rows)
    if by_time:
        ranks = np.unique(np.asarray(dataset.times)[rows], return_inverse=True)[1]
        latest = np.zeros(n_units, dtype=np.int64)
        np.maximum.at(latest, units, ranks)
        order = np.argsort(-latest, kind="stable")
    else:
        order = draw.permutation(n_units)
        if n_units == len(rows) and codes is not None and codes.shape[1] == 1:
            order = _in_proportion(order, codes[np.argsort(units), 0])
        elif codes is not None:
            order = _covering_first(order, units, codes)
    place = np.empty(n_units, dtype=np.int64)
    place[order] = np.arange(n_units)
    whole = np.cumsum(np.bincount(place[units], minlength=n_units))
    n_kept = int(np.searchsorted(whole, share * len(rows) - 1e-9)) + 1
    return np.flatnonzero(place[units] < n_kept)


def _codes(dataset: Dataset, rows: np.ndarray) -> np.ndarray | None:
    """Returns the class of each row, `[row, 1]`, or its labels, `[row, label]` of 0 and 1; None of numbers."""
    if dataset.target is None or dataset.task == "regression":
        return None
    target = np.asarray(dataset.target)[rows]
    if dataset.task == "multilabel":
        return np.asarray(target > 0.5, dtype=np.int64)
    return np.unique(words(target.reshape(len(rows))).astype(str), return_inverse=True)[1][:, None]


def _in_proportion(order: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Returns the order with classes mixed evenly, the first of each class first."""
    counts = np.bincount(codes)
    seen, keys = np.zeros(len(counts), dtype=np.int64), np.empty(len(order))
    for k, unit in enumerate(order):
        keys[k] = seen[codes[unit]] / counts[codes[unit]]
        seen[codes[unit]] += 1
    return order[np.argsort(keys, kind="stable")]


def _covering_first(order: np.ndarray, units: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Returns the order with those units first that bring a class or a label that none before them has."""
    has: list[set[tuple[int, int]]] = [set() for _ in order]
    several = codes.shape[1] > 1
    for row, column in np.argwhere(codes > 0) if several else np.argwhere(codes >= 0):
        has[units[row]].add((int(column), int(codes[row, column])))
    known: set[tuple[int, int]] = set()
    first: list[int] = []
    rest: list[int] = []
    for unit in order:
        (rest if has[unit] <= known else first).append(unit)
        known |= has[unit]
    return np.array([*first, *rest], dtype=np.int64)
