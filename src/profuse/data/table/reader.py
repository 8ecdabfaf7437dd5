"""`TableReader`: the one door for tables. What is decided of the first table holds for every later one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from profuse._options import checked
from profuse.data.dataset import Dataset
from profuse.data.subgroups import subgroup_names
from profuse.data.table.assemble import assemble, check_same_columns, split_column
from profuse.data.table.cell_notes import target_notes
from profuse.data.table.cells import Cells
from profuse.data.table.database import DatabaseTable
from profuse.data.table.infer import Inference, ReadTarget, infer, is_words, plain_names
from profuse.data.table.missing import without_doubtful, without_missing
from profuse.data.table.named_target import leave_out_target, named_once, needs_target
from profuse.data.table.number_format import is_number_target, number_formats
from profuse.data.table.options import ReadOptions
from profuse.data.table.read import read_table, read_training_table
from profuse.data.table.schema_file import as_schema
from profuse.data.table.second_file import as_in_training, in_one, tell_test_part
from profuse.data.table.target_cells import target_cells
from profuse.data.table.weight_cells import weights_in
from profuse.data.task import read_target
from profuse.data.wording import readable_name, tell_values
from profuse.errors import ConfigError, DataError
from profuse.kinds import kind_named
from profuse.schema import OnBadFile, Schema

__all__ = ["Source", "TableReader", "look"]

Source = str | Path | DatabaseTable | pd.DataFrame | np.ndarray
"""A file (.csv, .tsv, .jsonl, .ndjson, .parquet), a table of a database, a data frame, or a 2-D array, whose columns
are x0, x1, ..."""


class _Table(NamedTuple):
    """A table as it came: where relative paths in its cells start, its name, and what was counted in its file."""

    frame: pd.DataFrame
    folder: Path
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TableReader:
    """Reads tables by a schema that leaves nothing open.

    Attributes:
        schema: Resolved: kinds, target, words, formats of numbers and dates, words for missing, levels of pictures.
        rates: Samples a second of audio modalities; sounds of other rates are resampled.
        labels: Of a multilabel target that is given as lists.
        words: Columns of a text file that are text whatever it holds, besides those of the schema.
        base_dir: Where relative paths in a data frame start (the working directory if None); those in a file start in
            its folder. A place on a machine: it is not saved with a model, and neither is `on_bad_file`.
        on_bad_file: "raise", or "skip": a file that is missing or broken counts as missing, and is told in
            `Dataset.notes`.

    Raises:
        ConfigError: The schema leaves modalities open, or `on_bad_file` is something else.
    """

    schema: Schema
    rates: Mapping[str, int] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    words: Collection[str] = ()
    base_dir: str | Path | None = None
    on_bad_file: OnBadFile = "raise"

    def __post_init__(self) -> None:
        _check(self.base_dir, self.on_bad_file)
        if not self.schema.modalities or any(m.kind is None for m in self.schema.modalities.values()):
            raise ConfigError(
                "TableReader: the schema must be resolved; it leaves modalities open. Use TableReader.fit(table, "
                "schema)."
            )

    @classmethod
    def fit(
        cls,
        source: Source,
        schema: Any = None,
        *,
        target: str | Sequence[str] | None = None,
        with_target: bool = True,
        test: str | Path | None = None,
        name: str | None = None,
        base_dir: str | Path | None = None,
        on_bad_file: OnBadFile = "raise",
    ) -> tuple[Self, Dataset]:
        """Decides from the cells of `source` all that the schema leaves open, and reads its rows.

        With a `test` file its rows follow those of `source`, `Dataset.split` tells "train" and "test", and the
        schema's split method becomes auto, so that the test rows stay what they are. Nothing is decided by them.

        Args:
            source: The table.
            schema: Path of a YAML file, dict or `Schema`: what is not to be inferred.
            target: Column or columns to predict; may stand in the schema instead.
            with_target: Whether the target is read, and must be there; else its columns are left out.
            test: A second file with the same columns.
            name: Of the data set; the file's name by default.
            base_dir: See `TableReader`.
            on_bad_file: See `TableReader`.

        Raises:
            ConfigError: No target is named, or two different ones; or see `infer`.
            DataError: See `read_table`, `infer` and `assemble`; or the test file has other columns, or a class that
                the training file has not.
        """
        _check(base_dir, on_bad_file)  # before anything is read
        asked = as_schema(schema)
        table = _table(source, name, base_dir, partial(read_training_table, given=asked))
        asked = named_once(asked, target)
        asked = (needs_target if with_target else leave_out_target)(table.frame.columns, asked)
        inference = infer(table.frame, asked)
        schema = inference.schema
        dataset = assemble(
            inference.frame, schema, inference.target, folder=table.folder, on_bad_file=on_bad_file, rates={},
            name=table.name, fitting=with_target,
        )  # fmt: skip
        file = readable_name(Path(source)) if isinstance(source, str | Path) else table.name
        dataset = replace(dataset, **_to_learn(inference.frame, schema, file))
        rates = {k: m.rate for k, m in dataset.modalities.items() if m.rate is not None}
        levels = {m.columns[0]: dataset.modalities[k].range for k, m in schema.modalities.items()}
        ranges = schema.ranges | {column: both for column, both in levels.items() if both is not None}
        full = schema.model_copy(update={"ranges": ranges})
        reader = cls(full, rates, dataset.target_names, base_dir=base_dir, on_bad_file=on_bad_file)
        notes = [*table.notes, *inference.notes]
        if test is not None:
            dataset, split = reader._with_test(dataset, Path(test)), reader.schema.split
            notes += tell_test_part(dataset, split, Path(str(source)).name, Path(test).name)
            auto = split.model_copy(update={"method": "auto"})
            reader = replace(reader, schema=reader.schema.model_copy(update={"split": auto}))
        return reader, replace(dataset, notes=(*notes, *dataset.notes), reasons=_reasons(inference))

    def read(
        self, source: Source, *, need_target: bool | None = False, name: str | None = None, to_learn: bool = False
    ) -> Dataset:
        """Reads later rows as those of the first table were read.

        Args:
            source: The table; an array has the columns of the first one, in their order.
            need_target: Whether the target is read; if not, its columns may be absent. None: where it is known of all
                rows.
            name: Of the data set; the file's name by default.
            to_learn: Whether a model learns from the rows: the columns of weights and of subgroups are read too.

        Raises:
            ConfigError: A target is needed, and the schema names none.
            DataError: See `read_table` and `assemble`; or columns are not there: all of them, and what is near, are
                told.
        """
        row_id = () if self.schema.id is None else (self.schema.id,)
        words = (*self.schema.words, *self.words, *row_id)
        return self._read(source, words, need_target=need_target, name=name, to_learn=to_learn)

    def _read(
        self,
        source: Source,
        words: Collection[str],
        *,
        need_target: bool | None,
        name: str | None,
        to_learn: bool = False,
    ) -> Dataset:
        schema = self.schema
        if need_target and schema.target is None:
            raise ConfigError("TableReader: a target must be named; the schema has none. Name a column (--target).")
        table = _table(source, name, self.base_dir, partial(read_table, words=words))
        frame = plain_names(table.frame)
        if isinstance(source, np.ndarray):
            self._check_width(frame, table.name)
        extra = check_same_columns(schema, frame, need_target=bool(need_target))
        frame = without_doubtful(without_missing(frame, schema), schema.columns)
        target: ReadTarget | None = None
        if need_target is None and schema.target is not None:
            columns = list(schema.target.columns)
            need_target = set(columns) <= set(frame.columns) and bool(frame[columns].notna().all(axis=None))
        if need_target and schema.target is not None:
            cells = target_cells(frame, schema)
            target = read_target(cells, schema.target.task, labels=self.labels, fitting=False)
        dataset = assemble(
            frame, schema, target, folder=table.folder, on_bad_file=self.on_bad_file, rates=self.rates,
            name=table.name, fitting=False,
        )  # fmt: skip
        if to_learn:
            dataset = replace(dataset, **_to_learn(frame, schema, table.name))
        known = [f"Columns that the schema does not know are not used: {tell_values(extra)}."] if extra else []
        return replace(dataset, notes=(*table.notes, *known, *dataset.notes))

    def with_target(
        self, frame: pd.DataFrame, asked: Schema, columns: Sequence[str], who: str
    ) -> tuple[Self, dict[str, Any], list[str]]:
        """Returns the reader with a target, and what a `Dataset` of all rows holds besides modalities; and notes.

        Args:
            frame: All rows to learn from; at least the columns of the target, the split, weights and subgroups. Those
                that this reader was fitted to, without a target, are some of them.
            asked: Names the target.
            columns: Of the table, in their order.
            who: The file; messages begin with it.

        Raises:
            DataError: See `read`; or the target cannot be learned.
        """
        assert asked.target is not None
        frame = without_missing(plain_names(frame), self.schema)
        target, task = list(asked.target.columns), asked.target.task
        numeric = [c for c in target if is_number_target(c, frame[c], task)]
        formats = number_formats(frame, numeric, self.schema.numbers)
        numbers = self.schema.numbers | {c: form for c, (form, _) in formats.items() if form is not None}
        words = {*self.schema.words, *numbers, *(c for c in target if is_words(frame[c]))}
        schema = self.schema.model_copy(update={
            "target": asked.target, "numbers": numbers, "words": tuple(c for c in columns if c in words),
            "ignore": tuple(c for c in self.schema.ignore if c not in target),
        })  # fmt: skip
        values, task, names = read_target(target_cells(frame, schema), task)
        found: dict[str, Any] = {"target": values, "task": task, "target_names": names}
        frame = without_doubtful(frame, schema.columns)
        found |= split_column(frame, schema)
        found |= _to_learn(frame, schema, who)
        notes = target_notes(values, task, names, column=target[0])
        notes += [f"Column {c!r}: {why}." for c, (_, why) in formats.items() if why]
        schema = schema.model_copy(update={"target": asked.target.model_copy(update={"task": task})})
        return replace(self, schema=schema, labels=names), found, notes

    def _with_test(self, train: Dataset, path: Path) -> Dataset:
        try:
            test = self._read(path, self.schema.words, need_target=True, name=train.name)
            test = as_in_training(test, train, self.schema)
        except DataError as error:
            raise DataError(f"test file {path.name}: {error}") from error
        return in_one(train, test, readable_name(path))

    def _check_width(self, frame: pd.DataFrame, who: str) -> None:
        """Checks that an array has as many columns as the first table, without its target's."""
        known = self.schema.known_columns
        if len([c for c in frame if c in known or c not in self.schema.target_columns]) != len(known):
            raise DataError(
                f"{who}: rows must have the {len(known)} columns of training, in their order; got {frame.shape[1]}. "
                "Give a DataFrame if columns are to be found by their names."
            )


