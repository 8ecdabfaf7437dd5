"""Saved predictors: a folder of safetensors and JSON -> one that predicts the same. No code, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from profuse._folder import Format, read_folder, write_folder
from profuse._lookup import load, resolve
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.schema import OnBadFile, Schema

if TYPE_CHECKING:
    from profuse.predictor.base import Predictor

__all__ = ["MODEL", "SavedPredictor", "load_model", "load_with_estimator", "write_predictor"]

MODEL = Format("model", 1, "load_model", "'profuse fit', 'profuse compare' or Predictor.save")
_PREDICTORS = {
    "NetworkPredictor": "profuse.predictor.network:NetworkPredictor",
    "ClassicalPredictor": "profuse.predictor.classical:ClassicalPredictor",
}


@dataclass(frozen=True)
class SavedPredictor:
    """What a folder holds of any predictor, and its `own` facts."""

    pipeline: Pipeline
    codec: TargetCodec
    modalities: tuple[str, ...]
    schema: Schema | None
    own: dict[str, Any]


class _Estimator(BaseModel):
    """What `FusionClassifier` and `FusionRegressor` know besides."""

    model_config = ConfigDict(extra="forbid")

    validation_fraction: float = Field(0.2, gt=0, lt=1)
    on_bad_file: OnBadFile = "raise"
    random_state: int | None = Field(0, ge=0)
    columns: int | list[str] | None = None


class _Facts(BaseModel):
    """The facts of a folder."""

    predictor: str
    pipeline: dict[str, Any]
    target: dict[str, Any]
    modalities: tuple[str, ...]
    table: Schema | None = Field(alias="schema")
    own: dict[str, Any]
    estimator: _Estimator = _Estimator()


def write_predictor(
    folder: str | Path,
    predictor: Predictor,
    own: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    estimator: Mapping[str, Any] | None = None,
) -> None:
    """Writes a predictor into `folder`.

    Args:
        folder: Where to; see `write_folder`.
        predictor: Its class is one of those that can be loaded.
        own: Facts of this kind of predictor: JSON values and arrays.
        weights: Of a network.
        estimator: What an estimator knows besides, as JSON values.
    """
    facts = {
        "predictor": type(predictor).__name__,
        "pipeline": predictor.pipeline.state(),
        "target": predictor.codec.state(),
        "modalities": list(predictor.modalities),
        "schema": None if predictor.schema is None else predictor.schema.model_dump(mode="json"),
        "own": dict(own),
    }
    facts |= {} if estimator is None else {"estimator": dict(estimator)}
    write_folder(folder, facts, weights, MODEL)


def load_model(folder: str | Path) -> Predictor:
    """Returns the predictor that `Predictor.save`, an estimator, `profuse fit` or a comparison left in `folder`.

    Its predictions equal those of the one that was saved.

    Raises:
        CheckpointError: The folder is not a saved model, is damaged, or is of a newer version.
    """
    return load_with_estimator(folder)[0]


def load_with_estimator(folder: str | Path) -> tuple[Predictor, dict[str, Any]]:
    """Returns the predictor, and what was saved of an estimator: nothing where there was none."""

    def rebuild(facts: dict[str, Any], weights: dict[str, Tensor]) -> tuple[Predictor, dict[str, Any]]:
        pipeline = Pipeline.from_state(facts["pipeline"])  # first: it tells a part that is not known by its name
        read = _Facts.model_validate(facts)
        _check(pipeline, read)
        cls: Any = load(resolve(read.predictor, _PREDICTORS, where="load_model", what="predictor"))
        saved = SavedPredictor(pipeline, TargetCodec.from_state(read.target), read.modalities, read.table, read.own)
        return cls.restore(saved, weights, str(folder)), read.estimator.model_dump(exclude_unset=True)

    return read_folder(folder, rebuild, MODEL)


def _check(pipeline: Pipeline, read: _Facts) -> None:
    """Checks that the schema tells what the preprocessors take."""
    if unknown := sorted(set(read.modalities) - set(pipeline.preprocessors)):
        raise ValueError(f"modalities must be those of the pipeline; got {unknown[:3]}")
    if read.table is None:
        return
    for name, modality in read.table.modalities.items():
        lacking = [c for c in modality.columns if c not in read.table.columns]
        if modality.kind is None or not modality.columns or lacking:
            raise ValueError(f"the schema must say the kind of {name!r} and of its columns; lacking {lacking[:3]}")
    kinds = {name: p.takes for name, p in pipeline.preprocessors.items()}
    if (odd := read.table.unlike(kinds)) is not None:
        raise ValueError(f"the schema must have modality {odd!r}, of the kind that its preprocessor takes")
