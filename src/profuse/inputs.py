"""What users hand over (tables, targets, schemas) -> what the library works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import nearest, resolve
from profuse._options import checked
from profuse.data.arrays import plain
from profuse.data.dataset import Dataset, ModalityData, check_weights
from profuse.data.leaks import copy_notes
from profuse.data.new_rows import as_table, column_names, tell
from profuse.data.preprocess import preprocessor
from profuse.data.subgroups import subgroup_names
from profuse.data.table.database import DatabaseTable
from profuse.data.table.options import ReadOptions
from profuse.data.table.reader import TableReader
from profuse.data.table.schema_file import as_schema
from profuse.data.table.shards import kept_schema
from profuse.data.target import read_target
from profuse.data.tensors import as_target, from_frame, from_tensors, same_order
from profuse.datasets import DATASETS
from profuse.datasets import load as load_dataset
from profuse.encoders import ENCODERS, check_reads, encoder, preprocessor_for
from profuse.encoders.own import reader_of
from profuse.errors import ConfigError, DataError
from profuse.kinds import kind_named
from profuse.schema import OnBadFile, Schema, SplitOptions, Target, Task

__all__ = [
    "Data",
    "Opened",
    "check_variant",
    "columns_in",
    "open_data",
    "same_length",
    "to_learn_from",
    "training_data",
    "with_encoders",
    "with_subgroups",
    "with_weights",
    "without_test_rows",
]


Data = str | Path | DatabaseTable | pd.DataFrame | Mapping[str, Any] | Dataset


@dataclass(frozen=True, eq=False)
class Opened:
    """Data behind any door: the rows, how they are to be split, and a table's resolved schema."""

    dataset: Dataset
    split: SplitOptions
    schema: Schema | None = None


def with_encoders(dataset: Dataset, encoders: Mapping[str, Any], *, who: str, into: Iterable[str] = ()) -> Dataset:
    """Returns the data set with the preprocessors that its encoders need; all names are checked before any fit.

    Args:
        dataset: What is fitted to.
        encoders: By modality: a name, or a module of the user's.
        who: Who asks; messages begin with it.
        into: Modalities that receive feedback.

    Raises:
        UnknownNameError: A modality, an encoder or a preprocessor of that name is not known.
        ConfigError: It takes another kind than its modality is, refuses its rows, or needs another preprocessor than is
            named; or `max_length` is set where nothing is bounded.
    """
    for name in [*encoders, *into]:
        resolve(name, dataset.modalities, where=who, what="modality")
    for name, data in dataset.modalities.items():
        at = f"{who}: modality {name!r}"
        if data.preprocess is not None and not (made_by := preprocessor(data.preprocess, at)).accepts(data.kind):
            raise ConfigError(
                f"{who}: the preprocessor of {name!r} must take kind {data.kind!r}; got {data.preprocess!r}, which "
                f"takes {made_by.takes!r}. Name another one, or leave it out."
            )
        if data.preprocess is not None and (why := made_by.refusal(data) or made_by.lacking()):
            raise ConfigError(f"{who}: the preprocessor {data.preprocess!r} of {name!r} {why}")
    modalities = dict(dataset.modalities)
    for name, data in dataset.modalities.items():
        chosen = encoders.get(name, data.encoder)
        if chosen is None:
            continue
        if not isinstance(chosen, str):  # the user's own module
            needed, called = reader_of(chosen), type(chosen).__name__
            if needed is not None and not preprocessor(needed).accepts(data.kind):
                raise ConfigError(
                    f"{who}: the encoder of {name!r} must take kind {data.kind!r}; got {called}, which takes "
                    f"{preprocessor(needed).takes!r}. Give it to another modality."
                )
            modalities[name] = _read_with(needed, called, name, data, who)
            continue
        check_reads(chosen, data, who=who, modality=name)
        takes, needed = encoder(chosen).kind, preprocessor_for(chosen)
        due = preprocessor(kind_named(data.kind).preprocessor).gives or data.kind
        fits = takes == due if chosen in ENCODERS else preprocessor(chosen).accepts(data.kind)
        if data.preprocess is None and not fits:
            raise ConfigError(
                f"{who}: the encoder of {name!r} must take kind {due!r}; got {chosen!r}, which "
                f"{f'takes {takes!r}' if chosen in ENCODERS else 'does not'}. Name another one, or leave it out."
            )
        modalities[name] = _read_with(needed, repr(chosen), name, data, who)
    for name, data in modalities.items():
        made_by_name = data.preprocess or kind_named(data.kind).preprocessor
        if data.max_length is not None and not preprocessor(made_by_name).bound:
            raise ConfigError(
                f"{who}: max_length of {name!r} must go with a preprocessor that bounds how much of a row is read; got "
                f"max_length={data.max_length} with {made_by_name!r}, which does not. Leave it out."
            )
    return replace(dataset, modalities=modalities)


