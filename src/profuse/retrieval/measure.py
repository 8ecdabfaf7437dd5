"""How well rows are found: ranks, and recall with interval and chance.

A row of one modality asks, all rows of the other are the answers that can be given. Right is the row's own, and every
row that cannot be told from it: one with the same question, or with the same answer, as the preprocessing leaves them.
The rank is the place of the best right answer; wrong ones that are exactly as similar go before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln

from profuse.comparison.proportion import wilson
from profuse.tokens import Raw

__all__ = ["COLUMNS", "DEPTHS", "Validation", "content", "ranks", "reciprocal_rank", "scores"]

DEPTHS = (1, 5, 10)
COLUMNS = (
    "method", "query", "item", "metric", "value", "low", "high", "chance", "higher_is_better", "n_queries",
    "n_clusters",
)  # fmt: skip
_Z = 1.959964
_AT_ONCE = 2**23
"""Similarities that are held at a time."""


def content(raw: Raw) -> np.ndarray:
    """Returns a number for each row; rows with the same content have the same one."""
    numbers: dict[bytes, int] = {}
    real = raw.mask.view(*raw.mask.shape, *[1] * (raw.values.ndim - raw.mask.ndim))
    values, mask = raw.values.masked_fill(~real, 0).numpy(), raw.mask.numpy()
    keys = [v.tobytes() + m.tobytes() for v, m in zip(values, mask, strict=True)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def ranks(
    queries: np.ndarray, items: np.ndarray, asked: np.ndarray, answers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rank of the best right answer, from 1, and the number of right answers, `[row]` both.

    Args:
        queries: `[row, dim]`, compared by the inner product.
        items: `[row, dim]`; the same rows.
        asked: The queries' `content`.
        answers: The items' `content`.
    """
    found, right = np.empty(len(queries), dtype=np.int64), np.empty(len(queries), dtype=np.int64)
    step = max(1, _AT_ONCE // max(1, len(items)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        similar = queries[part] @ items.T
        correct = (asked[part, None] == asked) | (answers[part, None] == answers)
        best = np.where(correct, similar, -np.inf).max(1, keepdims=True)
        found[part] = 1 + ((similar >= best) & ~correct).sum(1)
        right[part] = correct.sum(1)
    return found, right


@dataclass(frozen=True)
class Validation:
    """The mean of 1 / rank over queries that chose something.

    Attributes:
        mean: Over all of them, in every direction.
        pairs: Over both directions of each pair of modalities that share rows.
    """

    mean: float
    pairs: Mapping[tuple[str, str], float]


def reciprocal_rank(
    places: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray]
) -> Validation:
    """Returns how high the right answers come.

    Args:
        places: `[row, dim]` by modality.
        present: Bool `[row]` by modality.
        codes: `content` by modality.
    """
    results = {}
    for pair in combinations(sorted(places), 2):
        rows = present[pair[0]] & present[pair[1]]
        if rows.any():
            ways = [[part[name][rows] for name in way for part in (places, codes)] for way in (pair, pair[::-1])]
            results[pair] = np.concatenate([1 / ranks(x, y, asked, answers)[0] for x, asked, y, answers in ways])
    every = np.concatenate([np.empty(0), *results.values()])
    return Validation(float(every.mean()) if len(every) else 0.0, {p: float(v.mean()) for p, v in results.items()})


def scores(
    found: np.ndarray, right: np.ndarray, clusters: np.ndarray | None, *, method: str, query: str, item: str
) -> pd.DataFrame:
    """Returns recall at each of `DEPTHS` and the median rank, one row each, with 95 % intervals and chance.

    Recall has Wilson's interval, the median that of order statistics; both count clusters of rows that belong
    together, not rows. Chance is what items in random order would give: of the median, the depth at which half of the
    questions would be answered.

    Args:
        found: `[row]` ranks.
        right: `[row]` numbers of right answers.
        clusters: `[row]`: equal = not independent; None if all are.
        method: Named in the result, as are `query` and `item`.
    """
    n = len(found)
    n_clusters = n if clusters is None else len(pd.unique(clusters))
    rows: list[tuple[Any, ...]] = []
    for depth in DEPTHS:
        value = float((found <= depth).mean())
        low, high = wilson(value, n_clusters)
        rows.append((f"recall@{depth}", value, low, high, float(_by_chance(n, right, depth).mean()), True))
    half = _Z * 0.5 / n_clusters**0.5
    low, middle, high = np.quantile(found, [max(0.0, 0.5 - half), 0.5, min(1.0, 0.5 + half)])
    depths = range(1, n + 1)
    chance = depths[bisect_left(depths, 0.5 - 1e-9, key=lambda depth: _by_chance(n, right, depth).mean())]
    rows.append(("median_rank", middle, low, high, float(chance), False))
    return pd.DataFrame([(method, query, item, *row, n, n_clusters) for row in rows], columns=list(COLUMNS))


def _by_chance(n: int, right: np.ndarray, depth: int) -> np.ndarray:
    """Returns the probability that `depth` of n items, drawn at random, hold one of the `right`: hypergeometric."""
    wrong = n - right
    with np.errstate(invalid="ignore"):
        none = gammaln(wrong + 1) - gammaln(wrong - depth + 1) - gammaln(n + 1) + gammaln(max(n - depth, 0) + 1)
    return np.where(wrong < depth, 1.0, 1 - np.exp(none))
