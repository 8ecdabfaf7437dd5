"""A target that is not learned here: its columns are left out, whatever they hold."""

from __future__ import annotations

import pandas as pd

from profuse._lookup import nearest
from profuse.data.wording import tell_values
from profuse.errors import ConfigError
from profuse.schema import Schema

__all__ = ["leave_out_target"]


def leave_out_target(frame: pd.DataFrame, schema: Schema) -> Schema:
    """Returns the schema without a target, whose columns stand in `ignore` instead.

    They are neither read nor checked: that they can be learned is another matter.

    Raises:
        ConfigError: One is not in the table.
    """
    target = () if schema.target is None else schema.target.columns
    names = [str(c) for c in frame.columns]
    for column in target:
        if column not in names:
            close = nearest(column, names)
            hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {tell_values(names)}."
            raise ConfigError(f"target: it must be a column of the table; got {column!r}. {hint}")
    return schema.model_copy(update={"target": None, "ignore": tuple(dict.fromkeys([*schema.ignore, *target]))})
