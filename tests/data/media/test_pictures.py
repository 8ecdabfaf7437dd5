"""Pictures: only named decoders, the levels of more than 8 bits, one range a column, what is told."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFile
from tables import opened

from profuse.data.media import as_picture, as_shares, read_image
from profuse.data.media.levels import picture_range
from profuse.data.pipeline import Pipeline
from profuse.data.table.infer import infer
from profuse.data.table.reader import TableReader, look
from profuse.data.tensors import from_tensors
from profuse.errors import ConfigError, DataError
from profuse.schema import Schema

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 255, (20, 24, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (20, 24, 4)).astype(np.uint16)


def read(path: Path, content: bytes | None = None) -> tuple[np.ndarray, str]:
    if content is not None:
        path.write_bytes(content)
    told: list[str] = []
    return read_image(path, tell=told.append)[0], "; ".join(told)


def png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits, which Pillow does not write with colours."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    parts.append((b"IEND", b""))
    chunks = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(values: np.ndarray, order: str) -> bytes:
    """A TIFF of 16 bits a colour, as one uncompressed strip."""
    height, width, channels = values.shape
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 2), (273, 0), (277, channels), (278, height)]
    tags += [(279, values.size * 2)] + ([(338, 2)] if channels == 4 else [])
    at = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in tags:
        count, value = (channels, at) if tag == 258 else (1, at + 2 * channels if tag == 273 else value)
        kind = 3 if tag in (258, 338, 262, 277, 259) else 4
        packed = struct.pack(
            order + ("HH" if kind == 3 and count == 1 else "I"), *([value, 0][: 2 if kind == 3 and count == 1 else 1])
        )
        entries += struct.pack(order + "HHI", tag, kind, count) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    bits = struct.pack(order + f"{channels}H", *[16] * channels)
    return (
        head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + bits + values.astype(order + "u2").tobytes()
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_keeps_every_level(tmp_path: Path, channels: int) -> None:
    values = DEEP[..., :channels]
    found, told = read(tmp_path / "x.png", png(values))
    assert found.dtype == np.float32
    assert not told
    colours = values[..., :1] if channels == 2 else values[..., : min(channels, 3)]
    np.testing.assert_array_equal(found[..., : min(channels, 3)] if channels != 2 else found[..., :1], colours)
    if channels in (2, 4):
        np.testing.assert_allclose(found[..., 3], values[..., -1] / 65535)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_tiff_of_16_bits_a_colour_keeps_every_level(tmp_path: Path, channels: int, order: str) -> None:
    found, _ = read(tmp_path / "x.tif", tiff(DEEP[..., :channels], order))
    np.testing.assert_array_equal(found[..., :3], DEEP[..., :3])


@pytest.mark.parametrize(("channels", "magic"), [(1, b"P5"), (3, b"P6")])
@pytest.mark.parametrize("full", [4095, 65535])
def test_a_ppm_of_16_bits_keeps_every_level_on_the_scale_that_it_tells(
    tmp_path: Path, channels: int, magic: bytes, full: int
) -> None:
    values = DEEP[..., :channels]
    content = magic + b"\n24 20\n%d\n" % full + values.astype(">u2").tobytes()
    found, _ = read(tmp_path / ("x.ppm" if channels == 3 else "x.pgm"), content)
    np.testing.assert_allclose(found, values * (65535.0 / full), atol=0.51)
    with pytest.raises(DataError, match="cut off|broken"):
        read(tmp_path / "x.ppm", content[:-9])


@pytest.mark.parametrize(
    ("dtype", "kind", "lowest"),
    [(np.int8, 2, -50), (np.int16, 2, -500), (np.uint32, 1, 3_000_000_000), (np.uint8, 1, 3)],
)
def test_whole_numbers_of_a_tiff_keep_their_sign(tmp_path: Path, dtype: type, kind: int, lowest: int) -> None:
    values: np.ndarray = (lowest + np.arange(30).reshape(6, 5)).astype(dtype)
    bits = values.itemsize * 8
    tags = [(256, 5), (257, 6), (258, bits), (259, 1), (262, 1), (273, 134), (277, 1), (278, 6), (279, values.nbytes)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (339, kind)])
    content = b"II*\0" + struct.pack("<IH", 8, 10) + entries + bytes(4) + values.tobytes()
    np.testing.assert_array_equal(read(tmp_path / "x.tif", content)[0][..., 0], values.astype(np.float32))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_grey_tiff_keeps_every_level(tmp_path: Path, dtype: type, compression: str | None) -> None:
    values = DEEP[..., 0].astype(dtype) if dtype != np.float32 else DEEP[..., 0].astype(np.float32) / 7 - 100
    Image.fromarray(values).save(tmp_path / "x.tif", compression=compression)
    np.testing.assert_array_equal(read(tmp_path / "x.tif")[0][..., 0], values.astype(np.float32))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_deep_picture_is_shrunk_and_stood_upright(tmp_path: Path, channels: int) -> None:
    values = np.zeros((600, 1024, channels), np.uint16)
    values[:, :512] = 4000
    content = png(values)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    found, _ = read(tmp_path / "x.png", content[:33] + chunk + content[33:])
    assert found.shape == (512, 300, channels)  # turned by 90 degrees: what was left is above
    assert found[:250].min() == 4000
    assert found[262:].max() == 0


def test_a_transparent_level_is_opacity_and_infinity_is_refused(tmp_path: Path) -> None:
    content = png(DEEP[..., :1])
    chunk = struct.pack(">H", int(DEEP[0, 0, 0]))
    chunk = struct.pack(">I", 2) + b"tRNS" + chunk + struct.pack(">I", zlib.crc32(b"tRNS" + chunk))
    found, _ = read(tmp_path / "x.png", content[:33] + chunk + content[33:])
    np.testing.assert_array_equal(found[..., 3] == 0, DEEP[..., 0] == DEEP[0, 0, 0])
    broken = np.ones((4, 4), np.float32)
    broken[1, 1] = np.inf
    Image.fromarray(broken).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="levels of the picture must be finite; 1 are not"):
        read(tmp_path / "x.tif")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(evil) run\n%%EOF\n"
WMF = b"\xd7\xcd\xc6\x9a" + bytes(14) + b"\x60\x00" + bytes(60)


@pytest.mark.parametrize(
    "content", [EPS, WMF, b"%PDF-1.4\n", b"GRIB" + bytes(40), b"\0\0\1\0" + bytes(60), b"gimp xcf"]
)
@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.eps"])
def test_only_decoders_that_are_named_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    for program in ("gs", "gswin64c", "djpeg", "ppmtopgm", "xdg-open"):
        (tmp_path / program).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(DataError, match="no picture of PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM"):
        read(tmp_path / name, content)
    if content == EPS:
        with Image.open(tmp_path / name) as lazy, pytest.raises(DataError, match="must be one of PNG.*; got EPS"):
            as_picture(lazy)
    assert not (tmp_path / "ran").exists()


def test_a_name_of_another_format_and_further_frames_are_told(tmp_path: Path) -> None:
    colour = Image.fromarray(COLOUR)
    colour.save(tmp_path / "a.bmp")
    assert read(tmp_path / "x.png", (tmp_path / "a.bmp").read_bytes())[1] == (
        "the picture is BMP under a name that ends in .png"
    )
    for name in ("x.gif", "x.tif", "x.png", "x.webp"):
        colour.save(tmp_path / name, save_all=True, append_images=[colour.rotate(90)])
        assert "several frames or pages, of which the first is read" in read(tmp_path / name)[1]
        colour.save(tmp_path / name)
        assert read(tmp_path / name)[1] == ""


def test_a_png_without_its_end_is_told(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "x.png")
    assert "its end is lacking" in read(tmp_path / "x.png", (tmp_path / "x.png").read_bytes()[:-12])[1]


@pytest.mark.parametrize(
    ("size", "message"), [((40_000, 40_000), "the picture"), ((20_000, 20_000), "the picture is broken|exceeds limit")]
)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int], message: str) -> None:
    content = bytearray(png(np.zeros((1, 1, 3), np.uint16)))
    content[16:24] = struct.pack(">II", *size)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.png", bytes(content))


@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_above_the_bound_of_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    Image.fromarray(DEEP[..., 0] if deep else COLOUR).resize((300, 300)).save(tmp_path / "x.png", compress_level=9)
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "300K")
    with pytest.raises(DataError, match="the picture takes .* in memory, and the limit is 300 KiB|takes"):
        read(tmp_path / "x.png")


def test_a_large_jpeg_is_decoded_at_a_fraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(COLOUR).resize((4096, 2048)).save(tmp_path / "x.jpg")
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "4M")  # whole it would take 32 MiB
    assert read(tmp_path / "x.jpg")[0].shape == (256, 512, 3)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0.0, 0.4], (0, 1)),
        ([0.0, 1.0], (0, 1)),
        ([-0.3, 0.9], (-1, 1)),
        ([40, 110], (0, 255)),
        ([0, 256], (0, 1023)),
        ([3, 1100], (0, 4095)),
        ([0, 4096], (0, 16383)),
        ([9, 65535], (0, 65535)),
        ([0.5, 250.25], (0, 255)),
        ([0.5, 9.87], (0, 9.9)),
        ([-1024, 3071], (-1100, 3100)),
        ([0, 70_000], (0, 70_000)),
        ([271.5, 312.25], (270, 320)),
        ([0, 1e30], (0, 1.1e30)),
        ([7.5, 7.5], (7.5, 7.6)),
        ([], (0, 255)),
    ],
)
def test_the_range_is_the_smallest_scale_that_holds_all(levels: list[float], expected: tuple[float, float]) -> None:
    pictures = [np.array(levels, np.float32).reshape(1, -1, 1)] if levels else []
    assert picture_range(pictures) == pytest.approx(expected, rel=1e-5)


def test_a_few_wild_levels_do_not_set_the_range_but_are_told() -> None:
    pictures = [RNG.uniform(0, 0.8, (16, 16, 1)).astype(np.float32) for _ in range(40)]
    pictures[7][3, 3] = 1e6
    shares, found, notes = as_shares(pictures, None)
    assert found == (0, 1)
    assert "1 row (7; counted from 0): levels beyond the range, levels 0 (black) to 1 (white), were held to it" in notes
    np.testing.assert_array_equal(shares[0], pictures[0])


@pytest.mark.parametrize(
    ("pictures", "known", "note"),
    [
        (
            [np.full((4, 4, 3), 9, np.uint8), COLOUR],
            None,
            "1 row (0; counted from 0): the picture is one colour all over",
        ),
        ([COLOUR, COLOUR], None, "all 2 pictures are equal"),
        ([np.float32(COLOUR) * 1e-3 + 100, np.float32(COLOUR)], (0, 65535), "use less than 1 % of the range"),
        (
            [np.float32(COLOUR) * 16],
            None,
            "1 pictures of more than 8 bits are read by levels 0 (black) to 4095 (white)",
        ),
        ([np.float32(COLOUR) * 257 + 256], (0, 255), "of more bits than in training"),
    ],
)
def test_doubts_about_levels_are_told(pictures: list[np.ndarray], known: Any, note: str) -> None:
    assert any(note in n for n in as_shares(pictures, known)[2])


def write(folder: Path, factor: float, n: int = 12, dtype: type = np.uint16) -> pd.DataFrame:
    folder.mkdir(exist_ok=True)
    for i in range(n):
        Image.fromarray((RNG.integers(90, 250, (9, 8)) * factor).astype(dtype)).save(folder / f"{i}.tif")
    frame = pd.DataFrame({"scan": [f"{i}.tif" for i in range(n)], "y": ["a", "b"] * (n // 2)})
    frame.to_csv(folder / "t.csv", index=False)
    return frame


def test_the_range_of_training_is_kept_stated_and_overridden(tmp_path: Path) -> None:
    write(tmp_path, 16)
    data, schema = opened(tmp_path / "t.csv", target="y")
    assert schema.ranges == {"scan": (0, 4095)}
    assert data.modalities["scan"].range == (0, 4095)
    assert any("12 pictures of more than 8 bits are read by levels 0 (black) to 4095 (white)" in n for n in data.notes)
    assert look(tmp_path / "t.csv").schema.ranges == schema.ranges
    write(tmp_path / "later", 1, n=2)  # darker: they would be another range by themselves
    later = TableReader(schema).read(tmp_path / "later" / "t.csv")
    assert later.modalities["scan"].values[0].max() < 0.07
    again, other = opened(tmp_path / "t.csv", target="y", schema=Schema(ranges={"scan": (1000, 2000)}))
    assert other.ranges == {"scan": (1000, 2000)}
    assert again.modalities["scan"].values[0].max() == 1
    assert any("levels beyond the range, levels 1000 (black) to 2000 (white)" in n for n in again.notes)


@pytest.mark.parametrize("ranges", [{"scan": (5, 5)}, {"scan": (9, 1)}, {"scan": (0, float("inf"))}])
def test_a_range_must_be_one(ranges: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="black must be below white"):
        from_tensors({"scan": ("image", np.ones((2, 9, 9)))}, ranges=ranges)


def test_a_range_of_a_column_that_holds_no_pictures_is_refused() -> None:
    frame = pd.DataFrame({"a": RNG.normal(size=9), "b": RNG.normal(size=9)})
    with pytest.raises(ConfigError, match="ranges must name columns of pictures; got 'a'"):
        infer(frame, Schema(ranges={"a": (0, 1)}))


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float64])
def test_arrays_keep_the_range_of_training_in_the_pipeline(dtype: type) -> None:
    values: np.ndarray = (RNG.integers(0, 256, (10, 9, 8, 1)) * 16).astype(dtype)
    data = from_tensors({"scan": values}, np.arange(10) % 2)
    assert data.modalities["scan"].range == (0, 4095)
    assert any("Modality 'scan': 10 pictures of more than 8 bits are read by levels 0" in n for n in data.notes)
    pipeline = Pipeline.from_state(Pipeline.fit(data, np.arange(10)).state())
    assert pipeline.ranges == {"scan": (0, 4095)}
    later = from_tensors({"scan": values[:1] // 16}, ranges=pipeline.ranges)
    np.testing.assert_allclose(later.modalities["scan"].values, values[:1] // 16 / 4095, rtol=1e-6)


def test_bytes_stay_bytes_beside_deeper_pictures() -> None:
    shares, found, _ = as_shares([COLOUR, DEEP[..., :3].astype(np.float32)], None)
    assert shares[0] is COLOUR
    assert found == (0, 4095)


@pytest.mark.parametrize(
    "name", ["x.png", "x.jpg", "x.gif", "x.tif", "x.webp", "x.bmp", "x.ppm", "deep.png", "deep.tif"]
)
def test_damaged_pictures_are_one_error_or_pixels(tmp_path: Path, name: str) -> None:
    Image.fromarray(DEEP[..., 0] if "deep" in name else COLOUR).save(tmp_path / name)
    content, rng = (tmp_path / name).read_bytes(), np.random.default_rng(5)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(DataError):
            read(tmp_path / name, content[: int(share * len(content))])
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 2):
            damaged[place] ^= 1 << int(rng.integers(8))
        try:
            found, _ = read(tmp_path / name, bytes(damaged))
        except DataError:
            continue
        assert np.isfinite(found).all()


def test_the_decoder_of_pillow_reads_no_truncated_file_by_default() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("known", [None, (0.0, 4095.0)])
def test_bytes_beside_pictures_of_more_bits_are_told_to_have_a_scale_of_their_own(
    known: tuple[float, float] | None,
) -> None:
    byte, deep = COLOUR, DEEP[..., :3].astype(np.float32)
    shares, levels, notes = as_shares([deep, byte, deep], known)
    assert levels == (0.0, 4095.0)
    assert shares[1] is byte
    assert any(n.startswith("1 row (1; counted from 0): of 8 bits, read by levels 0 to 255, not by") for n in notes)
    assert not any("of 8 bits" in n for n in (*as_shares([deep, deep], known)[2], *as_shares([byte, byte], None)[2]))
    assert bool(known) == any("of 8 bits" in n for n in as_shares([byte, byte], known)[2])
