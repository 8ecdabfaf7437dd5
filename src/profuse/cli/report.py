"""`profuse report`: a comparison's report, drawn again from its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from profuse.cli._print import say

__all__ = ["report"]


def report(
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that 'profuse compare' wrote; holds results.json.")
    ],
) -> None:
    """Draw report.html and report.md again from results.json; nothing is fitted.

    [bold]Example[/bold]: profuse report profuse-out/glyphs
    """
    from profuse.comparison.results import Results
    from profuse.report import write_report

    say(f"Report: {write_report(Results.read(out), out)}")
