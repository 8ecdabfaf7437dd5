"""Shapley values and interactions of a game v, as weights: each is `sum_S w_S v(S)` over coalitions S of players.

As they are linear in v, one bootstrap sample of all v(S) gives one of every value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from math import factorial
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "MOST_EXACT",
    "Weights",
    "coalitions",
    "evenness",
    "interaction_weights",
    "permutation_weights",
    "shapley_weights",
]

MOST_EXACT = 8
"""Players up to which all coalitions are looked at: 256."""

Weights = dict[tuple[str, ...], float]
"""Of v(S), by S: its players, sorted."""


def coalitions(players: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns all subsets of `players`, the empty one first."""
    names = sorted(players)
    return [s for size in range(len(names) + 1) for s in combinations(names, size)]


def shapley_weights(players: Sequence[str]) -> dict[str, Weights]:
    """Returns the weights of `phi_m = sum_S |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))`, S without m, of each m.

    Reference:
        Shapley, "A Value for n-Person Games" (1953).
    """
    n = len(players)
    result = {}
    for m in sorted(players):
        weights: dict[tuple[str, ...], float] = {}
        for s in coalitions([p for p in players if p != m]):
            share = factorial(len(s)) * factorial(n - len(s) - 1) / factorial(n)
            weights[_with(s, m)] = share
            weights[s] = -share
        result[m] = weights
    return result


def permutation_weights(players: Sequence[str], n_pairs: int, *, seed: int) -> list[dict[str, Weights]]:
    """Returns, for each of `n_pairs` random orders, the weights of what a player adds when it comes in it.

    Each order is taken together with its reverse (antithetic): what interacts with others is counted once before and
    once after them. The mean over pairs estimates the Shapley values, and each pair alone is efficient: its values sum
    to v(all) - v(none).

    Reference:
        Mitchell, Cooper, Frank, Holmes, "Sampling Permutations for Shapley Value Estimation", JMLR 23 (2022).
    """
    drawn, result = Random(seed), []
    for _ in range(n_pairs):
        order = drawn.sample(sorted(players), len(players))
        pair: dict[str, dict[tuple[str, ...], float]] = {m: {} for m in sorted(players)}
        for way in (order, order[::-1]):
            grown = [tuple(sorted(way[:k])) for k in range(len(way) + 1)]
            for m, (before, after) in zip(way, pairwise(grown), strict=True):
                pair[m][after] = pair[m].get(after, 0.0) + 0.5
                pair[m][before] = pair[m].get(before, 0.0) - 0.5
        result.append(pair)
    return result


def evenness(values: np.ndarray) -> np.ndarray:
    """Returns `-sum_m p_m log p_m / log M`, `p_m = max(phi_m, 0) / sum_m max(phi_m, 0)`, of values `[..., m]`.

    1 where all M >= 2 have the same, 0 where one has all, or none has anything.
    """
    import numpy as np

    positive = np.maximum(values, 0.0)
    total = positive.sum(-1, keepdims=True)
    shares = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = np.maximum(0.0, -(shares * logs).sum(-1)) + 0.0  # no -0.0
    return np.asarray(entropy / math.log(values.shape[-1]))


def interaction_weights(players: Sequence[str]) -> dict[tuple[str, str], Weights]:
    """Returns the weights of the Shapley interaction index of each pair (i, j), S without both:

    `I_ij = sum_S |S|! (M - |S| - 2)! / (M - 1)! (v(S + i + j) - v(S + i) - v(S + j) + v(S))`.

    Reference:
        Grabisch, Roubens, "An axiomatic approach to the concept of interaction among players" (1999).
    """
    n = len(players)
    result = {}
    for i, j in combinations(sorted(players), 2):
        weights: dict[tuple[str, ...], float] = {}
        for s in coalitions([p for p in players if p not in (i, j)]):
            share = factorial(len(s)) * factorial(n - len(s) - 2) / factorial(n - 1)
            weights |= {_with(s, i, j): share, _with(s, i): -share, _with(s, j): -share, s: share}
        result[i, j] = weights
    return result


def _with(players: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(sorted((*players, *more)))
