"""`profuse shard`: a table with the files that its cells name, written as WebDataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.cli._arguments import DATA, FromTable, Query, SchemaFile, Targets, TargetTask, data_of
from profuse.cli._options import From, Given, options
from profuse.cli._print import print_notes, say
from profuse.data.table.options import ReadOptions
from profuse.streaming.options import ShardOptions

if TYPE_CHECKING:
    from profuse.data.table.shard_index import ShardIndex

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
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the shards.", show_default=False)
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--verify", help="Write nothing: hold the shards in DATA against the digests in their index."),
    ] = False,
    target: Targets = None,
    task: TargetTask = None,
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

    profuse shard shards --verify
    """
    from profuse._files import shown_size
    from profuse._options import checked
    from profuse.cli._streamed import rows_display
    from profuse.data.table.schema_file import as_schema
    from profuse.data.table.shard_index import verify
    from profuse.data.table.shards import kept_schema
    from profuse.errors import ConfigError
    from profuse.streaming.shards import write_shards

    if check == (out is not None):
        raise ConfigError(
            f"shard: out or verify must be given, and not both; got {'both' if check else 'neither'}. Add --out FOLDER."
        )
    if out is None:
        with rows_display("bytes verified", unit="bytes") as progress:
            index = verify(Path(data), progress)
        say(f"Verified: {data} ({index.rows:,} rows in {_shards(index)}, all as they were written)")
        return
    source: Any = data_of(data, query, table)
    asked = checked(ShardOptions, writing, where="shard")
    known = kept_schema(source, target=not target) if schema is None else as_schema(schema)
    with rows_display(_LAST) as progress:
        index, notes = write_shards(
            source, out, schema=known.with_task(task), target=target, options=asked, progress=progress,
            on_bad_file=reading.get("on_bad_file", "raise"),
        )  # fmt: skip
    print_notes(notes)
    of_files = [f"{c.name} ({c.member})" if c.name != c.member else c.name for c in index.columns if c.member]
    files = f"files of {', '.join(of_files)}" if of_files else "no files"
    n_bytes = shown_size(sum(of.bytes for of in index.shards))
    say(f"Shards: {out} ({index.rows:,} rows in {_shards(index)}, {n_bytes}; {files})")
    named = "" if target or known.target_columns else " --target COLUMN"
    say(f"Go on: profuse fit {out} --stream{named} --out model")


def _shards(index: ShardIndex) -> str:
    return f"{len(index.shards):,} {'shard' if len(index.shards) == 1 else 'shards'}"
