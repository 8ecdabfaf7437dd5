"""Saved models: a trained model and its pipeline -> a folder -> a model that predicts the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from profuse._folder import Format, read_folder, write_folder
from profuse._weights import with_weights
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.errors import CheckpointError
from profuse.models.build import ModelOptions, build_model
from profuse.schema import Schema
from profuse.training.fitting import TrainedModel
from profuse.training.loop import History, Model, TrainOptions

__all__ = ["load_estimator", "load_model", "save_model"]

_MODEL = Format("model", 1, "load_model", "'profuse fit --out' or save_model")


def save_model(trained: TrainedModel, folder: str | Path, *, estimator: Mapping[str, Any] | None = None) -> None:
    """Writes a trained model into `folder`, replacing a saved model that stands there.

    Args:
        trained: The model.
        folder: Where to.
        estimator: What an estimator knows besides, as JSON values; `load_estimator` returns it.

    Raises:
        CheckpointError: `folder` holds something else or cannot be written, or the model has the user's own parts,
            which a name cannot rebuild.
    """
    if trained.own_parts:
        raise CheckpointError(
            "save_model: every part must have a name from which it is rebuilt; got the user's own "
            f"{', '.join(trained.own_parts)}. Save model.state_dict() and pipeline.state() with your own code."
        )
    history = trained.history
    facts = {
        "pipeline": trained.pipeline.state(),
        "target": trained.codec.state(),
        "modalities": list(trained.modalities),
        "n_rows": trained.n_rows,
        "model_options": trained.model_options.model_dump(mode="json"),
        "train_options": trained.train_options.model_dump(mode="json"),
        "schema": None if trained.schema is None else trained.schema.model_dump(mode="json"),
        "history": None
        if history is None
        else {
            # JSON has no NaN
            "epochs": [{k: v if math.isfinite(v) else None for k, v in vars(e).items()} for e in history.epochs],
            "best_epoch": history.best_epoch,
            "n_train_rows": history.n_train_rows,
            "fit_seconds": history.fit_seconds,
            "n_parameters": history.n_parameters,
            "balance_weights": [dict(weights) for weights in history.balance_weights],
        },
    }
    facts |= {} if estimator is None else {"estimator": dict(estimator)}
    write_folder(folder, facts, trained.model.state_dict(), _MODEL)


def load_model(folder: str | Path) -> TrainedModel:
    """Reads what `save_model` wrote; its predictions equal those of the model that was saved.

    Raises:
        CheckpointError: The folder is not a saved model, is damaged, or is of a newer version.
    """
    return load_estimator(folder)[0]


def load_estimator(folder: str | Path) -> tuple[TrainedModel, dict[str, Any]]:
    """Reads what `save_model` wrote, and what it was told of the estimator: nothing where there was none.

    Raises:
        CheckpointError: See `load_model`.
    """

    def rebuild(facts: dict[str, Any], weights: dict[str, Tensor]) -> tuple[TrainedModel, dict[str, Any]]:
        saved = _Saved.model_validate(facts)
        return _restore(saved, weights, str(folder)), saved.estimator.model_dump(exclude_unset=True)

    return read_folder(folder, rebuild, _MODEL)


class _Estimator(BaseModel):
    """What `FusionClassifier` and `FusionRegressor` know besides."""

    model_config = ConfigDict(extra="forbid")

    validation_fraction: float = Field(0.2, gt=0, lt=1)
    on_bad_file: Literal["raise", "skip"] = "raise"
    random_state: int | None = Field(0, ge=0)
    columns: int | list[str] | None = None


class _Saved(BaseModel):
    """The facts of a saved model."""

    pipeline: dict[str, Any]
    target: dict[str, Any]
    modalities: tuple[str, ...] = Field(min_length=1)
    n_rows: int = Field(ge=1)
    model_options: ModelOptions
    train_options: TrainOptions
    table: Schema | None = Field(alias="schema")
    history: History | None
    estimator: _Estimator = _Estimator()

    @field_validator("history", mode="before")
    @classmethod
    def _undefined(cls, facts: Any) -> Any:
        """JSON has no NaN; and once the weights of a balance were those of the last epoch alone."""
        if not isinstance(facts, dict):
            return facts
        epochs = [{k: math.nan if v is None else v for k, v in epoch.items()} for epoch in facts["epochs"]]
        weights = facts.get("balance_weights")
        return {**facts, "epochs": epochs, "balance_weights": weights if isinstance(weights, list) else []}

    @model_validator(mode="after")
    def _fits(self) -> _Saved:
        if self.history is not None and not 1 <= self.history.best_epoch <= len(self.history.epochs):
            raise ValueError("best_epoch must be one of the epochs")
        for name, modality in (self.table.modalities if self.table is not None else {}).items():
            lacking = [c for c in modality.columns if self.table is not None and c not in self.table.columns]
            if modality.kind is None or not modality.columns or lacking:
                raise ValueError(f"the schema must say the kind of {name!r} and of its columns; lacking {lacking[:3]}")
        return self


def _restore(saved: _Saved, weights: dict[str, Tensor], source: str) -> TrainedModel:
    pipeline, codec = Pipeline.from_state(saved.pipeline), TargetCodec.from_state(saved.target)
    specs = {name: pipeline.specs[name] for name in saved.modalities}
    kinds = {name: p.takes for name, p in pipeline.preprocessors.items()}
    if saved.table is not None and (odd := saved.table.unlike(kinds)) is not None:
        raise ValueError(f"the schema must have modality {odd!r}, of the kind that its preprocessor takes")

    def make() -> Model:
        return build_model(specs, codec.task, codec.n_outputs, saved.model_options, n_rows=saved.n_rows, seed=0)

    return TrainedModel(
        pipeline=pipeline,
        codec=codec,
        model=with_weights(make, weights),
        modalities=saved.modalities,
        n_rows=saved.n_rows,
        model_options=saved.model_options,
        train_options=saved.train_options,
        history=saved.history,
        schema=saved.table,
        source=source,
    )
