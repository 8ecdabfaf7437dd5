"""Ridge regression of many numbers at once: its penalty, and its errors, are from rows that were held back."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

__all__ = ["PENALTIES", "Ridge", "folds_of"]

PENALTIES = np.array([*np.logspace(-1, 5, 13), np.inf])
"""What the squared weights are multiplied by; the last is the mean."""
_N_FOLDS = 5


class Ridge:
    """w, b that minimise sum_rows (y - x w - b)^2 + penalty |w|^2, for each number y.

    The penalty of a number is the one with the smallest sum of two errors on rows held back, fold by fold: its own
    squared error in units of that of the mean, and the average of this over all numbers, which steadies the choice
    where there is little to learn. A number is learned from the rows in which it is known.

    Args:
        x: `[row, input]`.
        y: `[row, number]`, NaN where it is not known.
        folds: Rows to learn from and rows held back, several times; each row is held back once.

    Attributes:
        held_out: `[row, number]`: what is answered for each row by a regression that was not fitted to it.
        penalty: `[number]`.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
        n_numbers = y.shape[1]
        patterns, pattern = np.unique(~np.isnan(y), axis=1, return_inverse=True)
        same = [np.flatnonzero(pattern.ravel() == i) for i in range(patterns.shape[1])]
        errors = np.zeros((len(PENALTIES), n_numbers))
        solved: list[list[tuple[_Rotated, np.ndarray]]] = []
        for there, numbers in zip(patterns.T, same, strict=True):
            solved.append([])
            for learn, held in folds:
                learn = learn[there[learn]] if there[learn].any() else np.flatnonzero(there)
                rotated, judged = _Rotated(x[learn], y[np.ix_(learn, numbers)]), held[there[held]]
                turned, true = rotated.turn(x[judged]), y[np.ix_(judged, numbers)]
                for k, penalty in enumerate(PENALTIES):
                    errors[k, numbers] += ((rotated.answer(turned, penalty) - true) ** 2).sum(0)
                solved[-1].append((rotated, held))
        relative = errors / np.maximum(errors[-1], np.finfo(float).tiny)
        self.penalty = PENALTIES[(relative + relative.mean(1, keepdims=True)).argmin(0)]
        self.held_out = np.zeros(y.shape)
        self._weight, self._offset = np.zeros((x.shape[1], n_numbers)), np.zeros(n_numbers)
        for there, numbers, folded in zip(patterns.T, same, solved, strict=True):
            for rotated, held in folded:
                answers = rotated.answer(rotated.turn(x[held]), self.penalty[numbers])
                self.held_out[np.ix_(held, numbers)] = answers
            whole = _Rotated(x[there], y[np.ix_(there, numbers)])
            self._weight[:, numbers], self._offset[numbers] = whole.solution(self.penalty[numbers])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns `[row, number]`."""
        return np.asarray(x @ self._weight + self._offset)


class _Rotated:
    """Centred inputs, turned to the axes in which they are not correlated: there each penalty costs a division."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self._x_mean, self._y_mean = x.mean(0), y.mean(0)
        x, y = x - self._x_mean, y - self._y_mean
        if x.shape[0] > x.shape[1]:
            squares, self._axes = np.linalg.eigh(x.T @ x)
            self._squares = np.maximum(squares, 0.0)
            self._product = self._axes.T @ (x.T @ y)
        else:
            left, lengths, axes = np.linalg.svd(x, full_matrices=False)
            self._squares, self._axes = lengths**2, axes.T
            self._product = lengths[:, None] * (left.T @ y)

    def turn(self, x: np.ndarray) -> np.ndarray:
        return np.asarray((x - self._x_mean) @ self._axes)

    def answer(self, turned: np.ndarray, penalty: float | np.ndarray) -> np.ndarray:
        """Returns `[row, number]` for one penalty, or one for each number."""
        return np.asarray(turned @ (self._product / (self._squares[:, None] + penalty)) + self._y_mean)

    def solution(self, penalty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weights and the offset."""
        weight = self._axes @ (self._product / (self._squares[:, None] + penalty))
        return weight, self._y_mean - self._x_mean @ weight


def folds_of(n_rows: int, groups: np.ndarray | None, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and to hold back, five times, or once a group where there are fewer; a single group is cut."""
    n_groups = 0 if groups is None else len(np.unique(groups))
    rows = np.arange(n_rows)
    if n_groups > 1:
        return list(GroupKFold(min(_N_FOLDS, n_groups)).split(rows, groups=groups))
    return list(KFold(min(_N_FOLDS, n_rows), shuffle=True, random_state=seed).split(rows))
