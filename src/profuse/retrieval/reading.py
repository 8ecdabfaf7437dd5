"""What users hand to a retriever -> `Dataset`: to be learned from, or, whatever was learned from, to be asked by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import nearest, resolve
from profuse.data.arrays import plain
from profuse.data.dataset import Dataset
from profuse.data.new_rows import read_new_rows, tell
from profuse.data.pipeline import Pipeline
from profuse.data.table.schema_file import as_schema
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.inputs import training_data
from profuse.kinds import kind_named
from profuse.schema import ColumnKind, Modality, OnBadFile, Schema

__all__ = [
    "Data",
    "check_rows",
    "chosen",
    "known",
    "names_of",
    "paired",
    "rows_for",
    "schema_of",
    "tell_notes",
    "with_groups",
]

Data = pd.DataFrame | Mapping[str, Any] | Dataset


def paired(
    data: Data,
    schema: Any,
    presence: Mapping[str, Any] | None = None,
    *,
    base_dir: str | Path | None = None,
    on_bad_file: OnBadFile = "raise",
) -> tuple[Dataset, Schema | None]:
    """Returns rows without regard to a target, and the resolved schema of a table; see `Retriever.fit`."""
    _check_type(data)
    return training_data(
        data, schema=None if schema is None else as_schema(schema), who="Retriever", presence=presence,
        with_target=False, name="tensors" if isinstance(data, Mapping) else "table", base_dir=base_dir,
        on_bad_file=on_bad_file,
    )  # fmt: skip


def _check_type(data: Any) -> None:
    if not isinstance(data, Dataset | pd.DataFrame | Mapping):
        raise DataError(
            "Retriever: data must be a DataFrame, a dict of arrays by modality, or a Dataset; got "
            f"{type(data).__name__}."
        )


def names_of(given: Any) -> tuple[str, ...]:
    """Checks a list of names of modalities.

    Raises:
        ConfigError: It is none, or one is there twice.
    """
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray | pd.Index):
        raise ConfigError(
            f"Retriever: modalities must be a list of names; got modalities={given!r}. "
            + (f"Give [{given!r}] for one." if isinstance(given, str) else "Give None for all.")
        )
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"Retriever: modalities must be names; got {name!r} among them. Give text.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Retriever: modalities must differ; got {twice} more than once. Name each once.")
    return names


def known(name: Any, table: Mapping[str, Any]) -> str:
    """Returns the name of a modality, if it is one."""
    if not isinstance(name, str):
        raise ConfigError(f"Retriever: a modality must be a name; got modality={name!r}. Known: {', '.join(table)}.")
    resolve(name, table, where="Retriever", what="modality")
    return name


def chosen(modalities: Any, dataset: Dataset) -> list[str]:
    """Returns the modalities that are used, sorted.

    Raises:
        ConfigError: They are no list of different, known names.
        DataError: There is only one.
    """
    names = sorted(dataset.modalities if modalities is None else names_of(modalities))
    for name in names:
        known(name, dataset.modalities)
    if len(names) < 2:
        raise DataError(f"Retriever: there must be at least two modalities; got {names}. Add one, or a schema.")
    return names


def check_rows(dataset: Dataset, learn: np.ndarray, choose: np.ndarray) -> None:
    """Checks that there are rows to learn from, and rows to choose by."""
    present = np.stack([d.present for d in dataset.modalities.values()], axis=1)
    for what, rows in (("learn from", learn), ("choose the epoch by", choose)):
        n_rows = int((present[rows].sum(1) >= 2).sum())
        if n_rows < 4:
            raise DataError(
                f"Retriever: at least 4 rows to {what} must have two modalities; got {n_rows} of {len(rows)}. "
                "Give more rows, or another validation_fraction."
            )


def tell_notes(data: Data, dataset: Dataset) -> None:
    """Gives what was counted in a table as warnings; a `Dataset`'s own are with its maker."""
    if not isinstance(data, Dataset):
        tell(dataset.notes, "Retriever", stacklevel=4)


def with_groups(dataset: Dataset, groups: Any, *, where: str) -> Dataset:
    """Returns the rows with `groups` in the place of their own; None leaves them.

    Raises:
        DataError: They are not one value a row.
    """
    if groups is None:
        return dataset
    groups = plain(groups)
    shape = np.shape(groups)
    if shape != (len(dataset),):
        raise DataError(
            f"{where}: groups must be one value for each of {len(dataset)} rows; got shape={shape}. Give a list, an "
            "array or a Series."
        )
    return replace(dataset, groups=np.asarray(groups))


