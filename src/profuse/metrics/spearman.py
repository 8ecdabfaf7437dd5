"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np

from profuse.errors import DataError
from profuse.metrics._base import Array, Metric
from profuse.metrics._errors import columns
from profuse.metrics._ranks import above, mid_ranks

__all__ = ["Spearman"]


class Spearman(Metric):
    """The mean over targets of `mean(u v) / sqrt(mean u^2 mean v^2)`, u and v the ranks of targets and predictions.

    Ranks are less their mean; equal values share theirs. Predictions that are all equal order nothing: 0.
    """

    name = "spearman"
    label = "Spearman correlation"
    range = (-1.0, 1.0)
    tasks = ("regression",)
    chooses_epochs = True

    def score(self, y: Array, p: Array) -> float:
        y, p = _varied(y, p)
        return float(np.mean([_correlation(*_grades(a, b)) for a, b in zip(y.T, p.T, strict=True)]))

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns the metric plus each row's influence value (the infinitesimal jackknife), the mean over targets.

        A row acts by its own ranks and on those of the rows above it: with `h(u, v)_i = u_i v_i + A(y, v)_i + A(p, u)_i
        - 3 mean(u v)`, A(y, v)_i being the mean over rows of v where y is higher (half where equal), it is `h(u, v) / s
        - r/2 (h(u, u) / mean u^2 + h(v, v) / mean v^2)`, with `s = sqrt(mean u^2 mean v^2)`.
        """
        y, p = _varied(y, p)
        return np.asarray(np.mean([_influence(a, b) for a, b in zip(y.T, p.T, strict=True)], axis=0))


def _varied(y: Array, p: Array) -> tuple[Array, Array]:
    y, p = columns(y, p)
    if (y == y[0]).all(0).any():
        raise DataError(
            "spearman: the target must vary over the rows; got a constant. Give other rows, or name another metric."
        )
    return y, p


def _grades(y: Array, p: Array) -> tuple[Array, Array]:
    """Ranks as shares of the rows, less 1/2."""
    u, v = ((mid_ranks(x) - 0.5) / len(x) - 0.5 for x in (y, p))
    return u, v


def _correlation(u: Array, v: Array) -> float:
    both = float((u * u).sum() * (v * v).sum())
    return float((u * v).sum() / np.sqrt(both)) if both > 0 else 0.0


def _influence(y: Array, p: Array) -> Array:
    u, v = _grades(y, p)
    r = _correlation(u, v)
    if not v.any():
        return np.zeros(len(y))

    def h(a: Array, b: Array, of_a: Array, of_b: Array) -> Array:
        own = a * b + (above(of_a, b) + above(of_b, a)) / len(a)
        return np.asarray(own - 3 * (a * b).mean())

    uu, vv = (u * u).mean(), (v * v).mean()
    spread = h(u, u, y, y) / uu + h(v, v, p, p) / vv
    return np.asarray(r + h(u, v, y, p) / np.sqrt(uu * vv) - r / 2 * spread)
