"""`profuse predict`: a saved model's answers for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from profuse.cli._arguments import Model, NewCategories, SafeCsv
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
    safe: SafeCsv = False,
    new_categories: NewCategories = None,
) -> None:
    """Predict the rows of a table with a saved model.

    Writes one line per row: its id (or number, from 0), the prediction, and the probability of each class or label.

    [bold]Example[/bold]: profuse predict model new.csv --out answers.csv
    """
    from profuse.predictor import load_model

    if out is not None:
        check_output(out, reads=(model, file, *([worth] if worth is not None else [])))
    predictor = load_model(model)
    rows = predictor.read(file, **reading, new_categories=new_categories or ())
    print_notes(rows.notes)
    frame = predictor.predict_frame(rows)
    if worth is not None:
        from profuse.inspect.worth import Worth

        known = predictor.read(
            worth, **reading, need_target=True, new_categories=new_categories or (), who="predict --worth"
        )
        print_notes(known.notes)
        added = Worth().rows(predictor, known, rows)
        frame = frame.join(added.set_index(frame.index))
    text = safe_csv(as_csv(frame), safe=safe)
    if out is None:
        print_data(text)
        return
    write_text(out, text)
    say(f"Predictions: {out} ({len(rows)} rows)")
