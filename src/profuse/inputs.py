"""What users hand over (tables, targets, schemas) -> what the library works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import resolve
from profuse.data.arrays import plain
from profuse.data.dataset import Dataset
from profuse.data.leaks import copy_notes
from profuse.data.new_rows import as_table, tell
from profuse.data.preprocess import preprocessor
from profuse.data.table.reader import TableReader
from profuse.data.target import read_target
from profuse.data.tensors import as_target, from_frame, from_tensors
from profuse.encoders import encoder
from profuse.errors import ConfigError, DataError
from profuse.kinds import kind_named
from profuse.schema import OnBadFile, Schema, Target, Task

__all__ = [
    "check_named",
    "columns_in",
    "same_length",
    "to_learn_from",
    "training_data",
    "without_test_rows",
]


def check_named(dataset: Dataset, encoders: Mapping[str, Any], *, who: str, into: Iterable[str] = ()) -> None:
    """Checks the names of modalities, encoders and preprocessors before anything is fitted.

    Args:
        dataset: What is fitted to.
        encoders: By modality: a name, or a module of the user's.
        who: Who asks; messages begin with it.
        into: Modalities that receive feedback.

    Raises:
        UnknownNameError: A modality, an encoder or a preprocessor of that name is not known.
        ConfigError: It takes another kind than its modality is.
    """
    for name in [*encoders, *into]:
        resolve(name, dataset.modalities, where=who, what="modality")
    for name, data in dataset.modalities.items():
        if data.preprocess is not None and not (made_by := preprocessor(data.preprocess)).accepts(data.kind):
            raise ConfigError(
                f"{who}: the preprocessor of {name!r} must take kind {data.kind!r}; got {data.preprocess!r}, which "
                f"takes {made_by.takes!r}. Name another one, or leave it out."
            )
    for name, data in dataset.modalities.items():
        chosen = encoders.get(name, data.encoder)
        if not isinstance(chosen, str):  # none is asked for, or it is the user's own module
            continue
        takes = encoder(chosen).kind
        due = preprocessor(kind_named(data.kind).preprocessor).gives or data.kind
        if data.preprocess is None and takes != due:
            raise ConfigError(
                f"{who}: the encoder of {name!r} must take kind {due!r}; got {chosen!r}, which takes {takes!r}. "
                "Name another one, or leave it out."
            )


def same_length(X: Any, y: Any, who: str) -> None:
    """Checks that X and y have the same rows."""
    if len(X) != len(y):
        raise DataError(f"{who}: X and y must have the same rows; got {len(X)} and {len(y)}.")


def columns_in(X: Any, schema: Schema | None) -> list[str] | int | None:
    """Returns the columns of a table but its target, the number of those of an array, None for other input."""
    if isinstance(X, pd.DataFrame):
        target = schema.target.columns if schema is not None and schema.target is not None else ()
        used = set() if schema is None else {c for m in schema.modalities.values() for c in m.columns}
        return [str(c) for c in X.columns if str(c) in used or str(c) not in target]
    return X.shape[1] if isinstance(X, np.ndarray) else None


def training_data(
    X: Any,
    y: Any,
    schema: Schema | None,
    presence: Mapping[str, Any] | None,
    *,
    rates: Mapping[str, int] | None,
    who: str,
    task_of: Callable[[Any], Task],
    base_dir: str | Path | None,
    on_bad_file: OnBadFile,
) -> tuple[Dataset, Schema | None]:
    """Returns the rows with their target, and the resolved schema of a table.

    Args:
        X: A data frame, a 2-D array, a dict of arrays or tensors by modality, or a `Dataset`.
        y: The target, or None where X or the schema says it.
        schema: What is known of a table.
        presence: For a dict: bool `[row]` by modality.
        rates: For a dict: samples a second of sounds by modality.
        who: Who asks, for messages.
        task_of: Returns what kind of target y is.
        base_dir: See `TableReader`.
        on_bad_file: See `TableReader`.

    Raises:
        DataError: No target, or rows that do not belong together.
    """
    for what, given in (("presence", presence), ("rates", rates)):
        if given is not None and not isinstance(X, Mapping):
            raise DataError(f"{who}: {what} belongs to a dict of arrays; got it with {type(X).__name__}.")
    y = None if y is None else as_target(y)
    asked = schema.target if schema is not None else None
    task = (asked.task if asked else None) or (None if y is None else task_of(y))
    if isinstance(X, Dataset):
        if y is None and X.target is None:
            raise DataError(f"{who}: y must be given where the data set has no target; got None.")
        if y is None:
            return X, schema
        same_length(X, y, who)
        target, task, names = read_target(y, task)
        return replace(X, target=target, task=task, target_names=names), schema
    if y is None and (asked is None or isinstance(X, Mapping)):
        raise DataError(f"{who}: y must be given; got None. Or name the target of a table in the schema.")
    if isinstance(X, Mapping):
        return from_tensors(X, y, presence=presence, rates=rates, task=task, name=who), None
    table = as_table(X, who)
    files: dict[str, Any] = {"name": who, "base_dir": base_dir, "on_bad_file": on_bad_file}
    if y is None and asked is not None:
        task = task or task_of(table.loc[:, [str(c) in asked.columns for c in table.columns]])
        named = asked.model_copy(update={"task": task})
        reader, dataset = TableReader.fit(table, (schema or Schema()).model_copy(update={"target": named}), **files)
        return dataset, reader.schema
    same_length(X, y, who)
    # y stands beside the table: a target that the schema names must not be an input either
    told = (schema or Schema()).model_copy(update={"target": None})
    there = {str(c) for c in table.columns}
    inside = tuple(c for c in (asked.columns if asked else ()) if c in there)
    told = told.model_copy(
        update={
            "ignore": (*told.ignore, *inside),
            "words": tuple(c for c in told.words if c in there),
            "merge_spellings": tuple(c if c in there else "target" for c in told.merge_spellings),
            "numbers": {c: form for c, form in told.numbers.items() if c in there},
            "missing": {c: words for c, words in told.missing.items() if c in there},
        }
    )
    dataset, resolved = from_frame(table, y, schema=told, task=task, **files)
    names = tuple(asked.columns) if asked else tuple(dataset.target_names)
    assert dataset.target is not None
    if isinstance(dataset.target.flat[0], str):
        resolved = resolved.model_copy(update={"words": (*resolved.words, *(n for n in names if n not in inside))})
    return dataset, resolved.model_copy(update={"target": Target(columns=names, task=dataset.task)})


def without_test_rows(dataset: Dataset) -> Dataset:
    """Returns the rows that are no official test rows."""
    if dataset.split is None or not (dataset.split == "test").any():
        return dataset
    return dataset.rows(np.flatnonzero(dataset.split != "test"))


def to_learn_from(X: Any, dataset: Dataset, groups: Any, *, who: str) -> Dataset:
    """Returns the rows of X with their `groups`, if given, and without official test rows; notes are warnings."""
    if groups is not None:
        dataset = replace(dataset, groups=np.asarray(plain(groups)))
    notes = () if isinstance(X, Dataset) else tuple(dataset.notes)  # a Dataset's own are with its maker
    learned = without_test_rows(dataset)
    if len(learned) < len(dataset):
        notes = (*notes, f"{len(dataset) - len(learned)} official test rows are not learned from.")
    tell((*notes, *copy_notes(learned)), who)
    return learned
