"""Which models to average, and how much each counts: greedy selection on rows that none of them has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from profuse.errors import DataError
from profuse.metrics import Metric

__all__ = ["LOSS_SHARE", "best_single", "mixed", "select"]

LOSS_SHARE = 0.5
"""Of the log loss, in what weights are chosen by."""

_MOST_STEPS = 40
_PATIENCE = 10  # steps without a better score
_N_BAGS, _FEW_ROWS, _MANY_ROWS = 12, 500, 5_000  # below the first with half of the members, from the second on without
_MOST_ROWS, _FEWEST_MEMBERS, _LEAST = 20_000, 2, 0.01
_DRAWN, _HALF = 10.0, 0.5  # clusters that count as much as knowing nothing; of the best gain


def mixed(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns sum_m w_m p_m of `predictions[member, row, output]`."""
    return np.asarray(np.tensordot(weights, predictions, axes=1))


def best_single(predictions: np.ndarray, true: np.ndarray, metric: Metric) -> int:
    """Returns the member with the best score, the first of equal ones."""
    return int(np.argmax([_score(metric, true, p) for p in predictions]))


def select(
    predictions: np.ndarray,
    true: np.ndarray,
    metric: Metric,
    loss: Metric | None = None,
    *,
    clusters: np.ndarray | None = None,
    trivial: int | None = None,
    loss_share: float = LOSS_SHARE,
    seed: int = 0,
) -> np.ndarray:
    """Returns weights `[member]` that add up to 1: greedy selection with replacement, on bootstrapped rows.

    Begins with the best member and adds, one at a time, the one with which the mean of all chosen has the best score;
    of equal scores the one with the smaller loss is better, and then the member that is better alone. Of these means
    the first with the best score of all is taken. Of probabilities the score less half of the log loss is in the place
    of the score: AUROC and accuracy do not see how sure answers are, nor what moves all of them alike. The trivial
    member, which does that, is never added to others where answers are probabilities, and to numbers only where score
    and loss are both better with it. This is done on 12 bootstrap samples of the rows and the weights are
    averaged: below 500 rows, which do not tell well which of many means is best, with half of the members each, unless
    rows outside of the samples are predicted better with all, by more than one standard error; from 5,000 rows on once,
    with all rows and members. A weight below .01 becomes 0.

    Rows that are not independent tell less: with C clusters of them (groups, blocks of time) the samples are of
    clusters, and of all weight 10 / (10 + C) is divided alike among the members whose gain over the trivial answer
    is at least half of the best one's. What is best in a few years, or for a few patients, is often not what is best
    in others.

    Args:
        predictions: `[member, row, output]`, of rows that no member has learned from.
        true: The rows' targets, as the metric takes them.
        metric: By which is chosen.
        loss: Tells means apart that the metric scores alike, as accuracy does often. A log loss says that predictions
            are probabilities.
        clusters: `[row]`: rows with one number are not independent; all are if None.
        trivial: The member that always gives the same answer; gains are over the worst one where there is none. It has
            weight where it is the best one, and where it shrinks numbers.
        loss_share: Of the log loss, in what is chosen by; 0 where it counts rows otherwise than the models do.
        seed: Of what is drawn.

    Reference:
        Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble Selection from Libraries of Models" (2004), sections 2.1 to
        2.3.

    *Differs from the paper*: begins with the one best member, not with the N best; rows are drawn, not only members;
    all members are drawn where that is better; the log loss has a part in the score, ties go by the loss; weights are
    drawn towards equal ones where rows are not independent.
    """
    n_members, n_rows = predictions.shape[:2]
    if n_members == 1:
        return np.ones(1)
    rng, judge = np.random.default_rng(seed), _Judge(metric, loss, loss_share)
    alike = None if clusters is None or len(np.unique(clusters)) in (1, n_rows) else clusters
    most = _MOST_ROWS if alike is None else _MANY_ROWS  # all twelve samples are of so many
    if n_rows > most:  # which tell enough
        some = np.sort(rng.permutation(n_rows)[:most])
        predictions, true = predictions[:, some], true[some]
        alike = None if alike is None else alike[some]
    if alike is None and n_rows >= _MANY_ROWS:
        return _greedy(predictions, true, judge, trivial)
    rows_of = _rows_by(np.arange(len(true)) if alike is None else alike)
    n_parts = len(rows_of)
    n_taken = n_members if n_parts >= _FEW_ROWS else max(_FEWEST_MEMBERS, (n_members + 1) // 2)
    bags = [
        (rng.integers(n_parts, size=n_parts), np.sort(rng.permutation(n_members)[:n_taken])) for _ in range(_N_BAGS)
    ]
    weights, outside = _bagged(predictions, true, judge, trivial, rows_of, bags)
    if n_taken < n_members:
        bags = [(drawn, np.arange(n_members)) for drawn, _ in bags]
        of_all, also = _bagged(predictions, true, judge, trivial, rows_of, bags)
        if _is_better(also, outside, true, judge, rows_of):
            weights = of_all
    if alike is not None:
        share = _DRAWN / (_DRAWN + n_parts)
        weights = (1 - share) * weights + share * _level(predictions, true, metric, trivial)
    weights[weights < _LEAST] = 0.0  # not worth its predictions
    return np.asarray(weights / weights.sum())


def _rows_by(clusters: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of each cluster."""
    order = np.argsort(clusters, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)


def _bagged(
    predictions: np.ndarray,
    true: np.ndarray,
    judge: _Judge,
    trivial: int | None,
    rows_of: Sequence[np.ndarray],
    bags: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of the weights of all bags, `[member]`, and what those of the bags that a row is not in predict
    of it, `[row, output]`; NaN where it is in all.

    Args:
        predictions: See `select`.
        true: See `select`.
        judge: How good a prediction is.
        trivial: See `select`.
        rows_of: The rows of each cluster.
        bags: Drawn clusters and members of each.
    """
    weights, total, n_outside = np.zeros(len(predictions)), np.zeros(predictions.shape[1:]), np.zeros(len(true))
    for drawn, members in bags:
        rows = np.concatenate([rows_of[i] for i in drawn])
        same = None if trivial is None or trivial not in members else int(np.flatnonzero(members == trivial)[0])
        chosen = _greedy(predictions[members][:, rows], true[rows], judge, same)
        weights[members] += chosen
        rest = np.setdiff1d(np.arange(len(true)), rows)
        total[rest] += mixed(predictions[members][:, rest], chosen)
        n_outside[rest] += 1
    with np.errstate(invalid="ignore"):
        return weights / weights.sum(), total / n_outside[:, None]


def _is_better(a: np.ndarray, b: np.ndarray, true: np.ndarray, judge: _Judge, rows_of: Sequence[np.ndarray]) -> bool:
    """Whether `a[row, output]` predicts rows better than `b`, by more than one standard error over their clusters.

    Rows that are NaN have no part. Of probabilities the log loss says what is better.
    """
    by = judge.loss if judge.loss is not None and judge.of_probabilities else judge.metric
    known = np.isfinite(a).all(1)
    if not known.any():
        return False
    try:
        gains = by.row_scores(true[known], a[known]) - by.row_scores(true[known], b[known])
    except DataError:  # not defined on these rows
        return False
    each = np.zeros(len(true))
    each[known] = gains if by.higher_is_better else -gains
    of_clusters = np.array([each[rows].sum() for rows in rows_of])
    return bool(of_clusters.sum() > np.sqrt(len(of_clusters)) * of_clusters.std(ddof=1))


def _level(predictions: np.ndarray, true: np.ndarray, metric: Metric, trivial: int | None) -> np.ndarray:
    """Returns equal weights of the members whose gain over the trivial one is at least half of the best one's."""
    scores = np.array([_score(metric, true, p) for p in predictions])
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.full(len(scores), 1 / len(scores))
    least = scores[trivial] if trivial is not None and np.isfinite(scores[trivial]) else finite.min()
    good = scores - least >= _HALF * (finite.max() - least)
    return np.asarray(good / good.sum())


@dataclass(frozen=True)
class _Judge:
    """How good a prediction is: two numbers, larger is better, of which the first that differs decides."""

    metric: Metric
    loss: Metric | None
    share: float

    @property
    def of_probabilities(self) -> bool:
        return self.loss is not None and self.loss.name == "log_loss"

    def __call__(self, true: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
        """Returns the score, the worst of all where it is not defined, and the loss with its sign turned."""
        score = _score(self.metric, true, prediction)
        gain = 0.0 if self.loss is None else _score(self.loss, true, prediction)
        return (score + self.share * gain if self.of_probabilities and self.share else score), gain


def _greedy(predictions: np.ndarray, true: np.ndarray, judge: _Judge, trivial: int | None) -> np.ndarray:
    alone = [judge(true, p) for p in predictions]
    order = sorted(range(len(predictions)), key=lambda m: alone[m], reverse=True)  # of equal ones the first is taken
    counts = np.zeros(len(predictions))
    counts[order[0]] = 1
    best, chosen, total = alone[order[0]], counts.copy(), predictions[order[0]].copy()
    last = best
    for step in range(2, _MOST_STEPS + 1):
        results = {m: judge(true, (total + predictions[m]) / step) for m in order if m != trivial}
        if trivial is not None and not judge.of_probabilities:
            shrunk = judge(true, (total + predictions[trivial]) / step)
            if shrunk[1] > last[1]:
                results[trivial] = shrunk
        if not results:  # the trivial member alone
            break
        taken = max(results, key=results.__getitem__)  # of equal ones the first
        last = results[taken]
        counts[taken] += 1
        total += predictions[taken]
        if last > best:
            best, chosen = last, counts.copy()
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
