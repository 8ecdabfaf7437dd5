"""One picture from a file, or from Pillow; each fault is a `DataError` without a place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from profuse.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "LARGEST_SIDE", "as_picture", "read_image", "to_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")

LARGEST_SIDE = 512
"""Pictures from files are shrunk to this many pixels, so that a folder of photographs fits into memory."""


def read_image(path: Path) -> tuple[np.ndarray, bool]:
    """Returns the picture as uint8 `[height, width, 1 or 3]`, upright, transparency over white; and if it was shrunk.

    A picture of 16 bits is divided by 257. One with a side above `LARGEST_SIDE` pixels is shrunk to it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            picture.load()
            return to_image(picture), max(picture.size) > LARGEST_SIDE
    except UnidentifiedImageError:
        raise DataError("it is no picture that Pillow can read") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the picture is broken ({error})") from error


def to_image(picture: Any) -> np.ndarray:
    """Returns uint8 `[height, width, 1 or 3]` from a Pillow picture; see `read_image`."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        levels = np.asarray(upright, dtype=np.float64)
        top = 65535.0 if upright.mode != "F" else 255.0
        if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > top:
            raise DataError(f"its grey levels must lie in 0..{top:.0f}; got mode {upright.mode}")
        upright = Image.fromarray(np.round(levels * (255.0 / top)).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")
    upright = upright.convert("L" if upright.mode in ("1", "L") else "RGB")
    if max(upright.size) > LARGEST_SIDE:
        upright.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    values = np.asarray(upright, dtype=np.uint8)
    return values[..., None] if values.ndim == 2 else values


def as_picture(cell: Any) -> np.ndarray:
    """Returns `[height, width, channel]`, uint8 or float 0..1, from a Pillow picture, an array or a tensor."""
    if type(cell).__module__.startswith("PIL."):
        return to_image(cell)
    if hasattr(cell, "detach"):
        cell = cell.detach().cpu().numpy()
    values = np.asarray(cell)
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3) or values.size == 0:
        raise DataError(
            f"a picture must be [height, width] or [height, width, channel]; got {values.dtype}{values.shape}"
        )
    if values.ndim == 2:
        values = values[..., None]
    elif values.shape[-1] > 4 and values.shape[0] <= 4:
        values = np.moveaxis(values, 0, -1)
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    values = values.astype(np.float32)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise DataError(
            f"a picture must be bytes 0..255 or floats 0..1; got {values.min():g} to {values.max():g}. Scale it first"
        )
    return values
