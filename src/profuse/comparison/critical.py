"""Methods on several data sets: mean ranks, and how far apart they must be (critical differences)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profuse.comparison.critical_diagram import critical_diagram
from profuse.errors import ConfigError, DataError
from profuse.metrics import metric

__all__ = ["CriticalDifference", "critical_difference"]


@dataclass(frozen=True)
class CriticalDifference:
    """Mean ranks of k methods on N data sets.

    Attributes:
        ranks: Mean rank by method, the best first; 1 is best.
        distance: Two methods differ where their mean ranks are at least this far apart.
        p: Of the hypothesis that all methods are alike (Friedman, in the form of Iman and Davenport).
        n_datasets: N.
        alpha: The share of false alarms that `distance` allows, over all pairs.
    """

    ranks: dict[str, float]
    distance: float
    p: float
    n_datasets: int
    alpha: float

    def groups(self) -> list[tuple[str, ...]]:
        """Returns the longest runs of methods, by rank, of which no two differ: what a diagram joins by a bar."""
        names, ranks = list(self.ranks), np.array(list(self.ranks.values()))
        ends = [int(np.searchsorted(ranks - r, self.distance, side="left")) for r in ranks]
        runs = [(i, end) for i, end in enumerate(ends) if end - i > 1]
        return [tuple(names[i:end]) for i, end in runs if not any(j < i and end <= e for j, e in runs)]

    def svg(self) -> str:
        """Returns the diagram as an SVG picture: mean ranks on a line, a bar joins methods of which no two differ."""
        below = (
            f"mean ranks on {self.n_datasets} data sets (1 is best); bars join what does not differ at {self.alpha:g} "
            f"(Nemenyi); all alike: p {'< .001' if self.p < 0.001 else f'= {self.p:.3f}'} (Friedman)"
        )
        return critical_diagram(self.ranks, self.distance, self.groups(), below=below)

    def _repr_svg_(self) -> str:
        return self.svg()


def critical_difference(frame: pd.DataFrame, name: str, *, alpha: float = 0.05) -> CriticalDifference:
    """Returns the mean ranks of the methods that all data sets have, and their critical difference (Nemenyi).

    A data set's score of a method is the mean over its seeds on test rows; equal scores share their ranks. Variants of
    a data set are data sets of their own.

        distance = q_alpha sqrt(k (k + 1) / (6 N)),    q_alpha of the studentised range / sqrt(2)

    Args:
        frame: Frames of several comparisons, one below the other: `pd.concat([a.frame, b.frame])`.
        name: Of the metric.
        alpha: See `CriticalDifference`.

    Raises:
        ConfigError: `alpha` is not between 0 and 1.
        DataError: There are fewer than two data sets, or than two methods that all of them have.

    Reference:
        Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (2006), section 3.2.2.

    Example:
        >>> both = pd.concat([one.frame, other.frame])  # doctest: +SKIP
        >>> critical_difference(both, "accuracy").groups()  # doctest: +SKIP
    """
    from scipy import stats

    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"critical_difference: alpha must be between 0 and 1; got alpha={alpha}. Use 0.05.")
    rows = frame[(frame["split"] == "test") & (frame["metric"] == name)]
    keys = [column for column in ("dataset", "variant") if column in rows]
    table = rows.fillna({"variant": ""}).pivot_table(index=keys, columns="method", values="value", aggfunc="mean")
    table = table.dropna(axis=1)
    n, k = table.shape
    if n < 2 or k < 2:
        raise DataError(
            f"critical_difference: there must be two data sets, and two methods that all of them have, with metric "
            f"{name!r} on test rows; got {n} data sets and {k} methods. Give the frames of more comparisons."
        )
    sign = -1 if metric(name).higher_is_better else 1
    ranks = stats.rankdata(sign * table.to_numpy(), axis=1)
    mean = ranks.mean(0)
    chi = 12 * n / (k * (k + 1)) * (float(np.square(mean).sum()) - k * (k + 1) ** 2 / 4)
    most = n * (k - 1)
    p = 0.0 if chi >= most else float(stats.f.sf((n - 1) * chi / (most - chi), k - 1, (k - 1) * (n - 1)))
    q = float(stats.studentized_range.ppf(1 - alpha, k, math.inf)) / math.sqrt(2)
    order = np.argsort(mean, kind="stable")
    named = {str(table.columns[i]): float(mean[i]) for i in order}
    return CriticalDifference(named, q * math.sqrt(k * (k + 1) / (6 * n)), p, n, alpha)
