"""From a data set and a split to a model that predicts, in the data's own terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from profuse._cores import limit_threads
from profuse.data.dataset import Dataset
from profuse.data.pipeline import Pipeline
from profuse.data.split import Split, folds
from profuse.data.target import TargetCodec
from profuse.encoders import Encoder
from profuse.errors import DataError
from profuse.fusion import Fusion
from profuse.fusion.encoder_decoder.product_of_experts import ProductOfExperts
from profuse.fusion.encoder_decoder.stacking import Stacking
from profuse.models.build import build_model
from profuse.models.options import ModelOptions
from profuse.predictor.network import NetworkPredictor, outputs_in_units
from profuse.schema import Task
from profuse.tokens import Raw
from profuse.training.loop import Epoch, History, Model, predict, retrain, train
from profuse.training.options import TrainOptions

__all__ = ["Prepared", "fit_model"]


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


def fit_model(
    prepared: Prepared,
    model_options: ModelOptions,
    train_options: TrainOptions,
    *,
    modalities: tuple[str, ...] | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    operator: Fusion | Callable[..., Fusion] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> NetworkPredictor:
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
) -> NetworkPredictor:
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
    valid_prediction = outputs_in_units(model, prepared.codec, inputs, split.valid)
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
    return NetworkPredictor(
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
