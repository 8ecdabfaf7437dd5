"""One network, fitted to a file of more rows than memory holds, by one process or several."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from profuse.data.dataset import Dataset
from profuse.data.leaks import copy_notes
from profuse.data.pipeline import Pipeline
from profuse.data.split import Split, split_off
from profuse.data.table.database import DatabaseTable
from profuse.data.table.shards import kept_schema
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, DataError
from profuse.inputs import with_encoders
from profuse.metrics import metric_named
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.models.solved import key_of
from profuse.predictor import NetworkPredictor
from profuse.schema import OnBadFile, Schema
from profuse.streaming.once import Once
from profuse.streaming.options import StreamOptions
from profuse.streaming.room import Room
from profuse.streaming.rows import Progress, StreamedTable
from profuse.training.callbacks import Callers
from profuse.training.fitting import Prepared, fit_model
from profuse.training.groups import check_subgroups, told_of_groups
from profuse.training.keeping import Kept
from profuse.training.options import TrainOptions
from profuse.training.weights import weight_notes
from profuse.training.world import check_shareable, world

__all__ = ["fit_streamed"]

_MOST_VALID = 20_000


def fit_streamed(
    path: str | Path | DatabaseTable,
    target: str | Sequence[str] | None = None,
    *,
    schema: Schema | None = None,
    model: ModelOptions | None = None,
    train: TrainOptions | None = None,
    stream: StreamOptions | None = None,
    validation_fraction: float = 0.2,
    metric: str | None = None,
    on_bad_file: OnBadFile = "raise",
    callbacks: Callers = (),
    checkpoint: str | Path | Kept | None = None,
    progress: Progress = lambda what, done, total: None,
    check: Callable[[TargetCodec], None] = lambda codec: None,
    tell: Callable[[Sequence[str], Dataset], None] = lambda notes, rows: None,
) -> tuple[NetworkPredictor, tuple[str, ...]]:
    """Fits a network to all rows of a file, and returns it with what is to be told of the data.

    The file is read three times, in pieces. First the type of each column is found; then targets, groups, times,
    weights and subgroups of all rows are read, and a sample of rows; kinds of columns, formats and preprocessing are
    learned from the sample, preprocessing from those of its rows that no validation row is among. At last all rows are
    preprocessed and written to a disk, where training reads them in an order drawn anew in each epoch. Memory holds
    the sample, a piece, and some 60 bytes of each row (target, row numbers); on disk are the preprocessed rows.

    Of several processes (`profuse.training.world.processes`) the first one of each machine reads the file and writes
    the rows to a disk of the machine, and solves linear paths; the others map what it has written. Each reads its own
    share of each batch there. All get the same model.

    Linear paths are solved on `StreamOptions.sample_rows` training rows; those that they have not learned from are
    given what they predict. Validation rows, which choose the epoch, are at most 20,000. Categories beyond the
    sample's are unseen ones in training too. Else all is as where a table is read whole.

    Args:
        path: CSV, TSV, Parquet, shards, or a table of a database. JSON lines are read whole.
        target: Column or columns to predict; may stand in the schema instead.
        schema: What is not to be inferred; `split.column` groups rows, or orders them in time, `weight` and `subgroup`
            name columns as elsewhere.
        model: How the network is made.
        train: How it is trained.
        stream: How rows are read and kept.
        validation_fraction: Of the rows (of the groups), above 0 and below 1.
        metric: That chooses the epoch, where it says so.
        on_bad_file: See `TableReader`.
        callbacks: Called in training.
        checkpoint: File in which the training is kept every minute, and from which the same fit goes on where it was
            stopped; rows are read again.
        progress: Called as rows are read: what is done, rows done, rows in all (0: not known).
        check: Called with the target's codec before the rows are preprocessed.
        tell: Called before training with what is to be told, and with all rows, without their cells.

    Raises:
        DataError: A cell or file cannot be read, the target cannot be learned, or the disk is full.
        ConfigError: Options that do not fit the data.
    """
    model, train, stream = model or ModelOptions(), train or TrainOptions(), stream or StreamOptions()
    if not 0 < validation_fraction < 1:
        raise ConfigError(
            "fit_streamed: validation_fraction must be above 0 and below 1; got "
            f"validation_fraction={validation_fraction}. Use 0.2."
        )
    columns = list(target) if target is not None and not isinstance(target, str) else target
    folder = stream.scratch or Path(tempfile.gettempdir())
    these = world()
    these.meet()  # the first one may have made the folder
    if not folder.is_dir():
        raise ConfigError(
            f"fit_streamed: scratch must be a folder that is there; got scratch={str(folder)!r}. Name one."
        )
    shared = Once(folder, these)

    def read() -> _Read:
        table = StreamedTable.open(
            path,
            schema or kept_schema(path, target=target is None),
            stream,
            target=columns,
            on_bad_file=on_bad_file,
            seed=train.seed,
            progress=progress,
        )
        return _read(table, model, train, stream, validation_fraction, shared.room, metric, progress, check)

    made: _Read = shared.once(read)
    prepared = replace(made.prepared, zeros=shared.room.zeros, once=shared.once)
    shared.check_alike(made.mark, prepared.dataset.name)
    tell(made.notes, prepared.dataset)
    fitted = fit_model(
        prepared,
        model,
        train,
        callbacks=callbacks,
        metric=None if metric is None else metric_named(metric, prepared.task, who="fit"),
        kept=Kept.at(checkpoint),
    )
    assert fitted.trained_on is not None
    changed: dict[str, Any] = {"ranges": made.ranges}
    if made.n_drawn < len(prepared.dataset):
        changed["options"] = {**fitted.trained_on.options, "stream": {"sample_rows": made.n_drawn}}
    about = fitted.trained_on.model_copy(update=changed)
    return replace(fitted, schema=made.schema, trained_on=about), made.notes


@dataclass(frozen=True, eq=False)
class _Read:
    """What is learned from of a table, and what is told and kept of it.

    Attributes:
        prepared: All rows, on disk.
        schema: As it was decided.
        notes: What is to be told.
        ranges: Of columns of numbers, by modality.
        n_drawn: Rows of which preprocessing has learned.
    """

    prepared: Prepared
    schema: Schema
    notes: tuple[str, ...]
    ranges: dict[str, dict[str, tuple[float, float]]]
    n_drawn: int

    @property
    def mark(self) -> str:
        """What tells the rows from others: their split, targets, columns and ranges of numbers, as a digest."""
        about = (self.prepared.dataset.name, self.schema.model_dump_json(), self.ranges)
        split = self.prepared.split
        return key_of(about, [*map(torch.as_tensor, (split.train, split.valid)), self.prepared.target])


def _read(
    table: StreamedTable,
    model: ModelOptions,
    train: TrainOptions,
    stream: StreamOptions,
    validation_fraction: float,
    room: Room,
    metric: str | None,
    progress: Progress,
    check: Callable[[TargetCodec], None],
) -> _Read:
    """Splits the rows of a table, learns how they are preprocessed, and preprocesses all of them."""
    table.prepared_as(lambda rows: with_encoders(rows, model.encoders, into=model.into or (), who="fit"))
    rows = table.rows
    check_subgroups(train, rows.subgroups, who="fit")
    if metric is not None:
        metric_named(metric, rows.task, who="fit")
    learn, choose = split_off(rows, min(validation_fraction, _MOST_VALID / len(rows)), seed=train.seed)
    split = Split(learn, choose, np.empty(0, dtype=np.int64))
    seen = np.flatnonzero(np.isin(table.places, learn))
    if not len(seen):
        raise DataError(
            f"{rows.name}: one at least of {len(table.places):,} rows that were drawn must be a training row; none is, "
            f"as the split leaves {len(learn):,} of {len(rows):,} rows to learn from. Draw more (--sample-rows), or "
            "split otherwise."
        )
    pipeline = Pipeline.fit(table.sample, seen)
    values = np.asarray(rows.target)
    codec = TargetCodec.fit(values[learn], rows.task, names=rows.target_names)
    check(codec)
    goal = torch.as_tensor(codec.encode(values))
    unread = Prepared(rows, split, pipeline, codec, {}, goal, most_linear_rows=stream.sample_rows)
    if world().n_processes > 1:  # what cannot be shared is told before all rows are preprocessed
        options = unread.named(model, pipeline.specs)
        check_shareable(
            build_model(pipeline.specs, rows.task, codec.n_outputs, options, n_rows=len(learn), seed=train.seed), train
        )
    inputs = table.encode(pipeline, room, progress)
    prepared = replace(unread, dataset=table.rows, inputs=inputs)
    n_drawn, n_rows, by_time = len(table.places), len(rows), rows.times is not None
    drawn = f"{n_drawn:,} rows, drawn from {n_rows:,}" if n_drawn < n_rows else f"all {n_rows:,} rows"
    but = (
        ", of which {:,} chose its epoch first."
        if train.refits(n_rows, by_time=by_time)
        else " but {:,} that chose its epoch."
    )
    sampled = (
        f"Kinds of columns, preprocessing and linear paths learned from {drawn}; the network from all of them"
        f"{but.format(len(choose))}"
    )
    notes = [*table.notes, *copy_notes(table.sample), *weight_notes(rows.weights)]
    notes += [*told_of_groups(train, rows.subgroups), sampled]
    return _Read(prepared, table.reader.schema, tuple(notes), table.ranges, len(table.places))
