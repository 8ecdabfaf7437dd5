"""`profuse tune`: the options of a network, searched on validation rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from profuse.cli._arguments import (
    DATA,
    MODEL,
    FromTable,
    Query,
    SchemaFile,
    Subgroup,
    Targets,
    TargetTask,
    Variant,
    Weight,
    data_of,
)
from profuse.cli._options import From, Given, options
from profuse.cli._print import console, print_notes, say, say_rows
from profuse.cluster.options import EngineOptions, engine_asked
from profuse.data.table.options import ReadOptions
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions
from profuse.tuning.options import TuneOptions

__all__ = ["tune"]

HOW = "Search"
SPLIT = "Split"


@options(
    reading=From(ReadOptions, DATA, only=("on_bad_file",)),
    split=From(SplitOptions, SPLIT),
    how=From(TuneOptions, HOW, without=("split", "model", "train")),
    engine=From(EngineOptions, HOW),
    model=From(ModelOptions, MODEL, without=("fusion", "level")),  # the search names them
    train=From(TrainOptions, MODEL, without=("seed",)),
)
def tune(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl), shards, a database's URL, or a named data set."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Folder for best.yaml, trials.csv and tune.html.", show_default=False
        ),
    ],
    reading: Given,
    split: Given,
    how: Given,
    engine: Given,
    model: Given,
    train: Given,
    target: Targets = None,
    task: TargetTask = None,
    weight: Weight = None,
    subgroup: Subgroup = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="FILE", help="Test rows, in a file of their own.", rich_help_panel=DATA),
    ] = None,
    schema: SchemaFile = None,
    variant: Variant = None,
    query: Query = None,
    table: FromTable = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="FILE",
            help="SQLite file of the trials, or sqlite:///FILE (FOLDER/trials.db): several runs may share it.",
            rich_help_panel=HOW,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Trials at a time; 1, and on a cluster as many as it has room for.",
            rich_help_panel=HOW,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Search the options of a network (learning rate, dropout, width, ...) with Optuna; test rows have no part.

    The first trial has the default options; each option that is given here is kept. Trials that promise less than the
    median end early. Stopped and started again with the same --out, it goes on; runs that share a --storage share the
    search. At the end the default and the best options are scored on the test rows, once.

    [bold]Examples[/bold]

    profuse tune mine.csv --target ill --out tuned

    profuse tune mine.csv --target ill --fusion gated --fusion concat --trials 50 --time-limit 2h --out tuned

    profuse fit mine.csv --target ill --config tuned/best.yaml --out model
    """
    from profuse._options import checked
    from profuse.cli._process import exit_code
    from profuse.cli._tuning import show_tuning, trials_display
    from profuse.data.leaks import copy_notes
    from profuse.inputs import open_data
    from profuse.tuning.door import metric_of, tune_opened
    from profuse.tuning.storage import optuna_of, path_of

    optuna_of()
    asked = checked(TuneOptions, {**how, "split": split, "model": model, "train": train}, where="tune")
    using = engine_asked(engine, where="tune")
    place = out / "trials.db" if storage is None else path_of(storage)
    opened = open_data(
        data_of(data, query, table), target, who="tune", schema=schema, task=task, weight=weight,
        subgroup=subgroup, split=asked.split, test=test, variant=variant,
        on_bad_file=reading.get("on_bad_file", "raise"),
    )  # fmt: skip
    dataset = opened.dataset
    metric = metric_of(asked, dataset.task)
    print_notes(copy_notes(dataset))
    say_rows(dataset)
    with trials_display(metric, console(stderr=True)) as display:
        try:
            tuning = tune_opened(opened, asked, out=out, storage=place, n_jobs=jobs, engine=using, on_event=display)
        except KeyboardInterrupt as error:
            kept = f"{display.n_done} of {display.n_total} trials are kept in {place}"
            say(f"Interrupted: {kept}. The same command goes on from there.", err=True)
            raise typer.Exit(exit_code(error)) from None
    show_tuning(tuning)
    say(f"\nBest options: {out / 'best.yaml'} (profuse fit ... --config {out / 'best.yaml'})")
    say(f"Trials: {out / 'trials.csv'}; page: {out / 'tune.html'}")
