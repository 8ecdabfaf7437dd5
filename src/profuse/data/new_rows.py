"""New rows, however they are given -> a `Dataset` as that of training was read."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.table.database import DatabaseTable
from profuse.data.target import TargetCodec, read_target
from profuse.data.tensors import as_target, from_tensors, same_order
from profuse.errors import DataError, ProfuseWarning
from profuse.kinds import kind_named
from profuse.schema import OnBadFile, Schema

__all__ = ["as_table", "column_names", "no_table", "read_new_rows", "tell"]


def read_new_rows(
    rows: Any,
    pipeline: Pipeline,
    schema: Schema | None,
    codec: TargetCodec | None = None,
    *,
    who: str,
    presence: Mapping[str, Any] | None = None,
    need_target: bool | None = False,
    target: Any = None,
    new_categories: Collection[str] = (),
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
    to_learn: bool = False,
) -> Dataset:
    """Returns rows, read as those of training were; what was counted, new categories too, stands in its notes.

    Args:
        rows: A path, a `DatabaseTable`, a DataFrame, a 2-D array, a dict of arrays by modality, or a `Dataset`.
        pipeline: Fitted on the training rows.
        schema: Resolved, of the training table; None for other data.
        codec: Of the target of the training rows.
        who: Who asks; messages begin with it.
        presence: For a dict: bool `[row]` by modality.
        need_target: Whether the target is read from a table; None: where it is known of all rows.
        target: Its columns in a table, where they have other names than in training; or its values.
        new_categories: Columns of which nearly all categories may be new, besides those of the schema.
        base_dir: See `TableReader`.
        on_bad_file: See `TableReader`.
        to_learn: Whether a model learns from the rows of a table, which then need the columns of weights and subgroups.

    Raises:
        DataError: The rows are no input of the kind in training, or cannot be read.
    """
    if presence is not None and not isinstance(rows, Mapping):
        raise DataError(f"{who}: presence belongs to a dict of arrays; got it with {type(rows).__name__}.")
    columns = column_names(target)
    has_values = target is not None and columns is None
    if columns is not None and isinstance(rows, Mapping | Dataset):
        raise DataError(f"{who}: target must hold the values, one a row, with a {type(rows).__name__}; got {target!r}.")
    if isinstance(rows, Dataset):
        dataset = rows
    elif isinstance(rows, Mapping):
        dataset = _of_arrays(rows, pipeline, schema, presence, who=who, base_dir=base_dir)
    elif schema is None:
        raise no_table(rows, pipeline, who=who)
    else:
        is_file = isinstance(rows, str | Path | DatabaseTable)
        if not is_file and not (isinstance(rows, np.ndarray) and rows.ndim == 2):
            rows = as_table(rows, who)
        reader = pipeline.reader(schema, codec, target=columns, base_dir=base_dir, on_bad_file=on_bad_file)
        needed, name = need_target if not has_values else False, None if is_file else who
        dataset = reader.read(rows, need_target=needed, name=name, to_learn=to_learn)
    if has_values:
        dataset = _with_values(dataset, target, codec, who=who)
    accepted = (*(() if schema is None else schema.new_categories), *new_categories)
    return replace(dataset, notes=(*dataset.notes, *pipeline.unseen_notes(dataset, accepted)))


def no_table(rows: Any, pipeline: Pipeline, *, who: str) -> DataError:
    """Returns the error of rows that are a table, of a model that has learned from none."""
    is_file = isinstance(rows, str | Path | DatabaseTable)
    return DataError(
        f"{who}: rows must be what they were in training, a dict of modalities {sorted(pipeline.preprocessors)}; got "
        + (f"the file {str(rows)!r}" if is_file else type(rows).__name__)
        + ". The model has learned from arrays or a named data set, not from a table: ask it in Python, as "
        "profuse.load_model(folder).evaluate(profuse.load_dataset(name)); or fit it to a table."
    )


def column_names(target: Any) -> tuple[str, ...] | None:
    """Returns the names of columns, None if `target` holds values or is None."""
    if isinstance(target, str):
        return (target,)
    if isinstance(target, list | tuple) and len(target) > 0 and all(isinstance(t, str) for t in target):
        return tuple(target)
    return None


def _with_values(dataset: Dataset, target: Any, codec: TargetCodec | None, *, who: str) -> Dataset:
    values, task, names = read_target(as_target(target), None if codec is None else codec.task)
    if len(values) != len(dataset):
        raise DataError(f"{who}: rows and target must have the same rows; got {len(dataset)} and {len(values)}.")
    return replace(dataset, target=values, task=task, target_names=names)


def _of_arrays(
    rows: Mapping[str, Any],
    pipeline: Pipeline,
    schema: Schema | None,
    presence: Mapping[str, Any] | None,
    *,
    who: str,
    base_dir: str | Path | None,
) -> Dataset:
    same_order({"rows": rows, "presence": presence}, where=who)
    kinds = {name: p.takes for name, p in pipeline.preprocessors.items() if name in rows}
    known, notes = {name: values for name, values in rows.items() if name in kinds}, list[str]()
    tables: dict[str, Any] = {}
    for name, part in known.items():
        if schema is not None and kind_named(kinds[name]).columns == "any" and isinstance(part, pd.DataFrame):
            # cells mean what they meant in the table of training
            alone = schema.only([name]).model_copy(update={"id": None})
            read = pipeline.reader(alone, base_dir=base_dir).read(part, name=who)
            known[name] = tables[name] = read.modalities[name].values
            notes += read.notes
    presence = {name: given for name, given in (presence or {}).items() if name in known or name not in rows}
    rates = {name: rate for name, rate in pipeline.rates.items() if name in known}
    ranges = {name: levels for name, levels in pipeline.ranges.items() if name in known}
    dataset = from_tensors(known, presence=presence, kinds=kinds, rates=rates, ranges=ranges, name=who)
    # what a table's columns hold is decided: words that look like numbers stay words
    modalities = {
        name: replace(data, values=tables.get(name, data.values)) for name, data in dataset.modalities.items()
    }
    return replace(dataset, modalities=modalities, notes=(*notes, *dataset.notes))


def as_table(X: Any, who: str) -> pd.DataFrame:
    """Returns X as a table; the columns of an array are x0, x1, ..."""
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    raise DataError(
        f"{who}: X must be a DataFrame, a 2-D array, a dict of arrays by modality, or a Dataset; got "
        f"{type(X).__name__}{getattr(X, 'shape', '')}."
    )


def tell(notes: Iterable[str], who: str, *, stacklevel: int = 4) -> None:
    """Gives notes as warnings of the line that called, `stacklevel` calls above the warning."""
    for note in notes:
        warnings.warn(f"{who}: {note}", ProfuseWarning, stacklevel=stacklevel)
