"""Kinds of modality: one file each, and all that the library must know of it.

Code that needs to know something of a kind asks it, `kind_named(data.kind).concatenate(...)`, and compares no names.
This package and `Kind` lie below the readers of data; the file of a kind lies above them and is loaded by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from profuse._lookup import lazily
from profuse.kinds._names import KINDS, KindName, kind_named, must_be
from profuse.kinds._spec import LevelRange, Spec, pairs_of

if TYPE_CHECKING:
    from profuse.kinds._base import CellReader, Given, Kind
    from profuse.kinds._graph import Attribute, Graph
    from profuse.kinds._rows import ModalityData, content, object_array
    from profuse.kinds._units import Drawing, Unit
    from profuse.kinds.noise.corruption import Corruption

__all__ = [
    "KINDS",
    "Attribute",
    "CellReader",
    "Corruption",
    "Drawing",
    "Given",
    "Graph",
    "Kind",
    "KindName",
    "LevelRange",
    "ModalityData",
    "Spec",
    "Unit",
    "content",
    "kind_named",
    "must_be",
    "object_array",
    "pairs_of",
]

# names of kinds, which schemas and options hold, load no NumPy
__getattr__ = lazily(
    __name__,
    {
        "Attribute": "_graph",
        "CellReader": "_base",
        "Corruption": "noise.corruption",
        "Drawing": "_units",
        "Given": "_base",
        "Graph": "_graph",
        "Kind": "_base",
        "ModalityData": "_rows",
        "Unit": "_units",
        "content": "_rows",
        "object_array": "_rows",
    },
)
