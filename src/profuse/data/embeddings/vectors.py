"""Cells of a modality -> their vectors, of which those that were made before come from disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.embeddings import EMBEDDINGS, embedding
from profuse.data.embeddings._base import Embedding, Sound
from profuse.data.embeddings.cache import VectorCache, digest_of_cell
from profuse.errors import ConfigError, DataError
from profuse.kinds import kind_named

__all__ = ["cells_of", "check_takes", "identity_of", "vectors_of"]

_AT_ONCE = 4096
"""Cells whose vectors are made before they are written: what is lost where a run is stopped."""


def cells_of(data: ModalityData) -> list[Any]:
    """Returns the cells of a modality that are there, as an `Embedding` takes them."""
    cells = [data.values[i] for i in np.flatnonzero(data.present)]
    if kind_named(data.kind).is_words:
        return [str(cell) for cell in cells]
    if data.rate is not None:
        return [Sound(np.asarray(cell), data.rate) for cell in cells]
    return [np.asarray(cell) for cell in cells]


def identity_of(name: str) -> str:
    """Returns what the vectors of an embedding are kept by: another one, other vectors."""
    made = embedding(name)
    told = made.identity() if made.identity is not None else f"{name} {EMBEDDINGS.fingerprint(name)}"
    return f"1 {told}"  # the first number is that of this way of keeping them


def vectors_of(name: str, cells: Sequence[Any]) -> list[np.ndarray]:
    """Returns for each cell float32 `[channel]`, or `[token, channel]` where the embedding makes tokens.

    Equal cells are given to the embedding once, and none whose vectors are kept.

    Raises:
        DataError: The embedding fails, or returns something else: one vector a cell, of one length, of finite numbers.
    """
    made, cache = embedding(name), VectorCache(name, identity_of(name))
    digests = [digest_of_cell(cell) for cell in cells]
    known = cache.get(digests)
    if new := {d: c for d, c in zip(digests, cells, strict=True) if d not in known}:
        with cache.writing():
            known |= cache.get(list(new))  # another process may have made them while this one waited
            left = sorted((d for d in new if d not in known), key=lambda d: _size(new[d]))  # batches of like lengths
            for i in range(0, len(left), _AT_ONCE):
                part = left[i : i + _AT_ONCE]
                fresh = dict(zip(part, _made(made, name, [new[d] for d in part]), strict=True))
                cache.put(fresh)
                known |= fresh
    return [known[d] for d in digests]


def _size(cell: Any) -> int:
    return len(cell.samples) if isinstance(cell, Sound) else len(cell) if isinstance(cell, str) else int(np.size(cell))


def _made(made: Embedding, name: str, cells: list[Any]) -> list[np.ndarray]:
    rows: list[np.ndarray] = []
    for i in range(0, len(cells), made.batch_size):
        batch = cells[i : i + made.batch_size]
        rows += _checked(made, name, made.function(batch), len(batch))
    return rows


def _checked(made: Embedding, name: str, given: Any, n: int) -> list[np.ndarray]:
    must = "[token, channel]" if made.tokens else "[channel]"
    try:
        rows = [np.asarray(row, dtype=np.float32) for row in given]
    except (TypeError, ValueError) as error:
        raise DataError(f"embedding {name!r}: it must return numbers, one {must} a cell; got {error}.") from error
    odd = sorted({r.shape for r in rows if r.ndim != 1 + made.tokens or 0 in r.shape}, key=str)
    if len(rows) != n or odd:
        got = f"one of shape {odd[0]}" if odd else f"{len(rows)} for {n} cells"
        also = " Say Embedding(tokens=True) if they are tokens." if odd and len(odd[0]) == 2 and not made.tokens else ""
        raise DataError(f"embedding {name!r}: it must return one {must} a cell; got {got}.{also}")
    if len({r.shape[-1] for r in rows}) > 1:
        raise DataError(f"embedding {name!r}: all cells must have as many channels; got several lengths in one call.")
    if not all(np.isfinite(r).all() for r in rows):
        raise DataError(f"embedding {name!r}: numbers must be finite; got others. Correct the function.")
    return rows


def check_takes(name: str, kind: str, who: str) -> None:
    """Checks that an embedding reads cells of a kind.

    Raises:
        ConfigError: It does not.
    """
    made = embedding(name)
    if not made.takes(kind):
        known = "any kind but a table" if made.kinds is None else " or ".join(made.kinds)
        raise ConfigError(f"{who}: the embedding {name!r} must take kind {kind!r}; it takes {known}. Name another one.")
