"""`profuse card`: what is known of a saved model, on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from profuse.cli._arguments import Model, NewCategories, Targets
from profuse.cli._options import From, Given, options
from profuse.cli._output import check_output, write_text
from profuse.cli._print import print_data, print_notes, say
from profuse.data.table.options import ReadOptions

__all__ = ["card"]

_SUFFIXES = (".html", ".md")


@options(reading=From(ReadOptions, only=("on_bad_file",)))
def card(
    model: Model,
    reading: Given,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Rows with a known target that the model has not learned from: it is measured on them.",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="COLUMN", help="With --data: groups that must be served alike; repeat."),
    ] = None,
    asks: Annotated[
        list[str] | None,
        typer.Option("--ask", metavar="QUESTION", help="With --data: one more question of 'profuse ask'; repeat."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn at random.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Page to write: .html, or .md for Markdown; printed if absent."
        ),
    ] = None,
    target: Targets = None,
    new_categories: NewCategories = None,
) -> None:
    """Write the card of a saved model: what it predicts, how it was made, how good it is, and its limits.

    Without --data it holds what the model knows of itself, as card.md in its folder does. With --data it is measured
    on these rows too: every metric with its interval, calibration, what each modality is worth, what is lost where
    some are missing, coverage of sets or intervals. What only you can say is marked: to be filled in.

    [bold]Examples[/bold]

    profuse card model

    profuse card model --data test.csv --out card.html
    """
    if out is not None:
        if out.suffix.lower() not in _SUFFIXES:
            raise typer.BadParameter(f"must end in .html or .md; got {out.name!r}", param_hint="--out")
        check_output(out, reads=(model, data))
    of_rows = {"--group": group, "--ask": asks, "--target": target, "--new-categories": new_categories}
    if data is None and (alone := [name for name, given in of_rows.items() if given]):
        raise typer.BadParameter("must go with --data FILE", param_hint=alone[0])
    from profuse.predictor import load_model
    from profuse.report import card_html, model_card

    predictor, rows = load_model(model), None
    if data is not None:
        rows = predictor.read(
            data, **reading, need_target=True, target=target, new_categories=new_categories or (), who="card"
        )
        print_notes(rows.notes)
    made = model_card(predictor, rows, group=group or (), questions=asks or (), source=data, seed=seed)
    text = card_html(made) if out is not None and out.suffix.lower() == ".html" else made.markdown()
    if out is None:
        print_data(text)
        return
    write_text(out, text)
    say(f"Card: {out}")
