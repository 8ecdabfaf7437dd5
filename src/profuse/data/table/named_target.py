"""Which columns of a table are the target: to be read, or to be left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from profuse._lookup import nearest
from profuse.data.wording import tell_values
from profuse.errors import ConfigError
from profuse.schema import Schema, Target

__all__ = ["leave_out_target", "named_once", "needs_target"]


def named_once(schema: Schema, target: str | Sequence[str] | None) -> Schema:
    """Returns the schema with `target` as its target; None leaves it as it is.

    Raises:
        ConfigError: The schema names another one.
    """
    if target is None:
        return schema
    columns = (target,) if isinstance(target, str) else tuple(target)
    if schema.target is None or not schema.target.columns:
        named = (schema.target or Target()).model_copy(update={"columns": columns})
        return schema.model_copy(update={"target": named})
    if schema.target.columns != columns:
        raise ConfigError(
            f"target: it must be named once; got {list(columns)} and, in the schema, {list(schema.target.columns)}. "
            "Leave one of them out."
        )
    return schema


def needs_target(columns: Iterable[Any], schema: Schema) -> Schema:
    """Returns the schema of a table of these columns, which names a target.

    Raises:
        ConfigError: It does not.
    """
    if not schema.target_columns:
        raise ConfigError(
            "target: a column to predict must be named; got none. Name one of the columns "
            f"{tell_values(list(map(str, columns)))} (--target COLUMN), or put it in the schema."
        )
    return schema


def leave_out_target(columns: Iterable[Any], schema: Schema) -> Schema:
    """Returns the schema of a table of these columns without a target, whose columns stand in `ignore` instead.

    They are neither read nor checked: that they can be learned is another matter.

    Raises:
        ConfigError: One is not in the table.
    """
    names = list(map(str, columns))
    for column in schema.target_columns:
        if column not in names:
            close = nearest(column, names)
            hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {tell_values(names)}."
            raise ConfigError(f"target: it must be a column of the table; got {column!r}. {hint}")
    ignore = tuple(dict.fromkeys([*schema.ignore, *schema.target_columns]))
    return schema.model_copy(update={"target": None, "ignore": ignore})
