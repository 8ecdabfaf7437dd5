"""Pictures of any number of channels, and those with pixels at which nothing was measured: levels by channel.

What is black and white in each channel is decided once on a whole column, then kept. Where pixels were not measured
(NaN; 0 of a depth map), they get the level of the nearest that was, and one more channel says where: 1 measured, 0 not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from profuse.data.media.ranges import full_scale_range, rounded_range
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import LevelRange, pairs_of

__all__ = ["Bands", "band_shares", "n_channels_of", "stands_apart"]

_MEASURED = (0.0, 1.0)  # the range of the channel that says where a picture was measured
_APART = 0.02  # of the largest level: so far from 0 is the smallest of a depth map
_FEW_LEVELS = 100  # of a picture of classes
_LEAST_HOLES = 0.001  # of the pixels
_SAMPLE = 1 << 21
_TOLD = 6  # channels whose levels are told


class Bands(np.ndarray):
    """A picture whose channels are no colours and no opacity: float32 `[height, width, channel]`, NaN = not measured.

    `values.view(Bands)` makes one, and `np.asarray` a plain array again.
    """


def n_channels_of(picture: np.ndarray) -> int:
    """Returns how many channels a picture has whose channels are counted; 0 of grey, colours and opacity."""
    return picture.shape[2] if isinstance(picture, Bands) else 0


def stands_apart(levels: np.ndarray) -> bool:
    """Tells whether 0 in `levels`, one channel, lies so far below all others that it means "not measured"."""
    above = levels[levels > 0]
    holes = levels.size - above.size
    if not above.size or holes < max(1, _LEAST_HOLES * levels.size) or levels.min() < 0:
        return False
    return bool(above.min() >= _APART * above.max() and len(np.unique(above[: 1 << 16])) > _FEW_LEVELS)


def band_shares(
    pictures: Sequence[np.ndarray | None], known: LevelRange | None
) -> tuple[list[np.ndarray | None], LevelRange, list[str]]:
    """Returns the pictures as float32 0..1, the range of each channel, and what is to be told.

    Args:
        pictures: `Bands` and levels, all of as many channels; None where there is none. One without any measured pixel
            becomes None.
        known: The levels of black and white of all channels alike, or of each, where they are decided already.

    Raises:
        DataError: Numbers of channels differ, from each other or from `known`.
    """
    values = [None if p is None else np.asarray(p, np.float32) for p in pictures]
    n = _one_width(values)
    notes: list[str] = []
    each = None if known is None else _by_channel(known, n)
    has_holes = any(v is not None and np.isnan(v).any() for v in values)
    if each is None:
        zero_is_hole = n == 1 and not has_holes and _zero_is_hole(values)
        masked = has_holes or zero_is_hole
    else:
        masked = len(each) == n + 1
        zero_is_hole = masked and n == 1 and each[0][0] > 0
    measured = [None if v is None else _measured(v, zero_is_hole) for v in values]
    empty = [i for i, m in enumerate(measured) if m is not None and not m.any()]
    for i in empty:
        values[i] = measured[i] = None
    if each is None and len(empty) == sum(p is not None for p in pictures):
        raise DataError("at least one picture must have a pixel that was measured; got none")
    if empty:
        notes.append(f"{tell_rows(empty)}: no pixel of the picture was measured; it counts as missing")
    pairs = [(v, m) for v, m in zip(values, measured, strict=True) if v is not None and m is not None]
    if each is None:
        each = tuple(_range(pairs, c, keeps_zero_out=zero_is_hole) for c in range(n)) + (_MEASURED,) * masked
        notes += _told(len(pairs), n, each, pairs, zero_is_hole, masked)
    elif not masked and (holed := [i for i, m in enumerate(measured) if m is not None and not m.all()]):
        notes.append(f"{tell_rows(holed)}: pixels without a level got that of the nearest pixel")
    black, white = (np.array([pair[k] for pair in each[:n]], dtype=np.float64) for k in (0, 1))
    out: list[np.ndarray | None] = [None] * len(values)
    beyond = []
    for i, (v, m) in enumerate(zip(values, measured, strict=True)):
        if v is None or m is None:
            continue
        shares = (_filled(v, m).astype(np.float64) - black) / (white - black)
        if shares.min() < -1e-6 or shares.max() > 1 + 1e-6:
            beyond.append(i)
        scaled = np.clip(shares, 0.0, 1.0).astype(np.float32)
        out[i] = np.concatenate([scaled, m.astype(np.float32)], axis=2) if masked else scaled
    if beyond:
        notes.append(f"{tell_rows(beyond)}: levels beyond the range of their channel were held to it")
    return out, each if len(each) > 1 else each[0], notes


def _by_channel(known: LevelRange, n: int) -> tuple[tuple[float, float], ...]:
    each = pairs_of(known)
    if len(each) == 1:
        return each * n
    if len(each) not in (n, n + 1) or (len(each) == n + 1 and each[-1] != _MEASURED):
        raise DataError(f"pictures must have {_said(each)}, as `ranges` or training says; got {n}")
    return each


def _said(each: Sequence[tuple[float, float]]) -> str:
    n = len(each)
    return f"{n - 1} channels (or {n})" if each[-1] == _MEASURED and n > 1 else f"{n} channels"


def _one_width(values: Sequence[np.ndarray | None]) -> int:
    widths = Counter(v.shape[2] for v in values if v is not None)
    if len(widths) > 1:
        width = widths.most_common(1)[0][0]
        others = [i for i, v in enumerate(values) if v is not None and v.shape[2] != width]
        first = values[others[0]]
        raise DataError(
            f"all pictures must have the same channels, here {width}; got {0 if first is None else first.shape[2]} in "
            f"{tell_rows(others)}"
        )
    return int(next(iter(widths)))


def _zero_is_hole(values: Sequence[np.ndarray | None]) -> bool:
    step = max(1, sum(v.size for v in values if v is not None) // _SAMPLE)
    return stands_apart(np.concatenate([v.ravel()[::step] for v in values if v is not None]))


def _measured(v: np.ndarray, zero_is_hole: bool) -> np.ndarray:
    """Returns where all channels were measured, bool `[height, width, 1]`."""
    return np.asarray(v > 0 if zero_is_hole else ~np.isnan(v).any(axis=2, keepdims=True))


def _filled(v: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Returns the levels with those of the nearest measured pixel where there are none."""
    if measured.all():
        return v
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~measured[..., 0], return_distances=False, return_indices=True)
    return np.asarray(v[rows, columns])


