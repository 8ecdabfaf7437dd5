"""`profuse fit`: one model, saved."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from profuse.cli._arguments import DATA, MODEL, SchemaFile, Targets, Variant, check_shape
from profuse.cli._epochs import epoch_line
from profuse.cli._options import From, Given, options
from profuse.cli._print import console, print_notes, say
from profuse.estimators.options import FitOptions
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

__all__ = ["fit"]


@options(
    rows=From(SplitOptions, DATA, only=("column",)),
    reading=From(FitOptions, DATA, only=("on_bad_file", "validation_fraction")),
    model=From(ModelOptions, MODEL, without=("level",)),  # stands before the name of the fusion
    training=From(TrainOptions, MODEL),
)
def fit(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl) or a named data set.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder for the model.", show_default=False)
    ],
    rows: Given,
    reading: Given,
    model: Given,
    training: Given,
    target: Targets = None,
    schema: SchemaFile = None,
    variant: Variant = None,
    comparison: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Folder that 'profuse compare' wrote: train what it chose, with its options and schema; "
            "the command line wins.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="With --from: another method of its table than the best fusion.",
            rich_help_panel=MODEL,
        ),
    ] = None,
) -> None:
    """Train one model on all rows of a table (a fraction of them chooses the epoch) and save it.

    Official test rows of a named data set are left out.

    [bold]Examples[/bold]

    profuse fit mine.csv --target price --out model

    profuse fit mine.csv --from profuse-out/mine --out model
    """
    from profuse.cli._chosen import read_chosen
    from profuse.cli._output import hold_model
    from profuse.data.leaks import copy_notes
    from profuse.datasets import DATASETS
    from profuse.errors import ConfigError, ProfuseWarning
    from profuse.estimators.fusion import FusionClassifier, FusionRegressor
    from profuse.estimators.settings import settings_of
    from profuse.inputs import open_data, with_encoders, without_test_rows

    hold_model(out)
    if method is not None and comparison is None:
        raise ConfigError(f"fit: method must go with a comparison; got method={method!r}. Add --from RUN.")
    compared = None if comparison is None else read_chosen(comparison, method)
    level, _, name = str(model.get("fusion", "")).rpartition(":")
    asked: dict[str, Any] = {**reading, **model, **training}
    asked |= {"fusion": name} if name else {}
    asked |= {"level": level} if level else {}
    asked |= {"random_state": asked.pop("seed")} if "seed" in asked else {}
    asked = asked if compared is None else compared.parameters(asked)
    # before data are read
    settings = settings_of(FusionClassifier(**asked).get_params(deep=False), who="fit").model
    check_shape(model, settings.rounds, who="fit")
    read_as = compared.schema() if compared and schema is None and data not in DATASETS else schema
    opened = open_data(
        data, target, who="fit", schema=read_as, split=SplitOptions(**rows), variant=variant,
        on_bad_file=asked.get("on_bad_file", "raise"),
    )  # fmt: skip
    dataset = without_test_rows(opened.dataset if compared is None else compared.rows_of(opened.dataset))
    dataset = with_encoders(dataset, settings.encoders, into=settings.into or (), who="fit")
    kind = FusionRegressor if dataset.task == "regression" else FusionClassifier
    fitted = kind(**asked, schema=opened.schema)
    print_notes([*dataset.notes, *copy_notes(dataset), *(compared.notes() if compared else ())])
    say(f"{dataset.name}: {len(dataset)} rows, {dataset.task}, modalities {', '.join(dataset.modalities)}", err=True)
    with warnings.catch_warnings(), epoch_line(console(stderr=True), tells=True) as callbacks:
        warnings.filterwarnings("ignore", ".*give the target away", ProfuseWarning)  # told above
        fitted.fit(dataset, callbacks=callbacks)
    choices = fitted.predictor_.choices.items()
    chosen = [f"Encoder of {name!r}, chosen on validation rows: {words}." for name, words in choices]
    print_notes([*fitted.predictor_.pipeline.notes, *chosen])
    fitted.save(out)
    history = fitted.predictor_.history
    assert history is not None
    unit, score = fitted.predictor_.model.head.unit, history.best.valid_score
    message = "is not defined: the target does not vary there," if math.isnan(score) else f"{score:.3f}"
    when = f"in epoch {history.best_epoch}" if history.best_epoch else "of the linear paths, as no epoch was better"
    say(f"Validation {unit} {message} {when}, {history.fit_seconds:.1f} s")
    say(f"Model: {out}")
