"""`profuse impute`: a missing modality of a table, filled in with samples and their spread."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import DATA, MODEL, SafeCsv, SchemaFile
from profuse.cli._epochs import epoch_line
from profuse.cli._options import From, Given, options
from profuse.cli._output import check_output, write_text
from profuse.cli._print import console, print_notes, print_table, safe_csv, say
from profuse.imputation.options import ImputeOptions, ImputeTraining

if TYPE_CHECKING:
    from profuse.imputation import Quality

__all__ = ["impute"]


@options(
    reading=From(ImputeOptions, DATA, only=("target", "ignore", "on_bad_file", "held_out")),
    how=From(ImputeOptions, MODEL, only=("method", "n_samples", "n_tables", "width", "random_state")),
    training=From(ImputeTraining, MODEL, only=("epochs", "device", "precision", "threads")),
)
def impute(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table: .csv, .tsv, .parquet, .jsonl.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="CSV to write.")],
    reading: Given,
    how: Given,
    training: Given,
    modality: Annotated[
        str | None,
        typer.Option("--modality", "-m", metavar="NAME", help="What is filled: see 'profuse schema'. Needed to learn."),
    ] = None,
    out_model: Annotated[
        Path | None, typer.Option("--out-model", metavar="FOLDER", help="Where to save what was learned.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="A saved imputer that fills; nothing is learned from FILE."),
    ] = None,
    samples_out: Annotated[
        Path | None, typer.Option("--samples-out", metavar="FILE", help="CSV for all draws, a line each.")
    ] = None,
    schema: SchemaFile = None,
    safe: SafeCsv = False,
) -> None:
    """Fill in what rows of a table lack of a modality, all its cells or some, learned from the rows that have them.

    Numbers get their mean, and COLUMN_spread the standard deviation around it; categories the most likely word, and
    how likely the others are; NAME_filled tells which rows these are. All other cells stay as they are.
    Text, sound, pictures, series and times are copied from the nearest row. By default (auto) the method is the
    best one on rows held back. How good it is is measured on cells that are hidden on purpose, beside ridge
    regression, the nearest rows and the mean.

    With --tables, completed tables FILE_1.csv, FILE_2.csv, ... with one draw in each gap: for analyses that must count
    what is missing.

    --out-model saves what was learned; --model fills another table with it.

    A --target is not told, so that what is filled knows nothing of the answer.

    [bold]Example[/bold]: profuse impute mine.csv --modality scan --target outcome --out filled.csv
    """
    import warnings

    from profuse._folder import check_place, held_folder
    from profuse.data.table.read import read_table, read_training_table
    from profuse.data.table.schema_file import as_schema
    from profuse.errors import ProfuseWarning
    from profuse.imputation import Imputer
    from profuse.imputation.saving import IMPUTER
    from profuse.imputation.written import as_written, csv_of, csv_of_each, plain_csv

    if model is not None:
        _check_alone({**reading, **how, **training}, modality=modality, schema=schema, out_model=out_model)
        imputer = Imputer.load(model, base_dir=file.parent)
        tables = imputer.n_tables
    elif modality is None:
        raise typer.BadParameter("must name what is filled; got none, and no --model", param_hint="--modality")
    else:
        imputer = Imputer(modality, **reading, **how, **training, schema=schema, base_dir=file.parent)
        tables = imputer.settings()[0].n_tables  # before data are read
    completed = [out.with_name(f"{out.stem}_{i}{out.suffix}") for i in range(1, tables + 1)]
    places = [("--samples-out", samples_out), ("--out", out), *(("--out", path) for path in completed)]
    for option, path in places:
        if path is not None:
            if path.suffix.lower() != ".csv":
                raise typer.BadParameter(f"must end in .csv; got {path.name!r}", param_hint=option)
            check_output(path, reads=(file, schema))
    if samples_out is not None and samples_out.resolve() in [path.resolve() for path in (out, *completed)]:
        raise typer.BadParameter("must not be that of --out; name another file", param_hint="--samples-out")
    with ExitStack() as stack:
        if out_model is not None:
            stack.enter_context(held_folder(out_model))
            check_place(out_model, IMPUTER)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", ProfuseWarning)  # the same notes are written below
        if model is not None:
            words = (*imputer.schema_.words, *([imputer.schema_.id] if imputer.schema_.id else []))
            frame = read_table(file, words=words)
            filled = imputer.fill(frame)
        else:
            frame = read_training_table(file, as_schema(schema))
            callbacks = stack.enter_context(epoch_line(console(stderr=True)))
            filled = imputer.fit_fill(frame, callbacks=callbacks)
    notes = imputer.notes_ if model is None else ()
    print_notes((*frame.attrs.get("notes", ()), *notes, *filled.notes, *_remarks(imputer.quality_)))
    written = as_written(file, frame, imputer.schema_.numbers)
    texts = dict(zip(completed, csv_of_each(frame, filled, written), strict=True)) | {
        out: csv_of(frame, filled, written)
    }
    if samples_out is not None:
        write_text(samples_out, safe_csv(plain_csv(filled.samples), safe=safe))
    for path, text in texts.items():
        write_text(path, safe_csv(text, safe=safe, separator=written.separator if written else ","))
    if out_model is not None:
        imputer.save(out_model)
        say(f"Model: {out_model}")
    _show(imputer.quality_)
    say(f"{imputer.quality_[0].n_rows} rows were hidden to measure, {imputer.n_learned_} learned from.")
    say(f"Filled: {out} ({len(filled.rows)} of {len(frame)} rows)")
    if completed:
        say(f"Completed tables: {completed[0]} to {completed[-1].name}")
    if samples_out is not None:
        say(f"Samples: {samples_out} ({len(filled.samples)} lines)")


def _check_alone(asked: Given, **others: Any) -> None:
    """Checks that nothing is asked that a saved imputer knows by itself.

    Raises:
        BadParameter: Something is.
    """
    named = [name for name, value in {**asked, **others}.items() if value is not None]
    if named:
        message = ", ".join(named)
        raise typer.BadParameter(
            f"must go without what a saved imputer knows; got also {message}", param_hint="--model"
        )


def _show(quality: tuple[Quality, ...]) -> None:
    """Prints a line a method; what does not apply to the modality is left out."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}"

    rows = [
        [
            q.method,
            number(q.error),
            "" if q.low is None else f"{q.low:.3f} to {q.high:.3f}",
            number(q.crps),
            "" if q.coverage is None else f"{100 * q.coverage:.0f} %",
            "" if q.wrong is None else f"{100 * q.wrong:.0f} %",
        ]
        for q in quality
    ]
    columns = ["method", "error (sd)", "95 % interval", "CRPS (sd)", "in 90 % interval", "wrong words"]
    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    print_table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], right=columns[1:])


def _remarks(quality: tuple[Quality, ...]) -> list[str]:
    first, *others = quality
    results = []
    if first.coverage is not None and first.coverage < 0.8:
        results.append(
            f"the spread of {first.method} is too small: {100 * first.coverage:.0f} % of the hidden numbers, not 90 %, "
            "are inside the middle 90 % of their draws."
        )
    better = [
        q.method
        for q in others
        if q.method != "mean" and (_worse(first.error, q.error) or _worse(first.wrong, q.wrong))
    ]
    if better:
        results.append(f"on the hidden rows {' and '.join(better)} did no worse than {first.method}. Compare methods.")
    return results


def _worse(ours: float | None, theirs: float | None) -> bool:
    return ours is not None and theirs is not None and ours >= theirs and ours > 0
