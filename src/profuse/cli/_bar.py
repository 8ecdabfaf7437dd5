"""A bar on a terminal: what runs now, how much is done, and how long the rest takes."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Bar", "Quiet"]


class Quiet:
    """A display with nothing to begin or to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Bar:
    """A line that is redrawn in place, and goes at the end.

    Args:
        console: A terminal.
        unit: What is counted: "fits".
        first: What is done before anything is counted.
    """

    def __init__(self, console: Console, *, unit: str, first: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            TextColumn("elapsed{task.fields[left]}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(first, total=None, left="", counted="")
        self._unit = unit

    def start(self) -> None:
        """Draws it."""
        self._progress.start()

    def stop(self) -> None:
        """Takes it away."""
        self._progress.stop()

    def show(self, description: str, *, left: str = "", done: int | None = None, total: int | None = None) -> None:
        """Shows what runs now and what is left; how many of how many are done, where it is not as before."""
        of = "" if total is None else f"/{total:,}"
        counted: dict[str, Any] = {} if done is None else {"counted": f"{done:,}{of} {self._unit},"}
        self._progress.update(
            self._task, description=description, left=left, completed=done, total=total, refresh=True, **counted
        )
