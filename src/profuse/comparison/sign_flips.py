"""What a mean may be, judged by flipping the signs of its parts: for differences with heavy tails.

If two methods do not differ, the difference of their squared errors in a row is as likely `+x` as `-x`. The mean
`m = sum_g x[g]` of the rows (of clusters that belong together) is therefore one of the 2^G sums `sum_g +-x[g]`, all
equally likely, whatever the tails of `x`: no normal distribution is asked for, and a few huge rows spoil nothing. The
share of sums as large as m is Fisher's randomisation test. It is had without drawing from the saddlepoint of
`K(t) = sum_g log cosh(t x[g])`,

    K'(t) = |m|,    w = sqrt(2 (t |m| - K(t))),    v = t sqrt(K''(t)),    z = w + log(v / w) / w,

with z the normal deviate of that share: the same numbers each time, and small shares too. From ten parts on shares
below .1 are right to .01 or so; larger ones may be off where a few parts outweigh the rest. A difference c is possible
while the deviate of `x - c h` stays below that of the level, h being the clusters' shares of the rows.

References:
    Fisher, The Design of Experiments (1935), section 21.
    Robinson, Saddlepoint Approximations for Permutation Tests and Confidence Intervals, JRSS B 44 (1982).
    Barndorff-Nielsen, Inference on Full or Partial Parameters Based on the Standardized Signed Log Likelihood Ratio,
    Biometrika 73 (1986), for z.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

__all__ = ["LEAST_PARTS", "deviate", "flip_interval"]

LEAST_PARTS = 10
"""With fewer parts there are too few sums: a t interval says more."""


def deviate(x: np.ndarray) -> float:
    """Returns the normal deviate of `sum(x)` among all `sum(+-x)`, with its sign; 0 where all are 0."""
    total = float(x.sum())
    part = np.abs(x[x != 0])
    size = math.sqrt(float((part**2).sum()))
    if total == 0 or size == 0:
        return 0.0
    part, sought = part / size, abs(total) / size
    most = math.copysign(-float(special.ndtri_exp(-len(part) * math.log(2))), total)  # one sum of 2^n
    if sought >= float(part.sum()) * (1 - 1e-9):  # all have one sign: no sum is larger
        return most
    t = 0.0
    for _ in range(500):  # K' is concave: Newton's steps rise to its root and never pass it
        tanh = np.tanh(t * part)
        slope = float((part**2) @ (1 - tanh**2))
        if slope <= 0:
            return most
        step = (sought - float(part @ tanh)) / slope
        t += step
        if step <= 1e-10 * (1 + t):
            break
    cosh = t * part + np.log1p(np.exp(-2 * t * part)) - math.log(2)  # its logarithm
    w = math.sqrt(max(2 * (t * sought - float(cosh.sum())), 0.0))
    v = t * math.sqrt(float((part**2) @ (1 - np.tanh(t * part) ** 2)))
    if w < 0.01 or v == 0:
        return math.copysign(w, total) if v else most
    return math.copysign(w + math.log(v / w) / w, total)


def flip_interval(
    x: np.ndarray, share: np.ndarray, *, level: float, degrees: float, beside: float, all_degrees: float
) -> tuple[float, float, float]:
    """Returns the ends of the means that the parts `x` allow, and the two-sided p value of 0.

    What else varies is added as it is to a t interval: at a deviate z the flips reach as far from the mean as a t of
    `degrees` with the standard error e(z), and the whole reaches `t(all_degrees) sqrt(e(z)^2 + beside)`. Without any of
    it the flips stand alone.

    Args:
        x: What each cluster adds to the mean, `[cluster]`, at least `LEAST_PARTS`.
        share: The clusters' shares of the rows, `[cluster]`.
        level: Coverage, .999 at most.
        degrees: Of freedom, of a t interval over the clusters.
        beside: Variance of the mean from other sources.
        all_degrees: Of freedom, of a t interval over all.
    """
    mean = float(x.sum())
    width = math.sqrt(float(((x - mean * share) ** 2).sum()))

    def at(distance: float, side: int) -> float:
        return min(-side * deviate(x - (mean + side * distance) * share), _MOST)

    def reach(distance: float, z: float) -> float:
        tail = special.ndtr(-z)
        error = distance / -special.stdtrit(degrees, tail)
        return float(-special.stdtrit(all_degrees, tail)) * math.hypot(error, math.sqrt(beside))

    def half(side: int) -> float:
        limit = float(special.ndtri((1 + level) / 2))
        near, far = 0.0, 2 * width
        while at(far, side) < limit:
            near, far = far, 2 * far
        return reach(optimize.brentq(lambda d: at(d, side) - limit, near, far, xtol=1e-7 * width), limit)

    def p_value(side: int) -> float:
        near, far = 1e-3 * width, max(abs(mean), 2e-3 * width)
        if reach(near, at(near, side)) >= abs(mean):
            return 1.0
        while reach(far, at(far, side)) < abs(mean):
            far *= 1.1
        end = optimize.brentq(lambda d: reach(d, at(d, side)) - abs(mean), near, far, xtol=1e-7 * width)
        return 2 * float(special.ndtr(-at(end, side)))

    return mean - half(-1), mean + half(1), p_value(-1 if mean > 0 else 1)


_MOST = 30.0
"""Of deviates: beyond it the inverse of a t distribution of few degrees of freedom is infinite, with either sign."""
