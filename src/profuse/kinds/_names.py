"""The names of all kinds of modality. "Add yours": one file beside this one, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from pydantic import AfterValidator

from profuse._lookup import nearest
from profuse.registry import table

if TYPE_CHECKING:
    from profuse.kinds._base import Kind

__all__ = ["KINDS", "KindName", "kind_named", "must_be"]

KINDS = table(
    "kind",
    {
        "table": "profuse.kinds.table:TABLE",
        "text": "profuse.kinds.text:TEXT",
        "image": "profuse.kinds.image:IMAGE",
        "audio": "profuse.kinds.audio:AUDIO",
        "series": "profuse.kinds.series:SERIES",
        "vector": "profuse.kinds.vector:VECTOR",
        "points": "profuse.kinds.points:POINTS",
        "volume": "profuse.kinds.volume:VOLUME",
        "video": "profuse.kinds.video:VIDEO",
        "document": "profuse.kinds.document:DOCUMENT",
        "graph": "profuse.kinds.graph:GRAPH",
    },
)


def must_be(name: object) -> str:
    """Returns which names a kind may have, and those near to `name`: the end of a message."""
    close = nearest(str(name), KINDS)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"must be one of {', '.join(KINDS)}; got kind={name!r}.{hint}"


def _known(name: str) -> str:
    if name not in KINDS:
        raise ValueError(f"a kind {must_be(name)}")
    return name


KindName = Annotated[str, AfterValidator(_known)]
"""The name of a kind that is built in or registered."""


def kind_named(name: str) -> Kind:
    """Returns the kind called `name`.

    Raises:
        UnknownNameError: There is none; the nearest names are told.
    """
    return cast("Kind", KINDS.part(name))
