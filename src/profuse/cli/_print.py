"""Tables for people: with rules and colours on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from profuse._folder import why_unwritable
from profuse.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["check_output", "console", "print_table", "write_text"]


def console(*, stderr: bool = False) -> Console:
    """Returns a console; without a terminal it is wide and writes no control codes."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=240, color_system=None)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Prints `rows` under `columns`; those named in `right` are set to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)


def check_output(path: Path, *, reads: Iterable[Path | None]) -> None:
    """Checks, before the work is done, that a file can stand at `path`, and is no file of, or in a folder of, `reads`.

    Raises:
        DataError: It cannot, or is.
    """
    why = "it is a folder" if path.is_dir() else "" if path.parent.is_dir() else f"there is no folder {path.parent}"
    if why := why or why_unwritable(path):
        raise DataError(f"{path}: must be readable, or writable for output; {why}. Name another path.")
    place = path.parent.resolve() / path.name
    held = [p for p in (place, *place.parents) if p.exists()]
    for read in reads:
        if read is not None and read.exists() and any(p.samefile(read) for p in held):
            raise DataError(f"{path}: it must not be, or lie in, what is read: {read}. Name another path.")


def write_text(path: Path, text: str) -> None:
    """Writes beside `path` and renames, so that nothing half-written stands there."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
