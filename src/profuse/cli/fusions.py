"""`profuse fusions`: what fusion operators there are."""

from __future__ import annotations

from typing import Annotated

import typer

from profuse._lookup import resolve
from profuse.cli._arguments import Json
from profuse.cli._print import print_table, say

__all__ = ["fusions"]


def fusions(
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="NAME",
            help="Only this one: encoder_decoder, attention, graph, generative, constraint, mixture.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the fusion operators: family, level, formula, cost, and how each treats a missing modality.

    Names go where --fusion and --fusions stand. A feature operator also works at the levels raw (before any
    modality is mixed) and hybrid (with a decision operator), a hierarchical one (between the stages of the
    encoders) at hybrid: write level:name, hybrid:concat say.

    [bold]Examples[/bold]: profuse fusions | profuse fusions --family attention | profuse fusions --json
    """
    from profuse.fusion import FUSIONS, fusion

    classes = {name: fusion(name) for name in FUSIONS}
    if family is not None:
        families = {cls.family(): cls for cls in classes.values()}
        resolve(family, families, where="profuse fusions", what="family")
        classes = {name: cls for name, cls in classes.items() if cls.family() == family}
    rows = []
    for name, cls in classes.items():
        rows.append({
            "name": name, "family": cls.family(), "level": cls.level, "formula": cls.formula, "cost": cls.cost,
            "missing": cls.missing, "reference": cls.reference, "max_modalities": cls.max_modalities,
        })  # fmt: skip
    if as_json:
        import json

        say(json.dumps(rows, indent=2))
        return

    columns = ["name", "family", "level", "formula", "cost", "missing modality", "reference"]
    shown = ("name", "family", "level", "formula", "cost", "missing", "reference")
    print_table(columns, [[str(row[key]) for key in shown] for row in rows])
