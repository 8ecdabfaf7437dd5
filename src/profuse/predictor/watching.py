"""How far predictions are: told while a question is asked, which may take many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Told", "planned", "predicted", "watched"]

Told = Callable[[int, int], None]
"""Is called with how many predictions are done, and how many are known to be needed so far."""


@dataclass
class _Count:
    tell: Told
    done: int = 0
    needed: int = 0
    planning: bool = False


_COUNT: ContextVar[_Count | None] = ContextVar("count", default=None)


@contextmanager
def watched(tell: Told | None) -> Iterator[None]:
    """Within it `tell` is called after each prediction that a fitted model makes; one a model of a portfolio.

    Args:
        tell: See `Told`; nothing is counted if None.
    """
    token = _COUNT.set(None if tell is None else _Count(tell))
    try:
        yield
    finally:
        _COUNT.reset(token)


@contextmanager
def planned(n: int) -> Iterator[None]:
    """Says that `n` predictions will be made within it; what is planned further in is part of these."""
    count = _COUNT.get()
    if count is None or count.planning:
        yield
        return
    count.needed, count.planning = count.needed + n, True
    try:
        yield
    finally:
        count.planning = False
        count.needed = count.done  # of those that were planned, none is left


def predicted() -> None:
    """Says that a fitted model has made a prediction."""
    count = _COUNT.get()
    if count is not None:
        count.done += 1
        count.needed = max(count.needed, count.done)
        count.tell(count.done, count.needed)