def _range(pairs: Sequence[tuple[np.ndarray, np.ndarray]], c: int, *, keeps_zero_out: bool) -> tuple[float, float]:
    levels = [v[..., c][m[..., 0]] for v, m in pairs]
    if keeps_zero_out:  # black above 0 says, with a model too, that 0 is no level
        low, high = rounded_range(levels)
        return (low if low > 0 else float(f"{min(float(x.min()) for x in levels):.6g}"), high)
    return full_scale_range(levels)


def _told(
    count: int,
    n: int,
    each: Sequence[tuple[float, float]],
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    zero_is_hole: bool,
    masked: bool,
) -> Iterator[str]:
    said = ", ".join(f"{c}: {low:g} to {high:g}" for c, (low, high) in enumerate(each[: min(n, _TOLD)]))
    more = ", ..." if n > _TOLD else ""
    yield f"{count} pictures of {n} channel(s) are read by levels (black to white) {said}{more}; `ranges` sets others"
    if masked:
        share = 1 - sum(int(m.sum()) for _, m in pairs) / sum(m.size for _, m in pairs)
        what = "level 0, far below all others," if zero_is_hole else "NaN"
        yield (
            f"{100 * share:.3g} % of their pixels are {what} and count as not measured: they got the level of the "
            f"nearest that is, and channel {n} says where (1 measured, 0 not)"
        )
