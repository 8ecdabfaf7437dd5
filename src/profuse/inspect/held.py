"""The share of targets that sets or intervals hold, with its interval."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from profuse.inspect.answer import Estimate
from profuse.inspect.asked import Asked
from profuse.inspect.conformal_scores import Said
from profuse.inspect.intervals import Scores
from profuse.metrics import Metric

__all__ = ["Held", "Measured"]


class Held(Metric):
    """The mean of 0 and 1: whether a row's target is held."""

    name = "coverage"
    label = "coverage"
    tasks = ("binary", "multiclass", "regression")
    proportion = True

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        """See `Metric.score`."""
        return float(p.mean())


@dataclass(eq=False)
class Measured:
    """Coverage of some rows.

    Attributes:
        asked: All rows.
        rows: Those of them that have a quantile.
        notes: What the intervals of the first estimate are made of.
    """

    asked: Asked
    rows: np.ndarray
    notes: tuple[str, ...] = field(default=(), init=False)

    def estimate(
        self,
        name: str,
        said: Said,
        quantiles: np.ndarray,
        rows: np.ndarray | None = None,
        *,
        modalities: tuple[str, ...] = (),
        at: float | None = None,
    ) -> Estimate:
        """Returns how often targets are held, and beside it how large sets or intervals are.

        Args:
            name: Of the estimate.
            said: What is predicted for all rows.
            quantiles: `[row]`, of all rows.
            rows: Which rows; all if None.
            modalities: See `Estimate`.
            at: See `Estimate`.
        """
        some = self.rows if rows is None else np.intersect1d(self.rows, rows)
        held = (said.scores(self.asked.true) <= quantiles)[some].astype(np.float64)
        asked = self.asked
        scores = Scores(
            asked.metric, held, {(): held}, asked.clusters[some], seed=asked.seed, n_resamples=asked.n_resamples
        )
        if not self.notes:
            self.notes = asked.notes(scores)
        size = float(said.sizes(quantiles)[some].mean())
        return Estimate(name, *scores.score(()), len(some), size, modalities, at)
