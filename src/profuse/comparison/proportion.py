"""`wilson`: the interval of a share."""

from __future__ import annotations

from statistics import NormalDist

__all__ = ["wilson"]


def wilson(p: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Returns the interval `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`, within 0 to 1.

    Args:
        p: The share that was seen.
        n: Independent units behind it, above 0.
        level: How often it is to hold the share that was drawn from, above 0 and below 1.

    Reference: Wilson, Journal of the American Statistical Association 22 (1927).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre, spread = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = ((centre + side * spread) / (1 + z**2 / n) for side in (-1, 1))
    return (max(0.0, min(p, low)), min(1.0, max(p, high)))  # of 0 and 1 an end is the share, up to rounding
