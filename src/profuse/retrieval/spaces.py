"""What every space of a retriever can do, the learned one, and all that a fitted retriever knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.data.pipeline import Pipeline
from profuse.retrieval._model import RetrievalModel
from profuse.retrieval.options import RetrievalOptions
from profuse.schema import Schema
from profuse.training.history import History
from profuse.training.options import TrainOptions

__all__ = ["Fitted", "LearnedSpace", "Space"]


class Space(Protocol):
    """A space in which all modalities have their places."""

    def embed(self, name: str, data: ModalityData) -> np.ndarray:
        """Returns the places of one modality's rows, float32 `[row, dim]` of length 1; 0 where it is absent."""
        ...


class LearnedSpace:
    """The space of a network.

    Args:
        model: Trained.
        pipeline: Fitted.
    """

    def __init__(self, model: RetrievalModel, pipeline: Pipeline) -> None:
        self.model, self.pipeline = model, pipeline

    def embed(self, name: str, data: ModalityData) -> np.ndarray:
        """Returns the places of one modality's rows, float32 `[row, dim]` of length 1; 0 where it is absent."""
        return self.model.embed(name, self.pipeline.preprocessors[name].transform(data))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a retriever has learned.

    Attributes:
        spaces: By method; the one that is used, and those that `evaluate` measures beside it.
        method: The one that is used.
        validation: The mean reciprocal rank on validation rows, by method.
        pipeline: Reads the modalities.
        options: How it was made.
        training: How the learned space was trained.
        n_rows: Rows that were learned from.
        schema: The table's; None if it was none.
        history: The epochs; None if nothing was trained.
    """

    spaces: Mapping[str, Space]
    method: str
    validation: Mapping[str, float]
    pipeline: Pipeline
    options: RetrievalOptions
    training: TrainOptions
    n_rows: int
    schema: Schema | None
    history: History | None

    @property
    def space(self) -> Space:
        """The one that is used."""
        return self.spaces[self.method]
