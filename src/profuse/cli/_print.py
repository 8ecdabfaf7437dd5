"""All that is printed: text of the data reaches no terminal but as `visible` returns it.

Tables are for people: with rules and colours on a terminal, plain aligned text elsewhere.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from profuse._escape import formula_free, visible

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = [
    "as_csv",
    "console",
    "print_data",
    "print_notes",
    "print_table",
    "safe_csv",
    "say",
]


def say(text: str = "", *, err: bool = False) -> None:
    """Prints lines for people."""
    typer.echo(visible(text, lines=True), err=err)


def print_notes(notes: Iterable[str], *, err: bool = True) -> None:
    """Prints notes, a line each: none can look like two."""
    for note in notes:
        typer.echo(f"note: {visible(note)}", err=err)


def print_data(text: str) -> None:
    """Prints what programs read: UTF-8, every character as it is, but on a terminal, where it is made visible."""
    if sys.stdout is not None and sys.stdout.isatty():
        typer.echo(visible(text, lines=True), nl=False, color=True)
    else:
        typer.echo(text.encode(errors="backslashreplace"), nl=False)


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
        table.add_column(Text(visible(name)), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    out.print(table)


def as_csv(table: pd.DataFrame) -> str:
    """Returns a table as CSV that reads as what it was."""
    text = table.to_csv(index=False, lineterminator="\n")
    # pandas leaves a lone carriage return bare, which ends a line wherever the file is read
    return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC) if "\r" in text else text


def safe_csv(text: str, *, safe: bool, separator: str = ",") -> str:
    """Returns a CSV file as it is, or, where it must be `safe`, without formulas; how many cells changed is a note."""
    if not safe:
        return text
    text, n_changed = formula_free(text, separator=separator)
    if n_changed:
        cells = "1 cell that begins" if n_changed == 1 else f"{n_changed} cells that begin"
        print_notes([f"{cells} like a formula {'has' if n_changed == 1 else 'have'} a ' before it (--safe-csv)."])
    return text
