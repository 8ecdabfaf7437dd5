"""p values of several tests, corrected for how many they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p adjusted for how many there are: with the i-th smallest of n (from 0), the maximum of `(n - i) p`.

    Reference:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return [float(v) for v in adjusted]
