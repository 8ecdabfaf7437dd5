"""Rows side by side on a page: what is predicted, what is true, and what the row holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profuse._escape import visible
from profuse.data.dataset import Dataset
from profuse.inspect import Answer
from profuse.inspect.contents import Part, contents, side_of_pictures
from profuse.report.drawings import framed

__all__ = ["errors_on_a_page", "shown_parts", "surest_on_a_page"]

_LISTED = 25
_CARDS = 24


def errors_on_a_page(answer: Answer, rows: Dataset | None) -> dict[str, Any] | None:
    """Returns what a page shows of the answer to `errors`, in words; None of other answers.

    Args:
        answer: To any question.
        rows: That were asked about, in their order; without them rows are told by their numbers.
    """
    details = answer.details
    if "surest" not in details or "labels" not in details:
        return None
    surest = details["surest"][:_CARDS]
    same = rows is not None and len(rows) == answer.n_rows
    shown = {} if rows is None or not same else rows.modalities
    side = side_of_pictures(shown, len(surest))
    return {
        "cards": [{**_told(row), "parts": shown_parts(contents(shown, row["row"], side))} for row in surest],
        "slices": [
            {
                "name": visible(s["name"]),
                "n": f"{s['n']:,}",
                "inside": f"{s['inside']:.4f}",
                "value": f"{s['value']:+.4f}",
                "p": f"{s['p']:.3f}",
                "shown": s["shown"],
            }
            for s in details["slices"]
        ],
        "labels": [
            {
                "id": _words(s["id"]),
                "of": visible(s["of"]),
                "given": _words(s["given"]),
                "suggested": _words(s["suggested"]),
                "margin": f"{s['margin']:.2f}",
            }
            for s in details["labels"]["suspected"][:_LISTED]
        ],
        "other_labels": max(0, details["labels"]["n"] - _LISTED),
        "sets": [
            [{"id": _words(i), "target": _words(t)} for i, t in zip(s["ids"], s["targets"], strict=True)]
            for s in details["equal"]["sets"]
        ],
    }


def _told(row: Mapping[str, Any]) -> dict[str, str]:
    sure = f"{row['deviations']:.1f} sd" if row["probability"] is None else f"{row['probability']:.3f}"
    return {
        "id": _words(row["id"]),
        "predicted": _words(row["predicted"]),
        "truth": _words(row["truth"]),
        "sure": sure,
        "loss": f"{row['loss']:.4g}",
    }


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "no label"
    return f"{value:.5g}" if isinstance(value, float) else visible(str(value))


def shown_parts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Returns what a row holds as the page shows it: pictures and lines as marks."""
    return [
        {
            **{k: getattr(part, k) for k in ("name", "missing", "text", "cells", "more")},
            "picture": framed(part.drawing, [], [], what=f"{part.name} of the row"),
        }
        for part in parts
    ]


def surest_on_a_page(surest: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Returns the cards of a comparison's surest errors, as `profuse.comparison.results.Surest` holds them."""
    cards = []
    for row in () if surest is None else surest["rows"]:
        numbers = any(isinstance(v, float | int) for v in row["truth"])
        cards.append({
            "id": _words(row["id"]), "predicted": _words(row["predicted"]), "truth": _words(row["truth"]),
            "sure": f"{row['sure']:.1f} sd" if numbers else f"{row['sure']:.3f}",
            "parts": shown_parts([Part.model_validate(part) for part in row["parts"]]),
        })  # fmt: skip
    return cards
