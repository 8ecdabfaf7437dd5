"""`profuse datasets`: what named data there are."""

from __future__ import annotations

from profuse.cli._arguments import Json
from profuse.cli._print import print_table, say

__all__ = ["datasets"]


def datasets(as_json: Json = False) -> None:
    """List the named data sets: modalities, rows, task, licence, and whether they are on this machine.

    Any of them can stand where 'profuse compare' and 'profuse fit' take a file. Those that are not here are
    fetched when first used, and their digests are checked.

    [bold]Examples[/bold]: profuse datasets | profuse datasets --json
    """
    from profuse.datasets import describe

    infos = describe()
    if as_json:
        import json
        from dataclasses import asdict

        say(json.dumps([{k: v for k, v in asdict(i).items() if k != "load"} for i in infos], indent=2))
        return

    print_table(
        ["name", "modalities", "rows", "task", "target", "here", "licence"],
        [
            [
                i.name, ", ".join(f"{n} ({k})" if n != k else n for n, k in i.modalities.items()),
                f"{i.n_rows:,}", i.task, i.target, "yes" if i.here else "no", i.licence,
            ]
            for i in infos
        ],
        right=["rows"],
    )  # fmt: skip
    say()
    for i in infos:
        say(f"{i.name}\n  source   {i.source}\n  split    {i.split}")
        for name, what in i.variants.items():
            say(f"  variant  {name}: {what}")
