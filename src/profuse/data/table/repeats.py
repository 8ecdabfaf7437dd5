"""Rows of a second table that stand in the first one, too: their scores may tell what was learned by heart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.kinds import content

__all__ = ["distinct_rows", "repeated_rows", "rows_by_content"]


def repeated_rows(known: Dataset, new: Dataset) -> np.ndarray:
    """Returns the numbers of the rows of `new` that equal a row of `known` in every modality; targets are not read.

    Both were assembled with one schema. What is missing in both rows is equal.
    """
    row = _numbered(known, new)
    return np.flatnonzero(np.isin(row[len(known) :], row[: len(known)]))


def distinct_rows(dataset: Dataset) -> np.ndarray:
    """Returns the numbers of the rows that equal no earlier one in every modality, ascending."""
    return np.sort(np.unique(rows_by_content(dataset), return_index=True)[1])


def rows_by_content(dataset: Dataset) -> np.ndarray:
    """Returns a number for each row: the same for rows that are equal in every modality; targets are not read."""
    return _numbered(dataset, dataset.rows(np.zeros(0, dtype=np.int64)))


def _numbered(first: Dataset, second: Dataset) -> np.ndarray:
    """Returns a number for each row, equal for equal rows."""
    row = np.zeros(len(first) + len(second), dtype=np.int64)
    for name, data in first.modalities.items():
        for column in _columns(data, second.modalities[name]):
            codes = pd.factorize(column)[0]  # -1: missing
            row = pd.factorize(row * (codes.max() + 2) + codes + 1)[0]
    return row


def _columns(first: ModalityData, second: ModalityData) -> Iterator[pd.Series]:
    """Gives the cells of both, column by column; of what is no table, one word for the content of each row."""
    if first.frame is not None:
        yield from (pd.concat([first.frame[c], second.values[c]], ignore_index=True) for c in first.frame)
        return
    words = [
        content(value) if there else None
        for data in (first, second)
        for value, there in zip(data.values, data.present, strict=True)
    ]
    yield pd.Series(words, dtype=object)