def rows_for(
    data: Data,
    names: Sequence[str],
    pipeline: Pipeline,
    schema: Schema | None,
    *,
    base_dir: str | Path | None,
    on_bad_file: OnBadFile,
) -> Dataset:
    """Returns the modalities `names` of new rows, read as those of training were, whatever those came as.

    Args:
        data: A table needs the columns of training; where that was no table, or the modalities' names say which
            columns they are (see `schema_of`). A dict or a `Dataset` needs modalities of these names and kinds.
        names: Of the pipeline's modalities.
        pipeline: Fitted.
        schema: The table's that was learned from; None if it was none.
        base_dir: Where relative paths start.
        on_bad_file: "raise" or "skip".

    Raises:
        DataError: A modality or its columns are not there, are of another kind, or hold nearly nothing but categories
            that training has not seen.
    """
    _check_type(data)
    source = pipeline.select(names)
    if isinstance(data, pd.DataFrame):
        schema = schema_of(data, pipeline, names) if schema is None else schema.only(names)
        known = {c for m in schema.modalities.values() for c in m.columns} | {
            schema.id,
            schema.split.column,
            schema.weight,
            schema.subgroup,
        }
        data = data[[c for c in data.columns if str(c) in known]]
    else:
        have = data.modalities if isinstance(data, Dataset) else data
        lacking = [name for name in names if name not in have]
        if lacking:
            raise DataError(
                f"Retriever: data must have the modalities {list(names)}; lacking {lacking}{_near(lacking, have)}. "
                "Add them, or rename yours."
            )
    if isinstance(data, Dataset):
        for name, preprocessor in source.preprocessors.items():
            if data.modalities[name].kind != preprocessor.takes:
                raise DataError(
                    f"Retriever: modality {name!r} must be of kind {preprocessor.takes!r}, as in training; got "
                    f"kind={data.modalities[name].kind!r}. Rename it, or give another one."
                )
        return data.select(names)
    return read_new_rows(data, source, schema, who="Retriever", base_dir=base_dir, on_bad_file=on_bad_file)


def schema_of(frame: pd.DataFrame, pipeline: Pipeline, names: Sequence[str]) -> Schema:
    """Returns which columns of a table are the modalities `names`, by their names, where training saw no table.

    Text, image, audio and series are the column of the modality's name; a vector is that column (of lists), or the
    numbered columns `NAME_0`, `NAME_1`, ... (from 0 or 1); a table is its columns. A column `id` names the rows.

    Raises:
        DataError: Columns are not there: all of them, and what is near, are told.
    """
    columns = [str(c) for c in frame.columns]
    results: dict[str, Modality] = {}
    kinds: dict[str, ColumnKind] = {}
    lacking: dict[str, str] = {}
    for name in names:
        source = pipeline.preprocessors[name]
        parts: tuple[str, ...] = (name,)
        if kind_named(source.takes).columns == "any":
            inside = {c["name"]: c["kind"] for c in source.state()["columns"]}
            parts = tuple(inside)
            kinds |= inside
        elif kind_named(source.takes).columns == "numbered" and name not in columns:
            parts = _numbered(name, columns)
            n = source.spec.n_channels
            if len(parts) != n:
                got = f"; there are {len(parts)}" if parts else ""
                lacking[name] = f"{n} columns {name}_0 ... {name}_{n - 1}, or one of lists{got}"
            kinds |= dict.fromkeys(parts, "numeric")
        else:
            kinds[name] = source.takes
        absent = [c for c in parts if c not in columns]
        if absent:
            lacking[name] = f"column {tell_values(absent)} of kind {source.takes!r}"
        results[name] = Modality(kind=source.takes, columns=parts)
    if lacking:
        raise DataError(
            f"Retriever: a table must have columns for {tell_values(lacking, n=10)}; lacking "
            f"{'; '.join(lacking.values())}. It has {tell_values(columns, n=10)}{_near(lacking, columns)}. Rename them."
        )
    used = {c for m in results.values() for c in m.columns}
    row_id = next((c for c in columns if c.lower() == "id" and c not in used), None)
    ranges = {name: levels for name, levels in pipeline.ranges.items() if name in results}
    return Schema(modalities=results, columns=kinds, ranges=ranges, id=row_id, id_inferred=row_id is not None)


def _numbered(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns `NAME_0`, `NAME_1`, ... (or from 1 on) in the order of their numbers, up to the first gap."""
    pattern = re.compile(rf"{re.escape(name)}[_.\-:\[ ]?(\d+)\]?")
    by_number = {int(hit[1]): c for c in columns if (hit := pattern.fullmatch(c))}
    first = 0 if 0 in by_number else 1
    run = takewhile(by_number.__contains__, count(first))
    return tuple(by_number[i] for i in run)


def _near(lacking: Mapping[str, Any] | Sequence[str], have: Any) -> str:
    close = [f"{n[0]!r} is near {name!r}" for name in lacking if (n := nearest(name, have, n=1))]
    return f" ({'; '.join(close)})" if close else ""
