"""ROC and precision-recall curves of the second of two classes, and what each threshold makes of the test rows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from profuse.comparison.proportion import wilson
from profuse.report import numbers
from profuse.report.figures import axis, stretched
from profuse.report.pooled import Pooled

__all__ = ["collect_thresholds", "threshold_plots"]

DEFAULT = 0.5
_HUNDREDTHS = [k / 100 for k in range(1, 100)]
_SMALL = [k * 10.0**-power for power in (4, 3) for k in (1, 2, 3, 5, 7)]
OFFERED = [round(t, 6) for t in (*_SMALL, *_HUNDREDTHS, *(1 - t for t in _SMALL[::-1]))]
"""Thresholds that a reader may choose; rounded, so that what is passed on is what is shown."""
TOLD = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
_POINTS = 120  # of a curve, for each unit of its two shares


def collect_thresholds(pooled: Pooled, classes: Sequence[str]) -> dict[str, Any] | None:
    """Returns counts behind the curves, over all fits; None where the test rows are of one class."""
    true, said = pooled.true == 1, pooled.said
    n_positive = int(true.sum())
    if not 0 < n_positive < len(true):
        return None
    fits = np.unique(pooled.fit)
    by_fit = [_curve(true[pooled.fit == f], said[pooled.fit == f]) for f in fits] if len(fits) > 1 else []
    at = [[t, int((true & (said >= t)).sum()), int((~true & (said >= t)).sum())] for t in OFFERED]
    return {
        "negative": classes[0], "positive": classes[1], "n_positive": n_positive, "n_negative": len(true) - n_positive,
        "worth": pooled.worth, "curve": _curve(true, said), "by_fit": [c for c in by_fit if c], "at": at,
    }  # fmt: skip


def _curve(true: np.ndarray, said: np.ndarray) -> list[list[int]]:
    """Returns true and false positives from the highest threshold to the lowest, of a long curve some."""
    n_positive, n = int(true.sum()), len(true)
    if not 0 < n_positive < n:
        return []
    order = np.argsort(-said, kind="stable")
    last = np.flatnonzero(np.append(np.diff(said[order]) != 0, True))
    hits = np.cumsum(true[order])[last]
    false = last + 1 - hits
    along = hits / n_positive + false / (n - n_positive)
    kept = np.append(np.diff(np.floor(along * _POINTS)) > 0, True)
    kept[0] = True
    return np.stack([hits, false], axis=1)[kept].tolist()  # type: ignore[no-any-return]


def threshold_plots(found: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Returns both curves with their bands, the points of all thresholds, and what is told of each.

    Intervals are Wilson's, of the share at a threshold; each unit counts once. A band joins the corners of joint
    intervals of its two shares at each threshold, 97.5 % of each (Bonferroni).
    """
    n_positive, n_negative, worth = found["n_positive"], found["n_negative"], found["worth"]
    curve = np.asarray(found["curve"], dtype=float)
    sensitivity, false = 100 * curve[:, 0] / n_positive, 100 * curve[:, 1] / n_negative
    precision = 100 * curve[:, 0] / curve.sum(1)
    joint = [
        [_ends(part, total, worth) for part, total in zip(parts, totals, strict=True)]
        for parts, totals in (
            (curve[:, 1], np.full(len(curve), n_negative)),
            (curve[:, 0], np.full(len(curve), n_positive)),
            (curve[:, 0], curve.sum(1)),
        )
    ]
    of_false, of_sensitivity, of_precision = joint
    high_roc = [(x[0], y[1]) for x, y in zip(of_false, of_sensitivity, strict=True)]
    low_roc = [(x[1], y[0]) for x, y in zip(of_false, of_sensitivity, strict=True)]
    high_pr, low_pr = ([(x[k], y[k]) for x, y in zip(of_sensitivity, of_precision, strict=True)] for k in (1, 0))
    others_roc, others_pr = [], []
    for hits, wrong in (np.asarray(c, dtype=float).T for c in found["by_fit"]):
        most, all_wrong = float(hits[-1]), float(wrong[-1])
        others_roc.append(_line([0, *(100 * wrong / all_wrong)], [0, *(100 * hits / most)], "other"))
        others_pr.append(_line(100 * hits / most, 100 * hits / (hits + wrong), "other"))
    roc = _band(high_roc, low_roc) + '<polyline class="frontier" points="0,100 100,0"/>' + "".join(others_roc)
    pr = _band(high_pr, low_pr) + _level(100 * n_positive / (n_positive + n_negative)) + "".join(others_pr)
    shares = axis(0, 1, numbers.SHARE)
    steps = [_step(found, t, hits, wrong, target) for t, hits, wrong in found["at"]]
    return {
        **{k: found[k] for k in ("positive", "negative", "n_positive", "n_negative")},
        "roc": {"svg": stretched(roc + _line([0, *false], [0, *sensitivity], "curve")), "x": shares, "y": shares},
        "pr": {"svg": stretched(pr + _line(sensitivity, precision, "curve")), "x": shares, "y": shares},
        "several": bool(found["by_fit"]),
        "steps": steps,
        "first": next(k for k, s in enumerate(steps) if s["threshold"] == DEFAULT),
        "told": [s for s in steps if s["threshold"] in TOLD],
    }


def _ends(part: float, total: float, worth: float) -> tuple[float, float]:
    low, high = wilson(part / total, total * worth, level=0.975)
    return 100 * low, 100 * high


def _line(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, name: str) -> str:
    points = " ".join(f"{a:.2f},{100 - b:.2f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="{name}" points="{points}"/>'


def _band(high: Sequence[tuple[float, float]], low: Sequence[tuple[float, float]]) -> str:
    points = " ".join(f"{x:.2f},{100 - y:.2f}" for x, y in (*high, *low[::-1]))
    return f'<polygon class="band" points="{points}"/>'


def _level(share: float) -> str:
    return f'<polyline class="frontier" points="0,{100 - share:.2f} 100,{100 - share:.2f}"/>'


def _step(found: Mapping[str, Any], threshold: float, hits: int, wrong: int, target: str) -> dict[str, Any]:
    """Returns where a threshold lies on both curves, and all that is told of it, in words."""
    n_positive, n_negative, worth = found["n_positive"], found["n_negative"], found["worth"]
    shares = {
        "sensitivity": (hits, n_positive),
        "specificity": (n_negative - wrong, n_negative),
        "precision": (hits, hits + wrong),
    }
    texts = {
        "threshold": f"{threshold:g}", "hits": f"{hits:,}", "wrong": f"{wrong:,}",
        "missed": f"{n_positive - hits:,}", "right": f"{n_negative - wrong:,}", "answered": f"{hits + wrong:,}",
    }  # fmt: skip
    for name, (part, total) in shares.items():
        texts[name] = numbers.score(part / total, numbers.SHARE) if total else "\N{EN DASH}"
        ends = wilson(part / total, total * worth) if total else (float("nan"), float("nan"))
        texts[f"{name}_interval"] = numbers.interval(*ends, numbers.SHARE)
    texts["command"] = f"profuse fit DATA --target {shlex.quote(target)} --threshold {threshold:g}"
    texts["again"] = f"profuse predict MODEL DATA --threshold {threshold:g}"
    x, y = 100 * wrong / n_negative, 100 * hits / n_positive
    precise = 100 * hits / (hits + wrong) if hits + wrong else None
    return {
        "threshold": threshold, "texts": texts,
        "roc": [round(x, 2), round(y, 2)], "pr": None if precise is None else [round(y, 2), round(precise, 2)],
    }  # fmt: skip
