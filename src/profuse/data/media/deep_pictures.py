"""Pictures of more than 8 bits, as levels: Pillow keeps but the upper 8 bits of colours with 16."""

from __future__ import annotations

import math
import struct
import zlib
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from profuse._files import check_size
from profuse.data.media.bands import stands_apart
from profuse.data.media.tiff_bands import unmeasured_level
from profuse.errors import DataError

__all__ = ["deep_levels", "is_deep", "shrunk", "upright"]

_GREY = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# Pillow's names for "take the upper byte of each two", and for what takes the other byte of the same two
_LOWER = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B",
}
_GREY_AND_OPACITY = "LA;16B"
_OPAQUE = 65535.0
_GREY_COST, _COLOUR_COST = 12, 48  # bytes of a pixel while it is read


def is_deep(picture: Any) -> bool:
    """Tells whether a Pillow picture, not yet loaded, has more than 8 bits a channel."""
    return (
        picture.mode in _GREY
        or _is_signed(picture)
        or _is_deep_ppm(picture)
        or any(";16" in m for m in _raw_modes(picture) - {"BGR;16"})
    )


def deep_levels(picture: Any, file: BinaryIO | None, largest: int) -> np.ndarray:
    """Returns float32 `[height, width, 1, 3 or 4]`, upright, no side above `largest`; a fourth channel is opacity 0..1.

    Of one channel, NaN is what was not measured, as is the level that GDAL_NODATA names.

    Args:
        picture: A Pillow picture, not loaded if it is of a file.
        file: Its file; None where it is of none.
        largest: Pixels of the longest side.

    Raises:
        DataError: A level is infinite, or NaN in a picture of colours.
    """
    cost = _GREY_COST if picture.mode in _GREY else _COLOUR_COST
    check_size(cost * picture.size[0] * picture.size[1], "the picture")
    raw, transparent = _raw_modes(picture), picture.info.get("transparency")
    if file is not None and raw == {_GREY_AND_OPACITY}:
        file.seek(0)
        values = _grey_and_opacity(file.read())
    elif file is not None and picture.mode == "RGB" and _is_deep_ppm(picture):
        values = _ppm(picture, file)
    elif file is not None and raw and raw <= set(_LOWER):
        values = _colours(picture, file)
    elif picture.mode in _GREY or _is_signed(picture):
        values = _grey(picture)
    else:
        raise DataError(f"the picture has 16 bits in a form that is not read ({', '.join(sorted(raw))})")
    finite = np.isfinite(values) | (np.isnan(values) if values.shape[2] == 1 else False)
    if not finite.all():
        raise DataError(f"the levels of the picture must be finite; {int((~finite).sum())} are not")
    if transparent is not None and values.shape[2] in (1, 3) and not isinstance(transparent, bytes):
        opacity = (values != np.asarray(transparent, dtype=np.float32)).any(axis=2)
        values = np.concatenate([np.broadcast_to(values, (*values.shape[:2], 3)), opacity[..., None]], axis=2)
    if values.shape[2] == 4 and (values[..., 3] == 1).all():
        values = values[..., :3]
    # EXIF comes last: a PNG is loaded for it
    return upright(shrunk(values.astype(np.float32, copy=False), largest), picture.getexif().get(0x0112))


def _raw_modes(picture: Any) -> set[str]:
    """Returns how the bytes of the file are laid out, by Pillow's names."""
    args = [tile[3] for tile in getattr(picture, "tile", None) or ()]
    return {str(a[0]) if isinstance(a, tuple) and a else str(a) for a in args}


def _grey(picture: Any) -> np.ndarray:
    picture.load()
    values = np.asarray(picture)
    tags = getattr(picture, "tag_v2", {})
    if picture.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,):  # Pillow takes them as signed
        values = values.view(np.uint32)
    if _is_signed(picture):  # and those as not
        values = values.view(np.int8)
    levels = values.astype(np.float32)[..., None]
    no_data = unmeasured_level(tags.get(42113))
    if no_data is not None:
        levels[levels == np.float32(no_data)] = np.nan
    return levels


