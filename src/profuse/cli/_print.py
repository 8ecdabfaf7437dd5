"""All that is printed: text of the data reaches no terminal but as `visible` returns it.

Tables are for people: with rules and colours on a terminal, plain aligned text elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import typer

from profuse._escape import formula_free, visible

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from profuse.data.dataset import Dataset

__all__ = [
    "as_csv",
    "console",
    "counted",
    "csv_text",
    "print_data",
    "print_notes",
    "print_table",
    "safe_csv",
    "say",
    "say_rows",
    "tell_changed",
]

_GAP = 3  # between columns on a terminal


def say(text: str = "", *, err: bool = False) -> None:
    """Prints lines for people."""
    typer.echo(visible(text, lines=True), err=err)


def counted(n: int, what: str) -> str:
    """`1`, `"row"` -> "1 row"; 2,000 -> "2,000 rows"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def print_notes(notes: Iterable[str], *, err: bool = True) -> None:
    """Prints notes, a line each: none can look like two."""
    for note in notes:
        typer.echo(f"note: {visible(note)}", err=err)


def say_rows(data: Dataset) -> None:
    """Tells what is learned from, beside the answer."""
    say(f"{data.name}: {len(data):,} rows, {data.task}, modalities {', '.join(data.modalities)}", err=True)


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


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), spare: Sequence[str] = ()
) -> list[str]:
    """Prints `rows` under `columns`; returns the names of the columns that it had room for.

    Args:
        columns: Their names.
        rows: A cell for each column.
        right: Columns that are set to the right.
        spare: Columns that are left out, one after the other, on a terminal that is too narrow for all.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    out = console()
    shown = [[visible(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, cells)) + _GAP for cells in zip(*shown, strict=True)]
    kept = list(range(len(columns)))
    for name in spare:
        if sum(widths[i] for i in kept) - _GAP > out.width:
            kept.remove(list(columns).index(name))
    table = Table(box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, header_style="bold")
    for i in kept:
        justify: Literal["left", "right"] = "right" if columns[i] in right else "left"
        # words give way to numbers: a number in two lines is read wrongly
        table.add_column(Text(shown[0][i]), justify=justify, overflow="fold", no_wrap=columns[i] in right)
    for row in shown[1:]:
        table.add_row(*(Text(row[i]) for i in kept))
    out.print(table)
    return [columns[i] for i in kept]


def as_csv(table: pd.DataFrame) -> str:
    """Returns a table as CSV that reads as what it was."""
    text = csv_text(table)
    # pandas leaves a lone carriage return bare, which ends a line wherever the file is read
    return csv_text(table, quoted=True) if "\r" in text else text


def csv_text(table: pd.DataFrame, *, header: bool = True, quoted: bool = False) -> str:
    """Returns a table as CSV, with quotes around all words if they are asked for."""
    quoting: Literal[0, 2] = 2 if quoted else 0  # of the module csv: words, or what needs it
    return table.to_csv(index=False, lineterminator="\n", header=header, quoting=quoting)


def safe_csv(text: str, *, safe: bool, separator: str = ",") -> str:
    """Returns a CSV file as it is, or, where it must be `safe`, without formulas; how many cells changed is a note."""
    if not safe:
        return text
    text, n_changed = formula_free(text, separator=separator)
    tell_changed(n_changed)
    return text


def tell_changed(n_changed: int) -> None:
    """Tells how many cells of a CSV file were changed to be safe."""
    if n_changed:
        cells = "1 cell that begins" if n_changed == 1 else f"{n_changed} cells that begin"
        print_notes([f"{cells} like a formula {'has' if n_changed == 1 else 'have'} a ' before it (--safe-csv)."])
