"""Saved predictors: a folder of safetensors and JSON -> one that predicts the same. No code, no pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from profuse._folder import CARD, Format, read_folder, write_folder
from profuse._lookup import load, resolve
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.predictor.decision import MOST_PROBABLE, Decision
from profuse.predictor.described import card_of
from profuse.predictor.trained import TrainedOn
from profuse.schema import OnBadFile, Schema

if TYPE_CHECKING:
    from profuse.predictor.base import Predictor

__all__ = [
    "MODEL",
    "PartStore",
    "SavedPredictor",
    "facts_of",
    "load_model",
    "load_with_estimator",
    "restore_predictor",
    "write_predictor",
]

T = TypeVar("T")
MODEL = Format("model", 1, "load_model", "'profuse fit', 'profuse compare' or Predictor.save")
_PREDICTORS = {
    "NetworkPredictor": "profuse.predictor.network:NetworkPredictor",
    "ClassicalPredictor": "profuse.predictor.classical:ClassicalPredictor",
    "PortfolioPredictor": "profuse.predictor.portfolio:PortfolioPredictor",
}


class PartStore:
    """Fitted parts that several predictors of one folder share: each is written once, and made once.

    Args:
        states: Of the parts, as `states` was when they were written.

    Attributes:
        states: Of the parts, in the order of their numbers.
    """

    def __init__(self, states: Sequence[Any] = ()) -> None:
        self.states = list(states)
        self._numbers: dict[int, int] = {}
        self._parts: dict[int, Any] = {}

    def put(self, part: Any) -> int:
        """Returns the number of a part, which has a `state`."""
        if id(part) not in self._numbers:
            self._numbers[id(part)] = len(self.states)
            self._parts[len(self.states)] = part  # kept, so that no other takes its id
            self.states.append(part.state())
        return self._numbers[id(part)]

    def take(self, number: Any, make: Callable[[Any], T]) -> T:
        """Returns the part of that number, made by `make` of its state where it is asked for first.

        Raises:
            ValueError: There is no such part.
        """
        if type(number) is not int or not 0 <= number < len(self.states):
            raise ValueError(f"a part must be one of the {len(self.states)} that are kept; got {number!r}")
        if number not in self._parts:
            self._parts[number] = make(self.states[number])
        part: T = self._parts[number]
        return part


@dataclass(frozen=True)
class SavedPredictor:
    """What a folder holds of any predictor, and its `own` facts; `parts` are what it shares with others, if it does."""

    pipeline: Pipeline
    codec: TargetCodec
    modalities: tuple[str, ...]
    schema: Schema | None
    own: dict[str, Any]
    parts: PartStore | None = None


class _Estimator(BaseModel):
    """What `FusionClassifier` and `FusionRegressor` know besides."""

    model_config = ConfigDict(extra="forbid")

    validation_fraction: float = Field(0.2, gt=0, lt=1)
    metric: str | None = None
    on_bad_file: OnBadFile = "raise"
    random_state: int | None = Field(0, ge=0)
    columns: int | list[str] | None = None


class _Facts(BaseModel):
    """The facts of a folder, or of a predictor in it."""

    predictor: str
    pipeline: Any
    target: dict[str, Any]
    modalities: tuple[str, ...]
    table: Schema | None = Field(alias="schema")
    own: dict[str, Any]
    estimator: _Estimator = _Estimator()
    decision: Decision = MOST_PROBABLE
    trained_on: TrainedOn | None = None


def facts_of(predictor: Predictor, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Returns the facts and the weights of a predictor; `restore_predictor` takes them.

    Args:
        predictor: Its class is one of those that can be loaded.
        parts: Takes what it shares with others; None: all is among the facts.
    """
    own, weights = predictor.packed(parts)
    facts = {
        "predictor": type(predictor).__name__,
        "pipeline": predictor.pipeline.state() if parts is None else parts.put(predictor.pipeline),
        "target": predictor.codec.state(),
        "modalities": list(predictor.modalities),
        "schema": None if predictor.schema is None else predictor.schema.model_dump(mode="json"),
        "own": own,
    }
    if not predictor.decision.is_most_probable:
        facts["decision"] = predictor.decision.model_dump(mode="json", exclude_none=True)
    if predictor.trained_on is not None and parts is None:  # what a model of several was fitted to, the whole tells
        facts["trained_on"] = predictor.trained_on.model_dump(mode="json")
    return facts, weights


def restore_predictor(
    facts: Mapping[str, Any], weights: Mapping[str, Tensor], source: str, parts: PartStore | None = None
) -> Predictor:
    """Returns the predictor whose `facts_of` these are.

    Args:
        facts: Of it.
        weights: Of it.
        source: The folder that holds them.
        parts: Holds what it shares with others.

    Raises:
        UnknownNameError: A part of it is not known here.
        ValueError: Its parts do not fit each other.
    """
    # first: it tells a part that is not known by its name
    made = facts["pipeline"]
    pipeline = Pipeline.from_state(made) if parts is None else parts.take(made, Pipeline.from_state)
    read = _Facts.model_validate(facts)
    _check(pipeline, read)
    cls: Any = load(resolve(read.predictor, _PREDICTORS, where="load_model", what="predictor"))
    codec = TargetCodec.from_state(read.target)
    saved = SavedPredictor(pipeline, codec, read.modalities, read.table, read.own, parts)
    predictor: Predictor = cls.restore(saved, weights, source)
    read.decision.check(codec.task, codec.n_outputs)
    trained = read.trained_on
    if trained is not None and len(trained.counts) not in (0, len(codec.classes)):
        raise ValueError("trained_on must count the rows of each class")
    return predictor.with_decision(read.decision).with_trained_on(trained)


def write_predictor(folder: str | Path, predictor: Predictor, *, estimator: Mapping[str, Any] | None = None) -> None:
    """Writes a predictor into `folder`, and its card, which is for people: nothing reads it.

    Args:
        folder: Where to; see `write_folder`.
        predictor: Its class is one of those that can be loaded.
        estimator: What an estimator knows besides, as JSON values.
    """
    facts, weights = facts_of(predictor)
    facts |= {} if estimator is None else {"estimator": dict(estimator)}
    write_folder(folder, facts, weights, MODEL, beside={CARD: card_of(predictor).markdown()})


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
        predictor = restore_predictor(facts, weights, str(folder))
        return predictor, _Facts.model_validate(facts).estimator.model_dump(exclude_unset=True)

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
