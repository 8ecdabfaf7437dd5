"""`profuse fit`: a portfolio of models, or one network, saved."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import (
    DATA,
    MODEL,
    FromTable,
    Query,
    SchemaFile,
    Subgroup,
    Targets,
    TargetTask,
    Variant,
    Weight,
    check_shape,
    data_of,
    find_members,
)
from profuse.cli._epochs import epoch_line, kept_beside, told_where_kept
from profuse.cli._options import From, Given, options
from profuse.cli._print import console, print_notes, say, say_rows
from profuse.cli._streamed import check_stream
from profuse.estimators.options import FitOptions
from profuse.models.options import ModelOptions
from profuse.portfolio.options import PortfolioOptions
from profuse.schema import SplitOptions
from profuse.streaming.options import StreamOptions
from profuse.training.options import ProcessOptions, TrainOptions

if TYPE_CHECKING:
    from profuse.cli._chosen import Chosen
    from profuse.data.table.database import DatabaseTable
    from profuse.estimators.fusion import FusionClassifier, FusionRegressor
    from profuse.predictor import NetworkPredictor

__all__ = ["fit"]

PORTFOLIO, STREAM = "Portfolio", "More rows than memory holds"


@options(
    rows=From(SplitOptions, DATA, only=("column",)),
    reading=From(FitOptions, DATA, only=("on_bad_file", "validation_fraction")),
    model=From(ModelOptions, MODEL, without=("level",)),  # stands before the name of the fusion
    training=From(TrainOptions, MODEL),
    several=From(PortfolioOptions, PORTFOLIO),
    processes=From(ProcessOptions, MODEL),
    streaming=From(StreamOptions, STREAM),
)
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl), shards, a database's URL, or a named data set."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder for the model.", show_default=False)
    ],
    rows: Given,
    reading: Given,
    model: Given,
    training: Given,
    several: Given,
    processes: Given,
    streaming: Given,
    target: Targets = None,
    task: TargetTask = None,
    weight: Weight = None,
    subgroup: Subgroup = None,
    schema: SchemaFile = None,
    variant: Variant = None,
    query: Query = None,
    table: FromTable = None,
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
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML of options of one network, best.yaml of 'profuse tune' say; the command line wins.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    network: Annotated[
        bool,
        typer.Option(
            "--network", help="Train one network alone, as --fusion, --config and --from do.", rich_help_panel=MODEL
        ),
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream", help="Read the file in pieces and train one network from disk.", rich_help_panel=STREAM
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Fits at a time (one a core).", rich_help_panel=PORTFOLIO),
    ] = None,
) -> None:
    """Fit a portfolio of networks and classical models to all rows of a table, and save it.

    Each model predicts rows that it has not learned from; those choose how much each counts, also for rows that lack a
    modality. With --network, --fusion, --config or --from one network alone is trained; a fraction of the rows chooses
    its epoch, and its threshold where --threshold names a metric. So too with --stream, for files that memory does not
    hold.
    Official test rows of a named data set are left out.

    [bold]Examples[/bold]

    profuse fit mine.csv --target price --out model

    profuse fit mine.csv --target ill --metric roc_auc --time-limit 10m --out model

    profuse fit mine.csv --target ill --threshold f1 --out model

    profuse fit mine.csv --target price --distil --out model

    profuse fit mine.csv --target price --member my_models:make_svm --out model

    profuse fit mine.csv --target price --fusion gated --out model

    profuse fit mine.csv --target ill --network --threshold f1 --out model

    profuse fit mine.csv --target ill --network --encoder note=hf-whole:FOLDER --devices 4 --out model

    profuse fit large.parquet --target ill --stream --out model

    profuse fit large.parquet --target ill --stream --devices 4 --out model

    profuse fit mine.csv --from profuse-out/mine --out model

    profuse fit mine.csv --target ill --config tuned/best.yaml --out model
    """
    from profuse._options import checked
    from profuse.cli._launch import check_one_process, launched, quieten, together
    from profuse.errors import ConfigError

    quieten()
    if method is not None and comparison is None:
        raise ConfigError(f"fit: method must go with a comparison; got method={method!r}. Add --from RUN.")
    from profuse.cli._chosen import read_chosen
    from profuse.cli._config import read_config

    if config is not None and comparison is not None:
        raise ConfigError(f"fit: config must not go with from; got config={str(config)!r}. Leave one of them out.")
    of_file = {} if config is None else read_config(config)
    if "fusion" in model:  # it brings its own level
        of_file.pop("level", None)
    source = data_of(data, query, table)
    check_stream(stream, streaming, source, comparison=comparison, variant=variant)

    compared = None if comparison is None else read_chosen(comparison, method)
    if compared is not None and schema is None:  # a schema of the user's own has its own target
        compared.check_target(target, source)
    if compared is not None and compared.method.portfolio is not None and not network and "fusion" not in model:
        model, training, several = compared.portfolio_options(model, training, several)
        schema, comparison = compared.schema() if schema is None else schema, None  # type: ignore[assignment]
    fuses_alone = "fusion" in model and not several.get("distil")
    alone = [
        flag
        for flag, on in (
            ("--network", network),
            ("--fusion", fuses_alone),
            ("--config", config),
            ("--from", comparison),
            ("--stream", stream),
        )
        if on
    ]
    asked_processes = checked(ProcessOptions, processes, where="fit")
    if not alone:
        check_one_process(
            asked_processes, who="a portfolio", instead="Add --network; fits of a portfolio run side by side (--jobs)."
        )
        named = {"task": task, "weight": weight, "subgroup": subgroup}
        _portfolio(source, out, target, named, schema, variant, rows, reading, model, training, several, jobs, compared)
        return
    import numpy as np

    from profuse.cli._output import hold_model
    from profuse.cli._streamed import train_streamed
    from profuse.data.leaks import copy_notes
    from profuse.data.target import TargetCodec
    from profuse.datasets import DATASETS
    from profuse.errors import ProfuseWarning
    from profuse.estimators.fusion import FusionClassifier, FusionRegressor
    from profuse.estimators.settings import settings_of
    from profuse.inputs import open_data, with_encoders, without_test_rows
    from profuse.metrics import metric_named
    from profuse.portfolio.decision import AskedDecision
    from profuse.portfolio.one_network import decide
    from profuse.training.groups import check_subgroups, told_of_groups
    from profuse.training.weights import weight_notes

    _not_with(alone[0], {name: value for name, value in several.items() if name not in ("threshold", "cost", "metric")})
    answers = checked(PortfolioOptions, several, where="fit")
    asked: dict[str, Any] = {**of_file, **reading, **_level_apart(model), **training}
    asked |= {"random_state": asked.pop("seed")} if "seed" in asked else {}
    asked = asked if compared is None else compared.parameters(asked)
    asked |= {"metric": answers.metric} if answers.metric is not None else {}
    # before data are read
    settings = settings_of(FusionClassifier(**asked).get_params(deep=False), who="fit")
    check_shape(model, settings.model.rounds, who="fit")

    def fits_target(codec: TargetCodec) -> None:
        """What cannot decide, or measure, is told before anything is fitted."""
        metric_named(answers.metric, codec.task, who="fit")
        AskedDecision.of(answers, codec)

    if launched(asked_processes, settings.train.device):
        return
    kept = kept_beside(out)
    if stream:
        with together(asked_processes, settings.train.device) as first, told_where_kept(kept):
            if first:
                hold_model(out)
            read = train_streamed(
                source, target, out, schema=schema, task=task, named={"weight": weight, "subgroup": subgroup},
                rows=rows, streaming=streaming, settings=settings, asked=asked, check=fits_target,
                kept=kept if first else None,
            )  # fmt: skip
        if first:
            _save(decide(read, answers, seed=read.train_options.seed), answers, out)
            kept.end()
        return
    with together(asked_processes, settings.train.device) as first:
        if first:
            hold_model(out)
        read_as = compared.schema() if compared and schema is None and source not in DATASETS else schema
        opened = open_data(
            source, target, who="fit", schema=read_as, task=task, weight=weight, subgroup=subgroup,
            split=SplitOptions(**rows), variant=variant, on_bad_file=asked.get("on_bad_file", "raise"),
        )  # fmt: skip
        dataset = without_test_rows(opened.dataset if compared is None else compared.rows_of(opened.dataset))
        dataset = with_encoders(dataset, settings.model.encoders, into=settings.model.into or (), who="fit")
        check_subgroups(settings.train, dataset.subgroups, who="fit")
        fits_target(TargetCodec.fit(np.asarray(dataset.target), dataset.task, names=dataset.target_names))
        kind = FusionRegressor if dataset.task == "regression" else FusionClassifier
        fitted = kind(**asked, schema=opened.schema)
        print_notes([
            *dataset.notes, *copy_notes(dataset), *weight_notes(dataset.weights),
            *told_of_groups(settings.train, dataset.subgroups), *(compared.notes() if compared else ()),
        ])  # fmt: skip
        say_rows(dataset)
        with (
            warnings.catch_warnings(),
            told_where_kept(kept),
            epoch_line(console(stderr=True), tells=True) as callbacks,
        ):
            warnings.filterwarnings("ignore", ".*give the target away", ProfuseWarning)  # told above
            fitted.fit(dataset, callbacks=callbacks, checkpoint=kept if first else None)
    if not first:
        return
    fitted.predictor_ = decide(fitted.predictor_, answers, seed=fitted.predictor_.train_options.seed)
    _save(fitted.predictor_, answers, out, fitted)
    kept.end()


def _save(
    predictor: NetworkPredictor,
    answers: PortfolioOptions,
    out: Path,
    estimator: FusionClassifier | FusionRegressor | None = None,
) -> None:
    """Saves one network, with the estimator that holds it if there is one, and tells of it."""
    from profuse.cli._portfolio import decided
    from profuse.metrics import metric_named

    chosen = [f"Encoder of {name!r}, chosen on validation rows: {words}." for name, words in predictor.choices.items()]
    print_notes([*predictor.pipeline.notes, *chosen])
    (estimator or predictor).save(out)
    history = predictor.history
    assert history is not None
    unit, score = predictor.model.head.unit, history.best.valid_score
    message = "is not defined: the target does not vary there," if math.isnan(score) else f"{score:.3f}"
    when = f"in epoch {history.best_epoch}" if history.best_epoch else "of the linear paths, as no epoch was better"
    label = None if answers.metric is None else metric_named(answers.metric, predictor.task, who="fit").label
    chooser = history.chosen_by and metric_named(history.chosen_by, predictor.task, who="fit").label
    by = f", chosen by {chooser}" if chooser else ""
    say(f"Validation {unit} {message} {when}{by}, {history.fit_seconds:.1f} s")
    if label is not None and not history.chosen_by:
        print_notes([f"{label} does not choose the epoch of a network; the error of validation rows does."])
    for line in decided(predictor):
        say(line)
    say(f"Model: {out}")


def _level_apart(model: Given) -> dict[str, Any]:
    """Returns options of a network with the level that stands before the name of the fusion apart."""
    level, _, name = str(model.get("fusion", "")).rpartition(":")
    return {**model, **({"fusion": name} if name else {}), **({"level": level} if level else {})}


def _not_with(what: str, given: Given) -> None:
    """Checks that options of a portfolio are not given where one network is trained."""
    from profuse.errors import ConfigError

    if given:
        names = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ConfigError(f"fit: options of a portfolio must not go with {what}; got {names}. Leave one of them out.")


def _portfolio(
    data: str | DatabaseTable,
    out: Path,
    target: list[str] | None,
    named: dict[str, Any],
    schema: Path | None,
    variant: str | None,
    rows: Given,
    reading: Given,
    model: Given,
    training: Given,
    several: Given,
    jobs: int | None,
    compared: Chosen | None = None,
) -> None:
    """Fits several models, tells of them, and saves them as one."""
    from profuse._cores import usable_cores
    from profuse._options import checked
    from profuse.classical.own import asked_members
    from profuse.cli._output import hold_model
    from profuse.cli._portfolio import fits_display, show_distilled, show_portfolio
    from profuse.data.leaks import copy_notes
    from profuse.errors import ConfigError
    from profuse.inputs import open_data, with_encoders, without_test_rows
    from profuse.portfolio.distil import distilled
    from profuse.portfolio.fitting import fit_portfolio, metric_of
    from profuse.training.weights import weight_notes

    if "validation_fraction" in reading:
        raise ConfigError(
            "fit: validation_fraction must go with one network; a portfolio cuts folds. Add --network, or use --folds."
        )
    model = _level_apart(model)
    networks, train = checked(ModelOptions, model, where="fit"), checked(TrainOptions, training, where="fit")
    check_shape(model, networks.rounds, who="fit")
    options = checked(PortfolioOptions, several, where="fit")
    find_members(options.members)
    hold_model(out)
    with asked_members(options.members, who="fit"):  # a fault of theirs is told before data are read
        opened = open_data(
            data, target, who="fit", schema=schema, split=SplitOptions(**rows),
            variant=variant, **named, on_bad_file=reading.get("on_bad_file", "raise"),
        )  # fmt: skip
    known = opened.dataset if compared is None else compared.rows_of(opened.dataset)
    dataset = with_encoders(without_test_rows(known), networks.encoders, into=networks.into or (), who="fit")
    metric = metric_of(options, dataset.task)
    print_notes(
        [*dataset.notes, *copy_notes(dataset), *weight_notes(dataset.weights), *(compared.notes() if compared else ())]
    )
    say_rows(dataset)
    with fits_display(metric.name, console(stderr=True)) as display:
        make: Any = distilled if options.distil else fit_portfolio
        fitted = make(
            dataset,
            options,
            networks,
            train,
            schema=opened.schema,
            n_jobs=jobs or max(1, usable_cores() // train.threads),
            on_event=display,
        )
    print_notes(fitted.pipeline.notes)
    fitted.save(out)
    kept_beside(out).end()  # of a network that was to stand there, and was stopped
    (show_distilled if options.distil else show_portfolio)(fitted)
    say(f"Model: {out}")
