"""`profuse cache`: what is kept of vectors that pretrained models have made, and clearing it."""

from __future__ import annotations

from typing import Annotated

import typer

from profuse.cli._arguments import Json
from profuse.cli._print import print_table, say

__all__ = ["cache"]


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove what is kept; it is made again when it is needed.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="With --clear: only of this embedding.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the vectors that are kept of pretrained models and other embeddings, and how much room they take.

    They lie in the folder that PROFUSE_CACHE names, else in the user's cache folder. See docs/pretrained.md.

    [bold]Examples[/bold]: profuse cache | profuse cache --clear | profuse cache --clear --name hf:models/minilm
    """
    from profuse.data.embeddings.cache import clear_vectors, kept_vectors, vectors_folder
    from profuse.errors import ConfigError

    if name is not None and not clear:
        raise ConfigError(f"profuse cache: name must go with clear; got name={name!r}. Add --clear.")
    kept = clear_vectors(name) if clear else kept_vectors()
    if as_json:
        import json

        say(json.dumps([{"name": k.name, "folder": str(k.folder), "bytes": k.n_bytes} for k in kept], indent=2))
        return
    total = f"{sum(k.n_bytes for k in kept) / 1e6:,.1f} MB"
    print_table(["embedding", "MB"], [[k.name, f"{k.n_bytes / 1e6:,.1f}"] for k in kept], right=["MB"])
    say(f"{total} {'removed from' if clear else 'in'} {vectors_folder()}")
