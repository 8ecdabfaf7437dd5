"""TIFF files whose samples or pages are channels, which Pillow does not read: multispectral pictures, stacks of bands.

The file is taken apart here; what is compressed is unpacked by Pillow's libtiff, as grey bytes of as many columns as a
line has bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np

from profuse._files import check_size
from profuse.data.media.source import Tell
from profuse.errors import DataError

__all__ = ["MOST_CHANNELS", "read_bands", "unmeasured_level"]

MOST_CHANNELS = 1024
"""Of one picture: more are told to be no channels."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _DESCRIPTION = 256, 257, 258, 259, 262, 266, 270
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _FORMAT, _NO_DATA = 322, 323, 324, 325, 338, 339, 42113
_USED = {v for k, v in globals().items() if isinstance(v, int) and k.startswith("_")}
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 8: "h", 16: "Q"}
_GREY, _RGB = (0, 1), 2
_OPACITY = (1, 2)
_UNPACKED = (1, 5, 8, 32946, 32773, 34925, 50000)  # none, LZW, deflate twice, PackBits, LZMA, Zstandard
Tags = Mapping[int, tuple[int, ...] | bytes]


@dataclass(frozen=True)
class _Page:
    """One directory of a file: where its pixels lie, and how."""

    tags: Tags
    order: str

    def one(self, tag: int, default: int = 0) -> int:
        values = self.tags.get(tag)
        return int(values[0]) if values else default

    def many(self, tag: int) -> tuple[int, ...]:
        return tuple(self.tags.get(tag, ()))

    @property
    def n_samples(self) -> int:
        return self.one(_SAMPLES, 1)

    @property
    def size(self) -> tuple[int, int]:
        return self.one(_HEIGHT), self.one(_WIDTH)

    @property
    def dtype(self) -> np.dtype | None:
        """How a sample is written; None where samples differ or have no whole bytes."""
        bits, forms = set(self.many(_BITS) or (1,)), set(self.many(_FORMAT) or (1,))
        if len(bits) != 1 or len(forms) != 1:
            return None
        n_bits, form = bits.pop(), forms.pop()
        letter = {1: "u", 2: "i", 3: "f"}.get(form)
        sizes = (16, 32, 64) if letter == "f" else (8, 16, 32)
        return np.dtype(f"{self.order}{letter}{n_bits // 8}") if letter and n_bits in sizes else None

    @property
    def are_channels(self) -> bool:
        """Whether its samples are read here, and not by Pillow as grey or colour, with or without opacity."""
        n, kind, extra, dtype = self.n_samples, self.one(_PHOTOMETRIC, 1), self.many(_EXTRA), self.dtype
        if kind not in (*_GREY, _RGB) or dtype is None or n < 1:
            return False
        plain = dtype.kind == "u" and dtype.itemsize <= 2
        if n == 1:
            return dtype.kind == "f" and dtype.itemsize != 4
        if n == 2:
            return not (kind in _GREY and extra[:1] and extra[0] in _OPACITY)
        if n == 3:
            return kind in _GREY or not plain or (self.one(_PLANAR, 1) == 2 and dtype.itemsize > 1)
        return n > 4 or kind in _GREY or (n == 4 and extra[:1] == (0,))

    def is_layer_of(self, first: _Page) -> bool:
        """Whether a page may be one channel of several: grey, and of more than 8 bits or of a program for stacks."""
        said, dtype = first.tags.get(_DESCRIPTION, b""), self.dtype
        if self.n_samples != 1 or self.one(_PHOTOMETRIC, 1) not in _GREY or dtype is None:
            return False
        of_stack = isinstance(said, bytes) and said.startswith((b"ImageJ", b'{"shape"'))
        return (dtype.itemsize > 1 or of_stack) and self.size == first.size and dtype == first.dtype


