"""`profuse retrieve`: rows of one modality found by another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import (
    DATA,
    MODEL,
    Device,
    Encoders,
    Json,
    LeftOut,
    OnBadFile,
    SchemaFile,
    Variant,
    Width,
    bad_file,
    given,
    pairs,
)
from profuse.cli._output import write_text
from profuse.cli._print import console, print_notes, print_table, say

if TYPE_CHECKING:
    import pandas as pd

    from profuse.data.dataset import Dataset
    from profuse.retrieval import Retriever
    from profuse.schema import Schema

__all__ = ["retrieve"]

ASK = "Question"


def retrieve(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file (.csv, .tsv, .parquet, .jsonl) or a named data set.")
    ],
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
    on_bad_file: OnBadFile = "raise",
    variant: Variant = None,
    split_column: Annotated[
        str | None,
        typer.Option("--split-column", metavar="COLUMN", help="The group or time column.", rich_help_panel=DATA),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for what was learned and measured.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="Use what --out wrote; nothing is learned.")
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space", metavar="NAME", help="contrastive, ranking, dcca, dcca_ey (contrastive).", rich_help_panel=MODEL
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the training rows, at most (40).", rich_help_panel=MODEL),
    ] = None,
    width: Width = None,
    encoder: Encoders = None,
    device: Device = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Of weights, order of rows and dropout (0).", rich_help_panel=MODEL),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find rows of one modality by another: pictures by words, words by pictures. No target is needed.

    With --evaluate test rows are held out, and recall is measured on them in every direction, beside chance and
    linear CCA. Without, all rows are learned from and searched.

    [bold]Examples[/bold]

    profuse retrieve glyphs --evaluate

    profuse retrieve glyphs --from text --to picture --query "SMALL LETTER ALPHA" --out finder

    profuse retrieve mine.csv --from photo --to description --rows 0,7 --k 5
    """
    from profuse._lookup import resolve
    from profuse.cli._output import hold_model
    from profuse.retrieval import Retriever

    asks = query is not None or rows is not None
    if not evaluate and not asks and out is None:
        raise typer.BadParameter("say --evaluate, or ask by --query or --rows, or name --out", param_hint="--query")
    if (evaluate and asks) or (query is not None and rows is not None):
        raise typer.BadParameter("--evaluate, --query and --rows must come one at a time", param_hint="--query")
    _check_ways(by, to, k, asks=asks)
    if out is not None:
        hold_model(out)
    learning = {
        "--evaluate": evaluate or None, "--out": out, "--target": target, "--schema": schema,
        "--split-column": split_column, "--space": space, "--epochs": epochs, "--width": width, "--encoder": encoder,
        "--device": device, "--seed": seed,
    }  # fmt: skip
    if model is not None and (idle := list(given(**learning))):
        raise typer.BadParameter(
            f"--model is used as it is: only --query or --rows go with it; got {', '.join(idle)}", param_hint="--model"
        )
    if model is None:
        options = given(
            space=space, epochs=epochs, width=width, encoders=pairs(encoder, option="--encoder"), device=device,
            random_state=seed,
        )  # fmt: skip
        retriever = Retriever(**options, on_bad_file=bad_file(on_bad_file))
        retriever.settings()  # before data are read
        dataset, told, retriever.base_dir = _opened(data, target, schema, variant, split_column, on_bad_file)
        retriever.schema = told
        for name in given(by=by, to=to).values():
            resolve(name, dataset.modalities, where="retrieve", what="modality")
        print_notes(dataset.notes)
        both = (by, to) if by is not None and to is not None and by != to else None
        if evaluate:
            _evaluate(retriever, dataset, told, both, out, as_json)
            return
        _fit(retriever, dataset, both)
        if out is not None:
            retriever.save(out)
            say(f"Retriever: {out}", err=True)
    else:
        retriever = Retriever.load(model)
        retriever.on_bad_file = bad_file(on_bad_file)
        dataset = _read(retriever, data, variant)
    if asks:
        assert by is not None
        assert to is not None
        _search(retriever, dataset, by, to, query, rows, k or 10, as_json)


