"""`profuse ask`: questions to a saved model, asked of rows whose target is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from profuse.cli._arguments import FromTable, Json, Model, NewCategories, Query, Targets, data_of, file_of
from profuse.cli._asking import asking_line
from profuse.cli._options import From, Given
from profuse.cli._options import options as options_of
from profuse.cli._output import check_output, write_text
from profuse.cli._print import as_csv, console, counted, print_notes, print_table, say
from profuse.data.table.options import ReadOptions

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.inspect import Answer

__all__ = ["AskCommand", "ask"]


class AskCommand(TyperCommand):
    """Lists the questions in its help, which must not be loaded for any other command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from profuse.inspect import QUESTIONS, question

        lines = [f"[bold]{name}[/bold]: {question(name).description}" for name in QUESTIONS]
        self.help = "\n\n".join([self.help or "", "[bold]Questions[/bold]", *lines])
        super().format_help(ctx, formatter)


@options_of(reading=From(ReadOptions, only=("on_bad_file",)))
def ask(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Rows with the columns of training and the target; or a database's URL."),
    ],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask; the list stands above.")],
    reading: Given,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="NAME", help="In which is measured (AUROC of two classes, else the task's primary one)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn at random.")] = 0,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the question, rates=0.2,0.4 say; repeat."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="COLUMN",
            help="Of audit: a column of FILE whose groups are compared, a feature or not; repeat.",
        ),
    ] = None,
    retrain: Annotated[
        str | None,
        typer.Option(
            "--retrain",
            metavar="TRAIN",
            help="Of missing: training rows; the model's own options are fitted to them anew without each modality.",
        ),
    ] = None,
    row_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Of row: which one is explained, its id or its number from 0."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write besides: a page with a picture if it ends in .html, JSON if in .json, else CSV.",
        ),
    ] = None,
    target: Targets = None,
    new_categories: NewCategories = None,
    query: Query = None,
    table: FromTable = None,
    as_json: Json = False,
) -> None:
    """Ask a saved model a question: what it loses without a modality, under noise, whether its probabilities hold.

    Every answer has its 95 % interval over the rows (over groups, where the table has them), and says what it leaves
    unexplained. Nothing is trained, but with --retrain.

    [bold]Examples[/bold]

    profuse ask model test.csv importance

    profuse ask model test.csv missing --set rates=0.2,0.4 --metric auroc --out missing.csv

    profuse ask model test.csv missing --retrain train.csv

    profuse ask model test.csv row --id 17 --out row.html

    profuse ask model test.csv audit --group sex --group region
    """
    from profuse.inspect import question as question_called
    from profuse.predictor import load_model
    from profuse.predictor.watching import watched

    source = data_of(file, query, table)
    if out is not None:
        check_output(out, reads=(model, file_of(source)))
    given = _options(options)
    for name, value in (("group", group), ("id", row_id), ("retrain", retrain)):
        if value and name in given:
            raise typer.BadParameter(f"must not go with --set {name}=", param_hint=f"--{name}")
        given |= {name: value} if value else {}
    made = question_called(question).made(**given, seed=seed, **({} if metric is None else {"metric": metric}))
    predictor = load_model(model)
    rows = predictor.read(
        source,
        **reading,
        need_target=made.needs_target or None,
        target=target,
        new_categories=new_categories or (),
        who="ask",
    )
    with asking_line(question, console(stderr=True), all_planned=made.plans_all) as tell, watched(tell):
        answer = made.reading(source).ask(predictor, rows)
    if out is not None:
        write_text(out, _written(answer, rows, out.suffix.lower()))
    if as_json:
        say(answer.to_json())
        return
    has_score = any(e.score is not None for e in answer.estimates)
    lines = [
        [
            _marked(e.name, answer.shown),
            f"{e.value:.4f}",
            f"{e.low:.4f} to {e.high:.4f}",
            "" if e.score is None else f"{e.score:.4f}",
        ]
        for e in answer.estimates
    ]
    columns = ["", answer.measures, "95 % interval", answer.label if has_score else " "]
    print_table(columns, lines, right=columns[1:])
    if answer.shown:
        say("* shown after correction")
    if answer.residual is not None:
        say(f"residual: {answer.residual:.4f}")
    score = "" if answer.score is None else f", {answer.label} {answer.score:.4f}"
    say(f"{counted(answer.n_rows, 'row')} of {source}{score}")
    print_notes([*answer.notes, *rows.notes])
    if out is not None:
        say(f"Answer: {out}")


def _written(answer: Answer, rows: Dataset, suffix: str) -> str:
    """Returns the answer as a file of that suffix holds it."""
    if suffix == ".html":
        from profuse.report import answer_html

        return answer_html(answer, rows)
    return answer.to_json() + "\n" if suffix == ".json" else as_csv(answer.frame())


def _marked(name: str, shown: tuple[str, ...] | None) -> str:
    return f"{name} *" if name in (shown or ()) else name


def _options(texts: list[str] | None) -> dict[str, Any]:
    """`["rates=0.1,0.2"]` -> {"rates": [0.1, 0.2]}: values are YAML, and what holds a comma is a list."""
    import yaml

    options: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals or not value or name in options or name in ("metric", "seed"):
            raise typer.BadParameter(f"must be OPTION=VALUE, each option once; got {text!r}", param_hint="--set")
        try:
            options[name] = yaml.safe_load(f"[{value}]" if "," in value and value[0] not in "[{" else value)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"the value must be YAML; got {text!r}", param_hint="--set") from error
    return options
