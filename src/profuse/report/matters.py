"""Which modality matters, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profuse.report import numbers
from profuse.report.words import listed

__all__ = ["matters"]

_MANY, _NAMED = 4, 3  # of more modalities than the first number, the second is named


def matters(ablation: Mapping[str, Any]) -> str:
    """Returns what each modality is worth, of many the first; `ablation` is that of `profuse.report.collect`."""
    metric, parts = ablation["metric"], ablation["parts"]
    first = parts if len(parts) <= _MANY else parts[:_NAMED]
    hidden = [
        f"{numbers.difference(p['mean'], metric, sign=False)} without {p['modality']}"
        if p["mean"] >= 0
        else f"nothing without {p['modality']}"
        for p in first
    ]
    if others := len(parts) - len(first):
        hidden.append(f"no more than the last without any of the other {others}")
    whole = numbers.score(ablation["full"], metric)
    text = f"With one modality hidden from the finished model, {ablation['method']} ({whole}) loses {listed(hidden)}."
    known = [p for p in parts if p["trained"] and p["trained"]["high"] is not None]
    if len(known) > _MANY:
        known = sorted(known, key=lambda p: -p["trained"]["mean"])[:_NAMED]
    again = [
        f"{numbers.score(p['trained']['score'], metric)} without {p['modality']} "
        f"({numbers.difference(-p['trained']['mean'], metric)}, "
        f"{numbers.interval(-p['trained']['high'], -p['trained']['low'], metric, of_difference=True)})"
        for p in known
    ]
    if again:
        text += f" Fitted anew (seed 0), the same fusion reaches {listed(again)}: this is what a modality adds."
        text += " It loses most without these." if others else ""
    if ablation["absent"]:
        text += f" No test row has {listed(ablation['absent'], 'or')}: what that is worth cannot be said."
    return text
