"""Names beside points, so that none covers a point or another name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["beside"]

_CHARACTER, _LINE, _POINT = 7.0, 6.5, 6.0  # pixels: the width of a character, half a line, half a mark
Box = tuple[float, float, float, float]  # centre across and down, half width, half height


def beside(
    points: Sequence[tuple[str, str, float, float]], *, width: float, height: float, names: bool
) -> list[dict[str, Any]]:
    """Returns a text for each point, and where its middle is, in pixels from the point.

    Points come first served. A name for which there is no room gives way to the number, and that to the place where it
    covers least.

    Args:
        points: Name, number, and place in percent of the picture, from the left and from the top.
        width: Of the picture in pixels, at least: a wider one has more room.
        height: Likewise.
        names: Whether names are tried at all.
    """
    taken: list[Box] = [(x * width / 100, y * height / 100, _POINT, _POINT) for _, _, x, y in points]
    placed = []
    for name, number, x, y in points:
        px, py = x * width / 100, y * height / 100
        text, (dx, dy), cost = "", (0.0, 0.0), 1.0
        for text in (name, number) if names else (number,):
            half = _CHARACTER * len(text) / 2
            (dx, dy), cost = min(
                (((dx, dy), _cost((px + dx, py + dy, half, _LINE), taken, width, height)) for dx, dy in _around(half)),
                key=lambda found: found[1],
            )
            if cost == 0:
                break
        taken.append((px + dx, py + dy, _CHARACTER * len(text) / 2, _LINE))
        placed.append({"text": text, "left": round(x, 2), "top": round(y, 2), "dx": round(dx, 1), "dy": round(dy, 1)})
    return placed


def _around(half: float) -> list[tuple[float, float]]:
    """Returns moves from a point, the best first."""
    near = [(9 + half, 0.0), (-9 - half, 0.0), (0.0, -14.0), (0.0, 14.0)]
    corners = [(s * (7 + half), t * 11.0) for s in (1, -1) for t in (-1, 1)]
    shifted = [(s * half * 0.8, t * 15.0) for s in (1, -1) for t in (-1, 1)]
    far = [(0.0, -27.0), (0.0, 27.0), (22 + half, 0.0), (-22 - half, 0.0)]
    return [*near, *corners, *shifted, *far]


def _cost(box: Box, taken: Sequence[Box], width: float, height: float) -> float:
    """Returns the area that is covered already, and what lies outside."""
    x, y, w, h = box
    hits = [(w + a - abs(x - cx), h + b - abs(y - cy)) for cx, cy, a, b in taken]
    outside = max(0.0, w - x, x + w - width, h - y, y + h - height)
    return sum(dx * dy for dx, dy in hits if dx > 0 and dy > 0) + 10 * outside