def _read_with(needed: str | None, called: str, name: str, data: ModalityData, who: str) -> ModalityData:
    """Returns the modality with the preprocessor that its encoder needs, if it needs one.

    Raises:
        ConfigError: Another one is named.
    """
    if needed is not None and data.preprocess not in (None, needed):
        raise ConfigError(
            f"{who}: the encoder {called} of {name!r} needs the preprocessor {needed!r}; got {data.preprocess!r}. "
            "Leave the preprocessor out."
        )
    return replace(data, preprocess=data.preprocess or needed)


def same_length(X: Any, y: Any, who: str) -> None:
    """Checks that X and y have the same rows."""
    if len(X) != len(y):
        raise DataError(f"{who}: X and y must have the same rows; got {len(X)} and {len(y)}.")


def columns_in(X: Any, schema: Schema | None) -> list[str] | int | None:
    """Returns the columns of a table but its target, the number of those of an array, None for other input."""
    if isinstance(X, pd.DataFrame):
        target = () if schema is None else schema.target_columns
        used = set() if schema is None else {c for m in schema.modalities.values() for c in m.columns}
        return [str(c) for c in X.columns if str(c) in used or str(c) not in target]
    return X.shape[1] if isinstance(X, np.ndarray) else None


def open_data(
    data: Data,
    target: Any = None,
    *,
    who: str = "compare",
    schema: Any = None,
    task: Task | None = None,
    weight: Any = None,
    subgroup: Any = None,
    split: SplitOptions | None = None,
    test: str | Path | None = None,
    name: str | None = None,
    variant: str | None = None,
    with_target: bool = True,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
) -> Opened:
    """Returns the data behind any door, named data sets and files too; see `compare` for the arguments.

    What is set in `split`, `task`, and columns that `weight` and `subgroup` name, win over the schema's. Without
    `with_target` the columns `target` of a table are left out.
    """
    read: dict[str, Any] = {"base_dir": base_dir, "on_bad_file": on_bad_file}
    checked(ReadOptions, read, where=who)
    split = split or SplitOptions()
    asked: dict[str, Any] = {
        "target": target, "task": task, "weight": weight, "subgroup": subgroup, "schema": schema,
        "split.column": split.column, "test": test,
    }  # fmt: skip
    if isinstance(data, str | Path) and str(data) in DATASETS:
        _only(who, f"the named data set {str(data)!r}", **asked)
        dataset = load_dataset(str(data), variant=variant)
        return Opened(dataset if name is None else replace(dataset, name=name), split)
    if isinstance(data, str | Path):
        _check_path(Path(data), who)
    check_variant(data, variant, who)
    if isinstance(data, Dataset):
        _only(who, f"a Dataset, {data.name!r}", **asked)
        return Opened(data if name is None else replace(data, name=name), split)
    if isinstance(data, Mapping):
        _only(who, "a dict of arrays", **asked | {"target": None, "task": None, "weight": None, "subgroup": None})
        if target is None or isinstance(target, str):
            raise DataError(f"{who}: target must hold the values, one a row, with a dict of arrays; got {target!r}.")
        for what, given in (("weight", weight), ("subgroup", subgroup)):
            if isinstance(given, str):
                raise DataError(f"{who}: {what} must hold the values, one a row, with a dict of arrays; got {given!r}.")
        same_order({"X": data, "weight": weight, "subgroup": subgroup}, where=who)
        made = from_tensors(data, target, task=task, name=name or "tensors")
        return Opened(_by_row(made, weight, subgroup, who), split)
    if isinstance(data, pd.DataFrame):
        _only(who, "a DataFrame", test=test)
        same_order({"X": data, "weight": weight, "subgroup": subgroup}, where=who)
    for what, given in (("weight", weight), ("subgroup", subgroup)):
        if not (given is None or isinstance(given, str) or isinstance(data, pd.DataFrame)):
            raise ConfigError(f"{who}: {what} must name a column of the file; got {type(given).__name__}. Name one.")
    known = kept_schema(data, target=target is None) if schema is None else as_schema(schema)
    named = {what: c for what, c in (("weight", weight), ("subgroup", subgroup)) if isinstance(c, str)}
    known = known.with_task(task).model_copy(update={"split": split.over(known.split), **named})
    weight, subgroup = None if "weight" in named else weight, None if "subgroup" in named else subgroup
    columns = column_names(target)
    if target is None or columns is not None:
        reader, dataset = TableReader.fit(
            data, known, target=columns, with_target=with_target, test=test, name=name, **read
        )
        return Opened(_by_row(dataset, weight, subgroup, who), reader.schema.split, reader.schema)
    if not isinstance(data, pd.DataFrame):
        raise ConfigError(f"{who}: target must name columns of the file; got {type(target).__name__}. Name them.")
    same_order({"X": data, "target": target}, where=who)
    dataset, resolved = training_data(data, target, known, who=who, name=name or "table", **read)
    return Opened(_by_row(dataset, weight, subgroup, who), known.split, resolved)


