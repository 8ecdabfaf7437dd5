"""A table and what the user said of it -> a schema in which nothing is left open, with a reason for each column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from profuse._lookup import nearest
from profuse.data.table.cell_notes import column_notes, target_notes
from profuse.data.table.column_kinds import ID, NUMBERS_AS_WORDS, UNUSED, column_kind
from profuse.data.table.column_types import plain_types
from profuse.data.table.filenames import UNREAD
from profuse.data.table.group_columns import group_notes
from profuse.data.table.halves import check_names, check_whole
from profuse.data.table.missing import notes_on_doubtful, without_doubtful, without_missing
from profuse.data.table.modalities import arrange
from profuse.data.table.number_format import is_number_target, number_formats
from profuse.data.table.target_cells import target_cells
from profuse.data.table.time_columns import given_kind, kept_readings, time_notes
from profuse.data.table.values import plain_objects
from profuse.data.task import read_target
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.kinds import kind_named
from profuse.schema import Modality, Schema, Task

__all__ = ["Inference", "Reason", "infer", "is_words"]


ReadTarget = tuple[np.ndarray, Task, tuple[str, ...]]


@dataclass(frozen=True)
class Reason:
    """Why a column is taken as what it is; `kind` is a `ColumnKind`, or "target", "weight", "subgroup", "id", "split",
    or "unused"."""

    column: str
    kind: str
    reason: str


@dataclass(frozen=True, eq=False)
class Inference:
    """What is decided of a table.

    Attributes:
        schema: Resolved.
        reasons: For each column, in the table's order.
        notes: What the user should know.
        frame: The table with plain names and types, without words for missing.
        target: Values, task and names, as `profuse.data.task.read_target` returns them; None if none is named.
    """

    schema: Schema
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]
    frame: pd.DataFrame = field(repr=False)
    target: ReadTarget | None = field(repr=False)


def infer(frame: pd.DataFrame, schema: Schema | None = None) -> Inference:
    """Completes `schema` from the cells of `frame`: kinds of columns, modalities, task.

    What the schema says stands. `column_kinds` decides kinds of the other columns. At least 8 columns of
    numbers that share a prefix and are numbered without a gap from 0 or 1 (`emb_0` ... `emb_63`) are one vector
    modality, named after the prefix. Numbers, categories and time stamps make the modality `table`; each other
    column is a modality of its own name. The first id-like column without a missing cell becomes `id`; ids, empty
    and constant columns are not used. Which columns hold words, and the order of dates, is kept, so that later
    tables are read alike. The column of the split is not an input, unless it is a time stamp, nor is that of weights,
    nor, unless a modality names it, that of subgroups.

    Args:
        frame: The table; the target may be absent when the schema names none.
        schema: What the user said; None = nothing.

    Raises:
        ConfigError: The schema names columns that are not there (nearest names told) or contradicts itself; all
            faults are told together.
        DataError: A column cannot be read (mixed types, infinite numbers), nothing is left to learn from, or the
            target cannot be learned (`profuse.data.task.check_target`).
    """
    schema = schema or Schema()
    frame = plain_names(frame)
    _check(frame, schema)
    frame = without_missing(frame, schema)
    grouped = {c: (name, m) for name, m in schema.modalities.items() for c in m.columns}
    target = schema.target_columns
    reasons: dict[str, tuple[str, str]] = {}
    for name in frame.columns:
        if name in target:
            reasons[name] = ("target", "named as the target")
        elif name == schema.weight:
            reasons[name] = ("weight", "says how much rows count, so it is no input")
        elif name == schema.subgroup and name not in grouped:
            reasons[name] = ("subgroup", "says of which group a row is, so it is no input")
        elif name == schema.id:
            reasons[name] = (ID, "named as the id")
        elif name in schema.ignore:
            reasons[name] = (UNUSED, "named in ignore")
        elif name in schema.dates:
            reasons[name] = given_kind(schema.dates[name])
        elif name in schema.numbers:
            reasons[name] = ("numeric", f"numbers, read as {schema.numbers[name]}, set in the schema")
        elif name in schema.columns:
            reasons[name] = (schema.columns[name], "set in the schema")
        elif name in grouped and (kind := _given_kind(*grouped[name])):
            reasons[name] = (kind, f"set by modality {grouped[name][0]!r}")
        else:
            reasons[name] = _inferred(name, frame[name], needed=name in grouped)
    row_id = schema.id or next((c for c, (kind, _) in reasons.items() if kind == ID and _names_rows(frame[c])), None)
    split_column = schema.split.column
    if split_column is not None and split_column not in grouped:
        kind, _ = reasons[split_column]
        if kind != "timestamp" or schema.split.method == "group":
            reasons[split_column] = ("split", "the split is made by it, so it is no input")
    modalities, numbered = arrange(schema, reasons)
    kinds = {c: reasons[c][0] for m in modalities.values() for c in m.columns}
    with_range = {c for m in modalities.values() if m.kind and kind_named(m.kind).has_range for c in m.columns}
    if no_pictures := [c for c in schema.ranges if c not in with_range]:
        raise ConfigError(
            f"schema: ranges must name columns of pictures; got {tell_values(no_pictures)}. Leave it out."
        )
    if split_column is not None and split_column not in kinds:
        kinds[split_column] = _split_kind(split_column, frame[split_column], schema)
    if schema.weight is not None:
        kinds[schema.weight] = "numeric"
    readings = kept_readings(frame, {c: kinds.get(c, kind) for c, (kind, _) in reasons.items()}, schema.dates)
    asked = schema.target.task if schema.target else None
    numeric = [c for c in frame.columns if c in target and is_number_target(c, frame[c], asked)]
    numeric += [
        c for c in frame.columns if c not in {*target, *readings} and "numeric" in (reasons[c][0], kinds.get(c))
    ]
    formats = number_formats(frame, numeric, schema.numbers)
    numbers = schema.numbers | {c: form for c, (form, _) in formats.items() if form is not None}
    reasons |= {c: (reasons[c][0], why) for c, (_, why) in formats.items() if reasons[c][1] == NUMBERS_AS_WORDS and why}
    words = [c for c, (kind, _) in reasons.items() if kind not in ("numeric", UNUSED) and is_words(frame[c])]
    target_read, target_noted = _target(frame, schema.model_copy(update={"numbers": numbers}))
    resolved = schema.model_copy(
        update={
            "target": schema.target and schema.target.model_copy(update={"task": target_read and target_read[1]}),
            "modalities": modalities,
            "columns": kinds,
            "words": tuple(c for c in frame.columns if c in words or c in schema.words or c in numbers),
            "numbers": numbers,
            "dates": {c: reading.order for c, reading in readings.items()},
            "ignore": tuple(c for c, (kind, _) in reasons.items() if kind in (ID, UNUSED, "split") and c != row_id),
            "id": row_id,
            "id_inferred": row_id is not None and (schema.id is None or schema.id_inferred),
        }
    )
    notes = [
        f"Column {c!r} is not used: {why}." for c, (k, why) in reasons.items() if k in (ID, UNUSED) and _told(c, schema)
    ]
    like_files = [c for c, (k, why) in reasons.items() if UNREAD in why and k not in (ID, UNUSED)]
    notes += [f"Column {c!r} is read as {reasons[c][0]}: {reasons[c][1]}." for c in like_files]
    ids = [c for c, (kind, _) in reasons.items() if kind == ID and _told(c, schema)]
    notes += [*numbered, *time_notes(readings), *target_noted, *column_notes(frame, resolved, ids)]
    notes += [f"Column {c!r}: {why}." for c, (_, why) in formats.items() if why]
    notes += notes_on_doubtful(frame, [c for c in words if reasons[c][0] in ("category", "text", "target")])
    told = {*schema.columns, *schema.new_categories}
    notes += group_notes(frame, [(c, reasons[c][0]) for c in kinds if c in reasons and c not in told])
    why_each = tuple(Reason(c, k, why) for c, (k, why) in reasons.items())
    return Inference(resolved, why_each, tuple(notes), without_doubtful(frame, kinds), target_read)


def plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with names as str, rows numbered from 0 and plain types; names must differ."""
    names = [str(c) for c in frame.columns]
    check_names(names)
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise DataError(
            f"table: column names must differ; got {tell_values(twice)} more than once. Rename or drop them."
        )
    if len(frame) == 0:
        raise DataError("table: at least one row must be given; got none. Check the file.")
    frame = plain_types(frame.set_axis(names, axis=1).reset_index(drop=True))
    for name in names:
        if frame[name].dtype == object:
            frame[name] = plain_objects(frame[name])
    check_whole(frame)
    return frame


