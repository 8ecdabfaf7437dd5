"""`profuse merge`: the comparison of its shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from profuse.cli._arguments import FromTable, Query, data_of
from profuse.cli._print import console, print_notes, say

__all__ = ["merge"]


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="OUT...", help="What 'profuse compare --shard' was given as --out.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where results go (the first OUT).")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Where the data are now, if they have moved or need a password."),
    ] = None,
    query: Query = None,
    table: FromTable = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Fits at a time (one a core).")] = None,
) -> None:
    """Make the comparison of shards that 'profuse compare --shard i/n' has done, with its report.

    The results are those of one run with --time-limit none. What hangs on all fits is done here: the best fusion
    without each modality, questions, and which models are kept.

    [bold]Example[/bold]: profuse merge profuse-out/mine
    """
    from profuse.cli._progress import display
    from profuse.cli.compare import show
    from profuse.comparison.shards import merge_shards

    target = out or folders[0]
    source = None if data is None else data_of(data, query, table)
    with display(target.name, console(stderr=True)) as progress:
        merged = merge_shards(folders, out=target, data=source, n_jobs=jobs, on_event=progress)
    path = merged.comparison.report(target)
    show(merged.comparison.results)
    print_notes(f"failed in a shard, and tried again: {told}" for told in merged.failed)
    say(f"\n{merged.n_taken} fits of shards, {merged.n_fitted} done in merging")
    say(f"Report: {path}")
