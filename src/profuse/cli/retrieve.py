"""`profuse retrieve`: rows of one modality found by another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import DATA, MODEL, Json, LeftOut, SafeCsv, SchemaFile, Variant
from profuse.cli._epochs import epoch_line
from profuse.cli._found import asked_by, lines, show
from profuse.cli._options import From, Given, options
from profuse.cli._output import write_text
from profuse.cli._print import as_csv, console, print_notes, print_table, safe_csv, say
from profuse.data.table.options import ReadOptions
from profuse.retrieval.options import RetrievalOptions, RetrievalTraining
from profuse.schema import SplitOptions

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.retrieval import Index, Retriever

__all__ = ["retrieve"]

ASK = "Question"
ROWS = From(SplitOptions, DATA, only=("column",))
SPACE = From(RetrievalOptions, MODEL)
TRAINING = From(
    RetrievalTraining, MODEL, only=("epochs", "batch_size", "learning_rate", "patience", "refit", "device", "seed")
)


@options(reading=From(ReadOptions, DATA, only=("on_bad_file",)), rows_by=ROWS, space=SPACE, training=TRAINING)
def retrieve(
    reading: Given,
    rows_by: Given,
    space: Given,
    training: Given,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl) or a named data set; not with a saved index."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--from", metavar="MODALITY", help="What is asked by.", rich_help_panel=ASK)
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="MODALITY", help="What is found.", rich_help_panel=ASK)
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="TEXT|FILE", help="A text, or a file of the kind.", rich_help_panel=ASK),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option("--rows", metavar="N,..", help="Rows of DATA, from 0, that ask instead.", rich_help_panel=ASK),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Items to find for each question (10).", rich_help_panel=ASK)
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure recall on rows held out.", rich_help_panel=ASK)
    ] = False,
    target: LeftOut = None,
    schema: SchemaFile = None,
    variant: Variant = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for what was learned and measured.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="Use what --out wrote; nothing is learned.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", metavar="DIR", help="Keep what can be found here; if it is there, search in it."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Add the rows of DATA to the --index that is there.")] = False,
    safe: SafeCsv = False,
    as_json: Json = False,
) -> None:
    """Find rows of one modality by another: pictures by words, words by pictures. No target is needed.

    With --evaluate test rows are held out, and recall is measured on them in every direction, beside chance. Without,
    all rows are learned from and searched; --index keeps them, to be searched and added to later.

    [bold]Examples[/bold]

    profuse retrieve glyphs --evaluate

    profuse retrieve glyphs --from text --to picture --query "SMALL LETTER ALPHA" --out finder

    profuse retrieve mine.csv --from photo --to description --rows 0,7 --k 5

    profuse retrieve mine.csv --to photo --index photos

    profuse retrieve --index photos --from description --query "a red chair"
    """
    from profuse._folder import names_in
    from profuse._lookup import resolve
    from profuse.cli._output import hold_model
    from profuse.inputs import open_data
    from profuse.retrieval import Retriever, load_index

    on_bad_file = reading.get("on_bad_file", "raise")
    asks = query is not None or rows is not None
    if not (evaluate or asks or out is not None or index is not None):
        raise typer.BadParameter(
            "say --evaluate, or ask by --query or --rows, or name --out or --index", param_hint="--query"
        )
    if (evaluate and (asks or index is not None)) or (query is not None and rows is not None):
        raise typer.BadParameter(
            "--evaluate, --query and --rows must come one at a time, and --evaluate without --index",
            param_hint="--query",
        )
    named = {"--evaluate": evaluate or None, "--out": out, "--target": target, "--schema": schema}
    learning = [flag for flag, value in named.items() if value is not None]
    learning += [*ROWS.flags(rows_by), *SPACE.flags(space), *TRAINING.flags(training)]
    if index is not None and names_in(index):
        if idle := [*learning, *(["--model"] if model is not None else [])]:
            raise typer.BadParameter(
                f"{index} is used as it is, with the retriever in it; got {', '.join(idle)}", param_hint="--index"
            )
        kept = load_index(index)
        kept.retriever.on_bad_file = on_bad_file
        _use(kept, index, data, by, to, query, rows, k, variant, add, as_json)
        return
    if add:
        raise typer.BadParameter("it must go with an --index that is there", param_hint="--add")
    if data is None:
        raise typer.BadParameter("must be given where there is no saved index", param_hint="DATA")
    _check_ways(by, to, k, asks=asks, indexes=index is not None)
    for place in (out, index):
        if place is not None:
            hold_model(place)
    if model is not None and learning:
        raise typer.BadParameter(
            "--model is used as it is: only --query, --rows or --index go with it; got " + ", ".join(learning),
            param_hint="--model",
        )
    if model is None:
        asked = {**space, **training}
        asked |= {"random_state": asked.pop("seed")} if "seed" in asked else {}
        retriever = Retriever(**asked, on_bad_file=on_bad_file)
        retriever.settings()  # before data are read
        opened = open_data(
            data, target or None, who="retrieve", schema=schema, split=SplitOptions(**rows_by), variant=variant,
            with_target=False, on_bad_file=on_bad_file,
        )  # fmt: skip
        dataset, retriever.schema = opened.dataset, opened.schema
        for name in dict.fromkeys(name for name in (by, to) if name is not None):
            resolve(name, dataset.modalities, where="retrieve", what="modality")
        print_notes(dataset.notes)
        both = (by, to) if by is not None and to is not None and by != to else None
        if evaluate:
            _evaluate(retriever, dataset, opened.split, both, out, as_json, safe)
            return
        _fit(retriever, dataset, both)
        print_notes(retriever.notes_)
        if out is not None:
            retriever.save(out)
            say(f"Retriever: {out}", err=True)
    else:
        retriever = Retriever.load(model)
        retriever.on_bad_file = on_bad_file
        dataset = _read(retriever, data, variant, [name for name in dict.fromkeys((by, to)) if name is not None])
    if to is None or not (asks or index is not None):
        return
    made = retriever.index(dataset, to)
    if made.n_left_out:
        print_notes([f"{made.n_left_out} of {len(dataset)} rows have no {to!r} and cannot be found."])
    if index is not None:
        made.save(index)
        say(f"Index: {index} ({len(made)} items)", err=True)
    if asks and by is not None:
        asked, who = asked_by(retriever, dataset, by, query, rows)
        show(made, asked, by, who, dataset, k or 10, as_json)


def _use(
    index: Index, folder: Path, data: str | None, by: str | None, to: str | None, query: str | None, rows: str | None,
    k: int | None, variant: str | None, add: bool, as_json: bool,
) -> None:  # fmt: skip
    """Asks an index that was saved, or adds to it."""
    if to is not None and to != index.modality:
        raise typer.BadParameter(f"the index {folder} finds {index.modality!r}; got {to!r}", param_hint="--to")
    if (query is None and rows is None) != (by is None):
        raise typer.BadParameter("it must go with --query or --rows, and they with it", param_hint="--from")
    if data is None and (add or rows is not None):
        raise typer.BadParameter("must be given with --add and with --rows", param_hint="DATA")
    if data is not None and not add and rows is None:
        raise typer.BadParameter(f"must go with --add or --rows: {folder} holds what is found", param_hint="DATA")
    if add and rows is not None:
        raise typer.BadParameter("--add and --rows must come one at a time", param_hint="--add")
    from profuse.cli._output import hold_model

    dataset = None
    if data is not None:
        wanted = [index.modality] if add else [by] if by is not None else []
        dataset = _read(index.retriever, data, variant, wanted)
    if add and dataset is not None:
        hold_model(folder)
        before = len(index)
        index.add(dataset)
        index.save(folder)
        say(f"Index: {folder} ({len(index)} items, {len(index) - before} of them new)", err=True)
    if by is not None:
        asked, who = asked_by(index.retriever, dataset, by, query, rows)
        show(index, asked, by, who, None, k or 10, as_json)


def _check_ways(by: str | None, to: str | None, k: int | None, *, asks: bool, indexes: bool) -> None:
    """Checks what goes with a question and what without one."""
    if asks and (by is None or to is None):
        raise typer.BadParameter("--from and --to must be named with a question", param_hint="--query")
    if indexes and to is None:
        raise typer.BadParameter("must be named with --index: what is found", param_hint="--to")
    if (by is None) != (to is None) and not indexes:
        raise typer.BadParameter("--from and --to must be named together", param_hint="--from")
    if not asks and by is not None and by == to:
        raise typer.BadParameter(f"--from and --to must differ; both are {by!r}", param_hint="--from")
    if not asks and k is not None:
        raise typer.BadParameter("it must go with --query or --rows", param_hint="--k")


def _read(retriever: Retriever, data: str, variant: str | None, modalities: list[str]) -> Dataset:
    """Returns the rows of DATA for a saved retriever: of these modalities, and of its texts, which are shown."""
    from profuse.data.table.read import read_table
    from profuse.datasets import DATASETS, load
    from profuse.inputs import check_variant
    from profuse.kinds import kind_named

    rows: Any
    have: Any
    if data in DATASETS:
        rows = load(data, variant=variant)
        have = rows.modalities
    else:
        check_variant(data, variant, "retrieve")
        retriever.base_dir = Path(data).parent
        texts = {name for name in retriever.modalities_ if kind_named(retriever.kind(name)).is_words}
        schema = retriever.schema_
        words = (*texts, "id") if schema is None else (*schema.words, *([schema.id] if schema.id else []))
        rows = read_table(Path(data), words=words)
        known = {} if retriever.schema_ is None else retriever.schema_.modalities
        have = [name for name in texts if all(c in rows for c in (known[name].columns if known else (name,)))]
    shown = [name for name in retriever.modalities_ if kind_named(retriever.kind(name)).is_words and name in have]
    return retriever.read(rows, list(dict.fromkeys([*modalities, *shown])))


def _fit(retriever: Retriever, dataset: Dataset, modalities: tuple[str, str] | None) -> None:
    with epoch_line(console(stderr=True)) as callbacks:
        retriever.fit(dataset, modalities=modalities, callbacks=callbacks)


def _evaluate(
    retriever: Retriever,
    dataset: Dataset,
    split_options: SplitOptions,
    modalities: tuple[str, str] | None,
    out: Path | None,
    as_json: bool,
    safe: bool,
) -> None:
    import numpy as np

    from profuse.data.split import make_split

    split = make_split(dataset, split_options, seed=retriever.random_state)
    known = np.sort(np.concatenate([split.train, split.valid]))
    _fit(retriever, dataset.rows(known), modalities)
    print_notes(retriever.notes_)
    result = retriever.evaluate(dataset.rows(split.test))
    if out is not None:
        retriever.save(out)
        write_text(out / "recall.csv", safe_csv(as_csv(result), safe=safe))
    if as_json:
        say(result.to_json(orient="records", indent=2))
        return
    columns = ["from", "to", "method", "recall@1", "95 % interval", "@5", "@10", "median rank"]
    print_table(columns, lines(result), right=columns[3:])
    n = int(result["n_queries"].max())
    say(f"\n{len(known)} rows learned from, {n} held out; higher recall and lower rank are better.")
    if out is not None:
        say(f"Retriever and recall.csv: {out}")
