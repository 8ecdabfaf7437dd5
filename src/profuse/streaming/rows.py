"""The rows of a file, read three times: types of columns, targets with a sample of the rest, then all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.pipeline import Pipeline
from profuse.data.table.database import DatabaseTable
from profuse.data.table.database_checks import other_rows
from profuse.data.table.infer import infer
from profuse.data.table.named_target import leave_out_target, named_once, needs_target
from profuse.data.table.pieces import TablePieces
from profuse.data.table.read import written_words
from profuse.data.table.reader import TableReader
from profuse.data.table.unseen import Unseen, add_unseen, unseen_notes
from profuse.data.task import no_missing
from profuse.data.wording import rows_at, rows_from
from profuse.kinds import kind_named
from profuse.predictor.in_pieces import Noted, joined
from profuse.predictor.trained import ranges_of
from profuse.schema import OnBadFile, Schema
from profuse.streaming.options import StreamOptions
from profuse.streaming.room import Room, Rows
from profuse.tokens import Raw

__all__ = ["Progress", "StreamedTable"]

Progress = Callable[[str, int, int], None]
"""Is called with what is done, rows done, and rows in all."""
_STREAM = 1  # of random numbers: one of its own, or the sample would be the validation rows, drawn by the same seed
_FILES_AT_ONCE = 256  # rows whose files are in memory together


@dataclass(eq=False)
class StreamedTable:
    """A table of more rows than memory holds; `open` reads what is needed of all rows, `encode` the rest.

    Attributes:
        reader: What `open` has decided of a sample.
        sample: Rows drawn at random, as they were read.
        places: Of the rows of `sample` in the table, ascending.
        rows: All rows without their cells: targets, groups, times, weights, subgroups.
        ranges: The smallest and the largest number of columns, by modality; complete after `encode`.
        notes: What was counted; complete after `encode`.
    """

    reader: TableReader
    sample: Dataset
    places: np.ndarray
    rows: Dataset
    _pieces: TablePieces
    _hashed: tuple[list[str], np.ndarray]  # columns that tell whether rows are the same again, and a hash of each row
    _noted: Noted
    _at_once: int
    ranges: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        path: str | Path | DatabaseTable,
        schema: Schema,
        options: StreamOptions,
        *,
        target: str | list[str] | None,
        on_bad_file: OnBadFile,
        seed: int,
        progress: Progress,
    ) -> StreamedTable:
        """Reads the rows twice; see `fit_streamed`.

        Raises:
            DataError: See `TableReader.fit`; rows are numbered as in the table.
            ConfigError: See `TableReader.fit`.
        """
        name = path.name if isinstance(path, DatabaseTable) else Path(path).name
        base = None if isinstance(path, DatabaseTable) else Path(path).parent
        progress("types of columns", 0, 0)
        pieces = _pieces(path, schema, options.chunk_rows)
        draw = np.random.default_rng((seed, _STREAM))
        places = np.sort(draw.permutation(pieces.n_total)[: options.sample_rows])
        cells, by_row, hashed, asked = _sampled(pieces, places, schema, target, progress)
        columns = [c for c in asked.target_columns if c in by_row]
        no_missing(by_row[columns])  # before a sample tells the same of a few
        with rows_at(places):
            alone = leave_out_target(cells.columns, asked)  # all rows tell whether it can be learned
            kinds = {m.kind for m in infer(cells, alone).schema.modalities.values() if m.kind is not None}
            files = any(kind_named(kind).reads_files for kind in kinds)
            if files and len(places) > (most := max(100, options.sample_rows // 10)):
                kept = np.sort(draw.permutation(len(places))[:most])
                places, cells = places[kept], _cut(cells, kept)
        with rows_at(places):
            stem = name.partition(".")[0]
            reader, sample = TableReader.fit(
                cells, asked, with_target=False, name=stem, base_dir=base, on_bad_file=on_bad_file
            )
        reader, known, of_target = reader.with_target(by_row, asked, list(map(str, cells.columns)), name)
        sample = replace(sample, **_some(known, places))
        nothing = np.broadcast_to(np.zeros((), dtype=object), (pieces.n_total,))
        there = np.ones(pieces.n_total, dtype=bool)
        empty = {key: replace(data, values=nothing, present=there) for key, data in sample.modalities.items()}
        rows = Dataset(name=sample.name, modalities=empty, **known)
        at_once = _FILES_AT_ONCE if files else options.chunk_rows
        of_some = f"Of {len(places):,} rows that were drawn: " if len(places) < pieces.n_total else ""
        noted = Noted([*pieces.notes, *of_target, *(of_some + note for note in sample.notes)], n_rows=at_once)
        return cls(reader, sample, places, rows, pieces, hashed, noted, at_once)

    def prepared_as(self, made: Callable[[Dataset], Dataset]) -> None:
        """Has what `made` sets of modalities (encoders, preprocessors) hold for the sample and for all rows."""
        self.sample = made(self.sample)
        like = self.sample.modalities
        modalities = {
            key: replace(
                data, preprocess=like[key].preprocess, encoder=like[key].encoder, max_length=like[key].max_length
            )
            for key, data in self.rows.modalities.items()
        }
        self.rows = replace(self.rows, modalities=modalities)

    def encode(self, pipeline: Pipeline, room: Room, progress: Progress) -> dict[str, Raw]:
        """Reads all rows once more and returns them preprocessed, on disk, by modality.

        Raises:
            DataError: A cell or file cannot be read, or the disk is full.
        """
        n_rows = len(self.rows)
        made = {key: Rows(n_rows, room) for key in self.rows.modalities}
        there = {key: np.zeros(n_rows, dtype=bool) for key in made}
        unseen: dict[str, Unseen] = {}
        columns, hashes = self._hashed
        for first, frame in _parts(self._pieces, self._at_once):
            if not np.array_equal(_hashes(frame, columns), hashes[first : first + len(frame)]):
                raise other_rows(self._pieces.name)
            with rows_from(first):
                part = self.reader.read(frame, name=self.rows.name)
                for key, raw in pipeline.transform(part).items():
                    made[key].put(first, raw)
                add_unseen(unseen, pipeline.unseen(part))
            for key, data in part.modalities.items():
                there[key][first : first + len(frame)] = data.present
                if data.frame is not None:
                    self._reach(key, data)
            self._noted.add(part.notes)
            progress("rows preprocessed", first + len(frame), n_rows)
        self._pieces.close()  # before a training that takes its time
        self.notes = [*self._noted.told(), *unseen_notes(unseen.values(), accepted=list(unseen))]
        modalities = {k: replace(v, present=there[k]) for k, v in self.rows.modalities.items()}
        self.rows = replace(self.rows, modalities=modalities)
        return {key: rows.raw for key, rows in made.items()}

    def _reach(self, name: str, data: ModalityData) -> None:
        assert data.frame is not None
        reached = self.ranges.setdefault(name, {})
        for column, (low, high) in ranges_of(data.frame).items():
            before = reached.get(column, (low, high))
            reached[column] = min(low, before[0]), max(high, before[1])


def _pieces(path: str | Path | DatabaseTable, schema: Schema, n_rows: int) -> TablePieces:
    """Returns the rows of the file; columns that its schema says are written in words, or that look so, are words."""
    return TablePieces(path, written_words(schema), n_rows=n_rows, learns=True)


def _parts(pieces: Iterable[pd.DataFrame], most: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yields frames of at most so many rows, and the place of the first one."""
    first = 0
    for frame in pieces:
        for start in range(0, len(frame), most):
            part = _cut(frame, np.arange(start, min(len(frame), start + most)))
            yield first, part
            first += len(part)


