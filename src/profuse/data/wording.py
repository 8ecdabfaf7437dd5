"""How rows and values are told in messages: a few examples and the count of the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

__all__ = ["counted", "readable_name", "rows_at", "rows_from", "tell_missing", "tell_rows", "tell_values"]

_FIRST: ContextVar[int] = ContextVar("first row", default=0)
_PLACES: ContextVar[np.ndarray | None] = ContextVar("places of rows", default=None)


@contextmanager
def rows_from(first: int) -> Iterator[None]:
    """Messages count rows from `first` on meanwhile: of a piece of a table, those before it are counted too."""
    token = _FIRST.set(first)
    try:
        yield
    finally:
        _FIRST.reset(token)


@contextmanager
def rows_at(places: np.ndarray) -> Iterator[None]:
    """Messages give rows these numbers meanwhile, `[row]`: their places in a table of which they are some."""
    token = _PLACES.set(places)
    try:
        yield
    finally:
        _PLACES.reset(token)


def counted(row: int) -> int:
    """Returns the number that messages give a row: its place in the table, counted from 0, not in a piece of it."""
    places = _PLACES.get()
    return (int(row) if places is None else int(places[int(row)])) + _FIRST.get()


def readable_name(path: Path) -> str:
    """Returns a file's name as text that can be written anywhere: bytes that are no UTF-8 become `\\xe9`."""
    return os.fsencode(path.name).decode(errors="backslashreplace")


def tell_rows(rows: np.ndarray | Iterable[int], *, n: int = 5) -> str:
    """Returns `"3 rows (0, 4, 17; counted from 0)"`; beyond `n` rows only the first are listed."""
    results = [counted(r) for r in rows]
    listed = ", ".join(map(str, results[:n])) + (", ..." if len(results) > n else "")
    return f"{len(results)} {'row' if len(results) == 1 else 'rows'} ({listed}; counted from 0)"


def tell_missing(rows: np.ndarray | Sequence[int], lack: str) -> str:
    """Returns `"1 row (4; counted from 0) holds no time ('soon') and counts as missing"`; of more: "hold", "count"."""
    s = "s" if len(rows) == 1 else ""
    return f"{tell_rows(rows)} hold{s} {lack} and count{s} as missing"


def tell_values(values: Iterable[object], *, n: int = 5) -> str:
    """Returns `"'a', 'b' and 7 more"`."""
    results = [repr(v.item() if isinstance(v, np.generic) else v) for v in values]
    return ", ".join(results[:n]) + (f" and {len(results) - n} more" if len(results) > n else "")
