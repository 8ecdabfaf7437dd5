"""Which models to average, and how much each counts: greedy selection on rows that none of them has learned from."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics import Metric

__all__ = ["best_single", "mixed", "select"]

_MOST_STEPS = 40
_PATIENCE = 10  # steps without a better score
_FEW_ROWS = 500
_N_BAGS = 12
_ROWS, _MEMBERS = 20_000, 2  # at most, at least


def mixed(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns sum_m w_m p_m of `predictions[member, row, output]`."""
    return np.asarray(np.tensordot(weights, predictions, axes=1))


def best_single(predictions: np.ndarray, true: np.ndarray, metric: Metric) -> int:
    """Returns the member with the best score, the first of equal ones."""
    return int(np.argmax([_score(metric, true, p) for p in predictions]))


def select(predictions: np.ndarray, true: np.ndarray, metric: Metric, *, seed: int = 0) -> np.ndarray:
    """Returns weights `[member]` that add up to 1: greedy selection with replacement.

    Begins with the best member and adds, one at a time, the one with which the mean of all chosen has the best score:
    of equal ones the member that is better alone. Of these means the first with the best score of all is taken. Below
    500 rows this is done 12 times, on bootstrapped rows and half of the members each, and the weights are averaged: so
    few rows do not tell well which of many means is best.

    Args:
        predictions: `[member, row, output]`, of rows that no member has learned from.
        true: The rows' targets, as the metric takes them.
        metric: By which is chosen.
        seed: Of what is drawn.

    Reference:
        Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble Selection from Libraries of Models" (2004), sections 2.1 to
        2.3.

    *Differs from the paper*: begins with the one best member, not with the N best; members are bagged on few rows only,
    together with rows.
    """
    n_members, n_rows = predictions.shape[:2]
    if n_members == 1:
        return np.ones(1)
    rng = np.random.default_rng(seed)
    if n_rows > _ROWS:  # which tell enough
        some = np.sort(rng.permutation(n_rows)[:_ROWS])
        predictions, true = predictions[:, some], true[some]
    if n_rows >= _FEW_ROWS:
        return _greedy(predictions, true, metric)
    weights = np.zeros(n_members)
    for _ in range(_N_BAGS):
        rows = rng.integers(n_rows, size=n_rows)
        members = np.sort(rng.permutation(n_members)[: max(_MEMBERS, (n_members + 1) // 2)])
        weights[members] += _greedy(predictions[members][:, rows], true[rows], metric)
    return np.asarray(weights / weights.sum())


def _greedy(predictions: np.ndarray, true: np.ndarray, metric: Metric) -> np.ndarray:
    alone = np.array([_score(metric, true, p) for p in predictions])
    order = np.argsort(-alone, kind="stable")  # of equal candidates the first, which is better alone, is taken
    counts = np.zeros(len(predictions))
    counts[order[0]] = 1
    best, chosen, total = float(alone[order[0]]), counts.copy(), predictions[order[0]].copy()
    for step in range(2, _MOST_STEPS + 1):
        scores = [_score(metric, true, (total + predictions[m]) / step) for m in order]
        taken = order[int(np.argmax(scores))]
        counts[taken] += 1
        total += predictions[taken]
        if max(scores) > best:
            best, chosen = max(scores), counts.copy()
        elif counts.sum() - chosen.sum() >= _PATIENCE:
            break
    return np.asarray(chosen / chosen.sum())


def _score(metric: Metric, true: np.ndarray, prediction: np.ndarray) -> float:
    """Returns the score, larger is better; the worst of all where it is not defined."""
    try:
        value = metric(true, prediction)
    except DataError:
        return -np.inf
    return value if metric.higher_is_better else -value
