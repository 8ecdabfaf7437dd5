"""How rows that memory does not hold are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from profuse._fields import Shown

__all__ = ["StreamOptions"]


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