def _check_ways(by: str | None, to: str | None, k: int | None, *, asks: bool) -> None:
    """Checks what goes with a question and what without one."""
    if asks and (by is None or to is None):
        raise typer.BadParameter("--from and --to must be named with a question", param_hint="--query")
    if (by is None) != (to is None):
        raise typer.BadParameter("--from and --to must be named together", param_hint="--from")
    if not asks and by is not None and by == to:
        raise typer.BadParameter(f"--from and --to must differ; both are {by!r}", param_hint="--from")
    if not asks and k is not None:
        raise typer.BadParameter("it must go with --query or --rows", param_hint="--k")


def _opened(
    data: str,
    target: list[str] | None,
    schema: Path | None,
    variant: str | None,
    split_column: str | None,
    on_bad_file: str,
) -> tuple[Dataset, Schema | None, Path | None]:
    """Returns the rows, a table's schema, and where its relative paths start."""
    from profuse.data.read import read_table
    from profuse.datasets import DATASETS, load
    from profuse.errors import ConfigError
    from profuse.inputs import as_schema
    from profuse.retrieval.retriever import paired
    from profuse.schema import Schema, SplitOptions, Target

    if data in DATASETS:
        if target or schema or split_column:
            raise ConfigError(
                f"retrieve: --target, --schema and --split-column must not be given with the data set {data!r}, which "
                "brings its own. Leave them out."
            )
        return load(data, variant=variant), None, None
    _no_variant(data, variant)
    told = as_schema(schema) or Schema()
    if target:
        told = told.model_copy(update={"target": Target(columns=tuple(target))})
    if split_column is not None:
        told = told.model_copy(update={"split": SplitOptions(column=split_column).over(told.split)})
    path = Path(data)
    dataset, resolved = paired(read_table(path), told, base_dir=path.parent, on_bad_file=bad_file(on_bad_file))
    return dataset, resolved, path.parent


def _no_variant(data: str, variant: str | None) -> None:
    from profuse.errors import ConfigError

    if variant is not None:
        raise ConfigError(f"retrieve: --variant must go with a named data set; got the file {data!r}. Leave it out.")


def _read(retriever: Retriever, data: str, variant: str | None) -> Dataset:
    """Returns the rows of DATA for a saved retriever."""
    from profuse.data.read import read_table
    from profuse.datasets import DATASETS, load

    if data in DATASETS:
        return retriever.read(load(data, variant=variant))
    _no_variant(data, variant)
    retriever.base_dir = Path(data).parent
    return retriever.read(read_table(Path(data), words=() if retriever.schema_ is None else retriever.schema_.words))


def _fit(retriever: Retriever, dataset: Dataset, modalities: tuple[str, str] | None) -> None:

    out = console(stderr=True)
    if not out.is_terminal or out.is_dumb_terminal:
        retriever.fit(dataset, modalities=modalities)
        return
    with out.status("preparing") as status:
        retriever.fit(
            dataset,
            modalities=modalities,
            on_epoch=lambda e: status.update(
                f"epoch {e.epoch}: training loss {e.train_loss:.4f}, held-out recall@1 {e.valid_score:.3f}"
            ),
        )


def _evaluate(
    retriever: Retriever,
    dataset: Dataset,
    schema: Schema | None,
    modalities: tuple[str, str] | None,
    out: Path | None,
    as_json: bool,
) -> None:
    import numpy as np

    from profuse.data.split import make_split
    from profuse.schema import SplitOptions

    split = make_split(dataset, SplitOptions() if schema is None else schema.split, seed=retriever.random_state)
    known = np.sort(np.concatenate([split.train, split.valid]))
    _fit(retriever, dataset.rows(known), modalities)
    found = retriever.evaluate(dataset.rows(split.test))
    if out is not None:
        retriever.save(out)
        write_text(out / "recall.csv", found.to_csv(index=False, lineterminator="\n"))
    if as_json:
        say(found.to_json(orient="records", indent=2))
        return
    columns = ["from", "to", "method", "recall@1", "95 % interval", "@5", "@10", "median rank"]
    print_table(columns, _lines(found), right=columns[3:])
    n = int(found["n_queries"].max())
    say(f"\n{len(known)} rows learned from, {n} held out; higher recall and lower rank are better.")
    if out is not None:
        say(f"Retriever and recall.csv: {out}")