def _check(frame: pd.DataFrame, schema: Schema) -> None:
    """Tells all faults of the schema together."""
    faults: list[str] = []

    def known(columns: Iterable[str | None], where: str) -> None:
        for name in columns:
            if name is not None and name not in frame.columns:
                close = nearest(name, frame.columns)
                hint = (
                    f"did you mean {' or '.join(map(repr, close))}?"
                    if close
                    else f"it has {tell_values(frame.columns)}"
                )
                faults.append(f"{where}: no column {name!r} in the table ({hint})")

    known(schema.target_columns, "target")
    known(schema.columns, "columns")
    known(schema.words, "words")
    known(schema.dates, "dates")
    known(schema.ranges, "ranges")
    known(schema.merge_spellings, "merge_spellings")
    known(schema.new_categories, "new_categories")
    known(schema.numbers, "numbers")
    known(schema.missing, "missing")
    known(schema.ignore, "ignore")
    known([schema.id], "id")
    known([schema.split.column], "split.column")
    known([schema.weight], "weight")
    known([schema.subgroup], "subgroup")
    owner: dict[str, str] = {}
    for name, modality in schema.modalities.items():
        known(modality.columns, f"modalities.{name}")
        if not name.strip():
            faults.append(f"modalities: each must have a name; {tell_values(modality.columns)} has none")
        faults += [f"modalities.{name}: {c!r} stands twice" for c, n in Counter(modality.columns).items() if n > 1]
        if not modality.columns:
            faults.append(f"modalities.{name}: at least one column must be named")
        if modality.kind and kind_named(modality.kind).columns == "one" and len(modality.columns) > 1:
            faults.append(f"modalities.{name}: kind {modality.kind!r} takes one column; got {len(modality.columns)}")
        for column in modality.columns:
            if column in schema.target_columns:
                faults.append(f"modalities.{name}: {column!r} is the target; the answer cannot be an input")
            if column == schema.weight:
                faults.append(f"modalities.{name}: {column!r} is the weight of rows, which is no input")
            if column in schema.ignore:
                faults.append(f"modalities.{name}: {column!r} is named in ignore")
            other = schema.modalities[owner.setdefault(column, name)]
            if other is not modality and not _share_files(other, modality):
                faults.append(f"modalities.{name}: {column!r} belongs to {owner[column]!r} already")
    faults += [f"target: {c!r} stands twice" for c, n in Counter(schema.target_columns).items() if n > 1]
    for where, names in (
        ("id", [schema.id]),
        ("ignore", schema.ignore),
        ("columns", schema.columns),
        ("split.column", [schema.split.column]),
        ("weight", [schema.weight]),
        ("subgroup", [schema.subgroup]),
    ):
        faults += [f"{where}: {c!r} is the target" for c in names if c in schema.target_columns]
    for where, taken in (("id", (schema.id,)), ("ignore", schema.ignore), ("split.column", (schema.split.column,))):
        if schema.weight is not None and schema.weight in taken:
            faults.append(f"{where}: {schema.weight!r} is the weight of rows")
    if schema.split.method in ("group", "time") and schema.split.column is None:
        faults.append(
            f"split: method {schema.split.method!r} needs its column; none is named (split.column, --split-column)"
        )
    if faults:
        raise ConfigError(f"schema: it must fit the table; got {len(faults)} fault(s): {'; '.join(faults)}.")


