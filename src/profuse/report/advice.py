"""What to do: which model to use, what speaks for it, and how many rows would tell more; and the picture of that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from profuse.comparison.metric import metric_of
from profuse.comparison.recommended import recommended
from profuse.comparison.results import Results
from profuse.comparison.statistics import Estimate
from profuse.comparison.summary import Evidence, Summary
from profuse.report import numbers
from profuse.report.figures import axis, mark
from profuse.report.margin import margin_set, within_margin

__all__ = ["advice", "collect_gains", "gain_plot", "rows_to_show"]

_WORTH = 0.02  # of a share or a correlation: a gain that is worth showing, where no margin is set


def rows_to_show(estimate: Estimate, gain: float) -> int | None:
    """Returns about how many test rows would show a gain: those whose interval is as wide as the gain to either side.

    Intervals shrink with the square root of the rows (of the groups, where there are some, by as many as now), as far
    as fits do not differ much by themselves.
    """
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half) or half <= 0 or not estimate.n_rows:
        return None
    return math.ceil(estimate.n_rows * (half / gain) ** 2)


def advice(results: Results, summary: Summary, labels: Mapping[str, str]) -> str:
    """Returns what to do, in two or three sentences."""
    v, metric = summary.verdict, metric_of(results)
    use = recommended(results, summary)
    if use is None:
        why = "none is shown to beat always giving the same answer"
        return f"Use none of these models yet: {why}. {_more_rows(results, summary)}".strip()
    e = summary.row(use).estimate
    text = f"Use {labels[use]}: {numbers.score(e.value, metric.name)} {metric.label}"
    against = next((c.estimate for c in summary.comparisons if (c.method, c.against) == (use, v.single)), None)
    if against is not None and v.single is not None:
        ends = numbers.interval(against.low, against.high, metric.name, of_difference=True)
        gain = numbers.difference(against.value, metric.name) + numbers.unit(metric.name, metric.label)
        text += f", {gain} against {labels[v.single]} ({ends})"
    text += "."
    if v.helps == "not shown" and use == v.single and v.fusion:
        if within_margin(results, v):
            text += " It is the simplest, and fusing makes no difference that matters."
        else:
            more = _more_rows(results, summary)
            text += f" It is the simplest: these rows do not tell whether fusing gains anything. {more}"
    elif use not in (v.fusion, v.single, v.classical) and results.method(use).role != "portfolio" and v.fusion:
        text += f" Validation rows preferred {labels[v.fusion]}, which is not shown to gain anything."
    elif v.helps == "no" and use == v.single:
        text += " Fusing the modalities makes it worse."
    elif use == v.classical and v.classical_gain is not None:
        lost = numbers.difference(abs(v.classical_gain.estimate.value), metric.name, sign=False) + numbers.unit(
            metric.name, metric.label
        )
        text += f" It is {lost} better than the best deep fusion, {labels[v.fusion or '']}."
    return text.strip()


def _more_rows(results: Results, summary: Summary) -> str:
    """Returns how many rows would show a gain that matters, or that too little is left to gain."""
    v, metric = summary.verdict, metric_of(results)
    if v.gain is None or metric.range[1] - metric.range[0] > 1.0:
        return ""
    gain = margin_set(results) or _WORTH
    n = rows_to_show(v.gain.estimate, gain)
    if n is None or n <= v.gain.estimate.n_rows:
        return ""
    worth = numbers.difference(gain, metric.name, sign=False) + numbers.unit(metric.name, metric.label)
    single = summary.row(v.single or "")
    if abs(metric.range[metric.higher_is_better] - single.estimate.value) < gain:
        return f"No rows could show a gain of {worth}: {single.method.label} leaves less than that to gain."
    rounded = round(n, -max(0, len(str(n)) - 2))
    return f"To show a gain of {worth}, about {rounded:,} test rows are needed; there are {v.gain.estimate.n_rows:,}."


def collect_gains(results: Results, summary: Summary, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns what the methods that were chosen gain over the best single modality, and other modalities lose.

    Of each other modality the one model that validation rows prefer. Intervals are of one comparison by itself;
    `shown` is corrected, for those about which something is claimed.
    """
    v, evidence = summary.verdict, Evidence(results)
    if v.single is None:
        return []
    together = [m.name for m in results.methods if m.role == "portfolio"]
    chosen = [m for m in (*together, v.fusion, v.classical) if m is not None]
    best: dict[str, str] = {}
    sign = 1 if metric_of(results).higher_is_better else -1
    alone = [r for r in summary.rows if r.method.role == "single"]
    for row in sorted(alone, key=lambda r: -math.inf if r.valid is None else -sign * r.valid):
        best.setdefault("\0".join(row.method.modalities), row.method.name)
    taken = next((key for key, name in best.items() if name == v.single), None)
    others = [name for key, name in best.items() if key != taken and name != v.single]
    claims = {c.method: c.shown for c in summary.comparisons if c.against == v.single}
    rows = []
    for name in dict.fromkeys((*chosen, *others)):
        e = evidence.difference(name, v.single)
        if e is not None:
            ends = [end if math.isfinite(end) else None for end in (e.low, e.high)]
            rows.append(
                {
                    "name": name, "label": labels[name], "role": results.method(name).role, "value": e.value,
                    "low": ends[0], "high": ends[1], "shown": claims.get(name, ""), "chosen": name in chosen,
                }
            )  # fmt: skip
    return rows


def gain_plot(gains: list[dict[str, Any]], single: str, metric: str) -> dict[str, Any] | None:
    """Gains over the best single modality on one axis with 0: a mark and an interval each."""
    if not gains:
        return None
    ends = [0.0, *(v for g in gains for v in (g["value"], g["low"], g["high"]) if v is not None)]
    low, high = min(ends), max(ends)
    pad = 0.05 * (high - low or 1e-3)
    low, high = low - pad, high + pad

    def at(v: float) -> float:
        return float(round(100 * (v - low) / (high - low), 2))

    rows = []
    for g in sorted(gains, key=lambda g: (not g["chosen"], 0.0 if g["chosen"] else -g["value"])):
        line = Markup()
        if g["low"] is not None and g["high"] is not None:
            line = Markup('<line class="range {}" x1="{}%" x2="{}%" y1="50%" y2="50%"/>').format(
                g["role"], at(g["low"]), at(g["high"])
            )
        rows.append({**g, "svg": line + mark(g["role"], at(g["value"]), 50)})
    ticks = axis(low, high, metric)
    return {"rows": rows, "ticks": ticks, "zero": at(0.0), "single": single}
