"""A classical model on data and a split: the best of its trials, or of the sets of features that it is tried with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from profuse.classical import ClassicalFit, classical, feature_sets_for, fit_classical, side_by_side
from profuse.classical.neighbours import Neighbours
from profuse.data.feature_pipeline import FeaturePipeline
from profuse.data.features import Features, Matrix, features_named
from profuse.data.split import folds
from profuse.errors import DataError
from profuse.kinds import kind_named
from profuse.metrics import Metric, measure, primary_metric
from profuse.predictor import ClassicalPredictor
from profuse.training.fitting import Prepared
from profuse.training.options import TrainOptions

__all__ = ["BestFit", "Made", "best_fit", "features_tried", "make_features"]

Made = Callable[[str, str], tuple[Features, Matrix]]
"""Modality and name of features -> those, fitted, and what they are of all rows."""


@dataclass(frozen=True, eq=False)
class BestFit:
    """What was chosen.

    Attributes:
        fit: The model, fitted.
        features: What it takes, fitted.
        x: The features of all rows, by modality.
        valid: What it predicted for validation rows before it learned from them, in the target's units.
        trial: Which trial it was.
        seconds: That all fits have taken.
        neighbours: What fills modalities that a row lacks; None: nothing does.
    """

    fit: ClassicalFit
    features: FeaturePipeline
    x: Mapping[str, Matrix]
    valid: np.ndarray
    trial: int
    seconds: float
    neighbours: Neighbours | None = None

    def predictor(
        self, name: str, modalities: Sequence[str], prepared: Prepared, *, threads: int = 1
    ) -> ClassicalPredictor:
        """Returns what predicts new rows.

        Args:
            name: Of the model, as it was fitted.
            modalities: That it sees.
            prepared: What it was fitted to.
            threads: Of the processor in prediction.
        """
        return ClassicalPredictor(
            pipeline=prepared.pipeline, codec=prepared.codec, features=self.features, name=name, model=self.fit.model,
            modalities=tuple(modalities), threads=threads, neighbours=self.neighbours,
        )  # fmt: skip


def best_fit(
    name: str,
    modalities: Sequence[str],
    prepared: Prepared,
    train: TrainOptions,
    *,
    trials: int,
    seed: int,
    metric: Metric | None = None,
    made: Made | None = None,
    sets: Mapping[str, str] | None = None,
    brief: bool = False,
) -> BestFit:
    """Fits a classical model and returns the best, by its own choice or by the metric on validation rows.

    Modalities that a row lacks are filled by `Neighbours` where validation rows, each modality hidden and each left
    alone, score better so.

    Rows count by their weights, by those of their classes, and by those of their groups
    (`RowGroups.balancing_weights`); the metric counts each row once.

    Args:
        name: Of the model.
        modalities: That it sees.
        prepared: Data, split, target.
        train: Whether it is fitted anew on training and validation rows, and weights of classes.
        trials: How many of its trials are tried.
        seed: Of all that is drawn.
        metric: That counts; the task's primary one if None.
        made: Makes features, or has kept them of another fit of the same split; `make_features` if None.
        sets: Names of features by modality; one left out has the first of its kind. Those that belong to the model and
            the kinds if None.
        brief: Whether a quick choice will do, as for one of many fits: by validation rows alone, and among few models.
    """
    codec, split, task = prepared.codec, prepared.split, prepared.task
    metric = metric or primary_metric(task)
    refit = train.refits(len(split.train) + len(split.valid), by_time=prepared.dataset.times is not None)
    make = made or partial(make_features, prepared)
    inner = _inner_folds(prepared, seed) if classical(name).role == "single" and not brief else None
    weights, groups = prepared.weights(train.class_weight), prepared.groups(train)
    if groups is not None:
        balancing = groups.balancing_weights(torch.as_tensor(split.train))
        weights = balancing if weights is None else weights * balancing
    tried: list[tuple[tuple[float, ...], BestFit]] = []
    for case, trial in _variants(name, modalities, prepared, trials, sets, brief):
        several = {modality: make(modality, chosen) for modality, chosen in case.items()}
        x = {modality: values for modality, (_, values) in several.items()}
        features = FeaturePipeline({modality: part for modality, (part, _) in several.items()}, case)
        fit = fit_classical(
            name, x, prepared.target.numpy(), split.train, split.valid, task, codec.n_outputs, trial=trial, seed=seed,
            refit=refit, categories=features.categories, folds=inner,
            metric=metric, zero=codec.zero, weights=None if weights is None else weights.numpy(),
        )  # fmt: skip
        valid = codec.in_units(fit.valid_prediction)
        error = -_score(metric, prepared, split.valid, valid)
        tried.append((fit.model.choice or (error,), BestFit(fit, features, x, valid, trial, 0.0)))
    seconds = sum(best.fit.fit_seconds for _, best in tried)
    best = min(tried, key=lambda t: t[0])[1]
    learned = split.train if weights is None else split.train[weights.numpy()[split.train] > 0]
    return _with_neighbours(replace(best, seconds=seconds), prepared, learned, metric, refit=refit)


def _score(metric: Metric, prepared: Prepared, rows: np.ndarray, prediction: np.ndarray) -> float:
    """Returns the score of what was predicted of rows, the larger the better; 0 where it is not defined."""
    score = measure(prepared.task, prepared.true(rows), prediction).values.get(metric.name, 0.0)
    return score if metric.higher_is_better else -score


def make_features(prepared: Prepared, modality: str, name: str) -> tuple[Features, Matrix]:
    """Returns features of one modality, fitted on training rows, and those of all rows."""
    fitted = FeaturePipeline.fit(prepared.dataset, prepared.split.train, {modality: name})
    return fitted.parts[modality], fitted.transform_one(prepared.dataset, modality)


def features_tried(
    name: str, modalities: Sequence[str], prepared: Prepared, sets: Mapping[str, str] | None
) -> set[tuple[str, str]]:
    """Returns modality and name of all features that a brief `best_fit` with these arguments makes."""
    cases = _variants(name, modalities, prepared, 1, sets, brief=True)
    return {pair for case, _ in cases for pair in case.items()}


_MOST_HIDDEN = 1_200
"""Predictions for validation rows of which modalities are hidden, to see whether filling them helps."""


def _with_neighbours(best: BestFit, prepared: Prepared, learned: np.ndarray, metric: Metric, *, refit: bool) -> BestFit:
    """Has absent modalities filled where validation rows, each modality hidden and each left alone, score better so.

    What it predicts for validation rows is then that of filled rows, but for a model that has learned from them since.
    """
    split = prepared.split
    present = {m: np.asarray(prepared.dataset.modalities[m].present) for m in best.x}
    made = Neighbours.of(best.x, present, learned, best.features.categories)
    if made is None or not len(split.valid):
        return best
    names = list(made.donors)
    alone = np.eye(len(names), dtype=bool)
    patterns = np.unique(np.concatenate([alone, ~alone]), axis=0)  # which are there
    n_each = min(len(split.valid), max(1, _MOST_HIDDEN // len(patterns)))
    rows = np.tile(split.valid[np.linspace(0, len(split.valid) - 1, n_each).astype(int)], len(patterns))
    left = dict(zip(names, np.repeat(patterns, n_each, axis=0).T, strict=True))
    there = {m: p[rows] & left.get(m, True) for m, p in present.items()}
    gone = {m: np.where(there[m][:, None], v[rows], np.nan) if m in left else v[rows] for m, v in best.x.items()}

    def predicted(features: Mapping[str, Matrix], n: int) -> np.ndarray:
        said = best.fit.predict(side_by_side([features[m] for m in sorted(features)], n))
        return prepared.codec.in_units(said)

    def score(features: Mapping[str, Matrix]) -> float:
        return _score(metric, prepared, rows, predicted(features, len(rows)))

    if not score(made.filled(gone, there)) > score(gone):
        return best
    best = replace(best, neighbours=made)
    if refit or all(p[split.valid].all() for p in present.values()):
        return best
    every = {m: v[split.valid] for m, v in best.x.items()}, {m: p[split.valid] for m, p in present.items()}
    return replace(best, valid=predicted(made.filled(*every), len(split.valid)))


_ENOUGH_ROWS = 100
"""Validation rows from which on a classical model of one modality is chosen by them alone."""


def _inner_folds(prepared: Prepared, seed: int) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Returns folds of the known rows, by which to choose where validation rows are few; else None."""
    split = prepared.split
    if len(split.valid) >= _ENOUGH_ROWS:
        return None
    try:
        return folds(prepared.dataset, np.concatenate([split.train, split.valid]), 5, seed)
    except DataError:  # too few groups, or moments in time
        return None


def _variants(
    name: str,
    modalities: Sequence[str],
    prepared: Prepared,
    trials: int,
    asked: Mapping[str, str] | None = None,
    brief: bool = False,
) -> list[tuple[dict[str, str], int]]:
    """Returns what is tried: which features of each modality, and which trial of the model."""
    model = classical(name)
    kinds = {m: prepared.dataset.modalities[m].kind for m in modalities}
    sets = feature_sets_for(name, kinds)
    if asked is not None:
        first = (
            {m: kind_named(kind).feature_sets[0] for m, kind in kinds.items()} if len(sets[0]) < len(kinds) else sets[0]
        )
        sets = [{m: s if features_named(s).sparse else asked.get(m, s) for m, s in first.items()}]
    n_trials = 1 if model.role == "single" else min(trials, len(model.trials))
    return [(chosen, trial) for chosen in sets for trial in ([model.brief] if brief else range(n_trials))]
