"""`PortfolioPredictor`: several predictors that predict together, with weights by which modalities a row lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from profuse._folder import applied
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, ShapeError
from profuse.predictor.base import Part, Predictor
from profuse.predictor.card import Block
from profuse.predictor.decision import MOST_PROBABLE, Decision
from profuse.predictor.portfolio_card import made_of, scored_as
from profuse.predictor.saving import PartStore, SavedPredictor, facts_of, restore_predictor
from profuse.predictor.trained import TrainedOn
from profuse.predictor.watching import planned
from profuse.schema import Schema, Task

__all__ = ["MemberFacts", "Parts", "PortfolioPredictor", "softened"]


class MemberFacts(BaseModel):
    """A model of a portfolio, as reports tell of it.

    Attributes:
        name: Unique.
        weight: In rows that lack nothing.
        score: Of rows that it has not learned from, in the metric that has chosen.
        loss: Of the same rows: the log loss of classes, the mean squared error of numbers.
        seconds: That its fits have taken.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    weight: float = Field(ge=0, le=1)
    score: float | None
    loss: float | None
    seconds: float = Field(ge=0)


@dataclass(frozen=True, eq=False)
class Parts:
    """One modality of the same rows as each predictor takes it; those that take the same share it.

    Attributes:
        each: By predictor.
        present: `[row]` bool: which rows have the modality.
    """

    each: tuple[Part, ...]
    present: Tensor

    def __len__(self) -> int:
        return len(self.present)

    def rows(self, index: Tensor) -> Parts:
        """Returns the rows `index`."""
        made = {id(part): part.rows(index) for part in self.each}
        return Parts(tuple(made[id(part)] for part in self.each), self.present[index])

    def without(self, rows: Tensor) -> Parts:
        """Returns the same with the modality absent in `rows[row]` (bool)."""
        made = {id(part): part.without(rows) for part in self.each}
        return Parts(tuple(made[id(part)] for part in self.each), self.present & ~rows)


