"""`profuse predict`: a saved model's answers for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from profuse.cli._answers import answers_to, is_parquet
from profuse.cli._arguments import Cost, FromTable, Model, NewCategories, Query, SafeCsv, Threshold, data_of, file_of
from profuse.cli._options import From, Given, options
from profuse.cli._output import check_output
from profuse.cli._print import counted, print_notes, say
from profuse.data.table.options import ReadOptions

__all__ = ["predict"]


@options(reading=From(ReadOptions, only=("on_bad_file",)))
def predict(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Rows with the columns of training, or a database's URL; no target needed."
        ),
    ],
    reading: Given,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="CSV, or Parquet, to write; standard output if absent."),
    ] = None,
    worth: Annotated[
        Path | None,
        typer.Option(
            "--worth",
            metavar="FILE",
            help="Rows with a known target that the model has not learned from: they tell, of each row that lacks a "
            "modality, what collecting it would save (log loss or squared error).",
        ),
    ] = None,
    conformal: Annotated[
        Path | None,
        typer.Option(
            "--conformal",
            metavar="FILE",
            help="Rows with a known target that the model has not learned from: sets or intervals are made of them.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option("--coverage", metavar="SHARE", help="Of new rows that sets or intervals hold; 0.9 if absent."),
    ] = None,
    chunk_rows: Annotated[
        int,
        typer.Option(
            "--chunk-rows", min=1, metavar="N", help="Rows read at a time; the predictions are the same for any N."
        ),
    ] = 10_000,
    safe: SafeCsv = False,
    threshold: Threshold = None,
    cost: Cost = None,
    new_categories: NewCategories = None,
    query: Query = None,
    table: FromTable = None,
) -> None:
    """Predict the rows of a table with a saved model.

    Writes one line per row: its id (or number, from 0), the prediction, and the probability of each class or label.
    CSV and Parquet files are read and written in pieces: they may be larger than memory. The file --out is there whole,
    or not at all.

    With --conformal, also the set of classes that holds the true one in a share --coverage of new rows, joined by |; or
    the ends low and high of an interval. 'profuse ask MODEL FILE conformal' tells whether they hold.

    [bold]Examples[/bold]

    profuse predict model new.csv --out answers.csv

    profuse predict model new.csv --threshold 0.2 --out answers.csv

    profuse predict model new.csv --conformal calibration.csv --coverage 0.95 --out answers.csv
    """
    from profuse.cli._decided import deciding
    from profuse.data.wording import rows_from
    from profuse.inspect.worth import Worth
    from profuse.predictor import RowsInPieces, load_model

    source = data_of(file, query, table)
    if coverage is not None and conformal is None:
        raise typer.BadParameter("must go with --conformal FILE", param_hint="--coverage")
    if safe and is_parquet(out):
        raise typer.BadParameter("is of CSV files; a Parquet file holds no formulas", param_hint="--safe-csv")
    if out is not None:
        check_output(out, reads=(model, file_of(source), worth, conformal))
    predictor = deciding(load_model(model), threshold, cost, who="predict")
    given: dict[str, Any] = {**reading, "new_categories": new_categories or ()}
    calibrated, known = None, None
    if conformal is not None:
        from profuse.inspect.conformal import Conformal

        told = predictor.read(conformal, **given, need_target=True, who="predict --conformal")
        print_notes(told.notes)
        calibrated = Conformal.fit(predictor, told, coverage=0.9 if coverage is None else coverage)
    if worth is not None:
        known = predictor.read(worth, **given, need_target=True, who="predict --worth")
        print_notes(known.notes)
    rows = RowsInPieces(predictor, source, chunk_rows=chunk_rows, **given)
    names = [*predictor.codec.names, *map(str, predictor.classes)]
    quoted = rows.marks or any("\r" in name for name in names)
    with answers_to(out, quoted=quoted, safe=safe) as answers:
        for block in rows:
            with rows_from(block.first):
                frame = (predictor if calibrated is None else calibrated).predict_frame(block.rows)
                rows.tell(frame.attrs.pop("notes", ()))
                if known is not None:
                    added = Worth().rows(predictor, known, block.rows)
                    frame = frame.join(added.set_index(frame.index))
            if block.rows.ids is None:
                frame["row"] += block.first
            answers.add(frame)
    print_notes(rows.notes)
    if out is not None:
        say(f"Predictions: {out} ({counted(rows.n_rows, 'row')})")
