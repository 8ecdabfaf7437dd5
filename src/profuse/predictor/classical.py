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
from profuse.classical.neighbours import Neighbours
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

__all__ = ["ClassicalPredictor", "Features", "features_of"]


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
        neighbours: What fills modalities that a row lacks; None: the model is given missing features.
    """

    pipeline: Pipeline
    codec: TargetCodec
    features: FeaturePipeline
    name: str
    model: ClassicalModel
    modalities: tuple[str, ...]
    threads: int = 1
    neighbours: Neighbours | None = None
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
        some = inputs if rows is None else {name: f.rows(torch.as_tensor(rows)) for name, f in inputs.items()}
        values = {name: some[name].values for name in sorted(self.modalities)}
        with limit_threads(self.threads), applied(self.source):
            if self.neighbours is not None:
                values = self.neighbours.filled(values, {name: some[name].present.numpy() for name in values})
            x = side_by_side([*values.values()], len(next(iter(some.values()))))
            outputs = self.codec.in_units(self.model.predict(x))
            if self.source and not np.isfinite(outputs).all():
                raise ValueError("predictions that are no finite numbers")
            predicted()
            return outputs

    def sharing(self, known: dict[Any, Any]) -> ClassicalPredictor:
        """See `Predictor.sharing`."""
        names = self.features.names
        parts = {m: known.setdefault((m, names[m]), part) for m, part in self.features.parts.items()}
        pipeline = known.setdefault(self.pipeline.key, self.pipeline)
        neighbours = self.neighbours and known.setdefault(("neighbours", *sorted(names.items())), self.neighbours)
        return replace(self, pipeline=pipeline, features=FeaturePipeline(parts, names), neighbours=neighbours)

    def card_made(self) -> list[Block]:
        """See `Predictor.card_made`."""
        said: list[Block] = [f"One classical model: {self.name!r}."]
        if self.neighbours is not None:
            said.append(
                f"Features of a modality that a row lacks are those of the {self.neighbours.n_nearest} nearest of "
                f"{self.neighbours.n_donors} training rows, which are kept in the model."
            )
        if self.model.of_logarithms:
            said.append("It has learned the logarithm of the target, which is skewed and never below 0.")
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
        if self.neighbours is not None:
            own["neighbours"] = {"state": self.neighbours.state()} if parts is None else parts.put(self.neighbours)
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
            neighbours=_restored(own.neighbours, saved),
            schema=saved.schema,
            source=source,
        )


def features_of(x: Mapping[str, Matrix], inputs: Mapping[str, Any], rows: np.ndarray) -> dict[str, Features]:
    """Returns features of some rows as a predictor takes them; those of a modality that is not used are none.

    Args:
        x: Of all rows, by modality that is used.
        inputs: By modality, what knows which of all rows are `present`.
        rows: Which.
    """
    nothing, index = np.zeros((len(rows), 0)), torch.as_tensor(rows)
    return {n: Features(x[n][rows] if n in x else nothing, raw.present[index]) for n, raw in inputs.items()}


def _restored(kept: Any, saved: SavedPredictor) -> Neighbours | None:
    if kept is None:
        return None
    made = (
        Neighbours.from_state(kept["state"]) if saved.parts is None else saved.parts.take(kept, Neighbours.from_state)
    )
    if not isinstance(made, Neighbours) or not set(made.donors) <= set(saved.modalities):
        raise ValueError("neighbours must be of the model's modalities")
    return made


class _Saved(BaseModel):
    """What a folder holds of a classical model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    threads: int = Field(ge=1)
    features: dict[str, dict[str, object]]
    state: dict[str, object]
    neighbours: int | dict[str, Any] | None = None
