"""The answer to a question as a page: its estimates as a picture, and one row as it was seen."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from profuse._escape import visible, visible_values
from profuse.data.dataset import Dataset
from profuse.inspect import Answer, question
from profuse.kinds import Drawing, kind_named
from profuse.report.estimates import estimates_plot
from profuse.report.gallery import errors_on_a_page
from profuse.report.pages import page_template

__all__ = ["answer_html"]

_LEAST_SIDE, _MOST_SIDE = 280, 640  # pixels of a picture
_LISTED = 12
_SEEN = Markup(
    '<svg class="seen" viewBox="0 0 {0} {1}" style="max-width:{0}px" role="img" '
    'aria-label="the row, with what each piece adds as a shade">{2}{3}{4}</svg>'
)
_IMAGE = Markup('<image href="data:image/png;base64,{}" width="{}" height="{}" preserveAspectRatio="none"/>')
_BOX = Markup('<rect x="{}" y="{}" width="{}" height="{}" style="fill:{}"><title>{}</title></rect>')


def answer_html(answer: Answer, rows: Dataset | None = None) -> str:
    """Returns the answer as one self-contained page: no script, no network.

    Args:
        answer: To any question.
        rows: That were asked about, in the order of the question; of an answer about single rows they show these.
    """
    about = visible_values(dict(answer.details)) if "pieces" in answer.details else None
    return page_template("answer.html").render(
        answer=answer,
        asks=question(answer.question).description,
        visible=visible,
        plot=estimates_plot(answer.estimates),
        row=about,
        errors=errors_on_a_page(answer, rows, _framed),
        pictures=[] if about is None else _pictures(answer.details, rows),
    )


def _pictures(details: Mapping[str, Any], rows: Dataset | None) -> list[dict[str, Any]]:
    """Returns how each modality of the row was seen."""
    made = []
    for name, pieces in details["pieces"].items():
        drawing = Drawing()
        if rows is not None and name in rows.modalities:
            data, row = rows.modalities[name], details["row"]
            kind = kind_named(data.kind)
            units = kind.units(data, row, max(len(pieces), 1))
            # other rows than those that were asked about would be marked in the wrong places
            if [u.label for u in units] == [p["label"] for p in pieces]:
                drawing = kind.draw(data, row, units)
        largest = max(abs(p["value"]) for p in pieces) or 1.0
        shades = [p["value"] / largest for p in pieces]
        most = [i for i in sorted(range(len(pieces)), key=lambda i: -abs(shades[i])) if shades[i]][:_LISTED]
        made.append(
            {
                "name": visible(name),
                "value": f"{details['modalities'][name]:+.4f}",
                "text": _marked(drawing, pieces, shades),
                "picture": _framed(drawing, pieces, shades),
                "plain": _framed(replace(drawing, boxes=()), pieces, shades) if _coloured(drawing) else "",
                "axes": drawing.axes,
                "listed": [
                    {
                        "label": visible(pieces[i]["label"]),
                        "value": f"{pieces[i]['value']:+.4f}",
                        "half": f"{pieces[i]['half']:.4f}",
                        "width": round(100 * abs(shades[i]), 1),
                        "down": shades[i] < 0,
                    }
                    for i in most
                ],
                "others": len(pieces) - len(most),
            }
        )
    return made


def _shade(value: float) -> str:
    """Returns a colour: of what adds, or of what takes; the stronger the more."""
    name = "good" if value >= 0 else "warn"
    return f"color-mix(in srgb, var(--{name}) {min(85, round(85 * abs(value)))}%, transparent)"


def _marked(drawing: Drawing, pieces: Sequence[Mapping[str, Any]], shades: Sequence[float]) -> Markup:
    """Returns a text with its words shaded."""
    parts, at = [], 0
    for (start, stop), piece, shade in zip(drawing.spans, pieces, shades, strict=False):
        parts.append(Markup("{}").format(visible(drawing.text[at:start], lines=True)))
        parts.append(
            Markup('<mark style="background:{}" title="{:+.4f}">{}</mark>').format(
                _shade(shade), piece["value"], visible(drawing.text[start:stop], lines=True)
            )
        )
        at = stop
    return Markup("").join([*parts, visible(drawing.text[at:], lines=True)])


def _framed(drawing: Drawing, pieces: Sequence[Mapping[str, Any]], shades: Sequence[float]) -> Markup:
    """Returns a picture, or lines, with their pieces shaded; empty where there is neither."""
    if drawing.picture is None and drawing.lines is None:
        return Markup("")
    inside = Markup("")
    width, height = 640.0, 220.0
    if drawing.picture is not None:
        width, height = _sides(drawing.picture.shape[1], drawing.picture.shape[0], stretch=bool(drawing.axes[0]))
        shown = drawing.picture
        if _coloured(drawing) and drawing.boxes:  # colours are those of the shades
            shown = np.repeat((128 + shown.mean(-1, keepdims=True) / 2).astype(np.uint8), 3, axis=-1)
        inside = _IMAGE.format(_png(shown), width, height)
    boxes = []
    for (left, right, top, bottom), piece, shade in zip(drawing.boxes, pieces, shades, strict=False):
        place = left * width, top * height, (right - left) * width, (bottom - top) * height
        label = f"{visible(piece['label'])}: {piece['value']:+.4f}"
        boxes.append(_BOX.format(*(round(x, 1) for x in place), _shade(shade), label))
    lines = Markup("") if drawing.lines is None else _lines(drawing.lines, width, height)
    return _SEEN.format(width, height, inside, Markup("").join(boxes), lines)


def _coloured(drawing: Drawing) -> bool:
    """Whether it is a picture of what is seen, not one of time and frequency."""
    return drawing.picture is not None and not drawing.axes[0]


def _sides(width: int, height: int, *, stretch: bool) -> tuple[float, float]:
    """Returns the sides of a picture on the page; one of time and frequency may be stretched."""
    if stretch:
        return float(_MOST_SIDE), 220.0
    scale = (
        max(_LEAST_SIDE / max(width, height), 1.0)
        if max(width, height) < _MOST_SIDE
        else _MOST_SIDE / max(width, height)
    )
    return round(width * scale, 1), round(height * scale, 1)


def _png(picture: np.ndarray) -> str:
    out = io.BytesIO()
    image = Image.fromarray(picture)
    image.thumbnail((_MOST_SIDE, _MOST_SIDE))
    image.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _lines(values: np.ndarray, width: float, height: float) -> Markup:
    """Returns a line for each channel, in a band of its own."""
    n, n_lines = values.shape
    band = height / n_lines
    made = []
    for j, column in enumerate(values.T):
        known = np.flatnonzero(np.isfinite(column))
        if not len(known):
            continue
        kept = known[:: max(1, len(known) // 1000)]
        low, high = float(column[known].min()), float(column[known].max())
        y = band * (j + 0.9 - 0.8 * (column[kept] - low) / ((high - low) or 1.0))
        points = " ".join(f"{(k + 0.5) / n * width:.1f},{v:.1f}" for k, v in zip(kept, y, strict=True))
        made.append(Markup('<polyline points="{}"/>').format(points))
    return Markup("").join(made)
