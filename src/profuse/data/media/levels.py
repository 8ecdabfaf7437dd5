"""What is black and what is white in pictures of more than 8 bits: decided once on all of a column, then kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from profuse.data.media.bands import Bands, band_shares, stands_apart
from profuse.data.media.ranges import BYTES, FULL_SCALES, full_scale_range, is_whole
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import LevelRange, pairs_of

__all__ = ["as_shares", "picture_range"]

_SAMPLE = 1 << 21
_FAINT = 0.01  # of the range


def as_shares(
    pictures: Sequence[np.ndarray | None], known: LevelRange | None
) -> tuple[list[np.ndarray | None], LevelRange, list[str]]:
    """Returns the pictures as bytes or as float32 0..1, the range of their levels, and what is to be told.

    Args:
        pictures: Bytes, float32 levels, or `Bands`; see `profuse.data.media.pictures`. None where there is none.
        known: The levels of black and white, where they are decided already; otherwise they are by all `pictures`.

    Returns:
        Levels become `(level - black) / (white - black)`, held within 0..1, with opacity laid over white. Bytes stay
        bytes: they are 0..255. Where pictures have channels that are no colours, or pixels that were not measured, each
        channel has a range of its own (`profuse.data.media.bands`).

    Raises:
        DataError: Pictures with such channels stand beside others.
    """
    there = [p for p in pictures if p is not None]
    if there and _by_channel(there, known):
        if any(not isinstance(p, Bands) and (p.dtype == np.uint8 or p.shape[2] == 4) for p in there):
            there_too = [i for i, p in enumerate(pictures) if p is not None and not isinstance(p, Bands)]
            raise DataError(
                f"pictures must be all of bytes, colours and opacity, or none: others have counted channels or pixels "
                f"that were not measured; got such in {tell_rows(there_too)}"
            )
        out, ranges, notes = band_shares(pictures, known)
        return out, ranges, notes + _told_constant(out, alike=known is None)
    return _shares(pictures, None if known is None else pairs_of(known)[0])


def _by_channel(there: Sequence[np.ndarray], known: LevelRange | None) -> bool:
    """Tells whether each channel has a range of its own."""
    if any(isinstance(p, Bands) for p in there) or (known is not None and len(pairs_of(known)) > 1):
        return True
    levels = [p for p in there if not isinstance(p, Bands) and p.dtype != np.uint8]
    if any(np.isnan(p).any() for p in levels):
        return True
    if known is not None or len(levels) < len(there) or any(p.shape[2] != 1 for p in levels):
        return False
    step = max(1, sum(p.size for p in levels) // _SAMPLE)
    return stands_apart(np.concatenate([p.ravel()[::step] for p in levels]))


def _shares(
    pictures: Sequence[np.ndarray | None], known: tuple[float, float] | None
) -> tuple[list[np.ndarray | None], tuple[float, float], list[str]]:
    notes: list[str] = []
    deep = [i for i, picture in enumerate(pictures) if picture is not None and picture.dtype != np.uint8]
    black, white = known or picture_range(pictures[i] for i in deep)
    out, beyond, others, widths = list(pictures), [], [], []
    for i in deep:
        levels = np.asarray(pictures[i])
        colours = _colours(levels)
        low, high = black, white
        if (black, white) == BYTES and np.median(colours) > white and is_whole(colours):
            low, high = 0.0, next((s for s in FULL_SCALES if s >= colours.max()), float(colours.max()))
            others.append(i)
        shares = (colours.astype(np.float64) - low) / (high - low)
        if shares.min() < -1e-6 or shares.max() > 1 + 1e-6:
            beyond.append(i)
        widths.append(float(np.ptp(shares)))
        scaled = np.clip(shares, 0.0, 1.0).astype(np.float32)
        out[i] = scaled * levels[..., 3:] + (1 - levels[..., 3:]) if levels.shape[2] == 4 else scaled
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

    See `profuse.data.media.ranges.full_scale_range`; opacity does not count.
    """
    kept = [_colours(p) for p in deep if p is not None]
    return full_scale_range(kept) if kept else BYTES


def _colours(levels: np.ndarray) -> np.ndarray:
    return levels[..., :3] if levels.shape[2] == 4 else levels


def _told_constant(pictures: Sequence[np.ndarray | None], *, alike: bool) -> list[str]:
    there = [(i, p) for i, p in enumerate(pictures) if p is not None]
    flat = [i for i, p in there if p.shape[0] * p.shape[1] > 1 and not (p != p[:1, :1]).any()]
    notes = [f"{tell_rows(flat)}: the picture is one colour all over"] if flat else []
    if alike and len(there) > 1 and all(np.array_equal(p, there[0][1]) for _, p in there):
        notes.append(f"all {len(there)} pictures are equal")
    return notes
