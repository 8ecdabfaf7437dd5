"""`Retriever`: one modality's rows are found by another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import pandas as pd
import torch

from profuse._folder import Format, read_folder, write_folder
from profuse._lookup import resolve
from profuse._options import faults_of
from profuse.data.arrays import plain
from profuse.data.assemble import assemble, with_ranges
from profuse.data.dataset import Dataset
from profuse.data.infer import infer
from profuse.data.leave_out import leave_out_target
from profuse.data.pipeline import Pipeline
from profuse.data.split import split_off
from profuse.data.tensors import from_tensors, same_order
from profuse.errors import ConfigError, DataError
from profuse.inputs import as_schema, check_encoders, device_faults
from profuse.model import FusionModel
from profuse.retrieval._model import RetrievalModel, RetrievalOptions, build
from profuse.retrieval.index import Index
from profuse.retrieval.measure import LinearCCA, content, ranks, scores
from profuse.schema import Schema
from profuse.train import Epoch, History, TrainOptions, retrain, train

__all__ = ["SPACES", "Retriever", "paired"]

SPACES: tuple[str, ...] = get_args(RetrievalOptions.model_fields["space"].annotation)
_N_VALID = 2000
_FORMAT = Format("retriever", 1, "Retriever.load", "'profuse retrieve --out' or Retriever.save")
Data = pd.DataFrame | Mapping[str, Any] | Dataset


class Retriever:
    """Places the modalities of a row close to each other in one space, so that each finds the other.

    No target is needed. The space is one of the coordinated operators', trained by its penalty alone; encoders are
    those of every model. The epoch is chosen by the mean reciprocal rank of held-out rows, groups kept whole.

    Args:
        space: "contrastive", "ranking", "dcca" or "dcca_ey".
        width: Channels of the encoders' tokens.
        dropout: Dropout probability in the encoders.
        encoders: Encoder name by modality; the kind's default otherwise.
        space_options: Options of the operator: `{"space_dim": 32}`.
        epochs: Passes over the training rows, at most, and at most 4,000 gradient steps.
        batch_size: Rows a step, among which a row is to be told apart; larger is better, and slower.
        learning_rate: Peak learning rate of AdamW.
        patience: Epochs without a better rank before stopping; a third of them if None.
        refit: Whether to learn anew from all rows, for as many epochs as the held-out ones chose; if None, where there
            are fewer than 2,000.
        baseline: Whether linear CCA on the classical features is fitted beside it, for `evaluate`.
        device: "auto", "cpu", "cuda" or "mps".
        validation_fraction: Rows (groups) that choose the epoch.
        schema: Path of a YAML file, dict or `Schema`, for tables. Its target is no modality, and is not read.
        base_dir: Where relative paths of pictures, sounds and series start.
        on_bad_file: "raise", or "skip": a broken file counts as missing.
        random_state: Seed of weights, order of rows, dropout and the split.

    Attributes:
        modalities_: The modalities, sorted.
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

    def __init__(
        self,
        *,
        space: str = "contrastive",
        width: int = 64,
        dropout: float = 0.1,
        encoders: Mapping[str, str] | None = None,
        space_options: Mapping[str, Any] | None = None,
        epochs: int | None = 40,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        patience: int | None = None,
        refit: bool | None = None,
        baseline: bool = True,
        device: str = "auto",
        validation_fraction: float = 0.2,
        schema: Schema | Mapping[str, Any] | str | Path | None = None,
        base_dir: str | Path | None = None,
        on_bad_file: Literal["raise", "skip"] = "raise",
        random_state: int = 0,
    ) -> None:
        self.space, self.width, self.dropout = space, width, dropout
        self.encoders, self.space_options = encoders, space_options
        self.epochs, self.batch_size, self.learning_rate, self.patience = epochs, batch_size, learning_rate, patience
        self.refit = refit
        self.baseline, self.device, self.validation_fraction = baseline, device, validation_fraction
        self.schema, self.base_dir, self.on_bad_file, self.random_state = schema, base_dir, on_bad_file, random_state
        self._model: RetrievalModel | None = None

    def settings(self) -> tuple[RetrievalOptions, TrainOptions]:
        """Returns how the model is made and trained.

        Raises:
            ConfigError: Parameters out of range, or unknown: all are told together.
        """
        model = {name: getattr(self, name) for name in RetrievalOptions.model_fields}
        model |= {"encoders": dict(self.encoders or {}), "space_options": dict(self.space_options or {})}
        taken = ("epochs", "batch_size", "learning_rate", "patience", "refit", "device")
        trained = {**{name: getattr(self, name) for name in taken}, "seed": self.random_state}
        faults = [*faults_of(RetrievalOptions, model), *faults_of(TrainOptions, trained), *device_faults(self.device)]
        if self.on_bad_file not in ("raise", "skip"):
            faults.append(f"on_bad_file must be 'raise' or 'skip'; got on_bad_file={self.on_bad_file!r}")
        if faults:
            raise ConfigError(f"Retriever: {'; '.join(faults)}.")
        return RetrievalOptions.model_validate(model), TrainOptions.model_validate(trained)

    def fit(
        self,
        data: Data,
        *,
        modalities: Sequence[str] | None = None,
        groups: Any = None,
        presence: Mapping[str, Any] | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> Self:
        """Learns the space from all rows; `validation_fraction` of them choose the epoch.

        Args:
            data: A DataFrame (kinds are inferred, `schema` overrides), a dict of arrays or tensors by modality, or a
                `Dataset`, whose target is not read.
            modalities: The ones to use; all if None.
            groups: `[row]`: rows with one value stay on one side of the inner split.
            presence: For a dict: bool `[row]` by modality, False where it is missing.
            on_epoch: Called after each epoch.

        Raises:
            ConfigError: Parameters out of range, or unknown: all are told together.
            DataError: Fewer than two modalities, or too few rows that have two.
        """
        options, training = self.settings()
        same_order({"data": data, "presence": presence, "groups": groups}, where="Retriever")
        dataset, schema = paired(
            data, as_schema(self.schema), presence, base_dir=self.base_dir or ".", on_bad_file=self.on_bad_file
        )
        if groups is not None:
            dataset = replace(dataset, groups=np.asarray(plain(groups)))
        names = sorted(dataset.modalities if modalities is None else modalities)
        for name in names:
            resolve(name, dataset.modalities, where="Retriever", what="modality")
        dataset = dataset.select(names)
        if len(names) < 2:
            raise DataError(f"Retriever: there must be at least two modalities; got {names}. Add one, or a schema.")
        check_encoders(dataset, options.encoders, who="Retriever")
        named = {name: d.encoder for name, d in dataset.modalities.items() if d.encoder}
        options = options.model_copy(update={"encoders": {**named, **options.encoders}})
        learn, choose = split_off(dataset, options.validation_fraction, seed=training.seed)
        choose = np.random.default_rng(training.seed).permutation(choose)[:_N_VALID]
        self._check_rows(dataset, learn, choose)
        # a pipeline has a target; the number of the row stands in its place and is never read
        number = np.arange(len(dataset), dtype=np.float64)
        numbered = replace(dataset, target=number, task="regression", target_names=("row",))
        pipeline = Pipeline.fit(numbered, learn)
        inputs = pipeline.transform(dataset)
        codes = {name: content(raw) for name, raw in inputs.items()}
        target = torch.as_tensor(np.stack([codes[name] for name in names], axis=1))

        def made() -> FusionModel:  # in all that the training loop asks of it
            return cast(FusionModel, build(pipeline.specs, options, n_rows=len(learn), seed=training.seed))

        model = made()
        parts = torch.as_tensor(learn), torch.as_tensor(choose)
        history = train(model, inputs, target, *parts, training, on_epoch=on_epoch)
        refit = training.refits(len(dataset), by_time=dataset.times is not None)
        if refit:
            model = made()
            seconds = retrain(model, inputs, target, torch.arange(len(dataset)), training, history)
            history = replace(history, fit_seconds=history.fit_seconds + seconds)
        linear = None
        if self.baseline:
            present = {name: d.present for name, d in dataset.modalities.items()}
            linear = LinearCCA.fit(pipeline.features(dataset), codes, present, learn, choose, refit=refit)
        self._take(cast(RetrievalModel, model), pipeline, options, training, len(learn), schema, linear, history)
        return self

    def _check_rows(self, dataset: Dataset, learn: np.ndarray, choose: np.ndarray) -> None:
        present = np.stack([d.present for d in dataset.modalities.values()], axis=1)
        for what, rows in (("learn from", learn), ("choose the epoch by", choose)):
            n_rows = int((present[rows].sum(1) >= 2).sum())
            if n_rows < 4:
                raise DataError(
                    f"Retriever: at least 4 rows to {what} must have two modalities; got {n_rows} of {len(rows)}. "
                    "Give more rows, or another validation_fraction."
                )

    def _take(
        self, model: RetrievalModel, pipeline: Pipeline, options: RetrievalOptions, training: TrainOptions, n_rows: int,
        schema: Schema | None, linear: LinearCCA | None, history: History | None,
    ) -> None:  # fmt: skip
        """Sets what a fitted retriever has."""
        self._model, self._pipeline, self._linear, self._n_rows = model.eval(), pipeline, linear, n_rows
        self._made, self._trained, self._history = options, training, history
        self.modalities_, self.schema_ = model.names, schema
        epochs = () if history is None else history.epochs
        self.history_ = pd.DataFrame([vars(e) for e in epochs], columns=list(Epoch.__dataclass_fields__))

    @property
    def fitted(self) -> RetrievalModel:
        """The trained model.

        Raises:
            ConfigError: There is none yet.
        """
        if self._model is None:
            raise ConfigError("Retriever: it must be fitted first; got none. Call fit(data) or Retriever.load.")
        return self._model

    def kind(self, modality: str) -> str:
        """Returns the kind of a modality: text, image, ..."""
        kinds = {name: self._pipeline.preprocessors[name].takes for name in self.fitted.names}
        return resolve(modality, kinds, where="Retriever", what="modality")

    def read(self, data: Data, modalities: Sequence[str] | None = None) -> Dataset:
        """Returns the rows of the modalities named (all if None), as in training; a target need not be there.

        Raises:
            DataError: A modality or its columns are not there.
        """
        names = list(self.fitted.names if modalities is None else modalities)
        kinds: dict[str, Any] = {name: self.kind(name) for name in names}
        rates = {name: rate for name, rate in self._pipeline.rates.items() if name in names}
        if isinstance(data, pd.DataFrame):
            if self.schema_ is None:
                raise DataError("Retriever: data must be what they were in fit, no table; got a DataFrame.")
            used = {name: self.schema_.modalities[name] for name in names}
            known = {c for m in used.values() for c in m.columns} | {self.schema_.id, self.schema_.split.column}
            schema = self.schema_.model_copy(update={"modalities": used, "target": None})
            return assemble(
                data[[c for c in data.columns if str(c) in known]], schema, name="Retriever",
                base_dir=self.base_dir or ".", on_bad_file=self.on_bad_file, need_target=False, fitting=False,
                rates=rates,
            )  # fmt: skip
        have = data.modalities if isinstance(data, Dataset) else data
        lacking = [name for name in names if name not in have]
        if lacking:
            raise DataError(f"Retriever: data must have the modalities {names}; lacking {lacking}. Add them.")
        if isinstance(data, Dataset):
            return data.select(names)
        ranges = {name: levels for name, levels in self._pipeline.ranges.items() if name in names}
        given = {name: data[name] for name in names}
        return from_tensors(given, kinds=kinds, rates=rates, ranges=ranges, name="Retriever")

    def embed(self, data: Data, modality: str) -> np.ndarray:
        """Returns the places of one modality's rows, float32 `[row, dim]` of length 1; 0 where it is absent."""
        rows = self.read(data, [modality]).modalities[modality]
        return self.fitted.embed(modality, self._pipeline.preprocessors[modality].transform(rows))

    def index(self, data: Data, modality: str) -> Index:
        """Returns an index of the rows of `data`, to be searched; rows without the modality are left out."""
        dataset = self.read(data, [modality])
        ids = np.arange(len(dataset)) if dataset.ids is None else dataset.ids
        return Index(self, modality, self.embed(dataset, modality), ids)

    def evaluate(self, data: Data, *, groups: Any = None) -> pd.DataFrame:
        """Measures, for each ordered pair of modalities, how often rows of the one find their own of the other.

        Args:
            data: Rows that were not learned from.
            groups: `[row]`: rows that are not independent; a data set's own if None.

        Returns:
            One row for each method (the space, and "linear CCA" if fitted), query modality, item modality and metric
            (recall@1, @5, @10, median_rank): value, 95 % interval, chance, direction and numbers of rows.

        Raises:
            DataError: No row has two of the modalities.
        """
        model, dataset = self.fitted, self.read(data)
        same_order({"data": data, "groups": groups}, where="Retriever")
        clusters = dataset.groups if groups is None else np.asarray(plain(groups))
        inputs = self._pipeline.transform(dataset)
        codes = {name: content(raw) for name, raw in inputs.items()}
        places = {name: model.embed(name, inputs[name]) for name in model.names}
        features = self._pipeline.features(dataset) if self._linear is not None else {}
        tables = []
        for a, b in permutations(model.names, 2):
            rows = dataset.modalities[a].present & dataset.modalities[b].present
            if not rows.any():
                continue
            found: dict[str, tuple[np.ndarray, np.ndarray]] = {self._made.space: (places[a], places[b])}
            if self._linear is not None and self._linear.knows(a, b):
                found["linear CCA"] = self._linear.embed(a, b, features)
            together = None if clusters is None else clusters[rows]
            for method, (x, y) in found.items():
                measured = ranks(x[rows], y[rows], codes[a][rows], codes[b][rows])
                tables.append(scores(*measured, together, method=method, query=a, item=b))
        if not tables:
            raise DataError("Retriever.evaluate: some row must have two of the modalities; got none.")
        return pd.concat(tables, ignore_index=True)

    def save(self, folder: str | Path) -> None:
        """Writes the fitted retriever into `folder` (new, empty, or a saved one): safetensors and JSON, no pickle.

        Raises:
            CheckpointError: The folder holds something else.
        """
        model = self.fitted
        schema, linear = self.schema_, self._linear
        facts = {
            "options": self._made.model_dump(mode="json"),
            "training": self._trained.model_dump(mode="json"),
            "n_rows": self._n_rows,
            "schema": None if schema is None else schema.model_dump(mode="json"),
            "history": self.history_.to_dict("records"),
            "best_epoch": None if self._history is None else self._history.best_epoch,
        }
        states = {"pipeline": self._pipeline.state(), "linear": None if linear is None else linear.views}
        write_folder(folder, {**facts, "states": states}, model.state_dict(), _FORMAT)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Returns the retriever that `save` or `profuse retrieve --out` left in `folder`.

        Raises:
            CheckpointError: No saved retriever, or a damaged or newer one.
        """

        def restore(facts: dict[str, Any], weights: dict[str, Any]) -> Retriever:
            states = facts["states"]
            options = RetrievalOptions.model_validate(facts["options"])
            training = TrainOptions.model_validate(facts["training"])
            pipeline = Pipeline.from_state(states["pipeline"])
            model = build(pipeline.specs, options, n_rows=int(facts["n_rows"]), seed=0)
            model.load_state_dict(weights)
            schema = None if facts["schema"] is None else Schema.model_validate(facts["schema"])
            linear = None if states["linear"] is None else LinearCCA(states["linear"])
            epochs = tuple(Epoch(**e) for e in facts["history"])
            history = History(epochs, facts["best_epoch"], int(facts["n_rows"]), 0.0) if epochs else None
            taken = ("epochs", "batch_size", "learning_rate", "patience", "refit", "device")
            made = cls(
                **options.model_dump(), **{name: getattr(training, name) for name in taken},
                baseline=linear is not None, schema=schema, random_state=training.seed,
            )  # fmt: skip
            made._take(model, pipeline, options, training, int(facts["n_rows"]), schema, linear, history)
            return made

        return cast(Self, read_folder(folder, restore, _FORMAT))


def paired(
    data: Data,
    schema: Schema | None,
    presence: Mapping[str, Any] | None = None,
    *,
    base_dir: str | Path = ".",
    on_bad_file: Literal["raise", "skip"] = "raise",
) -> tuple[Dataset, Schema | None]:
    """Returns rows without regard to a target, and the resolved schema of a table; see `Retriever.fit`."""
    if presence is not None and (isinstance(data, (Dataset, pd.DataFrame)) or not isinstance(data, Mapping)):
        raise DataError(f"Retriever: presence belongs to a dict of arrays; got it with {type(data).__name__}.")
    if isinstance(data, Dataset):
        return data, schema
    if isinstance(data, pd.DataFrame):
        inference = infer(data, leave_out_target(data, schema or Schema()))
        dataset = assemble(
            data, inference.schema, name="table", base_dir=base_dir, on_bad_file=on_bad_file, need_target=False
        )
        return replace(dataset, notes=(*inference.notes, *dataset.notes)), with_ranges(inference.schema, dataset)
    if isinstance(data, Mapping):
        return from_tensors(data, presence=presence, name="tensors"), None
    raise DataError(
        f"Retriever: data must be a DataFrame, a dict of arrays by modality, or a Dataset; got {type(data).__name__}."
    )
