"""How rows that memory does not hold are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from profuse._fields import Shown
from profuse._files import n_bytes_of

__all__ = ["ShardOptions", "StreamOptions"]


class StreamOptions(BaseModel):
    """How rows that memory does not hold are read and kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rows: int = Field(
        20_000,
        ge=100,
        description="Rows, drawn at random, of which kinds of columns, preprocessing and linear paths learn; a tenth "
        "of them, at least 100, where cells name files. Networks learn from all rows.",
    )
    chunk_rows: int = Field(10_000, ge=1, description="Rows that are read at a time; nothing else depends on it.")
    scratch: Annotated[Path | None, Shown("the folder that the model stands in", metavar="FOLDER")] = Field(
        None, description="Folder, on a disk, for the preprocessed rows while the fit runs; nothing stays in it."
    )


def _size(value: Any) -> Any:
    n_bytes_of(value, "shard_size")
    return value


class ShardOptions(BaseModel):
    """How rows are written to shards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shard_size: Annotated[str, AfterValidator(_size), Shown(metavar="SIZE", common=True)] = Field(
        "256M", description="Most bytes of a shard, 500M or 2G; a single row that takes more has one of its own."
    )
    rows_per_shard: Annotated[int | None, Shown("no bound", common=True)] = Field(
        None, ge=1, description="Most rows of a shard."
    )
    shuffle: Annotated[int | None, Shown("the order of the table", metavar="SEED", common=True)] = Field(
        None, ge=0, description="Put the rows into an order drawn with this seed."
    )
    chunk_rows: int = Field(10_000, ge=1, description="Rows that are read at a time; nothing else depends on it.")
