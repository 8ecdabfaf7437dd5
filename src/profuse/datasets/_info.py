"""What is known of a data set before it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from profuse.schema import Task

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset

__all__ = ["DatasetInfo"]


@dataclass(frozen=True)
class DatasetInfo:
    """A named data set: one row of `profuse datasets`, and the function that reads it.

    Attributes:
        name: The name it is registered by.
        modalities: Modality to kind, in the default variant.
        n_rows: Rows of the default variant.
        task: What kind of target.
        target: What is predicted, in words.
        split: The split it comes with, in words.
        licence: Of the data.
        source: Repository @ commit and path, or where else it comes from.
        load: Reads a variant; the folder that holds the data sets' folders, or None, is its second argument.
        variants: Name to description; the first is the default.
        extra: The extra of profuse that fetches it, or None if nothing needs fetching.
        folder: Its folder under the data root, or None if it reads no files.
        here: Whether all its files are on this machine; None until `describe` has looked.
    """

    name: str
    modalities: Mapping[str, str]
    n_rows: int
    task: Task
    target: str
    split: str
    licence: str
    source: str
    load: Callable[[str, Path | None], Dataset]
    variants: Mapping[str, str] = field(default_factory=lambda: {"default": "as described"})
    extra: str | None = None
    folder: str | None = None
    here: bool | None = None

    @property
    def description(self) -> str:
        """In a line, what is predicted from what."""
        return f"{self.target}, from {', '.join(self.modalities)}"

    @property
    def default_variant(self) -> str:
        """The variant that is loaded when none is named."""
        return next(iter(self.variants))