def _lines(found: pd.DataFrame) -> list[list[str]]:
    """One line a direction and method, and one for chance."""
    lines = []
    for query, item in dict.fromkeys(zip(found["query"], found["item"], strict=True)):
        part = found[(found["query"] == query) & (found["item"] == item)]
        for method in dict.fromkeys(part["method"]):
            by = part[part["method"] == method].set_index("metric")
            first = by.loc["recall@1"]
            lines.append([
                query, item, str(method), f"{first['value']:.3f}", f"{first['low']:.3f} to {first['high']:.3f}",
                f"{by.loc['recall@5', 'value']:.3f}", f"{by.loc['recall@10', 'value']:.3f}",
                f"{by.loc['median_rank', 'value']:g}",
            ])  # fmt: skip
        luck = part.drop_duplicates("metric").set_index("metric")["chance"]
        lines.append([
            query, item, "chance", f"{luck['recall@1']:.3f}", "", f"{luck['recall@5']:.3f}",
            f"{luck['recall@10']:.3f}", f"{luck['median_rank']:g}",
        ])  # fmt: skip
    return lines


def _search(
    retriever: Retriever, dataset: Dataset, by: str, to: str, query: str | None, rows: str | None, k: int, as_json: bool
) -> None:

    index = retriever.index(dataset, to)
    if index.n_left_out:
        say(f"note: {index.n_left_out} of {len(dataset)} rows have no {to!r} and cannot be found.", err=True)
    numbers = None if rows is None else _numbers(rows, len(dataset))
    asked = _question(retriever, by, query or "") if numbers is None else dataset.rows(numbers)
    found = index.search(asked, by, min(k, len(index)))
    words = next((n for n in (to, *dataset.modalities) if dataset.modalities[n].kind == "text"), None)
    lines = []
    for i, (ids, near, places) in enumerate(zip(found.ids, found.similarities, found.rows, strict=True)):
        who = query if numbers is None else str(numbers[i])
        for rank, (name, similarity, row) in enumerate(zip(ids, near, places, strict=True), start=1):
            said = "" if words is None else str(dataset.modalities[words].values[row] or "")
            lines.append([who, rank, str(name), int(row), float(similarity), said])
    columns = ["query", "rank", "id", "row", "similarity"]
    columns.append(f"text_{words}" if words in columns else words or "")
    if as_json:
        import json

        say(json.dumps([{n: v for n, v in zip(columns, line, strict=True) if n} for line in lines], indent=2))
        return
    told = [[str(v) if not isinstance(v, float) else f"{v:.3f}" for v in line] for line in lines]
    shown = len(columns) if words is not None else len(columns) - 1
    print_table(columns[:shown], [line[:shown] for line in told], right=["rank", "row", "similarity"])


def _numbers(text: str, n_rows: int) -> Any:
    import numpy as np

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) < n_rows for part in parts):
        raise typer.BadParameter(f"must be row numbers from 0 to {n_rows - 1}; got {text!r}", param_hint="--rows")
    return np.array([int(part) for part in parts])


def _question(retriever: Retriever, by: str, query: str) -> Any:
    """Returns a single row that holds the query: a text, or what the file of that name holds."""
    import pandas as pd

    kind = retriever.kind(by)
    if kind == "text":
        return {by: [query]}
    if kind in ("image", "audio", "series") and retriever.schema_ is not None:
        retriever.base_dir = Path()
        return pd.DataFrame({retriever.schema_.modalities[by].columns[0]: [query]})
    if kind == "image":
        from PIL import Image

        with Image.open(query) as picture:
            return {by: [picture.copy()]}
    raise typer.BadParameter(f"a {kind} cannot be typed, and {by!r} is one: use --rows", param_hint="--query")
