"""Whether the error is higher in a slice than outside, corrected for all slices that were looked at.

With r the losses less their mean, a slice S of n_S of n rows has the statistic

    t_S = sum over S of r / sd(that sum),

where the sum varies as losses are shuffled among rows. Where rows have groups, the residuals of a group change their
sign together, and with U_g = sum over group g of (1[S] - n_S / n) r the variance is the sum of U_g^2. The p-value of a
slice is the share of shuffles in which the greatest statistic of *all* slices reaches t_S. So one in twenty answers
names a slice where there is none, however many were looked at and however they overlap. Pairs are those of the singles
with the greatest statistics; in each shuffle they are chosen anew.

Reference:
    Westfall, Young, "Resampling-Based Multiple Testing" (1993); Chung et al., "Automated Data Slicing for Model
    Validation: A Big Data - AI Integration Approach", TKDE (2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from profuse.inspect.slices import Slice

__all__ = ["N_SHUFFLES", "Tested", "compare_slices"]

N_SHUFFLES = 499
_STREAM = 1_414_213  # data or a split drawn with the same seed must have nothing to do with the shuffles
_TOP = 8  # singles of which pairs are made
_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Tested:
    """A slice, and how much higher the loss is in it.

    Attributes:
        slice: The rows.
        inside: Mean loss in it.
        value: Mean loss in it, less that outside.
        low: Lower end of the 95 % interval of this.
        high: Upper end.
        statistic: t.
        p: Corrected for all slices.
        parts: Names of the two singles of a pair.
    """

    slice: Slice
    inside: float
    value: float
    low: float
    high: float
    statistic: float
    p: float
    parts: tuple[str, ...] = ()

    def told(self, *, shown: bool) -> dict[str, Any]:
        """Returns it as plain values."""
        return {
            "name": self.slice.name,
            "n": int(self.slice.rows.sum()),
            "inside": self.inside,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "p": self.p,
            "shown": shown,
            "parts": list(self.parts),
        }


def compare_slices(
    loss: np.ndarray, clusters: np.ndarray, slices: Sequence[Slice], *, least: int, seed: int
) -> tuple[list[Tested], int]:
    """Returns the slices, those with the greatest statistic first, and how many pairs there are among them.

    A pair is returned only where its statistic and its mean are greater than those of both its singles.

    Args:
        loss: `[row]`.
        clusters: `[row]`: rows with one number are not independent.
        slices: Singles.
        least: Rows in a pair.
        seed: Of shuffles.
    """
    if not slices or np.ptp(loss) <= 1e-12:
        return [], 0
    order = np.argsort(clusters, kind="stable")
    made = _Statistics(loss[order], clusters[order], [s.rows[order] for s in slices], slices, least)
    observed = made.singles(made.residual[:, None])[:, 0]
    pairs = list(made.pairs(made.residual, observed))
    rng = np.random.default_rng([_STREAM, seed])
    greatest = np.concatenate([made.greatest(block) for block in _blocks(rng)])

    def tested(one: Slice, t: float, parts: tuple[str, ...] = ()) -> Tested:
        p = (1 + int((greatest >= t - 1e-4).sum())) / (N_SHUFFLES + 1)
        return Tested(one, float(loss[one.rows].mean()), *_difference(loss, clusters, one.rows), t, p, parts)

    results = [tested(one, float(t)) for one, t in zip(slices, observed, strict=True)]
    singles = {t.slice.name: t for t in results}
    for i, j, t in pairs:
        a, b = slices[i], slices[j]
        both = Slice(f"{a.name} and {b.name}", "pair", a.rows & b.rows, tuple(sorted({*a.modalities, *b.modalities})))
        pair = tested(both, t, (a.name, b.name))
        if all(pair.statistic > singles[n].statistic and pair.inside > singles[n].inside for n in pair.parts):
            results.append(pair)
    return sorted(results, key=lambda t: (-t.statistic, t.slice.name)), len(pairs)


def _blocks(rng: np.random.Generator) -> Iterator[list[np.random.Generator]]:
    generators = rng.spawn(N_SHUFFLES)
    for start in range(0, N_SHUFFLES, _BLOCK):
        yield generators[start : start + _BLOCK]


class _Statistics:
    """t of all slices, for residuals that are shuffled. Rows are ordered by their clusters."""

    def __init__(
        self, loss: np.ndarray, clusters: np.ndarray, rows: list[np.ndarray], slices: Sequence[Slice], least: int
    ) -> None:
        self.masks = np.stack(rows).astype(np.uint8)
        self.n = len(loss)
        self.residual = (loss - loss.mean()).astype(np.float32)
        self.share = self.masks.sum(1, dtype=np.int64) / self.n
        self.starts = np.flatnonzero(np.diff(clusters, prepend=clusters[0] - 1))
        self.grouped = len(self.starts) < self.n
        self.of_cluster = np.cumsum(np.bincount(self.starts, minlength=self.n)) - 1
        self.variance = float(np.square(self.residual, dtype=np.float64).sum()) / (self.n - 1)
        self.least = least
        self.paired = np.array([s.paired for s in slices])
        self.features = np.unique([s.feature for s in slices], return_inverse=True)[1]
        self.scale = self._scales(self.masks, self.share)

    def singles(self, residuals: np.ndarray) -> np.ndarray:
        """Returns `[slice, shuffle]` for residuals `[row, shuffle]`."""
        total = residuals.sum(0, dtype=np.float64)
        step = max(1, 20_000_000 // self.n)
        sums = np.concatenate(
            [self.masks[a : a + step].astype(np.float32) @ residuals for a in range(0, len(self.masks), step)]
        )
        return np.asarray((sums - self.share[:, None] * total) / self.scale[:, None])

    def pairs(self, residual: np.ndarray, singles: np.ndarray) -> Iterator[tuple[int, int, float]]:
        """Yields the pairs of the best singles, with their statistics."""
        best = np.argsort(np.where(self.paired, -singles, np.inf), kind="stable")[:_TOP]
        top = best[self.paired[best]]
        masks = self.masks[top].astype(np.float32)
        counts = masks @ masks.T
        sums = (masks * residual) @ masks.T
        total = float(residual.sum(dtype=np.float64))
        kept = [
            (i, j)
            for i, j in combinations(range(len(top)), 2)
            if self.features[top[i]] != self.features[top[j]]
            and self.least <= counts[i, j] < min(counts[i, i], counts[j, j])
        ]
        if not kept:
            return
        first, second = np.array(kept).T
        share = counts[first, second].astype(np.float64) / self.n
        scales = self._scales(masks[first] * masks[second] if self.grouped else None, share)
        for i, j, k, scale in zip(first, second, share, scales, strict=True):
            yield int(top[i]), int(top[j]), float((sums[i, j] - k * total) / scale)

    def greatest(self, generators: list[np.random.Generator]) -> list[float]:
        """Returns the greatest statistic of each shuffle."""
        shuffled = np.stack([self._shuffled(g) for g in generators], axis=1)
        singles = self.singles(shuffled)
        columns = np.ascontiguousarray(shuffled.T)
        return [
            max(float(t.max()), *(p for _, _, p in self.pairs(column, t)), -math.inf)
            for t, column in zip(singles.T, columns, strict=True)
        ]

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        if not self.grouped:
            return np.asarray(rng.permutation(self.residual))
        signs = rng.choice(np.array([-1, 1], dtype=np.float32), len(self.starts))
        return np.asarray(self.residual * signs[self.of_cluster])

    def _scales(self, masks: np.ndarray | None, share: np.ndarray) -> np.ndarray:
        """Returns the standard deviation of the sums over slices as residuals are shuffled."""
        if not self.grouped or masks is None:
            return np.asarray(np.sqrt(np.maximum(self.n * share * (1 - share) * self.variance, 1e-300)))
        made = []
        for mask, part in zip(masks, share, strict=True):
            of_cluster = np.add.reduceat((mask - part) * self.residual, self.starts)
            made.append(np.square(of_cluster).sum())
        return np.asarray(np.sqrt(np.maximum(made, 1e-300)))


def _difference(loss: np.ndarray, clusters: np.ndarray, rows: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean loss inside less that outside, and its interval: of sums over clusters.

    Where a side does not vary and losses lie between 0 and 1, that side has the interval of the rule of three.
    """
    from scipy import stats

    codes = np.unique(clusters, return_inverse=True)[1]
    bounded = bool(loss.min() >= 0 and loss.max() <= 1)
    value, influence, more = 0.0, np.zeros(len(loss)), 0.0
    fewest = len(loss)
    for sign, side in ((1.0, rows), (-1.0, ~rows)):
        n_clusters = len(np.unique(codes[side]))
        mean = float(loss[side].mean())
        value += sign * mean
        influence[side] = sign * (loss[side] - mean) / side.sum()
        fewest = min(fewest, n_clusters)
        if bounded and np.ptp(loss[side]) == 0:
            more = math.hypot(more, 3 / n_clusters)
    n = int(codes.max()) + 1
    sums = np.bincount(codes, weights=influence)
    deviation = math.sqrt(float(np.square(sums).sum()) * n / max(n - 1, 1))
    half = math.hypot(float(stats.t.ppf(0.975, max(fewest - 1, 1))) * deviation, more)
    low, high = value - half, value + half
    return (value, max(low, -1.0), min(high, 1.0)) if bounded else (value, low, high)
