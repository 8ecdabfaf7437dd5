"""`profuse schema`: what is inferred of a table, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from profuse.cli._arguments import (
    FromTable,
    Query,
    SchemaFile,
    Subgroup,
    Targets,
    TargetTask,
    Weight,
    data_of,
    file_of,
)
from profuse.cli._output import check_output, write_text
from profuse.cli._print import print_data, print_notes, print_table, say

if TYPE_CHECKING:
    from profuse.data.table.database import DatabaseTable
    from profuse.kinds import LevelRange
    from profuse.schema import Schema

__all__ = ["schema"]


def schema(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A table: .csv, .tsv, .parquet, .jsonl; or the URL of a database.")
    ],
    target: Targets = None,
    task: TargetTask = None,
    weight: Weight = None,
    subgroup: Subgroup = None,
    given: SchemaFile = None,
    query: Query = None,
    table: FromTable = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="YAML to write, for you to edit and give to --schema."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE.html",
            help="Page to write: distributions, missing cells, the target by part, and a few rows.",
        ),
    ] = None,
) -> None:
    """Show what is inferred of each column of a table, and why; write it as YAML to be edited.

    [bold]Examples[/bold]

    profuse schema mine.csv --target price --out schema.yaml

    profuse schema mine.csv --target price --profile mine.html
    """
    import yaml

    from profuse.data.table.reader import look
    from profuse.data.table.schema_file import as_schema
    from profuse.data.table.shards import kept_schema

    source = data_of(file, query, table)
    if out is not None:  # a schema may be filled in where it stands: it is read whole before
        check_output(out, reads=(file_of(source),))
    if profile is not None:
        check_output(profile, reads=(file_of(source), given))
    asked = kept_schema(source, target=not target) if given is None else as_schema(given)
    named = {name: column for name, column in (("weight", weight), ("subgroup", subgroup)) if column is not None}
    asked = asked.with_task(task).model_copy(update=named)
    result = look(source, asked, target=target)
    resolved = result.schema
    levels = {column: _levels(of) for column, of in resolved.ranges.items()}
    homes = {c: f"{name} ({m.kind})" for name, m in resolved.modalities.items() for c in m.columns}
    print_table(
        ["column", "kind", "modality", "why"],
        [[r.column, r.kind, homes.get(r.column, ""), r.reason + levels.get(r.column, "")] for r in result.reasons],
    )
    if resolved.target is not None and resolved.target.columns:
        say(f"\ntarget: {', '.join(resolved.target.columns)} ({resolved.target.task}); {len(result.frame)} rows")
    print_notes(result.notes, err=False)
    if profile is not None:
        _write_profile(profile, source, asked, target)
    # what a terminal of another encoding cannot show is written as YAML's escapes
    shown = out is not None or "utf" in str(getattr(sys.stdout, "encoding", "")).lower()
    text = yaml.safe_dump(_plain(resolved), sort_keys=False, allow_unicode=shown)
    if out is None:
        print_data(f"\n{text}")
        return
    write_text(out, text)
    say(f"\nSchema: {out}")


def _write_profile(path: Path, source: str | DatabaseTable, asked: Schema, target: list[str] | None) -> None:
    """Reads all rows, files that cells name too, and writes the page."""
    from profuse.inputs import open_data
    from profuse.report.profile import profile_html

    known = bool(target or asked.target_columns)
    opened = open_data(source, target, who="schema", schema=asked, with_target=known, on_bad_file="skip")
    write_text(path, profile_html(opened.dataset, opened.split))
    say(f"\nProfile: {path}")


def _levels(of: LevelRange) -> str:
    """Returns levels of pictures as words behind the reason of a column's kind."""
    from profuse.kinds import pairs_of

    pairs = pairs_of(of)
    if len(pairs) == 1:
        return f"; levels {pairs[0][0]:g} (black) to {pairs[0][1]:g} (white)"
    said = ", ".join(f"{low:g} to {high:g}" for low, high in pairs[:6])
    return f"; {len(pairs)} channels of levels {said}{', ...' if len(pairs) > 6 else ''}"


def _plain(schema: object) -> dict[str, object]:
    """Returns the schema as YAML values, without what is at its default."""
    from profuse.schema import Schema

    assert isinstance(schema, Schema)
    return schema.model_dump(mode="json", exclude_defaults=True)
