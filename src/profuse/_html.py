"""Small pieces of HTML for notebooks: what an object shows of itself where it is the last line of a cell.

No style sheet and no script: colours and fonts are those of the notebook, light or dark. Pages have templates instead.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from profuse._escape import visible

__all__ = ["Cell", "axis_of", "html_note", "html_range", "html_table", "html_text"]

_WIDE, _HIGH, _PAD = 180, 14, 0.05
_WORDS, _NUMBERS = "text-align:left", "text-align:right;white-space:nowrap"


class Cell(str):
    """A cell that is HTML already; every other cell is text, and is escaped."""

    __slots__ = ()


def html_text(text: str) -> str:
    """Returns `text` in which nothing is markup, and nothing hides or turns other text."""
    return html.escape(visible(text, lines=True))


def html_note(text: str) -> str:
    """Returns a small paragraph."""
    return f'<p style="margin:.3em 0;opacity:.8">{html_text(text)}</p>'


def html_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, n_words: int = 1, title: str = "", bold: int | None = None
) -> str:
    """Returns a table; the first `n_words` columns are words, the others are numbers, set to the right.

    Args:
        columns: Their names.
        rows: Each with a cell for each column.
        n_words: How many of the first columns are words.
        title: What it shows.
        bold: The row that is set in bold.
    """
    styles = [_WORDS if i < n_words else _NUMBERS for i in range(len(columns))]
    caption = f'<caption style="text-align:left">{html_text(title)}</caption>' if title else ""
    head = "".join(f'<th style="{s}">{html_text(c)}</th>' for c, s in zip(columns, styles, strict=True))
    lines = []
    for i, row in enumerate(rows):
        weight = ";font-weight:bold" if i == bold else ""
        cells = (c if isinstance(c, Cell) else html_text(c) for c in row)
        lines.append("".join(f'<td style="{s}{weight}">{c}</td>' for c, s in zip(cells, styles, strict=True)))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def axis_of(values: Sequence[float | None]) -> tuple[float, float]:
    """Returns the ends of an axis that holds 0 and all finite values."""
    finite = [0.0, *(v for v in values if v is not None and math.isfinite(v))]
    pad = _PAD * (max(finite) - min(finite) or 1.0)
    return min(finite) - pad, max(finite) + pad


def html_range(value: float, low: float | None, high: float | None, axis: tuple[float, float], said: str) -> Cell:
    """Returns a drawing of an estimate: a dot, its interval where that is known, and a dashed line at 0.

    Args:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        axis: Of all drawings of a table.
        said: What is read aloud in its place.
    """

    def at(v: float) -> str:
        return f"{_WIDE * (v - axis[0]) / (axis[1] - axis[0]):.1f}"

    middle = _HIGH / 2
    zero = f'<line x1="{at(0)}" x2="{at(0)}" y1="0" y2="{_HIGH}" stroke="currentColor" stroke-dasharray="2 2"/>'
    line = ""
    if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
        line = (
            f'<line x1="{at(low)}" x2="{at(high)}" y1="{middle}" y2="{middle}" stroke="currentColor" stroke-width="2"/>'
        )
    dot = f'<circle cx="{at(value)}" cy="{middle}" r="4" fill="currentColor"/>' if math.isfinite(value) else ""
    return Cell(
        f'<svg width="{_WIDE}" height="{_HIGH}" role="img" aria-label="{html_text(said)}">{zero}{line}{dot}</svg>'
    )
