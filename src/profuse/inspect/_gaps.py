"""What a modality is worth to rows that lack it: learned from rows that have it, and are predicted alike without."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.inspect.asked import hide

if TYPE_CHECKING:
    from profuse.metrics import Metric
    from profuse.predictor import Predictor

__all__ = ["FEWEST", "Gap", "Known", "gaps", "interval", "shown"]

FEWEST = 20
"""Rows that have a modality, from which on something is said of those that lack it."""
_SHARE = 10  # one of so many of them is near enough, but never fewer than those
_MOST = 4_000  # rows of either sort that are looked at
_STREAM = 577_215


@dataclass(frozen=True, eq=False)
class Known:
    """Rows as a predictor takes them.

    Attributes:
        inputs: By modality.
        present: Bool `[row, modality]`, in the order of `names`.
        names: The modalities that the predictor uses.
    """

    inputs: Mapping[str, Any]
    present: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, inputs: Mapping[str, Any], names: Sequence[str]) -> Known:
        """Returns rows with the patterns of what they have of `names`."""
        return cls(inputs, np.stack([np.asarray(inputs[n].present) for n in names], axis=1), tuple(names))

    def predicted(self, predictor: Predictor, rows: np.ndarray, shown: Sequence[str]) -> np.ndarray:
        """Returns what is predicted of some rows of which only the modalities `shown` are shown."""
        import torch

        some = {n: part.rows(torch.as_tensor(rows)) for n, part in self.inputs.items()}
        return predictor.predict_encoded(hide(some, [n for n in self.names if n not in shown]))


@dataclass(frozen=True, eq=False)
class Gap:
    """Rows of one pattern that lack a modality.

    Attributes:
        rows: Which.
        references: Rows that tell what it is worth.
        fall: `[reference]`: by how much its loss falls when it is shown.
        alike: `[row, reference]`: whether a reference row is predicted like a row.
    """

    rows: np.ndarray
    references: np.ndarray
    fall: np.ndarray
    alike: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """What the modality is worth to each of `rows`."""
        return np.asarray(self.alike @ self.fall / self.alike.sum(1))


def gaps(
    predictor: Predictor,
    known: Known,
    true: np.ndarray,
    new: Known,
    name: str,
    metric: Metric,
    seed: int,
    *,
    every: bool = False,
) -> Iterator[Gap]:
    """Yields the rows that lack the modality `name`, by pattern of what they have; without those nothing tells of.

    Args:
        predictor: What predicts.
        known: Rows with a target.
        true: Their targets, as the metric takes them.
        new: Rows that may lack the modality; `known` itself, or others.
        name: The modality.
        metric: A mean over rows.
        seed: Of the draw among many rows.
        every: Whether all rows that lack it are looked at, however many they are.
    """
    m, rng = known.names.index(name), np.random.default_rng([_STREAM, seed])
    lacking = np.flatnonzero(~new.present[:, m])
    patterns, which = np.unique(new.present[lacking], axis=0, return_inverse=True)
    for p, pattern in enumerate(patterns):
        rows = lacking[which.reshape(-1) == p]
        references = np.flatnonzero(known.present[:, m] & known.present[:, pattern].all(1))
        if len(references) < FEWEST:
            continue
        references = _some(references, rng)
        for some in np.array_split(rows, math.ceil(len(rows) / _MOST)) if every else [_some(rows, rng)]:
            yield _gap(predictor, known, true, new, name, metric, some, references, pattern)


def shown(predictor: Predictor, known: Known, true: np.ndarray, name: str, metric: Metric, seed: int) -> Iterator[Gap]:
    """Yields the rows that have the modality as if they lacked it: each tells of itself."""
    rows = _some(np.flatnonzero(known.present[:, known.names.index(name)]), np.random.default_rng([_STREAM, seed]))
    _, fall = _shown_later(predictor, known, true, metric, rows, [n for n in known.names if n != name], name)
    yield Gap(rows, rows, fall, np.eye(len(rows), dtype=bool))


def _gap(
    predictor: Predictor,
    known: Known,
    true: np.ndarray,
    new: Known,
    name: str,
    metric: Metric,
    rows: np.ndarray,
    references: np.ndarray,
    pattern: np.ndarray,
) -> Gap:
    seen = [n for n, there in zip(known.names, pattern, strict=True) if there]
    before, fall = _shown_later(predictor, known, true, metric, references, seen, name)
    return Gap(rows, references, fall, _alike(new.predicted(predictor, rows, seen), before, predictor.task))


def _shown_later(
    predictor: Predictor,
    known: Known,
    true: np.ndarray,
    metric: Metric,
    rows: np.ndarray,
    seen: Sequence[str],
    name: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is predicted of rows by what is seen, and by how much each is better when `name` is shown too."""
    before, after = (known.predicted(predictor, rows, names) for names in (seen, [*seen, name]))
    sign = 1.0 if metric.higher_is_better else -1.0
    gain = metric.row_scores(true[rows], after) - metric.row_scores(true[rows], before)
    return before, sign * np.asarray(gain, dtype=np.float64)


def interval(found: Sequence[Gap], clusters: np.ndarray, seed: int, n_resamples: int) -> tuple[float, float, float]:
    """Returns the mean value of the rows, and its 95 % interval: rows, and those that tell of them, are drawn together.

    Args:
        found: Gaps in the same rows as those that tell of them.
        clusters: `[row]`: rows with one number are drawn together.
        seed: Of the draws.
        n_resamples: How many.
    """
    from scipy import stats

    codes = np.unique(clusters, return_inverse=True)[1]
    n = int(codes.max()) + 1
    drawn = np.random.default_rng([_STREAM, seed, 1]).multinomial(n, np.full(n, 1 / n), size=n_resamples)
    counts = drawn[:, codes].astype(np.float64)
    total, size = np.zeros(n_resamples), np.zeros(n_resamples)
    for gap in found:
        weights = counts[:, gap.references]
        alike = gap.alike.T.astype(np.float64)
        there = weights @ alike
        values = np.where(there > 0, (weights * gap.fall) @ alike / np.maximum(there, 1.0), gap.values)
        total += (counts[:, gap.rows] * values).sum(1)
        size += counts[:, gap.rows].sum(1)
    draws = (total / np.maximum(size, 1.0))[size > 0]
    value = float(np.concatenate([gap.values for gap in found]).mean())
    if n < 2 or len(draws) < 2:
        return value, -math.inf, math.inf
    half = float(stats.t.ppf(0.975, n - 1)) * float(draws.std(ddof=1)) * math.sqrt(n / (n - 1))
    return value, value - half, value + half


def _some(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= _MOST else np.sort(rng.permutation(rows)[:_MOST])


def _alike(new: np.ndarray, known: np.ndarray, task: str) -> np.ndarray:
    """Returns which rows are predicted alike, `[new, known]`: the nearest tenth of the known ones, 20 at least."""
    from scipy.spatial.distance import cdist

    k = min(len(known), max(FEWEST, len(known) // _SHARE))
    if task == "regression":
        scale = known.std(0) + 1e-12
        distances = cdist(new / scale, known / scale)
    else:
        distances = cdist(np.sqrt(new), np.sqrt(known))
    reach = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return np.asarray(distances <= reach[:, None] + 1e-12)
