"""`profuse compare`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import (
    DATA,
    Balance,
    Device,
    Dropout,
    Encoders,
    Epochs,
    LearningRate,
    OnBadFile,
    SafeCsv,
    SchemaFile,
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
from profuse.cli._output import write_text
from profuse.cli._print import console, print_notes, print_table, safe_csv, say

if TYPE_CHECKING:
    from profuse.comparison.results import Results

__all__ = ["compare"]

HOW = "Comparison"
SPLIT = "Split"


def compare(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl) or a named data set (see 'profuse datasets')."
        ),
    ],
    target: Targets = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="FILE", help="Test rows, in a file of their own.", rich_help_panel=DATA),
    ] = None,
    schema: SchemaFile = None,
    on_bad_file: OnBadFile = "raise",
    variant: Variant = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="auto|random|stratified|group|time",
            help="How rows are divided (auto).",
            rich_help_panel=SPLIT,
        ),
    ] = None,
    split_column: Annotated[
        str | None,
        typer.Option("--split-column", metavar="COLUMN", help="The group or time column.", rich_help_panel=SPLIT),
    ] = None,
    test_size: Annotated[
        float | None,
        typer.Option(
            "--test-size",
            metavar="FRACTION",
            help="Of the rows (of the groups), for test (0.2).",
            rich_help_panel=SPLIT,
        ),
    ] = None,
    fusions: Annotated[
        str | None,
        typer.Option(
            "--fusions",
            metavar="NAME,..|all",
            help="Fusions beside those that are always compared: name or level:name; see 'profuse fusions'.",
            rich_help_panel=HOW,
        ),
    ] = None,
    rounds: Annotated[
        str | None,
        typer.Option(
            "--rounds",
            metavar="N|equilibrium,..|none",
            help="Rounds of the progressive twins (2).",
            rich_help_panel=HOW,
        ),
    ] = None,
    singles: Annotated[
        str | None,
        typer.Option(
            "--singles",
            metavar="NAME,..|all|none",
            help="Modalities that are compared by themselves (all).",
            rich_help_panel=HOW,
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Repetitions (3).", rich_help_panel=HOW)] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Configurations that each method tries (1).", rich_help_panel=HOW),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML of options, config.yaml of an earlier comparison say; the command line wins.",
            rich_help_panel=HOW,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Where results go (./profuse-out/NAME).", rich_help_panel=HOW),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Fits at a time (as many as cores may be used).", rich_help_panel=HOW),
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
    safe: SafeCsv = False,
) -> None:
    """Compare ways of fusing on your data, beside each modality alone and classical models; write a report.

    All methods get the same splits and budget, and early stopping on validation rows only. Interrupted and started
    again with the same --out, it goes on where it stopped.

    [bold]Examples[/bold]

    profuse compare glyphs

    profuse compare mine.csv --target price --split time --split-column date

    profuse compare mine.parquet --target a --target b --fusions all --rounds 2,3 --seeds 5
    """  # fmt: skip
    from profuse.cli._process import exit_code
    from profuse.cli._progress import display
    from profuse.comparison.compare import compare as run
    from profuse.comparison.compare import read_options

    options = read_options(
        config,
        **given(fusions=listed(fusions), rounds=_rounds(rounds), singles=listed(singles), seeds=seeds, trials=trials),
        split=given(method=split, column=split_column, test_size=test_size),
        model=given(
            width=width, unimodal_loss_weight=unimodal_loss_weight, encoders=pairs(encoder, option="--encoder")
        ),
        train=given(
            epochs=epochs,
            learning_rate=learning_rate,
            modality_dropout=modality_dropout,
            balance=balance,
            device=device,
            threads=threads,
        ),
    )
    name = Path(data).name.partition(".")[0] or "data"
    out = out or Path("profuse-out") / name
    with display(name, console(stderr=True)) as progress:
        try:
            found = run(
                data,
                target,
                schema=schema,
                test=test,
                on_bad_file=bad_file(on_bad_file),
                variant=variant,
                options=options,
                out=out,
                n_jobs=jobs,
                on_event=progress,
            )
        except KeyboardInterrupt as error:
            told = f"Interrupted: {progress.n_done} of {progress.n_total} fits are kept in {out / 'work'}. "
            say(f"{told}The same command with --out {out} goes on from there.", err=True)
            raise typer.Exit(exit_code(error)) from None
    path = found.report(out)
    if safe:  # results are read again from JSON: the table is for people
        table = out / "results.csv"
        write_text(table, safe_csv(table.read_text(encoding="utf-8"), safe=True))
    _show(found.results)
    say(f"\nReport: {path}")


def _rounds(text: str | None) -> tuple[Any, ...] | None:
    from profuse.errors import ConfigError

    asked = listed(text)
    if asked is not None and "none" in asked and len(asked) > 1:
        raise ConfigError(f"compare: --rounds must be none alone, or rounds; got {text!r}. Leave none out.")
    return () if asked == ("none",) else asked


def _show(results: Results) -> None:
    """Prints the ranked table and the answers."""
    from profuse.comparison.summary import summarise
    from profuse.metrics import primary_metric
    from profuse.report import numbers
    from profuse.report.words import Words

    summary = summarise(results)
    metric = primary_metric(results.dataset.task)
    words = Words(results, summary)
    rows = []
    for rank, row in enumerate(summary.rows, start=1):
        e = row.estimate
        against = summary.comparison(row.method.name, "single")
        rows.append([
            str(rank),
            row.method.label or row.method.name,
            numbers.score(e.value, metric.name),
            numbers.interval(e.low, e.high, metric.name),
            "" if against is None else numbers.difference(against.estimate.value, metric.name, unit=False),
            "" if against is None else against.shown,
            numbers.duration(row.fit_seconds),
            numbers.count(row.n_parameters) if row.n_parameters else "",
        ])  # fmt: skip
    columns = ["", "method", metric.label, "95 % interval", "vs single", "shown", "fit", "parameters"]
    print_table(columns, rows, right=["", metric.label, "95 % interval", "vs single", "fit", "parameters"])
    for skipped in results.skipped:
        say(f"not compared: {skipped.method}: {skipped.reason}")
    caution = [results.dataset.caution] if results.dataset.caution else []
    print_notes([*results.dataset.notes, *summary.notes, *caution], err=False)
    say(f"\n{words.headline()}\n{words.lede()}")
    for answer in words.answers():
        if answer["question"] in ("How sure?", "At what price?"):  # the report holds them all
            say(f"{answer['question']} {answer['answer']}")
