"""Short names for what most tests of tables do."""

from __future__ import annotations

from typing import Any

import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.table.infer import infer
from profuse.data.table.reader import Source, TableReader
from profuse.schema import Schema

__all__ = ["opened", "resolved"]


def opened(source: Source, **options: Any) -> tuple[Dataset, Schema]:
    """Returns the rows of a table to learn from, and its schema, resolved."""
    reader, dataset = TableReader.fit(source, **options)
    return dataset, reader.schema


def resolved(frame: pd.DataFrame, schema: Schema | None = None) -> Schema:
    """Returns the schema of a table, with nothing left open."""
    return infer(frame, schema).schema
