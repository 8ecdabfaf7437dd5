"""What noise and missing modalities do to a fitted model's test score."""

from __future__ import annotations

from profuse.evaluate.robustness.curves import LEVELS, curve, effective, relative
from profuse.evaluate.robustness.missing import RATES, MissingCurve, missing_curve, subsets, subsets_scores, thinned
from profuse.evaluate.robustness.noise import noisy

__all__ = [
    "LEVELS",
    "RATES",
    "MissingCurve",
    "curve",
    "effective",
    "missing_curve",
    "noisy",
    "relative",
    "subsets",
    "subsets_scores",
    "thinned",
]