def _by_row(dataset: Dataset, weights: Any, subgroups: Any, who: str) -> Dataset:
    dataset = dataset if weights is None else with_weights(dataset, weights, who=who)
    return dataset if subgroups is None else with_subgroups(dataset, subgroups, who=who)


def _check_path(path: Path, who: str) -> None:
    """Checks that a word that is no file is no name of a data set that was mistyped."""
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        close = nearest(str(path), DATASETS)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "See 'profuse datasets'."
        raise DataError(f"{who}: data must be a file or a named data set; got {str(path)!r}. {hint}")


def check_variant(data: Any, variant: str | None, who: str) -> None:
    """Checks that a variant is only asked for of a named data set, which `data` is not.

    Raises:
        ConfigError: It is.
    """
    if variant is not None:
        given = f"the file {str(data)!r}" if isinstance(data, str | Path) else f"a {type(data).__name__}"
        raise ConfigError(f"{who}: variant must go with a named data set; got {given}. Leave it out.")


def _only(who: str, what: str, **others: object) -> None:
    """Tells what has been given and does not apply."""
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ConfigError(
            f"{who}: {' and '.join(given)} must not be given with {what}, which brings its own. Leave it out."
        )


def training_data(
    X: Any,
    y: Any = None,
    schema: Schema | None = None,
    *,
    who: str,
    presence: Mapping[str, Any] | None = None,
    rates: Mapping[str, int] | None = None,
    task_of: Callable[[Any], Task] | None = None,
    with_target: bool = True,
    name: str | None = None,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
) -> tuple[Dataset, Schema | None]:
    """Returns the rows to learn from, with their target, and the resolved schema of a table.

    Args:
        X: A data frame, a 2-D array, a dict of arrays or tensors by modality, or a `Dataset`.
        y: The target, or None where X or the schema says it.
        schema: What is known of a table.
        who: Who asks, for messages.
        presence: For a dict: bool `[row]` by modality.
        rates: For a dict: samples a second of sounds by modality.
        task_of: Returns what kind of target y is; inferred if None.
        with_target: Whether there is a target; else that of a schema is left out.
        name: Of the data set; `who` if None.
        base_dir: See `TableReader`.
        on_bad_file: See `TableReader`.

    Raises:
        DataError: No target, or rows that do not belong together.
    """
    for what, given in (("presence", presence), ("rates", rates)):
        if given is not None and not isinstance(X, Mapping):
            raise DataError(f"{who}: {what} belongs to a dict of arrays; got it with {type(X).__name__}.")
    y, name = None if y is None else as_target(y), name or who
    asked = schema.target if schema is not None else None
    task = asked.task if asked else None
    if task is None and y is not None and task_of is not None:
        task = task_of(y)
    if isinstance(X, Dataset):
        if not with_target or (y is None and X.target is not None):
            return X, schema
        if y is None:
            raise DataError(f"{who}: y must be given where the data set has no target; got None.")
        same_length(X, y, who)
        target, task, names = read_target(y, task)
        return replace(X, target=target, task=task, target_names=names), schema
    if with_target and y is None and (asked is None or isinstance(X, Mapping)):
        raise DataError(f"{who}: y must be given; got None. Or name the target of a table in the schema.")
    if isinstance(X, Mapping):
        return from_tensors(X, y, presence=presence, rates=rates, task=task, name=name), None
    table, schema = as_table(X, who), schema or Schema()
    read: dict[str, Any] = {"name": name, "base_dir": base_dir, "on_bad_file": on_bad_file}
    if y is None:
        if with_target and asked is not None and task is None and task_of is not None:
            task = task_of(table.loc[:, [str(c) in asked.columns for c in table.columns]])
            schema = schema.model_copy(update={"target": asked.model_copy(update={"task": task})})
        reader, dataset = TableReader.fit(table, schema, with_target=with_target, **read)
        return dataset, reader.schema
    same_length(X, y, who)
    dataset, resolved = from_frame(table, y, schema=_beside(table, schema), task=task, **read)
    if asked is None or not asked.columns:
        names, inside = tuple(dataset.target_names), set()
    else:
        names, inside = asked.columns, set(map(str, table.columns))
    assert dataset.target is not None
    if isinstance(dataset.target.flat[0], str):
        resolved = resolved.model_copy(update={"words": (*resolved.words, *(n for n in names if n not in inside))})
    return dataset, resolved.model_copy(update={"target": Target(columns=names, task=dataset.task)})


