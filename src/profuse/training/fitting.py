"""From a data set and a split to a model that predicts, in the data's own terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import call
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from profuse._cores import limit_threads
from profuse.data.dataset import Dataset, clusters_of
from profuse.data.pipeline import Pipeline
from profuse.data.split import Split
from profuse.data.target import TargetCodec
from profuse.encoders import Encoder
from profuse.errors import ConfigError, DataError
from profuse.fusion import Fusion, TargetFacts
from profuse.metrics import Metric
from profuse.models.build import Model, build_model
from profuse.models.options import ModelOptions
from profuse.models.solved import Solved
from profuse.predictor.network import NetworkPredictor, outputs_in_units
from profuse.predictor.trained import TrainedOn
from profuse.schema import Task
from profuse.tokens import Raw
from profuse.training.alternatives import Alternative, alternatives, replaced
from profuse.training.batches import predict_in_shares
from profuse.training.callbacks import Callers
from profuse.training.choices import Choice, choose, encoder_named
from profuse.training.choosing import worth_by
from profuse.training.groups import RowGroups, groups_of
from profuse.training.history import History
from profuse.training.keeping import Kept
from profuse.training.loop import Recipe, retrain, train
from profuse.training.options import TrainOptions
from profuse.training.out_of_fold import fit_out_of_fold
from profuse.training.solving import solve_linear
from profuse.training.together import rows_together
from profuse.training.weights import ClassWeight, check_class_weight, class_weights, log_class_weights, row_weights

__all__ = ["Prepared", "fit_model", "trained_on"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set with its split and preprocessing: done once, used by every method that is compared.

    Attributes:
        dataset: The data.
        split: Which rows are learned from, which validate, which test.
        pipeline: The fitted preprocessing.
        codec: The target's.
        inputs: All rows, preprocessed.
        target: All rows' targets, encoded.
        choices: What encoders have chosen for these data (`choose`); None: a fit lets them choose.
        solved: Linear paths that fits have solved; they share them.
        taught: What networks learn of each row in place of its target, `[row, output]`: probabilities, or encoded
            values. Linear paths are solved, and epochs and temperatures chosen, by the targets themselves.
        others: What other encoders than those of all models read, by modality and encoder (`also`).
        most_linear_rows: Of which linear paths learn; no limit if None.
        zeros: Makes tensors of all rows, as `torch.zeros` does, where linear paths learn from some of them.
        once: Returns what it is given to call returns, which of several processes may be called in some only.
    """

    dataset: Dataset
    split: Split
    pipeline: Pipeline
    codec: TargetCodec
    inputs: Mapping[str, Raw]
    target: Tensor
    choices: Mapping[str, Choice] | None = None
    solved: Solved = field(default_factory=Solved)
    taught: Tensor | None = None
    others: Mapping[tuple[str, str], Alternative] = field(default_factory=dict)
    most_linear_rows: int | None = None
    zeros: Callable[..., Tensor] = torch.zeros
    once: Callable[..., Any] = call

    @classmethod
    def make(cls, dataset: Dataset, split: Split, *, classes: TargetCodec | None = None) -> Prepared:
        """Fits the preprocessing and the target's codec on the training rows and applies them to all.

        Args:
            dataset: The data.
            split: Of its rows.
            classes: Knows all classes, where training rows may lack some; of numbers it is not used.

        Raises:
            DataError: There is no target, or a part cannot be learned from.
        """
        if dataset.target is None:
            raise DataError(f"Prepared: the data set {dataset.name!r} must have a target to fit; it has none.")
        pipeline = Pipeline.fit(dataset, split.train)
        target = np.asarray(dataset.target)
        codec = classes
        if codec is None or codec.task == "regression":
            codec = TargetCodec.fit(target[split.train], dataset.task, names=dataset.target_names)
        encoded = torch.as_tensor(codec.encode(target))
        return cls(dataset, split, pipeline, codec, pipeline.transform(dataset), encoded)

    def named(self, options: ModelOptions, modalities: Iterable[str]) -> ModelOptions:
        """Returns the options with the encoders that the schema names for `modalities`, where they name no other."""
        data = self.dataset.modalities
        named = {name: data[name].encoder for name in modalities if data[name].encoder}
        return options.model_copy(update={"encoders": {**named, **options.encoders}})

    def choose(self, options: ModelOptions, modalities: Iterable[str]) -> Prepared:
        """Returns the same with the options that encoders choose for these data; see `choices`."""
        specs = {name: self.pipeline.specs[name] for name in sorted(modalities)}
        rows = torch.as_tensor(self.split.train), torch.as_tensor(self.split.valid)
        named = self.named(options, specs)
        return replace(self, choices=self.once(lambda: choose(specs, self.inputs, self.target, *rows, named)))

    def also(self, encoders: Mapping[str, Sequence[str]], options: ModelOptions) -> Prepared:
        """Returns the same with what other `encoders` read, by modality; `options` are what all models share."""
        return replace(self, others=alternatives(self.dataset, self.split, self.target, encoders, options))

    def reading(self, encoders: Mapping[str, str]) -> Prepared:
        """Returns the same as the encoders of one model read it: other rows where one of them is among `others`."""
        made = {m: self.others[m, e] for m, e in encoders.items() if (m, e) in self.others}
        if not made:
            return self
        pipeline, choices = replaced(self.pipeline, self.choices or {}, made)
        inputs = {**self.inputs, **{m: other.raw for m, other in made.items()}}
        return replace(self, pipeline=pipeline, inputs=inputs, choices=choices, others={})

    def sharing(self, solved: Solved) -> Prepared:
        """Returns the same; linear paths are kept where other processes find them."""
        return replace(self, solved=solved)

    @property
    def task(self) -> Task:
        """What kind of target."""
        return self.codec.task

    def class_weights(self, asked: ClassWeight) -> np.ndarray | None:
        """Returns the weights of the classes, by the training rows; None where none are asked for."""
        classes = self.codec.classes.tolist()
        check_class_weight(asked, self.task, classes, who="fit")
        if asked is None:
            return None
        target = self.target[torch.as_tensor(self.split.train)]
        return class_weights(asked, torch.bincount(target, minlength=len(classes)).numpy(), classes)

    def weights(self, asked: ClassWeight) -> Tensor | None:
        """Returns the weights of all rows, those of their classes in them; None where all count alike."""
        return row_weights(self.class_weights(asked), self.target, self.split, self.dataset.weights, who="fit")

    def groups(self, options: TrainOptions) -> RowGroups | None:
        """Returns the groups none of which training may serve worse; None where it is not asked to."""
        classes = None
        if self.task in ("binary", "multiclass"):
            classes = self.codec.classes[self.target.numpy()]
        return groups_of(self.dataset.subgroups, classes, self.split, options, who="fit")

    @property
    def learned(self) -> Tensor:
        """What training rows are learned as, and validation rows judged by, as a head's loss takes it."""
        if self.taught is None:
            return self.target
        learned, valid = self.taught.clone(), torch.as_tensor(self.split.valid)
        own = self.target[valid]
        learned[valid] = (own if own.is_floating_point() else one_hot(own, self.codec.n_outputs)).to(learned)
        return learned

    def facts(self, rows: np.ndarray, weights: Tensor | None = None) -> TargetFacts:
        """Returns what an operator may know of the targets of `rows`, which count by their `weights`, if there are."""
        target, n_outputs = self.target[torch.as_tensor(rows)], self.codec.n_outputs
        if self.task == "regression":
            return TargetFacts(len(rows), None)
        if self.task == "multilabel":
            return TargetFacts(len(rows), (target.sum(0) + 1) / (len(target) + 2))
        counted = None if weights is None else weights[torch.as_tensor(rows)].float()
        counts = torch.bincount(target, counted, minlength=n_outputs) + 1
        return TargetFacts(len(rows), counts / counts.sum())

    def true(self, rows: np.ndarray) -> np.ndarray:
        """Returns the targets of rows as metrics take them: class numbers, 0/1, or values in the target's units."""
        true: np.ndarray = self.target[torch.as_tensor(rows)].numpy()
        given = np.asarray(self.dataset.target)[rows]  # standardised numbers are rounded
        return given.reshape(true.shape).astype(np.float64) if self.task == "regression" else true