def look(source: Source, schema: Any = None, *, target: str | Sequence[str] | None = None) -> Inference:
    """Returns what `TableReader.fit` would decide of a table: levels of pictures too, but no other file is read.

    Pictures that cannot be read are skipped, and counted in the notes.
    """
    asked = as_schema(schema)
    table = _table(source, None, None, partial(read_training_table, given=asked))
    result = infer(table.frame, named_once(asked, target))
    cells = Cells(result.frame, table.folder, "skip")
    kinds = {
        m.columns[0]: m.kind for m in result.schema.modalities.values() if m.columns[0] not in result.schema.ranges
    }
    decided = {column: kind_named(kind).read_range(cells, column) for column, kind in kinds.items() if kind}
    ranges = {column: levels for column, levels in decided.items() if levels is not None}
    resolved = result.schema.model_copy(update={"ranges": result.schema.ranges | ranges})
    return replace(result, schema=resolved, notes=(*table.notes, *result.notes, *cells.notes))


def _to_learn(frame: pd.DataFrame, schema: Schema, who: str) -> dict[str, Any]:
    """Returns the weights and subgroups of rows, as fields of a `Dataset`, that the schema names columns of."""
    if lacking := [c for c in (schema.weight, schema.subgroup) if c is not None and c not in frame.columns]:
        raise DataError(
            f"{who}: rows to learn from must have the columns of weights and of subgroups; {tell_values(lacking)} "
            "is lacking. Add it: the model was trained with it."
        )
    groups = None
    if schema.subgroup is not None:
        groups = subgroup_names(frame[schema.subgroup], who=who, column=schema.subgroup)
    return {"weights": weights_in(frame, schema, who=who), "subgroups": groups}


