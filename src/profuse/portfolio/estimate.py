"""How good a portfolio is on rows that had no part in it, and what a reader of that must know."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from profuse.data.dataset import Dataset
from profuse.data.table.repeats import distinct_rows
from profuse.data.wording import tell_values
from profuse.errors import DataError
from profuse.inspect.intervals import Scores
from profuse.metrics import Metric, notes_of_two_classes
from profuse.metrics import metric as metric_called
from profuse.portfolio.cut import Cut
from profuse.portfolio.selection import LOSS_SHARE, best_single, mixed, select
from profuse.predictor import Decision
from profuse.schema import Task

__all__ = ["estimate_of", "loss_of", "loss_share_of", "nested_outputs", "notes_of"]

_LOSSES = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mse"}


def loss_of(task: Task) -> Metric | None:
    """Returns the loss that is told beside the metric, and parts what that scores alike."""
    return metric_called(_LOSSES[task]) if task in _LOSSES else None


def loss_share_of(cut: Cut) -> float:
    """Returns the share of the log loss in what weights of models are chosen by.

    0 where rows or classes have unequal weights: the log loss of rows as they are prefers models that learned without.
    """
    return LOSS_SHARE if cut.weights is None or np.ptp(cut.weights) == 0 else 0.0


def nested_outputs(
    held: np.ndarray, cut: Cut, metric: Metric, seed: int, trivial: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the portfolio, and the best member, predict of the rows of folds that had no part in choosing."""
    together, alone = np.zeros(held.shape[1:]), np.zeros(held.shape[1:])
    loss = loss_of(cut.codec.task)
    for fold in np.unique(cut.fold_of):
        rows, rest = np.flatnonzero(cut.fold_of == fold), np.flatnonzero(cut.fold_of != fold)
        weights = select(
            held[:, rest],
            cut.true[rest],
            metric,
            loss,
            clusters=cut.clusters[rest],
            trivial=trivial,
            loss_share=loss_share_of(cut),
            seed=seed,
        )
        together[rows] = mixed(held[:, rows], weights)
        alone[rows] = held[best_single(held[:, rest], cut.true[rest], metric), rows]
    return together, alone


def estimate_of(
    nested: np.ndarray, alone: np.ndarray, constant: np.ndarray | None, cut: Cut, metric: Metric, seed: int
) -> dict[str, object]:
    """Returns how good the portfolio is on rows that had no part in choosing it, beside its best member, and beside the
    trivial answer, `constant`: a score with its ends, and gains with theirs."""
    result: dict[str, object] = {"metric": metric.name, "n_rows": len(cut.rows)}
    said: dict[Hashable, np.ndarray] = {"portfolio": nested, "best": alone}
    said |= {} if constant is None else {"trivial": constant}
    try:
        scores = Scores(metric, cut.true, said, cut.clusters, seed=seed, n_resamples=200)
    except DataError:  # not defined on these rows
        return result
    score, gain = scores.score("portfolio"), scores.gain("portfolio", "best")
    result |= {"score": list(score), "best_member": scores["best"], "gain": list(gain)}
    return result if constant is None else result | {"over_trivial": list(scores.gain("portfolio", "trivial"))}


def notes_of(nested: np.ndarray, cut: Cut, dataset: Dataset, decision: Decision) -> list[str]:
    """Returns what is to be told of the rows and of what was predicted of them."""
    notes = []
    if dataset.groups is None and (n_copies := len(dataset) - len(distinct_rows(dataset))):
        notes.append(
            f"{n_copies:,} of {len(dataset):,} rows repeat another one in every modality: held-out scores count what "
            "is known by heart. Drop them (drop_duplicates), or name a column that keeps them together "
            "(--split-column), unless they are cases of their own."
        )
    task, classes = cut.codec.task, [str(c) for c in cut.codec.classes]
    if task == "binary":
        notes += notes_of_two_classes(cut.true, decision.codes(nested), classes, at=decision.words)
    if task == "multiclass":
        counts = np.bincount(cut.true, minlength=len(classes))
        few = [name for name, n in zip(classes, counts.tolist(), strict=True) if n < len(cut.folds)]
        if few:
            notes.append(
                f"{len(few)} of {len(classes)} classes have fewer rows than there are folds, {len(cut.folds)} "
                f"({tell_values(few)}): what is held out of them is hardly learned. Get more rows of them."
            )
    return notes