def fit_model(
    prepared: Prepared,
    model_options: ModelOptions,
    train_options: TrainOptions,
    *,
    modalities: tuple[str, ...] | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    operator: Fusion | Callable[..., Fusion] | None = None,
    callbacks: Callers = (),
    metric: Metric | None = None,
    kept: Kept | None = None,
) -> NetworkPredictor:
    """Trains one model on the training rows of `prepared`, stopped by its validation rows; test rows are not read.

    Small data are then learned anew with the validation rows, for as many epochs (`TrainOptions.refit`). How sure the
    model is of what it predicts is calibrated on the validation rows before that (`Head.calibrate`).

    Rows count by `Dataset.weights`, times the weight of their class (`TrainOptions.class_weight`), in the loss, in what
    chooses the epoch, and in calibration. Linear paths are solved with equal weights, of the rows that have one; to
    their outputs of classes the logarithm of each class's mean weight is added.

    Args:
        prepared: Data, split, preprocessing.
        model_options: How the model is made.
        train_options: How it is trained; the seed is of both.
        modalities: The ones to use; all if None.
        encoders: The user's own encoders, by modality.
        operator: The user's own fusion operator.
        callbacks: Called in the training that chooses the epoch.
        metric: That counts; where it says so it chooses the epoch, each row counting once, or a quantile to be learned.
        kept: Where the training that chooses the epoch is kept, and from where it goes on; see `train`.

    With `Dataset.subgroups`, none of them may be served worse (`TrainOptions.subgroup_method`).

    Raises:
        DataError: Weights that are 0 for all training or validation rows; a subgroup of fewer than 2 training rows.
        ConfigError: Subgroups without a method, or the reverse; the task has no classes to weigh, or the operator
            takes no weights.
        UnknownNameError: A class that is weighed is not among them.
    """
    with limit_threads(train_options.threads):
        return _fit(prepared, model_options, train_options, modalities, encoders, operator, callbacks, metric, kept)


