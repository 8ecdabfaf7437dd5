"""Partial information decomposition: what two sources say of a target alike, each alone, and only together.

For discrete X1, X2 and Y with joint distribution P, let Q run over all distributions with P's marginals of (X1, Y) and
of (X2, Y). With `I* = min_Q I_Q(X1 X2; Y)`,

    redundancy = I(X1; Y) + I(X2; Y) - I*,    unique_1 = I* - I(X2; Y),
    synergy = I(X1 X2; Y) - I*,               unique_2 = I* - I(X1; Y).

All are at least 0 and sum to I(X1 X2; Y); redundancy + unique_1 is I(X1; Y).

Reference:
    Bertschinger, Rauh, Olbrich, Jost, Ay, "Quantifying Unique Information", Entropy 16 (2014) (BROJA). Makkeh, Theis,
    Vicente, "Bivariate Partial Information Decomposition: The Optimization Perspective", Entropy 19 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from profuse.errors import DataError

__all__ = ["PID", "pid"]

_SHRINK = 0.1
_MOST_STEPS = 50


@dataclass(frozen=True)
class PID:
    """What two sources say of a target, in bits.

    Attributes:
        redundancy: That either says.
        unique_1: That only the first says.
        unique_2: That only the second says.
        synergy: That only both together say.
    """

    redundancy: float
    unique_1: float
    unique_2: float
    synergy: float

    @property
    def total(self) -> float:
        """The information of both together, in bits."""
        return self.redundancy + self.unique_1 + self.unique_2 + self.synergy


def pid(joint: np.ndarray, *, tol: float = 1e-8) -> PID:
    """Returns the decomposition of a joint distribution, or of counts, in bits.

    The minimum is found by Newton's method on a logarithmic barrier, whose weight bounds how far it is off.

    Args:
        joint: `[x1, x2, y]`, at least 0; it need not sum to 1.
        tol: How far the minimum may be off, in bits.

    Raises:
        DataError: No distribution over three variables.

    Example:
        >>> import numpy as np
        >>> xor = np.zeros((2, 2, 2))
        >>> xor[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1
        >>> round(pid(xor).synergy, 6)
        1.0
    """
    p = np.asarray(joint, dtype=np.float64)
    if p.ndim != 3 or not np.isfinite(p).all() or (p < 0).any() or p.sum() <= 0:
        raise DataError(
            f"pid: joint must be [x1, x2, y] of numbers of at least 0 that do not sum to 0; got shape={p.shape}. Count "
            "how often each combination occurs."
        )
    p = p / p.sum()
    first, second, whole = _information(p.sum(1)), _information(p.sum(0)), _information(p.reshape(-1, p.shape[2]))
    least = _least(p.sum(1), p.sum(0), tol * log(2)) / log(2)
    least = min(max(least, first, second), whole)  # rounding
    return PID(first + second - least, least - second, least - first, whole - least)


def _information(joint: np.ndarray) -> float:
    """Returns I(X; Y) in bits of `[x, y]`."""
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    there = joint > 0
    return max(0.0, float((joint[there] * np.log2(joint[there] / independent[there])).sum()))


def _least(first: np.ndarray, second: np.ndarray, tol: float) -> float:
    """Returns min_Q I_Q(X1 X2; Y) in nats, Q with the marginals `[x1, y]` and `[x2, y]`, at most `tol` too large."""
    of_y = first.sum(0)
    y, i, j = np.nonzero((first.T[:, :, None] > 0) & (second.T[:, None, :] > 0))
    q = first[i, y] * second[j, y] / of_y[y]  # independent given y: inside of what is allowed
    pair = np.unique(i * len(second) + j, return_inverse=True)[1].reshape(-1)
    n_pairs = int(pair.max()) + 1
    free = ((first > 0).sum(0) > 1)[y] & ((second > 0).sum(0) > 1)[y]  # the others are what their sums say
    if free.any():
        fixed = np.bincount(pair[~free], q[~free], n_pairs)
        problem = _Barrier(pair[free], fixed, _moves(y[free], i[free], j[free], q[free]))
        weight = max(0.1, 10 * tol) / free.sum()
        while True:
            q[free] = problem.minimum(q[free], weight)
            if weight * free.sum() <= tol:
                break
            weight = max(weight * _SHRINK, 0.99 * tol / free.sum())
    total = np.bincount(pair, q)
    return float((q * np.log(q / total[pair])).sum() - (of_y[of_y > 0] * np.log(of_y[of_y > 0])).sum())


def _moves(y: np.ndarray, i: np.ndarray, j: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Returns `[cell, move]`: all changes that keep the sums of (i, y) and of (j, y), each of four cells of one y."""
    at = {cell: k for k, cell in enumerate(zip(y.tolist(), i.tolist(), j.tolist(), strict=True))}
    moves = []
    for one in np.unique(y).tolist():
        here = np.flatnonzero(y == one)
        largest = here[q[here].argmax()]
        top, left = int(i[largest]), int(j[largest])
        for a in set(i[here].tolist()) - {top}:
            for b in set(j[here].tolist()) - {left}:
                move = np.zeros(len(q))
                move[[at[one, a, b], at[one, top, left]]] = 1
                move[[at[one, a, left], at[one, top, b]]] = -1
                moves.append(move)
    return np.stack(moves, axis=1)


@dataclass(frozen=True, eq=False)
class _Barrier:
    """`sum q log(q / total(pair)) - weight sum log q` over the cells q, which change by moves.

    Attributes:
        pair: `[cell]`: the number of its (x1, x2).
        fixed: `[pair]`: what else its total holds.
        moves: `[cell, move]`: what may change.
    """

    pair: np.ndarray
    fixed: np.ndarray
    moves: np.ndarray

    def _totals(self, q: np.ndarray) -> np.ndarray:
        return self.fixed + np.bincount(self.pair, q, len(self.fixed))

    def _value(self, q: np.ndarray, weight: float) -> float:
        total = self._totals(q)
        there = total > 0
        whole = (total[there] * np.log(total[there])).sum()
        return float((q * np.log(q)).sum() - whole - weight * np.log(q).sum())

    def minimum(self, q: np.ndarray, weight: float) -> np.ndarray:
        """Returns it, by Newton's method from `q` inside."""
        moves = self.moves
        of_pair = np.zeros((len(self.fixed), moves.shape[1]))
        np.add.at(of_pair, self.pair, moves)
        for _ in range(_MOST_STEPS):
            total = self._totals(q)
            gradient = (np.log(q / total[self.pair]) - weight / q) @ moves
            inverse = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
            hessian = (moves.T * (1 / q + weight / q**2)) @ moves - (of_pair.T * inverse) @ of_pair
            scale = 1 / np.sqrt(np.diagonal(hessian))  # cells may differ by ten orders
            change = -scale * np.linalg.solve(hessian * scale * scale[:, None], scale * gradient)
            slope = float(gradient @ change)
            if -slope < 1e-2 * weight:
                break
            step = moves @ change
            falling = step < 0
            size = min(1.0, 0.95 / float((-step[falling] / q[falling]).max()))
            before = self._value(q, weight)
            while self._value(q + size * step, weight) > before + 1e-4 * size * slope and size > 1e-10:
                size /= 2
            q = q + size * step
        return q
