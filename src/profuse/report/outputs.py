"""What the recommended model says of the test rows: thresholds, reliability, residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profuse.comparison.results import Results
from profuse.comparison.summary import Summary
from profuse.report.pooled import Pooled
from profuse.report.reliability import collect_reliability, reliability_plot
from profuse.report.residuals import collect_residuals, residual_plots
from profuse.report.thresholds import collect_thresholds, threshold_plots

__all__ = ["collect_outputs", "output_plots"]


def collect_outputs(results: Results, summary: Summary, labels: Mapping[str, str]) -> dict[str, Any] | None:
    """Returns what is drawn of the predictions of the method that is shown; None where none are kept."""
    pooled, facts = Pooled.of(results, summary), results.dataset
    if pooled is None:
        return None
    found: dict[str, Any] = {"method": labels[pooled.method], **pooled.told()}
    if facts.task == "regression":
        return found | {"residuals": collect_residuals(pooled, facts.target_names)}
    binary = facts.task == "binary"
    thresholds = collect_thresholds(pooled, facts.classes) if binary else None
    return found | {
        "thresholds": thresholds,
        "reliability": collect_reliability(pooled, facts.classes[1] if binary else ""),
    }


def output_plots(found: Mapping[str, Any] | None, target: str) -> dict[str, Any] | None:
    """Returns the pictures of what was collected."""
    if found is None:
        return None
    thresholds, reliability = found.get("thresholds"), found.get("reliability")
    return {
        **found,
        "thresholds": thresholds and threshold_plots(thresholds, target),
        "reliability": reliability and reliability_plot(reliability),
        "residuals": [residual_plots(r) for r in found.get("residuals", ())],
    }
