"""The diagram of critical differences: ranks to scale, a bar for each group, names as text."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hostile import HOSTILE

from profuse.comparison.critical import CriticalDifference

SVG = "{http://www.w3.org/2000/svg}"


def drawn(found: CriticalDifference) -> ElementTree.Element:
    return ElementTree.fromstring(found.svg())


def elbows(root: ElementTree.Element) -> list[list[tuple[float, ...]]]:
    """Returns the lines from the axis to the names."""
    points = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    return [[tuple(map(float, p.split(","))) for p in line] for line in points]


def some(n: int, distance: float = 1.5) -> CriticalDifference:
    ranks = np.linspace(1.2, n - 0.3, n)
    return CriticalDifference({f"method {i}": float(r) for i, r in enumerate(ranks)}, distance, 0.01, 9, 0.05)


@pytest.mark.parametrize("n", [2, 3, 7, 20])
def test_methods_stand_at_their_ranks(n: int) -> None:
    found = some(n)
    lines = elbows(drawn(found))
    across = np.array([line[0][0] for line in lines])
    scale = np.diff(across) / np.diff(list(found.ranks.values()))
    assert np.allclose(scale, scale[0], rtol=0.02)
    assert scale[0] > 0  # the best stands left
    for side in (lines[: (n + 1) // 2], lines[(n + 1) // 2 :]):
        heights = sorted(line[-1][1] for line in side)
        assert all(b - a >= 15 for a, b in pairwise(heights))  # no name covers another


@pytest.mark.parametrize("distance", [0.5, 1.5, 2.6, 40.0])
def test_bars_join_the_groups_and_no_others(distance: float) -> None:
    found = some(7, distance)
    root = drawn(found)
    at = dict(zip(found.ranks, (line[0][0] for line in elbows(root)), strict=True))
    bars = [line.attrib for line in root.iter(f"{SVG}line") if line.attrib.get("class") == "group"]
    assert len(bars) == len(found.groups())
    for bar, group in zip(bars, found.groups(), strict=True):
        under = [name for name, x in at.items() if float(bar["x1"]) <= x <= float(bar["x2"])]
        assert under == list(group)
    assert len({bar["y1"] for bar in bars}) == len(bars)
    assert ("stroke-dasharray" in found.svg()) is (distance > 6)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name: str) -> None:
    found = CriticalDifference({HOSTILE[name] or "x": 1.2, "b": 1.8}, 1.0, 0.2, 5, 0.05)
    root = drawn(found)
    assert {e.tag.removeprefix(SVG) for e in root.iter()} == {"svg", "title", "line", "text", "polyline"}


def test_a_notebook_shows_the_diagram() -> None:
    found = some(4)
    assert found._repr_svg_() == found.svg()
    assert "9 data sets" in found.svg()
    assert "p = 0.010" in found.svg()


def test_long_names_stand_inside_the_picture() -> None:
    long = "a very long name of a method that fuses in many rounds"
    root = drawn(CriticalDifference({long: 1.2, "b": 1.8}, 1.0, 0.2, 5, 0.05))
    name = next(t for t in root.iter(f"{SVG}text") if long in str(t.text))
    assert float(name.attrib["x"]) - 6 * len(str(name.text)) > 0
    assert float(root.attrib["width"]) > 2 * 6 * len(long)
