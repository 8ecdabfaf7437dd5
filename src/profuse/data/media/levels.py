"""What is black and what is white in pictures of more than 8 bits: decided once on all of a column, then kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from profuse.data.wording import tell_rows

__all__ = ["as_shares", "picture_range"]

BYTES = (0.0, 255.0)
_FULL_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_CENTRE = (0.001, 0.999)
_OUTLYING = 100.0  # times the width of the centre
_SAMPLE = 1 << 21
_FAINT = 0.01  # of the range


def as_shares(
    pictures: Sequence[np.ndarray | None], known: tuple[float, float] | None
) -> tuple[list[np.ndarray | None], tuple[float, float], list[str]]:
    """Returns the pictures as bytes or as float32 0..1, the range of their levels, and what is to be told.

    Args:
        pictures: Bytes, or float32 levels; see `profuse.data.media.pictures`. None where there is none.
        known: The levels of black and white, where they are decided already; otherwise they are by all `pictures`.

    Returns:
        Levels become `(level - black) / (white - black)`, held within 0..1. Bytes stay bytes: they are 0..255.
    """
    notes: list[str] = []
    deep = [i for i, picture in enumerate(pictures) if picture is not None and picture.dtype != np.uint8]
    black, white = known or picture_range(pictures[i] for i in deep)
    out, beyond, others, widths = list(pictures), [], [], []
    for i in deep:
        levels = np.asarray(pictures[i])
        colours = _colours(levels)
        low, high = black, white
        if (black, white) == BYTES and np.median(colours) > white and _is_whole(colours):
            low, high = 0.0, next((s for s in _FULL_SCALES if s >= colours.max()), float(colours.max()))
            others.append(i)
        shares = (colours.astype(np.float64) - low) / (high - low)
        if shares.min() < -1e-6 or shares.max() > 1 + 1e-6:
            beyond.append(i)
        widths.append(float(np.ptp(shares)))
        scaled = np.clip(shares, 0.0, 1.0).astype(np.float32)
        out[i] = np.concatenate([scaled, levels[..., 3:]], axis=2) if levels.shape[2] == 4 else scaled
    said = f"levels {black:g} (black) to {white:g} (white)"
    if deep and known is None and (black, white) != (0.0, 1.0):
        notes.append(f"{len(deep)} pictures of more than 8 bits are read by {said}; `ranges` sets another")
    if others:
        notes.append(f"{tell_rows(others)}: of more bits than in training ({said}), read by a full scale of their own")
    shallow = [i for i, picture in enumerate(pictures) if picture is not None and picture.dtype == np.uint8]
    if shallow and (black, white) != BYTES:
        notes.append(
            f"{tell_rows(shallow)}: of 8 bits, read by levels 0 to 255, not by {said}, as pictures of more are"
        )
    if beyond:
        notes.append(f"{tell_rows(beyond)}: levels beyond the range, {said}, were held to it")
    if deep and float(np.median(widths)) < _FAINT and max(widths) > 0:
        notes.append(
            f"half of {len(deep)} pictures of many bits use less than 1 % of the range, {said}; `ranges` sets one"
        )
    notes += _told_constant(out, alike=known is None)
    return out, (black, white), notes


def picture_range(deep: Iterable[np.ndarray | None]) -> tuple[float, float]:
    """Returns the levels of black and white of pictures of more than 8 bits; 0 and 255 where there is none.

    0 to 1 or -1 to 1, if all levels lie there; 0 to the full scale of 8, 10, 12, 14 or 16 bits, the smallest that
    holds all whole levels; 0 to 255 for fractions of such; else the smallest and the largest level, rounded to two
    digits. Single levels that lie a hundred times the width of the middle 99.8 % away from the rest are left out.
    """
    kept = [_colours(p) for p in deep if p is not None]
    if not kept:
        return BYTES
    low, high = float(min(k.min() for k in kept)), float(max(k.max() for k in kept))
    step = max(1, sum(k.size for k in kept) // _SAMPLE)
    some = np.concatenate([k.ravel()[::step] for k in kept]).astype(np.float64)
    centre = np.quantile(some, _CENTRE)
    if high - low > _OUTLYING * (centre[1] - centre[0]) > 0:
        low, high = float(centre[0]), float(centre[1])
    if low >= 0 and high <= 1:
        return (0.0, 1.0)
    if low >= -1 and high <= 1:
        return (-1.0, 1.0)
    if low >= 0 and high <= _FULL_SCALES[-1] and all(_is_whole(k) for k in kept):
        return (0.0, next(s for s in _FULL_SCALES if s >= high))
    if low >= 0 and 64 < high <= 255:
        return BYTES
    unit = 10.0 ** (math.floor(math.log10(max(high - low, abs(high), 1e-30))) - 1)
    black = 0.0 if 0 <= low <= high / 2 else math.floor(low / unit) * unit
    white = math.ceil(high / unit) * unit
    return float(f"{black:.6g}"), float(f"{white if white > black else black + unit:.6g}")


def _colours(levels: np.ndarray) -> np.ndarray:
    return levels[..., :3] if levels.shape[2] == 4 else levels


def _is_whole(levels: np.ndarray) -> bool:
    return bool((levels == np.rint(levels)).all())


def _told_constant(pictures: Sequence[np.ndarray | None], *, alike: bool) -> list[str]:
    there = [(i, p) for i, p in enumerate(pictures) if p is not None]
    flat = [i for i, p in there if p.shape[0] * p.shape[1] > 1 and not (p != p[:1, :1]).any()]
    notes = [f"{tell_rows(flat)}: the picture is one colour all over"] if flat else []
    if alike and len(there) > 1 and all(np.array_equal(p, there[0][1]) for _, p in there):
        notes.append(f"all {len(there)} pictures are equal")
    return notes
