"""The diagram of critical differences, as SVG: mean ranks on a line, and bars that join what may be alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from profuse._escape import visible

__all__ = ["critical_diagram"]

# pixels: the axis, from name to name, from the top to the axis, a character
_LONG, _STEP, _AXIS, _CHARACTER = 320, 19, 56, 6.8


def critical_diagram(
    ranks: Mapping[str, float], distance: float, groups: Sequence[Sequence[str]], *, below: str
) -> str:
    """Returns the diagram (Demsar 2006, figure 1): the better half of the methods stands left, the best on top.

    Args:
        ranks: Mean rank by method, the best first.
        distance: The critical difference; longer than the axis, it is drawn as long as that and dashed.
        groups: Methods that a bar joins.
        below: Stands under the diagram.
    """
    names, n = list(ranks), len(ranks)
    side = round(max(210.0, 60 + _CHARACTER * max(len(visible(name)) for name in names)))
    width = 2 * side + _LONG
    first_name = _AXIS + 16 + 7 * len(groups)
    height = first_name + _STEP * ((n + 1) // 2) + 26

    def at(rank: float) -> float:
        return side + (rank - 1) / (n - 1) * _LONG

    parts = [_line(at(1), _AXIS, at(n), _AXIS, 1.3)]
    for rank in range(1, n + 1):
        if n <= 12 or rank in (1, n) or rank % 5 == 0:
            parts += [_line(at(rank), _AXIS - 5, at(rank), _AXIS, 1.3), _text(at(rank), _AXIS - 9, str(rank), "middle")]
    end = min(distance, n - 1.0)
    dashes = ' stroke-dasharray="5 3"' if distance > end else ""
    parts += [
        _line(at(1), 22, at(1 + end), 22, 2, dashes),
        _text(at(1), 16, f"critical difference {distance:.2f}", "start"),
    ]
    for i, name in enumerate(names):
        left = i < (n + 1) // 2
        y = first_name + _STEP * (i if left else n - 1 - i)
        edge = side - 14 if left else width - side + 14
        x = at(ranks[name])
        parts.append(f'<polyline points="{x:.1f},{_AXIS} {x:.1f},{y} {edge},{y}" fill="none" stroke="currentColor"/>')
        label = f"{visible(name)}  {ranks[name]:.2f}" if left else f"{ranks[name]:.2f}  {visible(name)}"
        parts.append(_text(edge - 5 if left else edge + 5, y + 4, label, "end" if left else "start"))
    for k, group in enumerate(groups):
        y = _AXIS + 9 + 7 * k
        parts.append(_line(at(ranks[group[0]]) - 3, y, at(ranks[group[-1]]) + 3, y, 3.5, ' class="group"'))
    parts.append(_text(width / 2, height - 8, below, "middle"))
    told = "; ".join(f"{visible(name)} {rank:.2f}" for name, rank in ranks.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" style="background:#fff;color:#1d1c1a;max-width:100%;height:auto" font-family="sans-serif" '
        f'font-size="12"><title>Mean ranks: {escape(told)}</title>{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, width: float, more: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-width="{width}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'
