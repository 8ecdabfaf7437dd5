"""`Card`: sentences and tables about a model. Plain text goes in, Markdown comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from profuse._escape import markdown
from profuse._html import html_table, html_text

__all__ = ["Blank", "Block", "Card", "Section", "Table"]


@dataclass(frozen=True)
class Table:
    """Cells in rows.

    Attributes:
        columns: Their names.
        rows: Each with a cell for each column.
        n_words: How many of the first columns are words; the others are numbers, set to the right.
        title: What it shows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_words: int = 1
    title: str = ""

    def markdown(self) -> list[str]:
        """Returns its lines."""
        rule = ["---" if i < self.n_words else "---:" for i in range(len(self.columns))]
        cells = [map(markdown, self.columns), rule, *(map(markdown, row) for row in self.rows)]
        title = [f"**{markdown(self.title)}**", ""] if self.title else []
        return [*title, *(f"| {' | '.join(row)} |" for row in cells), ""]


@dataclass(frozen=True)
class Blank:
    """What only who uses the model can say.

    Attributes:
        asks: What is to be said.
    """

    asks: str


Block = str | Table | Blank
"""A sentence, a table, or what is to be filled in."""


@dataclass(frozen=True)
class Section:
    """Part of a card."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Card:
    """What is known of a model.

    Attributes:
        title: What it predicts.
        lede: The first sentence.
        sections: In the order of the page.

    Reference:
        Mitchell et al., "Model Cards for Model Reporting" (2019), section 4.
    """

    title: str
    lede: str
    sections: tuple[Section, ...]

    def markdown(self) -> str:
        """Returns the card as Markdown in which no text of the data is markup."""
        lines = [f"# Model card: {markdown(self.title)}", "", markdown(self.lede), ""]
        for section in self.sections:
            lines += [f"## {markdown(section.title)}", "", *_lines(section.blocks)]
        return "\n".join(lines).rstrip() + "\n"

    def html(self) -> str:
        """Returns the card as a piece of HTML for notebooks; all but the first section are folded."""
        parts = [f"<h3>{html_text(self.title)}</h3><p>{html_text(self.lede)}</p>"]
        for i, section in enumerate(self.sections):
            blocks = "".join(map(_html, section.blocks))
            summary = f"<summary><b>{html_text(section.title)}</b></summary>"
            parts.append(f"<details{'' if i else ' open'}>{summary}{blocks}</details>")
        return f"<div>{''.join(parts)}</div>"


def _html(block: Block) -> str:
    if isinstance(block, Table):
        return html_table(block.columns, block.rows, n_words=block.n_words, title=block.title)
    if isinstance(block, Blank):
        return f"<p><b>To be filled in.</b> {html_text(block.asks)}</p>"
    return f"<p>{html_text(block)}</p>"


def _lines(blocks: Sequence[Block]) -> list[str]:
    lines: list[str] = []
    for i, block in enumerate(blocks):
        if isinstance(block, Table):
            lines += block.markdown()
            continue
        asked = isinstance(block, Blank)
        text = block.asks if isinstance(block, Blank) else block
        lines.append(f"- {'**To be filled in.** ' if asked else ''}{markdown(text)}")
        if i + 1 == len(blocks) or isinstance(blocks[i + 1], Table):
            lines.append("")
    return lines
