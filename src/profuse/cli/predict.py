"""`profuse predict`: a saved model's answers for a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from profuse.cli._arguments import Model, OnBadFile, bad_file

if TYPE_CHECKING:
    import pandas as pd

    from profuse.data.dataset import Dataset
    from profuse.learner import TrainedModel

__all__ = ["predict"]


def predict(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows with the columns of training; no target needed.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="CSV to write; standard output if absent.")
    ] = None,
    on_bad_file: OnBadFile = "raise",
) -> None:
    """Predict the rows of a table with a saved model.

    Writes one line a row: its id (or number, from 0), the prediction, and the probability of each class or label.

    [bold]Example[/bold]: profuse predict model new.csv --out answers.csv
    """
    from profuse.checkpoint import load_model
    from profuse.cli._print import check_output, write_text
    from profuse.cli._table import read_for

    if out is not None:
        check_output(out)
    trained = load_model(model)
    dataset = read_for(trained, file, on_bad_file=bad_file(on_bad_file))
    for note in dataset.notes:
        typer.echo(f"note: {note}", err=True)
    text = answers(trained, dataset).to_csv(index=False, lineterminator="\n")
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    typer.echo(f"Predictions: {out} ({len(dataset)} rows)")


def answers(trained: TrainedModel, dataset: Dataset) -> pd.DataFrame:
    """Returns `id` or `row`; `prediction` and `prob_CLASS`, `LABEL` and `prob_LABEL`, or one column a target."""
    import pandas as pd

    said, codec = trained.predict(dataset), trained.pipeline.target
    named: dict[str, object] = {"row": range(len(dataset))} if dataset.ids is None else {"id": dataset.ids}
    if codec.task == "regression":
        columns = ["prediction"] if len(codec.names) == 1 else list(codec.names)
        return pd.DataFrame({**named, **dict(zip(columns, said.T, strict=True))})
    probs = {f"prob_{name}": column for name, column in zip(codec.classes, said.T, strict=True)}
    if codec.task == "multilabel":
        chosen = {str(name): (column >= 0.5).astype(int) for name, column in zip(codec.classes, said.T, strict=True)}
        return pd.DataFrame({**named, **chosen, **probs})
    return pd.DataFrame({**named, "prediction": codec.classes[said.argmax(1)], **probs})
