"""`profuse predict`: a saved model's answers for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from profuse.cli._arguments import Cost, Model, NewCategories, SafeCsv, Threshold
from profuse.cli._options import From, Given, options
from profuse.cli._output import check_output, write_text
from profuse.cli._print import as_csv, print_data, print_notes, safe_csv, say
from profuse.data.table.options import ReadOptions

__all__ = ["predict"]


@options(reading=From(ReadOptions, only=("on_bad_file",)))
def predict(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows with the columns of training; no target needed.")],
    reading: Given,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="CSV to write; standard output if absent.")
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
    safe: SafeCsv = False,
    threshold: Threshold = None,
    cost: Cost = None,
    new_categories: NewCategories = None,
) -> None:
    """Predict the rows of a table with a saved model.

    Writes one line per row: its id (or number, from 0), the prediction, and the probability of each class or label.

    With --conformal, also the set of classes that holds the true one in a share --coverage of new rows, joined by |; or
    the ends low and high of an interval. 'profuse ask MODEL FILE conformal' tells whether they hold.

    [bold]Examples[/bold]

    profuse predict model new.csv --out answers.csv

    profuse predict model new.csv --threshold 0.2 --out answers.csv

    profuse predict model new.csv --conformal calibration.csv --coverage 0.95 --out answers.csv
    """
    from profuse.cli._decided import deciding
    from profuse.predictor import load_model

    if coverage is not None and conformal is None:
        raise typer.BadParameter("must go with --conformal FILE", param_hint="--coverage")
    if out is not None:
        check_output(out, reads=(model, file, worth, conformal))
    predictor = deciding(load_model(model), threshold, cost, who="predict")
    given: dict[str, Any] = {**reading, "new_categories": new_categories or ()}
    rows = predictor.read(file, **given)
    print_notes(rows.notes)
    if conformal is None:
        frame = predictor.predict_frame(rows)
    else:
        from profuse.inspect.conformal import Conformal

        known = predictor.read(conformal, **given, need_target=True, who="predict --conformal")
        calibrated = Conformal.fit(predictor, known, coverage=0.9 if coverage is None else coverage)
        frame = calibrated.predict_frame(rows)
        print_notes([*known.notes, *frame.attrs["notes"]])
    if worth is not None:
        from profuse.inspect.worth import Worth

        known = predictor.read(worth, **given, need_target=True, who="predict --worth")
        print_notes(known.notes)
        added = Worth().rows(predictor, known, rows)
        frame = frame.join(added.set_index(frame.index))
    text = safe_csv(as_csv(frame), safe=safe)
    if out is None:
        print_data(text)
        return
    write_text(out, text)
    say(f"Predictions: {out} ({len(rows)} rows)")
