"""`FusionClassifier` and `FusionRegressor`: scikit-learn estimators for tables and for dicts of arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from profuse._fields import documented
from profuse.data.dataset import Dataset
from profuse.data.new_rows import tell
from profuse.data.split import Split, split_off
from profuse.data.task import class_task
from profuse.data.tensors import same_order
from profuse.errors import CheckpointError, DataError
from profuse.estimators.options import FitOptions
from profuse.estimators.settings import around, settings_of
from profuse.fusion import Fusion
from profuse.inputs import columns_in, to_learn_from, training_data, with_encoders, with_subgroups, with_weights
from profuse.metrics import metric_named
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.predictor.saving import load_with_estimator
from profuse.schema import OnBadFile, Schema, Task
from profuse.training.callbacks import Callers, as_callbacks
from profuse.training.fitting import Prepared, fit_model
from profuse.training.keeping import Kept
from profuse.training.options import TrainOptions

__all__ = ["FusionClassifier", "FusionRegressor"]

FusionLike = str | Fusion | type[Fusion] | Callable[..., Fusion]
EncoderLike = str | nn.Module
Input = pd.DataFrame | np.ndarray | Mapping[str, Any] | Dataset


_BY_NAME = ("encoders", "encoder_options", "operator_options", "balance_options")
_MORE = {
    "fusion": "Or a `Fusion` class, a callable `(channels, width) -> Fusion`, or an instance, which is copied.",
    "encoders": "Or, for a name, any `nn.Module` from the modality's values to `[batch, channel]` or `[batch, token, "
    "channel]` (see `profuse.encoders.own`), which is copied.",
    "base_dir": "It is not saved: `load` takes it.",
    "schema": "Path of a YAML file, dict or `Schema`, for tables; what it leaves open is inferred.",
}


@dataclass(kw_only=True, eq=False, repr=False)
class _FusionEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """What both estimators share. Each parameter stands here once: a field of its options, with the same default."""

    _tasks: ClassVar[tuple[Task, ...]]

    fusion: FusionLike | None = None
    level: str | None = None
    decision: str = "mean_logits"
    rounds: int | str = 1
    feedback: str = "scale_shift"
    into: Sequence[str] | None = None
    entry: str = "early"
    start: str = "zero"
    supervise: str = "last"
    gradient_rounds: int | None = None
    max_rounds: int = 50
    tolerance: float = 1e-4
    damping: float = 1.0
    width: int = 64
    dropout: float = 0.2
    label_smoothing: float = 0.1
    head: str = "mean"
    unimodal_loss_weight: float = 0.5
    members: int | None = None
    encoders: Mapping[str, EncoderLike] | None = None
    encoder_options: Mapping[str, Mapping[str, Any]] | None = None
    operator_options: Mapping[str, Mapping[str, Any]] | None = None
    epochs: int | None = None
    max_steps: int = 4000
    batch_size: int | None = None
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup_fraction: float = 0.1
    averaging: float = 0.02
    patience: int | None = None
    refit: bool | None = None
    class_weight: Mapping[Any, float] | str | None = None
    max_grad_norm: float = 1.0
    modality_dropout: float = 0.0
    balance: str | None = None
    balance_options: Mapping[str, float] | None = None
    subgroup_method: str | None = None
    subgroup_all_classes: bool = False
    dro_step: float = 0.01
    dro_adjustment: float = 0.0
    device: str = "auto"
    precision: str = "32-true"
    threads: int = 1
    schema: Schema | Mapping[str, Any] | str | Path | None = None
    base_dir: str | Path | None = None
    on_bad_file: OnBadFile = "raise"
    validation_fraction: float = 0.2
    metric: str | None = None
    random_state: int | np.random.RandomState | None = 0

    def fit(
        self,
        X: Input,
        y: Any = None,
        *,
        sample_weight: Sequence[float] | np.ndarray | pd.Series | None = None,
        groups: Sequence[object] | np.ndarray | pd.Series | None = None,
        subgroups: Sequence[object] | np.ndarray | pd.Series | None = None,
        presence: Mapping[str, Any] | None = None,
        rates: Mapping[str, int] | None = None,
        callbacks: Callers = (),
        checkpoint: str | Path | Kept | None = None,
    ) -> Self:
        """Learns from all rows but official test rows; `validation_fraction` of them choose the epoch.

        Args:
            X: A DataFrame (kinds of columns are inferred, `schema` overrides), a 2-D array of numbers, a dict
                of arrays or tensors by modality, or a `Dataset`.
            y: The target `[row]` or `[row, target]`, rows in the order of X; not needed where a `Dataset` or the
                schema says it.
            sample_weight: `[row]`, at least 0: how much rows count in the loss, in what chooses the epoch, and in
                calibration; or the schema's `weight` names their column. Only ratios matter. Preprocessing and linear
                paths take all rows alike; of classes, the mean weight of each moves what linear paths answer.
            groups: `[row]`: rows with one value stay on one side of the inner split.
            subgroups: `[row]`: of which group a row is, where none may be served worse (`subgroup_method`); or the
                schema's `subgroup` names their column.
            presence: For a dict: bool `[row]` by modality, False where it is missing.
            rates: For a dict: samples a second of its sounds, by modality; those of later rows must be the same.
            callbacks: `Callback` objects, and functions that are called with each `Epoch`: `callbacks=[print]`.
            checkpoint: File in which the training is kept every minute, and from which the same fit goes on where it
                was stopped; it is gone in the end.

        Raises:
            ConfigError: Parameters out of range, or unknown: all are told together.
            DataError: The data or the target cannot be learned from.
        """
        who = type(self).__name__
        called = as_callbacks(callbacks, who=who)
        settings = settings_of(self.get_params(deep=False), who=who)
        by_row = {"groups": groups, "subgroups": subgroups, "sample_weight": sample_weight}
        same_order({"X": X, "y": y, "presence": presence, **by_row}, where=who)
        dataset, schema = training_data(
            X, y, settings.schema, presence=presence, rates=rates, task_of=self._task, **self._reading()
        )
        if sample_weight is not None:
            dataset = with_weights(dataset, sample_weight, who=who, what="sample_weight")
        if subgroups is not None:
            dataset = with_subgroups(dataset, subgroups, who=who)
        dataset = to_learn_from(X, dataset, groups, who=who)
        if dataset.task not in self._tasks:
            raise DataError(
                f"{who}: the task must be one of {', '.join(self._tasks)}; got {dataset.task!r}. "
                f"Use {'FusionRegressor' if dataset.task == 'regression' else 'FusionClassifier'}."
            )
        dataset = with_encoders(dataset, self.encoders or {}, into=settings.model.into or (), who=who)
        learn, choose = split_off(dataset, self.validation_fraction, seed=settings.train.seed)
        prepared = Prepared.make(dataset, Split(learn, choose, np.empty(0, dtype=np.int64)))
        tell(() if isinstance(X, Dataset) else prepared.pipeline.notes, who, stacklevel=3)
        trained = fit_model(
            prepared,
            settings.model,
            settings.train,
            encoders=around(settings.modules, prepared, settings.model.width, seed=settings.train.seed) or None,
            operator=settings.operator,
            callbacks=called,
            metric=None if self.metric is None else metric_named(self.metric, dataset.task, who=who),
            kept=Kept.at(checkpoint),
        )
        return self._take(replace(trained, schema=schema), columns_in(X, schema))

    @abstractmethod
    def predict(self, X: Input, *, presence: Mapping[str, Any] | None = None) -> np.ndarray:
        """Returns a prediction for each row."""

    def predict_rounds(
        self,
        X: Input,
        *,
        rounds: int | None = None,
        tolerance: float | None = None,
        presence: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns a progressive model's probabilities or values `[round, row, output]`, and rounds used, `[row]`.

        Args:
            X: As in `predict`; and so `presence`.
            rounds: How many, at most; those of the model if None.
            tolerance: Change of a prediction by which a row has settled; see `NetworkPredictor.predict_rounds`.

        Raises:
            ConfigError: The model has no rounds, or options are out of range.
        """
        dataset = self._rows(X, presence)
        return self.predictor_.predict_rounds(dataset, rounds=rounds, tolerance=tolerance)

    def save(self, folder: str | Path) -> None:
        """Writes the fitted model into `folder`, which must be new, empty, or a saved model.

        Raises:
            CheckpointError: The folder holds something else, or a part is the user's own object.
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        known = {
            "validation_fraction": float(self.validation_fraction),
            "on_bad_file": self.on_bad_file,
            **({} if self.metric is None else {"metric": self.metric}),
            "random_state": None if self.random_state is None else self.predictor_.train_options.seed,
            "columns": getattr(self, "n_features_in_", None) if names is None else list(names),
        }
        self.predictor_.save(folder, estimator=known)

    @classmethod
    def load(cls, folder: str | Path, *, base_dir: str | Path | None = None) -> Self:
        """Returns the estimator that `save`, `profuse fit` or a comparison left in `folder`, ready to predict.

        Its `schema` is the resolved one, and its `base_dir`, a place on a machine, the one given here.

        Raises:
            CheckpointError: No saved model, a damaged or newer one, or one for another task.
        """
        predictor, known = load_with_estimator(folder)
        task = predictor.task
        if task not in cls._tasks:
            raise CheckpointError(
                f"{cls.__name__}.load: the task must be one of {', '.join(cls._tasks)}; {folder} holds {task!r}. "
                f"Use {'FusionRegressor' if task == 'regression' else 'FusionClassifier'}."
            )
        if not isinstance(predictor, NetworkPredictor):
            raise CheckpointError(
                f"{cls.__name__}.load: the model must be a network; {folder} holds a {type(predictor).__name__}. "
                "Use profuse.load_model."
            )
        options = {**predictor.model_options.model_dump(), **predictor.train_options.model_dump()}
        options |= {name: options[name] or None for name in _BY_NAME}
        options["random_state"] = options.pop("seed")
        columns = known.pop("columns", None)
        if columns is None and predictor.schema is not None:
            columns = predictor.schema.known_columns
        return cls(**options | known, schema=predictor.schema, base_dir=base_dir)._take(predictor, columns)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.dict = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.random_state is None
        return tags

    def _take(self, predictor: NetworkPredictor, columns: list[str] | int | None) -> Self:
        """Sets what a fitted estimator has; columns: the names of a table's, the number of an array's, or None."""
        self.predictor_ = predictor
        self.task_ = predictor.task
        self.schema_ = predictor.schema
        for name in ("feature_names_in_", "n_features_in_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if isinstance(columns, list):
            self.feature_names_in_ = np.asarray(columns, dtype=object)
        if columns is not None:
            self.n_features_in_ = len(columns) if isinstance(columns, list) else columns
        epochs = () if predictor.history is None else predictor.history.epochs
        self.history_ = pd.DataFrame(map(vars, epochs), columns=["epoch", "train_loss", "valid_loss", "valid_score"])
        return self

    @abstractmethod
    def _task(self, y: Any) -> Task:
        """Returns what kind of target y is."""

    def _reading(self) -> dict[str, Any]:
        """Returns how X is read, in fit and later."""
        return {"who": type(self).__name__, "base_dir": self.base_dir, "on_bad_file": self.on_bad_file}

    def _rows(self, X: Any, presence: Mapping[str, Any] | None) -> Dataset:
        """Returns the rows of X, read as those of fit were; what was counted in a table is told as a warning."""
        check_is_fitted(self)
        dataset = self.predictor_.read(X, presence=presence, **self._reading())
        own = len(X.notes) if isinstance(X, Dataset) else 0  # which are with its maker
        tell(dataset.notes[own:], type(self).__name__)
        return dataset


@documented((ModelOptions, TrainOptions, FitOptions), _MORE)
class FusionClassifier(ClassifierMixin, _FusionEstimator):  # type: ignore[misc]
    """Classes (two or more) or labels (y of 0 and 1, `[row, label]`) from several modalities.

    Args:
        {parameters}

    Attributes:
        classes_: The classes, sorted; the names of the labels of a multilabel target.
        history_: DataFrame of the epochs: losses and validation score.
        feature_names_in_: Columns of the table in fit; an array has only `n_features_in_`, other input neither.
        schema_: The table's resolved schema.
        predictor_: The `NetworkPredictor`, which is saved, measured and asked.

    Example:
        >>> import numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> X = pd.DataFrame({"size": rng.normal(size=60), "colour": rng.choice(["red", "blue"], 60)})
        >>> y = np.where(X["size"] > 0, "big", "small")
        >>> FusionClassifier(epochs=2, width=8).fit(X, y).predict(X).shape
        (60,)
    """

    _tasks = ("binary", "multiclass", "multilabel")

    def predict(self, X: Input, *, presence: Mapping[str, Any] | None = None) -> np.ndarray:
        """Returns the most probable class of each row; for labels, 0/1 `[row, label]`."""
        dataset = self._rows(X, presence)
        return self.predictor_.predict(dataset)

    def predict_proba(self, X: Input, *, presence: Mapping[str, Any] | None = None) -> np.ndarray:
        """Returns the probability of each class (label), `[row, class]`, in the order of `classes_`."""
        dataset = self._rows(X, presence)
        return self.predictor_.predict_proba(dataset)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _take(self, predictor: NetworkPredictor, columns: list[str] | int | None) -> Self:
        self.classes_ = predictor.classes
        return super()._take(predictor, columns)

    def _task(self, y: Any) -> Task:
        task = class_task(y)
        if task == "regression":
            raise DataError("FusionClassifier: y must be classes; got numbers with decimals. Use FusionRegressor.")
        return task


class FusionRegressor(RegressorMixin, _FusionEstimator):  # type: ignore[misc]
    """One number or several (y `[row, target]`) from several modalities; standardised inside, told in y's units.

    Args: those of `FusionClassifier`; `label_smoothing` has no effect.

    Attributes: those of `FusionClassifier`, without `classes_`.
    """

    _tasks = ("regression",)

    def predict(self, X: Input, *, presence: Mapping[str, Any] | None = None) -> np.ndarray:
        """Returns the predicted numbers, `[row]` or `[row, target]` as y was; medians of `head="quantile"`."""
        dataset = self._rows(X, presence)
        return self.predictor_.predict(dataset)

    def predict_quantiles(self, X: Input, *, presence: Mapping[str, Any] | None = None) -> np.ndarray:
        """Returns the .05, .5 and .95 quantiles, `[row, quantile]` or `[row, target, quantile]`, of `head="quantile"`.

        Raises:
            ConfigError: The model has not learned quantiles.
        """
        dataset = self._rows(X, presence)
        return self.predictor_.predict_quantiles(dataset)

    def _task(self, y: Any) -> Task:
        return "regression"
