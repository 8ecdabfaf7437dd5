"""Pieces of one row that can be taken away: what an explanation of a prediction speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["Drawing", "Unit", "stretches"]


@dataclass(frozen=True)
class Unit:
    """A piece of a row: a cell, a word, a patch, a stretch of time.

    Attributes:
        label: As readers see it: "size = 3.2", "great", "0.10 to 0.20 s".
        where: Its place in the row, as its kind reads it.
    """

    label: str
    where: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Drawing:
    """How a row is shown, so that its units can be marked in it; nothing of it where a list of them is enough.

    Attributes:
        text: The row as it is read, if it is a text.
        spans: Of each unit in `text`: (start, stop).
        picture: `[height, width, 3]` bytes.
        lines: `[step, line]`, NaN = missing.
        boxes: Of each unit in `picture` or `lines`: (left, right, top, bottom), shares of its sides.
        axes: What stands along the sides: horizontal, vertical.
        note: How levels became what is seen, where that is not plain.
    """

    text: str = ""
    spans: Sequence[tuple[int, int]] = ()
    picture: np.ndarray | None = None
    lines: np.ndarray | None = None
    boxes: Sequence[tuple[float, float, float, float]] = ()
    axes: tuple[str, str] = ("", "")
    note: str = ""


def stretches(length: int, most: int) -> Sequence[tuple[int, int]]:
    """Returns (start, stop) of at most so many stretches of like length that cover `range(length)`."""
    n = max(1, min(length, most))
    ends = np.arange(n + 1) * length // n
    return [(int(a), int(b)) for a, b in pairwise(ends)]
