"""What the best fusion scores when it is fitted without a modality, beside what it loses when one is hidden later."""

from __future__ import annotations

from dataclasses import dataclass

from profuse.comparison.results import Results
from profuse.comparison.statistics import Estimate
from profuse.comparison.summary import Evidence, Summary

__all__ = ["LeftOut", "left_out"]


@dataclass(frozen=True)
class LeftOut:
    """The chosen fusion, fitted anew without one modality: same options, seeds and splits.

    Attributes:
        modality: The one that it never had.
        method: What results call it.
        score: On the test rows.
        loss: Score of the fusion with all modalities less this one, on the same rows and seeds. It is one of no family
            of comparisons, and nothing is corrected for it.
    """

    modality: str
    method: str
    score: Estimate
    loss: Estimate


def left_out(results: Results, summary: Summary) -> tuple[LeftOut, ...]:
    """Returns the chosen fusion without each modality, as far as it was fitted, by modality."""
    best = summary.verdict.fusion
    methods = [m for m in results.methods if m.role == "ablation"]
    if best is None or not methods:
        return ()
    evidence, whole = Evidence(results), results.method(best)
    answers = []
    for method in methods:
        loss = evidence.difference(best, method.name)
        (modality,) = set(whole.modalities) - set(method.modalities)
        if loss is not None:
            answers.append(LeftOut(modality, method.name, evidence.row(method).estimate, loss))
    return tuple(sorted(answers, key=lambda a: a.modality))
