"""The folds of a portfolio: prepared and left in files, for whichever process fits to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from profuse.data.dataset import Dataset, clusters_of
from profuse.data.pipeline import Pipeline
from profuse.data.split import Split, folds, split_off
from profuse.data.target import TargetCodec
from profuse.errors import DataError
from profuse.models.options import ModelOptions
from profuse.models.solved import Solved
from profuse.portfolio.options import PortfolioOptions
from profuse.portfolio.patterns import absent
from profuse.training.alternatives import others_than
from profuse.training.fitting import Prepared
from profuse.training.scratch import keep
from profuse.training.weights import ClassWeight, check_class_weight, class_weights

__all__ = ["Cut", "Fold"]

_VALIDATION = 0.2  # of the rows outside of a fold: they choose within each fit
_PARTS = 5  # of the one fold for which there was time: what is chosen on four of them is judged on the fifth


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold.

    Attributes:
        path: File of its `Prepared`: fitted on training rows; test rows of the split are held out.
        pipeline: Its preprocessing.
    """

    path: Path
    pipeline: Pipeline


@dataclass(frozen=True, eq=False)
class Cut:
    """Rows cut into folds.

    Attributes:
        codec: Knows all classes.
        folds: In the order of `rows`.
        whole: All rows, where one fit to all of them predicts; else None.
        rows: Held out in some fold.
        fold_of: `[row]`: which; of one fold alone, in which of five parts of it.
        true: Their targets as metrics take them.
        clusters: `[row]`: rows with one number are not independent.
        dependent: Whether rows have groups or times.
        names: Of the modalities, sorted.
        lacking: Bool `[row, modality]`: which modalities rows lack.
        weights: `[row]`: how much they count in the loss, weights of classes in them; None: all alike.
    """

    codec: TargetCodec
    folds: tuple[Fold, ...]
    whole: Fold | None
    rows: np.ndarray
    fold_of: np.ndarray
    true: np.ndarray
    clusters: np.ndarray
    dependent: bool
    names: tuple[str, ...]
    lacking: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def make(
        cls,
        dataset: Dataset,
        options: PortfolioOptions,
        model: ModelOptions | None,
        seed: int,
        folder: Path,
        tell: Callable[[int, int], None],
        codec: TargetCodec | None = None,
        class_weight: ClassWeight = None,
    ) -> Cut:
        """Cuts the rows of `dataset`, prepares each fold, and leaves it in `folder`.

        Args:
            dataset: Rows with a target.
            options: How many folds.
            model: What all networks share, by which encoders choose; None: there are none.
            seed: Of the cuts.
            folder: Of temporary files.
            tell: Told how many folds of how many are prepared.
            codec: Of the target, where one is fitted.
            class_weight: See `TrainOptions`.

        Raises:
            DataError: There are too few rows, or none of them has a weight.
            ConfigError: The task has no classes to weigh.
            UnknownNameError: A class that is weighed is not among them.
        """
        codec = codec or TargetCodec.fit(np.asarray(dataset.target), dataset.task, names=dataset.target_names)
        weights = _weights(dataset, codec, class_weight)  # what is wrong with them is told before anything is fitted
        every, by_time = np.arange(len(dataset)), dataset.times is not None
        k = options.n_folds(len(dataset))
        groups = None if dataset.groups is None else np.asarray(dataset.groups).astype(str)
        if groups is not None and options.folds is None:
            k = max(2, min(k, len(np.unique(groups))))
        cuts = _later_folds(dataset, k, seed) if by_time else folds(dataset, every, k, seed)
        todo = [*cuts, (every, every[:0])] if by_time else cuts
        made = []
        for i, (learned, held) in enumerate(todo):
            tell(i, len(todo))
            made.append(_fold(dataset, learned, held, codec, model, options.encoders, seed, folder / f"fold{i}.pickle"))
        rows = np.concatenate([held for _, held in cuts])
        true = np.asarray(dataset.target)[rows]
        there = {name: np.asarray(data.present)[rows] for name, data in dataset.modalities.items()}
        return cls(
            codec=codec,
            folds=tuple(made[: len(cuts)]),
            whole=made[-1] if by_time else None,
            rows=rows,
            fold_of=np.repeat(np.arange(len(cuts)), [len(held) for _, held in cuts]),
            true=true.astype(np.float64).reshape(len(rows), -1) if dataset.task == "regression" else codec.encode(true),
            clusters=clusters_of(dataset, rows),
            dependent=by_time or groups is not None,
            names=tuple(sorted(there)),
            lacking=absent(there),
            weights=None if weights is None else weights[rows],
        )

    def of_folds(self, folds: Sequence[int]) -> Cut:
        """Returns what is held out in some of the folds alone, given in their order."""
        if len(folds) == len(self.folds):
            return self
        kept = np.isin(self.fold_of, folds)
        clusters = np.unique(self.clusters[kept], return_inverse=True)[1]
        part_of = np.searchsorted(folds, self.fold_of[kept]) if len(folds) > 1 else clusters % _PARTS
        return replace(
            self,
            folds=tuple(self.folds[fold] for fold in folds),
            rows=self.rows[kept],
            fold_of=part_of,
            true=self.true[kept],
            clusters=clusters,
            lacking=self.lacking[kept],
            weights=None if self.weights is None else self.weights[kept],
        )


def _weights(dataset: Dataset, codec: TargetCodec, class_weight: ClassWeight) -> np.ndarray | None:
    """Returns how much each row counts; None where all count alike."""
    check_class_weight(class_weight, codec.task, codec.classes.tolist(), who="fit")
    weights = dataset.weights
    if class_weight is not None:
        target = codec.encode(np.asarray(dataset.target))
        by_class = class_weights(class_weight, np.bincount(target, minlength=codec.n_outputs), codec.classes.tolist())
        assert by_class is not None
        weights = by_class[target] if weights is None else by_class[target] * weights
    if weights is not None and not weights.any():
        raise DataError(f"fit: weights must be above 0 for some rows; got 0 for all {len(weights)}. Leave them out.")
    return weights


def _later_folds(dataset: Dataset, k: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns k folds of the later half of the rows, each predicted from all rows before it.

    Folds of all rows would begin with models of a few of them, and favour what a few rows suffice for.

    Raises:
        DataError: There are not even k moments to cut at.
    """
    every = np.arange(len(dataset))
    try:
        return folds(dataset, every, 2 * k, seed)[k:]
    except DataError:  # too few moments
        return folds(dataset, every, k, seed)


def _fold(
    dataset: Dataset,
    learned: np.ndarray,
    held: np.ndarray,
    codec: TargetCodec,
    model: ModelOptions | None,
    encoders: Mapping[str, Sequence[str]],
    seed: int,
    path: Path,
) -> Fold:
    learn, choose = split_off(dataset.rows(learned), _VALIDATION, seed=seed)
    prepared = Prepared.make(dataset, Split(learned[learn], learned[choose], held), classes=codec)
    if model is not None:
        others = others_than(model.encoders, encoders)
        prepared = prepared.choose(model, dataset.modalities).also(others, model)
    prepared = prepared.sharing(Solved(path.with_suffix(".solved")))
    keep(path, prepared)
    return Fold(path, prepared.pipeline)
