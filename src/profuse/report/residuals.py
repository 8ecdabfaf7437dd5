"""Predicted numbers against true ones, and what is left of them: residuals, true less predicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy import stats

from profuse.report import numbers
from profuse.report.figures import residual_plot, stretched, ticks
from profuse.report.pooled import Pooled

__all__ = ["collect_residuals", "residual_plots"]

_TARGETS, _DOTS, _BINS, _FEWEST = 4, 500, 8, 20


def collect_residuals(pooled: Pooled, targets: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a sample of predictions of each target, how large errors are, and mean residuals by prediction."""
    found = []
    rows = np.sort(np.random.default_rng(0).permutation(len(pooled.true))[:_DOTS])
    for name, true, said in zip(targets[:_TARGETS], pooled.true.T, pooled.said.T.astype(np.float64), strict=False):
        left = true - said
        order = np.argsort(said, kind="stable")
        n_bins = max(1, min(_BINS, int(len(said) * pooled.worth) // _FEWEST))
        mean, low, high = _mean(left, pooled.worth)
        found.append({
            "target": name, "true": true[rows].tolist(), "predicted": said[rows].tolist(), "n": len(true),
            "mean": mean, "low": low, "high": high,
            "half": float(np.quantile(abs(left), 0.5)), "most": float(np.quantile(abs(left), 0.9)),
            "bins": [
                dict(zip(("mean", "low", "high"), _mean(left[i], pooled.worth), strict=True))
                | {"from": float(said[i[0]]), "to": float(said[i[-1]]), "n": len(i)}
                for i in np.array_split(order, n_bins)
            ],
        })  # fmt: skip
    return found


def _mean(values: np.ndarray, worth: float) -> tuple[float, float | None, float | None]:
    """Returns the mean with its 95 % interval, by Student's t with the number of independent units."""
    mean, units = float(values.mean()), len(values) * worth
    if units < 2:
        return mean, None, None
    half = float(stats.t.ppf(0.975, units - 1) * values.std(ddof=1) / math.sqrt(units))
    return mean, mean - half, mean + half


def residual_plots(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns both pictures of a target: predicted against true, and residuals against predicted."""
    predicted = np.asarray(found["predicted"])
    left = np.asarray(found["true"]) - predicted
    ends = [b[k] for b in found["bins"] for k in ("low", "high") if b[k] is not None]
    reach = 1.05 * max(abs(left).max(), *map(abs, ends), 0.0) or 1.0
    first, last = float(predicted.min()), float(predicted.max())
    pad = 0.03 * (last - first) or 1.0
    first, last = first - pad, last + pad

    def across(v: float) -> float:
        return min(max(100 * (v - first) / (last - first), 0.0), 100.0)

    def down(v: float) -> float:
        return 50 - 50 * v / reach

    dots = "".join(
        f'<circle cx="{across(x):.2f}%" cy="{down(y):.2f}%" r="2.6" class="dot"/>'
        for x, y in zip(predicted, left, strict=True)
    )
    steps = "".join(_step(b, across, down) for b in found["bins"])
    svg = stretched('<polyline class="frontier" points="0,50 100,50"/>') + Markup(dots) + stretched(steps)
    return {
        "target": found["target"], "n": f"{found['n']:,}", "n_drawn": f"{len(left):,}",
        "against": residual_plot(dict(found)),
        "left": {
            "svg": svg,
            "x": [{"at": round(across(v), 2), "text": numbers.amount(v)} for v in ticks(first, last, 4)],
            "y": [{"at": round(100 - down(v), 2), "text": numbers.amount(v)} for v in ticks(-reach, reach, 4)],
        },
        "mean": numbers.amount(found["mean"], sign=True),
        "interval": "not known" if found["low"] is None else " to ".join(
            numbers.amount(found[k], sign=True) for k in ("low", "high")
        ),
        "half": numbers.amount(found["half"]), "most": numbers.amount(found["most"]),
    }  # fmt: skip


def _step(b: Mapping[str, Any], across: Callable[[float], float], down: Callable[[float], float]) -> str:
    """Returns the mean residual of a bin as a line, with its interval as a band."""
    left, right = across(b["from"]), across(b["to"])
    line = f'<polyline class="curve" points="{left:.2f},{down(b["mean"]):.2f} {right:.2f},{down(b["mean"]):.2f}"/>'
    if b["low"] is None:
        return line
    low, high = down(b["low"]), down(b["high"])
    corners = f"{left:.2f},{low:.2f} {right:.2f},{low:.2f} {right:.2f},{high:.2f} {left:.2f},{high:.2f}"
    return f'<polygon class="band" points="{corners}"/>{line}'
