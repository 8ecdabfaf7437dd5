"""Columns whose kinds are known -> the modalities that they make."""

from __future__ import annotations

import re

from profuse.data.table.column_kinds import ID, UNUSED
from profuse.data.table.families import Family, families
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.kinds import kind_named
from profuse.schema import TABLE_COLUMNS, Modality, Schema

__all__ = ["arrange"]

_ONE_VALUE = "the same value in every row"


def arrange(schema: Schema, reasons: dict[str, tuple[str, str]]) -> tuple[dict[str, Modality], list[str]]:
    """Returns the modalities by name, and notes on numbered columns that are no vector.

    Numbers, categories and times make a table; numbered columns of numbers a vector each; each other column is a
    modality of its own name. Where two would have one name, the table or vector takes another.

    Args:
        schema: What the user said; its modalities stand.
        reasons: Kind and reason of each column; those that are read otherwise for their modality are changed.

    Raises:
        ConfigError: A modality of the schema has columns that do not fit together, or the name of a column that is one.
        DataError: No column is left to learn from.
    """
    results: dict[str, Modality] = {}
    for name, modality in schema.modalities.items():
        kinds = [reasons[c][0] for c in modality.columns]
        kind = modality.kind or _kind_of(name, modality.columns, kinds)
        if kind_named(kind).columns == "any":
            for c, k in zip(modality.columns, kinds, strict=True):
                if k not in TABLE_COLUMNS:
                    reasons[c] = ("category", f"{reasons[c][1]}; in a table modality")
        results[name] = modality.model_copy(update={"kind": kind})
    used = {c for m in results.values() for c in m.columns}
    no_input = ("target", "weight", "subgroup", "split", ID, UNUSED)
    free = {c: k for c, (k, _) in reasons.items() if k not in no_input and c not in used}
    single = {c: k for c, k in free.items() if k not in TABLE_COLUMNS}
    constant = [c for c, (k, why) in reasons.items() if k == UNUSED and why.startswith(_ONE_VALUE) and c not in used]
    numbered = families([c for c, k in free.items() if k == "numeric" and c not in schema.columns], constant)
    vectors = [f for f in numbered if not f.why_not]
    in_vectors = {c for family in vectors for c in family.columns}
    table = [c for c, k in free.items() if k in TABLE_COLUMNS and c not in in_vectors]
    if table:
        results[_free_name("table", {*results, *single})] = Modality(kind="table", columns=tuple(table))
    for family in vectors:
        plain = re.sub(r"^\W+|\W+$", "", family.prefix) or "vector"
        name = _free_name(plain, {*results, *single})
        results[name] = Modality(kind="vector", columns=family.columns)
        for c in family.columns:
            reasons[c] = ("numeric", f"one of {len(family.columns)} numbered columns: vector {name!r}")
    for c, k in single.items():
        if c in results:
            raise ConfigError(
                f"schema: names of modalities must differ; got {c!r} for {tell_values(results[c].columns)} and the "
                f"column {c!r}, which is one by itself. Name the modality otherwise in the schema."
            )
        results[c] = Modality(kind=k, columns=(c,))
    if not results:
        raise DataError(
            "table: at least one column must be left to learn from; got none. Unused: "
            + "; ".join(f"{c!r} ({k}: {why})" for c, (k, why) in reasons.items() if k != "target")
            + ". Set the kind of one in the schema."
        )
    return results, [_told(f) for f in numbered if f.why_not]


def _free_name(name: str, taken: set[str]) -> str:
    """Returns `name`, or the first of name_2, name_3, ... that is not taken."""
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _told(family: Family) -> str:
    first, *_, last = family.columns
    return (
        f"Columns {first!r} ... {last!r} ({len(family.columns)}) are numbered, but {family.why_not}: each is a column "
        "of the table. If they are one vector, name them in modalities of the schema, with kind: vector."
    )


def _kind_of(name: str, columns: tuple[str, ...], kinds: list[str]) -> str:
    if all(k in TABLE_COLUMNS for k in kinds):
        return "table"
    if len(kinds) == 1:
        return kinds[0]
    message = ", ".join(f"{c} ({k})" for c, k in zip(columns, kinds, strict=True))
    raise ConfigError(
        f"schema: modalities.{name} must be one column, or numbers, categories and times together; got {message}. "
        "Make a modality of each, or set kind: table."
    )
