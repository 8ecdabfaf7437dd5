"""`profuse parts`: everything that has a name."""

from __future__ import annotations

from typing import Annotated

import typer

from profuse.cli._arguments import Json
from profuse.cli._print import print_table, say

__all__ = ["parts"]


def parts(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="Only this kind of part: fusion, encoder, preprocessor, features, embedding, kind, metric, "
            "question, balance, dataset, classical.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the parts that have names, what each is, and which package it comes from.

    A part of your own is among them once an installed package names it: see docs/parts.md. 'profuse fusions' and
    'profuse datasets' say more of these two.

    [bold]Examples[/bold]: profuse parts | profuse parts metric | profuse parts encoder --json
    """
    from profuse._lookup import resolve
    from profuse.registry import PART_KINDS, table

    if kind is not None:
        resolve(kind, PART_KINDS, where="profuse parts", what="kind of part")
    rows = [
        {"kind": k, "name": name, "from": named.origin(name), "description": named.description(name)}
        for k in ([kind] if kind else PART_KINDS)
        for named in [table(k)]
        for name in named
    ]
    if as_json:
        import json

        say(json.dumps(rows, indent=2))
        return
    columns = ["kind", "name", "from", "description"]
    print_table(columns, [[row[column] for column in columns] for row in rows])
