"""Arrays, tensors and data frames in memory -> `Dataset`: the door of those who need no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import nearest
from profuse._options import checked
from profuse.data.arrays import modality, plain
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.assemble import check_present
from profuse.data.table.cell_notes import target_notes
from profuse.data.table.cells import object_array
from profuse.data.table.reader import TableReader
from profuse.data.table.spellings import merged
from profuse.data.table.times import given_times
from profuse.data.task import read_target
from profuse.errors import ConfigError, DataError
from profuse.kinds import KINDS, LevelRange, kind_named, must_be
from profuse.schema import OnBadFile, Schema, Task

__all__ = ["as_target", "from_frame", "from_tensors", "same_order"]


def from_tensors(
    modalities: Mapping[str, Any],
    target: Any = None,
    *,
    presence: Mapping[str, Any] | None = None,
    task: Task | None = None,
    groups: Any = None,
    times: Any = None,
    ids: Any = None,
    weights: Any = None,
    subgroups: Any = None,
    kinds: Mapping[str, str] | None = None,
    rates: Mapping[str, int] | None = None,
    ranges: Mapping[str, LevelRange] | None = None,
    name: str = "tensors",
) -> Dataset:
    """Returns a `Dataset` of NumPy arrays, torch tensors, lists or data frames, one a modality, rows first.

    | values | kind |
    |---|---|
    | data frame | table |
    | list or array of str | text |
    | `[row, channel]`, or `[row]` of numbers | vector |
    | `[row, time, channel]`, or a list of `[time]` or `[time, channel]` of several lengths | series |
    | `[row, channel, height, width]`, `[row, height, width, channel]`, or a list of pictures | image |

    What `rates` names is audio. Other kinds are given by `kinds` or as `(kind, values)`: `("audio", [row, sample])`,
    `("image", [row, height, width])`. Pictures have 1 to 4 channels, told apart from height and width by being few;
    bytes, or floats in 0..1. None in a list is a missing modality; NaN in numbers is a missing number, and a row of
    nothing but NaN a missing modality.

    Args:
        modalities: Name to values, or to `(kind, values)`.
        target: `[row]` or `[row, target]`; None for prediction.
        presence: Name to bool `[row]`, False = missing; all rows are present where it is not given.
        task: Inferred from the target when None.
        groups: `[row]`; see `Dataset`.
        times: `[row]`; see `Dataset`.
        ids: `[row]`; see `Dataset`.
        weights: `[row]`; see `Dataset`.
        subgroups: `[row]`; see `Dataset`.
        kinds: Name to kind.
        rates: Name to samples a second; needed for audio. What is named here is audio.
        ranges: Name to the levels of black and white in pictures that are no bytes; decided on all pictures, and
            told, where they are not given.
        name: Of the data set.

    Raises:
        ConfigError: No modality, or an unknown name or kind.
        DataError: Shapes that fit no kind, infinite numbers (modality and row are told), numbers of rows that
            differ or hold the same labels in another order, a modality missing in all rows, or a target that
            cannot be learned.
    """
    if not modalities:
        raise ConfigError("from_tensors: at least one modality must be given; got none.")
    by_row: dict[str, Any] = {"groups": groups, "times": times, "ids": ids, "weights": weights}
    by_row["subgroups"] = subgroups
    same_order({"modalities": modalities, "target": target, "presence": presence, **by_row}, where="from_tensors")
    for what, given in (("presence", presence), ("kinds", kinds), ("rates", rates), ("ranges", ranges)):
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"from_tensors: {what} must be a dict by modality; got {type(given).__name__}.")
        for key in given or ():
            if key not in modalities:
                close = nearest(key, modalities)
                hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(modalities)}."
                raise ConfigError(f"from_tensors: {what} must name modalities; got {key!r}. {hint}")
    presence, kinds, rates = dict(presence or {}), dict(kinds or {}), dict(rates or {})
    ranges = checked(Schema, {"ranges": dict(ranges or {})}, where="from_tensors").ranges
    results: dict[str, ModalityData] = {}
    notes: list[str] = []
    for key, cells in modalities.items():
        kind = kinds.get(key)
        if isinstance(cells, tuple) and len(cells) == 2 and isinstance(cells[0], str) and cells[0] in KINDS:
            kind, cells = cells
        if kind is not None and kind not in KINDS:
            raise ConfigError(f"from_tensors: kind of {key!r} {must_be(kind)}")
        kind = _sound(key, rates[key], kind) if key in rates else kind
        results[key] = modality(key, plain(cells), kind, presence.get(key), rates.get(key), ranges.get(key), notes)
    if target is not None:
        check_present(results)
    values: np.ndarray | None = None
    names: tuple[str, ...] = ("target",)
    if target is not None:
        values, task, names = read_target(as_target(target), task)
        notes += target_notes(values, task, names, column=None)
    by_row = {k: None if v is None else np.asarray(plain(v)) for k, v in by_row.items()}
    if (times_given := by_row.get("times")) is not None:
        by_row["times"] = given_times(times_given)
    return Dataset(
        name=name,
        modalities=results,
        target=values,
        task=task or "regression",
        target_names=names,
        notes=tuple(notes),
        **by_row,
    )


def _sound(name: str, rate: Any, kind: str | None) -> str:
    """Returns the kind, that of sounds if none is given: a rate says that it is one."""
    if kind is not None and not kind_named(kind).has_rate:
        raise ConfigError(
            f"from_tensors: rates must name sounds; got {name!r}, which is said to be of kind {kind!r}. Leave one out."
        )
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate < 1:
        raise ConfigError(
            f"from_tensors: rates must be whole numbers above 0, samples a second; got {name!r}: {rate!r}. Write 16000."
        )
    return kind or "audio"


def from_frame(
    frame: pd.DataFrame,
    target: Any = None,
    *,
    schema: Schema | None = None,
    base_dir: str | Path | None = None,
    task: Task | None = None,
    groups: Any = None,
    times: Any = None,
    on_bad_file: OnBadFile = "raise",
    name: str | None = None,
) -> tuple[Dataset, Schema]:
    """Returns a `Dataset` of a data frame and a target beside it, as scikit-learn passes them, and its schema.

    Cells may be numbers, words, times, paths, lists, arrays (pictures, series) and Pillow pictures.

    Args:
        frame: The inputs.
        target: `[row]` or `[row, target]`, by position; None for prediction.
        schema: What is known of the columns; without a target.
        base_dir: See `TableReader`.
        task: Inferred from the target when None.
        groups: `[row]`; see `Dataset`.
        times: `[row]`; see `Dataset`.
        on_bad_file: See `TableReader`.
        name: Of the data set; table if None.

    Raises:
        ConfigError: The schema names a target, or columns that are not there.
        DataError: See `TableReader.fit`; or frame and target differ in length, or in the order of their labels.
    """
    if schema is not None and schema.target_columns:
        raise ConfigError(
            "from_frame: the target must be given beside the table; the schema names "
            f"{list(schema.target_columns)} too. Leave it out of the schema."
        )
    if schema is not None and schema.target is not None:
        task, schema = task or schema.target.task, schema.model_copy(update={"target": None})
    same_order({"X": frame, "y": target, "groups": groups, "times": times}, where="from_frame")
    target = None if target is None else as_target(target)
    if target is not None and len(target) != len(frame):
        raise DataError(f"from_frame: X and y must have the same rows; got {len(frame)} and {len(target)}.")
    if schema is not None and "target" in schema.merge_spellings and "target" not in map(str, frame.columns):
        target = None if target is None else merged(pd.Series(target))
        others = tuple(c for c in schema.merge_spellings if c != "target")
        schema = schema.model_copy(update={"merge_spellings": others})
    reader, dataset = TableReader.fit(
        frame, schema, with_target=False, name=name, base_dir=base_dir, on_bad_file=on_bad_file
    )
    by_row: dict[str, Any] = {"groups": groups, "times": times}
    by_row = {k: np.asarray(plain(v)) for k, v in by_row.items() if v is not None}
    if "times" in by_row:
        by_row["times"] = given_times(by_row["times"])
    if target is None:
        return replace(dataset, task=task or "regression", **by_row), reader.schema
    check_present(dataset.modalities)
    values, task, names = read_target(target, task)
    notes = (*dataset.notes, *target_notes(values, task, names))
    return replace(dataset, target=values, task=task, target_names=names, notes=notes, **by_row), reader.schema


def as_target(target: Any) -> pd.DataFrame | pd.Series | np.ndarray:
    """Returns a target as `read_target` takes it, rows first: numbers stay numbers where words stand beside them.

    Raises:
        DataError: It has no rows, or more than two axes.
    """
    if isinstance(target, pd.Series) and isinstance(target.dtype, pd.CategoricalDtype):
        return target.reset_index(drop=True).rename("target")
    target = plain(target)
    if isinstance(target, pd.DataFrame):
        return target.reset_index(drop=True)
    if isinstance(target, list) and all(isinstance(row, list | tuple | set | frozenset) for row in target):
        labels = [label for row in target for label in row]
        if any(isinstance(label, str) for label in labels):  # whether they are of one length or of several
            return object_array(target)
    if hasattr(target, "toarray"):
        raise DataError(f"target: must be a dense array; got {type(target).__name__}. Give target.toarray().")
    try:
        made = np.asarray(target)
        if made.dtype.kind in "US" and not isinstance(target, np.ndarray):
            made = np.array(target, dtype=object)
    except ValueError:  # lists of labels, of several lengths
        made = object_array(list(target))
    if made.ndim not in (1, 2):
        raise DataError(
            f"target: must be [row] or [row, target]; got {type(target).__name__} of shape {made.shape}. Give one "
            "value, or as many as there are targets, a row."
        )
    return made


def same_order(parts: Mapping[str, Any], *, where: str) -> None:
    """Checks that no two data frames or series hold the same labels in another order.

    Rows are taken by position, so that such labels are a mistake, not a wish.

    Args:
        parts: By the name that the message tells; dicts of parts, and `(kind, values)`, too.
        where: Who asks; the message begins with it.

    Raises:
        DataError: Two do.
    """
    for (first, one), (second, other) in combinations(_labels(parts), 2):
        if len(one) == len(other) and list(one) != list(other) and set(one) == set(other):
            raise DataError(
                f"{where}: {first} and {second} must be in the same order; their indices hold the same labels in "
                f"another one. Use {second}.loc[{first}.index]."
            )


def _labels(parts: Mapping[str, Any]) -> Iterator[tuple[str, pd.Index]]:
    """Yields the names and indices of what has unique labels."""
    for name, part in parts.items():
        if isinstance(part, Mapping):
            yield from _labels({f"{name}[{key!r}]": inner for key, inner in part.items()})
        elif isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str):
            yield from _labels({name: part[1]})
        elif isinstance(part, pd.DataFrame | pd.Series) and part.index.is_unique:
            yield name, part.index
