"""Pictures that lack pixels though their file ends in good order: Pillow fills up what is lacking without a word."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from profuse.data.media import read_image
from profuse.errors import DataError

PIXELS = np.random.default_rng(0).integers(1, 255, (33, 40, 3), dtype=np.uint8)


def packed(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def png(rows: bytes, *, size: tuple[int, int], bits: int, colour: int, interlaced: int = 0, cuts: int = 1) -> bytes:
    stream = zlib.compress(rows)
    step = -(-len(stream) // cuts)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced))]
    parts += [(b"PLTE", bytes(range(48)))] if colour == 3 else []
    parts += [(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step)] + [(b"IEND", b"")]
    chunks = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# size, bits, colour, interlaced, bytes that the rows take
KINDS = {
    "grey": ((8, 8), 8, 0, 0, 8 * 9),
    "colours": ((8, 8), 8, 2, 0, 8 * 25),
    "16 bits": ((8, 8), 16, 0, 0, 8 * 17),
    "16 bits, colours and opacity": ((5, 4), 16, 6, 0, 4 * 41),
    "one bit, a row of 9": ((9, 8), 1, 0, 0, 8 * 3),
    "palette of 4 bits": ((7, 6), 4, 3, 0, 6 * 5),
    "grey, interlaced": ((8, 8), 8, 0, 1, 2 + 2 + 3 + 2 * 3 + 2 * 5 + 4 * 5 + 4 * 9),
    "grey, interlaced, smaller than a pass": ((1, 1), 8, 0, 1, 2),
}


@pytest.mark.parametrize("cuts", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_png_with_fewer_rows_than_its_size_is_refused_and_a_whole_one_is_read(
    kind: str, cuts: int, tmp_path: Path
) -> None:
    size, bits, colour, interlaced, due = KINDS[kind]
    path = tmp_path / "p.png"

    def write(n_bytes: int) -> None:
        rows = bytes(n_bytes)  # filter 0 and black
        path.write_bytes(png(rows, size=size, bits=bits, colour=colour, interlaced=interlaced, cuts=cuts))

    write(due)
    assert read_image(path, tell=lambda _: None)[0].shape[:2] == size[::-1]
    for lacking in {1, due // 2}:
        write(due - lacking)
        with pytest.raises(DataError, match="cut off|truncated"):
            read_image(path, tell=lambda _: None)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "quality": 30}])
def test_a_jpeg_whose_lost_end_was_filled_with_zeros_is_refused(options: dict[str, object], tmp_path: Path) -> None:
    path, whole = tmp_path / "p.jpg", packed("JPEG", **options)
    for content in (whole, whole + bytes(500), whole + b"more"):
        path.write_bytes(content)
        assert read_image(path)[0].shape == (33, 40, 3)
    for kept in (len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:kept] + bytes(len(whole)))
        with pytest.raises(DataError, match="cut off|truncated"):
            read_image(path)


def test_the_end_of_a_preview_is_not_that_of_the_picture(tmp_path: Path) -> None:
    path, whole = tmp_path / "p.jpg", packed("JPEG")
    preview = b"Exif\0\0" + packed("JPEG", quality=5)
    with_one = whole[:2] + b"\xff\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + whole[2:]
    path.write_bytes(with_one)
    assert read_image(path, tell=lambda _: None)[0].shape == (33, 40, 3)
    path.write_bytes(with_one[: -len(whole) // 2] + bytes(len(whole)))
    with pytest.raises(DataError, match="the mark of its end is lacking"):
        read_image(path, tell=lambda _: None)
