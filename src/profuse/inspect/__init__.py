"""What noise and missing modalities do to a fitted model's test score."""

from __future__ import annotations

from profuse.inspect.curves import LEVELS, curve, effective, relative
from profuse.inspect.missing import RATES, MissingCurve, drop_modalities, missing_curve, subsets, subsets_scores
from profuse.inspect.noise import corrupt

__all__ = [
    "LEVELS",
    "RATES",
    "MissingCurve",
    "corrupt",
    "curve",
    "drop_modalities",
    "effective",
    "missing_curve",
    "relative",
    "subsets",
    "subsets_scores",
]
