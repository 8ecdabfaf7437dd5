"""`Retriever`: one modality's rows are found by another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from profuse._fields import documented
from profuse._folder import check_place, read_folder, write_folder
from profuse._options import faults_of
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.split import split_off
from profuse.data.table.options import ReadOptions
from profuse.data.tensors import same_order
from profuse.errors import ConfigError, DataError
from profuse.inputs import with_encoders
from profuse.retrieval._model import RetrievalModel, build
from profuse.retrieval.index import Index
from profuse.retrieval.linear import LINEAR, fit_linear
from profuse.retrieval.measure import Validation, content, ranks, reciprocal_rank, scores
from profuse.retrieval.options import RetrievalOptions, RetrievalTraining
from profuse.retrieval.reading import (
    Data,
    check_rows,
    chosen,
    known,
    names_of,
    paired,
    rows_for,
    tell_notes,
    with_groups,
)
from profuse.retrieval.saving import RETRIEVER, facts_of, restored
from profuse.retrieval.spaces import Fitted, LearnedSpace, Space
from profuse.schema import OnBadFile, Schema
from profuse.tokens import Raw
from profuse.training.callbacks import Callers, as_callbacks
from profuse.training.history import Epoch, History
from profuse.training.loop import retrain, train
from profuse.training.options import TrainOptions

__all__ = ["Retriever"]

_TRAINING = ("epochs", "batch_size", "learning_rate", "patience", "refit", "device")
"""Parameters of `Retriever` that are options of training."""
_N_VALID = 2000
_MUCH = 0.05
"""A difference of mean reciprocal ranks that is told of a pair of modalities."""
_TOLD = {"cca": "linear CCA", "ridge": "ridge"}


@documented(
    (TrainOptions, RetrievalTraining, RetrievalOptions, ReadOptions),
    {
        "schema": "Path of a YAML file, dict or `Schema`, for tables. Its target is no modality, and is not read.",
        "random_state": "Seed of weights, order of rows, dropout and the split.",
    },
)
@dataclass(kw_only=True, eq=False, repr=False)
class Retriever:
    """Places the modalities of a row close to each other in one space, so that each finds the other.

    No target is needed. The learned space is one of the coordinated operators', trained by its penalty alone; encoders
    are those of every model. Beside it stand two linear maps of classical features. The epoch, the settings of the
    linear ones and, of the three, the one that is used are chosen by the mean reciprocal rank of held-out rows, groups
    kept whole.

    Args:
        {parameters}

    Attributes:
        modalities_: The modalities, sorted.
        method_: The method that is used.
        validation_: The mean reciprocal rank on held-out rows, by method.
        notes_: Which method is used, and by what figures, where there was a choice.
        history_: The epochs; `valid_score` is recall@1 of held-out rows, mean of all directions.
        schema_: The table's resolved schema.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(80, 6))
        >>> data = {"left": x[:, :4], "right": x[:, 2:]}
        >>> finder = Retriever(epochs=2, width=8, batch_size=32).fit(data)
        >>> finder.index(data, "right").search({"left": x[:3, :4]}, "left", k=5).ids.shape
        (3, 5)
    """

    method: str = "auto"
    space: str = "contrastive"
    width: int = 64
    dropout: float = 0.1
    encoders: Mapping[str, str] | None = None
    space_options: Mapping[str, Any] | None = None
    epochs: int | None = 40
    batch_size: int = 128
    learning_rate: float = 3e-3
    patience: int | None = None
    refit: bool | None = None
    baseline: bool = True
    device: str = "auto"
    validation_fraction: float = 0.2
    schema: Schema | Mapping[str, Any] | str | Path | None = None
    base_dir: str | Path | None = None
    on_bad_file: OnBadFile = "raise"
    random_state: int = 0
    _fitted: Fitted | None = field(default=None, init=False)

    def settings(self) -> tuple[RetrievalOptions, TrainOptions]:
        """Returns how the model is made and trained.

        Raises:
            ConfigError: Parameters out of range, or unknown: all are told together.
        """
        model = {name: getattr(self, name) for name in RetrievalOptions.model_fields}
        model |= {name: {} for name in ("encoders", "space_options") if model[name] is None}
        trained = {**{name: getattr(self, name) for name in _TRAINING}, "seed": self.random_state}
        reading = {name: getattr(self, name) for name in ReadOptions.model_fields}
        faults = [*faults_of(RetrievalOptions, model), *faults_of(RetrievalTraining, trained)]
        faults += faults_of(ReadOptions, reading)
        if faults:
            raise ConfigError(f"Retriever: {'; '.join(faults)}.")
        return RetrievalOptions.model_validate(model), RetrievalTraining.model_validate(trained)

    def fit(
        self,
        data: Data,
        *,
        modalities: Sequence[str] | None = None,
        groups: Any = None,
        presence: Mapping[str, Any] | None = None,
        callbacks: Callers = (),
    ) -> Self:
        """Learns the space from all rows; `validation_fraction` of them choose the epoch and the method.

        Args:
            data: A DataFrame (kinds are inferred, `schema` overrides), a dict of arrays or tensors by modality, or a
                `Dataset`, whose target is not read.
            modalities: The ones to use; all if None.
            groups: `[row]`: rows with one value stay on one side of the inner split.
            presence: For a dict: bool `[row]` by modality, False where it is missing.
            callbacks: `Callback` objects, and functions that are called with each `Epoch`.

        Raises:
            ConfigError: Parameters out of range, or unknown: all are told together.
            DataError: Fewer than two modalities, or too few rows that have two.
        """
        options, training = self.settings()
        called = as_callbacks(callbacks, who="Retriever")
        same_order({"data": data, "presence": presence, "groups": groups}, where="Retriever")
        dataset, schema = paired(data, self.schema, presence, base_dir=self.base_dir, on_bad_file=self.on_bad_file)
        tell_notes(data, dataset)
        dataset = with_groups(dataset, groups, where="Retriever")
        names = chosen(modalities, dataset)
        dataset = dataset.select(names)
        dataset = with_encoders(dataset, options.encoders, who="Retriever")
        named = {name: d.encoder for name, d in dataset.modalities.items() if d.encoder}
        options = options.model_copy(update={"encoders": {**named, **options.encoders}})
        learn, choose = split_off(dataset, options.validation_fraction, seed=training.seed)
        choose = np.random.default_rng(training.seed).permutation(choose)[:_N_VALID]
        check_rows(dataset, learn, choose)
        pipeline = Pipeline.fit(dataset, learn)
        inputs = pipeline.transform(dataset)
        codes = {name: content(raw) for name, raw in inputs.items()}
        refit = training.refits(len(dataset), by_time=dataset.times is not None)
        spaces: dict[str, Space] = {}
        validation: dict[str, Validation] = {}
        history = None
        if options.method in ("auto", "learned"):
            made = options, training, pipeline
            model, history, validation["learned"] = _trained(*made, inputs, codes, (learn, choose), refit, called)
            spaces["learned"] = LearnedSpace(model, pipeline)
        linear = LINEAR if options.baseline or options.method == "auto" else set(LINEAR) & {options.method}
        for name, (space, score) in fit_linear(sorted(linear), dataset, codes, learn, choose, refit=refit).items():
            spaces[name], validation[name] = space, score
        means = {name: v.mean for name, v in validation.items()}
        method = max(means, key=means.__getitem__) if options.method == "auto" else options.method
        if method not in spaces:
            raise DataError(
                f"Retriever: for method={method!r} one modality must share rows with every other one; got none that "
                "does. Use another method, or fewer modalities."
            )
        kept = spaces if options.baseline else {method: spaces[method]}
        history = history if "learned" in kept else None
        self._take(
            Fitted(kept, method, means, pipeline, options, training, len(learn), schema, history),
            _choice(options, validation, method, len(choose)),
        )
        return self

    def _take(self, fitted: Fitted, notes: tuple[str, ...] = ()) -> None:
        """Sets what a fitted retriever has."""
        self._fitted = fitted
        self.modalities_, self.schema_ = tuple(sorted(fitted.pipeline.preprocessors)), fitted.schema
        self.method_, self.validation_, self.notes_ = fitted.method, dict(fitted.validation), notes
        epochs = () if fitted.history is None else fitted.history.epochs
        self.history_ = pd.DataFrame([vars(e) for e in epochs], columns=list(Epoch.__dataclass_fields__))

    @property
    def fitted(self) -> Fitted:
        """All that was learned.

        Raises:
            ConfigError: There is nothing yet.
        """
        if self._fitted is None:
            raise ConfigError("Retriever: it must be fitted first; got none. Call fit(data) or Retriever.load.")
        return self._fitted

    def kind(self, modality: str) -> str:
        """Returns the kind of a modality: text, image, ..."""
        return self.fitted.pipeline.preprocessors[known(modality, self.fitted.pipeline.preprocessors)].takes

    def read(self, data: Data, modalities: Sequence[str] | None = None) -> Dataset:
        """Returns the rows of the modalities named (all if None), as in training; a target need not be there.

        What was learned from need not be of the same form: a table has a column for each modality, of its name and
        kind; see `profuse.retrieval.reading.rows_for`.

        Raises:
            DataError: A modality or its columns are not there, or are of another kind.
        """
        pipeline = self.fitted.pipeline
        names = self.modalities_ if modalities is None else names_of(modalities)
        names = tuple(known(name, pipeline.preprocessors) for name in names)
        dataset = rows_for(data, names, pipeline, self.schema_, base_dir=self.base_dir, on_bad_file=self.on_bad_file)
        tell_notes(data, dataset)
        return dataset

    def embed(self, data: Data, modality: str) -> np.ndarray:
        """Returns the places of one modality's rows, float32 `[row, dim]` of length 1; 0 where it is absent."""
        known(modality, self.fitted.pipeline.preprocessors)
        return self.fitted.space.embed(modality, self.read(data, [modality]).modalities[modality])

    def index(self, data: Data, modality: str) -> Index:
        """Returns an index of the rows of `data`, to be searched; rows without the modality are left out.

        Raises:
            DataError: No row has the modality.
        """
        return Index(self, modality).add(data)

    def evaluate(self, data: Data, *, groups: Any = None) -> pd.DataFrame:
        """Measures, for each ordered pair of modalities, how often rows of the one find their own of the other.

        Args:
            data: Rows that were not learned from.
            groups: `[row]`: rows that are not independent; a data set's own if None.

        Returns:
            One row for each method (the learned space by its name, "linear CCA", "ridge"; `used` tells the one that a
            search uses), query modality, item modality and metric (recall@1, @5, @10, median_rank): value, 95 %
            interval, chance, direction and numbers of rows.

        Raises:
            DataError: No row has two of the modalities.
        """
        fitted = self.fitted
        same_order({"data": data, "groups": groups}, where="Retriever")
        dataset = with_groups(self.read(data), groups, where="Retriever.evaluate")
        codes = {name: content(raw) for name, raw in fitted.pipeline.transform(dataset).items()}
        places = {
            method: {name: space.embed(name, d) for name, d in dataset.modalities.items()}
            for method, space in fitted.spaces.items()
        }
        tables = []
        for a, b in permutations(self.modalities_, 2):
            rows = dataset.modalities[a].present & dataset.modalities[b].present
            if not rows.any():
                continue
            together = None if dataset.groups is None else dataset.groups[rows]
            for method, place in places.items():
                measured = ranks(place[a][rows], place[b][rows], codes[a][rows], codes[b][rows])
                told = _TOLD.get(method, fitted.options.space)
                table = scores(*measured, together, method=told, query=a, item=b)
                table.insert(1, "used", method == fitted.method)
                tables.append(table)
        if not tables:
            raise DataError(
                "Retriever.evaluate: some row must have two of the modalities; got none. Give rows that have."
            )
        return pd.concat(tables, ignore_index=True)

    def save(self, folder: str | Path) -> None:
        """Writes the fitted retriever into `folder` (new, empty, or a saved one): safetensors and JSON, no pickle.

        Raises:
            CheckpointError: The folder holds something else.
        """
        facts, weights = facts_of(self.fitted)
        check_place(folder, RETRIEVER)
        write_folder(folder, facts, weights, RETRIEVER)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Returns the retriever that `save` or `profuse retrieve --out` left in `folder`.

        Raises:
            CheckpointError: No saved retriever, or a damaged or newer one.
        """
        return cls.of(read_folder(folder, restored, RETRIEVER))

    @classmethod
    def of(cls, fitted: Fitted) -> Self:
        """Returns the retriever that has learned this."""
        training = fitted.training
        made = cls(
            **fitted.options.model_dump(), **{name: getattr(training, name) for name in _TRAINING},
            schema=fitted.schema, random_state=training.seed,
        )  # fmt: skip
        made._take(fitted)
        return made


def _trained(
    options: RetrievalOptions, training: TrainOptions, pipeline: Pipeline, inputs: Mapping[str, Raw],
    codes: Mapping[str, np.ndarray], rows: tuple[np.ndarray, np.ndarray], refit: bool, callbacks: Callers,
) -> tuple[RetrievalModel, History, Validation]:  # fmt: skip
    """Trains the network; returns it, the epochs and its mean reciprocal rank on the rows that chose them.

    What is learned from is which rows have the same content: `codes`.
    """
    learn, choose = rows
    target = torch.as_tensor(np.stack([codes[name] for name in sorted(codes)], axis=1))

    def made() -> RetrievalModel:
        return build(pipeline.specs, options, n_rows=len(learn), seed=training.seed)

    model = made()
    parts = torch.as_tensor(learn), torch.as_tensor(choose)
    history = train(model, inputs, target, *parts, training, callbacks=callbacks)
    some = torch.as_tensor(choose)
    places = {n: model.eval().embed(n, raw.rows(some)) for n, raw in inputs.items()}
    present = {name: np.abs(x).sum(1) > 0 for name, x in places.items()}
    score = reciprocal_rank(places, present, {name: c[choose] for name, c in codes.items()})
    if refit:
        model = made()
        every = torch.arange(len(target))
        seconds = retrain(model, inputs, target, every, training, history)
        history = replace(history, fit_seconds=history.fit_seconds + seconds)
    return model.eval(), history, score


def _choice(
    options: RetrievalOptions, validation: Mapping[str, Validation], method: str, n_rows: int
) -> tuple[str, ...]:
    """Tells which method is used, where there was a choice, and pairs of modalities for which another is better."""
    if options.method != "auto":
        return ()
    told = {name: _TOLD.get(name, f"the learned space ({options.space})") for name in validation}
    others = ", ".join(f"{told[name]} {v.mean:.3f}" for name, v in validation.items() if name != method)
    notes = [
        f"{told[method]} is used: its mean reciprocal rank on {n_rows} validation rows is "
        f"{validation[method].mean:.3f}; {others or 'no other could be fitted'}."
    ]
    for pair, score in validation[method].pairs.items():
        best = max(validation, key=lambda name, pair=pair: validation[name].pairs.get(pair, 0.0))  # type: ignore[misc]
        most = validation[best].pairs.get(pair, 0.0)
        if best != method and most > score + _MUCH:
            notes.append(
                f"between {pair[0]!r} and {pair[1]!r} {told[best]} is better, {most:.3f} against {score:.3f}: fit "
                f"these two alone (modalities={list(pair)}, or --from and --to) to use it."
            )
    return tuple(notes)