def _fit(
    prepared: Prepared,
    model_options: ModelOptions,
    train_options: TrainOptions,
    modalities: tuple[str, ...] | None,
    encoders: Mapping[str, Encoder] | None,
    operator: Fusion | Callable[..., Fusion] | None,
    callbacks: Callers,
    metric: Metric | None,
    kept: Kept | None,
) -> NetworkPredictor:
    used = tuple(sorted(modalities or prepared.inputs))
    inputs = {name: prepared.inputs[name] for name in used}
    pipeline, split = prepared.pipeline, prepared.split
    ours = [name for name in used if name not in (encoders or {})]
    model_options = prepared.named(model_options, used)
    if prepared.choices is None:
        prepared = prepared.choose(model_options, ours)
    assert prepared.choices is not None
    asked = model_options.encoder_options
    chosen = {
        name: choice
        for name, choice in prepared.choices.items()
        if name in ours and choice.encoder == encoder_named(name, pipeline.specs[name], model_options)
    }
    asked = asked | {name: {**choice.options, **asked.get(name, {})} for name, choice in chosen.items()}
    model_options = model_options.model_copy(update={"encoder_options": asked})

    weights, groups = prepared.weights(train_options.class_weight), prepared.groups(train_options)

    def counted(rows: np.ndarray) -> Tensor:
        """Returns those of the rows that have a weight."""
        index = torch.as_tensor(rows)
        return index if weights is None else index[weights[index] > 0]

    log_weights = None
    if weights is not None and prepared.task in ("binary", "multiclass"):
        learned = counted(split.train)
        log_weights = log_class_weights(weights[learned], prepared.target[learned], prepared.codec.n_outputs)

    # where rows belong together, or to a time, one left out is not like new ones
    independent = prepared.dataset.groups is None and prepared.dataset.times is None
    held = None if independent else counted(split.valid)
    linear: dict[str, Any] = {
        "together": rows_together(prepared.dataset, split), "solved": prepared.solved, "log_weights": log_weights,
        "most_rows": prepared.most_linear_rows, "zeros": prepared.zeros,
    }  # fmt: skip

    def solved(model: Model, rows: Tensor, **of_model: Any) -> Mapping[str, Raw]:
        return solve_linear(prepared.once, model, inputs, prepared.target, rows, **linear, **of_model)

    learned = prepared.learned
    known = np.concatenate([split.train, split.valid])
    refits = train_options.refits(len(known), by_time=prepared.dataset.times is not None)
    n_known = len(known if refits else split.train)
    # where no group may be served worse, the worst one's error chooses
    chooses = metric if metric is not None and metric.chooses_epochs and groups is None else None

    def build(rows: np.ndarray) -> Model:
        """Returns an untrained model that knows the target of `rows`."""
        made = build_model(
            {name: pipeline.specs[name] for name in used},
            prepared.task,
            prepared.codec.n_outputs,
            model_options,
            n_rows=len(split.train),
            n_known=n_known,
            seed=train_options.seed,
            encoders=encoders,
            operator=operator,
            quantile=None if metric is None else metric.quantile,
        )
        facts = prepared.facts(rows, weights)
        for module in made.modules():
            if isinstance(module, Fusion):
                module.prepare(facts)
        return made

    def fit(
        model: Model, rows: np.ndarray, callbacks: Callers = (), kept: Kept | None = None
    ) -> tuple[History, Mapping[str, Raw]]:
        """Returns with the history all rows, and what linear paths add to them."""
        train_rows, valid_rows = torch.as_tensor(rows), torch.as_tensor(split.valid)
        begin = solved(model, counted(rows), held=held)
        # the model begins as its linear paths, which may be the best there is
        recipe = Recipe(untrained_counts=len(model.plain.linear_paths.names) > 0)
        worth = None if chooses is None else worth_by(chooses, model.head, prepared.codec, prepared.true(split.valid))
        history = train(
            model,
            begin,
            learned,
            train_rows,
            valid_rows,
            train_options,
            callbacks=callbacks,
            recipe=recipe,
            then=then,
            weights=weights,
            groups=groups,
            looks=True,
            worth=worth,
            kept=kept,
        )
        return replace(history, chosen_by="" if chooses is None else chooses.name), begin

    model = build(split.train)
    decider = model.plain.decider
    fitted = decider if decider is not None and decider.out_of_fold else None
    weighs = weights is not None or (groups is not None and groups.method == "dro")
    if weighs and decider is not None and (decider.out_of_fold or decider.owns_loss):
        raise ConfigError(
            f"{type(decider).__name__}: it has a loss of its own, which takes no weights; got class_weight="
            f"{train_options.class_weight!r}{'' if prepared.dataset.weights is None else ' and weights of rows'}"
            f"{'' if groups is None else f' and subgroup_method={groups.method!r}'}. Use "
            "another operator, or no weights."
        )
    # three folds learn from two thirds of the rows each
    then = (2.0 if fitted is not None else 0.0) + (len(known) / len(split.train) if refits else 0.0)
    history, known_inputs = fit(model, split.train, callbacks, kept)
    if fitted is not None:
        seconds = fit_out_of_fold(fitted, build, fit, prepared.dataset, split.train, prepared.target)
        history = replace(history, fit_seconds=history.fit_seconds + seconds)
    valid_rows = torch.as_tensor(split.valid)
    outputs = torch.cat([output.outputs.float().cpu() for output in predict_in_shares(model, known_inputs, valid_rows)])
    with model.weighted(None if weights is None else weights[valid_rows] / weights[valid_rows].mean()):
        model.head.calibrate(outputs, prepared.target[valid_rows])
    valid_prediction = outputs_in_units(model, prepared.codec, known_inputs, split.valid)
    if refits:
        again = build(split.train)
        like = None if independent else model.plain
        rows = torch.as_tensor(known)
        begin = solved(again, counted(known), like=like)
        goal = prepared.target if prepared.taught is None else prepared.taught
        seconds = retrain(again, begin, goal, rows, train_options, history, weights, groups)
        again.head.temperature.copy_(model.head.temperature)
        if fitted is not None:
            assert again.plain.decider is not None
            again.plain.decider.load_state_dict(fitted.state_dict())
        model, history = again, replace(history, fit_seconds=history.fit_seconds + seconds)
    if kept is not None and not kept.until_saved:
        kept.end()
    own = [f"encoder of {name!r}" for name in encoders or {}] + ([] if operator is None else ["fusion operator"])
    return NetworkPredictor(
        pipeline=pipeline,
        codec=prepared.codec,
        model=model,
        modalities=used,
        n_rows=len(split.train),
        n_known=n_known,
        model_options=model_options,
        train_options=train_options,
        history=history,
        own_parts=tuple(own),
        valid_prediction=valid_prediction,
        valid_true=prepared.true(split.valid),
        valid_clusters=clusters_of(prepared.dataset, split.valid),
        choices={name: choice.words for name, choice in chosen.items()},
        trained_on=trained_on(prepared, train_options, metric if model_options.head == "mean" else None),
    )


def trained_on(prepared: Prepared, train: TrainOptions, metric: Metric | None) -> TrainedOn:
    """Returns the counts of the training and validation rows, for the card of what was fitted to them."""
    split = prepared.split
    return TrainedOn.of(
        prepared.dataset, prepared.codec, rows=np.concatenate([split.train, split.valid]),
        n_validation=len(split.valid), seed=train.seed, class_weight=train.class_weight, metric=metric,
    )  # fmt: skip
