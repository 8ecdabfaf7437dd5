"""`profuse fit --stream`: how rows that memory does not hold are read and learned from, told as it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profuse.cli._bar import Bar
from profuse.cli._epochs import epoch_line
from profuse.cli._options import Given
from profuse.cli._print import console, print_notes, say, say_rows

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.data.table.database import DatabaseTable
    from profuse.data.target import TargetCodec
    from profuse.estimators.settings import Settings
    from profuse.predictor import NetworkPredictor
    from profuse.schema import Task
    from profuse.streaming.rows import Progress
    from profuse.training.keeping import Kept

__all__ = ["check_stream", "rows_display", "train_streamed"]

_LINE_SECONDS = 30.0  # between two lines that tell how far it is, where there is no terminal


def check_stream(stream: bool, streaming: Given, source: str | DatabaseTable, **others: object) -> None:
    """Checks that what is asked for goes with rows that are read in pieces.

    Raises:
        ConfigError: Options of reading without `stream`, a named data set, or options of `others` that read whole.
    """
    from profuse.datasets import DATASETS
    from profuse.errors import ConfigError

    if not stream:
        if streaming:
            names = ", ".join(f"{name}={value!r}" for name, value in streaming.items())
            raise ConfigError(f"fit: options of reading in pieces must go with stream; got {names}. Add --stream.")
        return
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ConfigError(
            f"fit: stream must not go with {given[0]}, which is of rows read whole. Leave one of them out."
        )
    if source in DATASETS:
        raise ConfigError(f"fit: stream must go with a file; got the named data set {source!r}. Leave --stream out.")


def train_streamed(
    source: str | DatabaseTable,
    target: list[str] | None,
    out: Path,
    *,
    schema: Path | None,
    task: Task | None,
    named: Mapping[str, str | None],
    rows: Given,
    streaming: Given,
    settings: Settings,
    asked: Mapping[str, Any],
    check: Callable[[TargetCodec], None],
    kept: Kept | None,
) -> NetworkPredictor:
    """Fits one network to rows that are read in pieces, and tells of them.

    Args:
        source: The file, or a table of a database.
        target: Its columns to predict.
        out: The folder of the model; preprocessed rows are kept beside it.
        schema: The file of the schema.
        task: What kind of target it is; the schema's, or inferred, if None.
        named: Columns that the command line names for the schema.
        rows: Options of the split.
        streaming: Options of reading.
        settings: Of the network.
        asked: Options of the estimator, as they were given.
        check: Called with the target's codec before the rows are preprocessed.
        kept: Keeps the training; None in other processes than the first one.
    """
    from profuse._options import checked
    from profuse.data.table.schema_file import as_schema
    from profuse.data.table.shards import kept_schema
    from profuse.schema import SplitOptions
    from profuse.streaming.fit import fit_streamed
    from profuse.streaming.options import StreamOptions

    known = kept_schema(source, target=not target) if schema is None else as_schema(schema)
    columns = {name: column for name, column in named.items() if column is not None}
    known = known.with_task(task).model_copy(update={"split": SplitOptions(**rows).over(known.split), **columns})

    def show(notes: Sequence[str], data: Dataset) -> None:
        print_notes(notes)
        say_rows(data)

    options = checked(StreamOptions, {"scratch": out.absolute().parent, **streaming}, where="fit")
    with rows_display() as progress, epoch_line(console(stderr=True), tells=True, reads=True) as callbacks:
        fitted, _ = fit_streamed(
            source, target, schema=known, model=settings.model, train=settings.train, stream=options,
            validation_fraction=asked.get("validation_fraction", 0.2), metric=asked.get("metric"),
            on_bad_file=asked.get("on_bad_file", "raise"), callbacks=callbacks, progress=progress,
            check=check, checkpoint=kept, tell=show,
        )  # fmt: skip
    return fitted


@contextmanager
def rows_display(last: str = "rows preprocessed", *, unit: str = "rows") -> Iterator[Progress]:
    """Gives what shows how many rows are read: a bar on a terminal, else a line now and then; gone after `last`."""
    from profuse.report.numbers import duration

    err = console(stderr=True)
    bar = Bar(err, unit=unit, first="reading") if err.is_terminal and not err.is_dumb_terminal else None
    now, began, shown, begun = "", 0.0, 0.0, False

    def show(what: str, done: int, total: int) -> None:
        nonlocal now, began, shown, begun
        moment = time.perf_counter()
        if what != now:
            now, began, shown = what, moment, moment
            if bar is not None and not begun:
                bar.start()
                begun = True
        left = "" if not done else f", {duration((moment - began) / done * (total - done))} left"
        if bar is not None:
            bar.show(what, left=left, done=done, total=total or None)
            if what == last and done == total:
                bar.stop()
        elif moment - shown > _LINE_SECONDS:
            shown = moment
            say(f"{what}: {done:,} of {total:,} {unit}{left}", err=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()
