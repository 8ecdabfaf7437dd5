"""How a table's cells are read, for everything that has parameters: options, checked. This module loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from profuse._fields import Shown
from profuse.schema import OnBadFile

__all__ = ["ReadOptions"]


def _path(value: Any) -> Any:
    if value is not None and not isinstance(value, str | Path):
        raise ValueError(f"base_dir must be a path; got base_dir={value!r}")
    return value


class ReadOptions(BaseModel):
    """How the cells of a table are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_dir: Annotated[Any, AfterValidator(_path), Shown("the working directory")] = Field(
        None, description="Where relative paths of pictures, sounds and series start."
    )
    on_bad_file: Annotated[OnBadFile, Shown(common=True)] = Field(
        "raise", description="At a missing or broken picture, sound or series: raise, or skip: it counts as missing."
    )
