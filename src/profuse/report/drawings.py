"""One row as it was seen: its words and its picture, with its pieces shaded by what they add."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from profuse._escape import visible
from profuse.kinds import Drawing

__all__ = ["coloured", "framed", "marked"]

_LEAST_SIDE, _MOST_SIDE = 280, 640  # pixels of a picture
_SEEN = Markup(
    '<svg class="seen" viewBox="0 0 {0} {1}" style="max-width:{0}px" role="img" aria-label="{5}">{2}{3}{4}</svg>'
)
_IMAGE = Markup('<image href="data:image/png;base64,{}" width="{}" height="{}" preserveAspectRatio="none"/>')
_BOX = Markup('<rect x="{}" y="{}" width="{}" height="{}" style="fill:{}"><title>{}</title></rect>')


def _shade(value: float) -> str:
    """Returns a colour: of what adds, or of what takes; the stronger the more."""
    name = "good" if value >= 0 else "warn"
    return f"color-mix(in srgb, var(--{name}) {min(85, round(85 * abs(value)))}%, transparent)"


def marked(drawing: Drawing, pieces: Sequence[Mapping[str, Any]], shades: Sequence[float]) -> Markup:
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


def framed(
    drawing: Drawing,
    pieces: Sequence[Mapping[str, Any]],
    shades: Sequence[float],
    *,
    what: str = "the row, with what each piece adds as a shade",
) -> Markup:
    """Returns a picture, or lines, with their pieces shaded; empty where there is neither."""
    if drawing.picture is None and drawing.lines is None:
        return Markup("")
    inside = Markup("")
    width, height = 640.0, 220.0
    if drawing.picture is not None:
        width, height = _sides(drawing.picture.shape[1], drawing.picture.shape[0], stretch=bool(drawing.axes[0]))
        shown = drawing.picture
        if coloured(drawing) and drawing.boxes:  # colours are those of the shades
            shown = np.repeat((128 + shown.mean(-1, keepdims=True) / 2).astype(np.uint8), 3, axis=-1)
        inside = _IMAGE.format(_png(shown), width, height)
    boxes = []
    for (left, right, top, bottom), piece, shade in zip(drawing.boxes, pieces, shades, strict=False):
        place = left * width, top * height, (right - left) * width, (bottom - top) * height
        label = f"{visible(piece['label'])}: {piece['value']:+.4f}"
        boxes.append(_BOX.format(*(round(x, 1) for x in place), _shade(shade), label))
    lines = Markup("") if drawing.lines is None else _lines(drawing.lines, width, height)
    return _SEEN.format(width, height, inside, Markup("").join(boxes), lines, what)


def coloured(drawing: Drawing) -> bool:
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