def _share_files(first: Modality, second: Modality) -> bool:
    """Tells whether two modalities may be made of one column of files: pictures and sound of a video."""
    kinds = [kind_named(m.kind) for m in (first, second) if m.kind is not None]
    return len(kinds) == 2 and first.kind != second.kind and all(kind.reads_files for kind in kinds)


def _given_kind(name: str, modality: Modality) -> str | None:
    if modality.kind is None or kind_named(modality.kind).columns == "any":
        return None
    return modality.kind if len(modality.columns) == 1 else "numeric"


def _inferred(name: str, cells: pd.Series, *, needed: bool) -> tuple[str, str]:
    kind, why = column_kind(name, cells)
    if needed and kind in (ID, UNUSED):  # the user wants it
        if cells.isna().all():
            raise DataError(
                f"column {name!r}: a modality of the schema needs it, and all its cells are empty. Drop it."
            )
        return ("numeric" if pd.api.types.is_numeric_dtype(cells) else "category"), f"named in a modality ({why})"
    return kind, why


def _split_kind(name: str, cells: pd.Series, schema: Schema) -> str:
    """Tells "timestamp" for what a split by time, or an auto split, sorts; "category" for groups."""
    if schema.columns.get(name):
        return schema.columns[name]
    kind = column_kind(name, cells)[0]
    return "timestamp" if kind == "timestamp" else "numeric" if kind in ("numeric", ID) else "category"


def is_words(cells: pd.Series) -> bool:
    """Whether the cells of a column are words."""
    values = cells.cat.categories if isinstance(cells.dtype, pd.CategoricalDtype) else cells
    return pd.api.types.infer_dtype(values, skipna=True) == "string"


def _names_rows(cells: pd.Series) -> bool:
    return bool(cells.notna().all() and cells.is_unique)


def _target(frame: pd.DataFrame, schema: Schema) -> tuple[ReadTarget | None, list[str]]:
    """Returns the target, and what is to be told of its values."""
    if schema.target is None or not schema.target.columns:
        return None, []
    values, task, names = read_target(target_cells(frame, schema), schema.target.task)
    return (values, task, names), target_notes(values, task, names, column=schema.target.columns[0])


def _told(column: str, schema: Schema) -> bool:
    return column not in schema.ignore and column != schema.id
