"""How far a question is: a line redrawn on a terminal, nothing elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.predictor.watching import Told

__all__ = ["asking_line", "told"]

_SOONEST = 2.0  # seconds, before which no time left is told


def told(done: int, needed: int, seconds: float, *, all_planned: bool) -> str:
    """Returns how far a question is, in words.

    Args:
        done: Predictions made.
        needed: Known to be needed so far.
        seconds: Since the first one began.
        all_planned: Whether no others will be needed.
    """
    from profuse.report.numbers import duration

    if not all_planned:
        return f"{done:,} predictions, {duration(seconds)}"
    left = seconds / done * (needed - done)
    when = f", about {duration(left)} left" if seconds >= _SOONEST and done < needed else ""
    return f"{done:,} of {needed:,} predictions, {duration(seconds)}{when}"


@contextmanager
def asking_line(name: str, console: Console, *, all_planned: bool) -> Iterator[Told | None]:
    """Gives what is told of each prediction; None where there is no terminal to show it on.

    Args:
        name: Of the question.
        console: Where to.
        all_planned: See `told`.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    with console.status(f"{name}: reading rows") as status:
        start = time.monotonic()

        def tell(done: int, needed: int) -> None:
            status.update(f"{name}: {told(done, needed, time.monotonic() - start, all_planned=all_planned)}")

        yield tell