def read_bands(file: BinaryIO, tell: Tell) -> tuple[np.ndarray, int] | None:
    """Returns the channels `[height, width, channel]` of a TIFF and its EXIF orientation; None if Pillow reads it.

    Pages that are read as channels are told. Whole numbers keep their type, but where the file names a level that means
    "not measured" (GDAL_NODATA): that is NaN. The file is left at its beginning.

    Raises:
        DataError: It takes too much memory, its pages or samples differ, it is cut off or in a form that is not read.
    """
    try:
        pages = list(_pages(file))
    except (struct.error, OverflowError, ValueError):
        pages = []  # Pillow says what is wrong
    file.seek(0)
    if not pages:
        return None
    first = pages[0]
    dtype, stacked = first.dtype, len(pages) > 1 and all(p.is_layer_of(first) for p in pages)
    if dtype is None or not (stacked or first.are_channels):
        return None
    if stacked:
        tell(f"the {len(pages)} pages of the TIFF are read as channels")
    used = pages if stacked else pages[:1]
    n_channels = sum(p.n_samples for p in used)
    if n_channels > MOST_CHANNELS:
        raise DataError(f"a picture must have at most {MOST_CHANNELS} channels; got {n_channels}")
    check_size(first.size[0] * first.size[1] * n_channels * max(12, 3 * dtype.itemsize), "the picture")
    values = np.concatenate([_pixels(file, page, dtype) for page in used], axis=2)
    file.seek(0)
    no_data = unmeasured_level(first.tags.get(_NO_DATA))
    if no_data is not None and (there := values == no_data).any():
        values = values.astype(np.float32 if dtype.itemsize < 8 else np.float64)
        values[there] = np.nan
    return values, first.one(_ORIENTATION, 1)


def unmeasured_level(tag: object) -> float | None:
    """Returns the level that GDAL_NODATA, a word, tells to mean "not measured"; None if it tells none."""
    word = tag.decode("ascii", "replace") if isinstance(tag, bytes) else str(tag or "")
    try:
        return float(word.strip("\0 "))
    except ValueError:
        return None


def _pages(file: BinaryIO) -> Iterator[_Page]:
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    version = struct.unpack(order + "H", head[2:4])[0] if order else 0
    if version not in (42, 43):
        return
    big = version == 43
    at = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
    end = file.seek(0, 2)
    seen: set[int] = set()
    while at and at not in seen and len(seen) <= MOST_CHANNELS:
        seen.add(at)
        tags, at = _directory(file, at, order, big, end)
        if not tags.get(_WIDTH) or not tags.get(_HEIGHT):
            return
        yield _Page(tags, order)