def _colours(picture: Any, file: BinaryIO) -> np.ndarray:
    """Reads the file twice, by its upper and its lower bytes."""
    from PIL import Image

    picture.load()
    file.seek(0)
    with Image.open(file, formats=[picture.format]) as lower:
        lower.tile = [type(tile)(*tile[:3], _with_lower(tile[3])) for tile in lower.tile]
        lower.load()
        values: np.ndarray = np.asarray(picture).astype(np.float32) * 256 + np.asarray(lower)
    if values.shape[2] == 4:
        values[..., 3] /= _OPAQUE
    return values


def _is_signed(picture: Any) -> bool:
    """Tells whether it is a TIFF of signed bytes."""
    return picture.mode == "L" and getattr(picture, "tag_v2", {}).get(339) == (2,)


def _is_deep_ppm(picture: Any) -> bool:
    """Tells whether it is a PPM of two bytes a level, whose colours Pillow divides down to one."""
    return any(tile[0] in ("ppm", "ppm_plain") and tile[3][-1] > 255 for tile in getattr(picture, "tile", None) or ())


def _ppm(picture: Any, file: BinaryIO) -> np.ndarray:
    """Returns the colours of a binary PPM on the scale of 16 bits, as Pillow does for grey."""
    name, _, offset, args = picture.tile[0]
    if name != "ppm":
        raise DataError("the picture has more than 8 bits in the plain form of PPM, which is not read")
    file.seek(offset)
    shape = (picture.size[1], picture.size[0], 3)
    levels = np.frombuffer(file.read(2 * math.prod(shape)), dtype=">u2")
    if len(levels) < math.prod(shape):
        raise DataError("the picture is cut off")
    values: np.ndarray = np.rint(levels.astype(np.float32).reshape(shape) * (_OPAQUE / args[-1]))
    return values


def _with_lower(args: Any) -> Any:
    return (_LOWER[args[0]], *args[1:]) if isinstance(args, tuple) else _LOWER[args]


def _grey_and_opacity(data: bytes) -> np.ndarray:
    """Reads a PNG of grey and opacity, 2 bytes each, as one of four single bytes, which is laid out alike."""
    from PIL import Image

    header = bytearray(data[12:29])  # IHDR, width, height, bits, colour type, ...
    header[12:14] = b"\x08\x06"
    other = data[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + data[33:]
    with Image.open(BytesIO(other), formats=["PNG"]) as picture:
        values = np.asarray(picture).astype(np.float32)
    grey, opacity = values[..., 0] * 256 + values[..., 1], (values[..., 2] * 256 + values[..., 3]) / _OPAQUE
    return np.stack([grey, grey, grey, opacity], axis=2)


def shrunk(values: np.ndarray, largest: int) -> np.ndarray:
    """Returns float32 `[height, width, channel]` with no side above `largest`, as means of the pixels that are there.

    Where half of them or more were not measured (NaN, or 0 that stands apart from all other levels of the one channel),
    the mean was not.
    """
    if max(values.shape[:2]) <= largest:
        return values
    channels = []
    for channel in np.moveaxis(values, 2, 0):
        hole = 0.0 if values.shape[2] == 1 and stands_apart(channel) else np.nan
        measured = channel != 0 if hole == 0 else ~np.isnan(channel)
        if measured.all():
            channels.append(_thumbnail(channel, largest))
            continue
        share = _thumbnail(measured.astype(np.float32), largest)
        total = _thumbnail(np.where(measured, channel, 0), largest)
        channels.append(np.where(share > 0.5, total / np.maximum(share, 0.5), hole))
    return np.stack(channels, axis=2).astype(np.float32, copy=False)


def _thumbnail(channel: np.ndarray, largest: int) -> np.ndarray:
    from PIL import Image

    one = Image.fromarray(np.ascontiguousarray(channel, dtype=np.float32))
    one.thumbnail((largest, largest), Image.Resampling.BOX)
    return np.asarray(one)


def upright(values: np.ndarray, orientation: object) -> np.ndarray:
    """Undoes what the EXIF tag of that name says."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)
