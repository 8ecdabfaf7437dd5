"""Pictures as SVG marks and HTML positions in percent: they stretch with the page and their text keeps its size.

Colours are CSS variables of the page (light, dark, print); each role has a shape besides its colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup, escape

from profuse.report import numbers
from profuse.report.labels import beside

__all__ = [
    "axis",
    "cost_plot",
    "curve_panels",
    "loss_plot",
    "mark",
    "measured_alike",
    "residual_plot",
    "score_plot",
    "stretched",
]

SHAPES = {
    "fusion": '<circle r="5.5"/>',
    "baseline": '<circle r="4.75" class="ring"/>',
    "portfolio": '<path d="M0-7.5L2-2.3L7.2-2.3L3 1L4.6 6.5L0 3.2L-4.6 6.5L-3 1L-7.2-2.3L-2-2.3Z"/>',
    "classical": '<path d="M0-7L7 0L0 7L-7 0Z"/>',
    "single": '<rect x="-5" y="-5" width="10" height="10"/>',
    "trivial": '<path d="M-5-5L5 5M-5 5L5-5" class="cross"/>',
}


def mark(role: str, x: float, y: float, title: str = "") -> Markup:
    """The shape of `role` at `x`, `y` in percent of the picture."""
    message = f"<title>{escape(title)}</title>" if title else ""
    return Markup(f'<svg x="{x:.2f}%" y="{y:.2f}%" class="mark {escape(role)}">{message}{SHAPES[role]}</svg>')


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """About `n` round numbers within `low` to `high`."""
    if not high > low:
        return [low]
    raw = (high - low) / n
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((s * power for s in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(rows: Sequence[dict[str, Any]], higher_is_better: bool) -> tuple[float, float]:
    """Where the methods lie; one far worse than all others (a failed fit, the trivial answer) does not squeeze them."""
    if not higher_is_better:
        ends = ({k: None if r[k] is None else -r[k] for k in ("value", "low", "high")} for r in rows)
        turned = [
            {**r, "value": e["value"], "low": e["high"], "high": e["low"]} for r, e in zip(rows, ends, strict=True)
        ]
        low, high = _range(turned, True)
        return -high, -low
    told = sorted((r for r in rows if r["role"] != "trivial"), key=lambda r: float(r["value"])) or list(rows)
    best, quarter = told[-1]["value"], told[len(told) // 4]["value"]
    inside = [r for r in told if r["value"] >= best - 5 * max(best - quarter, 0.01)]
    lows = [max(r["low"] if r["low"] is not None else r["value"], 2 * r["value"] - best - 0.1) for r in inside]
    low = min(lows)
    high = max(r["high"] if r["high"] is not None else r["value"] for r in inside)
    pad = max(0.04 * (high - low), 1e-3)
    return low - pad, high + pad


def axis(low: float, high: float, metric: str, n: int = 5) -> list[dict[str, Any]]:
    """Marks of an axis: where they are, in percent, and what they say."""

    def text(v: float) -> str:
        return f"{numbers.tick(100 * v)}\N{NO-BREAK SPACE}%" if metric in numbers.PERCENT else numbers.tick(v)

    return [{"at": round(100 * (v - low) / (high - low), 2), "text": text(v)} for v in ticks(low, high, n)]


def score_plot(collected: dict[str, Any], roles: dict[str, str]) -> dict[str, Any]:
    """Scores with intervals by method, grouped by role, many ways of fusing by family; the line is the chosen single.

    `keys` are the roles that are there, with their titles.
    """
    table, metric, higher = collected["table"], collected["metric"]["name"], collected["metric"]["higher_is_better"]
    low, high = _range(table, higher)

    def at(v: float) -> float:
        return min(max(100 * (v - low) / (high - low), 0.0), 100.0)

    chosen = [collected["verdict"][k] for k in ("fusion", "single", "classical")]
    reference = next((at(r["value"]) for r in table if r["name"] == collected["verdict"]["single"]), None)
    groups: list[dict[str, Any]] = []
    keys: list[dict[str, str]] = []
    for role, family, title in _groups(table, roles):
        rows = []
        for r in (r for r in table if r["role"] == role and family in (None, r["family"])):
            off = r["value"] < low if higher else r["value"] > high
            line = Markup()
            if r["low"] is not None and r["high"] is not None and not off:
                a, b = at(r["low"]), at(r["high"])
                line = Markup(f'<line class="range {role}" x1="{a:.2f}%" x2="{b:.2f}%" y1="50%" y2="50%"/>')
            shape = Markup() if off else mark(role, at(r["value"]), 50)
            rows.append({**r, "off": off, "svg": line + shape, "chosen": r["name"] in chosen})
        if rows:
            groups.append({"role": role, "title": title, "rows": rows})
            keys += [] if any(k["role"] == role for k in keys) else [{"role": role, "title": roles[role]}]
    groups.sort(key=lambda g: int(g["rows"][0]["rank"]))  # winners first, as in the table
    return {"groups": groups, "keys": keys, "ticks": axis(low, high, metric), "reference": reference}


def _groups(table: list[dict[str, Any]], roles: dict[str, str]) -> Iterator[tuple[str, str | None, str]]:
    """Yields role, family (None: all of them) and title of each group of rows."""
    for role, title in roles.items():
        families = list(dict.fromkeys(r["family"] for r in table if r["role"] == role))
        n_rows = sum(r["role"] == role for r in table)
        if role == "fusion" and len(families) > 1 and n_rows > _MANY:
            for family in sorted(families):
                yield role, family, f"{title}: {family.replace('_', '-')}"
        else:
            yield role, None, title


_MANY = 10
"""More ways of fusing than this are shown by family."""


def cost_plot(collected: dict[str, Any]) -> dict[str, Any] | None:
    """Fit seconds (log scale) against the score; the stepped line joins what nothing cheaper beats."""
    rows = [r for r in collected["table"] if r["role"] != "trivial" and (r["fit_seconds"] or 0) > 0]
    if len(rows) < 2:
        return None
    sign = 1 if collected["metric"]["higher_is_better"] else -1
    low, high = _range(rows, sign > 0)
    rows = [r for r in rows if (r["value"] >= low if sign > 0 else r["value"] <= high)]
    left, right = (f([math.log10(r["fit_seconds"]) for r in rows]) for f in (min, max))
    margin = max(0.06 * (right - left), 0.08)
    left, right = left - margin, right + margin

    def place(r: dict[str, Any]) -> tuple[float, float]:
        x = 100 * (math.log10(r["fit_seconds"]) - left) / (right - left)
        return x, 100 - 100 * (r["value"] - low) / (high - low)

    frontier: list[dict[str, Any]] = []
    for r in sorted(rows, key=lambda r: (r["fit_seconds"], -sign * r["value"])):
        if not frontier or sign * r["value"] > sign * frontier[-1]["value"]:
            frontier.append(r)
    steps: list[tuple[float, float]] = []
    for k, r in enumerate(frontier):
        x, y = place(r)
        steps += [(x, steps[-1][1]), (x, y)] if k else [(x, y)]
    steps.append((100.0, steps[-1][1]))
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in steps)
    told = [(r, *place(r)) for r in rows]
    points = [(r["label"], str(r["rank"]), x, y) for r, x, y in told]
    shapes = [
        mark(r["role"], x, y, f"{r['rank']}. {r['label']}: {numbers.score(r['value'], collected['metric']['name'])}, "
             f"{numbers.duration(r['fit_seconds'])}") for r, x, y in told
    ]  # fmt: skip
    return {
        "svg": stretched(f'<polyline class="frontier" points="{line}"/>') + Markup("").join(shapes),
        "labels": beside(points, width=560, height=320, names=True),
        "narrow": beside(points, width=270, height=320, names=False),
        "x": _time_axis(left, right),
        "y": [{**t, "at": t["at"]} for t in axis(low, high, collected["metric"]["name"])],
        "frontier": frontier,
    }


def _time_axis(left: float, right: float) -> list[dict[str, Any]]:
    steps = (1, 2, 5) if right - left < 1.6 else (1, 3) if right - left < 2.6 else (1,)
    powers = range(math.floor(left), math.ceil(right) + 1)
    values = [s * 10.0**p for p in powers for s in steps if left <= math.log10(s * 10.0**p) <= right]
    return [{"at": round(100 * (math.log10(v) - left) / (right - left), 2), "text": _seconds(v)} for v in values]


def _seconds(v: float) -> str:
    return (
        f"{v * 1000:g}\N{NO-BREAK SPACE}ms"
        if v < 0.1
        else f"{v:g}\N{NO-BREAK SPACE}s"
        if v < 1000
        else numbers.duration(v)
    )


def stretched(inside: str) -> Markup:
    """Lines in a 100 x 100 box that fills the picture, whatever its shape; their width does not stretch."""
    return Markup(f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" class="fill">{inside}</svg>')


def curve_panels(collected: dict[str, Any]) -> list[dict[str, Any]]:
    """One panel a method: training and validation loss by epoch, a thin line a seed; one loss axis for all panels.

    That of training is measured as that of validation is, where results have that; in older ones it is of the steps.
    """
    panels = collected["curves"]
    points = [p for c in panels for s in c["seeds"] for p in s]
    if not points:
        return []
    of_train = 4 if measured_alike(collected) else 1
    losses = [v for p in points for v in (p[of_train], p[2]) if v is not None]
    ordered = sorted(losses)
    low, high = ordered[0], ordered[min(int(0.985 * len(ordered)), len(ordered) - 1)]  # the first steps may be huge
    high = high if high > low else low + 1.0
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    last = max(p[0] for p in points)
    first = min(p[0] for p in points)

    def line(seed: list[list[float | None]], column: int, name: str) -> str:
        pairs = [
            f"{100 * ((p[0] or 0) - first) / max(last - first, 1):.2f},{100 * (high - min(v, high)) / (high - low):.2f}"
            for p in seed
            if (v := p[column]) is not None
        ]
        if len(pairs) == 1:  # a mark, where there is no line
            x, y = pairs[0].split(",")
            pairs = [f"{max(0.0, float(x) - 2):.2f},{y}", f"{min(100.0, float(x) + 2):.2f},{y}"]
        return f'<polyline class="{name}" points="{" ".join(pairs)}"/>' if pairs else ""

    y = [{"at": round(100 * (v - low) / (high - low), 2), "text": numbers.tick(v)} for v in ticks(low, high, 4)]
    x = [
        {"at": round(100 * (v - first) / max(last - first, 1), 2), "text": f"{v:g}"}
        for v in ticks(first, last, 3)
        if v == int(v)
    ]
    results = []
    for c in panels:
        lines = "".join(line(s, of_train, "train") for s in c["seeds"]) + "".join(
            line(s, 2, "valid") for s in c["seeds"]
        )
        epochs = [max(p[0] for p in s) for s in c["seeds"]]  # epoch 0 is the untrained model
        results.append(
            {"label": c["label"], "svg": stretched(lines), "x": x, "y": y, "epochs": (min(epochs), max(epochs))}
        )
    return results


def measured_alike(collected: dict[str, Any]) -> bool:
    """Whether losses of training and validation rows are of one measure."""
    return any(p[4] is not None for c in collected["curves"] for s in c["seeds"] for p in s if len(p) > 4)


def residual_plot(sample: dict[str, Any]) -> dict[str, Any]:
    """Predicted against true; the line is a perfect prediction."""
    both = [*sample["true"], *sample["predicted"]]
    low, high = float(min(both)), float(max(both))
    pad = 0.03 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def at(v: float) -> float:
        return 100 * (v - low) / (high - low)

    dots = "".join(
        f'<circle cx="{at(t):.2f}%" cy="{100 - at(p):.2f}%" r="2.6" class="dot"/>'
        for t, p in zip(sample["true"], sample["predicted"], strict=True)
    )
    axis = [{"at": round(at(v), 2), "text": numbers.tick(v)} for v in ticks(low, high, 4)]
    return {
        **sample,
        "svg": stretched('<polyline class="frontier" points="0,100 100,0"/>') + Markup(dots),
        "x": axis,
        "y": axis,
    }


def loss_plot(ablation: dict[str, Any]) -> dict[str, Any]:
    """What a modality's absence costs: a bar to the mean, a dot for each seed; hidden later, and never there."""
    bars: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
        (part, kind, values)
        for part in ablation["parts"]
        for kind, values in (("hidden", part), ("trained", part["trained"]))
        if values is not None
    ]
    losses = [v for _, _, values in bars for v in values["losses"]]
    low, high = float(min(0.0, *losses)), float(max(0.0, *losses))
    high = high if high > low else low + 0.01
    low, high = low - (0.04 * (high - low) if low < 0 else 0.0), high + 0.04 * (high - low)

    def at(v: float) -> float:
        return 100 * (v - low) / (high - low)

    rows = []
    for part, kind, values in bars:
        a, b = sorted((at(0.0), at(values["mean"])))
        bar = f'<rect class="bar {kind}" x="{a:.2f}%" width="{b - a:.2f}%" y="22%" height="56%"/>'
        dots = "".join(f'<circle class="seed {kind}" cx="{at(v):.2f}%" cy="50%" r="3"/>' for v in values["losses"])
        svg = Markup(bar + (dots if len(values["losses"]) > 1 else ""))
        rows.append({**values, "modality": part["modality"], "kind": kind, "svg": svg})
    share = ablation["metric"] in numbers.PERCENT
    axis = [{"at": round(at(v), 2), "text": numbers.tick(100 * v if share else v)} for v in ticks(low, high, 4)]
    return {"rows": rows, "zero": at(0.0), "ticks": axis, "unit": "points lost" if share else "lost"}