def _directory(file: BinaryIO, at: int, order: str, big: bool, end: int) -> tuple[Tags, int]:
    """Returns the tags of the directory at a place of the file, and the place of the next one, 0 if there is none."""
    file.seek(at)
    count, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    n = struct.unpack(order + count, file.read(struct.calcsize(order + count)))[0]
    size = struct.calcsize(order + entry) + inline
    block = file.read(min(n * size, end) + inline)
    tags: dict[int, tuple[int, ...] | bytes] = {}
    for i in range(min(n, len(block) // size)):
        tag, kind, length = struct.unpack_from(order + entry, block, i * size)
        letter = _TYPES.get(kind)
        if tag not in _USED or letter is None:
            continue
        n_bytes = length * struct.calcsize(letter)
        if n_bytes > end:
            raise ValueError("a tag is longer than its file")
        held = block[(i + 1) * size - inline : (i + 1) * size]
        if n_bytes > inline:
            file.seek(struct.unpack(order + ("Q" if big else "I"), held)[0])
            held = file.read(n_bytes)
        tags[tag] = held[:n_bytes] if letter == "s" else struct.unpack_from(f"{order}{length}{letter}", held)
    return tags, struct.unpack_from(order + ("Q" if big else "I"), block, n * size)[0]


def _pixels(file: BinaryIO, page: _Page, dtype: np.dtype) -> np.ndarray:
    """Returns `[height, width, sample]` of one page."""
    height, width = page.size
    n = page.n_samples
    compression, predictor = page.one(_COMPRESSION, 1), page.one(_PREDICTOR, 1)
    if compression not in _UNPACKED or predictor not in (1, 2, 3) or page.one(_FILL_ORDER, 1) != 1:
        raise DataError(
            f"the picture is a TIFF of channels in a form that is not read (compression {compression}, predictor "
            f"{predictor}); write it with deflate, LZW or none"
        )
    tiled = _TILES in page.tags
    block_height = page.one(_TILE_HEIGHT) if tiled else min(page.one(_ROWS, height), height)
    block_width = page.one(_TILE_WIDTH) if tiled else width
    offsets, lengths = (page.many(t) for t in ((_TILES, _TILE_BYTES) if tiled else (_STRIPS, _STRIP_BYTES)))
    if block_height < 1 or block_width < 1:
        raise DataError("the picture is broken: its header tells blocks without pixels")
    planes = n if page.one(_PLANAR, 1) == 2 else 1
    across, down = -(-width // block_width), -(-height // block_height)
    n_blocks = across * down * planes
    if len(offsets) != n_blocks or len(lengths) != n_blocks:
        raise DataError(f"the picture is broken: it must hold {n_blocks} blocks; got {len(offsets)}")
    check_size(across * block_width * down * block_height * n * 3 * dtype.itemsize, "the picture")
    per_block, out = n // planes, []
    shape = (down * across, block_height, block_width, per_block)
    for i in range(0, n_blocks, down * across):
        some = zip(offsets[i : i + down * across], lengths[i : i + down * across], strict=True)
        blocks = np.zeros((down * across, block_height, block_width * per_block * dtype.itemsize), dtype=np.uint8)
        for j, (at, length) in enumerate(some):
            file.seek(at)
            held = file.read(min(length, 2 * blocks[j].size + 4096))
            lines = min(block_height, height - j * block_height) if not tiled else block_height  # of the last strip
            blocks[j, :lines] = _block(held, compression, (lines, blocks.shape[2]))
        whole = _undone(blocks, shape, dtype, predictor).reshape(down, across, *shape[1:]).swapaxes(1, 2)
        out.append(whole.reshape(down * block_height, across * block_width, per_block)[:height, :width])
    return np.concatenate(out, axis=2)


def _block(held: bytes, compression: int, shape: tuple[int, int]) -> np.ndarray:
    """Returns the bytes `[line, byte]` of one strip or tile."""
    if compression != 1:
        held = _unpacked(held, compression, shape)
    if len(held) < shape[0] * shape[1]:
        raise DataError(f"the picture is cut off: a block holds {len(held):,} of {shape[0] * shape[1]:,} bytes")
    return np.frombuffer(held, np.uint8, count=shape[0] * shape[1]).reshape(shape)


def _unpacked(held: bytes, compression: int, shape: tuple[int, int]) -> bytes:
    """Returns what Pillow makes of a block as a picture of one strip of grey bytes."""
    from PIL import Image

    height, width = shape
    tags = [(_WIDTH, width), (_HEIGHT, height), (_BITS, 8), (_COMPRESSION, compression), (_PHOTOMETRIC, 1)]
    tags += [(_STRIPS, 8 + 2 + 12 * 9 + 4), (_SAMPLES, 1), (_ROWS, height), (_STRIP_BYTES, len(held))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    made = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + held
    with Image.open(BytesIO(made), formats=["TIFF"]) as picture:
        return picture.tobytes()


def _undone(blocks: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, predictor: int) -> np.ndarray:
    """Returns samples `[block, line, column, sample]` of the bytes of blocks, whose differences are summed up."""
    per_pixel = shape[3]
    if predictor == 3:
        summed = np.cumsum(blocks.reshape(*shape[:2], -1, per_pixel), axis=2, dtype=np.uint8)
        planes = summed.reshape(*shape[:2], dtype.itemsize, -1)  # the highest bytes of a line first
        ordered = np.ascontiguousarray(planes.swapaxes(2, 3))
        return ordered.view(dtype.newbyteorder(">")).reshape(shape).astype(dtype.newbyteorder("="))
    whole = dtype if predictor == 1 else np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
    values = blocks.view(whole).reshape(shape).astype(whole.newbyteorder("="))
    if predictor == 2:
        values = np.cumsum(values, axis=2, dtype=values.dtype)
    return values.view(dtype.newbyteorder("="))
