"""Targets that look wrong: confident learning for classes and labels, a robust bound for numbers.

*Classes.* With t_k the mean probability of class k over the rows labelled k, a row counts as of the class

    j = argmax over {k: p_k >= t_k} of p_k,

if there is one. C[i, j] counts the rows labelled i that are of class j. Scaled so that row i sums to the number of rows
labelled i, its sum off the diagonal estimates how many labels are wrong. The rows counted there are suspected, those
with the greatest margin p_j - p_i first. Each label of several is two classes.

*Numbers.* A target is suspected where its error is more than 5 robust standard deviations (median absolute deviation
times 1.4826) from the median error.

Reference:
    Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021), equations
    1 to 3. *Differs from the paper*: a class whose probability is the same for all rows says nothing of any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profuse.metrics import Metric

__all__ = ["BOUND", "Suspects", "WrongLabels", "WrongNumbers"]

BOUND = 5.0


@dataclass(frozen=True, eq=False)
class Suspects:
    """Targets that look wrong, the surest first.

    Attributes:
        rows: `[suspect]`.
        columns: `[suspect]`: which label, or which number; 0 of classes.
        suggested: `[suspect]`: number of a class, 0 or 1 of a label, or a number.
        margin: `[suspect]`: p_j - p_i, or robust standard deviations.
        expected: How many there would be if labels were drawn with these probabilities; 0 of numbers.
    """

    rows: np.ndarray
    columns: np.ndarray
    suggested: np.ndarray
    margin: np.ndarray
    expected: float


def _confident(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Returns the class that each row counts as, -1 for none."""
    limit = np.full(p.shape[1], np.inf)
    for k in range(p.shape[1]):
        if (y == k).any() and np.ptp(p[:, k]) > 1e-9:
            limit[k] = p[y == k, k].mean()
    above = p >= limit - 1e-12
    return np.where(above.any(1), np.where(above, p, -1.0).argmax(1), -1)


def _binary(y: np.ndarray, p: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns classes and probabilities: of one problem of classes, or of each label."""
    if y.ndim == 1:
        return [(y.astype(int), p)]
    return [(y[:, j].astype(int), np.stack([1 - p[:, j], p[:, j]], axis=1)) for j in range(y.shape[1])]


class WrongLabels(Metric):
    """The share of labels that are estimated to be wrong: off the diagonal of the confident joint."""

    name = "wrong_labels"
    label = "share of labels that look wrong"
    higher_is_better = False
    tasks = ("binary", "multiclass", "multilabel")

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        """See `Metric.score`."""
        shares = []
        for labels, probabilities in _binary(y, p):
            n_classes = probabilities.shape[1]
            counted = _confident(labels, probabilities)
            some = counted >= 0
            joint = np.bincount(labels[some] * n_classes + counted[some], minlength=n_classes**2)
            joint = joint.reshape(n_classes, n_classes).astype(np.float64)
            rows = np.bincount(labels, minlength=n_classes)
            joint *= (rows / np.maximum(joint.sum(1), 1))[:, None]
            shares.append((joint.sum() - np.trace(joint)) / len(labels))
        return float(np.mean(shares))

    def suspects(self, y: np.ndarray, p: np.ndarray) -> Suspects:
        """Returns the rows off the diagonal, the greatest margin first."""
        found = []
        expected = 0.0
        for column, (labels, probabilities) in enumerate(_binary(y, p)):
            counted = _confident(labels, probabilities)
            some = np.flatnonzero(counted >= 0)
            expected += float((1 - probabilities[some, counted[some]]).sum())
            rows = some[counted[some] != labels[some]]
            margin = probabilities[rows, counted[rows]] - probabilities[rows, labels[rows]]
            found.append((rows, np.full(len(rows), column), counted[rows], margin))
        rows, columns, suggested, margin = (np.concatenate(of) for of in zip(*found, strict=True))
        order = np.argsort(-margin, kind="stable")
        return Suspects(rows[order], columns[order], suggested[order], margin[order], expected)


class WrongNumbers(Metric):
    """The share of rows with an error beyond 5 robust standard deviations, in any of the numbers."""

    name = "wrong_numbers"
    label = "share of rows with an error beyond the bound"
    higher_is_better = False
    tasks = ("regression",)

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        """See `Metric.score`."""
        return float((_deviations(y, p) > BOUND).any(1).mean())

    def suspects(self, y: np.ndarray, p: np.ndarray) -> Suspects:
        """Returns the targets beyond the bound, the farthest first."""
        far = _deviations(y, p)
        rows, columns = np.nonzero(far > BOUND)
        margin = far[rows, columns]
        order = np.argsort(-margin, kind="stable")
        return Suspects(rows[order], columns[order], p[rows, columns][order], margin[order], 0.0)


def _deviations(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Returns errors in robust standard deviations, `[row, number]`; 0 where half of them are equal."""
    error = p - y
    error = error - np.median(error, axis=0)
    spread = 1.4826 * np.median(np.abs(error), axis=0)
    return np.asarray(np.abs(error) / np.where(spread > 0, spread, np.inf))
