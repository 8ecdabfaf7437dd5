"""What every set of features is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from scipy import sparse

from profuse.data.dataset import ModalityData

__all__ = ["Features", "Matrix"]

Matrix: TypeAlias = "np.ndarray | sparse.csr_matrix"
"""Float `[row, feature]`: dense, NaN = missing; or sparse, where a row that is missing is empty."""


class Features(ABC):
    """Describes the rows of one modality by numbers; what it learns, it learns from the rows given to `fit`.

    Its state is plain data: numbers, strings, lists and arrays, so that it is saved without pickle.
    """

    takes: str
    """The kind it reads."""

    alone: ClassVar[bool] = True
    """Whether a model of this modality alone is tried with them: not where its kind has fuller ones of that sort."""

    categories: tuple[bool, ...] = ()
    """For each feature, whether it holds codes of a category; empty where none does."""

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether it reads rows of the kind called `name`."""
        return name == cls.takes

    @abstractmethod
    def fit(self, data: ModalityData) -> None:
        """Learns its statistics from `data`, which holds training rows only. Absent rows are not read."""

    @abstractmethod
    def transform(self, data: ModalityData) -> Matrix:
        """Returns the features of all rows of `data`, each by itself; those of an absent row are missing.

        Raises:
            DataError: The rows do not fit what was fitted (other columns, channels, ...).
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns what was learned: JSON values and NumPy arrays, at any depth of dicts."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Returns fitted features equal to those whose `state` this is."""
