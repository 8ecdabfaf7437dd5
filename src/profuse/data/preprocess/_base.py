"""What every preprocessor is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from profuse.data.dataset import ModalityData
from profuse.data.table.unseen import Unseen
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["Preprocessor"]


class Preprocessor(ABC):
    """Turns the rows of one modality into `Raw`; what it learns, it learns from the rows given to `fit`.

    Its state is plain data: numbers, strings, lists and arrays, so that it is saved without pickle.
    """

    takes: str
    """The kind it reads."""

    gives: ClassVar[str | None] = None
    """The kind of its `spec`, where it is not the one that it reads: text that becomes a vector, say."""

    spec: Spec
    """What it tells the encoder; set by `fit`."""

    notes: tuple[str, ...] = ()
    """What was counted in `fit` and since: rows that are cut, numbers that are set. Told to the user."""

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether it reads rows of the kind called `name`."""
        return name == cls.takes

    @abstractmethod
    def fit(self, data: ModalityData) -> None:
        """Learns its statistics from `data`, which holds training rows only. Absent rows are not read."""

    @abstractmethod
    def transform(self, data: ModalityData) -> Raw:
        """Returns all rows of `data` as one `Raw` on the CPU, padded to the longest; finite everywhere.

        Raises:
            DataError: The rows do not fit what was fitted (other columns, channels, ...).
        """

    def unseen(self, data: ModalityData) -> list[Unseen]:
        """Returns for each column of categories what `data` holds of those that training has not seen."""
        return []

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns what was learned: JSON values and NumPy arrays, at any depth of dicts."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Preprocessor:
        """Returns a fitted preprocessor equal to the one whose `state` this is."""