def _cut(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    part = frame.iloc[rows].reset_index(drop=True)
    part.attrs = frame.attrs
    return part


def _sampled(
    pieces: TablePieces, places: np.ndarray, schema: Schema, target: str | list[str] | None, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[list[str], np.ndarray], Schema]:
    """Returns the rows at `places`; the columns that are needed of all rows; what tells rows from others (the names of
    columns, and a hash of their cells in each row); and the whole schema.
    """
    some: list[pd.DataFrame] = []
    by_row: list[pd.DataFrame] = []
    hashes: list[np.ndarray] = []
    columns: list[str] = []
    first = 0
    asked = named_once(schema, target)
    for frame in pieces:
        asked = needs_target(frame.columns, asked)
        named = {str(c) for c in (asked.split.column, asked.weight, asked.subgroup) if c is not None}
        named |= set(asked.target_columns)
        by_row.append(frame[[c for c in frame.columns if str(c) in named]])
        columns = columns or [str(c) for c in frame.columns if str(c) in named or _tells(pieces, frame[c])]
        hashes.append(_hashes(frame, columns))
        here = places[(places >= first) & (places < first + len(frame))] - first
        if len(here) or not some:
            some.append(_cut(frame, here))
        first += len(frame)
        progress("targets read", first, pieces.n_total)
    return joined(some), joined(by_row), (columns, np.concatenate(hashes)), asked


def _tells(pieces: TablePieces, cells: pd.Series) -> bool:
    """Whether a column helps to tell that rows come in another order; objects, as lists, take long to compare."""
    return pieces.may_reorder and cells.dtype != object


def _some(known: Mapping[str, Any], places: np.ndarray) -> dict[str, Any]:
    """Returns the same fields of the rows at `places`."""
    return {key: value[places] if isinstance(value, np.ndarray) else value for key, value in known.items()}


def _hashes(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Returns a hash of the cells of some columns, `[row]`."""
    held = frame[[c for c in frame.columns if str(c) in columns]]
    held = held.assign(**{str(c): held[c].map(repr) for c in held if held[c].dtype == object})  # lists, say
    return np.asarray(pd.util.hash_pandas_object(held, index=False)) if columns else np.zeros(len(frame), np.uint64)
