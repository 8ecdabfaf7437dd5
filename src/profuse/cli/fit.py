"""`profuse fit`: one model, saved."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import (
    DATA,
    MODEL,
    Balance,
    Device,
    Dropout,
    Encoders,
    Epochs,
    LearningRate,
    OnBadFile,
    SchemaFile,
    Seed,
    Targets,
    Threads,
    UnimodalLossWeight,
    Variant,
    Width,
    bad_file,
    given,
    listed,
    pairs,
)
from profuse.cli._print import console, print_notes, say

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.training.loop import Epoch

__all__ = ["fit"]


def fit(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl) or a named data set.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder for the model.", show_default=False)
    ],
    target: Targets = None,
    schema: SchemaFile = None,
    on_bad_file: OnBadFile = "raise",
    variant: Variant = None,
    split_column: Annotated[
        str | None,
        typer.Option(
            "--split-column",
            metavar="COLUMN",
            help="Groups that stay whole, or times, in the inner split.",
            rich_help_panel=DATA,
        ),
    ] = None,
    validation_fraction: Annotated[
        float,
        typer.Option(
            "--validation-fraction", metavar="FRACTION", help="Rows that choose the epoch.", rich_help_panel=DATA
        ),
    ] = 0.2,
    fusion: Annotated[
        str | None,
        typer.Option(
            "--fusion", help="Name or level:name, hybrid:concat say (token_transformer).", rich_help_panel=MODEL
        ),
    ] = None,
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds",
            metavar="N|equilibrium",
            help="Rounds of Progressive Fusion; 1 is none (1).",
            rich_help_panel=MODEL,
        ),
    ] = None,
    feedback: Annotated[
        str | None,
        typer.Option(
            "--feedback",
            metavar="NAME",
            help="Of the rounds: scale_shift, gate, add, concat or attend (scale_shift).",
            rich_help_panel=MODEL,
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="MODALITY,..", help="Modalities that receive feedback (all).", rich_help_panel=MODEL
        ),
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            "--entry", metavar="input|early|later", help="Where feedback enters them (early).", rich_help_panel=MODEL
        ),
    ] = None,
    supervise: Annotated[
        str | None,
        typer.Option(
            "--supervise", metavar="last|all", help="Rounds whose output has a loss (last).", rich_help_panel=MODEL
        ),
    ] = None,
    epochs: Epochs = None,
    width: Width = None,
    learning_rate: LearningRate = None,
    modality_dropout: Dropout = None,
    balance: Balance = None,
    unimodal_loss_weight: UnimodalLossWeight = None,
    encoder: Encoders = None,
    device: Device = None,
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Train one model on all rows of a table (a fraction of them chooses the epoch) and save it.

    Official test rows of a named data set are left out.

    [bold]Example[/bold]: profuse fit mine.csv --target price --out model
    """
    from profuse._lookup import resolve
    from profuse.cli._output import hold_model
    from profuse.comparison.compare import open_data
    from profuse.data.leaks import copy_notes
    from profuse.errors import ConfigError, ProfuseWarning
    from profuse.estimator import FusionClassifier, FusionRegressor
    from profuse.inputs import check_encoders, settings_of, without_test_rows
    from profuse.schema import SplitOptions

    hold_model(out)
    level, _, name = (fusion or "").rpartition(":")
    progressive = given(feedback=feedback, into=listed(into), entry=entry, supervise=supervise)
    options: dict[str, Any] = progressive | given(
        fusion=name or None,
        level=level or None,
        rounds=int(rounds) if rounds is not None and rounds.isdecimal() else rounds,
        epochs=epochs,
        width=width,
        learning_rate=learning_rate,
        modality_dropout=modality_dropout,
        balance=balance,
        unimodal_loss_weight=unimodal_loss_weight,
        encoders=pairs(encoder, option="--encoder"),
        device=device,
        threads=threads,
        validation_fraction=validation_fraction,
        random_state=seed,
    )
    # before data are read
    asked = settings_of(FusionClassifier(**options).get_params(deep=False), who="fit").model
    if progressive and asked.rounds == 1:
        raise ConfigError(f"fit: {' and '.join(progressive)} must go with rounds; got rounds=1. Add --rounds 2.")
    split = SplitOptions() if split_column is None else SplitOptions(column=split_column)
    opened = open_data(data, target, schema=schema, split=split, variant=variant, on_bad_file=bad_file(on_bad_file))
    dataset = without_test_rows(opened.dataset)
    check_encoders(dataset, options.get("encoders", {}), who="fit")
    for modality in asked.into or ():
        resolve(modality, dataset.modalities, where="fit", what="modality")
    kind = FusionRegressor if dataset.task == "regression" else FusionClassifier
    model = kind(**options, schema=opened.schema)
    print_notes([*dataset.notes, *copy_notes(dataset)])
    say(f"{dataset.name}: {len(dataset)} rows, {dataset.task}, modalities {', '.join(dataset.modalities)}", err=True)
    with warnings.catch_warnings(), _told(console(stderr=True)) as on_epoch:
        warnings.filterwarnings("ignore", ".*give the target away", ProfuseWarning)  # told above
        model.fit(dataset, on_epoch=on_epoch)
    print_notes(model.predictor_.pipeline.notes)
    model.save(out)
    history = model.predictor_.history
    assert history is not None
    unit, score = model.predictor_.model.head.unit, history.best.valid_score
    told = "is not defined: the target does not vary there," if math.isnan(score) else f"{score:.3f}"
    say(f"Validation {unit} {told} in epoch {history.best_epoch}, {history.fit_seconds:.1f} s")
    say(f"Model: {out}")


@contextmanager
def _told(console: Console) -> Iterator[Callable[[Epoch], None] | None]:
    """Gives what tells each epoch on a terminal, in one line that is redrawn; None elsewhere."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with console.status("preparing") as status:
        yield lambda e: status.update(
            f"epoch {e.epoch}: training loss {e.train_loss:.4f}, validation loss {e.valid_loss:.4f}, "
            f"validation score {e.valid_score:.3f}"
        )
