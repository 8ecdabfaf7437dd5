"""`recommended`: the method to use; `shown_method`: the one whose predictions a report shows."""

from __future__ import annotations

import math

from profuse.comparison.metric import metric_of
from profuse.comparison.results import Results
from profuse.comparison.summary import Summary

__all__ = ["recommended", "shown_method"]


def recommended(results: Results, summary: Summary) -> str | None:
    """Returns the method to use; None where none is shown to have learned anything.

    The portfolio, unless one of what it is held against is shown to be better. Else the best classical model where it
    is shown to be better than the best fusion, the best fusion where it is shown to be better than the best single
    modality, and else that, as the simplest. All were chosen by validation rows. Where another way of fusing, or
    another model on all features, is shown to be better than the single modality (corrected for all that were held
    against it), then of those the one that validation rows prefer.
    """
    v = summary.verdict
    held = [c for c in summary.comparisons if c.kind == "portfolio"]
    together = next((m.name for m in results.methods if m.role == "portfolio"), None)
    if together is not None and held and not any(c.shown == "worse" for c in held):
        return together
    if not v.learned and v.trivial_gain is not None:
        learned = (c.method for c in summary.comparisons if c.kind == "trivial" and c.shown == "better")
        return next((m for m in learned if m in (v.single, v.classical)), None)
    if v.classical_gain is not None and v.classical_gain.shown == "worse":
        return v.classical
    if v.helps == "yes" or v.single is None:
        return v.fusion
    better = {c.method for c in summary.comparisons if c.kind == "single" and c.shown == "better"}
    sign = 1 if metric_of(results).higher_is_better else -1
    rows = [r for r in summary.rows if r.method.name in better]
    return max(rows, key=lambda r: -math.inf if r.valid is None else sign * r.valid).method.name if rows else v.single


def shown_method(results: Results, summary: Summary) -> str | None:
    """Returns the method that is recommended, or else the best fusion, single modality or classical model."""
    v = summary.verdict
    return recommended(results, summary) or v.fusion or v.single or v.classical
