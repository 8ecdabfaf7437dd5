"""A table and its resolved schema -> `Dataset`; a file, and a test file beside it -> `Dataset`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from profuse._lookup import nearest
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.media.columns import deep_range
from profuse.data.table.cells import Cells
from profuse.data.table.infer import infer, load_schema, plain_names
from profuse.data.table.missing import without_missing
from profuse.data.table.near_repeats import repeat_notes
from profuse.data.table.number_format import written_numbers
from profuse.data.table.read import read_table
from profuse.data.table.second_file import tell_test_part, tied_as_in_training
from profuse.data.table.target_cells import target_cells
from profuse.data.table.times import instants, parse_times
from profuse.data.table.unseen import unseen_cells, unseen_notes
from profuse.data.table.values import match, word, words
from profuse.data.task import read_target
from profuse.data.wording import readable_name, tell_rows, tell_values
from profuse.errors import ConfigError, DataError
from profuse.schema import Schema, Target

__all__ = [
    "assemble",
    "check_same_columns",
    "concatenate",
    "load_new_rows",
    "load_table_dataset",
    "read_ranges",
    "read_training_table",
    "with_ranges",
]


def assemble(
    frame: pd.DataFrame,
    schema: Schema,
    *,
    name: str,
    base_dir: str | Path = ".",
    on_bad_file: Literal["raise", "skip"] = "raise",
    need_target: bool = True,
    fitting: bool = True,
    rates: Mapping[str, int] | None = None,
    labels: Sequence[str] | None = None,
) -> Dataset:
    """Reads the cells, and the files that they name, into a `Dataset`.

    Args:
        frame: The table.
        schema: Resolved, as `profuse.data.table.infer.infer` returns it.
        name: Of the data set, in results and messages.
        base_dir: Paths in cells are relative to it: the folder of the table's file.
        on_bad_file: "raise" at a file that is missing or broken, or "skip": it counts as missing, and is told in
            `Dataset.notes`.
        need_target: Whether the target is read; without it, its columns may be absent (prediction).
        fitting: Whether the rows are learned from. Then no modality may be missing in all rows, and the target
            may not be constant.
        rates: Samples a second of audio modalities as in training; sounds of other rates are resampled.
        labels: The labels of a multilabel target given as lists, as in training.

    Raises:
        ConfigError: The schema is not resolved, or names no target though one is needed.
        DataError: A column is not there, a cell or file cannot be read (row and column are told), a modality is
            missing in all rows, ids are missing or not unique, or the target cannot be learned. Without `fitting` an
            inferred id that is so is not used, and a note says it.
    """
    if not schema.modalities or any(m.kind is None for m in schema.modalities.values()):
        raise ConfigError(
            "assemble: the schema must be resolved; it leaves modalities open. Call infer(frame, schema)."
        )
    if need_target and schema.target is None:
        raise ConfigError("assemble: a target must be named; the schema has none. Name a column (--target).")
    frame = without_missing(plain_names(frame), schema, schema.columns)
    extra = check_same_columns(schema, frame, need_target=need_target)
    cells = Cells(
        frame,
        Path(base_dir),
        on_bad_file,
        rates=dict(rates or {}),
        dates=schema.dates,
        ranges=schema.ranges,
        spellings=schema.merge_spellings,
        numbers=schema.numbers,
    )
    if extra:
        cells.notes.append(f"Columns that the schema does not know are not used: {tell_values(extra)}.")
    modalities = {k: cells.modality(k, m, schema.columns) for k, m in schema.modalities.items()}
    if fitting and need_target:
        check_present(modalities)
    split = _split_column(frame, schema)
    if "times" in split and split["times"].dtype == object:
        cells.notes.append(
            f"Column {schema.split.column!r}: rows are put in order by its words, as no times were recognised."
        )
    target: np.ndarray | None = None
    task = schema.target.task if schema.target else None
    names: tuple[str, ...] = ("target",)
    if need_target and schema.target is not None:
        columns = target_cells(frame, schema)
        target, task, names = read_target(columns, schema.target.task, labels=labels, fitting=fitting)
    ids = _ids(frame, schema, cells.notes, fitting=fitting)
    return Dataset(
        name=name,
        modalities=modalities,
        target=target,
        task=task or "regression",
        target_names=names,
        ids=ids,
        notes=tuple(cells.notes),
        **split,
    )


def with_ranges(schema: Schema, dataset: Dataset) -> Schema:
    """Returns `schema` with the range of each column of pictures, as it was decided on `dataset`."""
    found = {m.columns[0]: dataset.modalities[k].range for k, m in schema.modalities.items() if m.kind == "image"}
    ranges = {column: levels for column, levels in found.items() if levels is not None}
    return schema.model_copy(update={"ranges": schema.ranges | ranges})


def read_ranges(schema: Schema, frame: pd.DataFrame, base_dir: str | Path) -> tuple[Schema, tuple[str, ...]]:
    """Returns `schema` with the ranges that `assemble` would decide on, and what was counted; bad files are skipped."""
    cells = Cells(plain_names(frame), Path(base_dir), "skip")
    columns = [m.columns[0] for m in schema.modalities.values() if m.kind == "image"]
    ranges = {column: deep_range(cells, column) for column in columns if column not in schema.ranges}
    return schema.model_copy(update={"ranges": schema.ranges | ranges}), tuple(cells.notes)


def check_present(modalities: Mapping[str, ModalityData]) -> None:
    """Checks that each modality is there in at least one row."""
    empty = [k for k, v in modalities.items() if not v.present.any()]
    if empty:
        n_rows = len(modalities[empty[0]])
        raise DataError(
            f"modality {tell_values(empty)}: must be present in at least one row; it is missing in all {n_rows}. "
            "Correct its column, or leave it out (ignore in the schema)."
        )


def check_same_columns(schema: Schema, frame: pd.DataFrame, *, need_target: bool = True) -> tuple[str, ...]:
    """Checks that `frame` has the columns that `schema` (resolved on the training table) uses.

    Returns:
        The columns of `frame` that the schema does not know; they are not used.

    Raises:
        DataError: A column is lacking; all of them, and the nearest names, are told.
    """
    have = [str(c) for c in frame.columns]
    inputs = [c for m in schema.modalities.values() for c in m.columns]
    target = list(schema.target.columns) if schema.target else []
    known = {*inputs, *target, *schema.ignore, *schema.columns, schema.id, schema.split.column}
    extra = tuple(c for c in have if c not in known)
    lacking = [c for c in inputs + (target if need_target else []) if c not in have]
    if lacking:
        near = [f"{e!r} is near {c!r}" for c in lacking for e in nearest(c, extra, n=1)]
        raise DataError(
            f"table: it must have the columns of training; {len(lacking)} are lacking: {tell_values(lacking, n=10)}. "
            + (f"{'; '.join(near)}. " if near else "")
            + "Rename or add them; a column without values may be empty."
        )
    return extra


def load_table_dataset(
    path: str | Path,
    *,
    target: str | Sequence[str] | None = None,
    schema: Schema | str | Path | None = None,
    test: str | Path | None = None,
    on_bad_file: Literal["raise", "skip"] = "raise",
    name: str | None = None,
) -> tuple[Dataset, Schema]:
    """Reads a table file into a `Dataset` and returns it with the schema, resolved.

    With a `test` file its rows follow those of `path`, `Dataset.split` tells "train" and "test", and the split
    method becomes auto, so that the test rows stay what they are. Everything is inferred from `path` alone.

    Args:
        path: CSV, TSV, JSON lines or Parquet; see `profuse.data.table.read.read_table`.
        target: Column or columns to predict; may stand in the schema instead.
        schema: A schema, or the YAML file of one.
        test: A second file with the same columns.
        on_bad_file: See `assemble`.
        name: Of the data set; the file's name by default.

    Raises:
        ConfigError: No target is named, or two different ones.
        DataError: See `read_table`, `infer` and `assemble`; or the test file has other columns, or a class that
            the training file has not.
    """
    path = Path(path)
    given = schema if isinstance(schema, Schema) else load_schema(schema) if schema is not None else Schema()
    frame = read_training_table(path, given)
    notes = list(frame.attrs.get("notes", ()))
    inference = infer(frame, _with_target(given, target))
    resolved = inference.schema
    notes += inference.notes
    name = name or readable_name(path).partition(".")[0]
    dataset = assemble(frame, resolved, name=name, base_dir=path.parent, on_bad_file=on_bad_file)
    resolved = with_ranges(resolved, dataset)
    if test is not None:
        dataset = _with_test(dataset, resolved, Path(test), on_bad_file)
        notes += tell_test_part(dataset, resolved.split, path.name, Path(test).name)
        resolved = resolved.model_copy(update={"split": resolved.split.model_copy(update={"method": "auto"})})
    return replace(dataset, notes=(*notes, *dataset.notes)), resolved


def load_new_rows(
    path: str | Path,
    schema: Schema,
    *,
    on_bad_file: Literal["raise", "skip"] = "raise",
    rates: Mapping[str, int] | None = None,
    need_target: bool = False,
    words: Collection[str] = (),
    labels: Sequence[str] | None = None,
) -> Dataset:
    """Reads the table file `path` as the one was read on which `schema` was resolved.

    Args:
        path: The table.
        schema: Resolved.
        on_bad_file: "raise" or "skip".
        rates: See `assemble`.
        need_target: Whether the target is read.
        words: Further columns that are text, whatever they hold.
        labels: See `assemble`.

    Raises:
        DataError: See `read_table` and `assemble`.
    """
    path = Path(path)
    frame = read_table(path, words=(*schema.words, *words, *([schema.id] if schema.id else [])))
    dataset = assemble(
        frame,
        schema,
        name=readable_name(path).partition(".")[0],
        base_dir=path.parent,
        on_bad_file=on_bad_file,
        need_target=need_target,
        fitting=False,
        rates=rates,
        labels=labels,
    )
    return replace(dataset, notes=(*frame.attrs.get("notes", ()), *dataset.notes))


def concatenate(first: Dataset, second: Dataset) -> Dataset:
    """Returns the rows of `first`, then those of `second`; both were assembled with one schema."""
    modalities = {}
    for name, a in first.modalities.items():
        b = second.modalities[name]
        if a.kind == "table":
            values: Any = pd.concat([a.values, b.values], ignore_index=True)
        elif a.kind == "vector" and not b.present.any():
            values = np.concatenate([a.values, np.full((len(b), a.values.shape[1]), np.nan)])
        elif a.kind == "vector" and a.values.shape[1] != b.values.shape[1]:
            raise DataError(
                f"modality {name!r}: vectors must be of one length in both tables; got {a.values.shape[1]} and "
                f"{b.values.shape[1]}. Correct the second table."
            )
        else:
            values = np.concatenate([a.values, b.values])
        modalities[name] = replace(a, values=values, present=np.concatenate([a.present, b.present]))
    by_row: dict[str, Any] = {}
    for what in ("target", "groups", "times", "ids", "split"):
        parts = [getattr(first, what), getattr(second, what)]
        by_row[what] = None if parts[0] is None or parts[1] is None else np.concatenate(parts)
    return replace(first, modalities=modalities, notes=(*first.notes, *second.notes), **by_row)


def _with_test(train: Dataset, schema: Schema, path: Path, on_bad_file: Literal["raise", "skip"]) -> Dataset:
    frame = read_table(path, words=schema.words)
    rates = {k: m.rate for k, m in train.modalities.items() if m.rate is not None}
    try:
        test = assemble(
            frame,
            schema,
            name=train.name,
            base_dir=path.parent,
            on_bad_file=on_bad_file,
            fitting=False,
            rates=rates,
            labels=train.target_names,
        )
        test = tied_as_in_training(test, train, schema.split.column)
        test = replace(test, target=_as_in_training(test.target, train))
        unseen = unseen_notes(unseen_cells(train, test), schema.new_categories)
    except DataError as error:
        raise DataError(f"test file {path.name}: {error}") from error
    train = replace(train, split=np.full(len(train), "train", dtype=object))
    notes = tuple(f"{readable_name(path)}: {n}" for n in (*frame.attrs.get("notes", ()), *test.notes, *unseen))
    both = concatenate(train, replace(test, split=np.full(len(test), "test", dtype=object), notes=notes))
    known, new = (both.rows(np.flatnonzero(both.split == part)) for part in ("train", "test"))
    return replace(both, notes=(*both.notes, *(f"{readable_name(path)}: {n}" for n in repeat_notes(known, new))))


def _as_in_training(target: np.ndarray | None, train: Dataset) -> np.ndarray | None:
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


def _with_target(schema: Schema, target: str | Sequence[str] | None) -> Schema:
    if target is not None:
        columns = (target,) if isinstance(target, str) else tuple(target)
        if schema.target is not None and schema.target.columns != columns:
            raise ConfigError(
                f"target: it must be named once; got {list(columns)} and, in the schema, "
                f"{list(schema.target.columns)}. "
                "Leave one of them out."
            )
        if schema.target is None:
            schema = schema.model_copy(update={"target": Target(columns=columns)})
    if schema.target is None or not schema.target.columns:
        raise ConfigError(
            "target: a column to predict must be named; got none. Add --target COLUMN, or put it in the schema."
        )
    return schema


def read_training_table(path: Path, given: Schema) -> pd.DataFrame:
    """Returns the table in `path`, to be learned from, with the words that columns named in `given` are written in.

    What is named a category there but looks like a fraction, as 1.10 does, is a code.

    Raises:
        DataError: See `read_table`.
    """
    frame = read_table(path)
    codes = [c for c, kind in given.columns.items() if kind in ("category", "text") and c in frame.columns]
    codes = [c for c in codes if pd.api.types.is_float_dtype(frame[c]) and (frame[c].dropna() % 1 != 0).any()]
    words = [c for c in frame.columns if c in {*given.words, *given.dates, *given.numbers, *codes}]
    if words:
        frame[words] = read_table(path, words=words)[words]
    return frame


def _ids(frame: pd.DataFrame, schema: Schema, notes: list[str], *, fitting: bool) -> np.ndarray | None:
    column = schema.id
    if column is None or column not in frame.columns:
        return None
    ids = frame[column]
    missing, twice = np.flatnonzero(ids.isna()), np.flatnonzero(ids.duplicated())
    if len(missing) or len(twice):
        what = f"missing in {tell_rows(missing)}" if len(missing) else f"again in {tell_rows(twice)}"
        if schema.id_inferred and not fitting:
            notes.append(f"Column {column!r}: as an id it is {what}; rows are told by their numbers instead.")
            return None
        raise DataError(
            f"id {column!r}: each row must have its own; it is {what}. Correct it; if it names what several rows "
            "share, it is split.column, not id."
        )
    return ids.to_numpy(dtype=object)


def _split_column(frame: pd.DataFrame, schema: Schema) -> dict[str, np.ndarray]:
    """Returns the column of the split as `times` or `groups`; nothing where it is absent."""
    column, method = schema.split.column, schema.split.method
    if column is None or column not in frame.columns:
        return {}
    cells = frame[column]
    kind = schema.columns.get(column)
    if kind == "numeric" and not pd.api.types.is_numeric_dtype(cells.dtype):
        cells = pd.Series(written_numbers(column, cells, schema.numbers.get(column))[0])
    if method == "time" or (method == "auto" and kind == "timestamp"):
        is_number = pd.api.types.is_numeric_dtype(cells.dtype) and kind != "timestamp"
        if is_number or kind not in ("timestamp", "numeric"):
            return {
                "times": cells.to_numpy(dtype=np.float64, na_value=np.nan)
                if is_number
                else cells.to_numpy(dtype=object)
            }
        return {"times": instants(parse_times(cells, schema.dates.get(column)).times)}
    return {"groups": cells.to_numpy(dtype=object)}
