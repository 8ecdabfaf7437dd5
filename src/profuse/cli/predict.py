"""`profuse predict`: a saved model's answers for a table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import Model, NewCategories, OnBadFile, SafeCsv, bad_file
from profuse.cli._output import check_output, write_text
from profuse.cli._print import as_csv, print_data, print_notes, safe_csv, say

if TYPE_CHECKING:
    import pandas as pd

    from profuse.data.dataset import Dataset
    from profuse.training.fitting import TrainedModel

__all__ = ["predict"]


def predict(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows with the columns of training; no target needed.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="CSV to write; standard output if absent.")
    ] = None,
    safe: SafeCsv = False,
    on_bad_file: OnBadFile = "raise",
    new_categories: NewCategories = None,
) -> None:
    """Predict the rows of a table with a saved model.

    Writes one line a row: its id (or number, from 0), the prediction, and the probability of each class or label.

    [bold]Example[/bold]: profuse predict model new.csv --out answers.csv
    """
    from profuse.checkpoint import load_model
    from profuse.cli._table import read_for

    if out is not None:
        check_output(out, reads=(model, file))
    trained = load_model(model)
    dataset = read_for(trained, file, on_bad_file=bad_file(on_bad_file), new_categories=new_categories or ())
    print_notes(dataset.notes)
    text = safe_csv(as_csv(answers(trained, dataset)), safe=safe)
    if out is None:
        print_data(text)
        return
    write_text(out, text)
    say(f"Predictions: {out} ({len(dataset)} rows)")


def answers(trained: TrainedModel, dataset: Dataset) -> pd.DataFrame:
    """Returns `id` or `row`; `prediction` and `prob_CLASS`, `LABEL` and `prob_LABEL`, or one column a target.

    Raises:
        DataError: Two columns would have one name, as a label called `row` and the row's number do.
    """
    import pandas as pd

    from profuse.data.wording import tell_values
    from profuse.errors import DataError

    said, codec = trained.predict(dataset), trained.codec
    columns: list[tuple[str, Any]] = [("row", range(len(dataset))) if dataset.ids is None else ("id", dataset.ids)]
    if codec.task == "regression":
        names = ["prediction"] if len(codec.names) == 1 else list(codec.names)
        columns += zip(names, said.T, strict=True)
    else:
        if codec.task == "multilabel":
            columns += zip(map(str, codec.classes), (said.T >= 0.5).astype(int), strict=True)
        else:
            columns.append(("prediction", codec.classes[said.argmax(1)]))
        columns += zip((f"prob_{name}" for name in codec.classes), said.T, strict=True)
    twice = [name for name, n in Counter(name for name, _ in columns).items() if n > 1]
    if twice:
        raise DataError(
            f"predict: names of the columns written must differ; got {tell_values(twice)} more than once, as a target "
            "or label is called so. Rename it in the training table and fit again, or predict in Python."
        )
    return pd.DataFrame(dict(columns))
