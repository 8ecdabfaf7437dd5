"""Estimates of an answer as bars from 0, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from profuse._escape import visible
from profuse.comparison.results import Asked
from profuse.errors import UnknownNameError
from profuse.inspect import Estimate, question
from profuse.predictor.described import label_of
from profuse.report import numbers
from profuse.report.figures import ticks

__all__ = ["collect_answers", "estimate_of", "estimates_plot"]

_MOST = 24


def collect_answers(answers: Sequence[Asked], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns what a report shows of questions to the model that does best."""
    made = []
    for asked in answers:
        answer = asked.answer
        made.append(
            {
                "question": str(answer["question"]), "asks": _asks(str(answer["question"])),
                "method": labels.get(asked.method, asked.method), "seed": asked.seed,
                "estimates": list(answer["estimates"])[:_MOST], "left_out": max(0, len(answer["estimates"]) - _MOST),
                "measures": answer["measures"], "metric": label_of(answer["metric"]), "n_rows": answer["n_rows"],
                "residual": answer["residual"], "score": answer["score"], "notes": list(answer["notes"]),
            }
        )  # fmt: skip
    return made


def estimate_of(values: Mapping[str, Any]) -> Estimate:
    """Returns an estimate that was read from JSON, where an end that is not known is None."""
    low, high = (math.nan if values[end] is None else float(values[end]) for end in ("low", "high"))
    return Estimate(**{**values, "low": low, "high": high})


def _asks(name: str) -> str:
    """Returns what a question asks; "" for one that is not registered here."""
    try:
        return question(name).description
    except UnknownNameError:
        return ""


def estimates_plot(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Returns estimates along one axis that shows 0, in per cent of its width."""
    ends = [0.0, *(x for e in estimates for x in (e.low, e.value, e.high) if np.isfinite(x))]
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low or 1.0)
    low, high = low - room * (low < 0), high + room

    def at(x: float) -> float:
        return round(100 * (min(max(x, low), high) - low) / (high - low), 3) if np.isfinite(x) else 0.0

    signed = any(e.value < 0 for e in estimates)
    modalities = {name for e in estimates for name in e.modalities}
    return {
        "zero": at(0.0),
        "ticks": [{"at": at(t), "text": numbers.tick(t)} for t in ticks(low, high) if low <= t <= high],
        "estimates": [
            {
                "name": visible(e.name),
                "under": ": " in e.name and e.name.split(": ")[0] in modalities,
                "value": numbers.four(e.value, sign=signed),
                "interval": f"{numbers.four(e.low)} to {numbers.four(e.high)}"
                if e.low < e.high
                else ""
                if e.low == e.high
                else "not known",
                "score": "" if e.score is None else numbers.four(e.score),
                "n": f"{e.n:,}",
                "left": at(min(e.value, 0.0)),
                "width": round(abs(at(e.value) - at(0.0)), 3),
                "low": at(e.low),
                "span": round(at(e.high) - at(e.low), 3),
                "down": e.value < 0,
            }
            for e in estimates
        ],
    }
