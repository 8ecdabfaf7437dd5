"""`profuse evaluate`: how good a saved model is on a table."""

from __future__ import annotations

from typing import Annotated

import typer

from profuse.cli._arguments import Cost, FromTable, Json, Model, NewCategories, Query, Targets, Threshold, data_of
from profuse.cli._options import From, Given, options
from profuse.cli._print import print_notes, print_table, say
from profuse.data.table.options import ReadOptions

__all__ = ["evaluate"]


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

    Stops where the table lacks columns of training, or has classes that training had not.

    [bold]Examples[/bold]

    profuse evaluate model test.csv

    profuse evaluate model test.csv --threshold 0.2
    """
    from profuse.cli._decided import deciding
    from profuse.data.leaks import copy_notes
    from profuse.metrics import metrics_for
    from profuse.predictor import load_model

    predictor = deciding(load_model(model), threshold, cost, who="evaluate")
    source = data_of(file, query, table)
    rows = predictor.read(
        source,
        **reading,
        need_target=True,
        target=target,
        new_categories=new_categories or (),
    )
    measured, task = predictor.evaluate(rows), predictor.task
    notes = [*rows.notes, *copy_notes(rows), *measured.notes]
    if as_json:
        import json

        say(json.dumps({"task": task, "n_rows": len(rows), "metrics": measured.values, "notes": notes}, indent=2))
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
    say(f"{len(rows)} rows of {source}")
    print_notes(notes)