def _beside(table: pd.DataFrame, schema: Schema) -> Schema:
    """Returns the schema of a table whose target stands beside it: one that it names is no input either."""
    there = {str(c) for c in table.columns}
    return schema.model_copy(
        update={
            "target": None,
            "ignore": (*schema.ignore, *(c for c in schema.target_columns if c in there)),
            "words": tuple(c for c in schema.words if c in there),
            "merge_spellings": tuple(c if c in there else "target" for c in schema.merge_spellings),
            "numbers": {c: form for c, form in schema.numbers.items() if c in there},
            "missing": {c: words for c, words in schema.missing.items() if c in there},
        }
    )


def without_test_rows(dataset: Dataset) -> Dataset:
    """Returns the rows that are no official test rows."""
    if dataset.split is None or not (dataset.split == "test").any():
        return dataset
    return dataset.rows(np.flatnonzero(dataset.split != "test"))


def with_subgroups(dataset: Dataset, subgroups: Any, *, who: str) -> Dataset:
    """Returns the data set with the subgroup of each row, `[row]`.

    Raises:
        DataError: They are not one value for each row.
        ConfigError: The data set has subgroups.
    """
    if dataset.subgroups is not None:
        raise ConfigError(f"{who}: subgroups must be given once; got some beside those of the data. Leave one out.")
    name = getattr(subgroups, "name", None)
    named = subgroup_names(plain(subgroups), who=who, column=None if name is None else str(name))
    if len(named) != len(dataset):
        raise DataError(
            f"{who}: subgroups must be one for each of {len(dataset)} rows; got {len(named)}. Give as many."
        )
    return replace(dataset, subgroups=named)


def with_weights(dataset: Dataset, weights: Any, *, who: str, what: str = "weight") -> Dataset:
    """Returns the data set with how much its rows count, `[row]`.

    Raises:
        DataError: They are not one number of at least 0 for each row.
        ConfigError: The data set has weights.
    """
    if dataset.weights is not None:
        raise ConfigError(
            f"{who}: weights of rows must be given once; got {what} beside those of the data. Leave one out."
        )
    given = np.asarray(plain(weights))
    if given.shape != (len(dataset),) or given.dtype.kind not in "buif":
        raise DataError(
            f"{who}: {what} must be one number for each of {len(dataset)} rows; got shape {given.shape}, dtype "
            f"{given.dtype}. Give one a row, in the order of the rows."
        )
    check_weights(given, who=who, what=what)
    return replace(dataset, weights=given.astype(np.float64))


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
