"""What learns from the rows of one modality, whatever it makes of them: what it reads, and how it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

from profuse._cores import limit_threads
from profuse.data.dataset import ModalityData
from profuse.errors import DataError

__all__ = ["KindPart", "fit_part"]


class KindPart(ABC):
    """Learns from the rows given to `fit`, and from no others.

    Its state is plain data: numbers, strings, lists and arrays, so that it is saved without pickle.
    """

    takes: str
    """The kind it reads."""

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether it reads rows of the kind called `name`."""
        return name == cls.takes

    @abstractmethod
    def fit(self, data: ModalityData) -> None:
        """Learns its statistics from `data`, which holds training rows only. Absent rows are not read."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns what was learned: JSON values and NumPy arrays, at any depth of dicts."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Returns a fitted part equal to the one whose `state` this is."""


def fit_part(part: KindPart, data: ModalityData, *, where: str, what: str, modality: str, name: str) -> None:
    """Fits `part` on the rows of a modality, in one thread.

    Args:
        part: Not fitted yet.
        data: Training rows.
        where: Who asks; messages begin with it.
        what: What the part is, for messages.
        modality: The name of the modality.
        name: The name of the part.

    Raises:
        DataError: The modality is absent in all of these rows, or the part takes another kind.
    """
    if not data.present.any():
        raise DataError(
            f"{where}: modality {modality!r} must be present in at least one training row; it is missing in all "
            f"{len(data)}. Leave it out, or choose another split."
        )
    if not part.accepts(data.kind):
        raise DataError(
            f"{where}: the {what} of {modality!r} must take kind {data.kind!r}; got {name!r}, which takes "
            f"{part.takes!r}."
        )
    with limit_threads(1):
        part.fit(data)
