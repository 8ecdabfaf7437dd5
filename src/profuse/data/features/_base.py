"""What every set of features is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, TypeAlias

import numpy as np
from scipy import sparse

from profuse.data.dataset import ModalityData
from profuse.data.kind_part import KindPart

__all__ = ["Features", "Matrix"]

Matrix: TypeAlias = "np.ndarray | sparse.csr_matrix"
"""Float `[row, feature]`: dense, NaN = missing; or sparse, where a row that is missing is empty."""


class Features(KindPart):
    """Describes the rows of one modality by numbers."""

    alone: ClassVar[bool] = True
    """Whether a model of this modality alone is tried with them: not where its kind has fuller ones of that sort."""

    sparse: ClassVar[bool] = False
    """Whether they are a sparse matrix: a model of all modalities takes the sparse set of a kind where it can."""

    categories: tuple[bool, ...] = ()
    """For each feature, whether it holds codes of a category; empty where none does."""

    @abstractmethod
    def transform(self, data: ModalityData) -> Matrix:
        """Returns the features of all rows of `data`, each by itself; those of an absent row are missing.

        Raises:
            DataError: The rows do not fit what was fitted (other columns, channels, ...).
        """
