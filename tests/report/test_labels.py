"""Names beside points: none covers another, and what has no room is told by its number."""

from __future__ import annotations

import numpy as np
import pytest

from profuse.report.labels import beside

WIDTH, HEIGHT = 560, 320


def boxes(placed: list[dict[str, object]]) -> np.ndarray:
    """Returns left, right, top and bottom of each text, with characters of 6 pixels and lines of 11."""
    made = []
    for p in placed:
        x, y = p["left"] / 100 * WIDTH + p["dx"], p["top"] / 100 * HEIGHT + p["dy"]  # type: ignore[operator]
        half = 3 * len(str(p["text"]))
        made.append((x - half, x + half, y - 5.5, y + 5.5))
    return np.array(made)


def n_overlaps(found: np.ndarray) -> int:
    left, right, top, bottom = (np.asarray(c)[:, None] for c in found.T)
    meet = (left < right.T) & (right > left.T) & (top < bottom.T) & (bottom > top.T)
    return int(np.triu(meet, 1).sum())


@pytest.mark.parametrize("seed", range(5))
def test_no_text_covers_another_nor_leaves_the_picture(seed: int) -> None:
    places = np.random.default_rng(seed).uniform(4, 96, (25, 2))
    points = [(f"some method number {k}", str(k), x, y) for k, (x, y) in enumerate(places.tolist())]
    placed = beside(points, width=WIDTH, height=HEIGHT, names=True)
    found = boxes(placed)
    assert n_overlaps(found) == 0
    assert found[:, 0].min() >= 0
    assert found[:, 1].max() <= WIDTH
    assert {p["text"] for p in placed} & {name for name, *_ in points}
    assert all(p["text"] in (name, number) for p, (name, number, *_) in zip(placed, points, strict=True))


def test_the_first_of_a_crowd_is_named_and_the_last_is_a_number() -> None:
    placed = beside([("a rather long name", str(k), 50, 50) for k in range(20)], width=WIDTH, height=HEIGHT, names=True)
    assert placed[0]["text"] == "a rather long name"
    assert placed[-1]["text"] == "19"


def test_without_names_all_are_numbers() -> None:
    placed = beside([("name", "7", 50, 50)], width=WIDTH, height=HEIGHT, names=False)
    assert [p["text"] for p in placed] == ["7"]