@dataclass(frozen=True, eq=False, repr=False)
class PortfolioPredictor(Predictor):
    """sum_m w_m mean_f p_mf of members m, each of several predictors f; probabilities are sharpened by one power.

    Which weights w a row has depends on the modalities that it lacks: those of its pattern, or of the most similar
    one. See `Predictor` for the rest.

    Attributes:
        pipeline: Reads new rows; each predictor has its own.
        predictors: Of all members.
        member_of: `[predictor]`: the member that each belongs to.
        members: What is told of each member.
        patterns: Modalities that are absent, sorted, of each pattern; the first is that of none.
        weights: `[pattern, member]`, rows add up to 1.
        held_prediction: `[row, output]`, of the rows learned from, by fits and weights that had no part in them; NaN
            for rows that are never held out. Not saved.
        about: How good it is on held-out rows, and what was left out.
        temperature: Probabilities are proportional to p^(1 / temperature); 1 for numbers.
    """

    pipeline: Pipeline
    codec: TargetCodec
    modalities: tuple[str, ...]
    predictors: tuple[Predictor, ...]
    member_of: tuple[int, ...]
    members: tuple[MemberFacts, ...]
    patterns: tuple[tuple[str, ...], ...]
    weights: np.ndarray
    temperature: float = 1.0
    held_prediction: np.ndarray | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    schema: Schema | None = None
    source: str = ""
    decision: Decision = MOST_PROBABLE
    trained_on: TrainedOn | None = None

    @property
    def n_parameters(self) -> int:
        """Of all predictors."""
        return sum(p.n_parameters for p in self.predictors)

    @property
    def n_fits(self) -> int:
        """Of all members."""
        return len(self.predictors)

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Parts]:
        """Returns each modality as each predictor takes it."""
        known = {} if kept is None else kept
        each = [predictor.encode(dataset, known) for predictor in self.predictors]
        return {
            name: Parts(tuple(parts[name] for parts in each), torch.tensor(data.present))
            for name, data in dataset.modalities.items()
            if name in self.pipeline.preprocessors
        }

    def encode_one(self, dataset: Dataset, name: str, kept: dict[Any, Any] | None = None) -> Parts:
        """See `Predictor.encode_one`; what several predictors take alike is made once."""
        known = {} if kept is None else kept
        each = tuple(predictor.encode_one(dataset, name, known) for predictor in self.predictors)
        return Parts(each, torch.tensor(dataset.modalities[name].present))

    def member_outputs(self, inputs: Mapping[str, Parts], member: int) -> np.ndarray:
        """Returns what one member predicts alone, the mean of its fits, as `predict_encoded` does.

        Raises:
            ConfigError: It had no weight, and was not kept.
        """
        of = [i for i, m in enumerate(self.member_of) if m == member]
        if not of:
            raise ConfigError(
                f"member_outputs: the member must be kept; got member={member}, {self.members[member].name!r}, "
                "which has no weight. Fit with keep_all=True."
            )
        with applied(self.source):
            each = [self.predictors[i].predict_encoded({n: part.each[i] for n, part in inputs.items()}) for i in of]
        return np.asarray(np.mean(each, axis=0))

    def predict_encoded(self, inputs: Mapping[str, Parts], rows: np.ndarray | None = None) -> np.ndarray:
        """See `Predictor.predict_encoded`."""
        with applied(self.source):
            some = _some(inputs, rows)
            outputs = np.zeros((len(next(iter(some.values()))), self.codec.n_outputs))
            with planned(len(self.predictors)):
                for index, weights, said in self._each(some):
                    outputs[index] += weights * said
            return softened(self.task, outputs, self.temperature)

    def predict_exchanged(
        self, inputs: Mapping[str, Parts], others: Mapping[str, Parts], exchanged: Iterable[tuple[str, ...]]
    ) -> dict[tuple[str, ...], np.ndarray]:
        """See `Predictor.predict_exchanged`."""
        names, every = sorted(self.modalities), list(dict.fromkeys(exchanged))
        with applied(self.source):
            patterns = {}
            for key in every:
                present = [(others if name in key else inputs)[name].present.numpy() for name in names]
                patterns[key] = nearest_pattern(self.patterns, names, ~np.stack(present, axis=1))
            n_rows = len(next(iter(inputs.values())))
            outputs = {key: np.zeros((n_rows, self.codec.n_outputs)) for key in every}
            todo = []
            for i, predictor in enumerate(self.predictors):
                weights = self.weights[:, self.member_of[i]] / self.member_of.count(self.member_of[i])  # [pattern]
                alike: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
                for key in every:
                    if weights[patterns[key]].any():
                        alike.setdefault(tuple(n for n in predictor.modalities if n in key), []).append(key)
                todo.append((predictor, weights, alike))
            with planned(sum(len(alike) for _, _, alike in todo)):
                for i, (predictor, weights, alike) in enumerate(todo):
                    taken, other = ({n: part.each[i] for n, part in of.items()} for of in (inputs, others))
                    for seen, said in predictor.predict_exchanged(taken, other, alike).items():
                        for key in alike[seen]:
                            outputs[key] += weights[patterns[key], None] * said
            return {key: softened(self.task, of, self.temperature) for key, of in outputs.items()}

    def spread(self, inputs: Mapping[str, Parts]) -> np.ndarray:
        """Returns how much fits differ, `[row, output]`: sqrt(sum_f w_f (p_f - mean)^2), before the temperature."""
        with applied(self.source):
            n_rows = len(next(iter(_some(inputs, None).values())))
            middle = self.codec.mean if self.task == "regression" else 0.0  # squares of small numbers lose least
            first, second = np.zeros((2, n_rows, self.codec.n_outputs))
            for index, weights, said in self._each(inputs):
                first[index] += weights * (said - middle)
                second[index] += weights * (said - middle) ** 2
            return np.sqrt(np.maximum(second - first**2, 0.0))

    def _each(self, inputs: Mapping[str, Parts]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields of each fit that counts the rows that it counts in, its weights `[row, 1]`, and what it predicts."""
        names = sorted(self.modalities)
        lacking = np.stack([~inputs[name].present.numpy() for name in names], axis=1)
        weights = self.weights[nearest_pattern(self.patterns, names, lacking)]  # [row, member]
        for member in np.flatnonzero(weights.any(0)):
            some = np.flatnonzero(weights[:, member])
            of = [i for i, m in enumerate(self.member_of) if m == member]
            for i in of:
                taken = {name: part.each[i] for name, part in inputs.items()}
                said = self.predictors[i].predict_encoded(taken, None if len(some) == len(lacking) else some)
                yield some, weights[some, member, None] / len(of), said

    def card_made(self) -> list[Block]:
        """See `Predictor.card_made`."""
        return made_of(self)

    def card_scores(self) -> list[Block]:
        """See `Predictor.card_scores`."""
        return scored_as(self)

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        """See `Predictor.packed`."""
        shared = parts or PartStore()
        each = [facts_of(predictor, shared) for predictor in self.predictors]
        own = {
            "members": [member.model_dump(mode="json") for member in self.members],
            "member_of": list(self.member_of),
            "patterns": [list(pattern) for pattern in self.patterns],
            "weights": self.weights,
            "temperature": self.temperature,
            "about": dict(self.about),
            "predictors": [facts for facts, _ in each],
            "shared": shared.states,
        }
        weights = {f"{i}.{name}": value for i, (_, of) in enumerate(each) for name, value in of.items()}
        return own, weights

    @classmethod
    def restore(cls, saved: SavedPredictor, weights: Mapping[str, Tensor], source: str) -> PortfolioPredictor:
        """Returns what `save` wrote."""
        own = _Saved.model_validate(saved.own)
        shared = PartStore(own.shared)
        of: list[dict[str, Tensor]] = [{} for _ in own.predictors]
        for name, value in weights.items():
            number, _, rest = name.partition(".")
            of[int(number)][rest] = value
        predictors = [restore_predictor(facts, w, source, shared) for facts, w in zip(own.predictors, of, strict=True)]
        n_members, values = len(own.members), np.asarray(own.weights, dtype=np.float64)
        if values.shape != (len(own.patterns), n_members) or not np.allclose(values.sum(1), 1.0) or (values < 0).any():
            raise ValueError(f"weights must add up to 1 for each pattern; got {list(values.shape)}")
        if len(own.member_of) != len(predictors) or not {*np.flatnonzero(values.any(0))} <= {*own.member_of}:
            raise ValueError("there must be predictors of each member that has a weight")
        for predictor in predictors:
            if (predictor.task, list(predictor.classes)) != (saved.codec.task, list(saved.codec.classes)):
                raise ValueError("predictors must be of one task and the same classes")
            if not {*predictor.modalities} <= {*saved.modalities}:
                raise ValueError("predictors must take modalities of the portfolio")
        return cls(
            pipeline=saved.pipeline,
            codec=saved.codec,
            modalities=saved.modalities,
            predictors=tuple(replace(p, schema=saved.schema) for p in predictors),  # type: ignore[type-var]
            member_of=tuple(own.member_of),
            members=tuple(own.members),
            patterns=tuple(tuple(pattern) for pattern in own.patterns),
            weights=values,
            temperature=own.temperature,
            about=own.about,
            schema=saved.schema,
            source=source,
        )


def _some(inputs: Mapping[str, Parts], rows: np.ndarray | None) -> Mapping[str, Parts]:
    """Returns the rows `rows` of inputs, all if None."""
    if not inputs:
        raise ShapeError("predict_encoded: inputs must hold a modality, to know how many rows there are.")
    if rows is None:
        return inputs
    index = torch.as_tensor(rows)
    return {name: part.rows(index) for name, part in inputs.items()}


class _Saved(BaseModel):
    """What a folder holds of a portfolio besides weights."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    members: list[MemberFacts] = Field(min_length=1)
    member_of: list[int]
    patterns: list[list[str]] = Field(min_length=1)
    weights: np.ndarray
    temperature: float = Field(gt=0)
    about: dict[str, Any]
    predictors: list[dict[str, Any]] = Field(min_length=1)
    shared: list[Any]


def nearest_pattern(patterns: tuple[tuple[str, ...], ...], names: list[str], lacking: np.ndarray) -> np.ndarray:
    """Returns for each row, `lacking[row, modality]`, the number of its pattern, or of the most similar one."""
    kinds = np.array([[name in pattern for name in names] for pattern in patterns])
    return np.asarray((lacking[:, None, :] != kinds).sum(2).argmin(1))


def softened(task: Task, outputs: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities `[row, class or label]` proportional to p^(1 / temperature); numbers as they are."""
    if task == "regression" or temperature == 1.0:
        return outputs
    p = np.clip(outputs, 1e-12, 1.0)
    if task == "multilabel":
        p, q = p ** (1 / temperature), np.clip(1 - outputs, 1e-12, 1.0) ** (1 / temperature)
        return np.asarray(p / (p + q))
    p = p ** (1 / temperature)
    return np.asarray(p / p.sum(1, keepdims=True))
