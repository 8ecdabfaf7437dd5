"""What every preprocessor is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from profuse.data.dataset import ModalityData
from profuse.data.kind_part import KindPart
from profuse.data.table.unseen import Unseen
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["Preprocessor"]


class Preprocessor(KindPart):
    """Turns the rows of one modality into `Raw`."""

    gives: ClassVar[str | None] = None
    """The kind of its `spec`, where it is not the one that it reads: text that becomes a vector, say."""

    bound: ClassVar[str] = ""
    """The argument of its constructor that bounds the positions of a row, `max_length` in a schema; "": it has none."""

    spec: Spec
    """What it tells the encoder; set by `fit`."""

    notes: tuple[str, ...] = ()
    """What was counted in `fit` and since: rows that are cut, numbers that are set. Told to the user."""

    @abstractmethod
    def transform(self, data: ModalityData) -> Raw:
        """Returns all rows of `data` as one `Raw` on the CPU, padded to the longest; finite everywhere.

        Raises:
            DataError: The rows do not fit what was fitted (other columns, channels, ...).
        """

    @classmethod
    def refusal(cls, data: ModalityData) -> str:
        """Returns why it does not read such rows, and what to do, as an error ends: "must ...; got .... Name ...".

        "" where nothing speaks against it. Asked before any fit, of kinds that it does not accept too.
        """
        return ""

    @classmethod
    def lacking(cls) -> str:
        """Returns why it cannot be used on this machine, as an error ends (`refusal`); "" if it can."""
        return ""

    def unseen(self, data: ModalityData) -> list[Unseen]:
        """Returns for each column of categories what `data` holds of those that training has not seen."""
        return []
