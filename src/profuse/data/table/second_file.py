"""A test file beside the training file: what ties its rows together, and what a split then keeps whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.table.values import words
from profuse.data.wording import tell_values
from profuse.errors import DataError
from profuse.schema import SplitOptions

__all__ = ["tell_test_part", "tied_as_in_training"]


def tied_as_in_training(test: Dataset, train: Dataset, column: str | None) -> Dataset:
    """Returns `test` with groups or times where `train` has them.

    Rows of a test file without the group column are groups of their own. They tell nothing of each other then, but the
    training rows' groups are not lost: validation is still cut by them.

    Raises:
        DataError: The time column is not there, or a group stands in both.
    """
    if train.times is not None and test.times is None:
        raise DataError(
            f"the column {column!r} must be there, as the split goes by its times; it is not. Add it, or leave it out "
            "of split.column."
        )
    if train.groups is None:
        return test
    if test.groups is None:
        own = np.array([_alone(i) for i in range(len(test))], dtype=object)
        return replace(test, groups=own)
    known = set(words(train.groups))
    both = [g for g in pd.unique(words(test.groups)) if g in known]
    if both:
        raise DataError(
            f"rows of one {column!r} must be in one file; these groups stand in both: {tell_values(both)}. Take "
            "them out of one file, or leave the column out of split.column: then nothing is kept together."
        )
    return test


def tell_test_part(dataset: Dataset, split: SplitOptions, train_name: str, test_name: str) -> list[str]:
    """Returns notes on what a test file means for the split that was asked for, and on what is kept whole.

    Args:
        dataset: The rows of both files; `split` tells which are which.
        split: What was asked for.
        train_name: The training file.
        test_name: The test file.
    """
    column, given = repr(split.column), f"{test_name} is the test part"
    if dataset.groups is not None and dataset.split is not None:
        of_test = dataset.split == "test"
        n_train, n_test = (len(pd.unique(dataset.groups[part])) for part in (~of_test, of_test))
        whole = f"{given}; validation rows are cut from {train_name} in whole groups of {column} (it has {n_train})"
        if all(g == _alone(i) for i, g in enumerate(dataset.groups[of_test])):
            return [
                f"{whole}. {test_name} has no column {column}: nothing tells whether groups of {train_name} are in it "
                "too, nor which of its rows belong together; intervals count them one by one."
            ]
        return [f"{whole}. No group is in both files; the {n_test} of {test_name} count as one each in every interval."]
    if dataset.times is not None:
        return [
            f"{given}, whatever its times; validation rows are the latest of {train_name} by {column}. Nothing checks "
            f"that {test_name} is later."
        ]
    if split.method == "auto":
        return []
    return [f"{given}; split method {split.method!r} is not used for it. Validation rows are cut from {train_name}."]


def _alone(row: int) -> str:
    return f"(test row {row + 1})"
