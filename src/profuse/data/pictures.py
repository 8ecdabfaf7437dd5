"""Pictures of any size and layout -> `[row, channel, height, width]` in 0..1, of one size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from profuse.data.dataset import ModalityData
from profuse.errors import DataError
from profuse.kinds import kind_named, pairs_of

__all__ = ["check_pictures", "n_channels_of", "other_channels", "resize", "resized_pictures"]

_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # luma of red, green, blue: ITU-R BT.601
_CHUNK_VALUES = 1 << 24  # numbers held at once beside the result: 64 MB of float32
_GREY_TOLERANCE = 1 / 255  # RGB whose channels differ by no more is grey


def resized_pictures(
    data: ModalityData, index: NDArray[np.intp], n_channels: int, size: tuple[int, int]
) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """Yields rows and their pictures `[row, n_channels, *size]` in 0..1; rows of one shape go together.

    Transparency is laid over white; colour becomes luma where there is one channel, and grey is repeated for three.
    Other channels stay as they are.

    Args:
        data: Pictures.
        index: Which rows.
        n_channels: Of all of them, see `n_channels_of`.
        size: Height and width, pixels.
    """
    values = data.values
    groups: dict[tuple[object, ...], list[int]] = {}
    for i in index:
        picture = np.asarray(values[i])
        groups.setdefault((picture.shape, picture.dtype), []).append(int(i))
    for rows in groups.values():
        area = max(np.asarray(values[rows[0]]).size, n_channels * size[0] * size[1])
        step = max(1, _CHUNK_VALUES // area)
        for start in range(0, len(rows), step):
            some = np.array(rows[start : start + step], dtype=np.intp)
            stack = values[some] if values.dtype != object else np.stack([np.asarray(values[i]) for i in some])
            yield some, resize(_to_channels(stack, n_channels), size)


def check_pictures(data: ModalityData, index: NDArray[np.intp], who: str, n_channels: int | None = None) -> None:
    """Refuses what is no picture, or not of `n_channels` as in training, naming the row; `who` begins the message."""
    counted = n_channels not in (None, 1, 3)
    for i in index:
        picture = np.asarray(data.values[i])
        n = 0 if _is_coloured(picture) else picture.shape[-1]
        what = _fault(picture) or (f"shape={picture.shape}" if n_channels and n != counted * n_channels else "")
        if what:
            wanted = f"{n_channels} channels, as in training" if counted else "channels: 1, 3, 4 or any other number"
            raise DataError(
                f"{who}: row {i} must be a picture [height, width, {wanted}], uint8 or "
                f"float in 0..1; got {what}. Convert it, or mark the row as absent."
            )


def n_channels_of(data: ModalityData, index: NDArray[np.intp], who: str) -> int:
    """Returns 1 if all pictures are grey, 3 if they are grey or coloured, else how many channels all have.

    Raises:
        DataError: Not all have as many; the row is told, and `who` begins the message.
    """
    pictures = [np.asarray(data.values[i]) for i in index]
    counts = np.array([0 if _is_coloured(p) else p.shape[2] for p in pictures])
    others = np.flatnonzero(counts != counts[0])
    if len(others):
        first, other = np.shape(pictures[0]), np.shape(pictures[others[0]])
        raise DataError(
            f"{who}: row {index[others[0]]} must be a picture of the same channels as row {index[0]}, shape={first}; "
            f"got shape={other}. Convert it, or mark the row as absent."
        )
    return int(counts[0]) or (1 if all(_is_grey(p) for p in pictures) else 3)


def other_channels(data: ModalityData) -> str:
    """Returns the end of an error where a reader of colours would lose channels of pictures, "" where it would not.

    Args:
        data: Of any kind; only what has a range is pictures.
    """
    kind = kind_named(data.kind)
    for row in np.flatnonzero(data.present) if kind.has_range else ():
        picture = np.asarray(data.values[row])
        if _is_coloured(picture):
            continue
        n, n_read = picture.shape[2], 3 if picture.shape[2] > 3 else 1
        where = pairs_of(data.range) if data.range is not None else ()
        is_depth = len(where) == n and n - 1 in (1, 3) and where[-1] == (0.0, 1.0)
        depth = "; the last one says where pixels were measured, and one pair of levels in `ranges` keeps it out"
        return (
            f"must get pictures that are grey or of colours; got {n} channels in row {row} (counted from 0), of which "
            f"it would read {n_read}. Leave it out, as the default encoder {kind.encoder!r} reads all channels, or "
            f"give files of the channels that it is to see{depth * is_depth}."
        )
    return ""


def _is_coloured(picture: NDArray[Any]) -> bool:
    """Tells whether it is grey or of colours, which are made alike; of bytes a fourth channel is opacity."""
    return picture.ndim == 2 or picture.shape[-1] in (1, 3) or (picture.shape[-1] == 4 and picture.dtype == np.uint8)


def _fault(picture: NDArray[Any]) -> str:
    """Returns what is wrong with `picture`, or ""."""
    if picture.ndim not in (2, 3) or 0 in picture.shape:
        return f"shape={picture.shape}"
    if picture.dtype == np.uint8 or picture.dtype == bool:
        return ""
    if not np.issubdtype(picture.dtype, np.floating):
        return f"dtype={picture.dtype}"
    low, high = float(picture.min()), float(picture.max())  # a NaN anywhere makes both NaN
    return "" if low >= -1e-6 and high <= 1 + 1e-6 else f"values from {low:g} to {high:g}"


def _is_grey(picture: NDArray[Any]) -> bool:
    """Tells whether the colours of every pixel are equal."""
    if picture.ndim == 2 or picture.shape[2] == 1:
        return True
    colours = picture[..., :3]
    spread = np.ptp(colours, axis=2).max() if colours.dtype != bool else np.ptp(colours.astype(np.uint8), axis=2).max()
    return bool(spread <= (1 if colours.dtype == np.uint8 else _GREY_TOLERANCE))


def _to_channels(stack: NDArray[Any], n_channels: int) -> Tensor:
    """`[row, height, width(, channel)]` -> float32 `[row, n_channels, height, width]` in 0..1."""
    values = torch.from_numpy(np.ascontiguousarray(stack, dtype=np.float32))
    if stack.dtype == np.uint8:
        values /= 255
    values = values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2)
    if values.shape[1] == 4 and stack.dtype == np.uint8:
        alpha = values[:, 3:]
        values = values[:, :3] * alpha + (1 - alpha)
    if values.shape[1] == n_channels:
        return values
    if n_channels == 3:
        return values.expand(-1, 3, -1, -1)
    return torch.einsum("bchw,c->bhw", values, torch.tensor(_GREY_WEIGHTS))[:, None]


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing, as in Pillow; the same size comes back as it is."""
    if pictures.shape[2:] == size:
        return pictures
    return F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False).clamp_(0, 1)
