"""The report: `collect` (plain data) -> `render_html`, `render_markdown`; redrawn at any time from a results folder."""

from __future__ import annotations

from pathlib import Path

from profuse._saving import write_file
from profuse.comparison.results import Results
from profuse.report.answered import answer_html
from profuse.report.card import card_html, model_card
from profuse.report.collect import collect
from profuse.report.latex import latex_table
from profuse.report.profile import profile_html
from profuse.report.render_html import render_html
from profuse.report.render_markdown import render_markdown

__all__ = [
    "answer_html",
    "card_html",
    "collect",
    "latex_table",
    "model_card",
    "profile_html",
    "render_html",
    "render_markdown",
    "write_report",
]


def write_report(results: Results, folder: str | Path) -> Path:
    """Writes `report.html` and `report.md` into `folder`, each whole or not at all; returns the path of the first."""
    folder = Path(folder)
    collected = collect(results)
    for name, text in (("report.md", render_markdown(collected)), ("report.html", render_html(collected))):
        write_file(folder / name, text)
    return folder / "report.html"
