"""Scores over rows: a picture on a logarithmic axis, and whether more rows are likely to help, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from profuse.comparison.metric import metric_of
from profuse.comparison.results import Results
from profuse.report import numbers
from profuse.report.figures import axis, mark, stretched

__all__ = ["collect_learning", "learning_in_words", "learning_plot"]

_ASIDE = 0.7  # percent of the picture between curves, so that no interval covers another


def collect_learning(results: Results, labels: Mapping[str, str]) -> dict[str, Any] | None:
    """Returns a curve for each method, and what the last doubling of the rows brought."""
    of = results.learning
    if of is None or not of.points:
        return None
    roles = {m.name: m.role for m in results.methods}
    names = list(dict.fromkeys(p.method for p in of.points))
    return {
        "curves": [
            {
                "label": labels[n], "role": roles[n],
                "points": [p.model_dump(exclude={"method"}) for p in of.points if p.method == n],
            }
            for n in names
        ],
        "gains": [{**g.model_dump(), "method": labels[g.method], "against": labels[g.against]} for g in of.gains],
        "doublings": [{**g.model_dump(exclude={"against"}), "method": labels[g.method]} for g in of.doublings],
        "margin": _margin(results),
    }  # fmt: skip


def _margin(results: Results) -> float | None:
    """Returns below which gain a difference does not matter; None of a metric that has no scale of its own."""
    metric = metric_of(results)
    return float(results.config.get("margin", 0.01)) if metric.range[1] - metric.range[0] <= 1.0 else None


def learning_in_words(learning: Mapping[str, Any], metric: str) -> str:
    """Returns whether more rows are likely to help the first method, and from how many rows on it is ahead."""
    first = learning["curves"][0]
    told = []
    for doubling in learning["doublings"][:1]:
        told.append(_doubling(first, doubling, learning["margin"], metric))
    for other in learning["curves"][1:]:
        gains = [g for g in learning["gains"] if g["against"] == other["label"]]
        if gains:
            told.append(_ahead(first, other["label"], gains))
    return " ".join(told)


def _doubling(first: Mapping[str, Any], gain: Mapping[str, Any], margin: float | None, metric: str) -> str:
    rows = {p["share"]: _rows(p["n_train"]) for p in first["points"]}
    low, high = gain["low"], gain["high"]
    if low is None or high is None:
        verdict = "how sure that is cannot be told"
    elif low > 0:
        verdict = "more rows are likely to help"
    elif margin is not None and high < margin:
        verdict = "more rows are not likely to help by as much as matters"
    elif high < 0:
        verdict = "more rows are not likely to help"
    else:
        verdict = "whether more rows would help is not shown"
    span = "" if low is None or high is None else f" ({numbers.interval(low, high, metric, of_difference=True)})"
    return (
        f"From {rows[0.5]} to {rows[1.0]} training rows {gain['method']} gained "
        f"{numbers.difference(gain['value'], metric)}{span}: {verdict}."
    )


def _ahead(first: Mapping[str, Any], other: str, gains: list[Mapping[str, Any]]) -> str:
    """Gains are by share, the smallest first; it is ahead from where all that follow are above 0."""
    rows = {p["share"]: _rows(p["n_train"]) for p in first["points"]}
    ahead = _from(gains, lambda g: g["value"] > 0)
    if ahead is None:
        return f"It is not ahead of {other} with all rows."
    sure = _from(gains, lambda g: g["low"] is not None and g["low"] > 0)
    text = f"It is ahead of {other} {'at every size' if ahead == gains[0]['share'] else f'from {rows[ahead]} rows on'}"
    if sure is None:
        return f"{text}, which is not shown at any."
    return f"{text}, and its interval is above 0 {'there' if sure == ahead else f'from {rows[sure]} on'}."


def _from(gains: list[Mapping[str, Any]], holds: Any) -> float | None:
    share = None
    for gain in reversed(gains):
        if not holds(gain):
            break
        share = float(gain["share"])
    return share


def _rows(n: float) -> str:
    return f"{round(n):,}"


def learning_plot(learning: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Scores against training rows, doubled from mark to mark: a line a method, with intervals."""
    points = [p for curve in learning["curves"] for p in curve["points"]]
    values: list[float] = [v for p in points for v in (p["value"], p["low"], p["high"]) if v is not None]
    low, high = min(values), max(values)
    middle: list[float] = [p["value"] for p in points]
    most = 3 * (max(middle) - min(middle) or high - low or 1.0)  # an interval of few seeds must not squeeze the rest
    low, high = max(low, min(middle) - most), min(high, max(middle) + most)
    pad = max(0.04 * (high - low), 1e-3)
    low, high = low - pad, high + pad
    sizes = [math.log2(float(p["n_train"])) for p in points]
    least, last = min(sizes), max(sizes)

    def x_of(p: Mapping[str, Any]) -> float:
        n_train = float(p["n_train"])
        return 4 + 92 * (math.log2(n_train) - least) / max(last - least, 1e-9)

    def y_of(value: float) -> float:
        return min(max(100 * (high - value) / (high - low), 0.0), 100.0)

    lines, marks = Markup(), Markup()
    for k, curve in enumerate(learning["curves"]):
        aside, role = _ASIDE * (k - (len(learning["curves"]) - 1) / 2), curve["role"]
        path = " ".join(f"{x_of(p) + aside:.2f},{y_of(p['value']):.2f}" for p in curve["points"])
        lines += Markup('<polyline class="gap {}" points="{}"/>').format(role, path)
        for p in curve["points"]:
            x = x_of(p) + aside
            if p["low"] is not None and p["high"] is not None:
                marks += Markup('<line class="range {}" x1="{:.2f}%" x2="{:.2f}%" y1="{:.2f}%" y2="{:.2f}%"/>').format(
                    role, x, x, y_of(p["low"]), y_of(p["high"])
                )
            title = f"{curve['label']}: {numbers.score(p['value'], metric)} with {_rows(p['n_train'])} training rows"
            marks += mark(role, x, y_of(p["value"]), title)
    ticks = {p["share"]: p for p in points}
    return {
        "svg": stretched(str(lines)) + marks,
        "x": [{"at": round(x_of(p), 2), "text": _rows(p["n_train"])} for _, p in sorted(ticks.items())],
        "y": axis(low, high, metric),
    }
