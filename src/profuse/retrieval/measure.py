"""How well rows are found: ranks, recall with interval and chance, and linear CCA to compare with.

A row of one modality asks, all rows of the other are the answers that can be given. Right is the row's own, and every
row that cannot be told from it: one with the same question, or with the same answer, as the preprocessing leaves them.
The rank is the place of the best right answer; wrong ones that are exactly as similar go before it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import gammaln

from profuse.fusion.constraint._canonical import canonical
from profuse.tokens import Raw

__all__ = ["COLUMNS", "DEPTHS", "LinearCCA", "content", "ranks", "scores"]

DEPTHS = (1, 5, 10)
COLUMNS = (
    "method", "query", "item", "metric", "value", "low", "high", "chance", "larger_is_better", "n_queries",
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
        low, high = _wilson(value, n_clusters)
        rows.append((f"recall@{depth}", value, low, high, float(_by_chance(n, right, depth).mean()), True))
    half = _Z * 0.5 / n_clusters**0.5
    low, middle, high = np.quantile(found, [max(0.0, 0.5 - half), 0.5, min(1.0, 0.5 + half)])
    depths = range(1, n + 1)
    chance = depths[bisect_left(depths, 0.5 - 1e-9, key=lambda depth: _by_chance(n, right, depth).mean())]
    rows.append(("median_rank", middle, low, high, float(chance), False))
    return pd.DataFrame([(method, query, item, *row, n, n_clusters) for row in rows], columns=list(COLUMNS))


def _wilson(p: float, n: int) -> tuple[float, float]:
    centre, spread = p + _Z**2 / (2 * n), _Z * (p * (1 - p) / n + _Z**2 / (4 * n**2)) ** 0.5
    return (max(0.0, (centre - spread) / (1 + _Z**2 / n)), min(1.0, (centre + spread) / (1 + _Z**2 / n)))


def _by_chance(n: int, right: np.ndarray, depth: int) -> np.ndarray:
    """Returns the probability that `depth` of n items, drawn at random, hold one of the `right`: hypergeometric."""
    wrong = n - right
    with np.errstate(invalid="ignore"):
        none = gammaln(wrong + 1) - gammaln(wrong - depth + 1) - gammaln(n + 1) + gammaln(max(n - depth, 0) + 1)
    return np.where(wrong < depth, 1.0, 1 - np.exp(none))


class LinearCCA:
    """Canonical correlation of the classical features of two modalities: what a linear method finds.

    Features are standardised on training rows, missing numbers at the mean; the variates are weighted by a power of
    their correlations (Gong et al. 2014). Ridge and power are chosen by the mean reciprocal rank of validation rows.

    Args:
        views: By pair of modalities and modality: mean and scale `[feature]`, map `[feature, dim]`.
    """

    _RIDGES, _POWERS, _N_DIMS = (0.01, 0.1, 1.0), (1.0, 4.0), 64

    def __init__(self, views: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> None:
        self.views = {pair: {name: dict(view) for name, view in views[pair].items()} for pair in views}

    @classmethod
    def fit(
        cls, features: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray],
        train_rows: np.ndarray, valid_rows: np.ndarray, *, refit: bool = False,
    ) -> LinearCCA:  # fmt: skip
        """Fits every pair of modalities.

        Args:
            features: `[row, feature]` by modality.
            codes: `content` by modality.
            present: Bool `[row]` by modality.
            train_rows: Learned from.
            valid_rows: Choose ridge and power.
            refit: Fit anew on training and validation rows together with what was chosen.
        """
        made = {}
        for a, b in combinations(sorted(features), 2):
            both = present[a] & present[b]
            learn, choose = train_rows[both[train_rows]], valid_rows[both[valid_rows]]
            if len(learn) > 1 and len(choose) > 0:
                made[_pair(a, b)] = cls._chosen((a, b), features, codes, learn, choose, refit)
        return cls(made)

    @classmethod
    def _chosen(
        cls, names: tuple[str, str], features: Mapping[str, np.ndarray], codes: Mapping[str, np.ndarray],
        learn: np.ndarray, choose: np.ndarray, refit: bool,
    ) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
        asked, answers = (codes[name][choose] for name in names)
        best, setting = -1.0, (0.0, 0.0)
        kept: dict[str, dict[str, np.ndarray]] = {}
        for ridge in cls._RIDGES:
            for power, views in cls._fitted(names, features, learn, ridge).items():
                x, y = (_embedded(features[name][choose], views[name]) for name in names)
                there, back = ranks(x, y, asked, answers)[0], ranks(y, x, answers, asked)[0]
                score = float((1 / there).mean() + (1 / back).mean())
                if score > best:
                    best, setting, kept = score, (ridge, power), views
        if refit:
            kept = cls._fitted(names, features, np.concatenate([learn, choose]), setting[0])[setting[1]]
        return kept

    @classmethod
    def _fitted(
        cls, names: tuple[str, str], features: Mapping[str, np.ndarray], rows: np.ndarray, ridge: float
    ) -> dict[float, dict[str, dict[str, np.ndarray]]]:
        """Returns the two views by power of the correlations."""
        views = {name: _scale(features[name][rows]) for name in names}
        x = [torch.as_tensor(_standard(features[name][rows], views[name])) for name in names]
        n_dims = min(cls._N_DIMS, *(v.shape[1] for v in x))
        found = canonical(x, torch.ones(len(rows), 2, dtype=torch.bool), n_dims, ridge=ridge)
        return {
            power: {
                name: {**views[name], "map": (m * found.correlations**power).numpy()}
                for name, m in zip(names, found.maps, strict=True)
            }
            for power in cls._POWERS
        }

    def embed(self, a: str, b: str, features: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of modality `a` and of `b`, `[row, dim]` of length 1."""
        views = self.views[_pair(a, b)]
        return _embedded(features[a], views[a]), _embedded(features[b], views[b])

    def knows(self, a: str, b: str) -> bool:
        """Whether there were rows to fit the pair on."""
        return _pair(a, b) in self.views


def _pair(a: str, b: str) -> str:
    return f"{min(a, b)} & {max(a, b)}"


def _scale(x: np.ndarray) -> dict[str, np.ndarray]:
    """Returns mean and standard deviation of the known numbers of each feature, 1 where it does not vary."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, x, 0).sum(0) / count
    scale = np.sqrt((np.where(known, x - mean, 0) ** 2).sum(0) / count)
    return {"mean": mean, "scale": np.where(scale > 0, scale, 1.0)}


def _standard(x: np.ndarray, view: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray(np.nan_to_num((x - view["mean"]) / view["scale"], nan=0.0))


def _embedded(x: np.ndarray, view: Mapping[str, np.ndarray]) -> np.ndarray:
    z = _standard(x, view) @ view["map"]
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))
