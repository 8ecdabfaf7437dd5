"""Rows side by side on a page: what is predicted, what is true, and what the row holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from profuse._escape import visible
from profuse.data.dataset import Dataset, ModalityData
from profuse.inspect import Answer
from profuse.kinds import Drawing, kind_named
from profuse.report.drawings import framed

__all__ = ["errors_on_a_page"]

_BYTES = 3_000_000  # of all pictures, before they are written as PNG and as text
_MOST_SIDE = 320
_CHARACTERS = 600
_CELLS = 14
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
    side = _side(shown, len(surest))
    return {
        "cards": [{**_told(row), "parts": _parts(shown, row["row"], side)} for row in surest],
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


def _side(modalities: Mapping[str, ModalityData], n_rows: int) -> int:
    """Returns the greatest side of a picture so that all of them together keep within the size of a page."""
    n = n_rows * sum(not (kind_named(d.kind).is_words or kind_named(d.kind).is_numbers) for d in modalities.values())
    return min(_MOST_SIDE, int((_BYTES / (3 * max(n, 1))) ** 0.5))


def _parts(modalities: Mapping[str, ModalityData], row: int, side: int) -> list[dict[str, Any]]:
    """Returns what a row holds, modality by modality: a text, a picture, lines, or a list of cells."""
    made = []
    for name, data in modalities.items():
        part: dict[str, Any] = {
            "name": visible(name),
            "text": "",
            "picture": "",
            "cells": [],
            "more": 0,
            "missing": False,
        }
        made.append(part)
        if not data.present[row]:
            part["missing"] = True
            continue
        kind = kind_named(data.kind)
        units = kind.units(data, row, _CELLS if not kind.is_numbers else 1000)
        drawing = replace(kind.draw(data, row, units), boxes=(), spans=())
        if drawing.text:
            text = visible(drawing.text, lines=True)
            part["text"] = text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} ..."
        elif drawing.picture is not None or drawing.lines is not None:
            part["picture"] = framed(_small(drawing, side), [], [])
        else:
            labels = [visible(u.label) for u in units]
            part["cells"], part["more"] = labels[:_CELLS], max(0, len(labels) - _CELLS)
    return made


def _small(drawing: Drawing, side: int) -> Drawing:
    if drawing.picture is None:
        return drawing
    image = Image.fromarray(drawing.picture)
    image.thumbnail((side, side))
    return replace(drawing, picture=np.asarray(image))
