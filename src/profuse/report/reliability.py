"""Whether probabilities are what they say: what happens, by bins of what was said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from profuse.comparison.proportion import wilson
from profuse.report import numbers
from profuse.report.figures import axis, stretched
from profuse.report.pooled import Pooled

__all__ = ["collect_reliability", "reliability_plot"]

_BINS = 10


def collect_reliability(pooled: Pooled, positive: str = "") -> dict[str, Any]:
    """Returns what was said and how often it was so, in ten bins: of the second of two classes, or of the answer.

    Args:
        pooled: Predictions.
        positive: What the second of two classes is called; empty where there are more.
    """
    binary = bool(positive)
    said = pooled.said if binary else pooled.said[:, 1]
    so = pooled.true == 1 if binary else pooled.true == pooled.said[:, 0]
    number = np.minimum((said * _BINS).astype(int), _BINS - 1)
    bins = []
    for k in range(_BINS):
        inside = number == k
        if n := int(inside.sum()):
            share = float(so[inside].mean())
            low, high = wilson(share, n * pooled.worth)
            bins.append({
                "from": k / _BINS, "to": (k + 1) / _BINS, "n": n, "said": float(said[inside].mean()), "share": share,
                "low": low, "high": high,
            })  # fmt: skip
    return {"bins": bins, "of": positive}


def reliability_plot(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the diagram: a dot and an interval for each bin, the number of predictions above it."""
    bins, shapes, rows = found["bins"], [], []
    most = max(b["n"] for b in bins)
    for b in bins:
        x, y, low, high = (round(100 * b[k], 2) for k in ("said", "share", "low", "high"))
        left, tall, wide = 100 * b["from"] + 0.6, 14 * b["n"] / most, 100 / _BINS - 1.2
        shapes += [
            f'<rect class="count" x="{left:.2f}%" width="{wide:.2f}%" y="{100 - tall:.2f}%" height="{tall:.2f}%"/>',
            f'<line class="range said" x1="{x}%" x2="{x}%" y1="{100 - low:.2f}%" y2="{100 - high:.2f}%"/>',
            f'<circle class="seen" cx="{x}%" cy="{100 - y:.2f}%" r="4.5"/>',
        ]
        rows.append({
            "bin": f"{100 * b['from']:.0f} to {100 * b['to']:.0f}\N{NO-BREAK SPACE}%", "n": f"{b['n']:,}",
            "said": numbers.score(b["said"], numbers.SHARE), "share": numbers.score(b["share"], numbers.SHARE),
            "interval": numbers.interval(b["low"], b["high"], numbers.SHARE),
        })  # fmt: skip
    shares = axis(0, 1, numbers.SHARE)
    return {
        "svg": stretched('<polyline class="frontier" points="0,100 100,0"/>') + Markup("".join(shapes)),
        "x": shares, "y": shares, "of": found["of"], "rows": rows,
        "counts": [{"at": 100 * b["from"] + 50 / _BINS, "text": numbers.short(b["n"])} for b in bins],
    }  # fmt: skip
