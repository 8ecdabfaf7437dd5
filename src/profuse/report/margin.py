"""Whether a gain is shown not to matter."""

from __future__ import annotations

from profuse.comparison.metric import metric_of
from profuse.comparison.results import Results
from profuse.comparison.summary import Verdict
from profuse.report import numbers

__all__ = ["margin_set", "within_margin"]

_USUAL = 0.01


def margin_set(results: Results) -> float | None:
    """Returns the margin of what does not matter, where it is another one than the usual."""
    margin = float(results.config.get("margin", _USUAL))
    return None if margin == _USUAL else margin


def within_margin(results: Results, verdict: Verdict) -> str:
    """Returns "within 1 point" where the whole interval of the gain lies in the margin of what does not matter."""
    metric, margin = metric_of(results), float(results.config.get("margin", _USUAL))
    if verdict.gain is None or metric.range[1] - metric.range[0] > 1.0:
        return ""
    e = verdict.gain.estimate
    if not -margin < e.low <= e.high < margin:
        return ""
    unit = numbers.unit(metric.name, metric.label)
    return f"within {numbers.difference(margin, metric.name, sign=False)}{unit}"
