"""`Retraining`: the model of a predictor fitted anew, with its own options, to rows that lack a modality."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from profuse.classical import fittable
from profuse.data.dataset import Dataset
from profuse.data.split import Split, split_off
from profuse.errors import ConfigError, DataError
from profuse.metrics import Metric, metric_named
from profuse.predictor import ClassicalPredictor, NetworkPredictor, Predictor
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model, trained_on
from profuse.training.options import TrainOptions

__all__ = ["Retraining"]

_VALIDATION = 0.2  # of the rows, where it is not known how many chose the epoch


@dataclass(frozen=True, eq=False)
class Retraining:
    """A predictor whose options are known, and rows to fit them to.

    A network is made and trained by its own options, with as large a share of the rows to choose its epoch as it had.
    A classical model is fitted anew on the same features; what it has chosen of these it chooses again.

    Attributes:
        predictor: Whose model it is.
        prepared: The rows, divided and preprocessed as the predictor's are.
    """

    predictor: NetworkPredictor | ClassicalPredictor
    prepared: Prepared

    KINDS: ClassVar[str] = "a network or a classical model"

    @classmethod
    def of(cls, predictor: Predictor, rows: Dataset, *, who: str) -> Retraining:
        """Prepares rows; official test rows are left out.

        Args:
            predictor: Of a kind that can be fitted anew.
            rows: With a target.
            who: Begins messages.

        Raises:
            ConfigError: The predictor cannot be fitted anew.
            DataError: The rows cannot be learned from, or have classes that the predictor has not.
        """
        if reason := _cannot(predictor):
            raise ConfigError(
                f"{who}: the predictor must be {cls.KINDS} that its saved options can fit anew; {reason}. Ask a model "
                "of 'profuse fit --network', or let 'profuse compare' fit the best fusion without each modality."
            )
        assert isinstance(predictor, NetworkPredictor | ClassicalPredictor)
        dataset = rows if rows.split is None else rows.rows(np.flatnonzero(rows.split != "test"))
        names = predictor.pipeline.names
        parts = {n: replace(d, preprocess=names[n]) for n, d in dataset.modalities.items() if n in names}
        dataset = replace(dataset, modalities=parts)
        known = predictor.trained_on
        share = known.n_validation / known.n_rows if known is not None and known.n_validation else _VALIDATION
        learn, choose = split_off(dataset, share, seed=_seed(predictor))
        split = Split(learn, choose, np.empty(0, dtype=np.int64))
        try:
            return cls(predictor, Prepared.make(dataset, split, classes=predictor.codec))
        except DataError as error:
            raise DataError(f"{who}: rows to fit the model to anew must be like those of training. {error}") from error

    def without(self, modalities: Collection[str]) -> Predictor:
        """Returns the model fitted to the rows as if it had never had `modalities`; at least one must be left."""
        rest = tuple(name for name in self.predictor.modalities if name not in modalities)
        if isinstance(self.predictor, NetworkPredictor):
            return self._network(self.predictor, rest)
        return self._classical(self.predictor, rest)

    def _network(self, network: NetworkPredictor, rest: tuple[str, ...]) -> Predictor:
        options = network.model_options.of_modalities(rest)
        if len(rest) == 1 < len(network.modalities):
            options = options.model_copy(update={"fusion": None, "level": None})  # nothing is left to fuse
        chose = network.history.chosen_by if network.history is not None else ""
        metric = self._metric(network, chose)
        return fit_model(self.prepared, options, network.train_options, modalities=rest, metric=metric)

    def _classical(self, model: ClassicalPredictor, rest: tuple[str, ...]) -> Predictor:
        train = TrainOptions(seed=_seed(model), threads=model.threads)
        sets = {name: of for name, of in model.features.names.items() if name in rest}
        metric = self._metric(model)
        best = best_fit(model.name, rest, self.prepared, train, trials=1, seed=train.seed, sets=sets, metric=metric)
        made = best.predictor(model.name, rest, self.prepared, threads=model.threads)
        return replace(made, trained_on=trained_on(self.prepared, train, metric))

    def _metric(self, of: Predictor, chose: str = "") -> Metric | None:
        """Returns the metric that chose its epoch, or by whose quantile it has learned."""
        name = chose or (of.trained_on.metric if of.trained_on is not None else "")
        return metric_named(name, self.prepared.task, who="retrain") if name else None


def _cannot(predictor: Predictor) -> str:
    """Returns why a predictor cannot be fitted anew; "" if it can."""
    if isinstance(predictor, NetworkPredictor):
        if predictor.own_parts:
            return f"it has the user's own {', '.join(predictor.own_parts)}, of which no copy without weights is kept"
        return "it has learned from the predictions of a portfolio" if "n_taught" in predictor.about else ""
    if isinstance(predictor, ClassicalPredictor):
        return "" if predictor.name in fittable() else f"{predictor.name!r} cannot be fitted here"
    return f"got a {type(predictor).__name__}"


def _seed(predictor: NetworkPredictor | ClassicalPredictor) -> int:
    if isinstance(predictor, NetworkPredictor):
        return predictor.train_options.seed
    known = predictor.trained_on
    return 0 if known is None or known.seed is None else known.seed
