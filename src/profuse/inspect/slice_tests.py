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
from typing import Any

import numpy as np

from profuse.inspect.slices import Slice

__all__ = ["N_SHUFFLES", "Tested", "compare_slices"]

N_SHUFFLES = 499
_STREAM = 1_414_213  # data or a split drawn with the same seed must have nothing to do with the shuffles
_TOP = 8  # singles of which pairs are made
_BLOCK = 64
_MOST_NUMBERS = 2_000_000  # held at a time


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
    (top,), (found,) = made.pairs(made.residual[None], observed[:, None])
    pairs = [(top[i], top[j], float(found[i, j])) for i, j in np.argwhere(np.isfinite(found))]
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

    def pairs(self, residuals: np.ndarray, singles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best singles, `[shuffle, best]`, and the statistics of their pairs, `[shuffle, best, best]`.

        Where two make no pair, as in half of the places, it is -infinity.

        Args:
            residuals: `[shuffle, row]`.
            singles: `[slice, shuffle]`.
        """
        usable = np.flatnonzero(self.paired)
        top = usable[np.argsort(-singles[usable], axis=0, kind="stable")[:_TOP].T]
        masks = self.masks[top].astype(np.float32)
        counts = masks @ masks.swapaxes(1, 2)
        size, feature = np.diagonal(counts, axis1=1, axis2=2), self.features[top]
        fits = (feature[:, :, None] != feature[:, None]) & (counts >= self.least)
        fits &= counts < np.minimum(size[:, :, None], size[:, None])
        of, first, second = np.nonzero(np.triu(fits, 1))
        found = np.full(counts.shape, -math.inf)
        if len(of):
            sums = ((masks * residuals[:, None]) @ masks.swapaxes(1, 2))[of, first, second]
            share = counts[of, first, second].astype(np.float64) / self.n
            scales = self._scales(masks[of, first] * masks[of, second] if self.grouped else None, share)
            found[of, first, second] = (sums - share * residuals.sum(1, dtype=np.float64)[of]) / scales
        return top, found

    def greatest(self, generators: list[np.random.Generator]) -> np.ndarray:
        """Returns the greatest statistic of each shuffle."""
        columns = np.stack([self._shuffled(g) for g in generators])
        singles = self.singles(np.ascontiguousarray(columns.T))
        step = max(1, _MOST_NUMBERS // (_TOP**2 * self.n))
        pairs = [
            self.pairs(columns[a : a + step], singles[:, a : a + step])[1].max(initial=-math.inf, axis=(1, 2))
            for a in range(0, len(columns), step)
        ]
        return np.asarray(np.maximum(singles.max(0), np.concatenate(pairs)))

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        if not self.grouped:
            return np.asarray(rng.permutation(self.residual))
        signs = rng.choice(np.array([-1, 1], dtype=np.float32), len(self.starts))
        return np.asarray(self.residual * signs[self.of_cluster])

    def _scales(self, masks: np.ndarray | None, share: np.ndarray) -> np.ndarray:
        """Returns the standard deviation of the sums over slices as residuals are shuffled."""
        if not self.grouped or masks is None:
            return np.asarray(np.sqrt(np.maximum(self.n * share * (1 - share) * self.variance, 1e-300)))
        step = max(1, _MOST_NUMBERS // self.n)
        made = [
            np.square(np.add.reduceat((masks[a:b] - share[a:b, None]) * self.residual, self.starts, axis=1)).sum(1)
            for a, b in ((a, a + step) for a in range(0, len(masks), step))
        ]
        return np.asarray(np.sqrt(np.maximum(np.concatenate(made), 1e-300)))


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
