"""`Predictor`: the unit that everything is asked of, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from profuse._folder import applied
from profuse._lookup import resolve
from profuse.data.dataset import Dataset
from profuse.data.new_rows import read_new_rows, tell
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.metrics import Measured, metrics_for
from profuse.predictor.card import Block
from profuse.predictor.decision import MOST_PROBABLE, Decision
from profuse.predictor.described import card_of
from profuse.predictor.measuring import measured_outputs, true_values
from profuse.predictor.saving import PartStore, write_predictor
from profuse.predictor.trained import TrainedOn
from profuse.predictor.watching import planned
from profuse.registry import part
from profuse.schema import OnBadFile, Schema, Task

__all__ = ["Part", "Predictor"]


class Part(Protocol):
    """Encoded rows of one modality."""

    def __len__(self) -> int: ...

    @property
    def present(self) -> Tensor:
        """`[row]` bool: rows that have the modality."""

    def rows(self, index: Tensor) -> Self:
        """Returns the rows `index`."""

    def without(self, rows: Tensor) -> Self:
        """Returns the same with the modality absent in `rows[row]` (bool)."""


class Predictor(ABC):
    """A fitted pipeline and what was fitted behind it: predicts for new rows, is measured, saved and loaded.

    Rows are a path of a table, a DataFrame or 2-D array (where training had a table), a dict of arrays by modality, or
    a `Dataset`, which is taken as it is. What is counted while others are read is told as a `ProfuseWarning`.

    Attributes:
        pipeline: Fitted preprocessing.
        codec: Of the target, fitted.
        modalities: The modalities it uses.
        schema: The resolved schema of the training table; None for other data.
        source: The folder that it was read from, "" if it was not.
        decision: Which class is answered.
        trained_on: The rows that it was fitted to, where that is known.
    """

    pipeline: Pipeline
    codec: TargetCodec
    modalities: tuple[str, ...]
    schema: Schema | None
    source: str
    decision: Decision = MOST_PROBABLE
    trained_on: TrainedOn | None = None

    @property
    def task(self) -> Task:
        """What kind of target it predicts."""
        return self.codec.task

    @property
    def classes(self) -> np.ndarray:
        """The classes, or names of labels, in the order of `predict_proba`; empty for regression."""
        return self.codec.classes

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """How many numbers were learned."""

    @property
    def n_fits(self) -> int:
        """How many fitted models it asks for a prediction."""
        return 1

    @abstractmethod
    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Any]:
        """Returns each modality of `dataset` as the model takes it: a `Part` by name.

        Args:
            dataset: Rows.
            kept: What predictors that share fitted parts have made of these rows; what is made now is added.
        """

    def encode_one(self, dataset: Dataset, name: str, kept: dict[Any, Any] | None = None) -> Any:
        """Returns the modality `name` of `dataset` as `encode` does; by default all are encoded for it.

        Args:
            dataset: Rows.
            name: Of a modality of the pipeline.
            kept: What predictors that share fitted parts have made of this modality of these rows.
        """
        return self.encode(dataset)[name]

    @abstractmethod
    def predict_encoded(self, inputs: Mapping[str, Any], rows: np.ndarray | None = None) -> np.ndarray:
        """Returns probabilities `[row, class or label]`, or values `[row, target]` in the target's units.

        Args:
            inputs: What `encode` returned, or rows of it, by modality.
            rows: Which rows; all if None.
        """

    def predict_exchanged(
        self, inputs: Mapping[str, Any], others: Mapping[str, Any], exchanged: Iterable[tuple[str, ...]]
    ) -> dict[tuple[str, ...], np.ndarray]:
        """Returns what is predicted where the modalities of a tuple are those of `others`, for each of `exchanged`.

        One that is made of several predictors asks each of them once for what it sees alike.

        Args:
            inputs: What `encode` returned, or rows of it, by modality.
            others: As many rows, of at least the modalities that are exchanged.
            exchanged: Names of modalities.
        """
        every = dict.fromkeys(exchanged)
        with planned(len(every)):
            return {
                names: self.predict_encoded({**inputs, **{name: others[name] for name in names}}) for names in every
            }

    def spread(self, inputs: Mapping[str, Any]) -> np.ndarray | None:
        """Returns how much the models behind a prediction differ, `[row, output]`; None where there is one.

        Args:
            inputs: What `encode` returned, or rows of it, by modality.
        """
        return None

    def band(self, inputs: Mapping[str, Any]) -> np.ndarray | None:
        """Returns the outer quantiles that were learned, `[row, target, 2]` in the target's units; None of others."""
        return None

    def predict_encoded_rounds(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Returns what is predicted after each round, `[round, row, output]`; a single one where there are none.

        Args:
            inputs: What `encode` returned, or rows of it, by modality.
        """
        return self.predict_encoded(inputs)[None]

    def states_by_round(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns what stands in a network after each round, `[round, row, number]`: by modality, and "" fused.

        By default nothing, as there is no network.

        Args:
            inputs: What `encode` returned, or rows of it, by modality.
        """
        return {}

    def representation(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Returns how it sees rows, `[row, number]`: rows that are near are alike to it.

        By default what it predicts from each modality alone, and from all, as log-odds or in standard deviations.

        Args:
            inputs: What `encode` returned, or rows of it, by modality.
        """
        names = self.modalities
        nothing = {n: inputs[n].without(torch.ones(len(inputs[n]), dtype=torch.bool)) for n in names}
        hidden = [(), *(tuple(n for n in names if n != name) for name in names)]
        said = self.predict_exchanged(inputs, nothing, hidden)
        each = [said[of] for of in dict.fromkeys(hidden)]
        if self.task == "regression":
            return np.concatenate([(of - self.codec.mean) / self.codec.std for of in each], axis=1)
        return np.concatenate([np.log(of.clip(1e-6)) for of in each], axis=1)

    def sharing(self, known: dict[Any, Any]) -> Self:
        """Returns the same with the fitted parts of `known` in place of its own, which are equal; others are added."""
        return self

    @abstractmethod
    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        """Returns what a folder keeps of this kind of predictor: JSON values and arrays; and weights.

        Args:
            parts: Takes fitted parts that it shares with others of the same folder.

        Raises:
            CheckpointError: A part has no name.
        """

    def card_made(self) -> Sequence[Block]:
        """Returns what its card says of how it was made: sentences and tables."""
        return [f"It is a {type(self).__name__}."]

    def __repr__(self) -> str:
        """Returns a line; `card` says more."""
        of = ", ".join(self.modalities) or "no modality"
        return f"<{type(self).__name__}: {self.task}, of {of}; {self.n_parameters:,} parameters>"

    def _repr_html_(self) -> str:
        """Returns the model's card for notebooks."""
        return card_of(self).html()

    def card_scores(self) -> Sequence[Block]:
        """Returns what its card says of scores that are known from training; nothing where there are none."""
        return []

    def with_decision(self, decision: Decision) -> Self:
        """Returns the same, which answers by another decision."""
        return self._with("decision", decision)

    def with_trained_on(self, trained_on: TrainedOn | None) -> Self:
        """Returns the same, which knows what it was fitted to."""
        return self._with("trained_on", trained_on)

    def _with(self, name: str, value: Any) -> Self:
        made = copy(self)
        object.__setattr__(made, name, value)  # most predictors are frozen
        return made

    def deciding(
        self, *, threshold: float | None = None, cost: Mapping[str, Mapping[str, float]] | None = None
    ) -> Self:
        """Returns the same, which answers by a threshold or by costs; by neither the most probable class.

        Args:
            threshold: Of two classes the second is answered where its probability is at least this.
            cost: What an answer costs, `{true class: {answer: cost}}`; a wrong one that is not named 1.

        Raises:
            ConfigError: The target has no such classes, or a value is out of range.
            UnknownNameError: There is no such class.
        """
        classes = self.classes.tolist()
        return self.with_decision(Decision.by(classes, self.task, threshold=threshold, cost=cost, who="deciding"))

    def save(self, folder: str | Path) -> None:
        """Writes it into `folder`, replacing a saved model that stands there; `load_model` reads it.

        Beside it stands `card.md`, its card, for people: what it predicts, how it was made, how good it is.

        Raises:
            CheckpointError: `folder` holds something else or cannot be written, or a part has no name.
        """
        write_predictor(folder, self)

    def read(
        self,
        rows: Any,
        *,
        presence: Mapping[str, Any] | None = None,
        base_dir: str | Path | None = None,
        on_bad_file: OnBadFile = "raise",
        need_target: bool | None = False,
        target: Any = None,
        new_categories: Collection[str] = (),
        to_learn: bool = False,
        who: str = "",
    ) -> Dataset:
        """Returns rows, read as those of training were; the notes of what was counted stand in the data set.

        Args:
            rows: See the class.
            presence: For a dict: bool `[row]` by modality, False where it is missing.
            base_dir: Where relative paths in a frame start; the working directory if None.
            on_bad_file: "raise", or "skip": a broken file counts as missing.
            need_target: Whether the target is read from a table; None: where it is known of all rows.
            target: Its columns in a table, where they are called otherwise than in training; or its values.
            new_categories: Columns of which nearly all categories may be new, besides those of the schema.
            to_learn: Whether a model learns from them: weights and subgroups are read of a table too.
            who: Begins messages; the class's name if empty.

        Raises:
            DataError: The rows are not of the kind in training, or cannot be read.
        """
        with applied(self.source):
            return read_new_rows(
                rows, self.pipeline, self.schema, self.codec, who=who or type(self).__name__, presence=presence,
                need_target=need_target, target=target, new_categories=new_categories, base_dir=base_dir,
                on_bad_file=on_bad_file, to_learn=to_learn,
            )  # fmt: skip

    def predict(self, rows: Any) -> np.ndarray:
        """Returns the class `[row]` by `decision`; labels 0/1 `[row, label]`; or numbers, of the target's axes."""
        outputs, codec = self._outputs(self._taken(rows)), self.codec
        if codec.task == "regression":
            return outputs[:, 0] if codec.flat else outputs
        if codec.task == "multilabel":
            return np.asarray(outputs >= 0.5, dtype=np.int64)
        return np.asarray(codec.classes[self.decision.codes(outputs)])

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Returns the probability of each class (label), `[row, class]`, in the order of `classes`.

        Raises:
            ConfigError: The target is numbers, which have none.
        """
        if self.task == "regression":
            raise ConfigError("predict_proba: the task must have classes; got task='regression'. Use predict.")
        return self._outputs(self._taken(rows))

    def predict_frame(self, rows: Any) -> pd.DataFrame:
        """Returns `id` or `row`; `prediction` and `prob_CLASS`, `LABEL` and `prob_LABEL`, or one column per target.

        Raises:
            DataError: Two columns would have one name, as a label called `row` and the row's number do.
        """
        dataset, codec = self._taken(rows), self.codec
        outputs = self._outputs(dataset)
        columns: list[tuple[str, Any]] = [("row", range(len(dataset))) if dataset.ids is None else ("id", dataset.ids)]
        if codec.task == "regression":
            names = ["prediction"] if len(codec.names) == 1 else list(codec.names)
            columns += zip(names, outputs.T, strict=True)
        else:
            if codec.task == "multilabel":
                columns += zip(map(str, codec.classes), (outputs.T >= 0.5).astype(int), strict=True)
            else:
                columns.append(("prediction", codec.classes[self.decision.codes(outputs)]))
            columns += zip((f"prob_{name}" for name in codec.classes), outputs.T, strict=True)
        twice = [name for name, n in Counter(name for name, _ in columns).items() if n > 1]
        if twice:
            raise DataError(
                f"predict: names of the columns written must differ; got {tell_values(twice)} more than once, as a "
                "target or label is called so. Rename it in the training table and fit again, or use predict_proba."
            )
        return pd.DataFrame(dict(columns))

    def evaluate(self, rows: Any, metrics: Sequence[str] | None = None, *, target: Any = None) -> Measured:
        """Returns the metrics of what it predicts, and of what `decision` answers, for rows with a target.

        Args:
            rows: See the class.
            metrics: Their names; every metric of the task if None.
            target: See `read`.

        Raises:
            DataError: The rows have no target, or classes that training had not.
            UnknownNameError: A metric that the task has not.
        """
        by_name = {m.name: m for m in metrics_for(self.task)}
        for name in metrics or ():
            resolve(name, by_name, where="evaluate", what="metric")
        dataset = self._taken(rows, need_target=True, target=target)
        if dataset.target is None:
            raise DataError(
                f"evaluate: rows must have a target; {dataset.name!r} has none. Give it as target=, as values or as "
                "the names of columns."
            )
        true = true_values(self.codec, dataset.target)
        measured = measured_outputs(self.codec, self.decision, true, self._outputs(dataset))
        if metrics is None:
            return measured
        return replace(measured, values={name: measured.values[name] for name in metrics if name in measured.values})

    def ask(self, question: str, rows: Any, *, target: Any = None, **options: Any) -> Any:
        """Returns the `profuse.inspect.Answer` to a question; see `profuse.inspect.ask`.

        Args:
            question: Its name: importance, contribution, missing, or another of `profuse.inspect.QUESTIONS`.
            rows: See the class; with a target.
            target: See `read`.
            options: `metric`, `seed`, and those of the question.
        """
        asked: Any = part("question", question)
        return asked.made(**options).ask(self, rows, target=target)

    def _outputs(self, dataset: Dataset) -> np.ndarray:
        return self.predict_encoded(self.encode(dataset))

    def _taken(self, rows: Any, *, need_target: bool = False, target: Any = None) -> Dataset:
        """Returns a `Dataset` as it is, and others read, with their notes as warnings of the line that asked."""
        if isinstance(rows, Dataset) and target is None:
            return rows
        dataset = self.read(rows, need_target=need_target, target=target)
        tell(() if isinstance(rows, Dataset) else dataset.notes, type(self).__name__)
        return dataset
