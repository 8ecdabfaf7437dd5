"""What is left of a method where modalities are missing: in words, by share that is gone, and by what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from profuse.comparison.metric import metric_of
from profuse.comparison.results import HiddenScore, Results
from profuse.report import numbers
from profuse.report.figures import axis, mark, stretched

__all__ = ["collect_hidden", "gap_plot", "hidden_in_words", "subset_plot"]

_HALF = 0.5
_MOST_SUBSETS = 16
_ASIDE = 1.4  # percent of the picture between curves, so that no interval covers another


def collect_hidden(results: Results, labels: Mapping[str, str]) -> dict[str, Any] | None:
    """Returns scores by the share of modalities that is missing, for each method, and by subset, for the first."""
    if not results.hidden:
        return None
    roles, sign = {m.name: m.role for m in results.methods}, 1 if metric_of(results).higher_is_better else -1
    names = list(dict.fromkeys(h.method for h in results.hidden))
    curves = []
    for name in names:
        of = sorted((h for h in results.hidden if h.method == name and h.rate is not None), key=lambda h: h.rate or 0)
        if len(of) > 1:
            curves.append({"label": labels[name], "role": roles[name], "points": [_point(h) for h in of]})
    several = [h for h in results.hidden if h.method == names[0] and h.rate in (None, 0.0)]
    several.sort(key=lambda h: (h.rate is None, -sign * h.value))
    kept = several if len(several) <= _MOST_SUBSETS else [*several[: _MOST_SUBSETS - 4], *several[-4:]]
    modalities = sorted({m for h in several for m in h.shown})
    rows = [{"shown": h.shown, **_ends(h)} for h in kept]
    return {
        "curves": curves, "method": labels[names[0]], "role": roles[names[0]], "modalities": modalities,
        "subsets": rows, "left_out": len(several) - len(kept), "n_rows": max(h.n_rows for h in results.hidden),
        "some": max(h.n_rows for h in results.hidden) < results.dataset.n_test,
    }  # fmt: skip


def _ends(h: HiddenScore) -> dict[str, Any]:
    return {"value": h.value, "low": h.low, "high": h.high}


def _point(h: HiddenScore) -> dict[str, Any]:
    return {"rate": h.rate, "reached": h.reached or 0.0, **_ends(h)}


def hidden_in_words(hidden: Mapping[str, Any], metric: str, higher_is_better: bool) -> str:
    """Returns what half of all modalities missing costs each method, and what the first cannot do without."""
    parts = []
    for curve in hidden["curves"]:
        point = min(curve["points"], key=lambda p: abs(p["reached"] - _HALF))
        whole = curve["points"][0]
        if point["reached"] > 0:
            parts.append(
                f"{curve['label']} falls from {numbers.score(whole['value'], metric)} to "
                f"{numbers.score(point['value'], metric)} when {100 * point['reached']:.0f} % of all modalities are "
                "missing at random"
            )
    first, *others = parts or [""]
    text = f"{first[:1].upper()}{first[1:]}" + "".join(f"; {other.split(' when ')[0]}" for other in others)
    text += "." if text else ""
    without = [
        (row, set(hidden["modalities"]) - set(row["shown"]))
        for row in hidden["subsets"]
        if len(row["shown"]) == len(hidden["modalities"]) - 1
    ]
    if without:
        sign = 1 if higher_is_better else -1
        worst, gone = min(without, key=lambda pair: sign * pair[0]["value"])
        text += (
            f" What it can least do without is {next(iter(gone))}: {numbers.score(worst['value'], metric)} is left of "
            f"{hidden['method']}."
        )
    return text.strip()


def gap_plot(hidden: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """Scores against the share of modalities that is missing: a line a method, with intervals."""
    points = [p for curve in hidden["curves"] for p in curve["points"]]
    if not points:
        return None
    low, high = _range(points)
    last = max(p["reached"] for p in points) or 1.0

    def place(p: Mapping[str, Any], key: str = "value", aside: float = 0.0) -> tuple[float, float]:
        y = 100 * (high - float(p[key])) / (high - low)
        return 100 * p["reached"] / last + aside, min(max(y, 0.0), 100.0)

    lines, marks = Markup(), Markup()
    for k, curve in enumerate(hidden["curves"]):
        aside = _ASIDE * (k - (len(hidden["curves"]) - 1) / 2)
        path = " ".join("{:.2f},{:.2f}".format(*place(p, aside=aside)) for p in curve["points"])
        lines += Markup(f'<polyline class="gap {curve["role"]}" points="{path}"/>')
        for p in curve["points"]:
            x, y = place(p, aside=aside)
            if p["low"] is not None and p["high"] is not None:
                (_, a), (_, b) = place(p, "low"), place(p, "high")
                marks += Markup(
                    f'<line class="range {curve["role"]}" x1="{x:.2f}%" x2="{x:.2f}%" y1="{a:.2f}%" y2="{b:.2f}%"/>'
                )
            title = f"{curve['label']}: {numbers.score(p['value'], metric)}, {100 * p['reached']:.0f} % missing"
            marks += mark(curve["role"], x, y, title)
    shares = [s for s in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7) if s <= last + 1e-9]
    return {
        "svg": stretched(str(lines)) + marks,
        "x": [{"at": round(100 * s / last, 2), "text": f"{100 * s:.0f}\N{NO-BREAK SPACE}%"} for s in shares],
        "y": axis(low, high, metric),
    }  # fmt: skip


def subset_plot(hidden: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """One row for each subset of the modalities, best first: which are shown, and the score with its interval."""
    low, high = _range(hidden["subsets"])

    def at(v: float) -> float:
        return min(max(100 * (v - low) / (high - low), 0.0), 100.0)

    rows = []
    for row in hidden["subsets"]:
        line = Markup()
        if row["low"] is not None and row["high"] is not None:
            a, b = at(row["low"]), at(row["high"])
            line = Markup(f'<line class="range {hidden["role"]}" x1="{a:.2f}%" x2="{b:.2f}%" y1="50%" y2="50%"/>')
        there = [m in row["shown"] for m in hidden["modalities"]]
        svg = line + mark(hidden["role"], at(row["value"]), 50)
        rows.append(
            {**row, "name": _subset(row["shown"], hidden["modalities"]), "all": all(there), "there": there, "svg": svg}
        )
    return {"rows": rows, "ticks": axis(low, high, metric), "reference": at(rows[0]["value"])}


def _subset(shown: Sequence[str], modalities: Sequence[str]) -> str:
    """Returns what a subset is called: of many modalities by the few that it lacks."""
    absent = [m for m in modalities if m not in shown]
    if not absent:
        return "all"
    return f"all but {' and '.join(absent)}" if len(absent) < 3 < len(shown) else " + ".join(shown)


def _range(points: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    values = [v for p in points for v in (p["value"], p["low"], p["high"]) if v is not None]
    low, high = min(values), max(values)
    pad = max(0.04 * (high - low), 1e-3)
    return low - pad, high + pad
