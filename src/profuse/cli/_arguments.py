"""What several commands take: declared once, so that names and help agree."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from profuse.errors import ConfigError
from profuse.models.options import PROGRESSIVE
from profuse.schema import Task

if TYPE_CHECKING:
    from profuse.data.table.database import DatabaseTable

__all__ = [
    "Cost",
    "FromTable",
    "Json",
    "LeftOut",
    "Model",
    "NewCategories",
    "Query",
    "SafeCsv",
    "SchemaFile",
    "Subgroup",
    "TargetTask",
    "Targets",
    "Threshold",
    "Variant",
    "Weight",
    "check_shape",
    "data_of",
    "file_of",
    "find_members",
    "listed",
    "pairs",
]  # fmt: skip

DATA = "Data"
MODEL = "Model and training"

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-t", metavar="COLUMN", help="What to predict; repeat for many targets.", rich_help_panel=DATA
    ),
]
TargetTask = Annotated[
    Task | None,
    typer.Option(
        "--task",
        help="What kind of target it is; inferred from its values if left out: counts of 0 to 9 look like classes.",
        rich_help_panel=DATA,
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(
        "--weight",
        metavar="COLUMN",
        help="How much each row counts in learning, at least 0; no input, and new rows need none.",
        rich_help_panel=DATA,
    ),
]
Subgroup = Annotated[
    str | None,
    typer.Option(
        "--subgroup",
        metavar="COLUMN",
        help="Groups none of which may be served worse (--subgroup-method); no input, and new rows need none.",
        rich_help_panel=DATA,
    ),
]
LeftOut = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-t", metavar="COLUMN", help="A column that must not be learned from; repeat.", rich_help_panel=DATA
    ),
]
"""The target, of a command that does not predict it."""
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        metavar="FILE",
        help="YAML that overrides what is inferred: see 'profuse schema'.",
        rich_help_panel=DATA,
    ),
]
NewCategories = Annotated[
    list[str] | None,
    typer.Option(
        "--new-categories", metavar="COLUMN",
        help="A column that may hold nothing but categories that training has not seen; repeat.",
    ),
]  # fmt: skip
Query = Annotated[
    str | None,
    typer.Option("--query", metavar="SQL", help="Of a database: one SELECT; it has an ORDER BY.", rich_help_panel=DATA),
]
FromTable = Annotated[
    str | None,
    typer.Option("--table", metavar="NAME", help="Of a database: a table in place of a query.", rich_help_panel=DATA),
]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant", metavar="NAME", help="Variant of a named data set: see 'profuse datasets'.", rich_help_panel=DATA
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder that 'profuse fit' wrote, or one in models/ of a comparison.")
]
SafeCsv = Annotated[
    bool, typer.Option("--safe-csv", help="Put a ' before cells that a spreadsheet would run as a formula.")
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold", metavar="P",
        help="Answer the second of two classes where its probability is at least P; the saved model is left as it is.",
    ),
]  # fmt: skip
Cost = Annotated[
    str | None,
    typer.Option(
        "--cost", metavar="YAML",
        help="Give the cheapest answer, by {class: {answer: cost}}, 1 if not named; the saved model is left as it is.",
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def data_of(data: str, query: str | None, table: str | None) -> str | DatabaseTable:
    """Returns what is read: a file or named data set as it is, or a table of a database.

    Raises:
        ConfigError: A query or table of something that is no database, or a database without one; see `DatabaseTable`.
    """
    from profuse.data.table.database import DatabaseTable, is_database

    if is_database(data):
        return DatabaseTable(data, query, table)
    given = [name for name, value in (("--query", query), ("--table", table)) if value is not None]
    if given:
        raise ConfigError(
            f"{given[0]}: it must go with the URL of a database (duckdb:///file.db); got {data!r}. Leave it out."
        )
    return data


def file_of(source: str | DatabaseTable) -> Path | None:
    """Returns the file that is read; None for a database."""
    return Path(source) if isinstance(source, str) else None


def listed(text: str | None) -> tuple[str, ...] | None:
    """`"a, b"` -> ("a", "b"); None stays None."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(texts: list[str] | None, *, option: str) -> dict[str, str] | None:
    """`["picture=vit"]` -> {"picture": "vit"}; None stays None."""
    if texts is None:
        return None
    for text in texts:
        if not all(part.strip() for part in text.partition("=")[::2]):
            raise typer.BadParameter(f"must be MODALITY=NAME; got {text!r}", param_hint=option)
    return {text.partition("=")[0].strip(): text.partition("=")[2].strip() for text in texts}


def find_members(members: Sequence[str]) -> None:
    """Has Python look into the working directory too, last, where members are asked for."""
    here = str(Path.cwd())
    if members and here not in sys.path:
        sys.path.append(here)


def check_shape(model: Mapping[str, Any], rounds: object, *, who: str) -> None:
    """Checks that no form of Progressive Fusion is asked for without its rounds.

    Raises:
        ConfigError: It is.
    """
    shape = [name for name in PROGRESSIVE if name in model and name != "rounds"]
    if shape and rounds in (1, ()):
        message = f"{' and '.join(shape)} must go with rounds; got rounds={rounds or 'none'}"
        raise ConfigError(f"{who}: {message}. Add --rounds 2.")
