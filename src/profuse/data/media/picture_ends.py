"""Whether a file holds all the pixels that its header tells: Pillow fills up what is lacking without a word."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from profuse.errors import DataError

__all__ = ["check_ends", "has_last_chunk"]

_TAIL = 1 << 16  # bytes in which the last chunk of a PNG stands
_STEP = 1 << 20  # bytes at a time
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_ends(file: BinaryIO, name: str) -> None:
    """Checks a picture of the format `name` (Pillow's word), and leaves the file where it stands.

    A PNG must hold as many bytes as its size makes; a JPEG must end with its mark, which one whose lost end was filled
    with zeros does not.

    Raises:
        DataError: It is cut off.
    """
    place = file.tell()
    try:
        if name == "PNG":
            _check_png(file)
        elif name == "JPEG":
            _check_jpeg(file)
    finally:
        file.seek(place)


def has_last_chunk(file: BinaryIO) -> bool:
    """Tells whether a PNG has its last chunk."""
    place = file.tell()
    file.seek(max(0, file.seek(0, 2) - _TAIL))
    ends = b"IEND" in file.read(_TAIL)
    file.seek(place)
    return ends


def _check_png(file: BinaryIO) -> None:
    file.seek(16)
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    due = 0
    for x, y, step_x, step_y in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            due += rows * (1 + (columns * bits * _CHANNELS[colour] + 7) // 8)
    stream, held = zlib.decompressobj(), 0
    for packed in _png_data(file):
        while packed and held < due and not stream.eof:
            held += len(stream.decompress(packed, _STEP))
            packed = stream.unconsumed_tail
        if held >= due:
            return
    held += len(stream.flush())
    if held < due:
        raise DataError(f"the picture is cut off: it holds {held:,} of the {due:,} bytes that its size makes")


def _png_data(file: BinaryIO) -> Iterator[bytes]:
    """The contents of the chunks that hold pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"IDAT":
            yield file.read(length)
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)


def _check_jpeg(file: BinaryIO) -> None:
    """The mark of the end is looked for behind the first scan: a preview before it has one of its own."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        if head[1] == 0xFF:  # bytes of filling may stand before a mark
            file.seek(-3, 1)
            continue
        file.seek(int.from_bytes(head[2:], "big") - 2, 1)
        if head[1] == 0xDA:
            break
    last = b""
    while part := file.read(_STEP):
        if b"\xff\xd9" in last + part:
            return
        last = part[-1:]
    raise DataError("the picture is cut off: the mark of its end is lacking")
