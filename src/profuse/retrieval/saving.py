"""A fitted retriever -> facts and weights of a folder, and back."""

from __future__ import annotations

from typing import Any

from profuse._folder import Format
from profuse._weights import with_weights
from profuse.data.pipeline import Pipeline
from profuse.retrieval._model import build
from profuse.retrieval.linear import LinearSpace
from profuse.retrieval.options import RetrievalOptions, RetrievalTraining
from profuse.retrieval.spaces import Fitted, LearnedSpace, Space
from profuse.schema import Schema
from profuse.training.history import Epoch, History

__all__ = ["INDEX", "RETRIEVER", "facts_of", "restored"]

RETRIEVER = Format("retriever", 1, "Retriever.load", "'profuse retrieve --out' or Retriever.save")
INDEX = Format("index", 1, "load_index", "'profuse retrieve --index' or Index.save")


def facts_of(fitted: Fitted) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns JSON values, and arrays among them, and weights."""
    schema, history = fitted.schema, fitted.history
    learned = fitted.spaces.get("learned")
    facts = {
        "options": fitted.options.model_dump(mode="json"),
        "training": fitted.training.model_dump(mode="json"),
        "n_rows": fitted.n_rows,
        "schema": None if schema is None else schema.model_dump(mode="json"),
        "history": [] if history is None else [e.to_json() for e in history.epochs],
        "best_epoch": None if history is None else history.best_epoch,
        "method": fitted.method,
        "validation": fitted.validation,
        "states": {
            "pipeline": fitted.pipeline.state(),
            "linear": {name: s.state() for name, s in fitted.spaces.items() if isinstance(s, LinearSpace)},
        },
    }
    return facts, learned.model.state_dict() if isinstance(learned, LearnedSpace) else {}


def restored(facts: dict[str, Any], weights: dict[str, Any]) -> Fitted:
    """Returns what `facts_of` was given."""
    states = facts["states"]
    options = RetrievalOptions.model_validate(facts["options"])
    pipeline = Pipeline.from_state(states["pipeline"])
    n_rows, method = int(facts["n_rows"]), facts["method"]
    spaces: dict[str, Space] = {}
    if weights:
        model = with_weights(lambda: build(pipeline.specs, options, n_rows=n_rows, seed=0), weights)
        spaces["learned"] = LearnedSpace(model, pipeline)
    for name, state in states["linear"].items():
        spaces[name] = LinearSpace.from_state(state)
    spaces[method]  # is among them, or the folder is damaged
    schema = None if facts["schema"] is None else Schema.model_validate(facts["schema"])
    kinds = {name: preprocessor.takes for name, preprocessor in pipeline.preprocessors.items()}
    if schema is not None and (odd := schema.unlike(kinds)) is not None:
        raise ValueError(f"the schema must have modality {odd!r}, of the kind that its preprocessor takes")
    epochs = tuple(Epoch.from_json(e) for e in facts["history"])
    history = History(epochs, facts["best_epoch"], n_rows, 0.0) if epochs else None
    training = RetrievalTraining.model_validate(facts["training"])
    return Fitted(spaces, method, facts["validation"], pipeline, options, training, n_rows, schema, history)
