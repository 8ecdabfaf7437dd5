"""Short names for what most tests of tables do."""

from __future__ import annotations

from typing import Any

from profuse.data.dataset import Dataset
from profuse.data.table.reader import Source, TableReader
from profuse.schema import Schema

__all__ = ["opened"]


def opened(source: Source, **options: Any) -> tuple[Dataset, Schema]:
    """Returns the rows of a table to learn from, and its schema, resolved."""
    reader, dataset = TableReader.fit(source, **options)
    return dataset, reader.schema
