"""A test file beside the training file: its rows as those of training, and what a split then keeps whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.table.near_repeats import repeat_notes
from profuse.data.table.unseen import unseen_cells, unseen_notes
from profuse.data.table.values import match, word, words
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.kinds import kind_named
from profuse.schema import Schema, SplitOptions

__all__ = ["as_in_training", "in_one", "tell_test_part"]


def as_in_training(test: Dataset, train: Dataset, schema: Schema) -> Dataset:
    """Returns the test rows with classes typed, and groups and times there, as in the training rows.

    Raises:
        DataError: A class or nearly all categories of a column are new, the time column is not there, or a group
            stands in both.
    """
    test = _tied(test, train, schema.split.column)
    target = _classes(test.target, train)
    unseen = unseen_notes(unseen_cells(train, test), schema.new_categories)
    return replace(test, target=target, notes=(*test.notes, *unseen))


def in_one(train: Dataset, test: Dataset, test_name: str) -> Dataset:
    """Returns the rows of both, `split` set; what was counted in the test rows is told with the name of their file."""
    parts = {"train": train, "test": test}
    train, test = (replace(d, split=np.full(len(d), part, dtype=object)) for part, d in parts.items())
    both = _concatenated(train, test)
    known, new = (both.rows(np.flatnonzero(both.split == part)) for part in parts)
    noted = (*test.notes, *repeat_notes(known, new))
    return replace(both, notes=(*train.notes, *(f"{test_name}: {note}" for note in noted)))


def _tied(test: Dataset, train: Dataset, column: str | None) -> Dataset:
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


def _classes(target: np.ndarray | None, train: Dataset) -> np.ndarray | None:
    """Returns the test rows' classes as those of the training rows are typed."""
    if target is None or train.target is None or train.task not in ("binary", "multiclass"):
        return target
    known = pd.unique(train.target)
    index, found = pd.factorize(words(target))
    place = match(list(found), [str(word(c)) for c in known.tolist()])[index]
    unseen = np.flatnonzero(place < 0)
    if len(unseen):
        raise DataError(
            f"target: every class must occur in the training table; got {tell_values(pd.unique(target[unseen]))} in "
            f"{tell_rows(unseen)}. Correct the labels, or drop these rows."
        )
    return np.asarray(known[place])


def _concatenated(first: Dataset, second: Dataset) -> Dataset:
    """Returns the rows of `first`, then those of `second`; both were read by one schema."""
    modalities = {
        name: kind_named(data.kind).concatenate(name, data, second.modalities[name])
        for name, data in first.modalities.items()
    }
    by_row: dict[str, Any] = {}
    for what in ("target", "groups", "times", "ids", "split"):
        parts = [getattr(first, what), getattr(second, what)]
        by_row[what] = None if parts[0] is None or parts[1] is None else np.concatenate(parts)
    weights = None if first.weights is None else np.append(first.weights, np.ones(len(second)))  # test rows have none
    subgroups = None if first.subgroups is None else np.append(first.subgroups, np.full(len(second), "", object))
    return replace(first, modalities=modalities, weights=weights, subgroups=subgroups, **by_row)


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
