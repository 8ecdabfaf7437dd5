"""From a data set and a split to a model that predicts, in the data's own terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from profuse._cores import limit_threads
from profuse._folder import applied
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.split import Split, folds
from profuse.data.target import TargetCodec
from profuse.encoders import Encoder
from profuse.errors import ConfigError, DataError
from profuse.fusion import Fusion
from profuse.fusion.encoder_decoder.product_of_experts import ProductOfExperts
from profuse.fusion.encoder_decoder.stacking import Stacking
from profuse.models.build import ModelOptions, build_model
from profuse.progressive import ProgressiveFusion
from profuse.schema import Schema, Task
from profuse.tokens import Raw
from profuse.training.loop import Epoch, History, Model, TrainOptions, batches, predict, retrain, train

__all__ = ["Prepared", "TrainedModel", "fit_model"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set with its split and preprocessing: done once, used by every method that is compared."""

    dataset: Dataset
    split: Split
    pipeline: Pipeline
    codec: TargetCodec
    inputs: Mapping[str, Raw]
    target: Tensor

    @classmethod
    def make(cls, dataset: Dataset, split: Split) -> Prepared:
        """Fits the preprocessing and the target's codec on the training rows and applies them to all.

        Raises:
            DataError: There is no target, or a part cannot be learned from.
        """
        if dataset.target is None:
            raise DataError(f"Prepared: the data set {dataset.name!r} must have a target to fit; it has none.")
        pipeline = Pipeline.fit(dataset, split.train)
        target = np.asarray(dataset.target)
        codec = TargetCodec.fit(target[split.train], dataset.task, names=dataset.target_names)
        encoded = torch.as_tensor(codec.encode(target))
        return cls(dataset, split, pipeline, codec, pipeline.transform(dataset), encoded)

    @property
    def task(self) -> Task:
        """What kind of target."""
        return self.codec.task

    def true(self, rows: np.ndarray) -> np.ndarray:
        """Returns the targets of rows as metrics take them: class numbers, 0/1, or values in the target's units."""
        return self.codec.in_units(self.target[torch.as_tensor(rows)].numpy())


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A fitted pipeline and a trained model: predicts for any data set with the same modalities.

    Attributes:
        pipeline: Fitted preprocessing.
        codec: Of the target, fitted.
        model: Trained, in evaluation mode, on the CPU.
        modalities: The modalities it uses.
        n_rows: Training rows, by which encoders chose their size.
        model_options: How it was made.
        train_options: How it was trained.
        history: Its epochs.
        valid_prediction: What the model predicted for the validation rows before it was trained anew with them.
        source: The folder that it was read from, if it was.
        schema: The table's resolved schema, where the data came from a table.
        own_parts: Parts that are the user's own objects, which no name rebuilds.
    """

    pipeline: Pipeline
    codec: TargetCodec
    model: Model
    modalities: tuple[str, ...]
    n_rows: int
    model_options: ModelOptions
    train_options: TrainOptions
    history: History | None = None
    schema: Schema | None = None
    own_parts: tuple[str, ...] = ()
    valid_prediction: np.ndarray | None = None
    source: str = ""

    @property
    def task(self) -> Task:
        """What kind of target."""
        return self.codec.task

    @property
    def n_parameters(self) -> int:
        """Numbers in the model that training has changed; all that can be trained where that is not known."""
        known = self.history.n_parameters if self.history is not None else 0
        return known or sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def predict(self, dataset: Dataset) -> np.ndarray:
        """Returns probabilities `[row, class or label]`, or values `[row, target]` in the target's units."""
        return self.predict_inputs(self._inputs(dataset))

    def _inputs(self, dataset: Dataset) -> dict[str, Raw]:
        with applied(self.source):
            return self.pipeline.transform(dataset)

    def predict_inputs(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        """Returns the same for rows (all if None) that are already preprocessed."""
        given = {name: inputs[name] for name in self.modalities}
        with limit_threads(self.train_options.threads), applied(self.source):
            said = _predict(self.model, self.codec, given, rows)
            if self.source and not np.isfinite(said).all():
                raise ValueError("predictions that are no finite numbers")
            return said

    def predict_rounds(
        self, dataset: Dataset, *, rounds: int | None = None, tolerance: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what a progressive model predicts after each round; see `ProgressiveFusion.anytime`.

        Args:
            dataset: As in `predict`.
            rounds: How many, at most; those of the model if None.
            tolerance: The change of a prediction by which it has settled, in probabilities, or in standard deviations
                of the target over the training rows; None: all rows take part in all rounds.

        Returns:
            `[round, row, output]` in the units of `predict`, and `[row]`: how many rounds each row has used.

        Raises:
            ConfigError: The model has no rounds.
        """
        if not isinstance(self.model, ProgressiveFusion):
            raise ConfigError("predict_rounds: the model must be progressive; got rounds=1. Fit it with rounds=2.")
        inputs = self._inputs(dataset)
        given = {name: inputs[name] for name in self.modalities}
        every = torch.arange(len(next(iter(given.values()))))
        with limit_threads(self.train_options.threads), applied(self.source):
            found = [
                self.model.anytime(batch, rounds=rounds, tolerance=tolerance) for batch, _ in batches(given, every, 512)
            ]
        longest = max(len(f.predictions) for f in found)
        # where a batch has settled early, all its rows keep their predictions
        parts = [f.predictions[torch.arange(longest).clamp(max=len(f.predictions) - 1)] for f in found]
        said: np.ndarray = torch.cat(parts, dim=1).double().numpy()
        return self.codec.in_units(said), torch.cat([f.rounds for f in found]).numpy()


def fit_model(
    prepared: Prepared,
    model_options: ModelOptions,
    train_options: TrainOptions,
    *,
    modalities: tuple[str, ...] | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    operator: Fusion | Callable[..., Fusion] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainedModel:
    """Trains one model on the training rows of `prepared`, stopped by its validation rows; test rows are not read.

    Small data are then learned anew with the validation rows, for as many epochs (`TrainOptions.refit`).

    Args:
        prepared: Data, split, preprocessing.
        model_options: How the model is made.
        train_options: How it is trained; the seed is of both.
        modalities: The ones to use; all if None.
        encoders: The user's own encoders, by modality.
        operator: The user's own fusion operator.
        on_epoch: Called after each epoch.
    """
    with limit_threads(train_options.threads):
        return _fit(prepared, model_options, train_options, modalities, encoders, operator, on_epoch)


def _fit(
    prepared: Prepared,
    model_options: ModelOptions,
    train_options: TrainOptions,
    modalities: tuple[str, ...] | None,
    encoders: Mapping[str, Encoder] | None,
    operator: Fusion | Callable[..., Fusion] | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> TrainedModel:
    used = tuple(sorted(modalities or prepared.inputs))
    inputs = {name: prepared.inputs[name] for name in used}
    pipeline, split = prepared.pipeline, prepared.split
    # what the schema says of a modality's encoder holds unless the options name another
    named = {name: data.encoder for name, data in prepared.dataset.modalities.items() if name in used and data.encoder}
    model_options = model_options.model_copy(update={"encoders": {**named, **model_options.encoders}})

    def build() -> Model:
        return build_model(
            {name: pipeline.specs[name] for name in used},
            prepared.task,
            prepared.codec.n_outputs,
            model_options,
            n_rows=len(split.train),
            seed=train_options.seed,
            encoders=encoders,
            operator=operator,
        )

    def fit(model: Model, rows: np.ndarray, on_epoch: Callable[[Epoch], None] | None = None) -> History:
        train_rows, valid_rows = torch.as_tensor(rows), torch.as_tensor(split.valid)
        return train(model, inputs, prepared.target, train_rows, valid_rows, train_options, on_epoch=on_epoch)

    model = build()
    _set_prior(model, prepared)
    history = fit(model, split.train, on_epoch)
    decider = model.plain.decider
    if isinstance(decider, Stacking):
        seconds = _stack(decider, build, fit, inputs, prepared)
        history = replace(history, fit_seconds=history.fit_seconds + seconds)
    valid_prediction = _predict(model, prepared.codec, inputs, split.valid)
    known = np.concatenate([split.train, split.valid])
    if train_options.refits(len(known), by_time=prepared.dataset.times is not None):
        again = build()
        _set_prior(again, prepared)
        seconds = retrain(again, inputs, prepared.target, torch.as_tensor(known), train_options, history)
        if isinstance(decider, Stacking):
            assert again.plain.decider is not None
            again.plain.decider.load_state_dict(decider.state_dict())
        model, history = again, replace(history, fit_seconds=history.fit_seconds + seconds)
    own = [f"encoder of {name!r}" for name in encoders or {}] + ([] if operator is None else ["fusion operator"])
    return TrainedModel(
        pipeline=pipeline,
        codec=prepared.codec,
        model=model,
        modalities=used,
        n_rows=len(split.train),
        model_options=model_options,
        train_options=train_options,
        history=history,
        own_parts=tuple(own),
        valid_prediction=valid_prediction,
    )


def _set_prior(model: Model, prepared: Prepared) -> None:
    """Tells a product of experts how frequent classes or labels are in training, one row more counted of each."""
    experts = model.plain.decider
    if not isinstance(experts, ProductOfExperts):
        return
    target, n_outputs = prepared.target[torch.as_tensor(prepared.split.train)], prepared.codec.n_outputs
    if prepared.task in ("binary", "multiclass"):
        counts = torch.bincount(target, minlength=n_outputs) + 1
        experts.set_prior(counts / counts.sum())
    elif prepared.task == "multilabel":
        experts.set_prior((target.sum(0) + 1) / (len(target) + 2))


def _predict(model: Model, codec: TargetCodec, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
    outputs = torch.cat([o.outputs for o in predict(model, inputs, None if rows is None else torch.as_tensor(rows))])
    said: np.ndarray = model.head.predict(outputs).double().numpy()
    return codec.in_units(said)


def _stack(
    operator: Stacking,
    build: Callable[[], Model],
    fit: Callable[[Model, np.ndarray], History],
    inputs: Mapping[str, Raw],
    prepared: Prepared,
) -> float:
    """Fits a stacking operator on outputs for rows that the model behind them has not learned from; returns seconds."""
    outputs, present, rows, seconds = [], [], [], 0.0
    for learned, held_out in folds(prepared.dataset, prepared.split.train, k=3, seed=0):
        model = build()
        seconds += fit(model, learned).fit_seconds
        for output in predict(model, inputs, torch.as_tensor(held_out)):
            outputs.append(torch.stack([output.parts[name] for name in operator.names], dim=1))
            present.append(torch.stack([output.present[name] for name in operator.names], dim=1))
        rows.append(torch.as_tensor(held_out))
    operator.fit_out_of_fold(torch.cat(outputs), torch.cat(present), prepared.target[torch.cat(rows)])
    return seconds
