"""`profuse shard`: a table with the files that its cells name, written as WebDataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from profuse.cli._arguments import DATA, FromTable, Query, SchemaFile, Targets, data_of
from profuse.cli._options import From, Given, options
from profuse.cli._print import print_notes, say
from profuse.data.table.options import ReadOptions
from profuse.streaming.options import ShardOptions

__all__ = ["shard"]

_LAST = "rows written"


@options(writing=From(ShardOptions, "Shards"), reading=From(ReadOptions, DATA, only=("on_bad_file",)))
def shard(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A table: .csv, .tsv, .parquet, .jsonl; a folder of shards; or a database's URL."
        ),
    ],
    writing: Given,
    reading: Given,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the shards.", show_default=False)
    ],
    target: Targets = None,
    schema: SchemaFile = None,
    query: Query = None,
    table: FromTable = None,
) -> None:
    """Write a table, with the pictures, sounds and other files that its cells name, as WebDataset shards.

    Shards are tars that are read from beginning to end, as network drives and many small files ask for. Other commands
    read the folder as they read the table; with --stream 'profuse fit' holds none of it in memory. The target and the
    schema are kept with the shards. The folder is there whole, or not at all.

    [bold]Examples[/bold]

    profuse shard homes.csv --target price --out shards

    profuse shard homes.csv --target price --shard-size 1G --shuffle 0 --out shards
    """
    from profuse._files import shown_size
    from profuse._options import checked
    from profuse.cli._streamed import rows_display
    from profuse.data.table.schema_file import as_schema
    from profuse.data.table.shards import kept_schema
    from profuse.streaming.shards import write_shards

    source: Any = data_of(data, query, table)
    asked = checked(ShardOptions, writing, where="shard")
    known = kept_schema(source, target=not target) if schema is None else as_schema(schema)
    with rows_display(_LAST) as progress:
        index, notes = write_shards(
            source, out, schema=known, target=target, options=asked, progress=progress,
            on_bad_file=reading.get("on_bad_file", "raise"),
        )  # fmt: skip
    print_notes(notes)
    of_files = [f"{c.name} ({c.member})" if c.name != c.member else c.name for c in index.columns if c.member]
    files = f"files of {', '.join(of_files)}" if of_files else "no files"
    n_bytes = shown_size(sum(of.bytes for of in index.shards))
    shards = "shard" if len(index.shards) == 1 else "shards"
    say(f"Shards: {out} ({index.rows:,} rows in {len(index.shards):,} {shards}, {n_bytes}; {files})")
    named = "" if target or known.target else " --target COLUMN"
    say(f"Go on: profuse fit {out} --stream{named} --out model")
