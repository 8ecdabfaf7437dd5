"""`recommended`: the method to use; `shown_method`: the one whose predictions a report shows."""

from __future__ import annotations

from profuse.comparison.results import Results
from profuse.comparison.summary import Summary

__all__ = ["recommended", "shown_method"]


def recommended(results: Results, summary: Summary) -> str | None:
    """Returns the method to use; None where none is shown to have learned anything.

    The portfolio, unless one of what it is held against is shown to be better. Else the best classical model where it
    is shown to be better than the best fusion, the best fusion where it is shown to be better than the best single
    modality, and else that, as the simplest. All were chosen by validation rows.
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
    return v.fusion if v.helps == "yes" else v.single or v.fusion


def shown_method(results: Results, summary: Summary) -> str | None:
    """Returns the method that is recommended, or else the best fusion, single modality or classical model."""
    v = summary.verdict
    return recommended(results, summary) or v.fusion or v.single or v.classical