def _reasons(inference: Inference) -> dict[str, tuple[str, str]]:
    """Returns what each column was taken as, and why; so too of modalities of one kind of column."""
    found = {r.column: (r.kind, r.reason) for r in inference.reasons}
    for name, modality in inference.schema.modalities.items():
        if len({found[c][0] for c in modality.columns}) == 1 and kind_named(str(modality.kind)).columns != "any":
            found.setdefault(name, found[modality.columns[0]])
    return found


def _check(base_dir: Any, on_bad_file: Any) -> None:
    checked(ReadOptions, {"base_dir": base_dir, "on_bad_file": on_bad_file}, where="TableReader")


def _table(
    source: Source, name: str | None, base_dir: str | Path | None, read: Callable[[Path], pd.DataFrame]
) -> _Table:
    if isinstance(source, str | Path):
        path = Path(source)
        frame = read(path)
        notes = tuple(frame.attrs.get("notes", ()))
        return _Table(frame, path.parent, name or readable_name(path).partition(".")[0], notes)
    if isinstance(source, DatabaseTable):
        frame = source.read()
        return _Table(frame, Path(base_dir or "."), name or source.name, tuple(frame.attrs["notes"]))
    if isinstance(source, np.ndarray) and source.ndim == 2:
        source = pd.DataFrame(source, columns=[f"x{i}" for i in range(source.shape[1])])
    if not isinstance(source, pd.DataFrame):
        raise DataError(
            f"{name or 'TableReader'}: the table must be a file, a DataFrame or a 2-D array; got "
            f"{type(source).__name__}{getattr(source, 'shape', '')}."
        )
    return _Table(source, Path(base_dir or "."), name or "table")
