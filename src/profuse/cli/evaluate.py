"""`profuse evaluate`: how good a saved model is on a table."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from profuse.cli._arguments import Cost, FromTable, Json, Model, NewCategories, Query, Targets, Threshold, data_of
from profuse.cli._options import From, Given, options
from profuse.cli._print import counted, print_notes, print_table, say
from profuse.data.table.options import ReadOptions

__all__ = ["evaluate"]

_WHOLE = 10_000  # rows that are read at once; more are read in pieces


@options(reading=From(ReadOptions, only=("on_bad_file",)))
def evaluate(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Rows with the columns of training and the target; or a database's URL."),
    ],
    reading: Given,
    target: Targets = None,
    threshold: Threshold = None,
    cost: Cost = None,
    new_categories: NewCategories = None,
    query: Query = None,
    table: FromTable = None,
    as_json: Json = False,
) -> None:
    """Measure a saved model on the rows of a table: every metric of its task.

    Stops where the table lacks columns of training, or has classes that training had not. CSV and Parquet files may be
    larger than memory.

    [bold]Examples[/bold]

    profuse evaluate model test.csv

    profuse evaluate model test.csv --threshold 0.2
    """
    from profuse.cli._decided import deciding
    from profuse.data.leaks import copy_notes
    from profuse.metrics import metrics_for
    from profuse.predictor import RowsInPieces, load_model

    predictor = deciding(load_model(model), threshold, cost, who="evaluate")
    source, task = data_of(file, query, table), predictor.task
    given: dict[str, Any] = {**reading, "need_target": True, "target": target, "new_categories": new_categories or ()}
    pieces = None
    if predictor.schema is not None:
        pieces = RowsInPieces(predictor, source, **given, who="evaluate")
    if pieces is None or pieces.n_rows <= _WHOLE:
        rows = predictor.read(source, **given)
        measured, n_rows = predictor.evaluate(rows), len(rows)
        notes = [*rows.notes, *copy_notes(rows), *measured.notes]
    else:
        measured, n_rows = pieces.evaluate(), pieces.n_rows
        copies = [f"Of the first {_WHOLE:,} rows: {note}" for note in copy_notes(pieces.head(_WHOLE))]
        notes = [*pieces.notes, *copies, *measured.notes]
    if as_json:
        import json

        say(json.dumps({"task": task, "n_rows": n_rows, "metrics": measured.values, "notes": notes}, indent=2))
        return

    lines = [
        [
            m.label,
            f"{measured.values[m.name]:.4f}",
            m.unit,
            "higher is better" if m.higher_is_better else "lower is better",
        ]
        for m in metrics_for(task)
        if m.name in measured.values
    ]
    print_table(["metric", "value", "unit", ""], lines, right=["value"])
    say(f"{counted(n_rows, 'row')} of {source}")
    print_notes(notes)
