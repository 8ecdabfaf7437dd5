"""One picture from a file, an array or Pillow; each fault is a `DataError` without a place.

A picture is bytes, or float32 levels as they stand in the file where it has more than 8 bits: what is black and white
in those is decided on a whole column (`profuse.data.media.levels`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from profuse._files import check_size
from profuse.data.media.bands import Bands
from profuse.data.media.deep_pictures import deep_levels, is_deep, shrunk, upright
from profuse.data.media.npy import read_npy
from profuse.data.media.picture_ends import check_ends, has_last_chunk
from profuse.data.media.source import Tell, opened, read_whole, warn
from profuse.data.media.tiff_bands import MOST_CHANNELS, read_bands
from profuse.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "LARGEST_SIDE", "as_picture", "holds_bytes", "read_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")

LARGEST_SIDE = 512
"""Pictures from files are shrunk to this many pixels, so that a folder of photographs fits into memory."""

# Pillow's names of the decoders that may run; its others (EPS, WMF, PDF, ...) start programs or are no pictures
_FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm"),
}
_COST = {"L": 1, "RGB": 4, "1": 2}  # bytes of a pixel while it is read, where nothing is to be converted
_INSIDE = {"MPO": "JPEG", "DIB": "BMP"}  # what these decoders call some of their files


def read_image(path: Path, *, tell: Tell = warn) -> tuple[np.ndarray, bool]:
    """Returns the picture `[height, width, 1, 3 or 4]`, upright, and whether it was shrunk to `LARGEST_SIDE`.

    Of 8 bits or less: uint8, transparency over white. Of more: float32 levels as they stand in the file, a fourth
    channel the opacity 0..1; NaN in one channel is what was not measured. Of channels that are no colours: `Bands`.

    Args:
        path: A PNG, JPEG, BMP, GIF, TIFF, WebP, PPM or NPY file, told by its bytes.
        tell: Called with what could be doubted: several frames, a name of another format.

    Raises:
        DataError: It is none, it is damaged, it takes too much memory, or a level is infinite.
    """
    with opened(path) as file:
        held = _counted(file, tell)
        if held is not None:
            return _smaller(held)
        with _decoded(file, path, tell) as picture:
            is_large = max(picture.size) > LARGEST_SIDE
            levels = _levels(picture, file)
            check_ends(file, _INSIDE.get(picture.format, picture.format))
            return levels, is_large


def holds_bytes(path: Path, *, tell: Tell = warn) -> bool:
    """Tells from its header whether the picture has 8 bits or less; see `read_image`."""
    with opened(path) as file:
        if _counted(file, tell) is not None:
            return False
        with _decoded(file, path, tell) as picture:
            return not is_deep(picture)


def _counted(file: BinaryIO, tell: Tell) -> np.ndarray | None:
    """Returns what Pillow does not read: an array of NumPy, a TIFF of channels; None of any other file."""
    start = file.read(6)
    file.seek(0)
    if start == b"\x93NUMPY":
        held = read_npy(read_whole(file), tell)
        return _picture(held, fourth_is_opacity=held.dtype == np.uint8, tell=tell)
    if start[:2] not in (b"II", b"MM"):
        return None
    try:
        found = read_bands(file, tell)
    except DataError:
        raise
    except Exception as error:  # libtiff, by Pillow, of damaged blocks
        raise DataError(f"the picture is broken ({str(error) or type(error).__name__})") from error
    if found is None:
        return None
    return _picture(upright(found[0], found[1]), fourth_is_opacity=False, tell=tell, channels_last=True)


def _smaller(picture: np.ndarray) -> tuple[np.ndarray, bool]:
    """Returns the picture with no side above `LARGEST_SIDE`, and whether it was larger."""
    if max(picture.shape[:2]) <= LARGEST_SIDE:
        return picture, False
    small = shrunk(np.asarray(picture, np.float32), LARGEST_SIDE)
    if isinstance(picture, Bands):
        return small.view(Bands), True
    return (np.rint(small).astype(np.uint8) if picture.dtype == np.uint8 else small), True


@contextmanager
def _decoded(file: BinaryIO, path: Path, tell: Tell) -> Iterator[Any]:
    """Opens a picture by the named decoders alone; whatever they raise, then and later, is a `DataError`."""
    from PIL import Image, UnidentifiedImageError

    remarks: list[str] = []  # given when Pillow's own warnings are no longer caught
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_size` is the bound
        try:
            with Image.open(file, formats=list(_FORMATS)) as picture:
                _tell_doubts(picture, path, remarks.append)
                if picture.format == "PNG" and not has_last_chunk(file):
                    remarks.append("the picture is cut off behind its pixels: its end is lacking")
                yield picture
        except UnidentifiedImageError:
            raise DataError(
                f"it is no picture of {', '.join(_FORMATS)}, or one of a kind that is not read, or damaged"
            ) from None
        except DataError:
            raise
        except Exception as error:  # decoders of damaged files raise whatever they like
            raise DataError(f"the picture is broken ({str(error) or type(error).__name__})") from error
    remarks += [f"Pillow says of the picture: {' '.join(str(w.message).split()).rstrip('.')}" for w in said[:1]]
    for remark in remarks:
        tell(remark)


def _tell_doubts(picture: Any, path: Path, tell: Tell) -> None:
    name, suffix = _INSIDE.get(picture.format, picture.format), path.suffix.lower()
    if suffix in IMAGE_SUFFIXES and suffix not in _FORMATS[name]:
        tell(f"the picture is {name} under a name that ends in {suffix}")
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        tell("the picture has several frames or pages, of which the first is read")


def _levels(picture: Any, file: BinaryIO | None) -> np.ndarray:
    """Returns bytes or levels of a Pillow picture, upright and shrunk; see `read_image`."""
    from PIL import ImageOps

    if is_deep(picture):
        return deep_levels(picture, file, LARGEST_SIDE)
    share = 2 * LARGEST_SIDE / max(picture.size)
    if share < 1:  # JPEG alone is then decoded at a half, a quarter or an eighth
        picture.draft(None, (max(1, int(picture.size[0] * share)), max(1, int(picture.size[1] * share))))
    n_pixels = picture.size[0] * picture.size[1]
    opaque = not picture.has_transparency_data
    plain = picture.mode in _COST
    cost = 16 if picture.format == "WEBP" else _COST[picture.mode] if opaque and plain else 9 if opaque else 16
    check_size(n_pixels * cost, "the picture")
    picture.load()
    values = _over_white(picture) if not opaque else picture
    mode = "L" if values.mode in ("1", "L") else "RGB"
    values = values if values.mode == mode else values.convert(mode)  # a copy of a large picture costs
    if max(values.size) > LARGEST_SIDE:
        from PIL import Image

        values.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    orientation = picture.getexif().get(0x0112)
    if orientation not in (None, 1):
        values.getexif()[0x0112] = orientation
        values = ImageOps.exif_transpose(values)
    result = np.asarray(values, dtype=np.uint8)
    return result[..., None] if result.ndim == 2 else result


def _over_white(picture: Any) -> Any:
    from PIL import Image

    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")


def as_picture(cell: Any) -> np.ndarray:
    """Returns `[height, width, channel]`, bytes or float32 levels, from a Pillow picture, an array or a tensor.

    Of four channels the last is opacity; of 2, or of more than 4, it is `Bands`.
    """
    if type(cell).__module__.startswith("PIL."):
        return _from_pillow(cell)
    if hasattr(cell, "detach"):
        cell = cell.detach().cpu().numpy()
    return _picture(np.asarray(cell), fourth_is_opacity=True)


def _picture(
    values: np.ndarray, *, fourth_is_opacity: bool, tell: Tell | None = None, channels_last: bool = False
) -> np.ndarray:
    """Returns an array as a picture; channels come first where the first axis says so."""
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3) or values.size == 0:
        raise DataError(
            f"a picture must be [height, width] or [height, width, channel]; got {values.dtype}{values.shape}"
        )
    if values.ndim == 2:
        values = values[..., None]
    elif not channels_last and _channels_come_first(values.shape):
        values = np.moveaxis(values, 0, -1)
        if tell is not None:
            tell("the first axis of the array is read as its channels")
    n_channels = values.shape[2]
    if n_channels > MOST_CHANNELS:
        raise DataError(f"a picture must have at most {MOST_CHANNELS} channels; got {n_channels}")
    are_bands = n_channels not in (1, 3, 4) or (n_channels == 4 and not fourth_is_opacity)
    if values.dtype == np.uint8 and not are_bands:
        return values
    with np.errstate(over="ignore"):
        levels = np.array(values, dtype=np.float32)
    wrong = np.isinf(levels) if are_bands or n_channels in (1, 3) else ~np.isfinite(levels)
    if wrong.any():
        raise DataError(f"the levels of a picture must be finite; {int(wrong.sum())} are not")
    if are_bands:
        return levels.view(Bands)
    if levels.shape[2] == 4 and levels[..., 3].max() > 1:  # opacity, in the unit of the array
        levels[..., 3] /= 255 if levels[..., 3].max() <= 255 else 65535
    return levels


def _channels_come_first(shape: tuple[int, ...]) -> bool:
    """Tells whether `[a, b, c]` is a picture of a channels, b pixels high and c wide: a few, or the least of the three.

    Many bands of few pixels, `[7, 9, 200]`, are no such thing: the sides of a picture are of one order.
    """
    first, second, last = shape
    return last > 4 and (first <= 4 or (first < min(second, last) and max(second, last) <= 4 * min(second, last)))


def _from_pillow(picture: Any) -> np.ndarray:
    name = getattr(picture, "format", None)
    if getattr(picture, "tile", None) and name not in (*_FORMATS, *_INSIDE):
        raise DataError(f"a picture that is not loaded must be one of {', '.join(_FORMATS)}; got {name}. Load it first")
    try:
        return _levels(picture.copy(), None)
    except DataError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they like
        raise DataError(f"the picture is broken ({str(error) or type(error).__name__})") from error
