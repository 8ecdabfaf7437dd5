"""Saved models: a trained model and its pipeline -> a folder -> a model that predicts the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from profuse._folder import Format, read_folder, write_folder
from profuse.build import ModelOptions, build_model
from profuse.data.pipeline import Pipeline
from profuse.errors import CheckpointError
from profuse.learner import TrainedModel
from profuse.schema import Schema
from profuse.train import Epoch, History, TrainOptions

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
    return read_folder(folder, lambda facts, weights: (_restore(facts, weights), facts.get("estimator", {})), _MODEL)


def _restore(facts: dict[str, Any], weights: dict[str, Tensor]) -> TrainedModel:
    pipeline = Pipeline.from_state(facts["pipeline"])
    options = ModelOptions.model_validate(facts["model_options"])
    names = tuple(facts["modalities"])
    specs = {name: pipeline.specs[name] for name in names}
    n_rows, history = int(facts["n_rows"]), facts["history"]
    model = build_model(specs, pipeline.task, pipeline.target.n_outputs, options, n_rows=n_rows, seed=0)
    model.load_state_dict(weights)
    model.eval()
    return TrainedModel(
        pipeline=pipeline,
        model=model,
        modalities=names,
        n_rows=n_rows,
        model_options=options,
        train_options=TrainOptions.model_validate(facts["train_options"]),
        history=None if history is None else _history(history),
        schema=None if facts["schema"] is None else Schema.model_validate(facts["schema"]),
    )


def _history(facts: dict[str, Any]) -> History:
    epochs: list[dict[str, Any]] = [{k: math.nan if v is None else v for k, v in e.items()} for e in facts["epochs"]]
    weights: Any = facts.get("balance_weights", [])
    if not isinstance(weights, list):  # once they were those of the last epoch alone
        weights = []
    told = {"epochs": tuple(Epoch(**e) for e in epochs), "balance_weights": tuple(weights)}
    return History(**{**facts, **told})
