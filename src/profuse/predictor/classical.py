"""`ClassicalPredictor`: a classical model, and the features that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from profuse._cores import limit_threads
from profuse._folder import applied
from profuse.classical import ClassicalModel, restored, side_by_side
from profuse.data.dataset import Dataset
from profuse.data.feature_pipeline import FeaturePipeline
from profuse.data.features import Matrix
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.errors import ShapeError
from profuse.predictor.base import Predictor
from profuse.predictor.card import Block, Table
from profuse.predictor.decision import MOST_PROBABLE, Decision
from profuse.predictor.saving import PartStore, SavedPredictor
from profuse.predictor.trained import TrainedOn
from profuse.predictor.watching import predicted
from profuse.schema import Schema

__all__ = ["ClassicalPredictor", "Features"]


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one modality; those of a row that lacks it are NaN, or none where they are sparse.

    Attributes:
        values: `[row, feature]`.
        present: `[row]` bool: which rows have the modality.
    """

    values: Matrix
    present: Tensor

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def rows(self, index: Tensor) -> Features:
        """Returns the rows `index`."""
        return Features(self.values[np.asarray(index)], self.present[index])

    def without(self, rows: Tensor) -> Features:
        """Returns the same with the modality absent in `rows[row]` (bool)."""
        gone = np.asarray(rows)
        if isinstance(self.values, np.ndarray):
            values = np.where(gone[:, None], np.nan, self.values)
        else:
            values = self.values.multiply(~gone[:, None]).tocsr()
        return Features(values, self.present & ~rows)


@dataclass(frozen=True, eq=False, repr=False)
class ClassicalPredictor(Predictor):
    """A classical model on the features of all its modalities together; see `Predictor`.

    Attributes:
        features: Of its modalities, fitted.
        name: Of the model, in `profuse.classical.CLASSICAL`.
        model: Fitted.
        threads: Threads of the processor in prediction.
    """

    pipeline: Pipeline
    codec: TargetCodec
    features: FeaturePipeline
    name: str
    model: ClassicalModel
    modalities: tuple[str, ...]
    threads: int = 1
    schema: Schema | None = None
    source: str = ""
    decision: Decision = MOST_PROBABLE
    trained_on: TrainedOn | None = None

    @property
    def n_parameters(self) -> int:
        """Coefficients, or leaves."""
        return self.model.n_parameters

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Features]:
        """Returns the features of each modality of the pipeline; a modality that is not used has none."""
        made: dict[Any, Features] = {} if kept is None else kept
        return {name: self.encode_one(dataset, name, made) for name in self.pipeline.preprocessors}

    def encode_one(self, dataset: Dataset, name: str, kept: dict[Any, Any] | None = None) -> Features:
        """See `Predictor.encode_one`."""
        made: dict[Any, Features] = {} if kept is None else kept
        key = id(self.features.parts.get(name)), name
        if key not in made:
            values: Matrix = np.zeros((len(dataset), 0))
            if name in self.features.parts:
                with applied(self.source):
                    values = self.features.transform_one(dataset, name)
            made[key] = Features(values, torch.tensor(dataset.modalities[name].present))
        return made[key]

    def predict_encoded(self, inputs: Mapping[str, Features], rows: np.ndarray | None = None) -> np.ndarray:
        """See `Predictor.predict_encoded`."""
        if not inputs:
            raise ShapeError("predict_encoded: inputs must hold a modality, to know how many rows there are.")
        values = [inputs[name].values for name in sorted(self.modalities)]
        x = side_by_side(values, len(next(iter(inputs.values()))))
        with limit_threads(self.threads), applied(self.source):
            outputs = self.codec.in_units(self.model.predict(x if rows is None else x[rows]))
            if self.source and not np.isfinite(outputs).all():
                raise ValueError("predictions that are no finite numbers")
            predicted()
            return outputs

    def sharing(self, known: dict[Any, Any]) -> ClassicalPredictor:
        """See `Predictor.sharing`."""
        names = self.features.names
        parts = {m: known.setdefault((m, names[m]), part) for m, part in self.features.parts.items()}
        pipeline = known.setdefault(self.pipeline.key, self.pipeline)
        return replace(self, pipeline=pipeline, features=FeaturePipeline(parts, names))

    def card_made(self) -> list[Block]:
        """See `Predictor.card_made`."""
        said: list[Block] = [f"One classical model: {self.name!r}."]
        rows = [(name, str(self.features.names.get(name, ""))) for name in self.modalities]
        return [*said, Table(("modality", "features"), tuple(rows), 2)] if rows else said

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        """See `Predictor.packed`."""
        own = {
            "name": self.name,
            "threads": self.threads,
            "features": self.features.state(None if parts is None else parts.put),
            "state": self.model.state(),
        }
        return own, {}

    @classmethod
    def restore(cls, saved: SavedPredictor, weights: Mapping[str, Tensor], source: str) -> ClassicalPredictor:
        """Returns what `save` wrote."""
        own, codec = _Saved.model_validate(saved.own), saved.codec
        if weights:
            raise ValueError(f"a classical model must have no weights; got {sorted(weights)[:3]}")
        return cls(
            pipeline=saved.pipeline,
            codec=codec,
            features=FeaturePipeline.from_state(own.features, None if saved.parts is None else saved.parts.take),
            name=own.name,
            model=restored(own.name, own.state, codec.task, codec.n_outputs),
            modalities=saved.modalities,
            threads=own.threads,
            schema=saved.schema,
            source=source,
        )


class _Saved(BaseModel):
    """What a folder holds of a classical model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    threads: int = Field(ge=1)
    features: dict[str, dict[str, object]]
    state: dict[str, object]
