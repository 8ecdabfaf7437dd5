"""`profuse compare`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from profuse.cli._arguments import (
    DATA,
    MODEL,
    FromTable,
    Query,
    SafeCsv,
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
from profuse.cli._options import From, Given, options
from profuse.cli._output import write_text
from profuse.cli._print import console, print_notes, print_table, safe_csv, say
from profuse.cluster.options import EngineOptions
from profuse.comparison.options import CompareOptions
from profuse.data.table.options import ReadOptions
from profuse.errors import ConfigError
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.training.options import TrainOptions

if TYPE_CHECKING:
    from profuse.comparison.results import Results

__all__ = ["compare", "show"]

HOW = "Comparison"
SPLIT = "Split"


@options(
    reading=From(ReadOptions, DATA, only=("on_bad_file",)),
    split=From(SplitOptions, SPLIT),
    what=From(CompareOptions, HOW, without=("split", "model", "train")),
    model=From(ModelOptions, MODEL, without=("fusion", "level", "rounds")),  # the comparison sets these
    train=From(TrainOptions, MODEL, without=("seed",)),
    engine=From(EngineOptions, HOW),
)
def compare(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl), shards, a database's URL, or a named data set."
        ),
    ],
    reading: Given,
    split: Given,
    what: Given,
    model: Given,
    train: Given,
    engine: Given,
    target: Targets = None,
    task: TargetTask = None,
    weight: Weight = None,
    subgroup: Subgroup = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="FILE", help="Test rows, in a file of their own.", rich_help_panel=DATA),
    ] = None,
    schema: SchemaFile = None,
    variant: Variant = None,
    query: Query = None,
    table: FromTable = None,
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
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Do one of N shares of the fits alone, for a cluster; 'profuse merge' makes the comparison of all.",
            rich_help_panel=HOW,
        ),
    ] = None,
    safe: SafeCsv = False,
) -> None:
    """Compare ways of fusing on your data, beside each modality alone and classical models; write a report.

    All methods get the same splits and budget, and early stopping on validation rows only. Interrupted and started
    again with the same --out, it goes on where it stopped.

    [bold]Examples[/bold]

    profuse compare glyphs

    profuse compare mine.csv --target price --split time --split-column date

    profuse compare rare.csv --target ill --metric roc_auc

    profuse compare mine.csv --target price --member svm=my_models:make_svm

    profuse compare mine.parquet --target a --target b --fusions all --rounds 2,3 --seeds 5
    """  # fmt: skip
    from profuse.cli._process import exit_code
    from profuse.cli._progress import display
    from profuse.comparison.compare import compare as run
    from profuse.comparison.compare import read_options

    asked = read_options(config, {**what, "split": split, "model": model, "train": train})
    find_members(asked.members)
    check_shape(model, asked.rounds, who="compare")
    source = data_of(data, query, table)
    name = (Path(source).name.partition(".")[0] if isinstance(source, str) else source.name) or "data"
    out = out or Path("profuse-out") / name
    if shard is not None:
        from profuse.comparison.shards import compare_shard

        if engine.get("engine", "local") != "local":
            raise ConfigError(
                f"compare: engine must be local with shard, as one of the two divides the fits; got "
                f"engine={engine['engine']!r}. Leave one out."
            )
        with display(name, console(stderr=True)) as progress:
            place = compare_shard(
                source, target, shard=shard, out=out, options=asked, task=task, weight=weight, subgroup=subgroup,
                schema=schema, test=test, variant=variant, on_bad_file=reading.get("on_bad_file", "raise"), n_jobs=jobs,
                on_event=progress,
            )  # fmt: skip
        say(f"Shard {shard}: {place}. When all are done: profuse merge {out}")
        return
    with display(name, console(stderr=True)) as progress:
        try:
            result = run(
                source,
                target,
                task=task,
                weight=weight,
                subgroup=subgroup,
                schema=schema,
                test=test,
                on_bad_file=reading.get("on_bad_file", "raise"),
                variant=variant,
                options=asked,
                out=out,
                n_jobs=jobs,
                engine=engine,
                on_event=progress,
            )
        except KeyboardInterrupt as error:
            message = f"Interrupted: {progress.n_done} of {progress.n_total} fits are kept in {out / 'work'}. "
            say(f"{message}The same command with --out {out} goes on from there.", err=True)
            raise typer.Exit(exit_code(error)) from None
    path = result.report(out)
    if safe:  # results are read again from JSON: the tables are for people
        for written in (out / "results.csv", out / "predictions.csv"):
            write_text(written, safe_csv(written.read_text(encoding="utf-8"), safe=True))
    show(result.results)
    say(f"\nReport: {path}")


def show(results: Results) -> None:
    """Prints the ranked table and the answers."""
    from profuse.comparison.alike import letters
    from profuse.comparison.metric import metric_of
    from profuse.comparison.summary import summarise
    from profuse.report import numbers
    from profuse.report.advice import advice
    from profuse.report.words import Words

    summary = summarise(results)
    alike = letters(results, summary)
    metric = metric_of(results)
    words = Words(results, summary)
    rows = []
    for rank, row in enumerate(summary.rows, start=1):
        e = row.estimate
        name, kinds = row.method.name, ("single", "portfolio")
        pairs = (c for c in summary.comparisons if c.method == name and c.kind in kinds)
        against = next((c for c in pairs if c.against == summary.verdict.single), None)
        rows.append([
            str(rank),
            words.labels[row.method.name],
            numbers.score(e.value, metric.name),
            numbers.interval(e.low, e.high, metric.name),
            alike.get(name, ""),
            "" if against is None else numbers.difference(against.estimate.value, metric.name, unit=False),
            "" if against is None else against.shown,
            numbers.duration(row.fit_seconds),
            numbers.count(row.n_parameters) if row.n_parameters else "",
        ])  # fmt: skip
    columns = ["", "method", metric.label, "95 % interval", "alike", "vs single", "shown", "fit", "parameters"]
    right = ["", metric.label, "95 % interval", "vs single", "fit", "parameters"]
    printed = print_table(columns, rows, right=right, spare=["parameters", "fit", "", "alike"])
    if alike and "alike" in printed:
        say("alike: methods that share a letter are not shown to differ (paired, corrected for all pairs)")
    for skipped in results.skipped:
        say(f"not compared: {skipped.method}: {skipped.reason}")
    caution = words.caution()
    print_notes([*results.dataset.notes, *summary.notes, *([caution] if caution else [])], err=False)
    say(f"\n{words.headline()}\n{words.lede()}\n{advice(results, words.summary, words.labels)}")
    for answer in words.answers():
        if answer["question"] in (
            "How sure?",
            "At what price?",
            "Would more rows help?",
            "What would 'profuse fit' make of it?",
        ):  # the report holds them all
            say(f"{answer['question']} {answer['answer']}")
